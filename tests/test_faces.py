"""Sampling, sweeping and looking near with a made-up detector; alignment on drawn points and a photograph."""

from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import astronaut

from mien.detection import SMALLEST_PX, Detection, RetinaFace
from mien.errors import InputError
from mien.faces import (
    FERPLUS_LANDMARKS,
    MAX_FACES,
    SWEEP_INTERVAL,
    SampledFrame,
    Template,
    align,
    find_faces,
    similarity,
)
from mien.media import Frame, read_frames
from mien.tracking import Tracker

CLIPS = Path(__file__).parents[2] / "shared" / "clips"
TEMPLATE = Template(48)
PHOTO = astronaut()
POINTS = np.array([[205, 101], [248, 103], [224, 129], [202, 138], [244, 141]], np.float64)


class SpyFrame(Frame):
    """A frame that notes whether its picture was asked for."""

    was_looked_at = False

    @property
    def image(self) -> np.ndarray:
        self.was_looked_at = True
        return super().image


class SpotDetector:
    """Takes every bright spot for a face, in whole pictures and in parts of them; notes what it saw."""

    def __init__(self, confidence: float = 0.99) -> None:
        self.confidence = confidence
        self.seen: list[str] = []

    def __call__(self, image: np.ndarray) -> list[Detection]:
        self.seen.append("near" if max(image.shape) <= SMALLEST_PX else "sweep")
        mask = (image.max(axis=2) > 200).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        return [self._face(*(float(v) for v in stat[:4])) for stat in stats[1:] if stat[4] > 20]

    def _face(self, x: float, y: float, width: float, height: float) -> Detection:
        box = np.array([x, y, x + width, y + height], np.float32)
        points = np.array(FERPLUS_LANDMARKS, np.float32) * (width, height) + (x, y)
        return Detection(box=box, landmarks=points.astype(np.float32), confidence=self.confidence)


COLOURS = [(255, 40, 40), (40, 255, 40), (40, 40, 255), (255, 255, 20), (20, 255, 255), (255, 20, 255)]


