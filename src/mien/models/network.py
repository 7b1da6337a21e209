"""The whole network: a window of faces and sound in, log-probabilities of voice, face and both out (Fig. 1).

Axes: B windows, K faces, H W crop, M mel bins, F mel frames, E expressions, D features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn

from mien.errors import InputError
from mien.models.alignment import DilatedFusion, KeyFrameAlignment, masked_mean, steps_at
from mien.models.face import FaceNet, FaceNetConfig
from mien.models.fusion import ProportionRule
from mien.models.layers import N_FEATURES
from mien.models.speech import SpeechNet, SpeechNetConfig, pool_steps, steps_heard

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from mien.models.alignment import Aligned


class LogProbs(NamedTuple):
    """Log-probabilities by modality; rows of a missing modality are not defined."""

    fused: Float[Tensor, "B E"]
    voice: Float[Tensor, "B E"] | None
    """None where the network has no ears."""
    face: Float[Tensor, "B E"] | None
    """None where it has no eyes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionNetConfig:
    """The whole network; every part that the paper names is a switch here or below."""

    modalities: Literal["both", "face", "voice"] = "both"
    """Which encoders and heads are there at all; with one, its opinion is the fused one."""
    face: FaceNetConfig = field(default_factory=FaceNetConfig)
    speech: SpeechNetConfig = field(default_factory=SpeechNetConfig)
    alignment: Literal["none", "align", "align_dilated"] = "none"
    """Between encoders and heads: nothing, key-frame alignment, or dilated fusion on top of it."""
    voice_weight: float = 1.0
    """m of the proportion rule."""
    face_weight: float = 1.0
    """n."""
    learned: bool = False
    """m and n are trained, from these values."""

    def __post_init__(self) -> None:
        if self.modalities != "both" and self.alignment != "none":
            raise InputError(
                f"alignment is {self.alignment!r} but modalities {self.modalities!r}; it needs both"
            )
        backbones = (self.face.backbone, self.speech.backbone)
        if self.alignment != "none" and backbones != ("rhcnn", "mcnn"):
            raise InputError(
                f"alignment is {self.alignment!r}, which joins rhcnn and mcnn, but backbones are "
                f"{' and '.join(backbones)}; leave alignment out"
            )
        if self.alignment != "none" and self.face.widths[2] != N_FEATURES:
            raise InputError(
                f"alignment is {self.alignment!r}, which joins features of {N_FEATURES}, but the last of the "
                f"face's widths is {self.face.widths[2]}; make it {N_FEATURES}, or leave alignment out"
            )


def feature_widths(config: FaceNetConfig | SpeechNetConfig | ExpressionNetConfig) -> dict[str, int]:
    """How wide the features are that a network is given in place of crops (`face`) or log-mel (`speech`).

    Raises:
        InputError: A part takes features, and nobody says how wide they are.
    """
    parts: dict[str, FaceNetConfig | SpeechNetConfig] = {}
    if isinstance(config, FaceNetConfig) or (
        isinstance(config, ExpressionNetConfig) and config.modalities != "voice"
    ):
        parts["face"] = config if isinstance(config, FaceNetConfig) else config.face
    if isinstance(config, SpeechNetConfig) or (
        isinstance(config, ExpressionNetConfig) and config.modalities != "face"
    ):
        parts["speech"] = config if isinstance(config, SpeechNetConfig) else config.speech
    return {modality: part.given for modality, part in parts.items() if part.given is not None}


