"""Batches on the device, without the device waiting for the host."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable

import torch
from torch import Tensor

from mmsa_suparc.data.batches import Clips, send

#: Of a GPU's free memory, the share that a split may take.
SHARE = 0.25
#: Batches that are prepared ahead.
AHEAD = 3


def placed(clips: Clips, device: torch.device) -> Clips:
    """The split on the device where it fits there, else where it is.

    Batches of a split on the device are selections there; frames are sent in the precision of
    their file, and become float32 batch by batch.
    """
    if device.type != "cuda" or clips.device == device:
        return clips
    free, _ = torch.cuda.mem_get_info(device)
    if size_of(clips) > SHARE * free:
        return clips
    return clips.map(lambda tensor: tensor.to(device))


def size_of(clips: Clips) -> int:
    """Bytes of what a model sees of the clips."""
    parts = (clips.text, clips.audio, clips.vision, clips.scores, clips.encoded_text)
    return sum(part.numel() * part.element_size() for part in parts if part is not None)


def batches(
    clips: Clips, places: Iterable[Tensor], device: torch.device, *, ahead: bool | None = None
) -> Generator[Clips, None, None]:
    """The batches of these places, on the device.

    Args:
        clips: a split, there or on the CPU.
        places: (B,) each, on the CPU.
        device: where the batches go.
        ahead: whether a thread prepares and sends them; by default where they have to be sent.
    """
    if ahead is None:
        ahead = clips.device != device
    if not ahead:
        for some in places:
            yield clips.take(some)
        return
    yield from _prepared(clips, places, device)


def _prepared(
    clips: Clips, places: Iterable[Tensor], device: torch.device
) -> Generator[Clips, None, None]:
    """As many batches as :data:`AHEAD` before they are asked for, by a thread."""
    ready: queue.Queue[Clips | BaseException | None] = queue.Queue(AHEAD)
    given_up = threading.Event()

    def put(item: Clips | BaseException | None) -> None:
        while not given_up.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def prepare() -> None:
        try:
            for some in places:
                if given_up.is_set():
                    return
                put(clips.take(some, as_stored=True).map(lambda tensor: send(tensor, device)))
            put(None)
        except BaseException as error:  # raised where the batches are used
            put(error)

    thread = threading.Thread(target=prepare, name="batches", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        given_up.set()
        thread.join()
