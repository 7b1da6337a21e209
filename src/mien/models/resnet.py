"""ResNet-18 in two and three dimensions: a crop, a window of log-mel or a sequence of crops in, features out.

Readings of §4.1, which names "3D residual network and ResNet18" where §4.2 has RHCNN and MCNN. The blocks
are those of He et al. (2016), "Deep Residual Learning for Image Recognition", and of Tran et al. (2018), "A
Closer Look at Spatiotemporal Convolutions for Action Recognition". Attention stands behind the second and the
fourth layer.

Axes: B samples, C channels, K crops of a sequence, H W image (or mel rows and columns), D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mien.models.attention import AttentionConfig, build_attention
from mien.models.layers import conv_bn_relu, initialise

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

N_RESNET_FEATURES = 512
"""Width D of a ResNet-18's features."""

LAYERS = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, N_RESNET_FEATURES, 2))
"""Channels in and out, and stride, of the four layers of two blocks each."""

N_BETWEEN_STEM = 45
"""Channels between the two convolutions of R(2+1)D's stem, as in its public models; the paper tells none."""


class BasicBlock(nn.Module):
    """ResNet's basic block: two 3x3 convolutions beside a shortcut, projected where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != (1, 1) or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B c h w"]:
        return nn.functional.relu(self.main(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 without its last linear layer: 11,176,512 parameters for 3 channels, 11,170,240 for 1.

    Two GCSA blocks add 6,966,400.
    """

    n_features = N_RESNET_FEATURES

    def __init__(
        self,
        n_channels: int,
        attention: AttentionConfig,
        stem_strides: tuple[int, int] = (2, 2),
        pooled: tuple[int, ...] = (2, 3),
    ) -> None:
        """Takes the channels of its input, the strides of the stem's convolution and pooling, and axes.

        Over the axes `pooled` of the last map the mean is taken: image, or mel rows alone.
        """
        super().__init__()
        self.pooled = pooled
        first, second = stem_strides
        self.stem = nn.Sequential(conv_bn_relu(n_channels, 64, 7, first), nn.MaxPool2d(3, second, 1))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(BasicBlock(n_in, n_out, (stride, stride)), BasicBlock(n_out, n_out))
            for n_in, n_out, stride in LAYERS
        )
        self.attention1 = build_attention(LAYERS[1][1], attention)
        self.attention2 = build_attention(LAYERS[3][1], attention)
        initialise(self)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D *T"]:
        x = self.attention1(self.layer2(self.layer1(self.stem(x))))
        features: Tensor = self.attention2(self.layer4(self.layer3(x))).mean(self.pooled)
        return features


class ClipBlock(nn.Module):
    """The basic block over time and image: two 3x3x3 convolutions, whole or factored, beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int, *, factored: bool) -> None:
        super().__init__()
        n_between = channels_between(n_in, n_out) if factored else None
        self.main = nn.Sequential(
            clip_convolution(n_in, n_out, stride, n_between),
            nn.BatchNorm3d(n_out),
            nn.ReLU(),
            clip_convolution(n_out, n_out, 1, n_between),
            nn.BatchNorm3d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv3d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm3d(n_out)
            )

    def forward(self, x: Float[Tensor, "B C K H W"]) -> Float[Tensor, "B c k h w"]:
        return nn.functional.relu(self.main(x) + self.shortcut(x))


class ClipResNet18(nn.Module):
    """R3D-18, or factored R(2+1)D-18, without the last linear layer: one vector for a sequence of crops.

    33,166,272 parameters whole, 31,300,125 factored. Attention weighs the map of each step in time by itself.
    """

    n_features = N_RESNET_FEATURES

    def __init__(self, attention: AttentionConfig, *, factored: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(clip_stem(factored), nn.BatchNorm3d(64), nn.ReLU())
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                ClipBlock(n_in, n_out, stride, factored=factored),
                ClipBlock(n_out, n_out, 1, factored=factored),
            )
            for n_in, n_out, stride in LAYERS
        )
        self.attention1 = build_attention(LAYERS[1][1], attention)
        self.attention2 = build_attention(LAYERS[3][1], attention)
        initialise(self)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clips: Float[Tensor, "B 3 K H W"]) -> Float[Tensor, "B D"]:
        # on processors, torch 2.13 gives weights of 3x1x1 convolutions gradients of no sense in bfloat16
        with torch.autocast("cpu", enabled=False):
            x = at_each_step(self.attention1, self.layer2(self.layer1(self.stem(clips))))
            return at_each_step(self.attention2, self.layer4(self.layer3(x))).mean((2, 3, 4))


def channels_between(n_in: int, n_out: int) -> int:
    """Channels between a factored convolution's two halves that keep the number of weights of the whole one.

    Both convolutions of a block have those of its first, as in the public models of 31.3 M weights; had each
    its own, as the paper can be read, R(2+1)D-18 would have 33.2 M.

    >>> channels_between(64, 64), channels_between(64, 128)
    (144, 230)
    """
    return 27 * n_in * n_out // (9 * n_in + 3 * n_out)


def clip_convolution(n_in: int, n_out: int, stride: int, n_between: int | None) -> nn.Module:
    """A 3x3x3 convolution without bias, or 1x3x3 over the image, BN, ReLU, then 3x1x1 over time."""
    if n_between is None:
        return nn.Conv3d(n_in, n_out, 3, stride, 1, bias=False)
    return nn.Sequential(
        nn.Conv3d(n_in, n_between, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(n_between),
        nn.ReLU(),
        nn.Conv3d(n_between, n_out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


def clip_stem(factored: bool) -> nn.Module:
    """A 3x7x7 convolution without bias that halves the image and keeps time, whole or factored."""
    if not factored:
        return nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
    return nn.Sequential(
        nn.Conv3d(3, N_BETWEEN_STEM, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(N_BETWEEN_STEM),
        nn.ReLU(),
        nn.Conv3d(N_BETWEEN_STEM, 64, (3, 1, 1), 1, (1, 0, 0), bias=False),
    )


def at_each_step(block: nn.Module, x: Float[Tensor, "B C K H W"]) -> Float[Tensor, "B C K H W"]:
    """What a block for images makes of the map of each step in time."""
    n_samples, n_channels, n_steps, height, width = x.shape
    maps: Tensor = block(x.transpose(1, 2).flatten(0, 1))
    return maps.reshape(n_samples, n_steps, n_channels, height, width).transpose(1, 2)
