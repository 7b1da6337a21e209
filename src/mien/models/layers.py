"""What both encoders are made of: the width of features, a convolution with its norm, the first weights."""

from __future__ import annotations

from torch import nn

from mien.errors import InputError

N_FEATURES = 256
"""Width D of both encoders' features."""


def conv_bn_relu(n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias that keeps the size (but for its stride), batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


def initialise(network: nn.Module) -> None:
    """Gives convolutions Kaiming-normal weights (fan out) and zero bias.

    Batch norms start at one and zero as torch makes them.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def refuse_width(backbone: str, n_features: int | None) -> None:
    """Checks that a width of given features stands beside the backbone that has none of its own.

    Raises:
        InputError: It stands beside another one, or is below 1.
    """
    if n_features is not None and (backbone != "features" or n_features < 1):
        raise InputError(
            f"n_features is {n_features} with backbone {backbone!r}; it is 1 or more, and of "
            "backbone 'features' alone, which is set before it"
        )
