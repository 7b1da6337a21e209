"""Frames in, looked at in stretches of ten minutes that know nothing of each other; and their people joined.

A long video is cut on a grid of its own clock, so that stretches can be looked at on many machines, or anew
after one of them broke. Each has a finder of faces of its own, which is given the last seconds before it as a
lead-in, and numbers people by itself. Where two stretches meet, who is seen at one place by both is one
person. One machine that reads a file from end to end does the same, so the rows are the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from mien.detection import MAX_OVERLAP, box_overlaps
from mien.tracking import MAX_ABSENCE, cheapest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jaxtyping import Float32

    from mien.faces import FaceFinder, SampledFrame
    from mien.media import Frame
    from mien.views import Reading

STRETCH = 600.0
"""Seconds of a stretch: the k-th begins at the first frame whose time is k · 600 s or later."""

LEAD_IN = 2 * MAX_ABSENCE
"""Seconds before a stretch in which its finder looks already: twice as long as a tracker remembers."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Who is seen where in one frame that was looked at."""

    time: float
    boxes: dict[int, Float32[np.ndarray, "4"]]
    """x1, y1, x2, y2 in pixels of the upright frame, by the number that the stretch gives."""


@dataclass(frozen=True, slots=True)
class Seam:
    """A new stretch begins here, which numbers people anew."""

    lead_in: tuple[Sighting, ...]
    """Whom it saw before."""


def stretch_of(time: float) -> int:
    """The stretch in which a frame of this time lies.

    >>> stretch_of(599.96), stretch_of(600.0)
    (0, 1)
    """
    return floor(time / STRETCH)


def look_in_stretches(
    frames: Iterable[Frame],
    new_finder: Callable[[], FaceFinder],
    first: int = 0,
    corner: tuple[int, int] = (0, 0),
) -> Iterator[SampledFrame | Seam]:
    """What each frame shows, with a `Seam` before the first frame of each stretch that is not the first.

    Args:
        frames: in order of time; from the lead-in of the first stretch on, or from wherever they begin.
        new_finder: makes the finder of a stretch.
        first: the stretch before whose beginning nothing is told; where it is not 0, it has a `Seam` too.
        corner: x, y in the whole frame of what the finders are shown; boxes are moved there.
    """
    finder = None if first else new_finder()
    here, coming = (first - 1 if first else 0), None
    lead_in: list[Sighting] = []
    for frame in frames:
        stretch = stretch_of(frame.time)
        if stretch > here:
            if stretch > here + 1:  # nothing is there of the one that was coming
                coming, lead_in = None, []
            yield Seam(tuple(lead_in))
            finder, here, coming, lead_in = coming or new_finder(), stretch, None, []
        if frame.time >= (here + 1) * STRETCH - LEAD_IN:
            coming = coming or new_finder()
            looked = coming.look(frame).moved(corner)
            if looked.faces is not None:
                boxes = {face.track_id: face.box for face in looked.faces}
                lead_in.append(Sighting(frame.time, boxes))
        if finder is not None:
            yield finder.look(frame).moved(corner)


def join(readings: Iterable[Reading | Seam]) -> Iterator[Reading]:
    """The readings of all stretches, with one number for each person, counted from 1 as they appear."""
    numbers: dict[int, int] = {}
    n_people = 0
    seen: deque[Sighting] = deque()
    for reading in readings:
        if isinstance(reading, Seam):
            same = same_people(seen, reading.lead_in)
            numbers = {new: numbers[old] for new, old in same.items()}
            seen.clear()
            continue
        faces = reading.faces
        if faces is not None:
            seen.append(Sighting(reading.time, {face.track_id: face.box for face in faces}))
            while seen[0].time < reading.time - LEAD_IN:
                seen.popleft()
            for face in faces:
                if face.track_id not in numbers:
                    n_people += 1
                    numbers[face.track_id] = n_people
            numbered = (replace(face, track_id=numbers[face.track_id]) for face in faces)
            faces = tuple(sorted(numbered, key=lambda face: face.track_id))
        yield replace(reading, faces=faces)


def same_people(before: Iterable[Sighting], after: Iterable[Sighting]) -> dict[int, int]:
    """The number that a person of the later stretch has in the earlier, for those who are in both.

    They are who is seen at one place by both, most often: the assignment with the most frames in common.
    """
    together: dict[tuple[int, int], int] = {}
    earlier = {sighting.time: sighting.boxes for sighting in before}
    for sighting in after:
        ours, theirs = sighting.boxes, earlier.get(sighting.time, {})
        if not ours or not theirs:
            continue
        overlaps = box_overlaps(np.stack([*ours.values()]), np.stack([*theirs.values()]))
        pairs = [(new, old) for new in ours for old in theirs]
        for pair, overlap in zip(pairs, overlaps.ravel(), strict=True):
            if overlap > MAX_OVERLAP:
                together[pair] = together.get(pair, 0) + 1
    new, old = (sorted({pair[k] for pair in together}) for k in (0, 1))
    return _most_together(together, new, old)


def _most_together(
    together: dict[tuple[int, int], int], new: Sequence[int], old: Sequence[int]
) -> dict[int, int]:
    if not new:
        return {}
    alone = np.zeros((len(new), len(new)))
    counts = np.array([[together.get((n, o), 0) for o in old] for n in new])
    columns = cheapest(np.concatenate([-counts, alone], axis=1))
    return {
        n: old[column]
        for n, column in zip(new, columns, strict=True)
        if column < len(old) and together.get((n, old[column]), 0)
    }
