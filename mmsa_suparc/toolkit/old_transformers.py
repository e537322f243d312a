"""What the toolkit's newer version takes from ``pytorch_transformers``, by today's transformers.

Its CENET is written against that library, which reads no safetensors and no hub of today, and is
imported with the whole toolkit.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

OLD = "pytorch_transformers"


@contextlib.contextmanager
def standing_in() -> Iterator[None]:
    """Within this block, in which the toolkit is imported, the old library's names are there."""
    from transformers import BertConfig, PreTrainedModel

    class Base(PreTrainedModel):
        #: CENET ties no weights, and says so to no library that asks.
        all_tied_weights_keys: ClassVar[dict[str, Any]] = {}

    names = {
        OLD: {"BertConfig": BertConfig, "BERT_PRETRAINED_MODEL_ARCHIVE_MAP": {}},
        f"{OLD}.modeling_utils": {"PreTrainedModel": Base, "prune_linear_layer": None},
    }
    before = {name: sys.modules.get(name) for name in names}
    for name, content in names.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(content)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
