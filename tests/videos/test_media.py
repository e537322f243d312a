"""Whatever a file is, reading it ends soon, opens nothing else and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from mmsa_suparc.videos import media
from mmsa_suparc.videos.media import ClipError, Copy, Limits
from tests.helpers.clips import make_clip
from tests.helpers.hostile import make_hostile

REFUSED = (
    "empty", "text", "zeros", "noise", "cut in half", "head only", "ffconcat", "hls",
    "hls over http", "svg", "subtitles", "image2 pattern", "0-byte sound", "an hour of silence",
    "FIFO", "device", "folder", "link",
)  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_hostile(tmp_path_factory.mktemp("hostile"))


def copy_of(video: Path, folder: Path, **limits: float) -> Copy:
    return media.clean_copy(video, folder, fps=5, sample_rate=16_000, limits=Limits(**limits))


def test_a_clip_is_copied_small(tmp_path: Path) -> None:
    found = copy_of(make_clip(tmp_path / "a.mp4"), tmp_path)
    assert found.has_audio
    assert found.has_vision
    assert found.seconds == pytest.approx(1.5, abs=0.2)
    sound = media.sound_of(found.path, tmp_path, Limits())
    assert len(sound) == pytest.approx(1.5 * 16_000, rel=0.1)
    assert 0.05 < abs(sound).mean() < 0.5


def test_hostile_files_end_soon(hostile: dict[str, Path], tmp_path: Path) -> None:
    read, told = [], []
    for number, (name, path) in enumerate(hostile.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        started = time.monotonic()
        try:
            copy_of(path, folder)
            read.append(name)
        except ClipError as error:
            told.append(str(error))
        assert time.monotonic() - started < 30
    assert not [text for text in told if "\n" in text or str(tmp_path) in text]
    assert not set(read) & set(REFUSED)
    assert set(read) >= {name for name in hostile if name.endswith("!")}
    assert {"one frame", "4096×4096", "1,000 frames a second"} <= set(read)


def test_the_word_for_a_long_clip(hostile: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="longer than 60 s; cut it, or raise --max-seconds"):
        copy_of(hostile["an hour of silence"], tmp_path)
    with pytest.raises(ClipError, match=r"longer than 0\.5 s"):
        copy_of(hostile["dash!"], tmp_path, seconds=0.5)


def test_what_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = f"(sleep 3; touch {mark}) & sleep 60"
    with pytest.raises(ClipError, match=r"not read within 0\.5 s"):
        media.run_fenced(["/bin/sh", "-c", child], Limits(wait=0.5))
    time.sleep(3.2)
    assert not mark.exists()


def test_memory_and_file_size_are_limited(tmp_path: Path) -> None:
    limits = Limits(memory=1 << 30, file_size=1 << 20)
    large = media.run_fenced(["python3", "-c", "bytearray(1 << 31)"], limits)
    assert large.returncode != 0
    assert "MemoryError" in large.stderr
    path = tmp_path / "large"
    media.run_fenced(["dd", "if=/dev/zero", f"of={path}", "bs=1M", "count=9"], limits)
    assert path.stat().st_size <= 1 << 20


def test_the_program_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert os.access(media.ffmpeg(), os.X_OK)  # the one that imageio-ffmpeg ships
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert media.ffmpeg() == str(program)


def test_nobody_is_left(hostile: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ClipError):
        copy_of(hostile["an hour of silence"], tmp_path, wait=0.05)
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(hostile["an hour of silence"]) not in running.stdout
