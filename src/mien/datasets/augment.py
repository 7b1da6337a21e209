"""Training faces and utterances in, varied ones out, by torch's global generator, seeded before every step.

FER+ pictures are loosely framed as they are (docs/decisions/0011); faces are jittered on top of that, and
blurred, so that 48 px stills and crops from video look alike. Sound is varied in `mien.datasets.utterances`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf, pi
from typing import TYPE_CHECKING

import torch

from mien.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceAugmentation:
    """How far grey face crops are varied."""

    scale: float = 0.2
    """Largest relative change of size, both ways."""
    rotation: float = 15.0
    """Largest turn, degrees."""
    shift: float = 0.08
    """Largest shift, sides of the crop."""
    blur: float = 0.2
    """Chance of being brought down to 20-48 px and up again."""
    contrast: float = 0.2
    """Largest change of the exponent of brightness."""
    noise: float = 0.02
    """Largest deviation of added noise, share of the range of brightness."""
    erase: float = 0.1
    """Chance of an erased rectangle, up to a quarter of the area."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0 <= getattr(self, each.name) < inf:
                raise InputError(f"{each.name} is {getattr(self, each.name)}; expected 0 or more")


WEAK = FaceAugmentation(scale=0.05, rotation=5.0, shift=0.04, blur=0.0, contrast=0.0, noise=0.0, erase=0.0)
"""A face as it is but for its framing: what a teacher is shown."""

STRONG = FaceAugmentation(scale=0.25, rotation=25.0, shift=0.1, blur=0.5, contrast=0.5, noise=0.06, erase=1.0)
"""A face that is hard to read: what its pupil is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechAugmentation:
    """How far utterances are varied."""

    crop: float = 2.4
    """Seconds of a training window; the encoder pools over time, so shorter than the 3.2 s that it reads."""
    speed: float = 0.12
    """Largest relative change of speed (and pitch with it)."""
    gain_db: float = 10.0
    """Largest change of level."""
    noise_db: tuple[float, float] = (8.0, 45.0)
    """Range of signal-to-noise ratios."""
    band: float = 0.5
    """Chance of a low-pass at 2.5-7.5 kHz and of a tilt of the spectrum."""
    reverb: float = 0.0
    """Chance of a room."""
    frequency_mask: int = 8
    """Widest masked band, mel bins; two bands."""
    time_mask: int = 32
    """Widest masked stretch, columns; two stretches."""
    mask: float = 0.8
    """Chance of SpecAugment masks."""
    past: float = 0.0
    """Chance that of what is heard only the beginning is there, a quarter to two thirds: the rest is to come,
    as it is live."""


def vary_faces(
    images: Float[Tensor, "B 1 H W"], size_px: int, config: FaceAugmentation
) -> Float[Tensor, "B 1 h w"]:
    """Faces in 0..1 moved, mirrored, blurred and partly erased, at `size_px`; noise may leave 0..1."""
    n, device = len(images), images.device
    turn = _uniform(n, config.rotation, device) * pi / 180
    zoom = (1 + config.scale) ** _uniform(n, 1.0, device)
    mirror = torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(turn) / zoom, torch.sin(turn) / zoom
    rows = torch.stack(
        [
            torch.stack([cos * mirror, -sin, 2 * _uniform(n, config.shift, device)], 1),
            torch.stack([sin * mirror, cos, 2 * _uniform(n, config.shift, device)], 1),
        ],
        1,
    )
    grid = torch.nn.functional.affine_grid(rows, [n, 1, size_px, size_px], align_corners=False)
    varied = torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    varied = _blur(varied, config.blur)
    varied = varied.clamp(1e-4, 1) ** (1 + _uniform(n, config.contrast, device)).view(-1, 1, 1, 1)
    varied = varied + torch.randn_like(varied) * (torch.rand(n, 1, 1, 1, device=device) * config.noise)
    return _erase(varied, config.erase)


def _uniform(n: int, limit: float, device: torch.device) -> Float[Tensor, "n"]:
    return (torch.rand(n, device=device) * 2 - 1) * limit


def _blur(images: Float[Tensor, "B 1 H W"], chance: float) -> Float[Tensor, "B 1 H W"]:
    """Some of the images brought down to one random size and up again."""
    small_px = int(torch.randint(20, 49, ()))
    chosen = torch.rand(len(images), device=images.device) < chance
    small = torch.nn.functional.interpolate(
        images[chosen], (small_px, small_px), mode="bilinear", antialias=True, align_corners=False
    )
    out = images.clone()
    out[chosen] = torch.nn.functional.interpolate(
        small, images.shape[-2:], mode="bilinear", align_corners=False
    )
    return out


def _erase(images: Float[Tensor, "B 1 H W"], chance: float) -> Float[Tensor, "B 1 H W"]:
    """Some of the images with a random rectangle filled with noise."""
    (n, _, height, width), device = images.shape, images.device
    size = torch.rand(n, 2, device=device) * 0.35 + 0.15
    corner = torch.rand(n, 2, device=device) * (1 - size)
    rows = torch.arange(height, device=device).view(1, -1, 1) / height
    columns = torch.arange(width, device=device).view(1, 1, -1) / width
    top, left = corner[:, :1, None], corner[:, 1:, None]
    inside = (rows >= top) & (rows < top + size[:, :1, None])
    inside = inside & (columns >= left) & (columns < left + size[:, 1:, None])
    inside = inside & (torch.rand(n, 1, 1, device=device) < chance)
    return torch.where(inside.unsqueeze(1), torch.rand_like(images), images)


def mask_log_mel(
    log_mel: Float[Tensor, "B M F"], fill: float, config: SpeechAugmentation
) -> Float[Tensor, "B M F"]:
    """SpecAugment: two bands and two stretches of each window filled, with the chance that `config` says."""
    (n, n_mels, n_columns), device = log_mel.shape, log_mel.device
    chosen = (torch.rand(n, 1, device=device) < config.mask).float()
    out = log_mel
    for axis, length, widest in ((1, n_mels, config.frequency_mask), (2, n_columns, config.time_mask)):
        places = torch.arange(length, device=device).view(1, -1)
        for _ in range(2):
            width = torch.rand(n, 1, device=device) * widest * chosen
            start = torch.rand(n, 1, device=device) * (length - width)
            inside = (places >= start) & (places < start + width)
            out = out.masked_fill(inside.unsqueeze(2 if axis == 1 else 1), fill)
    return out
