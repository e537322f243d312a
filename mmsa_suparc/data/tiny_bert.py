"""A BERT of two layers with random weights, as a folder that ``from_pretrained`` reads.

Written without torch and transformers: it is there in a moment, and the same to the last byte with
every version of them, so that results on different machines are of the same encoder.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mmsa_suparc.errors import DiskError

LAYERS, HEADS, PLACES, SEGMENTS = 2, 4, 128, 2
#: Standard deviation of BERT's weights before it is trained.
SCALE = 0.02


def write(folder: Path, words: Sequence[str], *, width: int, seed: int = 2026) -> None:
    """Configuration, weights and tokenizer, all or nothing.

    Args:
        folder: to make; one that another process has made meanwhile is kept.
        words: the vocabulary; the place in it is the token id, and that of ``[PAD]`` is 0.
        width: of a token's vector.
        seed: of the weights.

    Raises:
        DiskError: it cannot be written; nothing is left.
    """
    shape = {
        "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "max_position_embeddings": PLACES, "vocab_size": len(words),
        "type_vocab_size": SEGMENTS, "pad_token_id": 0,
    }  # fmt: skip
    config = {"architectures": ["BertModel"], "model_type": "bert", **shape}
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".encoder.") as private:
            made = Path(private) / folder.name
            made.mkdir()
            (made / "config.json").write_text(json.dumps(config, indent=2) + "\n")
            (made / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
            (made / "tokenizer_config.json").write_text(json.dumps(tokenizer))
            weights = dict(_weights(np.random.default_rng(seed), len(words), width))
            save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
            # safetensors lets nobody but its maker read a file.
            (made / "model.safetensors").chmod((made / "vocab.txt").stat().st_mode)
            if not folder.is_dir():  # another process may have been first
                made.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise DiskError(f"cannot write {folder}: {error.strerror or error}") from None


def _weights(rng: np.random.Generator, words: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """Every weight of a ``BertModel`` by its name, drawn as BERT draws them."""

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(scale=SCALE, size=shape).astype(np.float32)

    def norm(name: str) -> Iterator[tuple[str, np.ndarray]]:
        yield f"{name}.weight", np.ones(width, dtype=np.float32)
        yield f"{name}.bias", np.zeros(width, dtype=np.float32)

    def linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, np.ndarray]]:
        yield f"{name}.weight", drawn(outputs, inputs)
        yield f"{name}.bias", np.zeros(outputs, dtype=np.float32)

    table = drawn(words, width)
    table[0] = 0.0  # padding
    yield "embeddings.word_embeddings.weight", table
    yield "embeddings.position_embeddings.weight", drawn(PLACES, width)
    yield "embeddings.token_type_embeddings.weight", drawn(SEGMENTS, width)
    yield from norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            yield from linear(f"{name}.attention.self.{part}", width, width)
        yield from linear(f"{name}.attention.output.dense", width, width)
        yield from norm(f"{name}.attention.output.LayerNorm")
        yield from linear(f"{name}.intermediate.dense", width, 2 * width)
        yield from linear(f"{name}.output.dense", 2 * width, width)
        yield from norm(f"{name}.output.LayerNorm")
    yield from linear("pooler.dense", width, width)
