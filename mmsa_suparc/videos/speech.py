"""The words of a clip, from its sound, by a speech recognition model of the user's."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mmsa_suparc.errors import UserError
from mmsa_suparc.videos import media
from mmsa_suparc.videos.media import ClipError, Limits

SAMPLE_RATE = 16_000


class Listener:
    """Writes down what is said.

    Args:
        name: a wav2vec2 or whisper model, by folder or hub name.
        limits: what one clip may cost.

    Raises:
        UserError: no such model.
    """

    def __init__(self, name: str, *, limits: Limits | None = None) -> None:
        from transformers import pipeline

        self.limits = limits or Limits()
        try:
            self._recognise: Any = pipeline(
                "automatic-speech-recognition", model=name, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"--speech-recognition {name}: no such model, or none for speech ({reason})"
            ) from None

    def __call__(self, video: Path) -> str:
        """The words; empty for a clip without sound.

        Raises:
            ClipError: the clip cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="mmsa-sound-") as name:
            folder = Path(name)
            copy = media.clean_copy(
                video, folder, fps=1, sample_rate=SAMPLE_RATE, limits=self.limits
            )
            if not copy.has_audio:
                return ""
            sound = media.sound_of(copy.path, folder, self.limits).astype(np.float32)
        if not len(sound):
            return ""
        # Whisper reads more than half a minute only with time stamps.
        more = {"return_timestamps": True} if self._recognise.type == "seq2seq_whisper" else {}
        try:
            heard = self._recognise({"raw": sound, "sampling_rate": SAMPLE_RATE}, **more)
        except (RuntimeError, ValueError) as error:
            raise ClipError(f"no words found: {str(error).splitlines()[0]}") from None
        return str(heard["text"]).strip()
