"""Rows of the timeline in, segments out: who shows which expression from when to when.

Per person: hysteresis (`onset`, `offset`) cuts the rows into stretches of one expression, short gaps between
them are closed, short stretches dropped, and what then stands less than `min_duration_off` from its like is
joined as well, so that what is yielded keeps both limits. A row lasts until the time of the next reading,
whoever is in view there; the file's last row as long as the reading before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from mien.expressions import EXPRESSIONS
from mien.spans import Span
from mien.timeline import Segment
from mien.views import TIME_SLACK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxtyping import Float32, Float64

    from mien.timeline import Row, TimelineSettings


def who(track_id: int | None) -> str:
    """What a person is called where people read.

    >>> who(3), who(None)
    ('Person 3', 'Voice')
    """
    return "Voice" if track_id is None else f"Person {track_id}"


class Transitions:
    """How often each person's segments pass from one expression to another."""

    def __init__(self) -> None:
        self.counts: dict[int | None, int] = {}
        """By track; those without a segment are not there."""
        self._last: dict[int | None, str] = {}

    def add(self, segment: Segment) -> None:
        """Takes the next segment."""
        changed = self._last.get(segment.track_id, segment.label) != segment.label
        self.counts[segment.track_id] = self.counts.get(segment.track_id, 0) + changed
        self._last[segment.track_id] = segment.label


def segments(rows: Iterable[Row], settings: TimelineSettings) -> Iterator[Segment]:
    """Segments by start, then track (None first), each as soon as no earlier one can follow.

    A segment of an expression starts at a row in which it leads with at least `onset`, and lasts while it has
    at least `offset` and no other leads with `onset`. Rows in none are uncertain and form no segment. A file
    of one frame has no duration, so no segment.

    No rows are held in memory, only the segments that wait for one still running that started before them.

    Args:
        rows: As `mien.timeline.rows` yields them.
        settings: The four thresholds.
    """
    tracks: dict[int | None, _Track] = {}
    finished: list[tuple[float, int, Segment]] = []
    last: float | None = None
    step = 0.0
    for (_, time), group in groupby(rows, key=lambda row: (row.frame, row.time)):
        probs = {row.track_id: row.probs for row in group}
        for track_id in probs.keys() - tracks.keys():
            tracks[track_id] = _Track(track_id, settings)
        for track_id, track in list(tracks.items()):
            for segment in track.read(time, probs.get(track_id)):
                heappush(finished, (*_place(segment.span.start, track_id), segment))
            if track_id not in probs and track.start is None:
                del tracks[track_id]
        yield from _ready(finished, tracks)
        last, step = time, 0.0 if last is None else time - last
    for track_id, track in tracks.items():
        for segment in track.finish((last or 0.0) + step):
            heappush(finished, (*_place(segment.span.start, track_id), segment))
    yield from _ready(finished, {})


def _place(start: float, track_id: int | None) -> tuple[float, int]:
    return start, -1 if track_id is None else track_id


def _ready(finished: list[tuple[float, int, Segment]], tracks: dict[int | None, _Track]) -> Iterator[Segment]:
    waiting = [_place(track.start, key) for key, track in tracks.items() if track.start is not None]
    first = min(waiting, default=None)
    while finished and (first is None or finished[0][:2] < first):
        yield heappop(finished)[2]


@dataclass(slots=True, kw_only=True)
class _Stretch:
    """A stretch of one track in one expression, and the track's totals at both ends for the mean between."""

    leading: int
    """Position of the expression in a probability vector."""
    start: float
    start_total: Float64[np.ndarray, "8"]
    start_count: int
    end: float
    end_total: Float64[np.ndarray, "8"]
    end_count: int

    def extend(self, end: float, end_total: Float64[np.ndarray, "8"], end_count: int) -> None:
        """Move the end."""
        self.end, self.end_total, self.end_count = end, end_total, end_count

    def segment(self, track_id: int | None) -> Segment:
        """What is told of it outside."""
        total = self.end_total[self.leading] - self.start_total[self.leading]
        return Segment(
            span=Span(self.start, self.end),
            track_id=track_id,
            label=EXPRESSIONS[self.leading],
            probability=float(total / (self.end_count - self.start_count)),
        )


class _Track:
    """What of one person's rows can still become or change a segment: at most two stretches.

    The newest stretch is `_running`, or `_paused` when it has ended but may go on within `min_duration_off`.
    `_kept` is the one before it, ended and long enough, which may still be joined with its like.
    """

    def __init__(self, track_id: int | None, settings: TimelineSettings) -> None:
        self._track_id = track_id
        self._settings = settings
        self._total: Float64[np.ndarray, "8"] = np.zeros(len(EXPRESSIONS))
        self._count = 0
        self._running: _Stretch | None = None
        self._paused: _Stretch | None = None
        self._kept: _Stretch | None = None

    @property
    def start(self) -> float | None:
        """Where the earliest stretch held here starts; None where none is held."""
        earliest = self._kept or self._paused or self._running
        return None if earliest is None else earliest.start

    def read(self, time: float, probs: Float32[np.ndarray, "8"] | None) -> list[Segment]:
        """Segments that have become final by this row, or by there being none (`probs` None) at this time."""
        done: list[Segment] = []
        leading = self._leading(probs)
        if self._running is not None and self._running.leading != leading:
            self._pause(time)
        if self._paused is not None:
            if self._paused.leading == leading and self._is_short_gap(self._paused.end, time):
                self._running, self._paused = self._paused, None
            elif leading is not None or not self._is_short_gap(self._paused.end, time):
                done += self._keep()
        if leading is not None and self._running is None:
            self._running = _Stretch(
                leading=leading,
                start=time,
                start_total=self._total,
                start_count=self._count,
                end=time,
                end_total=self._total,
                end_count=self._count,
            )
        if probs is not None:
            self._total = self._total + probs
            self._count += 1
        return done + self._release(time)

    def finish(self, time: float) -> list[Segment]:
        """The segments left when the file ends at this time."""
        if self._running is not None:
            self._pause(time)
        done = self._keep()
        return done if self._kept is None else [*done, self._kept.segment(self._track_id)]

    def _leading(self, probs: Float32[np.ndarray, "8"] | None) -> int | None:
        if probs is None:
            return None
        leading = int(probs.argmax())
        if probs[leading] >= self._settings.onset:
            return leading
        if self._running is not None and probs[self._running.leading] >= self._settings.offset:
            return self._running.leading
        return None

    def _is_short_gap(self, end: float, start: float) -> bool:
        return start - end < self._settings.min_duration_off - TIME_SLACK

    def _pause(self, time: float) -> None:
        assert self._running is not None
        self._running.extend(time, self._total, self._count)
        self._running, self._paused = None, self._running

    def _keep(self) -> list[Segment]:
        ended, self._paused = self._paused, None
        if ended is None or ended.end <= ended.start:
            return []
        if ended.end - ended.start < self._settings.min_duration_on - TIME_SLACK:
            return []
        before = self._kept
        if before and before.leading == ended.leading and self._is_short_gap(before.end, ended.start):
            before.extend(ended.end, ended.end_total, ended.end_count)
            return []
        self._kept = ended
        return [] if before is None else [before.segment(self._track_id)]

    def _release(self, time: float) -> list[Segment]:
        kept, newest = self._kept, self._running or self._paused
        if kept is None:
            return []
        next_start = newest.start if newest is not None and newest.leading == kept.leading else time
        if self._is_short_gap(kept.end, next_start):
            return []
        self._kept = None
        return [kept.segment(self._track_id)]
