"""MCNN, the speech encoder: a window of log-mel in, a sequence of feature vectors out (§4.2).

Axes: B windows, M mel bins (rows), F mel frames (columns), T steps of 80 ms, D features, E expressions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from mien.errors import InputError
from mien.models.attention import AttentionConfig, build_attention
from mien.models.layers import N_FEATURES, initialise
from mien.windows import QUIETEST

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

COLUMNS_PER_STEP = 8
"""Mel columns (10 ms each) behind one step of the encoder's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechNetConfig:
    """The speech encoder and its head."""

    local: bool = True
    temporal: bool = True
    spectral: bool = True
    """Which of the three branches stand (the paper's local, temporal and spatial ones)."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    dropout: float = 0.2
    """Before the linear layer of the head (§6.1)."""

    def __post_init__(self) -> None:
        if not (self.local or self.temporal or self.spectral):
            raise InputError("local, temporal and spectral are all false; expected one branch at least")


def branch(first: tuple[int, int], second: tuple[int, int]) -> nn.Sequential:
    """Two convolutions of different kernels (mel rows, columns), each with BN, ReLU and 2x2 pooling."""
    layers: list[nn.Module] = []
    for n_in, n_out, (rows, columns) in ((1, 32, first), (32, 64, second)):
        layers += [
            nn.Conv2d(n_in, n_out, (rows, columns), padding=(rows // 2, columns // 2), bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
    return nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """ResNet's basic block: two 3x3 convolutions beside a projected shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Float[Tensor, "B C M F"]) -> Float[Tensor, "B c m f"]:
        return nn.functional.relu(self.main(x) + self.shortcut(x))


class MCNN(nn.Module):
    """The speech encoder. 1,333,216 parameters without attention, 3,383,136 with two GCSA blocks."""

    def __init__(self, config: SpeechNetConfig | None = None) -> None:
        super().__init__()
        config = config or SpeechNetConfig()
        kernels = (
            (config.local, (3, 3), (5, 5)),
            (config.temporal, (1, 11), (1, 7)),
            (config.spectral, (9, 1), (5, 1)),
        )
        self.branches = nn.ModuleList(branch(first, second) for wanted, first, second in kernels if wanted)
        self.merge = nn.Sequential(  # [B, 192, 16, 80] -> [B, 128, 16, 80]
            nn.Conv2d(64 * len(self.branches), 128, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU()
        )
        self.attention1 = build_attention(128, config.attention)
        self.trunk1 = BasicBlock(128, 128, (2, 2))  # [B, 128, 8, 40]
        self.trunk2 = BasicBlock(128, N_FEATURES, (2, 1))  # [B, 256, 4, 40]
        self.attention2 = build_attention(N_FEATURES, config.attention)
        initialise(self)

    def forward(self, log_mel: Float[Tensor, "B 1 M F"]) -> Float[Tensor, "B D T"]:
        x = torch.cat([branch(log_mel) for branch in self.branches], dim=1)
        x = self.trunk1(self.attention1(self.merge(x)))
        steps: Tensor = self.attention2(self.trunk2(x)).mean(2)  # over mel rows
        return steps


def steps_heard(column_mask: Bool[Tensor, "B F"], n_steps: int) -> Float[Tensor, "B T"]:
    """Share of each step's mel columns that lie inside the file."""
    shares = nn.functional.adaptive_avg_pool1d(column_mask.float().unsqueeze(1), n_steps)
    return shares.squeeze(1)


def pool_steps(steps: Float[Tensor, "B D T"], column_mask: Bool[Tensor, "B F"]) -> Float[Tensor, "B D"]:
    """Mean over the steps whose columns lie inside the file."""
    weights = steps_heard(column_mask, steps.shape[-1]).to(steps.dtype)
    return (steps * weights.unsqueeze(1)).sum(-1) / weights.sum(-1, keepdim=True).clamp(min=1e-6)


class SpeechNet(nn.Module):
    """Speech encoder and head: log-mel windows in, logits of the eight expressions out.

    Windows are normalised by the training split's mean and deviation, which travel with the weights.
    """

    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, config: SpeechNetConfig, n_expressions: int) -> None:
        super().__init__()
        self.register_buffer("mel_mean", torch.zeros(()))
        self.register_buffer("mel_std", torch.ones(()))
        self.encoder = MCNN(config)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(N_FEATURES, n_expressions))

    def forward(
        self, log_mel: Float[Tensor, "B M F"], column_mask: Bool[Tensor, "B F"]
    ) -> Float[Tensor, "B E"]:
        logits: Tensor = self.head(pool_steps(self.encode(log_mel, column_mask), column_mask))
        return logits

    def encode(
        self, log_mel: Float[Tensor, "B M F"], column_mask: Bool[Tensor, "B F"]
    ) -> Float[Tensor, "B D T"]:
        """Steps of features; columns outside the file count as the quietest sound there is."""
        heard = torch.where(column_mask.unsqueeze(1), log_mel, QUIETEST)
        steps: Tensor = self.encoder(((heard - self.mel_mean) / self.mel_std).unsqueeze(1))
        return steps
