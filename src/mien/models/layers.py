"""What both encoders are made of: the width of features, a convolution with its norm, the first weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mien.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

N_FEATURES = 256
"""Width D of both encoders' features."""

MOST_FEATURES = 16384
"""That any layer has: a file cannot ask for more than fits any memory."""


class Depthwise(nn.Conv2d):
    """A convolution with one filter a channel, which keeps the size but for its stride."""

    def __init__(self, channels: int, kernel: tuple[int, int], stride: int = 1, *, bias: bool = True) -> None:
        padding = kernel[0] // 2, kernel[1] // 2
        super().__init__(channels, channels, kernel, stride, padding, groups=channels, bias=bias)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C h w"]:
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        # on processors, torch 2.13's gradients take many times as long in bfloat16 (docs/decisions/0017)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def conv_bn_relu(n_in: int, n_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution without bias that keeps the size (but for its stride), batch norm, ReLU."""
    convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU())


def depthwise_bn_relu(channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """The same with one filter a channel."""
    convolution = Depthwise(channels, (kernel, kernel), stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


def initialise(network: nn.Module) -> None:
    """Gives convolutions Kaiming-normal weights (fan out) and zero bias.

    Batch norms start at one and zero as torch makes them.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def refuse_dropout(share: float) -> None:
    """Checks a share of features that is dropped.

    Raises:
        InputError: It is below 0, or nothing would be left.
    """
    if not 0 <= share < 1:
        raise InputError(f"dropout is {share}; expected 0 or more, below 1")


def refuse_width(backbone: str, n_features: int | None) -> None:
    """Checks that a width of given features stands beside the backbone that has none of its own.

    Raises:
        InputError: It stands beside another one, is below 1, or above `MOST_FEATURES`.
    """
    if n_features is not None and (backbone != "features" or not 1 <= n_features <= MOST_FEATURES):
        raise InputError(
            f"n_features is {n_features} with backbone {backbone!r}; it is 1 to {MOST_FEATURES}, and of "
            "backbone 'features' alone, which is set before it"
        )
