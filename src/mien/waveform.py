"""Decoded blocks of sound, each with its timestamp, become one waveform without gaps.

Enters: blocks as a decoder gives them: any number type, any number of channels, late, overlapping, with holes
or broken timestamps. Leaves: one channel, full scale ±1, that begins when it is told to, a second at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

JITTER = 0.02
"""Seconds by which sound may lie off its timestamp before a gap is filled or an overlap cut."""

LONGEST_STEP_BACK = 1.0
"""Seconds; timestamps that step further back have started anew (joined recordings)."""

LONGEST_GAP = 3600.0
"""Seconds; timestamps that jump further ahead are broken, not a gap."""

LOUDEST_SAMPLE = 1e4
"""Times full scale; samples beyond it, and those that are no number, are broken and become 0."""


class Clock:
    """A stream's timestamps, read so that broken or restarted ones do not tear the stream apart.

    >>> clock = Clock()
    >>> clock.place(7.0, expected=6.9), clock.place(0.0, expected=7.1), clock.place(0.2, expected=7.3)
    (7.0, 7.1, 7.3)
    """

    __slots__ = ("_shift",)

    def __init__(self) -> None:
        self._shift = 0.0

    def place(self, stamp: float | None, expected: float) -> float:
        """Time of a block in seconds: its timestamp where it has one to be believed, else `expected`."""
        if stamp is None:
            return expected
        jump = stamp + self._shift - expected
        if not -LONGEST_STEP_BACK <= jump <= LONGEST_GAP:
            self._shift -= jump
        return stamp + self._shift


def lay_out(
    blocks: Iterable[tuple[float | None, Float32[np.ndarray, "_"]]], sample_rate: int, start: float = 0.0
) -> Iterator[Float32[np.ndarray, "samples"]]:
    """The blocks of a sound as one waveform, in stretches of a second and a shorter last one.

    Holes are filled with zeros, what overlaps or lies before `start` is cut.

    Args:
        blocks: Time of a block's first sample in seconds, None where unknown, and its samples.
        sample_rate: Of the blocks and of the waveform (Hz).
        start: Time of the waveform's first sample in seconds.

    >>> [stretch.tolist() for stretch in lay_out([(0.5, np.ones(2, np.float32))], sample_rate=2)]
    [[0.0, 1.0], [1.0]]
    """
    clock, position, tolerance = Clock(), round(start * sample_rate), 0.0
    waiting: list[Float32[np.ndarray, "_"]] = []
    n_waiting = 0
    for stamp, samples in blocks:
        n_missing = round(clock.place(stamp, position / sample_rate) * sample_rate) - position
        if abs(n_missing) <= tolerance * sample_rate:
            n_missing = 0
        tolerance = JITTER  # the first block alone is placed to the sample
        for piece in chain(_silence(n_missing, sample_rate), [samples[max(0, -n_missing) :]]):
            position += piece.size
            n_waiting += piece.size
            waiting.append(piece)
            if n_waiting >= sample_rate:
                joined = np.concatenate(waiting)
                n_waiting %= sample_rate
                n_ready = joined.size - n_waiting
                yield from joined[:n_ready].reshape(-1, sample_rate)
                waiting = [joined[n_ready:]]
    if n_waiting:
        yield np.concatenate(waiting)


def mix(samples: Shaped[np.ndarray, "channels samples"]) -> Float32[np.ndarray, "samples"]:
    """The mean of a block's channels; integers become ±1 by their type's range, broken samples 0.

    >>> mix(np.array([[-32768, 0], [0, 16384]], np.int16)).tolist()
    [-0.5, 0.25]
    """
    scaled = samples.astype(np.float64)
    if samples.dtype.kind in "iu":
        full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
        scaled /= full_scale
        if samples.dtype.kind == "u":
            scaled -= 1.0
    sound = np.abs(scaled) <= LOUDEST_SAMPLE  # false for what is no number
    mean: Float32[np.ndarray, "samples"] = np.where(sound, scaled, 0.0).mean(axis=0).astype(np.float32)
    return mean


def _silence(n_samples: int, sample_rate: int) -> Iterator[Float32[np.ndarray, "_"]]:
    """So many zeros, a second at most at a time; none for a negative number."""
    for begin in range(0, n_samples, sample_rate):
        yield np.zeros(min(sample_rate, n_samples - begin), np.float32)
