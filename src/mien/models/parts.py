"""A network and its specification in; its encoder and its head, as model folders hold them, out.

Axes: B crops or windows, H W crop, M mel bins, F mel frames, T steps, D features, E expressions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mien.models.speech import pool_steps

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8
    from torch import Tensor

    from mien.models.face import FaceNet
    from mien.models.speech import SpeechNet
    from mien.spec import ModelSpec

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


class FaceEncoder(nn.Module):
    """RGB bytes in, features out: brightness, then the face encoder."""

    luma: Tensor

    def __init__(self, network: FaceNet) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("luma", torch.tensor(LUMA) / 255)

    def forward(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B D"]:
        grey = (crops.float() * self.luma).sum(-1)
        return self.network.encode(grey.unsqueeze(1))


class SpeechEncoder(nn.Module):
    """Log-mel windows in, steps of features out."""

    def __init__(self, network: SpeechNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, log_mel: Float[Tensor, "B M F"], column_mask: Bool[Tensor, "B F"]
    ) -> Float[Tensor, "B D T"]:
        return self.network.encode(log_mel, column_mask)


class Probabilities(nn.Module):
    """Logits to probabilities: masked expressions get 0, the rest is tempered and renormalised."""

    offset: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        shut = torch.tensor([name in spec.masked for name in spec.expressions])
        self.register_buffer("offset", torch.zeros(len(shut)).masked_fill(shut, -torch.inf))
        self.temperature = spec.temperature

    def forward(self, logits: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        return torch.softmax(logits / self.temperature + self.offset, dim=-1)


class FaceHead(nn.Module):
    """Features in, probabilities out."""

    def __init__(self, network: FaceNet, spec: ModelSpec) -> None:
        super().__init__()
        self.head, self.probabilities = network.head, Probabilities(spec)

    def forward(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
        probs: Tensor = self.probabilities(self.head(features))
        return probs


class SpeechHead(nn.Module):
    """Steps of features in, probabilities out; steps that an extractor of one's own gives are normalised."""

    def __init__(self, network: SpeechNet, spec: ModelSpec) -> None:
        super().__init__()
        self.head, self.probabilities = network.head, Probabilities(spec)
        self.given = network if network.config.given is not None else None

    def forward(
        self, steps: Float[Tensor, "B D T"], column_mask: Bool[Tensor, "B F"]
    ) -> Float[Tensor, "B E"]:
        if self.given is not None:
            steps = self.given.encode(steps, column_mask)
        probs: Tensor = self.probabilities(self.head(pool_steps(steps, column_mask)))
        return probs
