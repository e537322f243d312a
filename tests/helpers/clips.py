"""Real clips made here: a photograph of a face that moves, a voice-like sound, an mp4."""

from __future__ import annotations

import csv
import subprocess
import wave
from pathlib import Path

import numpy as np

from mmsa_suparc.videos.media import ffmpeg

SAMPLE_RATE = 16_000
SENTENCES = (
    ("i love this movie so much", 2.4), ("it was awful", -2.2), ("not bad at all", 1.0),
    ("the worst thing that i ever saw", -3.0), ("great acting and a fine story", 2.0),
    ("boring", -1.2),
)  # fmt: skip


def encode(target: Path, *arguments: str, stdin: bytes = b"") -> Path:
    """Run ffmpeg."""
    subprocess.run(
        [ffmpeg(), "-y", "-v", "error", *arguments, f"file:{target}"],
        input=stdin, check=True, timeout=120,
    )  # fmt: skip
    return target


def make_clip(
    target: Path,
    *,
    seconds: float = 1.5,
    fps: int = 10,
    seed: int = 0,
    tone: float = 150.0,
    face: bool = True,
    sound: bool | None = True,
) -> Path:
    """A clip; ``sound`` False is silence, None no sound at all."""
    from skimage import data

    chance = np.random.default_rng(seed)
    photograph = data.astronaut() if face else np.full((512, 512, 3), 90, dtype=np.uint8)
    frames = []
    for place in range(round(seconds * fps)):
        shift = (int(8 * np.cos(place / 4)), int(12 * np.sin(place / 5 + seed)))
        frames.append(np.roll(photograph, shift, axis=(0, 1))[:320, 60:380])
    pictures = np.stack(frames).astype(np.uint8).tobytes()
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    loud = 0.3 * np.sin(2 * np.pi * tone * time * (1 + 0.05 * np.sin(19 * time)))
    samples = loud * (0.6 + 0.4 * np.sin(25 * time)) + 0.01 * chance.standard_normal(len(time))
    track = target.with_suffix(".wav")
    with wave.open(str(track), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples * (32767 if sound else 0)).astype("<i2").tobytes())
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "320x320", "-r", str(fps), "-i", "-"]
    with_sound = [] if sound is None else ["-i", str(track), "-c:a", "aac"]
    encode(target, *raw, *with_sound, "-c:v", "libx264", "-pix_fmt", "yuv420p", stdin=pictures)
    track.unlink()
    return target


def make_data_set(folder: Path, *, videos: int = 5, clips: int = 3) -> Path:
    """A folder in the toolkit's layout; one clip has no face, one no sound, two are broken."""
    columns = ["video_id", "clip_id", "text", "label", "annotation", "mode"]
    rows: list[list[object]] = []
    for video in range(videos):
        (folder / "Raw" / f"v{video}").mkdir(parents=True)
        for clip in range(clips):
            words, score = SENTENCES[(video * clips + clip) % len(SENTENCES)]
            make_clip(
                folder / "Raw" / f"v{video}" / f"{clip}.mp4",
                seed=video * clips + clip, tone=150 + 20 * score,
                face=(video, clip) != (1, 1), sound=None if (video, clip) == (2, 0) else True,
            )  # fmt: skip
            rows.append([f"v{video}", clip, words, score, "", ""])
    (folder / "Raw" / "v0" / "8.mp4").write_bytes(b"this is no video")
    rows += [["v0", 8, "broken", 1.0, "", ""], ["v0", 9, "gone", 1.0, "", ""]]
    with (folder / "label.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return folder
