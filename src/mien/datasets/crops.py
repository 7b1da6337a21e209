"""Pictures and videos with faces in, grey face crops of one size out, found and aligned as in analysis.

Where there is an extractor of one's own, its features of the same face in colour come with each crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from mien.detection import look_near
from mien.faces import align, find_faces
from mien.media import Frame
from mien.tracking import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jaxtyping import Float, Float32, Float64, UInt8

    from mien.detection import Detector
    from mien.extractors import FaceExtractor
    from mien.faces import Template
    from mien.spans import Span

USUAL_STEP = 0.04
"""Seconds that a frame is shown where no other follows it."""


class Seen(NamedTuple):
    """A face."""

    crop: UInt8[np.ndarray, "size size"]
    features: Float32[np.ndarray, "D"] | None
    """By the extractor, if there is one."""


@dataclass(frozen=True, slots=True)
class Sight:
    """How faces are kept: as grey crops, and as features if there is an extractor."""

    template: Template
    extractor: FaceExtractor | None = None

    def cut(self, image: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "5 2"]) -> Seen:
        """The face whose points lie there."""
        features = None if self.extractor is None else self.extractor.look(image, landmarks)
        return Seen(to_grey(align(image, landmarks, self.template)), features)

    def whole(self, image: UInt8[np.ndarray, "height width 3"]) -> Seen:
        """A picture that is a face crop already; of one that is not square, the square around all of it."""
        height, width = image.shape[:2]
        if height != width and (seen := cut_box(image, (0.0, 0.0, width, height), self)):
            return seen
        look = None if self.extractor is None else self.extractor.look_square
        features = None if look is None else look(image, np.zeros(2), float(width))
        return Seen(resize(image, self.template.size_px), features)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The face of one person in a video."""

    seen: list[Seen]
    times: Float64[np.ndarray, "crops"]
    """Seconds on the file's own clock, rising."""
    end: float
    """When the last frame ends, whoever is seen on it."""


def decode(content: object) -> UInt8[np.ndarray, "height width 3"] | None:
    """An encoded picture as RGB; None where it cannot be decoded."""
    if not isinstance(content, bytes):  # a cell of a table that holds something else
        return None
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # no bytes at all, or larger than any picture
        return None
    return None if image is None else np.asarray(image, np.uint8)


def to_grey(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width"]:
    """A picture without its colours."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def resize(image: UInt8[np.ndarray, "height width 3"], size_px: int) -> UInt8[np.ndarray, "size size"]:
    """A picture that is a face crop already, grey, brought to a side's length."""
    smaller = image.shape[0] * image.shape[1] > size_px * size_px
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return to_grey(np.asarray(cv2.resize(image, (size_px, size_px), interpolation=way), np.uint8))


def find_largest(image: UInt8[np.ndarray, "height width 3"], sight: Sight, detector: Detector) -> Seen | None:
    """The largest face of a photograph; None where none is found."""
    tracker = Tracker(start_confidence=0.0)
    [sampled] = find_faces([Frame(0, 0.0, image)], sight.template, detector=detector, tracker=tracker)
    if not sampled.faces:
        return None
    return sight.cut(image, max(sampled.faces, key=lambda face: _area(face.box)).landmarks)


def find_in_box(
    image: UInt8[np.ndarray, "height width 3"],
    box: tuple[float, float, float, float],
    sight: Sight,
    detector: Detector,
) -> Seen | None:
    """The face of a photograph that overlaps a box most; None where none does.

    As in analysis its points are those of a look near the detector's own box, not near the one given.
    """
    first = look_near(detector, image, np.array(box, np.float32))
    if first is None:
        return None
    nearer = look_near(detector, image, first.box) or first
    return sight.cut(image, nearer.landmarks)


def cut_box(
    image: UInt8[np.ndarray, "height width 3"], box: tuple[float, float, float, float], sight: Sight
) -> Seen | None:
    """The square about a box's middle, as large as its longer side; None for a box outside the picture.

    Beyond the picture's edge its last pixels go on.
    """
    x1, y1, x2, y2 = box
    if min(x2, image.shape[1]) - max(x1, 0) < 1 or min(y2, image.shape[0]) - max(y1, 0) < 1:
        return None
    side = max(x2 - x1, y2 - y1)
    corner = np.array([x1 + x2 - side, y1 + y2 - side]) / 2
    crop = to_grey(align(image, corner + side * np.array(sight.template.landmarks), sight.template))
    return Seen(crop, None if sight.extractor is None else sight.extractor.look_square(image, corner, side))


def follow(frames: Iterable[Frame], sight: Sight, detector: Detector, stretches: Sequence[Span]) -> Followed:
    """The face, 12.5 times a second, of the person who is seen largest and longest.

    That is the one whose boxes have the largest sum of areas: in each stretch by itself, since a cut may have
    given a person another number, and outside of all stretches over the whole video.
    """
    seen: list[tuple[float, int, float, Seen]] = []
    before = time = -USUAL_STEP
    passing: list[Frame] = []
    for sampled in find_faces(_hold_last(frames, passing), sight.template, detector=detector):
        before, time = time, sampled.time
        seen += [
            (time, face.track_id, _area(face.box), sight.cut(passing[-1].image, face.landmarks))
            for face in sampled.faces or ()
        ]
    of_all = _largest((person, area) for _, person, area, _ in seen)
    wanted = {
        span: _largest((person, area) for seen_at, person, area, _ in seen if seen_at in span)
        for span in stretches
    }
    kept = []
    for seen_at, person, _, face in seen:
        of_here = next((wanted[span] for span in stretches if seen_at in span), of_all)
        if person == of_here:
            kept.append((seen_at, face))
    return Followed(
        seen=[face for _, face in kept],
        times=np.array([seen_at for seen_at, _ in kept], np.float64),
        end=time + (time - before if time > before >= 0 else USUAL_STEP),
    )


def _hold_last(frames: Iterable[Frame], held: list[Frame]) -> Iterator[Frame]:
    """The frames as they come; the one that was given last is held."""
    for frame in frames:
        held[:] = [frame]
        yield frame


def _largest(seen: Iterable[tuple[int, float]]) -> int | None:
    """The person with the largest sum of areas, of two the one who came first; None where nobody is seen."""
    sums: dict[int, float] = {}
    for person, area in seen:
        sums[person] = sums.get(person, 0.0) + area
    return max(sorted(sums), key=lambda person: sums[person], default=None)


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
