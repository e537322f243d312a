"""MMSA-FET from outside: a video in, features out, through a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mmsa_suparc.errors import UserError
from mmsa_suparc.videos import media
from mmsa_suparc.videos.media import ClipError, Limits
from mmsa_suparc.videos.recipe import Recipe, averaged

ENVIRONMENT_PYTHON = "MMSA_FET_PYTHON"
ADVICE = (
    "pip install 'mmsa-suparc[fet]' into an environment and name its Python with --fet-python or "
    f"{ENVIRONMENT_PYTHON}"
)
#: Seconds that MMSA-FET may take to load its libraries.
START = 180.0
WORKER = Path(__file__).with_name("fet_worker.py")


@dataclass(frozen=True)
class ClipFeatures:
    """What was found in a clip.

    Args:
        audio: (T_a, D_a) float32, not normalised; None where the clip has no sound.
        vision: (T_v, D_v) likewise; None where no face was found.
        notes: why a modality is missing, or what was cut.
        seconds: the clip's length.
    """

    audio: np.ndarray | None
    vision: np.ndarray | None
    notes: tuple[str, ...]
    seconds: float


def find_python(said: str | None) -> str:
    """The Python that runs MMSA-FET: as said, as ``MMSA_FET_PYTHON`` says, or this one."""
    python = said or os.environ.get(ENVIRONMENT_PYTHON) or sys.executable
    # Not resolved: the link to Python is what makes it the environment's.
    return os.path.abspath(os.path.expanduser(python)) if os.sep in python else python


def has_fet(python: str) -> bool:
    """Whether MMSA-FET is installed there; nothing of it is loaded."""
    look = "import importlib.util as u, sys; sys.exit(u.find_spec('MSA_FET') is None)"
    try:
        return subprocess.run([python, "-I", "-c", look], check=False).returncode == 0
    except OSError:
        return False


def require_fet(python: str) -> None:
    """Refuse a Python without MMSA-FET, before anything is extracted.

    Raises:
        UserError: what to install, and how to say where it is.
    """
    if not has_fet(python):
        raise UserError(f"MMSA-FET is not installed in {python}; {ADVICE}")


class Extractor:
    """Extracts features, one clip at a time; threads wait for each other.

    Args:
        recipe: what to extract.
        python: the Python of the environment that has MMSA-FET; this one by default.
        limits: what one clip may cost.
    """

    def __init__(
        self, recipe: Recipe, *, python: str | None = None, limits: Limits | None = None
    ) -> None:
        self.recipe = recipe
        self.limits = limits or Limits()
        self.python = find_python(python)
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def __enter__(self) -> Extractor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; the next clip starts another."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def __call__(self, video: str | Path) -> ClipFeatures:
        """Features of a clip.

        Raises:
            ClipError: the clip cannot be used, with the reason.
            UserError: MMSA-FET or ffmpeg is not installed.
        """
        with self._lock, tempfile.TemporaryDirectory(prefix="mmsa-clip-") as folder:
            return self._extract(Path(video), Path(folder))

    def _extract(self, video: Path, folder: Path) -> ClipFeatures:
        recipe = self.recipe
        copy = media.clean_copy(
            video, folder, fps=recipe.fps, sample_rate=recipe.sample_rate, limits=self.limits
        )
        notes = []
        config: dict[str, Any] = {}
        if recipe.audio is not None:
            if not copy.has_audio:
                notes.append("audio missing: no sound in the file")
            elif (level := loudness(copy.path, folder, self.limits)) < recipe.silence:
                notes.append(f"audio missing: silence (root mean square {level:.1g})")
            else:
                config["audio"] = recipe.audio
        if recipe.video is not None:
            if copy.has_vision:
                config["video"] = recipe.video
            else:
                notes.append("vision missing: no pictures in the file")
        found = {
            name: self._ask(copy.path, folder / name, {name: section})
            for name, section in config.items()
        }
        audio, vision = found.get("audio"), found.get("video")
        if "video" in config and vision is None:
            notes.append("vision missing: no face was found")
        if "audio" in config and audio is None:
            notes.append("audio missing: too short for a frame")
        if audio is None and vision is None:
            raise ClipError("; ".join(notes) or "nothing to extract")
        return ClipFeatures(
            None if audio is None else averaged(audio, recipe.average.audio),
            None if vision is None else averaged(vision, recipe.average.vision),
            tuple(notes),
            copy.seconds,
        )

    def _ask(self, copy: Path, folder: Path, config: dict[str, Any]) -> np.ndarray | None:
        """One modality of a clean copy, from the worker."""
        folder.mkdir()
        if self._worker is None:
            self._worker = Worker(self.python, self.limits)
        try:
            answer = self._worker.ask(
                {"video": str(copy), "folder": str(folder), "config": config}, self.limits.wait
            )
        except BaseException:
            self.close()
            raise
        if answer["error"] and not _nothing_found(answer["error"]):
            raise ClipError(f"MMSA-FET: {answer['error'][:200]}")
        name = answer["audio"] or answer["vision"]
        if name is None:
            return None
        array: np.ndarray = np.load(folder / name)
        return array[np.isfinite(array).all(axis=1)] if len(array) else None


def _nothing_found(error: str) -> bool:
    """OpenFace raises where mediapipe finds nothing."""
    return "No face" in error


class Worker:
    """A process that runs MMSA-FET; see :mod:`mmsa_suparc.videos.fet_worker`.

    Raises:
        UserError: MMSA-FET cannot be loaded there.
    """

    def __init__(self, python: str, limits: Limits) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mmsa-fet-")
        programs = Path(self._folder.name)
        (programs / "ffmpeg").symlink_to(media.ffmpeg())
        self._errors = (programs / "stderr").open("w+b")
        roomy = Limits(wait=1e6, memory=limits.memory, file_size=limits.file_size)
        self._process = subprocess.Popen(
            media.fenced([python, "-I", str(WORKER)], roomy),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            start_new_session=True, cwd=programs,
            env={
                **os.environ, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
                "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "GLOG_minloglevel": "2",
                "MPLBACKEND": "agg",  # mediapipe loads matplotlib, and a notebook's is not there
            },
        )  # fmt: skip
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._answer(START)
        except ClipError:
            words = self._last_words()
            self.close()
            raise UserError(f"MMSA-FET does not run in {python} ({words}); {ADVICE}") from None

    def ask(self, request: dict[str, Any], wait: float) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            ClipError: the process ended, or gave no answer in time.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise ClipError(f"MMSA-FET ended ({self._last_words()})") from None
        return self._answer(wait)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _answer(self, wait: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=wait)
        except queue.Empty:
            raise ClipError(f"no features within {wait:g} s") from None
        if not line:
            raise ClipError(f"MMSA-FET ended ({self._last_words()})")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip()[:200] if lines else "no message"

    def close(self) -> None:
        """Kill it with all that it started."""
        media.kill(self._process)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # a request that nobody will read
                    stream.close()
        shutil.rmtree(self._folder.name, ignore_errors=True)
        self._folder.cleanup()


def loudness(copy: Path, folder: Path, limits: Limits) -> float:
    """Root mean square of a clean copy's sound, full scale 1."""
    samples = media.sound_of(copy, folder, limits)
    return float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
