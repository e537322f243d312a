"""A steady step asks the device nothing: what would make a host wait for a GPU is counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmsa_suparc.data.batches import batch_places
from mmsa_suparc.errors import DivergedError
from mmsa_suparc.training import feeding, loop, tally
from mmsa_suparc.training.runtime import Runtime
from tests.helpers.small import FAST, configured, make_clips, make_model

CPU = torch.device("cpu")
#: What copies a number to the host, or a size that only the device knows.
WAITS = (
    "_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "_unique2", "equal",
    "is_nonzero", "repeat_interleave", "bincount",
)  # fmt: skip


class Counting(TorchDispatchMode):
    """Counts operations that wait, boolean selections and copies between devices."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        name = func.__name__
        known_size = (kwargs or {}).get("output_size") is not None
        if name.split(".")[0] in WAITS and not known_size:
            self.waits[name] += 1
        if name.startswith(("index.", "index_put")) and any(
            isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in args[1]
        ):
            self.waits[f"{name} by a mask"] += 1
        if name.startswith("_to_copy") and (kwargs or {}).get("device") is not None:
            self.waits["_to_copy to a device"] += 1
        return func(*args, **(kwargs or {}))


CONFIGURATIONS = {
    "suparc": {},
    "both margins": {"margin_on": "both", "margin_scale": "constant"},
    "classes": {"sampling": "class"},
    "rank-n-contrast": {"contrastive": "rank_n_contrast"},
    "masking": {"mask_rate": 0.3, "mask_vector": "learned"},
    "mean pooling": {"text_pooling": "mean"},
    "accumulation": {"accumulation": 2},
    "no clipping": {"clip_norm": 0.0},
    "gradient caching": {"contrastive_batch_size": 48},
    "flags": {"presence_flags": True, "shared_dropout": True, "sampling": "rounded"},
    "norms": {"fusion_norm": "projection", "mask_vector": "learned"},
    "frames": {"standardise": True, "sequence_pooling": "attention"},
    "mean of frames": {"sequence_pooling": "mean"},
    "averages": {"ema": 0.9, "layer_decay": 0.5, "schedule": "cosine"},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_steady_step_asks_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FAST.model_copy(update=CONFIGURATIONS[name])
    model = configured(config)
    training = loop.Training(model, make_clips("train"), config, Runtime(CPU, "fp32"), 1)
    seen: dict[int, Counter[str]] = {}
    counting = Counting()
    add = tally.Tally.add

    def counted(self: tally.Tally, step: int, *values: Any) -> None:
        add(self, step, *values)
        seen[step] = Counter(counting.waits)

    monkeypatch.setattr(tally.Tally, "add", counted)

    with counting:
        training.epoch(1, lambda: False)
    assert len(seen) == training.count > 3
    assert counting.operations > 1000
    assert seen[training.count - 1] == seen[1] == Counter()


def test_the_count_sees_what_waits() -> None:
    with Counting() as counting:
        values = torch.arange(4.0)
        values[values > 1]
        values.sum().item()
        values.nonzero()
        torch.repeat_interleave(torch.tensor([1, 2]))
        torch.repeat_interleave(torch.tensor([1, 2]), output_size=3)
    assert len(counting.waits) == 4, counting.waits


def test_losses_are_read_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = tally.Tally.look
    monkeypatch.setattr(tally.Tally, "look", lambda self: looks.append(1) or look(self))
    config = FAST.model_copy(update={"batch_size": 4})
    training = loop.Training(make_model(), make_clips("train"), config, Runtime(CPU, "fp32"), 1)
    means = training.epoch(1, lambda: False)
    assert training.count == 50
    assert len(looks) == 50 // tally.LOOK + 1
    assert means["loss"] == pytest.approx(
        sum(
            weight * means[f"loss_{name}"]
            for name, weight in (("mae", 1), ("suparc", config.weight_suparc),
                                 ("triplet", config.weight_triplet),
                                 ("masked", config.weight_masked))
        ), rel=1e-5
    )  # fmt: skip


def test_what_diverged_is_named_though_it_is_seen_later() -> None:
    watched = tally.Tally(3, lambda places: [f"clip-{place}" for place in places.tolist()])
    fine, broken = torch.tensor(1.0), torch.tensor(float("nan"))
    places, all_finite = torch.tensor([5, 6]), torch.tensor([True, True])
    for step in range(1, 8):
        watched.add(step, places, fine, {"mae": fine}, all_finite, fine)
    watched.add(
        8,
        places,
        broken,
        {
            "mae": fine,
        },
        torch.tensor([True, False]),
        fine,
    )
    watched.add(9, places, broken, {"mae": broken}, all_finite, broken)
    with pytest.raises(
        DivergedError, match=r"epoch 3, step 8: the term 'loss' is nan; clips clip-6"
    ):
        watched.means()
    gradients = tally.Tally(1, lambda places: [])
    gradients.add(1, places, fine, {"mae": fine}, all_finite, None)
    gradients.add(2, places, fine, {"mae": fine}, all_finite, torch.tensor(float("inf")))
    with pytest.raises(DivergedError, match="step 2: the gradient is inf"):
        gradients.look()


def test_a_thread_that_prepares_gives_the_same_batches() -> None:
    clips = make_clips("train")
    places = batch_places(clips, 16, generator=torch.Generator().manual_seed(1), by_length=True)
    found = [list(feeding.batches(clips, places, CPU, ahead=ahead)) for ahead in (False, True)]
    assert len(found[0]) == len(found[1]) == len(places)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.audio, other.audio)
        assert torch.equal(one.text, other.text)
        assert torch.equal(one.layout.packing.places, other.layout.packing.places)


def test_a_thread_that_prepares_ends_with_its_user() -> None:
    import threading

    clips = make_clips("train")
    before = threading.active_count()
    prepared = feeding.batches(clips, torch.arange(200).split(4), CPU, ahead=True)
    next(prepared)
    assert threading.active_count() == before + 1
    prepared.close()
    assert threading.active_count() == before
    with pytest.raises(IndexError):
        list(feeding.batches(clips, [torch.tensor([10_000])], CPU, ahead=True))


def test_frames_keep_their_precision_until_they_are_encoded() -> None:
    clips = make_clips("train").map(
        lambda tensor: tensor.half() if tensor.ndim == 3 and tensor.is_floating_point() else tensor
    )
    batch = clips.take(torch.arange(8), as_stored=True)
    assert batch.audio.dtype == batch.vision.dtype == torch.float16
    model = make_model(dropout=0.0)
    prediction = model.predict(model.fuse(model.encode(
        batch.text, batch.audio, batch.vision, batch.audio_lengths, batch.vision_lengths
    )))  # fmt: skip
    assert prediction.dtype == torch.float32
