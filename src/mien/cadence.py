"""Times of frames in, out when faces are looked at and when the whole picture is swept."""

from __future__ import annotations

from math import floor, inf
from typing import Literal

SWEEP_INTERVAL = 0.4
"""Seconds between two looks at the whole picture while all known faces are in sight: the longest that
a newcomer waits. Where nobody is known or somebody is missing, every sampled frame is swept.

Measured for one face at 640×360 and two at 1280×720 (processor time, busy machine): a sweep 9.8 and 12.3 ms,
near looks 3.0 and 6.3, sparse optical flow forth and back 1.5 and 3.8. Flow would be faster by 1.8 and 3.3 ms
a sampled frame, but repeats the sweep's points, which are less exact, drifts from them until the next sweep
corrects it at one jerk, and cannot tell a face from a hand before it.
"""

_SLOW_RATIO = 1.2
"""Where frames come at up to this many times `sample_hz`, all of them are looked at."""

_ROUNDING = 1e-3
"""Seconds; containers round timestamps, often to whole milliseconds."""


class Cadence:
    """What is due in the frames of one video, one after the other, on grids that are the file's own.

    Args:
        sample_hz: how many frames a second are looked at; the first always is.

    >>> cadence = Cadence(12.5)
    >>> [cadence.due(0.04 * frame) for frame in range(12)][-4:]
    ['near', None, 'sweep', None]
    """

    def __init__(self, sample_hz: float) -> None:
        self._sample_hz = sample_hz
        self._next_tick = self._next_sweep = self._before = -inf

    def due(self, time: float) -> Literal["sweep", "near"] | None:
        """What the frame of this time (seconds) is due for: None, it is not looked at.

        A frame is looked at when it reaches a tick of a grid of `sample_hz`, or where frames are few; it is
        swept when it is the first of these to reach a tick of another grid, of `SWEEP_INTERVAL`.
        """
        slow = time - self._before + _ROUNDING >= 1 / (_SLOW_RATIO * self._sample_hz)
        self._before = time
        if not slow and time + _ROUNDING < self._next_tick:
            return None
        self._next_tick = (floor((time + _ROUNDING) * self._sample_hz) + 1) / self._sample_hz
        if time + _ROUNDING < self._next_sweep:
            return "near"
        self._next_sweep = (floor((time + _ROUNDING) / SWEEP_INTERVAL) + 1) * SWEEP_INTERVAL
        return "sweep"
