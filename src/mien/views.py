"""Readings of faces and voice in, views out: who is in view of a frame, gaps filled, probabilities smoothed.

A file's future is known: a gap lies between two looks, and a mean reaches to both sides. Live there is only
the past (`causal`): a gap is filled with what was last seen, and a mean reaches back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from mien.expressions import EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxtyping import Float32, Float64

TIME_SLACK = 1e-6
"""Times that differ by less are the same, seconds: so much do time stamps lose in arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceReading:
    """What one frame that was looked at says of one person."""

    track_id: int
    box: Float32[np.ndarray, "4"]
    """x1, y1, x2, y2 in pixels of the upright frame."""
    confidence: float
    """The detector's, 0 to 1."""
    probs: Float32[np.ndarray, "8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one frame of the video says, or one tick where there is only sound."""

    frame: int | None
    """0-based; None where there is no picture."""
    time: float
    """Seconds on the file's common clock."""
    faces: tuple[FaceReading, ...] | None
    """None: this frame was not looked at (frames between samples); (): looked at, nobody there."""
    speech: bool
    """Somebody speaks here."""
    voice: Float32[np.ndarray, "8"] | None
    """None where nobody speaks, or where the voice is not read."""
    silent: bool
    """No sound track, or sound below -70 dB of full scale, here."""
    crowded: bool = False
    """More faces were found in this frame than are followed."""
    dropped: bool = False
    """Live: it came while another was being looked at, and nobody looked at it."""


@dataclass(slots=True)
class View:
    """One reading and who is in view, on its way to becoming rows."""

    reading: Reading
    faces: dict[int, FaceReading] = field(default_factory=dict)
    filled: set[int] = field(default_factory=set)
    """Tracks in `faces` that were not seen in this frame."""
    n_awaited: int = 0
    """Tracks of which only the next looks will tell whether they are in view."""
    probs: dict[int | None, Float32[np.ndarray, "8"]] = field(default_factory=dict)
    """Smoothed; by track, and the voice under None."""


@dataclass(slots=True)
class _Look:
    """The last look at one person, and the views since then."""

    face: FaceReading
    time: float
    waiting: list[View] = field(default_factory=list)
    missed: bool = False
    """A later look did not find this person."""

    def interpolate(self, later: FaceReading, later_time: float) -> None:
        """Fill the views since this look on the straight line to a later one."""
        gap = max(later_time - self.time, TIME_SLACK)  # time stamps of broken files stand still
        for view in self.waiting:
            share = (view.reading.time - self.time) / gap
            self._fill(
                view,
                FaceReading(
                    track_id=self.face.track_id,
                    box=self.face.box + share * (later.box - self.face.box),
                    confidence=self.face.confidence + share * (later.confidence - self.face.confidence),
                    probs=self.face.probs + share * (later.probs - self.face.probs),
                ),
            )

    def hold(self) -> None:
        """Fill the views since this look with what it saw, up to the first that was looked at in vain."""
        gone = False
        for view in self.waiting:
            gone = gone or view.reading.faces is not None
            self._fill(view, None if gone else self.face)

    def _fill(self, view: View, face: FaceReading | None) -> None:
        view.n_awaited -= 1
        if face is not None:
            view.faces[face.track_id] = face
            view.filled.add(face.track_id)


def fill(readings: Iterable[Reading], max_gap: float) -> Iterator[View]:
    """Views in the order of readings, each when it is known who is in view.

    A person is in view between two looks that both found them, and, if looks in between did not, where the
    two are at most `max_gap` apart; after a last look until the next frame that was looked at.
    """
    looks: dict[int, _Look] = {}
    pending: deque[View] = deque()
    last = -inf
    for reading in readings:
        assert last <= reading.time, f"readings are not in order of time: {reading.time} after {last}"
        view, last = View(reading), reading.time
        for track_id in [
            key
            for key, look in looks.items()
            if look.missed and reading.time - look.time > max_gap + TIME_SLACK
        ]:
            looks.pop(track_id).hold()
        for face in reading.faces or ():
            if face.track_id in looks:
                looks.pop(face.track_id).interpolate(face, reading.time)
            view.faces[face.track_id] = face
        for look in looks.values():
            look.waiting.append(view)
            look.missed = look.missed or reading.faces is not None
        view.n_awaited = len(looks)
        looks |= {face.track_id: _Look(face, reading.time) for face in view.faces.values()}
        pending.append(view)
        while pending and not pending[0].n_awaited:
            yield pending.popleft()
    for look in looks.values():
        look.hold()
    yield from pending


class _Run:
    """An unbroken stretch of one face's or the voice's probabilities, and the mean that slides over it."""

    __slots__ = ("_ahead", "_back", "_before", "_frames", "_n_inside", "_total", "ended")

    def __init__(self, before: float, after: float) -> None:
        self.ended = False
        self._back, self._ahead = before + TIME_SLACK, after + TIME_SLACK
        # Nothing is ever taken off a total, so errors do not gather: the difference of two is off by the
        # additions between them alone. After a day at 60 frames per second that is below 1e-9 in the mean.
        self._total: Float64[np.ndarray, "8"] = np.zeros(len(EXPRESSIONS))
        self._before = self._total
        self._frames: deque[tuple[float, Float32[np.ndarray, "8"], Float64[np.ndarray, "8"]]] = deque()
        self._n_inside = 0

    def append(self, time: float, probs: Float32[np.ndarray, "8"]) -> None:
        """Take in the next frame."""
        self._total = self._total + probs
        self._frames.append((time, probs, self._total))

    def is_settled(self, time: float) -> bool:
        """Whether all of the run that the window of this time can hold is there."""
        return self.ended or self._frames[-1][0] > time + self._ahead

    def mean(self, time: float) -> Float32[np.ndarray, "8"]:
        """Mean over the window of the next frame, whose time this is; asked once for each frame."""
        frames = self._frames
        while frames[0][0] < time - self._back:
            self._before = frames.popleft()[2]
            self._n_inside -= 1
        while self._n_inside < len(frames) and frames[self._n_inside][0] <= time + self._ahead:
            self._n_inside += 1
        if self._n_inside == 1:
            return frames[0][1]
        return ((frames[self._n_inside - 1][2] - self._before) / self._n_inside).astype(np.float32)


def smooth(views: Iterable[View], width: float) -> Iterator[View]:
    """Views with the centred mean over `width` seconds of each person's probabilities, and of the voice's."""
    runs: dict[int | None, _Run] = {}
    pending: deque[tuple[View, dict[int | None, _Run]]] = deque()
    for view in views:
        view.probs = _as_read(view)
        if width == 0:
            yield view
            continue
        _go_on(runs, view, width / 2, width / 2)
        pending.append((view, runs.copy()))
        while pending and all(run.is_settled(pending[0][0].reading.time) for run in pending[0][1].values()):
            yield _averaged(*pending.popleft())
    for run in runs.values():
        run.ended = True
    for view, its_runs in pending:
        yield _averaged(view, its_runs)


def _averaged(view: View, runs: dict[int | None, _Run]) -> View:
    view.probs = {key: run.mean(view.reading.time) for key, run in runs.items()}
    return view


def _as_read(view: View) -> dict[int | None, Float32[np.ndarray, "8"]]:
    """Probabilities of each person in view, and of the voice under None."""
    probs: dict[int | None, Float32[np.ndarray, "8"]] = {
        track_id: face.probs for track_id, face in view.faces.items()
    }
    return probs if view.reading.voice is None else probs | {None: view.reading.voice}


def _go_on(runs: dict[int | None, _Run], view: View, before: float, after: float) -> None:
    """Ends the runs that a view does not go on, and adds it to the others."""
    for key in runs.keys() - view.probs.keys():
        runs.pop(key).ended = True
    for key, probs in view.probs.items():
        if key not in runs:
            runs[key] = _Run(before, after)
        runs[key].append(view.reading.time, probs)


def follow(readings: Iterable[Reading], max_gap: float, width: float) -> Iterator[View]:
    """Views of which each leaves with its reading, from the past alone.

    A person is in view where a look finds them, and for `max_gap` seconds after the last one that did. Means
    reach `width` seconds back.
    """
    looks: dict[int, tuple[FaceReading, float]] = {}
    runs: dict[int | None, _Run] = {}
    for reading in readings:
        view = View(reading)
        looks |= {face.track_id: (face, reading.time) for face in reading.faces or ()}
        looks = {key: look for key, look in looks.items() if reading.time - look[1] <= max_gap + TIME_SLACK}
        view.faces = {track_id: face for track_id, (face, _) in looks.items()}
        view.filled = {track_id for track_id, (_, time) in looks.items() if time < reading.time}
        view.probs = _as_read(view)
        if width:
            _go_on(runs, view, width, 0.0)
            view = _averaged(view, runs)
        yield view