def draw(*places: tuple[float, float, int], side: int = 60, size: tuple[int, int] = (360, 640)) -> np.ndarray:
    """A dark picture with a spot at each (x, y, person)."""
    picture = np.full((*size, 3), 30, np.uint8)
    for x, y, person in places:
        corner = (round(x) - side // 2, round(y) - side // 2)
        cv2.rectangle(picture, corner, (corner[0] + side - 1, corner[1] + side - 1), COLOURS[person], -1)
    return picture


def film(fps: float, *pictures: np.ndarray) -> Iterator[Frame]:
    return (Frame(i, i / fps, picture) for i, picture in enumerate(pictures))


def sampled_times(times: list[float], sample_hz: float = 12.5) -> list[float]:
    picture = draw(size=(8, 8))
    frames = [SpyFrame(i, time, picture) for i, time in enumerate(times)]
    found = list(find_faces(frames, TEMPLATE, detector=SpotDetector(), sample_hz=sample_hz))
    assert [(f.index, f.time) for f in found] == [(f.index, f.time) for f in frames]
    assert [f.faces is not None for f in found] == [f.was_looked_at for f in frames]
    return [f.time for f in found if f.faces is not None]


def test_every_second_frame_at_25_fps_and_the_pictures_between_are_never_asked_for() -> None:
    times = [i / 25 for i in range(100)]
    assert sampled_times(times) == times[::2]


@pytest.mark.parametrize("fps", [1, 8, 10, 12.5, 14.985, 15])
def test_slow_films_are_seen_whole(fps: float) -> None:
    times = [round(i / fps, 3) for i in range(60)]
    assert sampled_times(times) == times


@pytest.mark.parametrize("fps", [20, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60, 120])
@pytest.mark.parametrize("start", [0.0, 0.02, 17.3])
def test_fast_films_are_seen_12_5_times_a_second(fps: float, start: float) -> None:
    times = [round(start + i / fps, 3) for i in range(round(fps * 8))]
    found = sampled_times(times)
    assert found[0] == start
    assert len(found) == pytest.approx(100, abs=1)
    assert max(np.diff(found)) <= 0.08 + 1 / fps + 2e-3


@given(st.lists(st.floats(0.0, 0.3), min_size=1, max_size=60), st.sampled_from([5.0, 12.5, 25.0]))
def test_uneven_times_leave_no_long_gap(steps: list[float], sample_hz: float) -> None:
    """Between two looks lie less than one tick and one step; never more looks than ticks plus slow steps."""
    times = np.cumsum(steps).tolist()
    found = sampled_times(times, sample_hz)
    assert found[0] == times[0]
    before = {later: earlier for earlier, later in pairwise(times) if later > earlier}
    for earlier, later in pairwise(found):
        if later > earlier:
            assert before[later] - earlier < 1 / sample_hz + 2e-3
    slow = sum(step + 1e-3 >= 1 / (1.2 * sample_hz) for step in steps[1:])
    assert len(found) <= (times[-1] - times[0] + 2e-3) * sample_hz + 2 + slow


@given(st.lists(st.floats(0.0, 0.3), min_size=2, max_size=60), st.sampled_from([5.0, 12.5, 25.0]), st.data())
def test_looks_lie_on_one_grid_wherever_they_begin(
    steps: list[float], sample_hz: float, data: st.DataObject
) -> None:
    times = np.cumsum(steps).tolist()
    first = data.draw(st.integers(0, len(times) - 1))
    picture = draw(size=(8, 8))
    whole, part = (
        [
            found.index
            for found in find_faces(
                [SpyFrame(i, times[i], picture) for i in range(begin, len(times))],
                TEMPLATE,
                detector=SpotDetector(),
                sample_hz=sample_hz,
            )
            if found.faces is not None
        ]
        for begin in (0, first)
    )
    assert part == [first, *(index for index in whole if index > first)]


def test_a_film_without_frames_gives_none() -> None:
    assert list(find_faces([], TEMPLATE, detector=SpotDetector())) == []


def test_frames_are_taken_one_at_a_time() -> None:
    taken = []

    def frames() -> Iterator[Frame]:
        for frame in film(25, *[draw()] * 5):
            taken.append(frame.index)
            yield frame

    found = find_faces(frames(), TEMPLATE, detector=SpotDetector())
    next(found)
    assert taken == [0]


def test_a_film_with_nobody_in_it_is_swept_each_time() -> None:
    detector = SpotDetector()
    found = list(find_faces(film(25, *[draw()] * 10), TEMPLATE, detector=detector))
    assert [f.faces for f in found] == [(), None] * 5
    assert detector.seen == ["sweep"] * 5


def test_known_faces_are_looked_at_near_between_sweeps() -> None:
    detector = SpotDetector()
    pictures = [draw((100 + 2 * i, 100, 0), (400 - 2 * i, 200, 1)) for i in range(20)]
    found = [f for f in find_faces(film(12.5, *pictures), TEMPLATE, detector=detector) if f.faces is not None]
    assert [tuple(face.track_id for face in f.faces) for f in found] == [(1, 2)] * 20
    n_sweeps = detector.seen.count("sweep")
    assert n_sweeps == round(20 * 0.08 / SWEEP_INTERVAL)
    assert detector.seen.count("near") == 2 * 20  # after each sweep too, so that all points are of one kind
    for i, frame in enumerate(found):
        np.testing.assert_allclose(frame.faces[0].box, [70 + 2 * i, 70, 130 + 2 * i, 130], atol=2.5)


def test_points_after_a_sweep_are_those_of_a_near_look() -> None:
    """A detector whose points depend on the size of the picture must not make the crop jump."""

    class Biased(SpotDetector):
        def __call__(self, image: np.ndarray) -> list[Detection]:
            off = 0.0 if max(image.shape) <= SMALLEST_PX else 9.0
            return [
                Detection(box=face.box, landmarks=face.landmarks + np.float32(off), confidence=0.99)
                for face in super().__call__(image)
            ]

    pictures = [draw((200, 150, 0))] * 20
    found = list(find_faces(film(12.5, *pictures), TEMPLATE, detector=Biased()))
    points = np.stack([frame.faces[0].landmarks for frame in found if frame.faces])
    assert len(points) == 20
    assert np.abs(points - points[0]).max() < 1.0


def test_near_looks_that_end_at_one_face_do_not_make_it_two() -> None:
    """Near either of two neighbours this detector sees only the left one."""

    class Squinting(SpotDetector):
        def __call__(self, image: np.ndarray) -> list[Detection]:
            faces = sorted(super().__call__(image), key=lambda face: float(face.box[0]))
            return faces[:1] if max(image.shape) <= SMALLEST_PX else faces

        def _face(self, x: float, y: float, width: float, height: float) -> Detection:
            return super()._face(x - 0.4 * width, y - 0.4 * height, 1.8 * width, 1.8 * height)

    pictures = [draw((200, 150, 0), (252, 150, 1), side=50)] * 8
    found = list(find_faces(film(12.5, *pictures), TEMPLATE, detector=Squinting()))
    for frame in found:
        assert frame.faces is not None
        left, right = sorted(float(face.box[0]) for face in frame.faces)
        assert right - left == pytest.approx(52, abs=5)


def test_a_newcomer_is_seen_within_the_sweep_interval() -> None:
    pictures = [draw((100, 100, 0), *([(400, 200, 1)] if i >= 8 else [])) for i in range(25)]
    found = list(find_faces(film(12.5, *pictures), TEMPLATE, detector=SpotDetector()))
    with_two = [f.time for f in found if f.faces is not None and len(f.faces) == 2]
    assert 8 / 12.5 <= with_two[0] <= 8 / 12.5 + SWEEP_INTERVAL + 1e-9


def test_someone_who_leaves_is_missed_at_once_and_found_again_at_once() -> None:
    pictures = [draw((100, 100, 0), *([] if 7 <= i < 14 else [(400, 200, 1)])) for i in range(25)]
    found = list(find_faces(film(12.5, *pictures), TEMPLATE, detector=SpotDetector()))
    numbers = [tuple(face.track_id for face in f.faces or ()) for f in found]
    assert numbers == [(1, 2)] * 7 + [(1,)] * 7 + [(1, 2)] * 11


def test_after_a_cut_the_other_person_gets_another_number() -> None:
    pictures = [draw((200, 150, 0 if i < 10 else 1)) for i in range(20)]
    found = list(find_faces(film(12.5, *pictures), TEMPLATE, detector=SpotDetector()))
    assert [f.faces[0].track_id for f in found if f.faces] == [1] * 10 + [2] * 10


def test_many_faces_are_swept_and_only_the_largest_followed() -> None:
    detector = SpotDetector()
    places = [(60 + 80 * (i % 7), 50 + 80 * (i // 7), i % 6) for i in range(21)]
    picture = draw(*places[1:], side=30)
    picture = np.maximum(picture, draw(places[0], side=60))
    found = list(find_faces(film(12.5, *[picture] * 4), TEMPLATE, detector=detector))
    assert [len(f.faces or ()) for f in found] == [MAX_FACES] * 4
    assert detector.seen == ["sweep"] * 4
    assert max((face.box[2] - face.box[0]) for face in found[0].faces or ()) == 60
    assert [f.crowded for f in found] == [True] * 4


def test_equals_do_not_take_turns_but_a_newcomer_much_larger_is_followed() -> None:
    places = [(60 + 80 * (i % 7), 50 + 80 * (i // 7), i % 6) for i in range(MAX_FACES + 2)]
    first = np.maximum(draw(*places[:MAX_FACES], side=32), draw(*places[MAX_FACES:], side=30))
    second = np.maximum(draw(*places[:MAX_FACES], side=30), draw(*places[MAX_FACES:], side=32))
    third = np.maximum(draw(*places[:-1], side=30), draw(places[-1], side=60))
    looks = film(12.5, first, first, second, first, second, third, third)
    found = list(find_faces(looks, TEMPLATE, detector=SpotDetector()))
    people = [{face.track_id for face in f.faces or ()} for f in found]
    assert people[:5] == [people[0]] * 5
    assert max(face.box[2] - face.box[0] for face in found[-1].faces or ()) == 60


def test_as_many_faces_as_are_followed_are_no_crowd() -> None:
    places = [(60 + 80 * (i % 7), 50 + 80 * (i // 7), i % 6) for i in range(MAX_FACES)]
    (found,) = find_faces(film(12.5, draw(*places, side=30)), TEMPLATE, detector=SpotDetector())
    assert not found.crowded


def test_a_doubtful_face_in_a_still_needs_its_own_tracker() -> None:
    def still(tracker: Tracker | None) -> SampledFrame:
        frames = film(1, draw((100, 100, 0)))
        return next(find_faces(frames, TEMPLATE, detector=SpotDetector(0.75), tracker=tracker))

    assert still(None).faces == ()
    assert len(still(Tracker(start_confidence=0.0)).faces or ()) == 1


def test_crop_is_the_face_and_has_the_template_size() -> None:
    (frame,) = find_faces(film(1, draw((200, 150, 2))), TEMPLATE, detector=SpotDetector())
    assert frame.faces is not None
    crop = frame.faces[0].crop
    assert crop.shape == (48, 48, 3)
    assert np.abs(crop[10:38, 10:38].reshape(-1, 3).astype(int) - COLOURS[2]).max() <= 1


@pytest.mark.parametrize("sample_hz", [0.0, -1.0, float("nan")])
def test_sampling_that_cannot_be_is_refused(sample_hz: float) -> None:
    with pytest.raises(InputError, match="sample_hz"):
        next(find_faces(film(1, draw()), TEMPLATE, detector=SpotDetector(), sample_hz=sample_hz))


@pytest.mark.parametrize("wrong", [(0, FERPLUS_LANDMARKS), (48, FERPLUS_LANDMARKS[:4])])
def test_a_template_that_cannot_be_is_refused(wrong: tuple[int, tuple[tuple[float, float], ...]]) -> None:
    with pytest.raises(InputError, match="five"):
        Template(*wrong)


@given(st.floats(0.05, 20), st.floats(-3.1, 3.1), st.floats(-500, 500), st.floats(-500, 500))
def test_similarity_recovers_what_was_done(scale: float, angle: float, x: float, y: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = similarity(POINTS, POINTS @ turn.T + (x, y))
    np.testing.assert_allclose(found, np.column_stack([turn, (x, y)]), atol=1e-6 * max(1, scale) * 500)


def test_similarity_never_mirrors() -> None:
    matrix = similarity(POINTS, POINTS * (-1, 1))
    assert np.linalg.det(matrix[:, :2]) > 0


@given(st.integers(0, 2**32 - 1))
def test_similarity_is_the_least_squares_answer(seed: int) -> None:
    """Against the four unknowns solved as a linear system."""
    target = POINTS + np.random.default_rng(seed).normal(0, 20, (5, 2))
    rows = [((x, -y, 1, 0), (y, x, 0, 1)) for x, y in POINTS]
    a, b, x, y = np.linalg.lstsq(np.array(rows, float).reshape(10, 4), target.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(POINTS, target), [[a, -b, x], [b, a, y]], atol=1e-6)


@pytest.mark.parametrize("size_px", [24, 48, 112, 224])
@pytest.mark.parametrize("angle", [0.0, 25.0, -100.0])
def test_points_land_where_the_template_has_them(size_px: int, angle: float) -> None:
    """A dot drawn in the picture is found at its place in the crop, to a fifth of a pixel."""
    template = Template(size_px)
    turn = cv2.getRotationMatrix2D((300.0, 300.0), angle, 1.7)
    points = (POINTS - (225, 115)) @ turn[:, :2].T + (300, 300)
    inside = np.mean(points, axis=0)  # also checked away from the five points
    to_crop = similarity(points, np.array(template.landmarks) * size_px)
    y, x = np.mgrid[:600, :600] + 0.5
    blob = 255 * np.exp(-((x - inside[0]) ** 2 + (y - inside[1]) ** 2) / (2 * 6.0**2))
    crop = align(np.dstack([blob] * 3).astype(np.uint8), points, template)[..., 0].astype(float)
    cy, cx = np.mgrid[:size_px, :size_px] + 0.5
    found = np.array([(crop * cx).sum(), (crop * cy).sum()]) / crop.sum()
    np.testing.assert_allclose(found, to_crop[:, :2] @ inside + to_crop[:, 2], atol=0.2)


def test_shrinking_does_not_alias() -> None:
    """A fine checkerboard eight times too fine for the crop comes out grey, not as stripes."""
    board = ((np.indices((1000, 1000)).sum(axis=0) % 2) * 255).astype(np.uint8)
    points = np.array(FERPLUS_LANDMARKS) * 800 + 100
    crop = align(np.dstack([board] * 3), points, Template(100))
    assert crop.std() < 3
    assert crop.mean() == pytest.approx(127.5, abs=2)


def test_a_face_of_the_crops_size_is_not_blurred() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    points = np.array(FERPLUS_LANDMARKS) * 48 + (30, 50)
    np.testing.assert_array_equal(align(noise, points, TEMPLATE), noise[50:98, 30:78])


@pytest.mark.parametrize("corner", [(-20, -15), (80, 90), (-300, -300), (500, 20)])
def test_beyond_the_edge_the_last_pixels_go_on(corner: tuple[int, int]) -> None:
    gradient = np.dstack([np.tile(np.linspace(0, 200, 100), (100, 1))] * 3).astype(np.uint8)
    crop = align(gradient, np.array(FERPLUS_LANDMARKS) * 48 + corner, TEMPLATE)
    assert crop.shape == (48, 48, 3)
    columns = np.clip(np.arange(48) + corner[0], 0, 99)
    assert np.abs(crop[0, :, 0].astype(int) - gradient[0, columns, 0]).max() <= 1


def test_points_that_span_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="span a face"):
        align(PHOTO, np.full((5, 2), 100.0), TEMPLATE)


def test_a_real_face_is_upright_and_centred_in_its_crop() -> None:
    """Of a turn by 30° at least half goes; the detector takes steep tilts for less than they are."""
    detector = RetinaFace()
    template = Template(192)
    turn = cv2.getRotationMatrix2D((225.0, 115.0), 30.0, 1.0)
    turned = cv2.warpAffine(PHOTO, turn, (512, 512))
    for picture, most in [(PHOTO, 6), (turned, 15)]:
        (frame,) = find_faces([Frame(0, 0.0, picture)], template, detector=detector)
        assert frame.faces is not None
        (again,) = detector(frame.faces[0].crop)
        off = again.landmarks / 192 - np.array(template.landmarks)
        assert np.abs(off.mean(axis=0)).max() < 0.05
        (x1, y1), (x2, y2) = again.landmarks[:2]
        assert abs(np.degrees(np.arctan2(y2 - y1, x2 - x1))) < most


def test_two_real_faces_that_move_keep_their_numbers() -> None:
    """One photograph and its mirror image in other colours, crossing the frame in opposite directions."""
    person = PHOTO[20:240, 130:320]
    other = np.ascontiguousarray(person[:, ::-1, ::-1])
    pictures = []
    for step in range(40):
        picture = np.full((480, 640, 3), 90, np.uint8)
        picture[10:230, 10 + 10 * step : 200 + 10 * step] = person
        picture[250:470, 440 - 10 * step : 630 - 10 * step] = other
        pictures.append(picture)
    found = list(find_faces(film(12.5, *pictures), TEMPLATE, detector=RetinaFace()))
    assert all(frame.faces is not None and len(frame.faces) == 2 for frame in found)
    upper = {face.track_id for frame in found for face in frame.faces or () if face.box[1] < 230}
    assert len(upper) == 1
    assert {face.track_id for frame in found for face in frame.faces or ()} == {1, 2}


@pytest.mark.skipif(not CLIPS.exists(), reason="shared/clips is not here")
@pytest.mark.parametrize(
    "name, n_people", [("two_people_interview.mp4", 2), ("sad_256px.mp4", 1), ("no_face.mp4", 0)]
)
def test_clips_have_the_people_that_they_have(name: str, n_people: int) -> None:
    frames = islice(read_frames(CLIPS / name), 60)
    found = [f.faces for f in find_faces(frames, TEMPLATE, detector=RetinaFace()) if f.faces is not None]
    assert {face.track_id for faces in found for face in faces} == set(range(1, n_people + 1))
    assert all(len(faces) == n_people for faces in found)
