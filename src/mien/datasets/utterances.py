"""Many recordings in, varied windows of log-mel out, a whole batch at once, on whichever device holds them.

Speech varies in speed, level, band, room and noise, so that a corpus cannot be told from its channel. Chance
is drawn from torch's global generator.

Axes: B windows, S samples, F columns of 10 ms, M mel bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import log
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from mien.spans import HOP_SAMPLES, SAMPLE_RATE
from mien.speech import LEAST_POWER, N_FFT, hann_window, mel_filters
from mien.windows import MOST_RAISED, QUIETEST, QUIETEST_SPEECH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float, Float32, Int64
    from torch import Tensor

    from mien.datasets.augment import SpeechAugmentation

EDGE = (N_FFT - HOP_SAMPLES) // 2
"""Samples before a window's first column, and after its last, that the columns are computed from."""

ROOMS = 0.1, 0.6
"""Shortest and longest seconds in which the sound of a room decays by 60 dB."""

PINK_TAPS = 61
"""Samples that a running sum, which forgets a tenth at each, remembers."""


@dataclass(frozen=True, slots=True, eq=False)
class Sounds:
    """Recordings end to end, so that stretches of many are cut at once."""

    samples: Float[Tensor, "all"]
    starts: Int64[Tensor, "recordings"]
    lengths: Int64[Tensor, "recordings"]

    @classmethod
    def of(cls, waveforms: Sequence[Float32[np.ndarray, "_"]], device: torch.device | None = None) -> Self:
        """The recordings (16 kHz mono), put on a device."""
        lengths = [len(each) for each in waveforms]
        starts = [0, *accumulate(lengths)][:-1]
        samples = torch.from_numpy(np.concatenate(waveforms)).to(device)
        return cls(samples, torch.tensor(starts, device=device), torch.tensor(lengths, device=device))

    def cut(
        self, rows: Int64[Tensor, "B"], n_columns: int, speed: float
    ) -> tuple[Float[Tensor, "B S"], Bool[Tensor, "B S"], Bool[Tensor, "B F"]]:
        """A window of each recording, somewhere, at some speed; the pitch changes with it.

        It lies inside a longer recording, or a shorter one inside of it, but for an eighth of its length;
        some of the recording is always in it.

        Args:
            rows: Of the recordings.
            n_columns: Length of a window.
            speed: Largest relative change, both ways.

        Returns:
            Samples, `EDGE` before and after the window included; which of them, and which columns, lie
            inside the recording. Outside samples are 0.
        """
        device, lengths = rows.device, self.lengths[rows]
        rates = (1 + speed) ** (2 * torch.rand(len(rows), device=device, dtype=torch.float64) - 1)
        n_samples = ((lengths - 1) / rates).ceil().long()
        totals = n_samples // HOP_SAMPLES
        slack = torch.clamp(totals // 2, max=n_columns // 8)
        spare = totals - n_columns
        lowest, highest = spare.clamp(max=0) - slack, spare.clamp(min=0) + slack
        chance = torch.rand(len(rows), device=device, dtype=torch.float64)
        first = lowest + (chance * (highest - lowest + 1)).long()
        columns = first[:, None] + torch.arange(n_columns, device=device)
        places = first[:, None] * HOP_SAMPLES - EDGE
        places = places + torch.arange(n_columns * HOP_SAMPLES + 2 * EDGE, device=device)
        inside = (places >= 0) & (places < n_samples[:, None])
        exact = places * rates[:, None]
        left = exact.long().clamp(min=0).minimum(lengths[:, None] - 2)
        share = (exact - left).float()
        at = left + self.starts[rows][:, None]
        sound = torch.lerp(self.samples[at], self.samples[at + 1], share) * inside
        return sound, inside, (columns >= 0) & (columns < totals[:, None])


def vary_sound(
    sound: Float[Tensor, "B S"], inside: Bool[Tensor, "B S"], config: SpeechAugmentation
) -> Float[Tensor, "B S"]:
    """Windows at another level, band, in a room and with noise, within -1..1; 0 outside the recording."""
    n, device = len(sound), sound.device
    sound = _colour(sound, config) * inside
    power = sound.square().sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp(min=1)
    low, high = config.noise_db
    ratio_db = low + torch.rand(n, 1, device=device) * (high - low)
    noise = torch.randn_like(sound)
    memory = 0.9 ** torch.arange(PINK_TAPS, device=device, dtype=sound.dtype)
    pink = torch.nn.functional.conv1d(noise[:, None], memory[None, None], padding="same")[:, 0]
    noise = torch.where(torch.rand(n, 1, device=device) < 0.5, pink, noise)
    noise = noise * (power / noise.square().mean(1, keepdim=True)).sqrt() * 10 ** (-ratio_db / 20)
    gain_db = (2 * torch.rand(n, 1, device=device) - 1) * config.gain_db
    return ((sound + noise * inside) * 10 ** (gain_db / 20)).clamp(-1, 1)


def _colour(sound: Float[Tensor, "B S"], config: SpeechAugmentation) -> Float[Tensor, "B S"]:
    """Some windows through a low-pass and a tilt of the spectrum, some in a room."""
    n, device = len(sound), sound.device
    n_room = round(ROOMS[1] * SAMPLE_RATE)
    n_fft = -(-(sound.shape[1] + n_room) // 4096) * 4096  # lengths with large prime factors are slow
    hertz = torch.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE, device=device)
    cut = 2500 + 5000 * torch.rand(n, 1, device=device)
    octaves = (hertz.clamp(min=60) / 1000).log2()
    tilt_db = (2 * torch.rand(n, 1, device=device) - 1) * 2 * octaves
    band = 10 ** (tilt_db / 20) / (1 + (hertz / cut) ** 8)
    band = band.where(torch.rand(n, 1, device=device) < config.band, 1.0)
    spectrum = torch.fft.rfft(sound, n_fft) * band
    if config.reverb:
        spectrum = spectrum * torch.fft.rfft(_rooms(n, config.reverb, device), n_fft)
    coloured: Tensor = torch.fft.irfft(spectrum, n_fft)[:, : sound.shape[1]]
    return coloured


def _rooms(n: int, chance: float, device: torch.device) -> Float[Tensor, "B R"]:
    """What a click becomes in each of some rooms: itself, then noise that decays, of up to the same power."""
    shortest, longest = ROOMS
    seconds = shortest + (longest - shortest) * torch.rand(n, 1, device=device)
    times = torch.arange(1, round(longest * SAMPLE_RATE), device=device) / SAMPLE_RATE
    tail = torch.randn(n, len(times), device=device) * torch.exp(-3 * log(10) * times / seconds)
    share = torch.rand(n, 1, device=device) * (torch.rand(n, 1, device=device) < chance)
    tail = tail * (share / tail.square().sum(1, keepdim=True)).sqrt()
    return torch.cat([torch.ones(n, 1, device=device), tail], 1)


def log_mels(sound: Float[Tensor, "B S"]) -> Float[Tensor, "B M F"]:
    """The columns of `mien.speech.log_mel`, of sound that begins `EDGE` before the first of them."""
    frames = sound.unfold(1, N_FFT, HOP_SAMPLES) * torch.from_numpy(hann_window()).to(sound.device)
    power = torch.fft.rfft(frames).abs().square()
    mels = power @ torch.from_numpy(mel_filters().T).to(sound.device)
    columns: Tensor = mels.clamp(min=LEAST_POWER).log().transpose(1, 2)
    return columns


def raise_quiet(mels: Float[Tensor, "B M F"], mask: Bool[Tensor, "B F"]) -> Float[Tensor, "B M F"]:
    """`mien.windows.raised` of each window's columns that lie inside; the others hold `QUIETEST`."""
    inside = mels.amax(1).where(mask, torch.nan)
    by = (QUIETEST_SPEECH - inside.nanquantile(0.95, dim=1)).clamp(0.0, MOST_RAISED)
    return (mels + by[:, None, None]).clamp(min=QUIETEST).where(mask.unsqueeze(1), QUIETEST)


def keep_past(mask: Bool[Tensor, "B F"], chance: float) -> Bool[Tensor, "B F"]:
    """Which columns are there; with some chance only the beginning of a window's, a quarter to two thirds."""
    if not chance:
        return mask
    share = 0.25 + (2 / 3 - 0.25) * torch.rand(len(mask), 1, device=mask.device)
    coming = mask.cumsum(1) > 1 + (share * mask.sum(1, keepdim=True)).floor()
    return mask & ~(coming & (torch.rand(len(mask), 1, device=mask.device) < chance))
