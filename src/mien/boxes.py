"""Boxes of one's own in a CSV, and frames, in; the faces in these boxes, aligned and numbered, out.

They take the place of mien's own search: a frame that the table names is looked at, and shows whom it names.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.detection import Detection, look_near
from mien.errors import InputError
from mien.faces import SampledFrame, look_of, numbered_faces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from jaxtyping import Float32, UInt8

    from mien.detection import Detector
    from mien.faces import Template
    from mien.media import Frame
    from mien.tracking import Tracker

EDGES = ("x1", "y1", "x2", "y2")

FARTHEST = 1e6
"""Pixels from the frame's corner; no picture is so large."""

MOST_DIGITS = 15
"""Of a frame's or a person's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBox:
    """A face's place in one frame."""

    box: Float32[np.ndarray, "4"]
    """x1, y1, x2, y2 in pixels of the upright frame."""
    track_id: int | None
    """Whose it is; None: mien tells who is who."""


Boxes = dict[int, list[GivenBox]]
"""By the number of the frame; a frame with an empty list was looked at, and nobody is there."""


def read_boxes(path: Path) -> Boxes:
    """The boxes of a table: columns `frame`, from 0, `x1`, `y1`, `x2`, `y2`, and if wanted `track_id`.

    mien's own timeline.csv is such a table. A row without a box says that nobody is in its frame.

    Raises:
        InputError: The table cannot be read, lacks a column, or a cell is no number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table of boxes ({error}); give a CSV file") from None
    lacking = {"frame", *EDGES} - set(lines[0] if lines else ())
    if lacking:
        raise InputError(
            f"{path.name} lacks {', '.join(sorted(lacking))}; a table of boxes has the columns frame, x1, "
            "y1, x2, y2, and if wanted track_id"
        )
    boxes: Boxes = {}
    for number, cells in enumerate(lines):
        where = f"{path.name} line {number + 2}"
        of_frame = boxes.setdefault(_whole(cells["frame"], where, least=0), [])
        if any((cells[edge] or "").strip() for edge in EDGES):
            track = (cells.get("track_id") or "").strip()
            one = GivenBox(box=_box(cells, where), track_id=_whole(track, where, least=1) if track else None)
            if one.track_id is not None and one.track_id in [each.track_id for each in of_frame]:
                raise InputError(f"{where}: person {one.track_id} is in frame {cells['frame']} twice")
            of_frame.append(one)
    numbered = {each.track_id is not None for of_frame in boxes.values() for each in of_frame}
    if len(numbered) > 1:
        raise InputError(f"{path.name} has boxes with a track_id and without; give one to all or to none")
    return boxes


def follow_boxes(
    frames: Iterable[Frame], boxes: Boxes, template: Template, *, detector: Detector, tracker: Tracker
) -> Iterator[SampledFrame]:
    """One `SampledFrame` for each frame, in order; those that the table names are looked at.

    A face's points are looked for near its box; where none are found, the box itself is the crop.

    Args:
        frames: In order of time.
        boxes: What `read_boxes` gives.
        template: Of the crops.
        detector: Finds the five points of a face in a part of a frame.
        tracker: Numbers the people where the table does not.
    """
    for frame in frames:
        given = boxes.get(frame.index)
        if given is None:
            yield SampledFrame(frame.index, frame.time, None)
            continue
        image = frame.image
        inside = [each for each in given if overlaps(each.box, image)]
        found = [_points(image, each.box, template, detector) for each in inside]
        numbers: list[int | None] = [each.track_id for each in inside]
        if None in numbers or not numbers:
            looks = [look_of(image, each.landmarks, template) for each in found]
            numbers = tracker.update(frame.time, found, np.stack(looks) if looks else np.empty((0, 0)))
        yield SampledFrame(frame.index, frame.time, numbered_faces(frame, found, numbers, template))


def _points(
    image: UInt8[np.ndarray, "height width 3"],
    box: Float32[np.ndarray, "4"],
    template: Template,
    detector: Detector,
) -> Detection:
    """The box as it was given, with the points of the face in it, or the template's in a square about it."""
    seen = look_near(detector, image, box)
    if seen is not None:
        return Detection(box=box, landmarks=seen.landmarks, confidence=seen.confidence)
    side = float((box[2:] - box[:2]).max())
    corner = (box[:2] + box[2:] - side) / 2
    landmarks = (corner + side * np.array(template.landmarks)).astype(np.float32)
    return Detection(box=box, landmarks=landmarks, confidence=0.0)


def overlaps(box: Float32[np.ndarray, "4"], image: UInt8[np.ndarray, "height width 3"]) -> bool:
    """Whether a pixel at least of a box lies in a picture."""
    limit = image.shape[1::-1]
    return bool((np.minimum(box[2:], limit) - np.maximum(box[:2], 0)).min() >= 1)


def _box(cells: dict[str, str], where: str) -> Float32[np.ndarray, "4"]:
    try:
        edges = [float(cells[edge]) for edge in EDGES]
    except (TypeError, ValueError):
        edges = [float("nan")] * 4
    box = np.array([edge if abs(edge) <= FARTHEST else np.nan for edge in edges], np.float32)
    if not (box[:2] < box[2:]).all():  # NaN is not
        given = ", ".join(str(cells[edge])[:40] for edge in EDGES)
        raise InputError(f"{where}: the box {given} is none; expected x1 < x2 and y1 < y2, pixels")
    return box


def _whole(cell: str | None, where: str, *, least: int) -> int:
    text = (cell or "").strip()
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) < least:
        raise InputError(f"{where}: {text[:40]!r} is no whole number of {least} or more")
    return int(text)
