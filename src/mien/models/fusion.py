"""The proportion rule on log-probabilities, with fixed or learned weights (§4.4, Eq. 4).

Axes: B samples, E expressions. `mien.fusion` holds the same rule on arrays, without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mien.fusion import check_weights

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


class ProportionRule(nn.Module):
    """P = (m a P_a + n v P_v) / (m a + n v), where a and v say whether voice and face are there.

    Learned weights start equal and belong into a parameter group of their own (§6.1: learning rate 1e-3,
    without weight decay).

    Raises:
        InputError: A weight is negative or not finite, or both are 0.
    """

    def __init__(self, voice_weight: float = 1.0, face_weight: float = 1.0, *, learned: bool = False) -> None:
        super().__init__()
        check_weights(voice_weight, face_weight)
        start = torch.tensor([voice_weight, face_weight]).log()
        self.log_weights: nn.Parameter | Tensor
        if learned:
            self.log_weights = nn.Parameter(start)
        else:
            self.register_buffer("log_weights", start)

    def forward(
        self,
        voice_BE: Float[Tensor, "B E"],
        face_BE: Float[Tensor, "B E"],
        voice_present_B: Bool[Tensor, "B"],
        face_present_B: Bool[Tensor, "B"],
    ) -> Float[Tensor, "B E"]:
        """Fused log-probabilities of two modalities' log-probabilities.

        Where one modality is missing the result is the other, bit for bit; where both are missing, NaN.
        """
        log_voice, log_face = torch.log_softmax(self.log_weights, dim=0)
        both = torch.logaddexp(log_voice + voice_BE, log_face + face_BE)
        alone = torch.where(voice_present_B.unsqueeze(1), voice_BE, face_BE)
        fused = torch.where((voice_present_B & face_present_B).unsqueeze(1), both, alone)
        nobody = ~(voice_present_B | face_present_B)
        return fused.masked_fill(nobody.unsqueeze(1), torch.nan)

    @property
    def voice_share(self) -> float:
        """Share of the voice, m / (m + n)."""
        return float(torch.softmax(self.log_weights.detach(), dim=0)[0])
