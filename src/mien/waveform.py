"""Decoded blocks of sound, each with its timestamp, become one waveform without gaps.

Enters: blocks as a decoder gives them: any number type, any number of channels, late, overlapping, with holes
or broken timestamps. Leaves: one channel, full scale ±1, that begins when it is told to, a second at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped

JITTER = 0.02
"""Seconds by which sound may lie off its timestamp before a gap is filled or an overlap cut."""

LONGEST_STEP_BACK = 1.0
"""Seconds; timestamps that step further back have started anew (joined recordings) or are of a late block."""

LONGEST_GAP = 3600.0
"""Seconds; timestamps that jump further ahead are broken, not a gap."""

SHORTEST_STEP = 1e-4
"""Seconds from a frame to a late one, which belongs before it."""

MOST_IN_DOUBT = 8
"""Blocks that are read ahead to see whether a clock has started anew."""

LOUDEST_SAMPLE = 1e4
"""Times full scale; samples beyond it, and those that are no number, are broken and become 0."""


Block = TypeVar("Block")


class Clock(Generic[Block]):
    """A stream of blocks, each with its timestamp, and the time at which each of them belongs.

    Broken or restarted timestamps do not tear the stream apart. It is read ahead only where a timestamp is in
    doubt, and then by `MOST_IN_DOUBT` blocks at most.

    >>> clock = Clock([(7.0, "a"), (0.0, "b"), (0.2, "c")])
    >>> [clock.place(stamp, expected) for (stamp, _), expected in zip(clock, (6.9, 7.1, 7.3))]
    [7.0, 7.1, 7.3]
    """

    __slots__ = ("_ahead", "_blocks", "_shift")

    def __init__(self, blocks: Iterable[tuple[float | None, Block]]) -> None:
        self._blocks = iter(blocks)
        self._ahead: deque[tuple[float | None, Block]] = deque()
        self._shift = 0.0

    def __iter__(self) -> Iterator[tuple[float | None, Block]]:
        """The blocks as they came."""
        while self._ahead or self._read():
            yield self._ahead.popleft()

    def place(self, stamp: float | None, expected: float) -> float:
        """Time in seconds of the block that came last: its timestamp where that can be, else `expected`.

        A timestamp far off is the first of a clock that has started anew where those after it go on from it,
        and then takes the place expected. Where they do not, it is of one late block, and lies back where it
        says, or a broken one.
        """
        if stamp is None:
            return expected
        jump = stamp + self._shift - expected
        if not -LONGEST_STEP_BACK <= jump <= LONGEST_GAP:
            if not self._starts_anew(stamp, expected - self._shift):
                return min(stamp + self._shift, expected)
            self._shift -= jump
        return stamp + self._shift

    def _starts_anew(self, stamp: float, expected: float) -> bool:
        """Whether the timestamps after one go on from it, and none returns to where one was expected."""
        confirmed = False
        for following in self._following():
            if abs(following - expected) < abs(following - stamp):
                return False
            stamp, confirmed = following, True
        return confirmed

    def _read(self) -> bool:
        """Whether there was one block more to hold."""
        n_held = len(self._ahead)
        self._ahead.extend(islice(self._blocks, 1))
        return len(self._ahead) > n_held

    def _following(self) -> Iterator[float]:
        """The timestamps to come, as far as a doubt reaches."""
        for n in range(MOST_IN_DOUBT):
            if n == len(self._ahead) and not self._read():
                return
            stamp = self._ahead[n][0]
            if stamp is not None:
                yield stamp


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
    clock, position, tolerance = Clock(blocks), round(start * sample_rate), 0.0
    waiting: list[Float32[np.ndarray, "_"]] = []
    n_waiting = 0
    for stamp, samples in clock:
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
    with np.errstate(invalid="ignore"):  # some numbers that are none warn when they are converted
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
