"""The text side of a feature file, made to fit the configured encoder."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from mmsa_suparc.data import fingerprints
from mmsa_suparc.data.reader import FeatureFile
from mmsa_suparc.errors import UserError, in_a_line

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
    absent = UserError(
        f"text encoder {name}: not in the local cache, and the model hub cannot give it "
        "(no network, or no such model). Name a local folder with --text-encoder"
    )
    hub_answers = _hub_answers()
    if not hub_answers and cached_config(name) is None:
        raise absent
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(name, local_files_only=True, trust_remote_code=False)
        if not hub_answers:
            _stay_offline()
        return name
    except (OSError, ValueError):
        pass
    try:
        if not hub_answers:
            raise OSError("no network")
        AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError):
        raise absent from None
    return name


def cached_config(name: str) -> Path | None:
    """The configuration of a hub's encoder in the local cache, found without transformers."""
    from huggingface_hub import try_to_load_from_cache

    # Until version 5 transformers could be told to keep its files elsewhere.
    old = metadata.version("transformers").startswith("4.")
    folder = os.environ.get("TRANSFORMERS_CACHE") if old else None
    try:
        found = try_to_load_from_cache(name, "config.json", cache_dir=folder)
    except ValueError:  # no name that the hub could have
        return None
    return Path(found) if isinstance(found, str) else None


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


@contextlib.contextmanager
def loading(name: str | Path) -> Iterator[dict[str, Any]]:
    """How transformers loads a text encoder: code that comes with it is never run, and a folder
    fetches nothing from elsewhere. The options for ``from_pretrained``.

    Raises:
        UserError: it cannot be loaded; in one line, since transformers may raise anything.
    """
    from huggingface_hub import constants

    is_folder = Path(name).expanduser().is_dir()
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or is_folder
    try:
        yield {"trust_remote_code": False, "local_files_only": is_folder}
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"text encoder {name}: it cannot be loaded ({in_a_line(error)})") from None
    finally:
        constants.HF_HUB_OFFLINE = before


def encoder_fingerprint(name: str) -> str:
    """Of all files of a folder; of a hub's encoder its revision in the local cache, which says the
    same. Empty for one that is not here."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return fingerprints.of_folder(folder)
    config = cached_config(name)
    return config.parent.name if config is not None else ""


def encoder_config(name: str) -> Any:
    """The encoder's own configuration (``hidden_size``, ``vocab_size`` …)."""
    from transformers import AutoConfig

    with loading(name) as options:
        return AutoConfig.from_pretrained(name, **options)


def tokenizer_of(name: str) -> Any:
    """The encoder's own tokenizer."""
    from transformers import AutoTokenizer

    with loading(name) as options:
        return AutoTokenizer.from_pretrained(name, **options)


def with_tokens(content: FeatureFile, encoder: str, source: str | Path) -> FeatureFile:
    """The same splits with ``text_bert`` as the encoder's own tokenizer gives it.

    Tokens that already are its own are kept; others are made again from ``raw_text``.

    Args:
        content: the splits.
        encoder: a folder, or a name of the hub.
        source: the file that they are from, for messages.

    Raises:
        UserError: neither ``text_bert`` nor ``raw_text``, or token ids beyond the vocabulary.
    """
    tokenizer, vocabulary = tokenizer_of(encoder), int(encoder_config(encoder).vocab_size)
    result = {}
    for split, fields in content.items():
        tokens = fields.get("text_bert")
        if tokens is None and "raw_text" not in fields:
            raise UserError(
                f"{source}: {split}: text_bert: expected this field, or raw_text to make it of; "
                "found none"
            )
        if not _keeps_tokens(tokenizer, fields):
            length = TOKENS if tokens is None else int(np.shape(tokens)[-1])
            fields = {**fields, "text_bert": tokenise(tokenizer, fields["raw_text"], length=length)}
        _refuse_unknown(fields["text_bert"], vocabulary, encoder, f"{source}: {split}")
        result[split] = fields
    return result


def check_tokens(content: FeatureFile, encoder: str, source: str | Path) -> None:
    """Look before anything is written at the tokens that :func:`with_tokens` will keep.

    Raises:
        UserError: token ids beyond the vocabulary.
    """
    tokenizer, vocabulary = tokenizer_of(encoder), int(encoder_config(encoder).vocab_size)
    for split, fields in content.items():
        if _keeps_tokens(tokenizer, fields):
            _refuse_unknown(fields["text_bert"], vocabulary, encoder, f"{source}: {split}")


def _keeps_tokens(tokenizer: Any, fields: dict[str, Any]) -> bool:
    """Whether a split's tokens are the tokenizer's own, as far as can be told."""
    tokens, texts = fields.get("text_bert"), fields.get("raw_text")
    return tokens is not None and (texts is None or _same_tokens(tokenizer, texts, tokens))


def _refuse_unknown(tokens: np.ndarray, vocabulary: int, encoder: str, where: str) -> None:
    ids = np.max(tokens[:, 0], axis=1, initial=0)
    beyond = np.flatnonzero(ids >= vocabulary)
    if len(beyond):
        raise UserError(
            f"{where}: text_bert: expected token ids below {vocabulary}, the vocabulary of "
            f"{encoder}; found {int(ids[beyond[0]])} in clip {beyond[0]}. Name the encoder that "
            "the file was made for with --text-encoder, or leave text_bert out: it is then made "
            "from raw_text"
        )


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
