"""The whole network: a window of faces and sound in, log-probabilities of voice, face and both out (Fig. 1).

Axes: B windows, K faces, H W crop, M mel bins, F mel frames, E expressions, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from mien.models.face import FaceNet, FaceNetConfig
from mien.models.fusion import ProportionRule
from mien.models.speech import SpeechNet, SpeechNetConfig

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


class LogProbs(NamedTuple):
    """Log-probabilities by modality; rows of a missing modality are not defined."""

    fused: Float[Tensor, "B E"]
    voice: Float[Tensor, "B E"]
    face: Float[Tensor, "B E"]


class ExpressionNet(nn.Module):
    """RHCNN on K faces, MCNN on the sound around them, two heads, and the proportion rule."""

    def __init__(
        self, face: FaceNetConfig, speech: SpeechNetConfig, rule: ProportionRule, n_expressions: int
    ) -> None:
        super().__init__()
        self.face = FaceNet(face, n_expressions)
        self.speech = SpeechNet(speech, n_expressions)
        self.rule = rule

    def forward(
        self,
        face_BKHW: Float[Tensor, "B K H W"],
        face_mask_BK: Bool[Tensor, "B K"],
        log_mel_BMF: Float[Tensor, "B M F"],
        column_mask_BF: Bool[Tensor, "B F"],
    ) -> LogProbs:
        """Voice, face and fused log-probabilities; a modality is there where its mask says so anywhere."""
        n_windows, n_faces = face_mask_BK.shape
        # only valid faces pass the encoder, so that padding never enters the batch statistics
        valid = face_mask_BK.flatten().nonzero().squeeze(1)
        features_ND = self.face.encode(face_BKHW.flatten(0, 1)[valid].unsqueeze(1))
        empty = features_ND.new_zeros(n_windows * n_faces, features_ND.shape[-1])
        features_BKD = empty.index_copy(0, valid, features_ND).view(n_windows, n_faces, -1)
        counts = face_mask_BK.sum(1, keepdim=True).clamp(min=1)
        face_BE = torch.log_softmax(self.face.head(features_BKD.sum(1) / counts), dim=-1)
        voice_BE = torch.log_softmax(self.speech(log_mel_BMF, column_mask_BF), dim=-1)
        fused_BE = self.rule(voice_BE, face_BE, column_mask_BF.any(1), face_mask_BK.any(1))
        return LogProbs(fused_BE, voice_BE, face_BE)
