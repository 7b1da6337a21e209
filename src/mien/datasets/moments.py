"""A prepared recording in: its labelled moments, and what is seen and heard around each, out.

A stretch stands for its moments, which are the middles of its frames; a label that is a whole stretch's
counts 25 times a second. Around a moment lie the faces and the sound that `mien.windows` says, and these may
reach beyond the stretch, as they do in analysis.
"""

from __future__ import annotations

from itertools import pairwise
from math import floor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.datasets.prepared import LabelledSpan
from mien.expressions import EXPRESSIONS
from mien.spans import COLUMNS_PER_SECOND, Span
from mien.windows import (
    FACE_STEP,
    N_COLUMNS,
    N_FACES,
    clip_windows,
    cut,
    cut_window,
    face_times,
    first_column,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float32, Float64, Int64, UInt8

    from mien.datasets.prepared import Recording

CLIP_STEP = 0.04
"""Seconds between the moments of a stretch whose label is that of all of it."""

NEAR = 0.2
"""Seconds within which a crop stands for a face that was looked for."""


class Moment(NamedTuple):
    """When in which recording a window is looked at."""

    recording: Recording
    time: float
    """Seconds on the file's own clock."""

    def __str__(self) -> str:
        return f"{self.recording.corpus} {self.recording.name} at {self.time:.2f} s"


class Window(NamedTuple):
    """What belongs to a moment."""

    crop_rows: Int64[np.ndarray, "K"]
    """Of the recording's crops; -1 where none is near enough."""
    mel: Float32[np.ndarray, "M F"]
    """Log-mel, or, if these were asked for, the steps of features of the same time."""
    column_mask: Bool[np.ndarray, "F"]
    """False outside the file."""
    seen_at: Float32[np.ndarray, "K"]
    """When each face is seen, in mel columns from the beginning of the first."""


def frame_edges(span: Span, step: float) -> Float64[np.ndarray, "edges"]:
    """Where the frames of a stretch begin, and where the last one ends: one frame at least.

    >>> frame_edges(Span(2.0, 2.12), 0.04).round(6).tolist()
    [2.0, 2.04, 2.08, 2.12]
    """
    return np.linspace(span.start, span.end, max(round(span.duration / step), 1) + 1)


def moments(stretches: Sequence[LabelledSpan], step: float) -> list[Float64[np.ndarray, "moments"]]:
    """The times that stand for each stretch: the middles of its frames."""
    edges = [frame_edges(each.span, step) for each in stretches]
    return [(each[:-1] + each[1:]) / 2 for each in edges]


def every_frame(
    stretches: Sequence[LabelledSpan], step: float
) -> tuple[Float64[np.ndarray, "frames"], Int64[np.ndarray, "frames"]]:
    """When each frame is, those between stretches among them, and of which stretch: -1 between these.

    Args:
        stretches: In the order of their times; one at least.
        step: Seconds between frames.
    """
    between = [Span(a.span.end, b.span.start) for a, b in pairwise(stretches)]
    gaps = [(-1, LabelledSpan(span=each, label="")) for each in between if each.duration > step / 2]
    parts = sorted([*gaps, *enumerate(stretches)], key=lambda part: part[1].span.start)
    times = moments([each for _, each in parts], step)
    numbers = [np.full(len(each), k) for (k, _), each in zip(parts, times, strict=True)]
    return np.concatenate(times), np.concatenate(numbers)


def targets_of(items: Sequence[tuple[Recording, str]]) -> Float32[np.ndarray, "items 8"]:
    """What is to be learnt of items of recordings: shares of votes where there are some, else the label."""
    targets = np.zeros((len(items), len(EXPRESSIONS)), np.float32)
    for row, (recording, label) in zip(targets, items, strict=True):
        shares = recording.shares or {label: 1.0}
        row[:] = [shares.get(name, 0.0) for name in EXPRESSIONS]
    return targets


def drawable_times(recording: Recording, n_columns: int) -> list[Float64[np.ndarray, "times"]]:
    """The times of each stretch at which a window of so many mel columns may be drawn.

    They are its labelled frames; or, where the label is the whole stretch's, those of its moments at which
    the window lies inside the stretch or the stretch inside the window, to half a step; or, where that window
    has no sound at all, the times of its faces.
    """
    if recording.frame_step is not None:
        return moments(recording.stretches, recording.frame_step)
    if not n_columns:
        return [times_of_crops(recording, each.span) for each in recording.stretches]
    reach, kept = n_columns / 2 / COLUMNS_PER_SECOND, []
    for stretch, times in zip(recording.stretches, moments(recording.stretches, CLIP_STEP), strict=True):
        low, high = sorted((stretch.span.start + reach, stretch.span.end - reach))
        slack = stretch.span.duration / len(times) / 2 + 1e-9
        kept.append(times[(times >= low - slack) & (times <= high + slack)])
    return kept


def scored_times(recording: Recording, *, heard: bool) -> list[tuple[str, Float64[np.ndarray, "times"]]]:
    """Label of each item that a recording is scored by, and the times over which its probabilities are meant.

    Where every frame was labelled by itself, items are frames 0.4 s apart; else stretches, with the windows
    that cover them, 1.6 s apart, or, where only faces count, nine of its faces at most.
    """
    if recording.frame_step is not None:
        stride = max(round(FACE_STEP / recording.frame_step), 1)
        spans = zip(recording.stretches, moments(recording.stretches, recording.frame_step), strict=True)
        frames = [(stretch.label, times[k : k + 1]) for stretch, times in spans for k in range(len(times))]
        return frames[::stride]
    if heard:
        return [(stretch.label, window_centres(stretch)) for stretch in recording.stretches]
    seen = [(stretch.label, times_of_crops(recording, stretch.span)) for stretch in recording.stretches]
    return [(label, times[equally_spaced(len(times), N_FACES)]) for label, times in seen]


def times_of_crops(recording: Recording, span: Span) -> Float64[np.ndarray, "times"]:
    """When faces are seen in a stretch, its start included even where it lasts no time."""
    first, last = np.searchsorted(recording.crop_times, (span.start, span.end))
    return recording.crop_times[first : max(last, np.searchsorted(recording.crop_times, span.start, "right"))]


def witnessed(
    recording: Recording, times: Float64[np.ndarray, "times"], n_faces: int, n_columns: int
) -> Float64[np.ndarray, "witnessed"]:
    """Those times around which a face or a mel column is there, of as many as are asked for."""
    looked_for = times[:, None] + np.array(face_times(0.0, n_faces))
    there = (nearest_crops(recording.crop_times, looked_for) >= 0).any(1)
    if n_columns and len(recording.columns):
        starts = np.array([window_start(time, n_columns) for time in times.tolist()])
        there |= (starts < len(recording.columns)) & (starts + n_columns > 0)
    return times[there]


def window_centres(stretch: LabelledSpan) -> Float64[np.ndarray, "windows"]:
    """Middles of the windows that cover a stretch."""
    first = round(stretch.span.start * COLUMNS_PER_SECOND)
    starts = clip_windows(round(stretch.span.duration * COLUMNS_PER_SECOND))
    return (first + np.array(starts) + N_COLUMNS // 2) / COLUMNS_PER_SECOND


def window_start(time: float, n_columns: int) -> int:
    """Index of the first mel column of a window of that many, centred on a time."""
    return first_column(time) + (N_COLUMNS - n_columns) // 2


def look(recording: Recording, time: float, n_faces: int, n_columns: int, *, steps: bool = False) -> Window:
    """What belongs to a time of a recording: faces 0.4 s apart and mel columns, as many as asked for.

    Args:
        recording: Has features of speech where steps are asked for.
        time: The middle of the window.
        n_faces: How many faces.
        n_columns: How long the window is.
        steps: The sound is its steps of features in place of its mel columns.
    """
    looked_for = np.array(face_times(time, n_faces))
    rows = nearest_crops(recording.crop_times, looked_for)
    there = rows >= 0
    looked_for[there] = recording.crop_times[rows[there]]
    start = window_start(time, n_columns)
    if steps:
        assert recording.speech_features is not None
        per_column = recording.extractors["speech"]["rate"] / COLUMNS_PER_SECOND
        first = floor(start * per_column + 0.5)
        n_steps = round(n_columns * per_column)
        mel, column_mask = cut(recording.speech_features.T, first, n_steps, outside=0.0)
    else:
        mel, column_mask = cut_window(recording.columns.T, start, n_columns)
    seen_at = looked_for * COLUMNS_PER_SECOND - start
    return Window(rows, mel, column_mask, seen_at.astype(np.float32))


def nearest_crops(
    crop_times: Float64[np.ndarray, "crops"], times: Float64[np.ndarray, "*times"]
) -> Int64[np.ndarray, "*times"]:
    """Row of the crop nearest to each time, the earlier of two; -1 where none is within `NEAR`."""
    if not len(crop_times):
        return np.full(times.shape, -1)
    after = np.minimum(np.searchsorted(crop_times, times), len(crop_times) - 1)
    before = np.maximum(after - 1, 0)
    rows = np.where(times - crop_times[before] <= crop_times[after] - times, before, after)
    near = np.abs(crop_times[rows] - times) <= NEAR + 1e-9
    return np.asarray(np.where(near, rows, -1))


def take_crops(
    crops: UInt8[np.ndarray, "crops H W"], rows: Int64[np.ndarray, "K"], size_px: int
) -> UInt8[np.ndarray, "K size size"]:
    """The crops of some rows; black where a row is -1."""
    faces = np.zeros((len(rows), size_px, size_px), np.uint8)
    if (rows >= 0).any():
        faces[rows >= 0] = crops[rows[rows >= 0]]
    return faces


def take_features(
    features: Float32[np.ndarray, "crops D"], rows: Int64[np.ndarray, "K"]
) -> Float32[np.ndarray, "K 1 D"]:
    """The features of the crops of some rows, as pictures of one row; 0 where a row is -1."""
    taken = np.zeros((len(rows), 1, features.shape[1]), np.float32)
    taken[rows >= 0, 0] = features[rows[rows >= 0]]
    return taken


def equally_spaced(n_there: int, n_wanted: int) -> Int64[np.ndarray, "rows"]:
    """Rows, rising and none twice, in the middles of equal parts; all of them where too few are there.

    >>> equally_spaced(10, 2).tolist(), equally_spaced(3, 5).tolist()
    ([2, 7], [0, 1, 2])
    """
    n = min(n_there, max(n_wanted, 0))
    return (2 * np.arange(n) + 1) * n_there // max(2 * n, 1)
