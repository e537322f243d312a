"""Videos of strangers, made harmless: ffmpeg behind a fence, and a clean copy of each clip.

A file that calls itself a video can make ffmpeg open other files (playlists), never end, or need
all memory. So: only container formats that hold their own data, only the protocol ``file``, no
standard input, limits on time, memory, file size, frames and pixels, and a process group that is
killed whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsa_suparc.errors import UserError

#: Demuxers that are given a file; none of them names another file to open.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,wav,mp3,aac,flac"
)
#: The longer side of the copy's picture.
SIDE = 640


class ClipError(UserError):
    """This clip cannot be read; the message says why, without its name."""


@dataclass(frozen=True)
class Limits:
    """What one clip may cost.

    Args:
        seconds: of the clip, at most.
        wait: seconds of work on it, for each program.
        memory: bytes of address space of each program.
        file_size: bytes of a file that it writes, and of the clip itself.
        pixels: of a picture.
    """

    seconds: float = 60.0
    wait: float = 25.0
    memory: int = 8 << 30
    file_size: int = 2 << 30
    pixels: int = 1 << 25


@dataclass(frozen=True)
class Copy:
    """The clean copy of a clip: small pictures at a few frames a second, mono sound."""

    path: Path
    has_audio: bool
    has_vision: bool
    seconds: float


def clean_copy(video: Path, folder: Path, *, fps: float, sample_rate: int, limits: Limits) -> Copy:
    """Decode a clip into a file of our own, which other programs may then read.

    Args:
        video: any file.
        folder: where the copy goes.
        fps: pictures a second of the copy.
        sample_rate: Hz.

    Raises:
        ClipError: no regular file, empty, no video, too long, or over a limit.
    """
    _check_file(video, limits)
    target = folder / "clip.mkv"
    scale = f"scale={SIDE}:{SIDE}:force_original_aspect_ratio=decrease:force_divisible_by=2"
    done = run_fenced(
        [
            ffmpeg(), "-nostdin", "-hide_banner", "-v", "error", "-threads", "1",
            "-protocol_whitelist", "file", "-format_whitelist", FORMATS,
            "-max_pixels", str(limits.pixels), "-t", f"{limits.seconds + 1:g}",
            "-i", f"file:{video.resolve()}",
            "-map", "0:v:0?", "-map", "0:a:0?", "-sn", "-dn", "-map_metadata", "-1",
            "-t", f"{limits.seconds + 1:g}", "-frames:v", str(round((limits.seconds + 1) * fps)),
            "-vf", f"fps={fps:g},{scale}", "-c:v", "ffv1", "-pix_fmt", "yuv420p",
            "-ac", "1", "-ar", str(sample_rate), "-c:a", "pcm_s16le",
            "-fs", str(limits.file_size), "-y", f"file:{target}",
        ],
        limits,
    )  # fmt: skip
    if done.returncode or not target.is_file():
        raise ClipError(f"no video that ffmpeg can read: {_reason(done.stderr)}")
    seconds, streams = _look_at(target, limits)
    if seconds > limits.seconds:
        raise ClipError(f"longer than {limits.seconds:g} s; cut it, or raise --max-seconds")
    if not streams:
        raise ClipError("neither pictures nor sound in it")
    return Copy(target, "Audio" in streams, "Video" in streams, seconds)


def _check_file(video: Path, limits: Limits) -> None:
    try:
        found = video.stat()
    except (OSError, ValueError) as error:
        raise ClipError(f"no such file ({getattr(error, 'strerror', error)})") from None
    if not stat.S_ISREG(found.st_mode):
        raise ClipError("not a regular file; expected a video")
    if found.st_size == 0:
        raise ClipError("empty file; expected a video")
    if found.st_size > limits.file_size:
        raise ClipError(f"{found.st_size} bytes; expected at most {limits.file_size}")


def _look_at(copy: Path, limits: Limits) -> tuple[float, set[str]]:
    """Duration and kinds of streams of a copy of our own, as ffmpeg tells them."""
    done = run_fenced([ffmpeg(), "-nostdin", "-hide_banner", "-i", f"file:{copy}"], limits)
    streams = set(re.findall(r"Stream #0:\d+.*?: (Video|Audio):", done.stderr))
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", done.stderr)
    if not length:
        return 0.0, set()
    hours, minutes, seconds = map(float, length.groups())
    return hours * 3600 + minutes * 60 + seconds, streams


def _reason(text: str) -> str:
    """ffmpeg's last word, on one line, without paths."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "no output"
    return re.sub(r"(file:)?/\S+", "the file", last)[:200].rstrip(".:")


def ffmpeg() -> str:
    """The program, or the one that the package ``imageio-ffmpeg`` ships.

    Raises:
        UserError: neither is here.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        path: str = imageio_ffmpeg.get_ffmpeg_exe()
        return path
    except (ImportError, RuntimeError):
        raise UserError(
            "no program ffmpeg here; install it, or pip install imageio-ffmpeg"
        ) from None


def fenced(command: Sequence[str], limits: Limits) -> list[str]:
    """The command under limits on memory, processor time and size of files."""
    script = 'ulimit -v "$1"; ulimit -t "$2"; ulimit -f "$3"; ulimit -c 0; shift 3; exec "$@"'
    numbers = (limits.memory >> 10, round(4 * limits.wait), limits.file_size >> 9)
    return ["/bin/sh", "-c", script, "sh", *map(str, numbers), *command]


def run_fenced(command: Sequence[str], limits: Limits) -> subprocess.CompletedProcess[str]:
    """Run to the end, or kill it with all that it started.

    Raises:
        ClipError: it took longer than ``limits.wait``.
    """
    process = subprocess.Popen(
        fenced(command, limits), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        _, error = process.communicate(timeout=limits.wait)
    except BaseException as reason:
        kill(process)
        process.communicate()
        if isinstance(reason, subprocess.TimeoutExpired):
            raise ClipError(f"not read within {limits.wait:g} s") from None
        raise
    return subprocess.CompletedProcess(command, process.returncode, "", error)


def kill(process: subprocess.Popen) -> None:
    """A process and everything in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def sound_of(copy: Path, folder: Path, limits: Limits) -> np.ndarray:
    """(samples,) float64 in [−1, 1] of a clean copy."""
    target = folder / "sound.wav"
    done = run_fenced(
        [ffmpeg(), "-nostdin", "-v", "error", "-i", f"file:{copy}", "-vn", "-c:a", "copy",
         "-y", f"file:{target}"],
        limits,
    )  # fmt: skip
    if done.returncode:
        raise ClipError(f"its sound cannot be read: {_reason(done.stderr)}")
    with wave.open(str(target)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return data.astype(np.float64) / 32768
