"""Sound in, what the voice expresses at any time out.

Whole 3.2 s windows are read on a fixed grid of times, every 0.4 s from 0, and only where speech is heard near
by; between two grid times probabilities are interpolated. Times must be asked for in order, so that only the
few seconds that windows can still reach are held.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from mien.spans import column_at
from mien.speech import N_MELS, SoundColumns
from mien.windows import N_COLUMNS, cut_window, first_column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Bool, Float32

    from mien.predictor import VoicePredictor

GRID_STEP = 0.4
"""Seconds between two readings of the voice."""

_ON_GRID = 1e-6
"""Times this near to a grid time, in steps, are that grid time: 1.2 / 0.4 is 2.9999999999999996."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What is heard at one time."""

    speech: bool
    """Somebody speaks."""
    probs: Float32[np.ndarray, "8"] | None
    """None where nobody speaks, or without a predictor."""
    silent: bool
    """There is next to no sound, or no sound track."""


def past_window(
    log_mel: Float32[np.ndarray, "mels columns"],
) -> tuple[Float32[np.ndarray, "mels window"], Bool[np.ndarray, "window"]]:
    """The window centred on the end of some columns, whose other half is to come; and which are there."""
    return cut_window(log_mel, log_mel.shape[1] - N_COLUMNS // 2)


class Voice:
    """Readings of one file's voice, in order of time.

    Args:
        columns: What `mien.speech.hear` yields.
        predictor: Gives the probabilities of a window; None hears only where there is sound and speech.
    """

    def __init__(self, columns: Iterable[SoundColumns], predictor: VoicePredictor | None) -> None:
        self._columns = iter(columns)
        self._predictor = predictor
        self._ended = False
        self._start = 0
        self._mel = np.zeros((N_MELS, 0), np.float32)
        self._speech = np.zeros(0, np.bool_)
        self._silent = np.zeros(0, np.bool_)
        self._readings: dict[int, Float32[np.ndarray, "8"]] = {}

    def reaches(self, time: float) -> bool:
        """Whether the sound lasts beyond a time."""
        return self._pull(column_at(time) + 1)

    def at(self, time: float) -> Heard:
        """What is heard at a time, which is none before those asked for already."""
        column = column_at(time)
        if not self._pull(column + 1):
            return Heard(speech=False, probs=None, silent=True)
        place = column - self._start
        speech, silent = bool(self._speech[place]), bool(self._silent[place])
        if self._predictor is None or not speech:
            return Heard(speech, None, silent)
        before = floor(time / GRID_STEP + _ON_GRID)
        share = time / GRID_STEP - before
        self._forget(before)
        probs = self._read(before)
        if share > _ON_GRID:
            probs = probs + (self._read(before + 1) - probs) * np.float32(share)
        return Heard(speech, probs, silent)

    def _read(self, k: int) -> Float32[np.ndarray, "8"]:
        """Probabilities of the window centred on the k-th grid time."""
        if k not in self._readings:
            assert self._predictor is not None
            first = first_column(k * GRID_STEP)
            self._pull(first + N_COLUMNS)
            window, mask = cut_window(self._mel, first - self._start)
            self._readings[k] = self._predictor(window[None], mask[None])[0]
        return self._readings[k]

    def _pull(self, n_columns: int) -> bool:
        """Hears on until so many columns are there; False where the sound ends before."""
        while self._start + len(self._speech) < n_columns and not self._ended:
            heard = next(self._columns, None)
            if heard is None:
                self._ended = True
                break
            # What is held ends less than 2 s ahead of the last time asked for (to the next grid time 0.4 s,
            # half a window 1.6 s), and no window begins 2 s behind it: 6.4 s are more than both.
            n_gone = max(0, len(self._speech) - 2 * N_COLUMNS)
            self._start += n_gone
            self._mel = np.concatenate([self._mel[:, n_gone:], heard.log_mel], axis=1)
            self._speech = np.concatenate([self._speech[n_gone:], heard.speech])
            self._silent = np.concatenate([self._silent[n_gone:], heard.silent])
        return self._start + len(self._speech) >= n_columns

    def _forget(self, before: int) -> None:
        for k in [k for k in self._readings if k < before]:
            del self._readings[k]
