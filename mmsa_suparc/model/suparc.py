"""SupArc: three encoders, masking, a fusion MLP and a prediction MLP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mmsa_suparc.model.encoders import SequenceEncoder, TextEncoder, full_precision, side_by_side
from mmsa_suparc.model.fusion import FusionMLP, FusionNorm, fusion_norms
from mmsa_suparc.model.packing import UNKNOWN, Layout
from mmsa_suparc.names import MODALITIES

if TYPE_CHECKING:
    from mmsa_suparc.config import SupArcConfig

Presence = Sequence[bool] | Iterable[str] | Tensor | None


class Encodings(NamedTuple):
    """What the encoders made of a batch: everything that fusion needs."""

    text: Tensor  # (B, W)
    audio: Tensor  # (B, 2H_a)
    vision: Tensor  # (B, 2H_v)
    present: Tensor  # (B, 3) bool: False where a clip lacks that modality in the data


class SupArc(nn.Module):
    """A score, and the fusion vector that the losses shape.

    Formula::

        u_t = transformer(text)[first token],  u_a, u_v = BiLSTM(audio), BiLSTM(vision)
        f_S = MLP([m_t; m_a; m_v]) with m = norm(u) for the modalities in S, the mask vector else
        ŷ   = MLP(f_S)

    Masking happens after the encoders, so any subset S costs one more call of the small
    fusion MLP and none of the transformer.

    Mixed precision (``torch.autocast`` around a call) is for the transformer alone; all that comes
    after it is small, and computed in the precision of its weights.

    Args:
        text_encoder: gives (B, W).
        audio_encoder: gives (B, 2H_a).
        vision_encoder: gives (B, 2H_v).
        fusion_width: D, the width of the fusion vector.
        dropout: on the inputs of both MLPs, in [0, 1).
        mask_vector: what stands for an absent modality: ``zero``, or a ``learned`` vector.
        modalities: the others are absent in every clip: the same network with fewer inputs.
        fusion_norm: what each encoding passes before the fusion; see
            :func:`mmsa_suparc.model.fusion.fusion_norms`.
        presence_flags: whether the fusion is told which modalities are present.
        shared_dropout: subsets that are fused in one call (K, 1, 3) share one dropout mask.
    """

    used: Tensor

    def __init__(
        self,
        *,
        text_encoder: TextEncoder,
        audio_encoder: SequenceEncoder,
        vision_encoder: SequenceEncoder,
        fusion_width: int = 128,
        dropout: float = 0.1,
        mask_vector: Literal["zero", "learned"] = "zero",
        modalities: Iterable[str] = MODALITIES,
        fusion_norm: FusionNorm = "none",
        presence_flags: bool = False,
        shared_dropout: bool = False,
    ) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.audio_encoder = audio_encoder
        self.vision_encoder = vision_encoder
        encoded = (text_encoder.width, audio_encoder.width, vision_encoder.width)
        self.shared_dropout = shared_dropout
        self.norms, widths = fusion_norms(fusion_norm, encoded, fusion_width)
        self.fusion = FusionMLP(
            sum(widths),
            fusion_width,
            dropout=dropout,
            presence_flags=presence_flags,
            shared_dropout=shared_dropout,
        )
        self.prediction = nn.Sequential(
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(fusion_width, fusion_width),
            nn.ReLU(),
            nn.Linear(fusion_width, 1),
        )
        used = subset_flags(tuple(modalities), torch.device("cpu"))
        self.register_buffer("used", used, persistent=False)  # (3,) bool
        learned = mask_vector == "learned"
        self.mask_vectors = nn.ParameterList(
            nn.Parameter(torch.zeros(width), requires_grad=learned) for width in widths
        )

    @classmethod
    def from_config(
        cls, config: SupArcConfig, *, transformer: Any, audio_width: int, vision_width: int
    ) -> SupArc:
        """The network as a configuration has it; neither the toolkit nor a file is needed.

        Args:
            config: sizes, dropout, mask vector, modalities.
            transformer: the text encoder, a Hugging Face module.
            audio_width: D_a, values a frame.
            vision_width: D_v.
        """
        hidden = {"audio": config.audio_hidden, "vision": config.vision_hidden}
        widths = {"audio": audio_width, "vision": vision_width}
        audio, vision = (
            SequenceEncoder(
                width=widths[name],
                hidden=hidden[name],
                layers=config.lstm_layers,
                pooling=config.sequence_pooling,
                standardise=config.standardise,
            )
            for name in ("audio", "vision")
        )
        return cls(
            text_encoder=TextEncoder(
                transformer=transformer,
                finetune=config.use_finetune,
                pooling=config.text_pooling,
                # What torch.compile compiles is the encoder's own module.
                fast=config.fast_encoder and not config.compile,
            ),
            audio_encoder=audio,
            vision_encoder=vision,
            fusion_width=config.fusion_width,
            dropout=config.dropout,
            mask_vector=config.mask_vector,
            modalities=config.modalities,
            fusion_norm=config.fusion_norm,
            presence_flags=config.presence_flags,
            shared_dropout=config.shared_dropout,
        )

    def learn_scale(self, audio: tuple[Tensor, Tensor], vision: tuple[Tensor, Tensor]) -> None:
        """Standardise, where that is asked for, by a training split's frames (N, T, D) and
        lengths (N,)."""
        self.audio_encoder.learn_scale(*audio)
        self.vision_encoder.learn_scale(*vision)

    def encode(
        self,
        text: Tensor,
        audio: Tensor,
        vision: Tensor,
        audio_lengths: Tensor | None = None,
        vision_lengths: Tensor | None = None,
        encoded_text: Tensor | None = None,
        layout: Layout = UNKNOWN,
    ) -> Encodings:
        """Run the three encoders once.

        Args:
            text: (B, 3, L) token ids, mask, segments.
            audio: (B, T_a, D_a).
            vision: (B, T_v, D_v).
            audio_lengths: (B,) frames that count, all of them by default; 0 marks the clip's
                audio as missing.
            vision_lengths: likewise.
            encoded_text: (B, W), what the text encoder gave earlier, if it is frozen.
            layout: what the host knows of the batch; without it a GPU has to be asked.
        """
        batch = text.shape[0]
        if audio_lengths is None:
            audio_lengths = torch.full((batch,), audio.shape[1])
        if vision_lengths is None:
            vision_lengths = torch.full((batch,), vision.shape[1])
        audio_encoding, vision_encoding, encoded_text = side_by_side(
            text.device,
            lambda: self.audio_encoder(audio, audio_lengths, layout.audio_lengths),
            lambda: self.vision_encoder(vision, vision_lengths, layout.vision_lengths),
            lambda: (
                self.text_encoder(text, layout.packing) if encoded_text is None else encoded_text
            ),
        )
        return Encodings(
            text=encoded_text.to(self.mask_vectors[0].dtype),
            audio=audio_encoding,
            vision=vision_encoding,
            present=self.presence(text, audio_lengths, vision_lengths),
        )

    def presence(self, text: Tensor, audio_lengths: Tensor, vision_lengths: Tensor) -> Tensor:
        """Which modalities the model has of each clip, (B, 3) bool; see :meth:`encode`."""
        counts = (text[:, 1].sum(dim=1), audio_lengths, vision_lengths)
        return torch.stack([count.to(text.device) > 0 for count in counts], dim=1) & self.used

    def fuse(self, encodings: Encodings, present: Presence = None) -> Tensor:
        """The fusion vector under a subset of modalities.

        Args:
            encodings: of B clips.
            present: the modalities kept: names (``["text", "audio"]``), three flags in the
                order text, audio, vision, or a bool tensor that broadcasts to (B, 3);
                (K, 1, 3) computes K subsets in one call. None keeps all. A modality that a
                clip lacks stays masked whatever is asked.

        Returns:
            (B, D), or (K, B, D) for K subsets.
        """
        flags = subset_flags(present, encodings.present.device)
        kept = encodings.present if flags is None else encodings.present & flags  # (..., B, 3)
        parts = []
        with full_precision(encodings.text):
            for index, norm in enumerate(self.norms):
                encoded = norm(encodings[index])
                vector = self.mask_vectors[index].to(encoded.dtype)
                parts.append(torch.where(kept[..., index, None], encoded, vector))
            return self.fusion(torch.cat(parts, dim=-1), kept)

    def predict(self, fusion: Tensor) -> Tensor:
        """Scores (..., 1) of fusion vectors (..., D)."""
        with full_precision(fusion):
            return self.prediction(fusion)

    def forward(
        self,
        text: Tensor,
        audio: Tensor | tuple[Tensor, Tensor],
        vision: Tensor | tuple[Tensor, Tensor],
        present: Presence = None,
        encoded_text: Tensor | None = None,
        layout: Layout = UNKNOWN,
    ) -> dict[str, Tensor]:
        """Scores and features of a batch, with the toolkit's keys.

        Args:
            text: (B, 3, L).
            audio: (B, T_a, D_a), or that and its lengths (B,).
            vision: (B, T_v, D_v), or that and its lengths (B,).
            present: see :meth:`fuse`.
            encoded_text: see :meth:`encode`.
            layout: likewise.

        Returns:
            ``M`` (B, 1) score; ``Feature_t`` (B, W), ``Feature_a``, ``Feature_v`` encodings;
            ``Feature_f`` (B, D) fusion vector.
        """
        audio, audio_lengths = audio if isinstance(audio, (tuple, list)) else (audio, None)
        vision, vision_lengths = vision if isinstance(vision, (tuple, list)) else (vision, None)
        encodings = self.encode(
            text, audio, vision, audio_lengths, vision_lengths, encoded_text, layout
        )
        fusion = self.fuse(encodings, present)
        return {
            "M": self.predict(fusion),
            "Feature_t": encodings.text,
            "Feature_a": encodings.audio,
            "Feature_v": encodings.vision,
            "Feature_f": fusion,
        }


def subset_flags(present: Presence, device: torch.device) -> Tensor | None:
    """Any way of naming a subset of modalities, as a bool tensor (..., 3)."""
    if present is None:
        return None
    if not isinstance(present, Tensor):
        named = list(present)
        if all(isinstance(name, str) for name in named):
            unknown = [name for name in named if name not in MODALITIES]
            if unknown:
                raise ValueError(f"unknown modality {unknown[0]!r}; expected {MODALITIES}")
            named = [modality in named for modality in MODALITIES]
        present = torch.tensor(named, dtype=torch.bool, device=device)
    if present.shape[-1] != len(MODALITIES):
        raise ValueError(f"presence has shape {tuple(present.shape)}; expected (..., 3)")
    return present.to(device=device, dtype=torch.bool)
