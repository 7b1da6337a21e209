"""Rows in; out come each person's seconds per expression, and lanes of time bins that a chart can draw.

Memory does not grow with the length of the file: bins double in width when there would be too many, and only
the lanes of the persons most in view are kept. What is kept of every person is a few numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.expressions import EXPRESSIONS, position

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int

    from mien.timeline import Row, Segment

MAX_BINS = 1024
"""Bins of time in a lane; one more and they double in width."""

FIRST_BIN = 1 / 64
"""Width of a bin at first, seconds: 16 s fit before the first doubling."""

MAX_TRACKS = 64
"""Lanes of persons that are kept at a time."""

RECENT = 2.0
"""A person seen within so many seconds gives way to nobody, unless all are as recent."""

LABELLED = 0.25
"""A column wears a label where segments cover at least this part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What the rows of one person, or of the voice while nobody is in view, add up to."""

    track_id: int | None
    """None: the voice while nobody is in view."""
    first: float
    last: float
    """Times of the first and the last row, seconds."""
    frames: int
    seconds: float
    seconds_by_label: dict[str, float]
    """Only labels that occur, in the order of `EXPRESSIONS`."""
    share_by_label: dict[str, float]
    """Of the labelled seconds (of the labelled frames where there is a single frame); sums to 1."""

    @property
    def dominant(self) -> str | None:
        """The label that lasts longest; the first of `EXPRESSIONS` of equals."""
        return max(self.share_by_label, key=self.share_by_label.__getitem__, default=None)


class _Tally:
    """Running sums of one person."""

    __slots__ = ("first", "frames", "frames_by_label", "last", "seconds", "seconds_by_label")

    def __init__(self, first: float) -> None:
        self.first = self.last = first
        self.frames = 0
        self.seconds = 0.0
        self.frames_by_label: dict[str, int] = {}
        self.seconds_by_label: dict[str, float] = {}

    def person(self, track_id: int | None) -> Person:
        seconds = {
            label: self.seconds_by_label[label] for label in EXPRESSIONS if label in self.seconds_by_label
        }
        weights = seconds if sum(seconds.values()) > 0 else self.frames_by_label
        total = sum(weights.values())
        return Person(
            track_id=track_id,
            first=self.first,
            last=self.last,
            frames=self.frames,
            seconds=self.seconds,
            seconds_by_label=seconds,
            share_by_label={label: weights[label] / total for label in seconds},
        )


class Persons:
    """Sums up rows by person. A row lasts until the next frame; the last one as long as the one before it."""

    def __init__(self) -> None:
        self._tallies: dict[int | None, _Tally] = {}
        self._frame: tuple[int | None, float] | None = None
        self._step = 0.0
        self._open: list[tuple[_Tally, str | None]] = []

    def add(self, row: Row) -> None:
        """Takes the next row; rows come in the order of their frames."""
        frame = (row.frame, row.time)
        if frame != self._frame:
            if self._frame is not None:
                self._step = max(0.0, row.time - self._frame[1])
                self._lengthen(self._open, self._step)
            self._frame, self._open = frame, []
        if row.track_id is None and row.label is None:
            return
        tally = self._tallies.get(row.track_id)
        if tally is None:
            tally = self._tallies[row.track_id] = _Tally(row.time)
        tally.last = row.time
        tally.frames += 1
        if row.label is not None:
            tally.frames_by_label[row.label] = tally.frames_by_label.get(row.label, 0) + 1
            tally.seconds_by_label.setdefault(row.label, 0.0)
        self._open.append((tally, row.label))

    def close(self) -> tuple[Person, ...]:
        """The persons, by `track_id`; last the voice, if it was heard while nobody was in view."""
        self._lengthen(self._open, self._step)
        self._open = []
        known = sorted(track_id for track_id in self._tallies if track_id is not None)
        order = [*known, *([None] if None in self._tallies else [])]
        return tuple(self._tallies[track_id].person(track_id) for track_id in order)

    @staticmethod
    def _lengthen(lasting: list[tuple[_Tally, str | None]], seconds: float) -> None:
        for tally, label in lasting:
            tally.seconds += seconds
            if label is not None:
                tally.seconds_by_label[label] += seconds


class Lane:
    """Sums over bins of time for one person, or for the voice."""

    __slots__ = ("counted", "last_time", "n_frames", "probs", "segments", "uncertain")

    def __init__(self) -> None:
        self.n_frames = 0
        self.last_time = 0.0
        self.counted: Float32[np.ndarray, "bins"] = np.zeros(MAX_BINS, np.float32)
        self.uncertain: Float32[np.ndarray, "bins"] = np.zeros(MAX_BINS, np.float32)
        self.probs: Float32[np.ndarray, "bins 8"] = np.zeros((MAX_BINS, len(EXPRESSIONS)), np.float32)
        self.segments: Float32[np.ndarray, "bins 8"] = np.zeros((MAX_BINS, len(EXPRESSIONS)), np.float32)

    def add(self, at_bin: int, time: float, probs: Float32[np.ndarray, "8"], uncertain: bool) -> None:
        """Counts one frame."""
        self.n_frames += 1
        self.last_time = time
        self.counted[at_bin] += 1
        self.probs[at_bin] += probs
        if uncertain:
            self.uncertain[at_bin] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A lane as it is drawn: one entry per column of time."""

    present: Bool[np.ndarray, "columns"]
    uncertain: Bool[np.ndarray, "columns"]
    probs: Float[np.ndarray, "columns 8"]
    """Means over the column; zeros where nothing is present."""
    labels: tuple[str | None, ...]


