"""Faces of pictures and videos become grey crops, found as analysis finds them."""

from collections.abc import Iterator, Sequence
from itertools import starmap
from unittest import mock

import cv2
import numpy as np
import pytest

from corpora_pictures import jpg
from mien.datasets.crops import Sight, cut_box, decode, find_in_box, find_largest, follow, resize, to_grey
from mien.detection import Detection, RetinaFace
from mien.faces import Template, find_faces
from mien.media import Frame
from mien.predictor import load_model
from mien.scoring import Rater
from mien.spans import Span
from mien.tracking import Tracker
from portraits import PORTRAIT, scene

TEMPLATE = Template(48)
SIGHT = Sight(TEMPLATE)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_an_encoded_picture_is_decoded() -> None:
    image = decode(jpg(seed=3, size=20))
    assert image is not None
    expected = cv2.imdecode(np.frombuffer(jpg(seed=3, size=20), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("content", [b"", b"no picture", jpg(seed=0, size=20)[:10]])
def test_what_cannot_be_decoded_is_none(content: bytes) -> None:
    assert decode(content) is None


def test_a_crop_of_the_right_size_is_only_made_grey() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    np.testing.assert_array_equal(resize(np.repeat(grey[..., None], 3, axis=2), 48), grey)


def test_a_larger_crop_is_reduced_by_area() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    image[::2, ::2] = 200
    assert set(resize(image, 48).ravel().tolist()) == {50}


def test_the_largest_face_is_that_of_analysis() -> None:
    image = np.full((400, 700, 3), 120, np.uint8)
    image[40:240, 20:220] = PORTRAIT
    image[20:380, 300:660] = cv2.resize(PORTRAIT[:, ::-1], (360, 360))
    detector = RetinaFace(detect_px=700)
    crop = find_largest(image, SIGHT, detector)
    [sampled] = find_faces(
        [Frame(0, 0.0, image)], TEMPLATE, detector=detector, tracker=Tracker(start_confidence=0.0)
    )
    assert sampled.faces is not None
    assert crop is not None
    right = next(face for face in sampled.faces if face.box[0] > 300)
    np.testing.assert_array_equal(crop.crop, to_grey(right.crop))


def test_no_face_is_none() -> None:
    blank = np.full((100, 100, 3), 120, np.uint8)
    assert find_largest(blank, SIGHT, RetinaFace()) is None
    assert find_in_box(blank, (10, 10, 60, 60), SIGHT, RetinaFace()) is None


def test_a_box_chooses_among_faces() -> None:
    image = scene(20, 260)
    left = find_in_box(image, (80, 60, 170, 190), SIGHT, RetinaFace())
    right = find_in_box(image, (310, 60, 400, 190), SIGHT, RetinaFace())
    assert left is not None
    assert right is not None
    assert likeness(left.crop, right.crop[:, ::-1]) > 0.9  # scene mirrors every other one
    assert likeness(left.crop, right.crop) < 0.8


def test_a_face_in_a_loose_box_is_aligned_as_in_analysis() -> None:
    image = scene(100)
    tight = find_largest(image, SIGHT, RetinaFace())
    loose = find_in_box(image, (150, 50, 260, 190), SIGHT, RetinaFace())
    assert tight is not None
    assert loose is not None
    assert likeness(tight.crop, loose.crop) > 0.95


def test_a_box_is_cut_as_a_square_of_its_longer_side() -> None:
    image = np.random.default_rng(1).integers(0, 256, (100, 200, 3), np.uint8)
    cut = cut_box(image, (50, 20, 74, 68), SIGHT)
    assert cut is not None
    np.testing.assert_array_equal(cut.crop, to_grey(np.ascontiguousarray(image[20:68, 38:86])))


def test_a_crop_that_is_not_square_is_kept_whole_as_in_evaluation() -> None:
    image = np.random.default_rng(1).integers(0, 256, (60, 96, 3), np.uint8)
    rater = Rater(load_model(), crops=True)
    look = mock.Mock(spec=rater.face, return_value=np.zeros((1, 8), np.float32))
    template = rater.template
    rater.__dict__["face"] = look
    rater.rate_crop(image)
    np.testing.assert_array_equal(Sight(template).whole(image).crop, to_grey(look.call_args.args[0][0]))


def test_beyond_the_edge_the_last_pixels_go_on() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, 0] = 200
    cut = cut_box(image, (-24, 0, 24, 48), SIGHT)
    assert cut is not None
    assert (cut.crop[:, :24] == 200).all()
    assert (cut.crop[:, 25:] == 0).all()


@pytest.mark.parametrize("box", [(-9, 5, 0, 20), (60, 5, 90, 20), (5, 61, 20, 90)])
def test_a_box_outside_its_picture_is_none(box: tuple[float, float, float, float]) -> None:
    assert cut_box(np.zeros((60, 60, 3), np.uint8), box, SIGHT) is None


class Boxes:
    """A detector that finds in a frame what its corner pixel says."""

    def __init__(self, *sights: Sequence[tuple[int, int]]) -> None:
        self.sights = sights

    def __call__(self, image: np.ndarray, /) -> list[Detection]:
        if image.shape[1] != 400:  # a look near one: there is no closer look
            return []
        return list(starmap(self.detect, self.sights[image[0, 0, 0]]))

    @staticmethod
    def detect(left: int, side: int) -> Detection:
        corner = np.array([left, 100.0])
        points = np.array(TEMPLATE.landmarks, np.float32) * side + corner
        box = np.concatenate([corner, corner + side]).astype(np.float32)
        return Detection(box=box, landmarks=points.astype(np.float32), confidence=1.0)


def frames(*numbers: int) -> Iterator[Frame]:
    """Frames 0.1 s apart, dark at their left and bright at their right, both with a pattern of its own."""
    pattern = cv2.resize(np.random.default_rng(0).integers(0, 60, (15, 20, 3), np.uint8), (400, 300))
    for index, number in enumerate(numbers):
        image = pattern.copy()
        image[:, 200:] += 150
        image[0, 0] = number
        yield Frame(index, index / 10, image)


def test_the_person_seen_largest_and_longest_is_followed() -> None:
    both = [(20, 60), (260, 80)]
    seen = follow(frames(0, 0, 0, 1, 1), SIGHT, Boxes(both, both[:1]), [])
    assert seen.times.tolist() == [0.0, 0.1, 0.2]  # 3 x 80² > 5 x 60²
    assert min(face.crop.min() for face in seen.seen) > 100
    assert seen.end == pytest.approx(0.5)


def test_within_a_stretch_the_one_who_is_largest_there_is_followed() -> None:
    both = [(20, 60), (260, 80)]
    detector = Boxes(both, both[:1])
    seen = follow(frames(0, 0, 0, 0, 1), SIGHT, detector, [Span(0.25, 0.35), Span(0.35, 9.0)])
    assert seen.times.tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert [face.crop.mean() > 100 for face in seen.seen] == [True, True, True, True, False]


def test_nobody_is_nobody() -> None:
    seen = follow(frames(0, 0), SIGHT, Boxes([]), [Span(0.0, 1.0)])
    assert seen.seen == []
    assert seen.times.shape == (0,)
    assert seen.end == pytest.approx(0.2)


def test_crops_of_a_video_are_those_of_analysis() -> None:
    shown = [Frame(n, n / 10, scene(100 + n)) for n in range(4)]
    seen = follow(shown, SIGHT, RetinaFace(), [])
    analysed = list(find_faces(shown, TEMPLATE, detector=RetinaFace()))
    assert seen.times.tolist() == [each.time for each in analysed]
    for face, each in zip(seen.seen, analysed, strict=True):
        assert each.faces is not None
        np.testing.assert_array_equal(face.crop, to_grey(each.faces[0].crop))


def test_a_video_without_frames_ends_where_it_begins() -> None:
    assert follow([], SIGHT, Boxes([]), []).end == pytest.approx(0.0)
