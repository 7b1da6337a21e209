"""Sound in, what the voice expresses at any time out.

Whole 3.2 s windows are read on a fixed grid of times, every 0.4 s from 0, and only where speech is heard near
by; between two grid times probabilities are interpolated. Times must be asked for in order, so that only the
few seconds that windows can still reach are held.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from mien.spans import COLUMNS_PER_SECOND, column_at
from mien.speech import N_MELS, SoundColumns
from mien.windows import N_COLUMNS, cut_window, first_column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Bool, Float32, UInt8

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


class Hearing(ABC):
    """What is heard in one file."""

    def reaches(self, time: float) -> bool:
        """Whether the sound lasts beyond a time."""
        return self._flags(column_at(time)) is not None

    def at(self, time: float) -> Heard:
        """What is heard at a time, which is none before those asked for already."""
        flags = self._flags(column_at(time))
        if flags is None:
            return Heard(speech=False, probs=None, silent=True)
        speech, silent = flags
        before = floor(time / GRID_STEP + _ON_GRID)
        share = time / GRID_STEP - before
        probs = self._read(before) if speech else None
        if probs is not None and share > _ON_GRID:
            after = self._read(before + 1)
            assert after is not None
            probs = probs + (after - probs) * np.float32(share)
        return Heard(speech, probs, silent)

    @abstractmethod
    def _flags(self, column: int) -> tuple[bool, bool] | None:
        """Whether somebody speaks in a mel column, and whether it is silent; None behind the sound's end."""

    @abstractmethod
    def _read(self, k: int) -> Float32[np.ndarray, "8"] | None:
        """Probabilities of the window centred on the k-th grid time; None where voices are not read."""


class Voice(Hearing):
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

    def record(self) -> RecordedVoice:
        """Everything that is heard, to its end."""
        spoken, quiet = bytearray(), bytearray()
        readings: dict[int, Float32[np.ndarray, "8"]] = {}
        while (flags := self._flags(len(spoken))) is not None:
            if flags[0]:
                self.at((len(spoken) + 0.5) / COLUMNS_PER_SECOND)
                readings |= self._readings
            spoken.append(flags[0])
            quiet.append(flags[1])
        speech, silent = (np.packbits(np.frombuffer(each, np.bool_)) for each in (spoken, quiet))
        return RecordedVoice(speech, silent, len(spoken), readings)

    def _flags(self, column: int) -> tuple[bool, bool] | None:
        if not self._pull(column + 1):
            return None
        place = column - self._start
        return bool(self._speech[place]), bool(self._silent[place])

    def _read(self, k: int) -> Float32[np.ndarray, "8"] | None:
        if self._predictor is None:
            return None
        if k not in self._readings:
            self._forget(k - 1)
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


class RecordedVoice(Hearing):
    """What was heard in a file, small enough to be sent: about 0.1 kB a second of speech.

    Args:
        speech: Where somebody speaks, a bit for each mel column.
        silent: Where it is silent, likewise.
        n_columns: How many columns there are.
        readings: Probabilities by grid time, wherever somebody speaks near it.
    """

    def __init__(
        self,
        speech: UInt8[np.ndarray, "bytes"],
        silent: UInt8[np.ndarray, "bytes"],
        n_columns: int,
        readings: dict[int, Float32[np.ndarray, "8"]],
    ) -> None:
        self._bits, self._n_columns, self._readings = (speech, silent), n_columns, readings

    def _flags(self, column: int) -> tuple[bool, bool] | None:
        if column >= self._n_columns:
            return None
        speech, silent = (bool(bits[column // 8] >> (7 - column % 8) & 1) for bits in self._bits)
        return speech, silent

    def _read(self, k: int) -> Float32[np.ndarray, "8"] | None:
        return self._readings.get(k)
