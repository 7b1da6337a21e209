"""Aff-Wild2 frame by frame: missing rules, the mean within one video, and both ways of counting."""

from pathlib import Path

import numpy as np
import pytest

from corpora_affwild2 import Person, write_affwild2, write_media
from mien import framewise
from mien.datasets.affwild2 import read_crop
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS
from mien.framewise import rate_affwild2
from mien.fusion import product
from mien.postprocess import box_mean
from mien.predictor import FacePredictor, VoicePredictor, load_model
from mien.scoring import Rater

VAL = "Validation_Set"
PEOPLE = (
    Person("video1", [0, 1, 2]),
    Person("video2", [4]),
    Person("video3_left", [0, -1, 4, 4, 5, 1], of=VAL, crops=(1, 2, 5)),
    Person("video3_right", [6, 6], of=VAL, crops=(2,)),
)


class Heard:
    """A voice that speaks at some frames of 1/30 s, and then says Fear."""

    frames: tuple[int, ...] = ()

    def __init__(self, heard: object, voice: object) -> None:
        assert heard is not None
        assert isinstance(voice, VoicePredictor)

    def at(self, time: float):
        probs = np.eye(8, dtype=np.float32)[3] if round(time * 30 + 0.5) in self.frames else None
        return type("Heard", (), {"probs": probs})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_affwild2(tmp_path, PEOPLE)


def no_hook(what: str, done: float, total: float) -> None:
    assert what == "looking at frames"
    assert 0 < done <= total == 4


def face_at(root: Path, person: str, frame: int) -> np.ndarray:
    crop = read_crop(root / "cropped_aligned" / person / f"{frame:05d}.jpg", 48)
    assert crop is not None
    return FacePredictor(load_model())(crop[None])[0]


def test_every_labelled_frame_is_there_with_or_without_a_face(root: Path) -> None:
    found = rate_affwild2(Rater(load_model()), root, "val", no_hook)
    assert found.names == (
        *(f"video3_left/{frame:05d}.jpg" for frame in (1, 3, 4, 5, 6)),
        *(f"video3_right/{frame:05d}.jpg" for frame in (1, 2)),
    )
    assert found.labels == ("Neutral", *["Happiness"] * 2, "Sadness", "Anger", *["Surprise"] * 2)
    assert set(found.groups or ()) == {"video3"}
    assert found.videos == (*["video3_left"] * 5, *["video3_right"] * 2)
    assert (found.corpus, found.group_word, found.spans, found.asked) == ("Aff-Wild2", "videos", None, {})
    assert found.notes == ("",) * 7
    assert any("the mean over 101 frames of one person" in remark for remark in found.remarks)
    every, seen = found.views
    assert (every.rows, every.averages_all, seen.averages_all) == (None, True, True)
    assert seen.rows is not None
    assert seen.rows.tolist() == [True, False, False, True, False, False, True]
    assert "Aff-Wild2: labelled line in a gap of the crops: scored in val, not trained on: 3" in found.remarks


def test_gaps_lie_between_their_neighbours_and_the_mean_stays_in_the_video(root: Path) -> None:
    found = rate_affwild2(Rater(load_model()), root, "val", no_hook)
    first, second, fifth = (face_at(root, "video3_left", frame) for frame in (1, 2, 5))
    line = [first, second, (2 * second + fifth) / 3, (second + 2 * fifth) / 3, fifth, fifth]
    left = np.array(line, np.float32)
    right = np.repeat(face_at(root, "video3_right", 2)[None], 2, axis=0)
    labelled = [0, 2, 3, 4, 5]
    np.testing.assert_allclose(found.raw["fused"], np.concatenate([left[labelled], right]), atol=1e-6)
    expected = np.concatenate([box_mean(left)[labelled], right])
    np.testing.assert_allclose(found.post["fused"], expected, atol=1e-6)
    assert set(found.raw) == {"fused"}


def test_the_voice_stands_in_where_no_face_is_and_is_fused_where_one_is(root: Path, monkeypatch) -> None:
    write_media(root / "batch1" / "video3.mp4", n_frames=6)
    monkeypatch.setattr(framewise, "Voice", Heard)
    monkeypatch.setattr(Heard, "frames", (1, 3))
    found = rate_affwild2(Rater(load_model()), root, "val", no_hook)
    fear = np.eye(8, dtype=np.float32)[3]
    fifth = face_at(root, "video3_left", 5)
    first = face_at(root, "video3_left", 1)
    expected = [product(fear, first), fear, (fear + fifth) / 2, fifth, fifth]
    np.testing.assert_allclose(found.raw["fused"][:5], expected, atol=1e-6)
    heard = [True, True, False, False, False]
    assert found.asked["voice"][:5].tolist() == heard
    np.testing.assert_allclose(found.raw["voice"][:5][heard], [fear] * 2, atol=1e-6)
    for kind in (found.raw, found.post):  # a rule that is fitted to these is told who was seen and heard
        assert np.isnan(kind["voice"]).any(1).tolist() == (~found.asked["voice"]).tolist()
        assert np.isnan(kind["face"]).any(1).tolist() == (~found.asked["face"]).tolist()
    assert set(found.post) == {"fused", "face", "voice"}


def test_where_nothing_is_known_it_is_neutral(root: Path) -> None:
    (root / "cropped_aligned" / "video3_right" / "00002.jpg").write_bytes(b"no picture")
    found = rate_affwild2(Rater(load_model()), root, "val", no_hook)
    assert [EXPRESSIONS[k] for k in found.raw["fused"][5:].argmax(1)] == ["Neutral"] * 2
    assert "Aff-Wild2: crop that cannot be decoded: 1" in found.remarks
    assert not found.views[1].rows[5:].any()


def test_media_that_cannot_be_read_are_counted(root: Path) -> None:
    (root / "batch1").mkdir()
    (root / "batch1" / "video3.mp4").write_bytes(b"no video")
    found = rate_affwild2(Rater(load_model()), root, "val", no_hook)
    assert "Aff-Wild2: media that cannot be decoded: 2" in found.remarks
    assert set(found.raw) == {"fused"}


def test_frames_are_told_one_by_one_over_all_people(root: Path) -> None:
    told: list[tuple[float, float]] = []
    rate_affwild2(Rater(load_model()), root, "val", lambda _, done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_line_after_the_end_of_its_video_is_counted_and_not_rated(root: Path) -> None:
    write_media(root / "batch1" / "video3.mp4", n_frames=4)
    found = rate_affwild2(Rater(load_model()), root, "val", no_hook)
    left = [name for name in found.names if name.startswith("video3_left")]
    assert left == [f"video3_left/{frame:05d}.jpg" for frame in (1, 3, 4, 5)]
    assert "Aff-Wild2: labelled line after the end of its video: 1" in found.remarks
    assert all(len(probs) == len(found.labels) for probs in (*found.raw.values(), *found.post.values()))


def test_a_split_without_labelled_frames_is_refused(tmp_path: Path) -> None:
    people = (*PEOPLE[:2], Person("video4", [-1, -1], of=VAL))
    with pytest.raises(DatasetError, match="no frame of split 'val' is labelled"):
        rate_affwild2(Rater(load_model()), write_affwild2(tmp_path, people), "val", lambda *_: None)


def test_a_split_without_videos_is_refused(tmp_path: Path) -> None:
    root = write_affwild2(tmp_path, (*PEOPLE[:1], PEOPLE[2]))
    with pytest.raises(DatasetError, match="no video in split 'choose'; this folder has train, val"):
        rate_affwild2(Rater(load_model()), root, "choose", lambda *_: None)
