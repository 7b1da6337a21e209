"""Frames in, tracked and aligned face crops out, as a generator that holds one frame.

A frame is looked at when its time reaches the next tick of a grid (12.5 Hz); the pictures of the others are
never asked for. Every so often the detector sweeps the whole picture, and between sweeps looks only near the
faces it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor, inf
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien.detection import MAX_OVERLAP, box_overlaps, look_near
from mien.errors import InputError
from mien.tracking import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxtyping import Float, Float32, Float64, UInt8

    from mien.detection import Detection, Detector
    from mien.media import Frame

FERPLUS_LANDMARKS = (
    (0.3254, 0.3798),
    (0.6746, 0.3798),
    (0.5000, 0.5902),
    (0.3568, 0.7555),
    (0.6432, 0.7555),
)
"""Where the detector's five points lie on the average FER+ picture, in units of its side, made symmetric.

2,000 random training faces, of which 99.6 % were found when enlarged to 192 or 256 px:
`python benchmarks/template.py FERPLUS48.parquet`. Single pictures stray from it by these deviations:
scale 0.17, rotation 12°, shift 0.075 (x) and 0.057 (y) sides.
"""

MAX_FACES = 16
"""Faces of one frame that are followed: the largest, and rather those that were followed before."""

_LOYALTY = 2.0
"""A newcomer takes a followed face's place from so many times its area on: equals would take turns."""

SWEEP_INTERVAL = 0.4
"""Seconds between two looks at the whole picture while all known faces are in sight: the longest that
a newcomer waits. Where nobody is known or somebody is missing, every sampled frame is swept.

Measured for one face at 640×360 and two at 1280×720 (processor time, busy machine): a sweep 9.8 and 12.3 ms,
near looks 3.0 and 6.3, sparse optical flow forth and back 1.5 and 3.8. Flow would be faster by 1.8 and 3.3 ms
a sampled frame, but repeats the sweep's points, which are less exact, drifts from them until the next sweep
corrects it at one jerk, and cannot tell a face from a hand before it.
"""

MAX_NEAR_LOOKS = 4
"""With more faces than this a sweep costs no more than looking near each of them."""

_SLOW_RATIO = 1.2
"""Where frames come at up to this many times `sample_hz`, all of them are looked at."""

_ROUNDING = 1e-3
"""Seconds; containers round timestamps, often to whole milliseconds."""

_LOOK_PX = 8
_LOOK_WIDTH = 1.8
"""Sides of a crop that a face's looks take in: hair and neck tell people apart better than the face alone."""


