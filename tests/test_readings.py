"""What is read of a file: a reading for each frame or tick, faces where they are, the voice where it is."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from media_files import flat_frames, tone, write_sound, write_still, write_video
from mien import readings
from mien.detection import Detection
from mien.errors import InputError
from mien.faces import FERPLUS_LANDMARKS
from mien.media import Frame, MediaInfo, probe
from mien.predictor import VoicePredictor, load_model
from mien.readings import SOUND_HZ, ReadingSettings, read_file
from mien.views import Reading
from portraits import hear_speech, music, scene, scenes

SHARED = Path(__file__).parents[2] / "shared"


def read(path: Path, **settings) -> list[Reading]:
    return list(read_file(probe(path), load_model(), ReadingSettings(**settings)))


@pytest.fixture(scope="module")
def coming_and_going(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second with somebody, one with nobody, one with somebody; a chord throughout."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_video(path, scenes((1, (60,)), (1, ()), (1, (60,))), waveform=music(3.0))


@pytest.fixture(scope="module")
def found(coming_and_going: Path) -> list[Reading]:
    return read(coming_and_going)


def test_every_frame_has_a_reading(found: list[Reading]) -> None:
    assert [reading.frame for reading in found] == list(range(75))
    np.testing.assert_allclose([reading.time for reading in found], np.arange(75) / 25, atol=1e-6)


def test_faces_are_looked_at_12_times_a_second_and_found_where_they_are(found: list[Reading]) -> None:
    looked_at = [reading for reading in found if reading.faces is not None]
    assert 36 <= len(looked_at) <= 40
    for reading in looked_at:
        assert len(reading.faces or ()) == (0 if 1.0 <= reading.time < 2.0 else 1)
        for face in reading.faces or ():
            assert face.probs.shape == (8,)
            assert face.probs.sum() == pytest.approx(1, abs=1e-5)
            assert 60 <= face.box[0] < face.box[2] <= 260
            assert 40 <= face.box[1] < face.box[3] <= 240


def test_music_is_no_speech_and_no_silence(found: list[Reading]) -> None:
    assert all(reading.voice is None for reading in found)
    assert not any(reading.silent for reading in found[:70])


def test_sampling_rate_is_heeded(coming_and_going: Path) -> None:
    looked_at = [reading for reading in read(coming_and_going, sample_hz=5) if reading.faces is not None]
    assert 15 <= len(looked_at) <= 17


@pytest.mark.parametrize(
    "setting",
    [
        {"n_threads": 0},
        *({"sample_hz": hertz} for hertz in (0, -1, np.nan, np.inf)),
        *({"min_face_px": size} for size in (-1, np.nan, np.inf)),
        *({"region": region} for region in ((0, 0, 0, 5), (5, 0, 4, 9), (-1, 0, 4, 9))),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        ReadingSettings(**setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("start, end", [(-1, None), (2, 2), (3, 2), (np.nan, None), (0, np.nan)])
def test_stretches_that_make_no_sense_are_refused(start: float, end: float | None) -> None:
    with pytest.raises(InputError, match="expected 0 <= start < end"):
        ReadingSettings(start=start, end=end)


def test_speech_is_read_where_it_is_heard(coming_and_going: Path, monkeypatch) -> None:
    hear_speech(monkeypatch, 0.5, 2.0)
    spoken = read(coming_and_going)
    assert [r.time for r in spoken if r.voice is not None] == [r.time for r in spoken if 0.5 <= r.time < 2.0]
    for reading in spoken:
        if reading.voice is not None:
            assert reading.voice.sum() == pytest.approx(1, abs=1e-5)


def test_faces_are_read_alike_whether_or_not_somebody_listens(
    coming_and_going: Path, found: list[Reading], monkeypatch
) -> None:
    hear_speech(monkeypatch)
    for settings in ({}, {"voice": False}):
        for one, other in zip(found, read(coming_and_going, **settings), strict=True):
            assert (one.faces is None) == (other.faces is None)
            for face, same in zip(one.faces or (), other.faces or (), strict=True):
                np.testing.assert_array_equal(face.probs, same.probs)


def test_without_voice_only_silence_is_told(coming_and_going: Path, monkeypatch) -> None:
    hear_speech(monkeypatch)
    unheard = read(coming_and_going, voice=False)
    assert all(reading.voice is None for reading in unheard)
    assert not unheard[0].silent


def test_clip_without_sound_is_silent(tmp_path: Path) -> None:
    silent = read(write_video(tmp_path / "clip.mp4", flat_frames(5)))
    assert [reading.silent for reading in silent] == [True] * 5


def test_sound_that_ends_early_is_silence_after(tmp_path: Path) -> None:
    short = read(write_video(tmp_path / "clip.mkv", flat_frames(50), waveform=music(1.0), sound_codec="flac"))
    assert len(short) == 50
    assert [reading.silent for reading in short] == [False] * 25 + [True] * 25


def test_sound_only_is_read_25_times_a_second(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "sound.wav", [(0.0, tone(440, 2.0))])
    found = read(path)
    assert [reading.time for reading in found] == [tick / SOUND_HZ for tick in range(50)]
    assert {reading.frame for reading in found} == {None}
    assert {reading.faces for reading in found} == {()}
    assert not any(reading.silent for reading in found)


def test_speech_of_a_sound_file_is_read(tmp_path: Path, monkeypatch) -> None:
    hear_speech(monkeypatch)
    found = read(write_sound(tmp_path / "sound.flac", [(0.0, tone(440, 1.0))], codec="flac"))
    assert len(found) == 25
    assert all(reading.voice is not None for reading in found)


def test_real_speech_is_heard(tmp_path: Path) -> None:
    utterance = SHARED / "data" / "ravdess_speech" / "Actor_01" / "03-01-05-02-01-01-01.flac"
    if not utterance.is_file():
        pytest.skip("needs ../shared: no speech can be made up that a detector of speech would take for it")
    found = read(utterance)
    spoken = [reading for reading in found if reading.voice is not None]
    assert len(spoken) > 0.2 * len(found)
    assert len(spoken) < len(found)


@pytest.fixture(scope="module")
def two_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second with two people, one on either side."""
    path = tmp_path_factory.mktemp("clips") / "two.mp4"
    return write_video(path, scenes((1, (20, 260))))


