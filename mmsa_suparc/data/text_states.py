"""Text features of a file that has only words: the encoder's last hidden states, kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmsa_suparc.data.cache import cache_folder, file_identity, key_of, one_maker, sweep
from mmsa_suparc.data.files import write_atomically
from mmsa_suparc.data.reader import FeatureFile
from mmsa_suparc.data.text import (
    encoder_config,
    encoder_fingerprint,
    find_encoder,
    loading,
    with_tokens,
)
from mmsa_suparc.errors import UserError
from mmsa_suparc.model.encoders import takes_segments
from mmsa_suparc.progress import progress


def with_states(
    content: FeatureFile, encoder: str, source: str | Path, device: str = "cpu"
) -> FeatureFile:
    """The same splits with ``text`` (N, L, W), W the encoder's width.

    A ``text`` array of that width is kept, and one of any width where the encoder is not to be
    had. Otherwise the encoder's last hidden states are computed once and kept in the cache
    folder, keyed by the file and the encoder.
    """
    widths = {np.shape(fields.get("text", 0))[-1:] for fields in content.values()}
    try:
        encoder = find_encoder(encoder)
    except UserError:
        if () in widths:
            raise
        return content
    if widths == {(int(encoder_config(encoder).hidden_size),)}:
        return content
    key = key_of(file_identity(Path(source)), encoder_fingerprint(encoder))
    content = with_tokens(content, encoder, source)
    sweep()
    with one_maker(key):
        return _with_kept_states(content, encoder, key, device)


def _with_kept_states(content: FeatureFile, encoder: str, key: str, device: str) -> FeatureFile:
    model = None
    result = {}
    for split in content:
        path = cache_folder("text") / f"{key}-{split}.npy"
        if not path.is_file():
            model = model or load_encoder(encoder).to(device)
            states = hidden_states(model, content[split]["text_bert"], label=f"text of {split}")
            write_atomically(path, lambda file, s=states: np.save(file, s))  # type: ignore[misc]
        result[split] = {**content[split], "text": np.load(path, mmap_mode="r")}
    return result


def load_encoder(name: str) -> Any:
    """A text encoder to be asked, of a folder or a name on the hub."""
    from transformers import AutoModel

    with loading(name) as options:
        return AutoModel.from_pretrained(name, **options).eval()


def hidden_states(
    model: Any, text_bert: np.ndarray, *, batch_size: int = 64, label: str = "text"
) -> np.ndarray:
    """Last hidden states (N, L, W) float32, zeros where no token is."""
    with_segments = takes_segments(model)
    states = []
    with torch.inference_mode():
        tokens = torch.from_numpy(np.array(text_bert, dtype=np.int64))
        for batch in progress(tokens.split(batch_size), label):
            ids, mask, segments = batch.to(model.device).unbind(dim=1)
            extra = {"token_type_ids": segments} if with_segments else {}
            out = model(input_ids=ids, attention_mask=mask, **extra)[0]
            states.append((out * mask[:, :, None]).float().cpu().numpy())
    return np.concatenate(states)
