"""The text side of a feature file, made to fit the configured encoder."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from mmsa_suparc.data import fingerprints
from mmsa_suparc.data.reader import FeatureFile
from mmsa_suparc.errors import UserError
from mmsa_suparc.names import SPLITS

#: Clips compared to find out whether a file's tokens are those of the encoder's tokenizer.
SAMPLE = 64
#: Tokens a clip where the file has none yet: the toolkit's, first and last sign included.
TOKENS = 50


def find_encoder(name: str) -> str:
    """A folder or hub name from which the encoder can be loaded without surprises.

    Raises:
        UserError: no such folder, and the name is neither in the local cache nor to be
            downloaded: one line that names ``--text-encoder``.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return str(folder)
    if folder.is_dir():
        raise UserError(
            f"text encoder {name}: the folder holds no config.json; expected one that "
            "from_pretrained reads. Name another with --text-encoder"
        )
    if name.startswith(("/", ".", "~")):
        raise UserError(
            f"text encoder {name}: no such folder. Name an existing one with --text-encoder"
        )
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(name, local_files_only=True)
        if not _hub_answers():
            _stay_offline()
        return name
    except (OSError, ValueError):
        pass
    try:
        if not _hub_answers():
            raise OSError("no network")
        AutoConfig.from_pretrained(name)
    except (OSError, ValueError):
        raise UserError(
            f"text encoder {name}: not in the local cache, and the model hub cannot give it "
            "(no network, or no such model). Name a local folder with --text-encoder"
        ) from None
    return name


def _hub_answers() -> bool:
    """A short try, since the hub's own client repeats a failing one for half a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    if any(name.lower() in {"https_proxy", "all_proxy"} for name in os.environ):
        return True  # a proxy decides, not this machine's own connection
    from huggingface_hub import constants

    endpoint = urlsplit(constants.ENDPOINT)
    port = endpoint.port or (80 if endpoint.scheme == "http" else 443)
    try:
        socket.create_connection((endpoint.hostname or "", port), timeout=5).close()
    except OSError:
        return False
    return True


def _stay_offline() -> None:
    """Take what is in the local cache: else every file of it is looked for in vain, five times."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
    os.environ["HF_HUB_OFFLINE"] = "1"  # for processes started from here


def encoder_fingerprint(name: str) -> str:
    """Of all files of a folder; of a hub's encoder its revision in the local cache, which says the
    same. Empty for one that is not here."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return fingerprints.of_folder(folder)
    from transformers.utils import cached_file

    try:
        return Path(str(cached_file(name, "config.json", local_files_only=True))).parent.name
    except (OSError, ValueError):
        return ""


def encoder_config(name: str) -> Any:
    """The encoder's own configuration (``hidden_size``, ``vocab_size`` …)."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(name)


def with_tokens(content: FeatureFile, encoder: str) -> FeatureFile:
    """The same splits with ``text_bert`` as the encoder's own tokenizer gives it.

    Tokens that already are its own are kept; others are made again from ``raw_text``.

    Raises:
        UserError: neither ``text_bert`` nor ``raw_text``, or token ids beyond the vocabulary.
    """
    from transformers import AutoTokenizer

    vocabulary = int(encoder_config(encoder).vocab_size)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    result = {}
    for split in SPLITS:
        fields = content[split]
        tokens, texts = fields.get("text_bert"), fields.get("raw_text")
        if tokens is None:
            if texts is None:
                raise UserError(f"split '{split}' has neither text_bert nor raw_text")
            fields = {**fields, "text_bert": tokenise(tokenizer, texts, length=TOKENS)}
        elif texts is not None and not _same_tokens(tokenizer, texts, tokens):
            length = int(np.shape(tokens)[-1])
            fields = {**fields, "text_bert": tokenise(tokenizer, texts, length=length)}
        largest = int(np.max(fields["text_bert"][:, 0], initial=0))
        if largest >= vocabulary:
            raise UserError(
                f"split '{split}' holds token id {largest}, and the encoder {encoder} knows "
                f"{vocabulary} tokens: it is not the encoder that the file was made for"
            )
        result[split] = fields
    return result


def tokenise(tokenizer: Any, texts: Sequence[str], *, length: int) -> np.ndarray:
    """(N, 3, L) int32: token ids, attention mask, segment ids; longer texts are cut."""
    encoded = tokenizer(
        [str(text) for text in texts],
        padding="max_length",
        truncation=True,
        max_length=length,
        return_token_type_ids=True,
    )
    parts = [encoded["input_ids"], encoded["attention_mask"], encoded["token_type_ids"]]
    return np.stack([np.asarray(part, dtype=np.int32) for part in parts], axis=1)


def surely_cut(text: str) -> bool:
    """Whether any tokenizer makes more than :data:`TOKENS` of it: by words, or Han characters."""
    return len(re.findall(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+", text)) > TOKENS - 2


def _same_tokens(tokenizer: Any, texts: Sequence[str], tokens: np.ndarray) -> bool:
    sample = tokenise(tokenizer, texts[:SAMPLE], length=int(np.shape(tokens)[-1]))
    given = np.asarray(tokens[:SAMPLE])
    attended = (sample[:, 1] > 0) | (given[:, 1] > 0)
    # A few clips may differ where the file's authors edited a transcript.
    return bool(np.mean((sample[:, 0] == given[:, 0])[attended]) >= 0.9)
