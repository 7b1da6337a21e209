"""Readings of faces and voice in, final table rows out; `mien.segments` makes segments of the rows.

A `Reading` is what one video frame (or one tick of a sound-only file) says; `rows` fills short gaps, smooths
each person's probabilities, fuses face and voice by the rule that the settings name, and yields `Row`s in
order as they become final, holding only the few seconds that smoothing and gap filling can still reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from mien.classwise import ClassWise, Fusion, Rule, find_rule, read_fusion
from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.fusion import check_weights
from mien.spans import Span
from mien.views import Reading, View, fill, follow, smooth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxtyping import Float32

FLAGS = (
    "no_face",
    "no_speech",
    "silent",
    "interpolated",
    "voice_unassigned",
    "low_confidence",
    "dropped",
    "crowded",
)
"""What a row may have to say about itself, in the order of the table's columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineSettings:
    """How readings become rows and segments."""

    smooth: float = 0.5
    """Width of the centred mean over each person's probabilities, seconds; 0 leaves them as read."""
    causal: bool = False
    """From the past alone, as live rows must be: the mean reaches back, gaps hold what was last seen."""
    max_gap: float = 0.5
    """Longest stretch without a look at a person's face that is interpolated, seconds."""
    fusion: Fusion | None = None
    """By the ratio of the weights (Eq. 4), by the product, or by the model's fitted rule. None: by the ratio
    where weights are given, else as the model does, else by the ratio."""
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
        if self.fusion is None or read_fusion(self.fusion) == "proportion":
            return
        if (self.voice_weight, self.face_weight) != (None, None):
            raise InputError(
                f"voice_weight and face_weight are the proportion rule's; {self.fusion} takes neither"
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

    Causal rows leave with their readings, by `mien.views.follow`. Of the others each
    row leaves at the latest with the reading that lies `max_gap + smooth / 2`, two frames and the time
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
    rule = find_rule(settings.fusion, settings.weights, class_wise)
    if settings.causal:
        views = follow(readings, settings.max_gap, settings.smooth)
    else:
        views = smooth(fill(readings, settings.max_gap), settings.smooth)
    for view in views:
        if view.faces:
            for track_id in sorted(view.faces):
                yield _face_row(view, track_id, settings, rule)
        else:
            yield _row(view, None, _fuse(view.probs.get(None), None, rule), {"no_face"}, settings)


def _face_row(view: View, track_id: int, settings: TimelineSettings, rule: Rule) -> Row:
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
    view: View,
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
    if reading.crowded:
        flags.add("crowded")
    if reading.dropped:
        flags.add("dropped")
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
