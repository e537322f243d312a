"""What the toolkit's data set reads: the feature file, prepared for the configured encoder."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmsa_suparc.data import missing, reader, text
from mmsa_suparc.data.batches import Clips
from mmsa_suparc.data.cache import file_identity
from mmsa_suparc.data.fold import fold_of
from mmsa_suparc.data.folds import cut
from mmsa_suparc.data.text_states import with_states
from mmsa_suparc.names import MODALITIES, SPLITS
from mmsa_suparc.toolkit import registry

_args: ContextVar[Any] = ContextVar("args", default=None)
_mode: ContextVar[str] = ContextVar("mode", default="")
_given: ContextVar[reader.FeatureFile | None] = ContextVar("given", default=None)


@contextlib.contextmanager
def reading_for(args: Any, mode: str) -> Iterator[None]:
    """Within this block :func:`prepared` knows the run's encoder, what the model needs, and which
    split is asked for."""
    tokens = _args.set(args), _mode.set(mode)
    try:
        yield
    finally:
        _args.reset(tokens[0])
        _mode.reset(tokens[1])


@contextlib.contextmanager
def given(content: reader.FeatureFile) -> Iterator[None]:
    """Within this block :func:`prepared` answers with these splits, whatever file is asked for;
    their text fits the encoder already."""
    token = _given.set(content)
    try:
        yield
    finally:
        _given.reset(token)


def prepared(path: str | Path) -> reader.FeatureFile:
    """A feature file; its text made to fit the encoder where the run takes text from it, and
    without the modalities that the run's model is not to see. Of a fold only the split that is
    asked for, a copy in memory of its clips."""
    args = _args.get()
    content = _cut(path, args)
    if args is None or registry.masks_by_itself(args["model_name"]):
        return content
    kept = [name for name in MODALITIES if name in args.get("modalities", MODALITIES)]
    if len(kept) == len(MODALITIES):
        return content
    knows = registry.trainer_offers(args["model_name"], "takes_arrays")
    return {
        split: missing.without(fields, kept, knows_masks=knows) for split, fields in content.items()
    }


def _cut(path: str | Path, args: Any) -> reader.FeatureFile:
    """The file's splits, or a fold's; or what is given in their place."""
    content = _given.get()
    if content is not None:
        return _with_frames(content, args)
    fold = fold_of(args) if args is not None else None
    if fold is None:
        return _of_file(path, args, SPLITS)
    clips = reader.read(args.get("custom_feature") or args["featurePath"])
    return cut(clips, fold).of(_of_file(path, args, fold.pool), (_mode.get(),))


def _of_file(path: str | Path, args: Any, splits: Sequence[str]) -> reader.FeatureFile:
    """These splits as they are in the file."""
    takes_arrays = args is not None and registry.trainer_offers(args["model_name"], "takes_arrays")
    content = reader.read_to_train(path, at_once=takes_arrays)
    content = {split: content[split] for split in splits}
    content = _with_frames(content, args)
    if args is None or str(path) in {args.get("feature_A"), args.get("feature_V")}:
        return content
    encoder = args["pretrained"]
    if args.get("use_bert"):
        return reader.once(
            (file_identity(Path(path)), encoder, "tokens", *splits),
            lambda: text.with_tokens(content, encoder, path),
        )
    return reader.once(
        (file_identity(Path(path)), encoder, "states", *splits),
        lambda: with_states(content, encoder, path, str(args.get("device", "cpu"))),
    )


def _with_frames(content: reader.FeatureFile, args: Any) -> reader.FeatureFile:
    """Lengths of at least one frame for the toolkit's models, which cannot pack an empty
    sequence."""
    if args is None or args["model_name"] in registry.registered():
        return content
    lengths = ("audio_lengths", "vision_lengths")
    return {
        split: {k: np.maximum(v, 1) if k in lengths else v for k, v in fields.items()}
        for split, fields in content.items()
    }


def fill(dataset: Any, args: Any, mode: str) -> None:
    """What ``MMDataset.__init__`` does, for a trainer that takes whole arrays.

    The same attributes as the toolkit's, which makes float32 copies of all of them; here they
    stay memory maps of the feature cache, so a data set may be larger than memory. Float16
    stays float16 until a batch is made of it.
    """
    dataset.mode, dataset.args = mode, args
    with reading_for(args, mode):
        content = prepared(args.get("custom_feature") or args["featurePath"])[mode]
        other = {
            letter: prepared(args[f"feature_{letter}"])[mode]
            for letter in "TAV"
            if args[f"feature_{letter}"]
        }
    words = other.get("T", content)
    texts = words.get("raw_text", content["raw_text"])
    dataset.text = without_blank(words["text_bert"], texts)
    dataset.audio = other.get("A", content)["audio"]
    dataset.vision = other.get("V", content)["vision"]
    args["feature_dims"][1] = dataset.audio.shape[2]
    args["feature_dims"][2] = dataset.vision.shape[2]
    dataset.raw_text, dataset.ids = content["raw_text"], content["id"]
    dataset.labels = {
        letter: np.asarray(content[f"regression_labels{suffix}"], dtype=np.float32)
        for letter, suffix in (("M", ""), ("T", "_T"), ("A", "_A"), ("V", "_V"))
        if f"regression_labels{suffix}" in content
    }
    for letter, name in (("A", "audio"), ("V", "vision")):
        if args["need_data_aligned"]:
            lengths = aligned_lengths(words["text_bert"], texts, getattr(dataset, name))
        else:
            lengths = other.get(letter, content)[f"{name}_lengths"]
        setattr(dataset, f"{name}_lengths", lengths)


def aligned_lengths(tokens: Any, texts: Any, frames: Any) -> np.ndarray:
    """Lengths (N,) of frames (N, L, D) that stand beside tokens (N, 3, L): as many as there are
    tokens; of a clip without words, up to the last frame that is not all zeros."""
    lengths = np.array(tokens[:, 1]).sum(axis=-1).astype(np.int64)
    for row in np.flatnonzero(_is_blank(texts) | (lengths == 0)):
        filled = np.flatnonzero(np.asarray(frames[row]).any(axis=-1))
        lengths[row] = filled[-1] + 1 if len(filled) else 0
    return lengths


def without_blank(tokens: Any, texts: Any) -> Any:
    """Tokens (N, 3, L) that mark a clip without words as one whose text is missing."""
    blank = _is_blank(texts)
    if not blank.any():
        return tokens
    tokens = np.array(tokens)
    tokens[blank, 1] = 0
    return tokens


def _is_blank(texts: Any) -> np.ndarray:
    return np.array([not str(text).strip() for text in texts], dtype=bool)


def take_from_data(args: Any, dataset: Any) -> None:
    """Set what the toolkit's configuration files claim about the data from the data itself.

    The number of training clips; the text width (the toolkit writes 768); SELF_MM's
    ``text_out``, which is the encoder's width; MCTN's ``output_dim``, the largest width, and that
    unaligned sequences are averaged to the text's length, as the toolkit does for its other models
    of word-aligned data; TFR_NET's number of temporal heads, which must divide all three sequence
    lengths.
    """
    if args.get("use_bert"):
        width = int(text.encoder_config(args["pretrained"]).hidden_size)
        args["feature_dims"][0] = width
        if "text_out" in args:
            args["text_out"] = width
    if args["model_name"] == "mctn":  # pads all three to it
        args["output_dim"] = max(args["feature_dims"])
        if len(set(dataset.get_seq_len())) > 1:
            args["need_model_aligned"] = True
    if dataset.mode == "train":
        args["train_samples"] = len(dataset)
        if "num_temporal_head" in args:
            common = math.gcd(*dataset.get_seq_len())
            args["num_temporal_head"] = math.gcd(common, int(args["num_temporal_head"]))


def clips_of(loader: Any) -> Clips:
    """All clips behind one of the toolkit's data loaders, as arrays.

    The toolkit's ``MMDataset`` holds the whole split already; any other loader is read once
    through its batches (dictionaries with text, audio, vision, lengths and labels).
    """
    dataset: Any = getattr(loader, "dataset", None)
    if all(hasattr(dataset, name) for name in ("text", "audio", "vision", "labels")):
        split = {name: getattr(dataset, name) for name in ("text", "audio", "vision")}
        scores = dataset.labels["M"]
        for name in ("audio_lengths", "vision_lengths"):
            split[name] = getattr(dataset, name, None)
    else:
        batches = list(loader)
        split = {
            name: np.concatenate([np.asarray(batch[name]) for batch in batches])
            for name in batches[0]
            if name in ("text", "audio", "vision", "audio_lengths", "vision_lengths")
        }
        scores = np.concatenate([np.asarray(batch["labels"]["M"]) for batch in batches])
    scores = _tensor(scores).float().reshape(-1)
    count = len(scores)

    def lengths(name: str) -> torch.Tensor:
        given = split.get(f"{name}_lengths")
        if given is None:
            return torch.full((count,), np.shape(split[name])[1])
        return torch.tensor(np.array(given)).long().reshape(-1)

    return Clips(
        text=_tensor(split["text"]).long(),
        audio=_tensor(split["audio"]),
        vision=_tensor(split["vision"]),
        audio_lengths=lengths("audio"),
        vision_lengths=lengths("vision"),
        scores=scores,
        index=torch.arange(count),
        names=tuple(str(name) for name in getattr(dataset, "ids", ())),
    )


def _tensor(array: Any) -> torch.Tensor:
    """An array's own memory as a tensor; that of the cache is read-only, and is only read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.as_tensor(np.asarray(array))
