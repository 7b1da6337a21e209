"""The face encoder, RHCNN (§4.2) or a ResNet: one aligned crop, or a sequence, in, one feature vector out.

Axes: B crops or sequences, K crops of a sequence, C channels, H W image, D features, E expressions. Sizes at
line ends are for 112 px crops.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from torch import nn

from mien.errors import InputError
from mien.models.attention import FEWEST_CHANNELS, AttentionConfig, build_attention, shuffle_channels
from mien.models.layers import (
    MOST_FEATURES,
    N_FEATURES,
    conv_bn_relu,
    depthwise_bn_relu,
    initialise,
    refuse_dropout,
    refuse_width,
)
from mien.models.resnet import ClipResNet18, ResNet18

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

MOST_BLOCKS = 64
"""Of RHCNN between two attentions: a file cannot ask for more than fits any memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceNetConfig:
    """The face encoder and its head."""

    backbone: Literal["rhcnn", "resnet18", "r3d18", "r2plus1d18", "features"] = "rhcnn"
    """RHCNN; a reading of §4.1, a ResNet-18 on each crop, R3D-18 or R(2+1)D-18 on the sequence; or none, and
    features by an extractor of one's own are given in place of crops: then only `dropout` is heeded below."""
    n_features: int | None = None
    """Width of these features."""
    input_px: int = 112
    """Side to which crops are brought before the first convolution."""
    stem_strides: tuple[int, int] = (2, 2)
    """Strides of RHCNN's two stem convolutions, or of ResNet-18's convolution and pooling.

    Smaller ones keep detail in smaller crops. R3D-18 and R(2+1)D-18 have a stem of one stride.
    """
    depths: tuple[int, int, int] = (0, 2, 2)
    """Residual hybrid blocks of RHCNN behind its stem, before the first attention, before the second."""
    widths: tuple[int, int, int] = (64, 128, N_FEATURES)
    """Channels of RHCNN behind its stem, and behind each half, where the attention stands."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    dropout: float = 0.2
    """Before the linear layer of the head (§6.1)."""
    mirrored: bool = False
    """Outside training, features are the mean of those of the crop and of its mirror image."""

    def __post_init__(self) -> None:
        if not 8 <= self.input_px <= 512:
            raise InputError(f"input_px is {self.input_px}; expected 8 to 512 pixels, such as 48")
        if not {*self.stem_strides} <= {1, 2}:
            raise InputError(f"stem_strides are {self.stem_strides}; expected twice 1 or 2")
        if self.depths[0] < 0 or min(self.depths[1:]) < 1 or max(self.depths) > MOST_BLOCKS:
            raise InputError(
                f"depths are {self.depths}; expected 0 or more, then twice 1 or more, at most {MOST_BLOCKS}"
            )
        if not {*self.widths} <= {*range(FEWEST_CHANNELS, MOST_FEATURES + 1, FEWEST_CHANNELS)}:
            raise InputError(
                f"widths are {self.widths}; expected three multiples of {FEWEST_CHANNELS}, "
                f"at most {MOST_FEATURES}"
            )
        if self.reads_sequences and self.stem_strides != (2, 2):
            raise InputError(
                f"stem_strides are {self.stem_strides}, but {self.backbone} has a stem of one stride; "
                "leave them at (2, 2)"
            )
        refuse_width(self.backbone, self.n_features)
        refuse_dropout(self.dropout)

    @property
    def given(self) -> int | None:
        """Width of the features that are given in place of crops; None where crops are."""
        if self.backbone == "features" and self.n_features is None:
            raise InputError("the face's backbone is 'features'; set n_features beside it, as they are wide")
        return self.n_features

    @property
    def reads_sequences(self) -> bool:
        """Whether the encoder reads the faces of a window together, in their order."""
        return self.backbone in ("r3d18", "r2plus1d18")


N_GROUPS = 4
"""Over which a residual hybrid block deals its channels out."""


class RHB(nn.Module):
    """Residual hybrid block: 3x3, a depthwise-separable 5x5, 1x1, a shortcut, and a channel shuffle."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        half = n_out // 2
        self.main = nn.Sequential(
            conv_bn_relu(n_in, half, 3),
            depthwise_bn_relu(half, 5, stride),
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
        return shuffle_channels(nn.functional.relu(self.main(x) + self.shortcut(x)), N_GROUPS)


def stage(n_in: int, n_out: int, depth: int) -> nn.Sequential:
    """Residual hybrid blocks, of which the first halves the map and widens it."""
    return nn.Sequential(RHB(n_in, n_out, stride=2), *(RHB(n_out, n_out) for _ in range(depth - 1)))


class RHCNN(nn.Module):
    """The face encoder. 754,336 parameters without attention, 2,804,256 with two GCSA blocks."""

    def __init__(self, config: FaceNetConfig | None = None) -> None:
        super().__init__()
        config = config or FaceNetConfig()
        strides, (stem, middle, self.n_features) = config.stem_strides, config.widths
        self.stem = nn.Sequential(
            conv_bn_relu(3, stem // 2, 7, strides[0]),  # [B, 32, 56, 56]
            conv_bn_relu(stem // 2, stem, 3, strides[1]),  # [B, 64, 28, 28]
        )
        before, first, second = config.depths
        self.stage0 = nn.Sequential(*(RHB(stem, stem) for _ in range(before)))  # [B, 64, 28, 28]
        self.stage1 = stage(stem, middle, first)  # [B, 128, 14, 14]
        self.attention1 = build_attention(middle, config.attention)
        self.stage2 = stage(middle, self.n_features, second)  # [B, 256, 7, 7]
        self.attention2 = build_attention(self.n_features, config.attention)
        initialise(self)

    def forward(self, crops: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        x = self.stage0(self.stem(crops))
        x = self.attention1(self.stage1(x))
        features: Tensor = self.attention2(self.stage2(x)).mean((2, 3))
        return features


class GivenFeatures(nn.Flatten):
    """Features that are given, in place of an encoder: pictures of one row in, their only row out."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features


def build_encoder(config: FaceNetConfig) -> RHCNN | ResNet18 | ClipResNet18 | GivenFeatures:
    """The untrained encoder that a configuration names."""
    if config.given is not None:
        return GivenFeatures(config.given)
    if config.backbone == "rhcnn":
        return RHCNN(config)
    if config.backbone == "resnet18":
        return ResNet18(3, config.attention, config.stem_strides)
    return ClipResNet18(config.attention, factored=config.backbone == "r2plus1d18")


class FaceNet(nn.Module):
    """Face encoder and head: grey crops in, logits of the eight expressions out.

    Crops are brought to `input_px`, and each is standardised by its own mean and deviation, so that neither
    the light of the scene nor the source of the picture decides. An encoder of sequences takes a crop by
    itself as a sequence of one; the others take nothing but crops by themselves, K = 1. Features that are
    given in place of crops are pictures of one row, H = 1 and W = D, and pass as they are.
    """

    def __init__(self, config: FaceNetConfig, n_expressions: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.head = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(self.encoder.n_features, n_expressions)
        )

    def forward(self, crops: Float[Tensor, "B K H W"]) -> Float[Tensor, "B E"]:
        logits: Tensor = self.head(self.encode(crops))
        return logits

    def encode(self, crops: Float[Tensor, "B K H W"]) -> Float[Tensor, "B D"]:
        """Features of grey crops, in any range of values."""
        assert self.config.reads_sequences or crops.shape[1] == 1, "three crops would pass for three colours"
        if self.config.backbone == "features":
            given: Tensor = self.encoder(crops)
            return given
        size = (self.config.input_px, self.config.input_px)
        if crops.shape[-2:] != size:
            crops = nn.functional.interpolate(crops, size, mode="bilinear", align_corners=False)
        centred = crops - crops.mean((2, 3), keepdim=True)
        deviation = centred.square().mean((2, 3), keepdim=True).sqrt()
        standard = centred / (deviation + 1e-3)
        if self.config.reads_sequences:
            standard = standard.unsqueeze(1)  # [B, 1, K, H, W]
        seen = standard.expand(-1, 3, *standard.shape[2:])
        features: Tensor = self.encoder(seen)
        if self.config.mirrored and not self.training:
            features = (features + self.encoder(seen.flip(-1))) / 2
        return features