class ExpressionNet(nn.Module):
    """A face encoder on K faces, a speech encoder on the sound around them, two heads, proportion rule."""

    def __init__(self, config: ExpressionNetConfig, n_expressions: int) -> None:
        super().__init__()
        self.config = config
        self.face = FaceNet(config.face, n_expressions) if config.modalities != "voice" else None
        self.speech = SpeechNet(config.speech, n_expressions) if config.modalities != "face" else None
        self.alignment = None if config.alignment == "none" else KeyFrameAlignment()
        self.dilated = DilatedFusion() if config.alignment == "align_dilated" else None
        if self.alignment is not None and self.dilated is None:
            self.alignment.leave_shares()
        self.rule = ProportionRule(config.voice_weight, config.face_weight, learned=config.learned)

    def forward(
        self,
        face_BKHW: Float[Tensor, "B K H W"],
        face_mask_BK: Bool[Tensor, "B K"],
        log_mel_BMF: Float[Tensor, "B M F"],
        column_mask_BF: Bool[Tensor, "B F"],
        places_BK: Float[Tensor, "B K"] | None = None,
    ) -> LogProbs:
        """Voice, face and fused log-probabilities; a modality is there where its mask says so anywhere.

        Args:
            face_BKHW: Grey crops; or features that are given in their place, as pictures of one row.
            face_mask_BK: False where no face was found; what the crop holds there never counts.
            log_mel_BMF: The window around the faces; or steps of features that are given in its place.
            column_mask_BF: False outside the file.
            places_BK: When each face was seen, in steps of the speech encoder from the first; only alignment
                needs it.
        """
        face_BD = face_BE = voice_BD = voice_BE = None
        if self.alignment is not None and places_BK is not None:
            inputs = face_BKHW, face_mask_BK, log_mel_BMF, column_mask_BF, places_BK
            voice_BD, face_BD, _ = self.align(*inputs)
        assert self.alignment is None or face_BD is not None, "alignment needs to know when faces were seen"
        if self.face is not None:
            if face_BD is None:
                face_BD = self.pool_faces(face_BKHW, face_mask_BK)
            face_BE = torch.log_softmax(self.face.head(face_BD), dim=-1)
        if self.speech is not None:
            if voice_BD is None:
                voice_BD = pool_steps(self.speech.encode(log_mel_BMF, column_mask_BF), column_mask_BF)
            voice_BE = torch.log_softmax(self.speech.head(voice_BD), dim=-1)
        if face_BE is not None and voice_BE is not None:
            fused_BE = self.rule(voice_BE, face_BE, column_mask_BF.any(1), face_mask_BK.any(1))
            return LogProbs(fused_BE, voice_BE, face_BE)
        alone_BE = face_BE if voice_BE is None else voice_BE
        assert alone_BE is not None
        return LogProbs(alone_BE, voice_BE, face_BE)

    def pool_faces(
        self, face_BKHW: Float[Tensor, "B K H W"], face_mask_BK: Bool[Tensor, "B K"]
    ) -> Float[Tensor, "B D"]:
        """Features of the faces that are there: their mean, or those of the sequence; 0 where there is none.

        In a sequence, the nearest face that is there stands in for one that is not.
        """
        assert self.face is not None
        if not self.face.config.reads_sequences:
            return masked_mean(self.encode_faces(face_BKHW, face_mask_BK), face_mask_BK)
        seen = face_mask_BK.any(1).nonzero().squeeze(1)
        features_ND = self.face.encode(with_stand_ins(face_BKHW[seen], face_mask_BK[seen]))
        empty = features_ND.new_zeros(face_mask_BK.shape[0], features_ND.shape[-1])
        return empty.index_copy(0, seen, features_ND)

    def encode_faces(
        self, face_BKHW: Float[Tensor, "B K H W"], face_mask_BK: Bool[Tensor, "B K"]
    ) -> Float[Tensor, "B K D"]:
        """Features of the faces that are there, 0 elsewhere; padding never enters the batch statistics."""
        assert self.face is not None
        n_windows, n_faces = face_mask_BK.shape
        valid = face_mask_BK.flatten().nonzero().squeeze(1)
        features_ND = self.face.encode(face_BKHW.flatten(0, 1)[valid].unsqueeze(1))
        empty = features_ND.new_zeros(n_windows * n_faces, features_ND.shape[-1])
        return empty.index_copy(0, valid, features_ND).view(n_windows, n_faces, -1)

    def align(
        self,
        face_BKHW: Float[Tensor, "B K H W"],
        face_mask_BK: Bool[Tensor, "B K"],
        log_mel_BMF: Float[Tensor, "B M F"],
        column_mask_BF: Bool[Tensor, "B F"],
        places_BK: Float[Tensor, "B K"],
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"], Aligned]:
        """Features of voice and face, each frame weighed by their agreement or mixed with those around it.

        The weights of frames and modalities come beside them, to be looked at.
        """
        assert self.alignment is not None
        assert self.speech is not None
        face_BKD = self.encode_faces(face_BKHW, face_mask_BK)
        steps_BDT = self.speech.encode(log_mel_BMF, column_mask_BF)
        voice_BKD = steps_at(steps_BDT, places_BK)
        heard_B1T = steps_heard(column_mask_BF, steps_BDT.shape[-1]).unsqueeze(1)
        voice_mask_BK = steps_at(heard_B1T, places_BK).squeeze(-1) > 0
        masks = voice_mask_BK, face_mask_BK
        aligned = self.alignment(voice_BKD, face_BKD, *masks)
        if self.dilated is not None:
            pair = self.dilated(voice_BKD, face_BKD, *masks, aligned)
            return masked_mean(pair[0], masks[0]), masked_mean(pair[1], masks[1]), aligned
        weights = [aligned.frames.masked_fill(~mask, 0.0).unsqueeze(-1) for mask in masks]
        sums = [weight.sum(1).clamp(min=1e-6) for weight in weights]
        voice_BD, face_BD = (
            (weight * each).sum(1) / total
            for weight, each, total in zip(weights, (voice_BKD, face_BKD), sums, strict=True)
        )
        return voice_BD, face_BD, aligned


def with_stand_ins(
    face_BKHW: Float[Tensor, "B K H W"], face_mask_BK: Bool[Tensor, "B K"]
) -> Float[Tensor, "B K H W"]:
    """The faces, each that is not there replaced by the nearest that is; by the earlier of two as near."""
    n_windows, n_faces = face_mask_BK.shape
    place_K = torch.arange(n_faces, device=face_mask_BK.device)
    gap_KK = (place_K.unsqueeze(1) - place_K).abs()
    gap_BKK = gap_KK.expand(n_windows, -1, -1).masked_fill(~face_mask_BK.unsqueeze(1), n_faces)
    nearest_BK = gap_BKK.argmin(-1)  # the first of equals
    window_B1 = torch.arange(n_windows, device=face_mask_BK.device).unsqueeze(1)
    return face_BKHW[window_B1, nearest_BK]
