"""RHCNN, the face encoder: one aligned crop in, one feature vector out (§4.2).

Axes: B crops, C channels, H W image, D features, E expressions. Sizes at line ends are for 112 px crops.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn

from mien.models.attention import AttentionConfig, build_attention, shuffle_channels
from mien.models.layers import N_FEATURES, conv_bn_relu, initialise

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceNetConfig:
    """The face encoder and its head."""

    input_px: int = 112
    """Side to which crops are brought before the first convolution."""
    stem_strides: tuple[int, int] = (2, 2)
    """Strides of the two stem convolutions; smaller ones keep detail in smaller crops."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    dropout: float = 0.2
    """Before the linear layer of the head (§6.1)."""
    mirrored: bool = False
    """Outside training, features are the mean of those of the crop and of its mirror image."""


class RHB(nn.Module):
    """Residual hybrid block: 3x3, a depthwise-separable 5x5, 1x1, a shortcut, and a channel shuffle."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        half = n_out // 2
        self.main = nn.Sequential(
            conv_bn_relu(n_in, half, 3),
            conv_bn_relu(half, half, 5, stride, groups=half),
            conv_bn_relu(half, half, 1),
            nn.Conv2d(half, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B c h w"]:
        return shuffle_channels(nn.functional.relu(self.main(x) + self.shortcut(x)), groups=4)


class RHCNN(nn.Module):
    """The face encoder. 754,336 parameters without attention, 2,804,256 with two GCSA blocks."""

    def __init__(self, config: FaceNetConfig | None = None) -> None:
        super().__init__()
        config = config or FaceNetConfig()
        first, second = config.stem_strides
        self.stem = nn.Sequential(
            conv_bn_relu(3, 32, 7, first),  # [B, 32, 56, 56]
            conv_bn_relu(32, 64, 3, second),  # [B, 64, 28, 28]
        )
        self.stage1 = nn.Sequential(RHB(64, 128, stride=2), RHB(128, 128))  # [B, 128, 14, 14]
        self.attention1 = build_attention(128, config.attention)
        self.stage2 = nn.Sequential(RHB(128, 256, stride=2), RHB(256, N_FEATURES))  # [B, 256, 7, 7]
        self.attention2 = build_attention(N_FEATURES, config.attention)
        initialise(self)

    def forward(self, crops: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        x = self.stem(crops)
        x = self.attention1(self.stage1(x))
        features: Tensor = self.attention2(self.stage2(x)).mean((2, 3))
        return features


class FaceNet(nn.Module):
    """Face encoder and head: grey crops in, logits of the eight expressions out.

    Crops are brought to `input_px`, and each is standardised by its own mean and deviation, so that neither
    the light of the scene nor the source of the picture decides.
    """

    def __init__(self, config: FaceNetConfig, n_expressions: int) -> None:
        super().__init__()
        self.input_px, self.mirrored = config.input_px, config.mirrored
        self.encoder = RHCNN(config)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(N_FEATURES, n_expressions))

    def forward(self, crops: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B E"]:
        logits: Tensor = self.head(self.encode(crops))
        return logits

    def encode(self, crops: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B D"]:
        """Features of grey crops, in any range of values."""
        size = (self.input_px, self.input_px)
        if crops.shape[-2:] != size:
            crops = nn.functional.interpolate(crops, size, mode="bilinear", align_corners=False)
        centred = crops - crops.mean((1, 2, 3), keepdim=True)
        deviation = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
        seen = (centred / (deviation + 1e-3)).expand(-1, 3, -1, -1)
        features: Tensor = self.encoder(seen)
        if self.mirrored and not self.training:
            features = (features + self.encoder(seen.flip(-1))) / 2
        return features