def test_only_a_stretch_is_read(coming_and_going: Path, found: list[Reading]) -> None:
    part = read(coming_and_going, start=0.4, end=1.2)
    assert [reading.frame for reading in part] == list(range(10, 30))
    assert [reading.time for reading in part] == [reading.time for reading in found[10:30]]
    assert part[0].faces, "the first frame is looked at, whatever the rate"
    assert all(reading.faces in (None, ()) for reading in read(coming_and_going, start=1.2, end=1.6))


def test_only_a_stretch_is_listened_to(tmp_path: Path, monkeypatch) -> None:
    hear_speech(monkeypatch)
    path = write_sound(tmp_path / "sound.wav", [(0.0, tone(440, 3.0))])
    whole, part = read(path), read(path, start=1.0, end=2.0)
    assert [reading.time for reading in part] == [tick / 25 for tick in range(25, 50)]
    for one, other in zip(whole[25:50], part, strict=True):
        assert one.voice is not None
        assert other.voice is not None
        assert one.voice.tobytes() == other.voice.tobytes(), "what is heard does not depend on the stretch"


def test_only_a_region_is_looked_at(two_people: Path) -> None:
    (everybody, *_), (left, *_), (right, *_) = (
        read(two_people, region=region) for region in (None, (0, 0, 240, 270), (240, 0, 480, 270))
    )
    assert [len(each.faces or ()) for each in (everybody, left, right)] == [2, 1, 1]
    assert everybody.faces
    assert left.faces
    assert right.faces
    from_left = sorted(everybody.faces, key=lambda face: float(face.box[0]))
    for whole, (part,) in zip(from_left, (left.faces, right.faces), strict=True):
        np.testing.assert_allclose(part.box, whole.box, atol=4)
    with pytest.raises(InputError, match=r"region 0,0,481,270 does not lie in .* 480 x 270 pixels"):
        read(two_people, region=(0, 0, 481, 270))


def test_small_faces_are_passed_over(two_people: Path) -> None:
    (first, *_) = read(two_people)
    assert first.faces
    smallest, largest = sorted(float(min(face.box[2:] - face.box[:2])) for face in first.faces)
    assert all(not reading.faces for reading in read(two_people, min_face_px=largest + 20))
    assert all(len(reading.faces or (1, 1)) == 2 for reading in read(two_people, min_face_px=smallest - 10))


def test_still_is_one_frame_at_time_0(tmp_path: Path) -> None:
    (found,) = read(write_still(tmp_path / "still.png", scene(10, 250)))
    assert (found.frame, found.time, found.silent, found.voice) == (0, 0.0, True, None)
    assert [face.track_id for face in found.faces or ()] == [1, 2]


class Always:
    """A detector that finds one face in whatever it is shown."""

    def __init__(self, *_, **__) -> None:
        pass

    def __call__(self, image: np.ndarray) -> list[Detection]:
        height, width = image.shape[:2]
        box = np.array([0.3 * width, 0.3 * height, 0.7 * width, 0.7 * height], np.float32)
        points = (np.array(FERPLUS_LANDMARKS) * 0.4 + 0.3) * (width, height)
        return [Detection(box=box, landmarks=points.astype(np.float32), confidence=0.99)]


@pytest.mark.slow
@pytest.mark.parametrize(("n_threads", "n_ahead"), [(1, 0), (2, readings.FRAMES_AHEAD + 1)])
def test_frames_are_read_as_they_are_asked_for(monkeypatch, n_threads: int, n_ahead: int) -> None:
    """Of an endless film, and with an endless sound: little is read ahead but seconds of sound."""
    n_frames = n_seconds = 0

    def film(_: Path):
        nonlocal n_frames
        picture = np.full((64, 64, 3), 90, np.uint8)
        while True:
            n_frames += 1
            yield Frame(n_frames - 1, (n_frames - 1) / 25, picture)

    def drone(_: Path):
        nonlocal n_seconds
        while True:
            n_seconds += 1
            yield music(1.0)[::3]

    class Undecided(VoicePredictor):
        def __init__(self, *_, **__) -> None:
            pass

        def __call__(self, *_) -> np.ndarray:
            return np.full((1, 8), 0.125, np.float32)

    monkeypatch.setattr(readings, "read_frames", film)
    monkeypatch.setattr(readings, "read_sound", drone)
    monkeypatch.setattr(readings, "RetinaFace", Always)
    monkeypatch.setattr(readings, "VoicePredictor", Undecided)
    hear_speech(monkeypatch)
    media = MediaInfo(
        path=Path("endless"),
        has_video=True,
        has_sound=True,
        is_still=False,
        width=64,
        height=64,
        fps=25,
        duration=0,
        picture_end=0,
    )
    settings = ReadingSettings(n_threads=n_threads)
    for k, reading in enumerate(islice(read_file(media, load_model(), settings), 500)):
        assert reading.frame == k
        assert k + 1 <= n_frames <= k + 1 + n_ahead
        assert n_seconds <= k / 25 + 6 + (0 if n_threads == 1 else readings.SOUND_AHEAD + 1)
        assert reading.voice is not None
