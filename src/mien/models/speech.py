"""The speech encoder, MCNN (§4.2) or ResNet-18: a window of log-mel in, a sequence of feature vectors out.

Axes: B windows, M mel bins (rows), F mel frames (columns), T steps of 80 ms (ResNet-18: 320 ms), D features,
E expressions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from mien.errors import InputError
from mien.models.attention import AttentionConfig, build_attention
from mien.models.layers import N_FEATURES, initialise, refuse_dropout, refuse_width
from mien.models.resnet import BasicBlock, ResNet18
from mien.windows import QUIETEST

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

COLUMNS_PER_STEP = 8
"""Mel columns (10 ms each) behind one step of MCNN's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechNetConfig:
    """The speech encoder and its head."""

    backbone: Literal["mcnn", "resnet18", "features"] = "mcnn"
    """MCNN; a ResNet-18 of one channel, a reading of §4.1; or none, and steps of features by an extractor of
    one's own are given in place of log-mel: then only `dropout` is heeded below."""
    n_features: int | None = None
    """Width of these features."""
    local: bool = True
    temporal: bool = True
    spectral: bool = True
    """Which of MCNN's three branches stand (the paper's local, temporal and spatial ones)."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    dropout: float = 0.2
    """Before the linear layer of the head (§6.1)."""

    def __post_init__(self) -> None:
        if not (self.local or self.temporal or self.spectral):
            raise InputError("local, temporal and spectral are all false; expected one branch at least")
        if self.backbone != "mcnn" and not (self.local and self.temporal and self.spectral):
            raise InputError(
                f"local, temporal and spectral are branches of mcnn, but backbone is {self.backbone!r}; "
                "leave them true"
            )
        refuse_width(self.backbone, self.n_features)
        refuse_dropout(self.dropout)

    @property
    def given(self) -> int | None:
        """Width of the features that are given in place of log-mel; None where log-mel is."""
        if self.backbone == "features" and self.n_features is None:
            raise InputError("speech's backbone is 'features'; set n_features beside it, as they are wide")
        return self.n_features


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


class MCNN(nn.Module):
    """The speech encoder. 1,333,216 parameters without attention, 3,383,136 with two GCSA blocks."""

    n_features = N_FEATURES

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


class GivenSteps(nn.Module):
    """Steps of features that are given, in place of an encoder."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    def forward(self, steps: Float[Tensor, "B 1 D T"]) -> Float[Tensor, "B D T"]:
        return steps.squeeze(1)


def build_encoder(config: SpeechNetConfig) -> MCNN | ResNet18 | GivenSteps:
    """The untrained encoder that a configuration names."""
    if config.given is not None:
        return GivenSteps(config.given)
    if config.backbone == "mcnn":
        return MCNN(config)
    return ResNet18(1, config.attention, pooled=(2,))  # [B, 512, 2, 10] -> [B, 512, 10]


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

    Windows are normalised by the training split's mean and deviation, which travel with the weights. Steps of
    features that are given in place of log-mel have M = D rows and F = T columns, and are normalised alike.
    """

    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, config: SpeechNetConfig, n_expressions: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mel_mean", torch.zeros(()))
        self.register_buffer("mel_std", torch.ones(()))
        self.encoder = build_encoder(config)
        self.head = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(self.encoder.n_features, n_expressions)
        )

    def forward(
        self, log_mel: Float[Tensor, "B M F"], column_mask: Bool[Tensor, "B F"]
    ) -> Float[Tensor, "B E"]:
        logits: Tensor = self.head(pool_steps(self.encode(log_mel, column_mask), column_mask))
        return logits

    def encode(
        self, log_mel: Float[Tensor, "B M F"], column_mask: Bool[Tensor, "B F"]
    ) -> Float[Tensor, "B D T"]:
        """Steps of features; columns outside the file count as the quietest sound, or as the mean."""
        outside = self.mel_mean if self.config.backbone == "features" else QUIETEST
        heard = torch.where(column_mask.unsqueeze(1), log_mel, outside)
        steps: Tensor = self.encoder(((heard - self.mel_mean) / self.mel_std).unsqueeze(1))
        return steps
