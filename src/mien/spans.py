"""Seconds, and what they become: samples of sound, columns of a mel spectrogram, spans of time.

Time is float seconds everywhere in this package; conversions happen here and nowhere else.
"""

from dataclasses import dataclass
from math import floor

SAMPLE_RATE = 16_000
"""Samples of sound per second (Hz); all sound is brought to this rate when it is read."""

HOP_SAMPLES = 160
"""Samples between two mel columns: 10 ms."""

COLUMNS_PER_SECOND = SAMPLE_RATE // HOP_SAMPLES
"""Mel columns per second; column j is centred on (j + 0.5) · 10 ms (SPEC C1)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open stretch of time, [start, end), in seconds.

    >>> Span(1.0, 2.5).duration
    1.5
    >>> Span(1.0, 2.5).overlap(Span(2.0, 4.0))
    0.5
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        assert self.start <= self.end, f"a span ends before it starts: [{self.start}, {self.end})"

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    def overlap(self, other: "Span") -> float:
        """Seconds that the two spans share."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))

    def __contains__(self, time: float) -> bool:
        return self.start <= time < self.end


def sample_at(time: float) -> int:
    """Index of the sample nearest to a time.

    >>> sample_at(0.5)
    8000
    """
    return floor(time * SAMPLE_RATE + 0.5)


def column_at(time: float) -> int:
    """Index of the mel column in whose 10 ms a time lies.

    >>> column_at(0.119)
    11
    """
    return floor(time * COLUMNS_PER_SECOND + 1e-9)


def column_time(column: int) -> float:
    """Centre of a mel column in seconds.

    >>> column_time(11)
    0.115
    """
    return (column + 0.5) / COLUMNS_PER_SECOND
