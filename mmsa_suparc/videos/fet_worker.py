"""Runs MMSA-FET, in a process and, where the user says so, an environment of its own.

Started as a script by :mod:`mmsa_suparc.videos.fet`; imports nothing of this package, so that
MMSA-FET (GPL-3.0) and its older libraries need not be where the rest is. A request is a line of
JSON on standard input, the answer a line on standard output::

    {"video": "clip.mkv", "folder": "empty folder of this clip's own",
     "config": {"audio": …, "video": …}}
    {"audio": "audio.npy" or null, "vision": "vision.npy" or null, "error": null or text}

Repairs of MMSA-FET 0.4.1, from outside: ``mediapipeExtractor.extract`` does not take the keyword
``tool_output`` that ``run_single`` gives it (single.py:147); pictures are named ``%03d.bmp`` and
read in the order of their names, so that number 1000 comes between 100 and 101 (utils.py:93).
"""

import json
import os
import subprocess
import sys
import wave
from pathlib import Path


def repaired() -> type:
    """MMSA-FET's tool, with what is wrong in it set right."""
    from MSA_FET import FeatureExtractionTool, single
    from MSA_FET.extractors.video.mediapipe import mediapipeExtractor

    extract = mediapipeExtractor.extract
    mediapipeExtractor.extract = lambda self, folder, name=None, **unknown: extract(
        self, folder, name
    )
    of_all = single.ffmpeg_extract
    single.ffmpeg_extract = lambda file, target, mode="audio", fps=10: (
        pictures(file, target, fps) if mode == "image" else of_all(file, target, mode, fps)
    )
    return FeatureExtractionTool


def pictures(file: Path, folder: Path, fps: float) -> None:
    """A clip's pictures as files whose names are in order, however many."""
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", str(file), "-vf", f"fps={fps}", "-y",
         str(folder / "%06d.bmp")],
        check=True,
    )  # fmt: skip


def warm_up() -> None:
    """Load what the libraries load at their first use, so that no clip has to wait for it."""
    import librosa

    with wave.open("warm.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(16_000))
    librosa.load("warm.wav", sr=8_000)


def answer(tool: type, request: dict) -> dict:
    """Features of one clip, each as a file in the clip's folder."""
    import numpy as np

    folder = Path(request["folder"])
    found: dict = {"audio": None, "vision": None, "error": None}
    try:
        extractor = tool(
            request["config"], tmp_dir=folder / "fet", log_dir=folder / "log", verbose=0
        )
        features = extractor.run_single(request["video"])
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
        return found
    for name in ("audio", "vision"):
        array = np.asarray(features.get(name, ()), dtype=np.float32)
        if array.ndim == 2 and len(array):
            np.save(folder / f"{name}.npy", array)
            found[name] = f"{name}.npy"
    return found


def main() -> None:
    # Libraries print as they like; answers alone go to the real standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    tool = repaired()
    warm_up()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(tool, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
