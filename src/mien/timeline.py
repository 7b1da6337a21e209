"""Readings of faces and voice in, final table rows out; `mien.segments` makes segments of the rows.

A `Reading` is what one video frame (or one tick of a sound-only file) says; `rows` fills short gaps, smooths
each person's probabilities, fuses face and voice by the rule that the settings name, and yields `Row`s in
order as they become final, holding only the few seconds that smoothing and gap filling can still reach.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from mien.classwise import ClassWise, Fusion, Rule, read_fusion
from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.fusion import check_weights, proportion
from mien.spans import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxtyping import Float32, Float64

FLAGS = ("no_face", "no_speech", "silent", "interpolated", "voice_unassigned", "low_confidence")
"""What a row may have to say about itself, in the order of the table's columns."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineSettings:
    """How readings become rows and segments."""

    smooth: float = 0.5
    """Width of the centred mean over each person's probabilities, seconds; 0 leaves them as read."""
    max_gap: float = 0.5
    """Longest stretch without a look at a person's face that is interpolated, seconds."""
    fusion: Fusion = "proportion"
    """By the ratio of the weights (Eq. 4), which leaves one alone as it is; or by the model's fitted rule."""
    voice_weight: float | None = None
    """m of the proportion rule (Eq. 4), which multiplies the voice; None: the model's own, else 1."""
    face_weight: float | None = None
    """n of the proportion rule (Eq. 4), which multiplies the face; None: the model's own, else 1."""
    speaker: int | None = None
    """Track whose voice is heard; None: fused only while exactly one person is in view."""
    low_confidence: float = 0.4
    """Rows whose largest fused probability is below this are flagged `low_confidence`."""
    onset: float = 0.4
    """A segment starts where its expression leads with at least this probability."""
    offset: float = 0.3
    """A segment ends where its expression falls below this probability, or another one starts."""
    min_duration_on: float = 0.25
    """Shorter segments are dropped, seconds."""
    min_duration_off: float = 0.25
    """Shorter gaps between segments of one expression are closed, seconds."""

    def __post_init__(self) -> None:
        for name in ("smooth", "max_gap", "min_duration_on", "min_duration_off"):
            if not 0 <= getattr(self, name) < inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected seconds, 0 or more")
        for name in ("low_confidence", "onset", "offset"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected a probability, 0 to 1")
        if self.offset > self.onset:
            raise InputError(f"offset is {self.offset}; expected no more than onset, which is {self.onset}")
        if self.speaker is not None and self.speaker < 1:
            raise InputError(f"speaker is {self.speaker}; expected a track_id, which is 1 or more")
        check_weights(*self.weights)
        if read_fusion(self.fusion) == "class_wise" and (self.voice_weight, self.face_weight) != (None, None):
            raise InputError(
                "voice_weight and face_weight are the proportion rule's; class_wise takes neither"
            )

    @property
    def weights(self) -> tuple[float, float]:
        """Weights m and n of the proportion rule (Eq. 4), of voice and face."""
        m, n = self.voice_weight, self.face_weight
        return 1.0 if m is None else m, 1.0 if n is None else n


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One frame and one person; or one frame in which nobody is seen."""

    frame: int | None
    time: float
    track_id: int | None
    box: Float32[np.ndarray, "4"] | None
    confidence: float | None
    probs: Float32[np.ndarray, "8"] | None
    """Fused, in the order of `EXPRESSIONS`; None where neither face nor voice speaks."""
    face_probs: Float32[np.ndarray, "8"] | None
    voice_probs: Float32[np.ndarray, "8"] | None
    label: str | None
    source: str
    """Which modality the fused probabilities come from: face, voice, both or none."""
    flags: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch in which one person (or the voice alone, `track_id` None) shows one expression."""

    span: Span
    track_id: int | None
    label: str
    probability: float
    """Mean fused probability of the label over the segment."""


def rows(
    readings: Iterable[Reading], settings: TimelineSettings, class_wise: ClassWise | None = None
) -> Iterator[Row]:
    """Final rows in the order of the readings, each as soon as nothing that follows can change it.

    A reading gives one row for each person in view, by track_id, or one without a track if nobody is. A
    person is in view between two looks that both found them, and, if looks in between did not, where the two
    are at most `max_gap` apart; after a last look until the next frame that was looked at. Rows of frames in
    which they were not found are flagged `interpolated`.

    A row leaves at the latest with the reading that lies `max_gap + smooth / 2`, two frames and the time
    between two looks after its own (0.91 s at 25 frames a second by default), and at once where neither a
    face nor a voice could still change it.
    The arrays in rows may be those of the readings, and shared among rows: read them, do not write.

    Args:
        readings: In order of time.
        settings: How gaps are filled, what is smoothed, and who is fused with the voice.
        class_wise: The rule, which must be there where the settings ask for it, and else is not used.

    >>> voice = np.array([0.1, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2], dtype=np.float32)
    >>> reading = Reading(frame=0, time=0.0, faces=(), speech=True, voice=voice, silent=False)
    >>> (row,) = rows([reading], TimelineSettings())
    >>> row.label, row.source, sorted(row.flags)
    ('Anger', 'voice', ['no_face'])
    """
    m, n = settings.weights
    rule: Rule = partial(proportion, voice_weight=m, face_weight=n)
    if settings.fusion == "class_wise":
        assert class_wise is not None, "the settings ask for a rule that is not given"
        rule = class_wise
    for view in _smoothed(_filled(readings, settings.max_gap), settings.smooth):
        if view.faces:
            for track_id in sorted(view.faces):
                yield _face_row(view, track_id, settings, rule)
        else:
            yield _row(view, None, _fuse(view.probs.get(None), None, rule), {"no_face"}, settings)


@dataclass(slots=True)
class _View:
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
    waiting: list[_View] = field(default_factory=list)
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

    def _fill(self, view: _View, face: FaceReading | None) -> None:
        view.n_awaited -= 1
        if face is not None:
            view.faces[face.track_id] = face
            view.filled.add(face.track_id)


def _filled(readings: Iterable[Reading], max_gap: float) -> Iterator[_View]:
    looks: dict[int, _Look] = {}
    pending: deque[_View] = deque()
    last = -inf
    for reading in readings:
        assert last <= reading.time, f"readings are not in order of time: {reading.time} after {last}"
        view, last = _View(reading), reading.time
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

    __slots__ = ("_before", "_frames", "_n_inside", "_reach", "_total", "ended")

    def __init__(self, width: float) -> None:
        self.ended = False
        self._reach = width / 2 + TIME_SLACK
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
        """Whether all of the run that a window centred on this time can hold is there."""
        return self.ended or self._frames[-1][0] > time + self._reach

    def mean(self, time: float) -> Float32[np.ndarray, "8"]:
        """Mean over the window centred on the next frame, whose time this is; asked once for each frame."""
        frames = self._frames
        while frames[0][0] < time - self._reach:
            self._before = frames.popleft()[2]
            self._n_inside -= 1
        while self._n_inside < len(frames) and frames[self._n_inside][0] <= time + self._reach:
            self._n_inside += 1
        if self._n_inside == 1:
            return frames[0][1]
        return ((frames[self._n_inside - 1][2] - self._before) / self._n_inside).astype(np.float32)


def _smoothed(views: Iterable[_View], width: float) -> Iterator[_View]:
    runs: dict[int | None, _Run] = {}
    pending: deque[tuple[_View, dict[int | None, _Run]]] = deque()
    for view in views:
        view.probs = {track_id: face.probs for track_id, face in view.faces.items()}
        if view.reading.voice is not None:
            view.probs[None] = view.reading.voice
        if width == 0:
            yield view
            continue
        for key in runs.keys() - view.probs.keys():
            runs.pop(key).ended = True
        for key, probs in view.probs.items():
            if key not in runs:
                runs[key] = _Run(width)
            runs[key].append(view.reading.time, probs)
        pending.append((view, runs.copy()))
        while pending and all(run.is_settled(pending[0][0].reading.time) for run in pending[0][1].values()):
            yield _averaged(*pending.popleft())
    for run in runs.values():
        run.ended = True
    for view, its_runs in pending:
        yield _averaged(view, its_runs)


def _averaged(view: _View, runs: dict[int | None, _Run]) -> _View:
    view.probs = {key: run.mean(view.reading.time) for key, run in runs.items()}
    return view


def _face_row(view: _View, track_id: int, settings: TimelineSettings, rule: Rule) -> Row:
    voice, face = view.probs.get(None), view.probs.get(track_id)
    flags = {"interpolated"} if track_id in view.filled else set()
    if voice is not None and settings.speaker is None and len(view.faces) > 1:
        flags.add("voice_unassigned")
        voice = None
    elif settings.speaker not in (None, track_id) or settings.weights[0] == 0:
        voice = None
    elif voice is not None and settings.weights[1] == 0:
        face = None
    return _row(view, track_id, _fuse(voice, face, rule), flags, settings)


def _fuse(
    voice: Float32[np.ndarray, "8"] | None,
    face: Float32[np.ndarray, "8"] | None,
    rule: Rule,
) -> tuple[Float32[np.ndarray, "8"] | None, str]:
    """Fused probabilities, and what they come from."""
    if voice is None and face is None:
        return None, "none"
    nothing = np.zeros(len(EXPRESSIONS), np.float32)
    (fused,) = rule(
        *(np.stack([nothing if probs is None else probs]) for probs in (voice, face)),
        voice_present=np.array([voice is not None]),
        face_present=np.array([face is not None]),
    )
    return fused.astype(np.float32), "face" if voice is None else "voice" if face is None else "both"


def _row(
    view: _View,
    track_id: int | None,
    fused: tuple[Float32[np.ndarray, "8"] | None, str],
    flags: set[str],
    settings: TimelineSettings,
) -> Row:
    reading = view.reading
    probs, source = fused
    if not reading.speech:
        flags.add("no_speech")
    if reading.silent:
        flags.add("silent")
    label = None
    if probs is not None:
        leading = int(probs.argmax())
        label = EXPRESSIONS[leading]
        if probs[leading] < settings.low_confidence:
            flags.add("low_confidence")
    face = None if track_id is None else view.faces[track_id]
    return Row(
        frame=reading.frame,
        time=reading.time,
        track_id=track_id,
        box=None if face is None else face.box,
        confidence=None if face is None else face.confidence,
        probs=probs,
        face_probs=None if track_id is None else view.probs[track_id],
        voice_probs=view.probs.get(None),
        label=label,
        source=source,
        flags=frozenset(flags),
    )
