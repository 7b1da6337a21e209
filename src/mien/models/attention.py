"""Attention blocks: a feature map enters, a re-weighted map of the same shape leaves.

GCSA (the paper's §4.3, Eq. 1-3), MECS, the median-enhanced block of its abstract, and a control for GCSA.

Axes: N maps, C channels, H W image (or mel rows and time columns), g groups.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from mien.errors import InputError
from mien.models.layers import Depthwise

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


FEWEST_CHANNELS = 64
"""That a block is given anywhere."""


def refuse_no_divisors(**numbers: int) -> None:
    """Checks that channels can be divided by numbers, wherever a block stands.

    Raises:
        InputError: One of them divides some block's channels unevenly, or not at all.
    """
    for name, number in numbers.items():
        if number < 1 or FEWEST_CHANNELS % number:
            raise InputError(
                f"{name} is {number}; expected a divisor of {FEWEST_CHANNELS}: 1, 2, 4 and so on"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GCSAConfig:
    """Switches of the global channel-spatial attention block; the defaults are the paper's text."""

    order: Literal["text", "eq3"] = "text"
    """`text`: Conv-BN-ReLU-Conv-BN (§4.3.3); `eq3`: Conv-ReLU-BN-Conv, as Eq. 3 is printed."""
    residual: bool = False
    """Add the input to the output; the paper's block has no identity path."""
    groups: int = 4
    """Groups of the channel shuffle."""
    ratio: int = 4
    """Reduction of channels inside both halves."""
    kernel: int = 7
    """Side of the spatial convolutions, odd."""
    channel: bool = True
    """Gate by an MLP over the channels of each position (Eq. 1)."""
    shuffle: bool = True
    """Deal the channels out over the groups (Eq. 2)."""
    spatial: bool = True
    """Gate by two convolutions (Eq. 3)."""

    def __post_init__(self) -> None:
        refuse_no_divisors(groups=self.groups, ratio=self.ratio)
        if self.kernel not in range(1, 32, 2):
            raise InputError(f"kernel is {self.kernel}; expected an odd number, 1 to 31")


@dataclass(frozen=True, slots=True, kw_only=True)
class MECSConfig:
    """Switches of the median-enhanced spatial-channel block; the defaults are the published block."""

    ratio: int = 4
    """Reduction of channels inside the channel gate."""
    channel_sum: Literal["sum_sigmoid", "sigmoid_sum"] = "sum_sigmoid"
    """`sum_sigmoid`: the gates are summed after the sigmoid (0 to 3); `sigmoid_sum`: before it (0 to 1)."""
    shared_pw: bool = True
    """One 1x1 convolution serves the three places (published), or each its own."""
    add_init: bool = False
    """Add the 5x5 depthwise map to the sum of its strips."""
    residual: bool = False
    """Add the input to the output; the published block has no identity path."""
    post_bn: bool = False
    """Batch norm on the output, before the input is added; the published block has no norm."""

    def __post_init__(self) -> None:
        refuse_no_divisors(ratio=self.ratio)


