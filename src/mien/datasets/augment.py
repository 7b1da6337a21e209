"""Training faces and utterances in, varied ones out, by torch's global generator, seeded before every step.

FER+ pictures are loosely framed as they are (docs/decisions/0011); faces are jittered on top of that, and
blurred, so that 48 px stills and crops from video look alike. Speech
varies in speed, level, band and noise, so that a corpus cannot be told from its channel.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf, pi
from typing import TYPE_CHECKING

import numpy as np
import torch

from mien.errors import InputError
from mien.spans import SAMPLE_RATE
from mien.windows import QUIETEST

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32
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
    n = len(images)
    turn = _uniform(n, config.rotation) * pi / 180
    zoom = (1 + config.scale) ** _uniform(n, 1.0)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(turn) / zoom, torch.sin(turn) / zoom
    rows = torch.stack(
        [
            torch.stack([cos * mirror, -sin, 2 * _uniform(n, config.shift)], 1),
            torch.stack([sin * mirror, cos, 2 * _uniform(n, config.shift)], 1),
        ],
        1,
    )
    grid = torch.nn.functional.affine_grid(rows, [n, 1, size_px, size_px], align_corners=False)
    varied = torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    varied = _blur(varied, config.blur)
    varied = varied.clamp(1e-4, 1) ** (1 + _uniform(n, config.contrast)).view(-1, 1, 1, 1)
    varied = varied + torch.randn_like(varied) * (torch.rand(n, 1, 1, 1) * config.noise)
    return _erase(varied, config.erase)


def _uniform(n: int, limit: float) -> Float[Tensor, "n"]:
    return (torch.rand(n) * 2 - 1) * limit


def _blur(images: Float[Tensor, "B 1 H W"], chance: float) -> Float[Tensor, "B 1 H W"]:
    """Some of the images brought down to one random size and up again."""
    small_px = int(torch.randint(20, 49, ()))
    chosen = torch.rand(len(images)) < chance
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
    n, _, height, width = images.shape
    size = torch.rand(n, 2) * 0.35 + 0.15
    corner = torch.rand(n, 2) * (1 - size)
    rows = torch.arange(height).view(1, -1, 1) / height
    columns = torch.arange(width).view(1, 1, -1) / width
    top, left = corner[:, :1, None], corner[:, 1:, None]
    inside = (rows >= top) & (rows < top + size[:, :1, None])
    inside = inside & (columns >= left) & (columns < left + size[:, 1:, None])
    inside = inside & (torch.rand(n, 1, 1) < chance)
    return torch.where(inside.unsqueeze(1), torch.rand_like(images), images)


def vary_waveform(
    waveform: Float32[np.ndarray, "samples"], config: SpeechAugmentation
) -> Float32[np.ndarray, "varied"]:
    """An utterance at another speed, level, band and with noise."""
    draw = torch.rand(7).numpy()
    speed = (1 + config.speed) ** (2 * draw[0] - 1)
    places = np.arange(0, len(waveform) - 1, speed)
    varied = np.interp(places, np.arange(len(waveform)), waveform)
    if draw[1] < config.band:
        n_fft = 1 << (len(varied) - 1).bit_length()  # lengths with large prime factors are ten times slower
        spectrum = np.fft.rfft(varied, n_fft)
        hertz = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
        cut = 2500 + 5000 * draw[2]
        tilt_db = (2 * draw[3] - 1) * 6 * np.log2(np.maximum(hertz, 60) / 1000) / 3
        spectrum *= 10 ** (tilt_db / 20) / (1 + (hertz / cut) ** 8)
        varied = np.fft.irfft(spectrum, n_fft)[: len(varied)]
    loudness = np.sqrt(np.mean(varied**2)) + 1e-6
    ratio_db = config.noise_db[0] + draw[4] * (config.noise_db[1] - config.noise_db[0])
    noise = torch.randn(len(varied)).numpy()
    if draw[5] < 0.5:  # pink-ish: running sum that forgets
        noise = np.convolve(noise, 0.9 ** np.arange(60), "same")
    noise *= loudness * 10 ** (-ratio_db / 20) / (np.sqrt(np.mean(noise**2)) + 1e-9)
    gain = 10 ** ((2 * draw[6] - 1) * config.gain_db / 20)
    varied = np.clip((varied + noise) * gain, -1, 1)
    return np.asarray(varied, np.float32)


def keep_past(
    window: Float32[np.ndarray, "M F"], mask: Bool[np.ndarray, "F"], chance: float
) -> tuple[Float32[np.ndarray, "M F"], Bool[np.ndarray, "F"]]:
    """The window, or with some chance the beginning of what is heard in it, and which columns are there."""
    if not chance or torch.rand(()) >= chance:
        return window, mask
    inside = np.flatnonzero(mask)
    share = 0.25 + (2 / 3 - 0.25) * float(torch.rand(()))
    coming = np.arange(len(mask)) > inside[int(share * len(inside))]
    return np.where(coming, np.float32(QUIETEST), window), mask & ~coming


def mask_log_mel(
    log_mel: Float[Tensor, "B M F"], fill: float, config: SpeechAugmentation
) -> Float[Tensor, "B M F"]:
    """SpecAugment: two bands and two stretches of each window filled, with the chance that `config` says."""
    n, n_mels, n_columns = log_mel.shape
    chosen = (torch.rand(n, 1) < config.mask).float()
    out = log_mel
    for axis, length, widest in ((1, n_mels, config.frequency_mask), (2, n_columns, config.time_mask)):
        places = torch.arange(length).view(1, -1)
        for _ in range(2):
            width = torch.rand(n, 1) * widest * chosen
            start = torch.rand(n, 1) * (length - width)
            inside = (places >= start) & (places < start + width)
            out = out.masked_fill(inside.unsqueeze(2 if axis == 1 else 1), fill)
    return out