@dataclass(frozen=True, slots=True)
class Template:
    """Where the five points of a face go in a square crop."""

    size_px: int
    landmarks: tuple[tuple[float, float], ...] = FERPLUS_LANDMARKS
    """x, y of each point in units of the crop's side, from (0, 0) at the top left to (1, 1)."""

    def __post_init__(self) -> None:
        if self.size_px < 1 or np.shape(self.landmarks) != (5, 2):
            raise InputError(
                f"a template of {self.size_px} px with {np.shape(self.landmarks)} landmarks was given,"
                " at least 1 px and five (x, y) were expected"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One person's face in one frame."""

    track_id: int
    """Counts from 1; the same person keeps it, also through a few seconds out of sight."""
    box: Float32[np.ndarray, "4"]
    """x1, y1, x2, y2 in pixels of the frame."""
    landmarks: Float32[np.ndarray, "5 2"]
    """Eyes, nose, mouth corners in pixels of the frame; of each pair the left one as seen first."""
    confidence: float
    """The detector's, 0 to 1."""
    crop: UInt8[np.ndarray, "size size 3"]
    """RGB, aligned to the template."""


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """What was found in one frame."""

    index: int
    time: float
    """Seconds on the file's common clock."""
    faces: tuple[Face, ...] | None
    """By `track_id`; (): nobody is there; None: this frame was not looked at."""
    crowded: bool = False
    """More than `MAX_FACES` were found."""

    def moved(self, corner: tuple[int, int]) -> SampledFrame:
        """The same in pixels of a picture of which this was the part from `corner` (x, y) on."""
        if not self.faces or corner == (0, 0):
            return self
        by = np.array([*corner, *corner], np.float32)
        moved = (replace(face, box=face.box + by, landmarks=face.landmarks + by[:2]) for face in self.faces)
        return replace(self, faces=tuple(moved))


def find_faces(
    frames: Iterable[Frame],
    template: Template,
    *,
    detector: Detector,
    sample_hz: float = 12.5,
    tracker: Tracker | None = None,
    min_face_px: float = 0.0,
) -> Iterator[SampledFrame]:
    """One `SampledFrame` for each frame, in order, as the frames come; the arguments are `FaceFinder`'s."""
    finder = FaceFinder(
        template, detector=detector, sample_hz=sample_hz, tracker=tracker, min_face_px=min_face_px
    )
    return (finder.look(frame) for frame in frames)


class FaceFinder:
    """Looks at the frames of one video, one after the other.

    Args:
        template: of the crops.
        detector: sees whole frames, and parts of them no larger than `SMALLEST_PX`.
        sample_hz: how many frames a second are looked at; the first always is.
        tracker: numbers the people; for a still picture give `Tracker(start_confidence=0.0)`.
        min_face_px: faces whose box is narrower or lower than this are not seen.
    """

    def __init__(
        self,
        template: Template,
        *,
        detector: Detector,
        sample_hz: float = 12.5,
        tracker: Tracker | None = None,
        min_face_px: float = 0.0,
    ) -> None:
        if not sample_hz > 0:
            raise InputError(f"sample_hz={sample_hz} was given, more than 0 was expected: 12.5 is usual")
        self._template, self._detector, self._min_face_px = template, detector, min_face_px
        self._tracker = tracker or Tracker()
        self._sample_hz = sample_hz
        self._next_tick = self._next_sweep = self._before = -inf
        self._followed: list[Detection] = []

    def look(self, frame: Frame) -> SampledFrame:
        """What is found in the next frame; the image of one that is not due is never asked for."""
        if not self._is_due(frame.time):
            return SampledFrame(frame.index, frame.time, None)
        found = None
        if frame.time + _ROUNDING < self._next_sweep:
            found = _look_near_known(frame, self._detector, self._tracker)
        if found is None:
            found = _sweep(frame, self._detector)
            self._next_sweep = frame.time + SWEEP_INTERVAL
        found = [detection for detection in found if _side(detection.box) >= self._min_face_px]
        self._followed, crowded = _choose(found, self._followed), len(found) > MAX_FACES
        faces = _number(frame, self._followed, self._template, self._tracker)
        return SampledFrame(frame.index, frame.time, faces, crowded)

    def _is_due(self, time: float) -> bool:
        """Whether the frame of this time is looked at: it reaches a tick of a grid that is the file's."""
        slow = time - self._before + _ROUNDING >= 1 / (_SLOW_RATIO * self._sample_hz)
        self._before = time
        due = slow or time + _ROUNDING >= self._next_tick
        if due:
            self._next_tick = (floor((time + _ROUNDING) * self._sample_hz) + 1) / self._sample_hz
        return due


def _sweep(frame: Frame, detector: Detector) -> list[Detection]:
    """Every face of the frame, with the points that a look near it gives.

    Sweep and near look put a corner of the mouth up to 10 % of the eyes' distance apart on one frame, and
    crops that took turns shook 1.0 to 3.5 times as much as those of sweeps alone. With each point from a near
    look they shake 0.8 to 1.9 times as much (10 clips; geometric mean 1.1).
    """
    found = detector(frame.image)
    if len(found) > MAX_NEAR_LOOKS:
        return found
    near = [look_near(detector, frame.image, detection.box) for detection in found]
    closest = [
        replace(closer, confidence=max(closer.confidence, far.confidence)) if closer is not None else far
        for far, closer in zip(found, near, strict=True)
    ]
    return found if _any_twice(closest) else closest


def _look_near_known(frame: Frame, detector: Detector, tracker: Tracker) -> list[Detection] | None:
    """Every known face, found again where it should be; None where a sweep must say what became of them."""
    expected = tracker.expected(frame.time)
    if expected is None or len(expected) > MAX_NEAR_LOOKS:
        return None
    found = [look_near(detector, frame.image, box) for box in expected]
    seen = [detection for detection in found if detection is not None]
    if len(seen) < len(expected):
        return None
    return None if _any_twice(seen) else seen


def _any_twice(detections: list[Detection]) -> bool:
    """Whether two near looks have ended at one face, as they can where people cross."""
    if len(detections) < 2:
        return False
    boxes = np.stack([detection.box for detection in detections])
    return bool((np.triu(box_overlaps(boxes, boxes), 1) > MAX_OVERLAP).any())


def _choose(found: list[Detection], followed: list[Detection]) -> list[Detection]:
    """The faces that are followed on, the largest first."""
    areas = np.array([_area(detection.box) for detection in found])
    if len(found) > MAX_FACES and followed:
        boxes, before = (np.stack([each.box for each in several]) for several in (found, followed))
        areas[box_overlaps(boxes, before).max(axis=1) > MAX_OVERLAP] *= _LOYALTY
    return [found[index] for index in np.argsort(-areas, kind="stable")[:MAX_FACES]]


def _number(frame: Frame, found: list[Detection], template: Template, tracker: Tracker) -> tuple[Face, ...]:
    """The faces that are certain, each with its person's number and its crop."""
    looks = [look_of(frame.image, detection.landmarks, template) for detection in found]
    numbers = tracker.update(frame.time, found, np.stack(looks) if looks else np.empty((0, 0)))
    return numbered_faces(frame, found, numbers, template)


def numbered_faces(
    frame: Frame, found: list[Detection], numbers: list[int | None], template: Template
) -> tuple[Face, ...]:
    """Faces that have a number, with their crops, by that number."""
    faces = [
        Face(
            track_id=track_id,
            box=detection.box,
            landmarks=detection.landmarks,
            confidence=detection.confidence,
            crop=align(frame.image, detection.landmarks, template),
        )
        for track_id, detection in zip(numbers, found, strict=True)
        if track_id is not None
    ]
    return tuple(sorted(faces, key=lambda face: face.track_id))


def _area(box: Float32[np.ndarray, "4"]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _side(box: Float32[np.ndarray, "4"]) -> float:
    return float(min(box[2] - box[0], box[3] - box[1]))


def look_of(
    image: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "5 2"], template: Template
) -> Float32[np.ndarray, " features"]:
    """Coarse colours of a face and what surrounds it, brought to mean 0 and length 1: brightness cancels."""
    wide = tuple(
        (0.5 + (x - 0.5) / _LOOK_WIDTH, 0.5 + (y - 0.5) / _LOOK_WIDTH) for x, y in template.landmarks
    )
    colours = align(image, landmarks, Template(_LOOK_PX, wide)).astype(np.float32).ravel()
    colours -= colours.mean()
    return colours / max(float(np.linalg.norm(colours)), 1e-6)


def align(
    image: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "5 2"], template: Template
) -> UInt8[np.ndarray, "size size 3"]:
    """The crop in which a face's five points lie where the template has them, as nearly as a similarity can.

    A larger face is first reduced by area, by the largest whole factor that leaves no enlarging. Beside
    a crop sampled 64 times as densely (PSNR) that gives 42 dB where warping straight gives 37, for a face 2.4
    times as large, and 38 where that gives 30, for 5.7 times; whole factors are also fastest in OpenCV.
    Beyond the picture's edge its last pixels go on: mirroring would draw a second mouth, black an edge.

    Args:
        image: RGB.
        landmarks: x, y in pixels, counted from the picture's corner: the first pixel's middle is (0.5, 0.5).
        template: of the crop.

    Raises:
        InputError: the landmarks lie in one point.
    """
    size_px = template.size_px
    to_image = similarity(np.array(template.landmarks) * size_px, landmarks)
    scale = float(np.hypot(to_image[0, 0], to_image[1, 0]))
    if not 1e-3 < scale < 1e4:
        raise InputError(
            f"landmarks that span a face were expected, given were {np.asarray(landmarks).tolist()}"
        )
    half = size_px * (abs(to_image[0, 0]) + abs(to_image[1, 0])) / 2 + 2 * max(1.0, scale)
    middle = to_image[:, :2].sum(axis=1) * (size_px / 2) + to_image[:, 2]
    limit = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(middle - half), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(middle + half), low + 1, limit).astype(int)
    factor = max(1, floor(scale))
    reduced = np.maximum((high - low) // factor, 1)
    high = np.minimum(low + reduced * factor, limit)
    region = image[low[1] : high[1], low[0] : high[0]]
    if factor > 1:
        region = cv2.resize(region, (int(reduced[0]), int(reduced[1])), interpolation=cv2.INTER_AREA)
    to_region = to_image.copy()
    to_region[:, 2] -= low
    to_region *= (reduced / (high - low))[:, None]
    # OpenCV counts from the middle of the first pixel.
    to_region[:, 2] += 0.5 * to_region[:, :2].sum(axis=1) - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(region, to_region, (size_px, size_px), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def similarity(
    source: Float[np.ndarray, "points 2"], target: Float[np.ndarray, "points 2"]
) -> Float64[np.ndarray, "2 3"]:
    """The rotation, scale and shift, never a reflection, that bring points nearest to others (least squares).

    Umeyama (1991), which has a closed form in the plane: `target ≈ source @ m[:, :2].T + m[:, 2]`.

    >>> similarity(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[5.0, 5.0], [5.0, 7.0]]))
    array([[ 0., -2.,  5.],
           [ 2.,  0.,  5.]])
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    x, y = (source - source_mean).astype(np.float64).T
    u, v = (target - target_mean).astype(np.float64).T
    spread = max(float((x * x + y * y).sum()), 1e-12)
    along, across = float((x * u + y * v).sum()) / spread, float((x * v - y * u).sum()) / spread
    turn = np.array([[along, -across], [across, along]])
    return np.concatenate([turn, (target_mean - turn @ source_mean)[:, None]], axis=1)
