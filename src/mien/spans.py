"""Seconds, and what they become: samples of sound, columns of a mel spectrogram, spans of time.

Time is float seconds everywhere in this package; conversions happen here and nowhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import floor

SAMPLE_RATE = 16_000
"""Samples of sound per second (Hz); all sound is brought to this rate when it is read."""

HOP_SAMPLES = 160
"""Samples between two mel columns: 10 ms."""

COLUMNS_PER_SECOND = SAMPLE_RATE // HOP_SAMPLES
"""Mel columns per second; column j is centred on (j + 0.5) · 10 ms."""

MEL_FLOOR = 1e-5
"""Least mel power that a net hears; its logarithm is what silence, and sound outside the file, looks like."""

MEDIA_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts"),
        *("webm", "wmv"),
        *("aac", "aif", "aiff", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav", "wma"),
        *("bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"),
    )
)
"""What is taken from a folder; a file that is named itself may be called anything."""

Hook = Callable[[str, float, float], None]
"""Called with what is being done, how far it is, and how much there is (0 where unknown).

Of a file these are seconds; of training and scoring, steps and items. It stands here, at the bottom, since
stages that import nothing else of each other call it.
"""


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


def column_at(time: float) -> int:
    """Index of the mel column in whose 10 ms a time lies.

    >>> column_at(0.119)
    11
    """
    return floor(time * COLUMNS_PER_SECOND + 1e-9)