AttentionName = Literal["none", "gcsa", "mecs", "convctl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig:
    """Which block stands behind each half of an encoder, and its switches."""

    name: AttentionName = "gcsa"
    gcsa: GCSAConfig = field(default_factory=GCSAConfig)
    mecs: MECSConfig = field(default_factory=MECSConfig)


def shuffle_channels(x: Float[Tensor, "N C H W"], groups: int) -> Float[Tensor, "N C H W"]:
    """The channels dealt out over groups: 0 1 2 3 4 5 6 7 in 4 groups becomes 0 2 4 6 1 3 5 7 (Eq. 2)."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class GCSA(nn.Module):
    """Global channel-spatial attention (§4.3): an MLP gate at every position, a shuffle, a 7x7 spatial gate.

    No pooling: the channel gate is C x H x W. 102,720 parameters at C = 64, 410,240 at 128, 1,639,680 at 256.
    """

    def __init__(self, channels: int, config: GCSAConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GCSAConfig()
        hidden = channels // config.ratio
        if config.channel:
            self.channel_mlp = nn.Sequential(
                nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
            )
        if config.spatial:
            squeeze = nn.Conv2d(channels, hidden, config.kernel, padding=config.kernel // 2)
            expand = nn.Conv2d(hidden, channels, config.kernel, padding=config.kernel // 2)
            if config.order == "text":
                layers = [squeeze, nn.BatchNorm2d(hidden), nn.ReLU(), expand, nn.BatchNorm2d(channels)]
            else:
                layers = [squeeze, nn.ReLU(), nn.BatchNorm2d(hidden), expand]
            self.spatial_gate = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        out = x  # gates stay float32 under bfloat16
        if self.config.channel:
            out = out * torch.sigmoid(self.channel_mlp(out).float())  # Eq. 1
        if self.config.shuffle:
            out = shuffle_channels(out, self.config.groups)  # Eq. 2
        if self.config.spatial:
            out = out * torch.sigmoid(self.spatial_gate(out).float())  # Eq. 3
        return out + x if self.config.residual else out


class MECS(nn.Module):
    """Median-enhanced spatial-channel attention: avg, max and median gates, then six depthwise strips.

    Parameters with one shared 1x1 convolution: 38,944 at C = 128, 127,040 at 256.
    """

    STRIPS = ((1, 7), (7, 1), (1, 11), (11, 1), (1, 21), (21, 1))

    def __init__(self, channels: int, config: MECSConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MECSConfig()
        self.reduce = nn.Conv2d(channels, channels // config.ratio, 1)
        self.restore = nn.Conv2d(channels // config.ratio, channels, 1)
        self.depthwise = Depthwise(channels, (5, 5))
        self.strips = nn.ModuleList(Depthwise(channels, kernel) for kernel in self.STRIPS)
        self.pointwise = nn.ModuleList(
            nn.Conv2d(channels, channels, 1) for _ in range(1 if config.shared_pw else 3)
        )
        if config.post_bn:
            self.norm = nn.BatchNorm2d(channels)

    def channel_gate(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C 1 1"]:
        """The gate from average, maximum and median (lower middle) of each channel."""
        flat = x.flatten(2)
        middle = (flat.shape[-1] - 1) // 2
        # sorted and indexed rather than torch.median, which ONNX lacks
        median = flat.sort(dim=-1).values[..., middle : middle + 1].unsqueeze(-1)
        described = (x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True), median)
        scores = [self.restore(torch.relu(self.reduce(each))).float() for each in described]
        if self.config.channel_sum == "sum_sigmoid":
            return sum((torch.sigmoid(score) for score in scores), torch.zeros_like(scores[0]))
        return torch.sigmoid(sum(scores, torch.zeros_like(scores[0])))

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        first, second, third = (self.pointwise[i % len(self.pointwise)] for i in range(3))
        gated = nn.functional.gelu(first(x))
        gated = gated * self.channel_gate(gated)
        local = self.depthwise(gated)
        spatial = sum((strip(local) for strip in self.strips), local if self.config.add_init else 0)
        out: Tensor = third(second(spatial) * gated)
        if self.config.post_bn:
            out = self.norm(out)
        return out + x if self.config.residual else out


class PlainConvolutions(nn.Module):
    """What GCSA's parameters do without gates: two 7x7 convolutions, squeeze and restore, added to the input.

    401,728 parameters at C = 128, 1,606,272 at 256: 2 % fewer than GCSA. A gain that this block has too is
    not attention's.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.main = nn.Sequential(
            nn.Conv2d(channels, hidden, 7, padding=3, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 7, padding=3, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        out: Tensor = x + self.main(x)
        return out


def build_attention(channels: int, config: AttentionConfig) -> nn.Module:
    """The block that a config names, for maps of `channels` channels."""
    if config.name == "gcsa":
        return GCSA(channels, config.gcsa)
    if config.name == "mecs":
        return MECS(channels, config.mecs)
    if config.name == "convctl":
        return PlainConvolutions(channels)
    return nn.Identity()