class Lanes:
    """Sums rows and segments into bins of time, one lane for the voice and one for each person."""

    def __init__(self) -> None:
        self.bin_width = FIRST_BIN
        self.voice = Lane()
        self.tracks: dict[int, Lane] = {}
        self.has_picture = False
        self.has_sound = False
        self._frames = np.zeros(MAX_BINS, np.float32)
        self._nobody = np.zeros(MAX_BINS, np.float32)
        self._frame: tuple[int | None, float] | None = None
        self._step = 0.0
        self._voice_counted = False

    def add(self, row: Row) -> None:
        """Takes the next row; rows come in the order of their frames."""
        at_bin = self._bin(row.time)
        frame = (row.frame, row.time)
        if frame != self._frame:
            if self._frame is not None and row.time > self._frame[1]:
                self._step = row.time - self._frame[1]
            self._frame = frame
            self._frames[at_bin] += 1
            self._voice_counted = False
            self.has_picture |= row.frame is not None
            if row.track_id is None:
                self._nobody[at_bin] += 1
        self.has_sound |= "silent" not in row.flags
        if row.voice_probs is not None and not self._voice_counted:
            self._voice_counted = True
            self.voice.add(at_bin, row.time, row.voice_probs, False)
        if row.track_id is not None and row.probs is not None:
            lane = self.tracks.get(row.track_id) or self._lane(row.track_id, row.time)
            lane.add(at_bin, row.time, row.probs, "low_confidence" in row.flags)

    def add_segment(self, segment: Segment) -> None:
        """Takes a segment; those of the voice alone and of persons whose lane was given up leave no trace."""
        lane = self.tracks.get(segment.track_id) if segment.track_id is not None else None
        if lane is None:
            return
        last = self._bin(segment.span.end)
        first = self._bin(segment.span.start)
        starts = np.arange(first, last + 1) * self.bin_width
        ends = np.minimum(starts + self.bin_width, segment.span.end)
        lane.segments[first : last + 1, position(segment.label)] += np.maximum(
            ends - np.maximum(starts, segment.span.start), 0
        )

    @property
    def end(self) -> float:
        """Where the last frame ends, seconds; it lasts as long as the one before it, or one bin if alone."""
        return 0.0 if self._frame is None else self._frame[1] + (self._step or self.bin_width)

    @property
    def is_still(self) -> bool:
        """A single frame, so that there is no time to speak of."""
        return not self._step

    def edges(self, group: int) -> Float[np.ndarray, "edges"]:
        """Times between which the columns of `group` bins each lie, seconds; the last is `end`."""
        return np.append(self._starts(group) * self.bin_width, self.end or self.bin_width)

    def columns(self, lane: Lane, group: int) -> Columns:
        """A lane in columns of `group` bins; one without a frame shows what the column before it does."""
        held = self._held(group)
        counted = self._grouped(lane.counted, group)[held]
        present = (counted > 0) & (held >= 0)
        probs = np.where(present[:, None], self._grouped(lane.probs, group)[held], 0.0)
        probs = probs / np.maximum(counted, 1)[:, None]
        strip = probs if lane is self.voice else self._grouped(lane.segments, group)
        enough = 0.0 if lane is self.voice else LABELLED * group * self.bin_width
        labels = [
            EXPRESSIONS[int(np.argmax(weights))] if weights.sum() > enough else None for weights in strip
        ]
        return Columns(
            present=present,
            uncertain=present & (2 * self._grouped(lane.uncertain, group)[held] > counted),
            probs=probs,
            labels=tuple(labels),
        )

    def nobody(self, group: int) -> Bool[np.ndarray, "columns"]:
        """Where no frame of a column shows anybody, with columns of `group` bins each."""
        held = self._held(group)
        alone: Bool[np.ndarray, "columns"] = self._grouped(self._nobody, group) >= self._grouped(
            self._frames, group
        )
        shown: Bool[np.ndarray, "columns"] = alone[held] & (held >= 0)
        return shown

    @property
    def n_bins(self) -> int:
        """Bins from time 0 to the end."""
        last = 0 if self._frame is None else int(self._frame[1] / self.bin_width)
        return min(MAX_BINS, max(last + 1, int(np.ceil(self.end / self.bin_width - 1e-9))))

    def _bin(self, time: float) -> int:
        at_bin = int(time / self.bin_width)
        while at_bin >= MAX_BINS:
            for lane in (self.voice, *self.tracks.values()):
                for sums in (lane.counted, lane.uncertain, lane.probs, lane.segments):
                    _halve(sums)
            _halve(self._frames)
            _halve(self._nobody)
            self.bin_width *= 2
            at_bin = int(time / self.bin_width)
        return at_bin

    def _lane(self, track_id: int, time: float) -> Lane:
        if len(self.tracks) >= MAX_TRACKS:
            recent = time - RECENT
            lanes = self.tracks
            del lanes[min(lanes, key=lambda each: (lanes[each].last_time >= recent, lanes[each].n_frames))]
        lane = self.tracks[track_id] = Lane()
        return lane

    def _starts(self, group: int) -> Int[np.ndarray, "columns"]:
        return np.arange(0, self.n_bins, group)

    def _grouped(
        self, sums: Float32[np.ndarray, "bins *rest"], group: int
    ) -> Float32[np.ndarray, "columns *rest"]:
        grouped: Float32[np.ndarray, "columns *rest"] = np.add.reduceat(
            sums[: self.n_bins], self._starts(group), axis=0
        )
        return grouped

    def _held(self, group: int) -> Int[np.ndarray, "columns"]:
        """The latest column with a frame, for each column; -1 before the first frame."""
        frames = self._grouped(self._frames, group)
        held: Int[np.ndarray, "columns"] = np.maximum.accumulate(
            np.where(frames > 0, np.arange(len(frames)), -1)
        )
        return held


def _halve(sums: Float32[np.ndarray, "bins *rest"]) -> None:
    half = len(sums) // 2
    sums[:half] = sums[0::2] + sums[1::2]
    sums[half:] = 0
