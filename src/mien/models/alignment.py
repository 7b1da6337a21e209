"""Features of voice and face at the same key frames in, the same features re-weighted by each other out.

Key-frame alignment and multi-scale dilated fusion stand in the paper's abstract alone; this is our reading of
them (docs/decisions/0014). Two sequences leave, so that the proportion rule still has two opinions to weigh.

Axes: B windows, K key frames, T steps of the speech encoder, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from mien.models.layers import N_FEATURES, initialise

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

N_SCORES = 64
"""Width in which voice and face are compared."""

NOWHERE = -1e9
"""Score of what is not there; finite, so that a window of nothing gives no NaN, in gradients above all."""


class Aligned(NamedTuple):
    """What alignment says of each window; to be shown, and to weigh features with."""

    frames: Float[Tensor, "B K"]
    """Alpha: how much each key frame counts; sums to 1 over the valid ones, 0 elsewhere."""
    voice_share: Float[Tensor, "B"]
    """Beta of the voice, 0 to 1; the face has the rest."""


class KeyFrameAlignment(nn.Module):
    """Weighs key frames by how well voice and face agree there, and the modalities by what they hold.

    33,282 parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(N_FEATURES, N_SCORES, bias=False)
        self.key = nn.Linear(N_FEATURES, N_SCORES, bias=False)
        self.voice_merit = nn.Linear(N_FEATURES, 1)
        self.face_merit = nn.Linear(N_FEATURES, 1)

    def leave_shares(self) -> None:
        """Keeps the modalities' shares as they are, equal at first: without dilated fusion nothing uses them.

        Processes that train together wait for the gradient of every weight that is to be trained.
        """
        for part in (self.voice_merit, self.face_merit):
            torch.nn.init.zeros_(part.weight)
            torch.nn.init.zeros_(part.bias)
            part.requires_grad_(False)

    def forward(
        self,
        voice_BKD: Float[Tensor, "B K D"],
        face_BKD: Float[Tensor, "B K D"],
        voice_mask_BK: Bool[Tensor, "B K"],
        face_mask_BK: Bool[Tensor, "B K"],
    ) -> Aligned:
        """Features behind a mask that is false never enter."""
        agree_BK = (self.query(face_BKD) * self.key(voice_BKD)).sum(-1) / N_SCORES**0.5
        agree_BK = agree_BK.masked_fill(~(voice_mask_BK & face_mask_BK), 0.0)
        valid_BK = voice_mask_BK | face_mask_BK
        frames_BK = torch.softmax(agree_BK.masked_fill(~valid_BK, NOWHERE), dim=-1) * valid_BK
        merits_B2 = torch.cat(
            [
                self.voice_merit(masked_mean(voice_BKD, voice_mask_BK)),
                self.face_merit(masked_mean(face_BKD, face_mask_BK)),
            ],
            dim=-1,
        )
        there_B2 = torch.stack([voice_mask_BK.any(-1), face_mask_BK.any(-1)], dim=-1)
        shares_B2 = torch.softmax(merits_B2.masked_fill(~there_B2, NOWHERE), dim=-1)
        return Aligned(frames_BK, shares_B2[:, 0])


class DilatedFusion(nn.Module):
    """Aligned voice and face, mixed over time at five reaches, as what is to be added to each.

    477,312 parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(
            nn.Conv1d(2 * N_FEATURES, 256, 1, bias=False), nn.BatchNorm1d(256), nn.ReLU()
        )
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(256, 64, kernel, dilation=dilation, padding=dilation * (kernel // 2), bias=False),
                nn.BatchNorm1d(64),
                nn.ReLU(),
            )
            for kernel, dilation in ((1, 1), (3, 1), (3, 2), (3, 4))
        )
        self.whole = nn.Sequential(nn.Conv1d(256, 64, 1, bias=False), nn.BatchNorm1d(64), nn.ReLU())
        self.restore = nn.Sequential(
            nn.Conv1d(320, 2 * N_FEATURES, 1, bias=False), nn.BatchNorm1d(2 * N_FEATURES)
        )
        initialise(self)

    def forward(
        self,
        voice_BKD: Float[Tensor, "B K D"],
        face_BKD: Float[Tensor, "B K D"],
        voice_mask_BK: Bool[Tensor, "B K"],
        face_mask_BK: Bool[Tensor, "B K"],
        aligned: Aligned,
    ) -> tuple[Float[Tensor, "B K D"], Float[Tensor, "B K D"]]:
        """Voice and face, each with what both say at its frames and around them."""
        n_frames = voice_BKD.shape[1]
        weight_BK1 = 2 * n_frames * aligned.frames.unsqueeze(-1)
        share_B11 = aligned.voice_share.view(-1, 1, 1)
        both_BKD = torch.cat(
            [
                share_B11 * weight_BK1 * voice_BKD.masked_fill(~voice_mask_BK.unsqueeze(-1), 0.0),
                (1 - share_B11) * weight_BK1 * face_BKD.masked_fill(~face_mask_BK.unsqueeze(-1), 0.0),
            ],
            dim=-1,
        )
        x_BDK = self.squeeze(both_BKD.transpose(1, 2))
        whole_BD1 = self.whole(x_BDK.mean(-1, keepdim=True))
        reaches = [branch(x_BDK) for branch in self.branches] + [whole_BD1.expand(-1, -1, n_frames)]
        added_BKD = self.restore(torch.cat(reaches, dim=1)).transpose(1, 2)
        return voice_BKD + added_BKD[..., :N_FEATURES], face_BKD + added_BKD[..., N_FEATURES:]


def masked_mean(features_BKD: Float[Tensor, "B K D"], mask_BK: Bool[Tensor, "B K"]) -> Float[Tensor, "B D"]:
    """Mean over the frames whose mask is true; 0 where none is."""
    kept = features_BKD.masked_fill(~mask_BK.unsqueeze(-1), 0.0)
    return kept.sum(1) / mask_BK.sum(1, keepdim=True).clamp(min=1)


def steps_at(steps_BDT: Float[Tensor, "B D T"], places_BK: Float[Tensor, "B K"]) -> Float[Tensor, "B K D"]:
    """A sequence of steps at places between them, counted in steps from the first; its ends go on."""
    last = steps_BDT.shape[-1] - 1
    places = places_BK.clamp(0, last)
    before = places.floor().long().clamp(max=max(last - 1, 0))
    after = (before + 1).clamp(max=last)
    share_BK1 = (places - before).unsqueeze(-1)
    steps_BTD = steps_BDT.transpose(1, 2).float()  # bfloat16 is too coarse for places between steps
    index = [each.unsqueeze(-1).expand(-1, -1, steps_BTD.shape[-1]) for each in (before, after)]
    low, high = (steps_BTD.gather(1, each) for each in index)
    return torch.lerp(low, high, share_BK1.expand_as(low))
