"""What is said of stills, sounds and stretches of video is what the networks say, and nothing is lost."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from corpora import write_utterance
from media_files import flat_frames, tone, write_still, write_video
from mien import scoring
from mien.datasets.corpus import Clip, Picture
from mien.errors import CheckpointError
from mien.media import probe, read_waveform
from mien.pipeline import analyze
from mien.predictor import FACE_FILES, SPEECH_FILES, FacePredictor, VoicePredictor, load_model
from mien.readings import ReadingSettings, read_file
from mien.samples import Sample
from mien.scoring import Rater, found_in, rate_samples, stack
from mien.speech import log_mel
from mien.windows import cut_clip
from portraits import PORTRAIT, scene, scenes


def no_hook(what: str, done: float, total: float) -> None:
    assert 0 <= done <= total


def rate(*sources, rater: Rater | None = None) -> list[scoring.Answer]:
    samples = [Sample(name=str(i), label="Fear", group="x", source=each) for i, each in enumerate(sources)]
    return rate_samples(rater or Rater(load_model()), samples, no_hook)


def clip(path: Path, start: float = 0.0, end: float | None = None) -> Clip:
    return Clip(path=path, label="Fear", speaker="x", split="val", start=start, end=end)


def without(*files: str) -> Rater:
    model = load_model()
    return Rater(replace(model, sha256={k: v for k, v in model.sha256.items() if k not in files}))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody, then a face that moves and fades, without sound."""
    faces = [scene(round(2 * i)) // (1 + i % 7) for i in range(40)]
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, [*scenes((0.8, ())), *faces])


def test_a_crop_is_given_to_the_network_as_it_is() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    (answer,) = rate(crop)
    expected = FacePredictor(load_model())(np.repeat(crop[None, :, :, None], 3, axis=3))[0]
    np.testing.assert_array_equal(answer.raw["fused"], expected)
    assert answer.raw is answer.post
    assert (answer.asked, answer.note) == (("face",), "")


def test_a_larger_crop_is_reduced_to_the_size_of_the_network(tmp_path: Path) -> None:
    write_still(tmp_path / "small.png", np.full((48, 48, 3), 90, np.uint8))
    write_still(tmp_path / "large.png", np.full((96, 96, 3), 90, np.uint8))
    rater = Rater(load_model(), crops=True)
    small, large = rate(clip(tmp_path / "small.png"), clip(tmp_path / "large.png"), rater=rater)
    np.testing.assert_array_equal(small.raw["face"], large.raw["face"])


def test_of_a_picture_the_largest_face_counts_or_the_one_in_the_box(tmp_path: Path) -> None:
    image = np.full((300, 600, 3), 120, np.uint8)
    image[50:250, 20:220] = PORTRAIT
    image[100:200, 400:500] = cv2.GaussianBlur(PORTRAIT[::2, ::-2], (0, 0), 2.5)  # reads otherwise
    path = write_still(tmp_path / "two.png", image)
    boxes = ((60.0, 70.0, 190.0, 230.0), (415.0, 110.0, 480.0, 185.0))
    pictures = [Picture(path=path, label="Fear", split="val", box=box) for box in boxes]
    whole, left, right = rate(clip(path), *pictures)
    probs = [answer.raw["face"] for answer in (whole, left, right)]
    assert 2 * np.abs(probs[0] - probs[1]).max() < np.abs(probs[1] - probs[2]).max()
    (cut,) = rate(pictures[1], rater=Rater(load_model(), crops=True))
    by_hand = Rater(load_model()).rate_crop(image[110:185, 410:485])
    np.testing.assert_array_equal(cut.raw["face"], by_hand)


def test_a_picture_without_a_face_keeps_its_row(tmp_path: Path) -> None:
    path = write_still(tmp_path / "grey.png", next(flat_frames(1)))
    out = Picture(path=path, label="Fear", split="val", box=(500.0, 500.0, 540.0, 540.0))
    on_it = replace(out, box=(5.0, 5.0, 40.0, 40.0))
    assert [answer.note for answer in rate(clip(path), out, on_it)] == [
        "no face",
        "box outside the picture",
        "no face",
    ]
    answers = rate(clip(path), out, rater=Rater(load_model(), crops=True))
    assert [answer.note for answer in answers] == ["", "box outside the picture"]


def test_a_stretch_of_sound_is_the_mean_over_its_windows(tmp_path: Path) -> None:
    path = write_utterance(tmp_path / "a.flac", pitch=300, duration=6.0, seed=0)
    (answer,) = rate(clip(path, 0.5, 5.5))
    windows = cut_clip(log_mel(read_waveform(path, 0.5, 5.5)))
    assert len(windows[0]) > 1
    np.testing.assert_array_equal(answer.raw["voice"], VoicePredictor(load_model())(*windows).mean(0))
    assert (answer.raw is answer.post, answer.asked) == (True, ("voice",))


def test_raw_is_the_mean_of_readings_and_post_that_of_the_timeline(film: Path) -> None:
    (answer,) = rate(clip(film, 1.0, 2.0))
    readings = read_file(probe(film), load_model(), ReadingSettings())
    faces = [face.probs for each in readings if 1.0 <= each.time < 2.0 for face in each.faces or ()]
    assert len(faces) > 5
    np.testing.assert_allclose(answer.raw["fused"], np.mean(faces, axis=0), atol=1e-6)
    rows = [row.probs for row in analyze(film).rows if 1.0 <= row.time < 2.0 and row.probs is not None]
    np.testing.assert_allclose(answer.post["fused"], np.mean(rows, axis=0), atol=1e-6)
    assert np.abs(answer.raw["fused"] - answer.post["fused"]).max() > 1e-5
    assert "voice" not in answer.raw


def test_a_video_is_read_once_for_all_its_stretches(film: Path, monkeypatch) -> None:
    n_read = []
    monkeypatch.setattr(scoring, "read_file", lambda *args: n_read.append(args) or read_file(*args))
    answers = rate(clip(film, 1.5), clip(film, 0, 0.5), clip(film, 0.2, 1.8), clip(film, 99))
    assert len(n_read) == 1
    assert [bool(answer.raw) for answer in answers] == [True, False, True, False]
    assert answers[1].note == "no face"
    assert answers[3].note.startswith("cannot be read: the last frame is at 2.3")
    alone = rate(clip(film, 1.5))[0]
    np.testing.assert_array_equal(answers[0].post["fused"], alone.post["fused"])


def test_of_several_people_the_one_who_fills_most_counts(tmp_path: Path) -> None:
    image = np.full((270, 520, 3), 120, np.uint8)
    image[90:190, 10:110] = PORTRAIT[::2, ::2] // 4  # is found first, or last: smaller in either case
    image[40:240, 300:500] = PORTRAIT
    film = write_video(tmp_path / "two.mp4", [image] * 15)
    (answer,) = rate(clip(film))
    means = {}
    for row in analyze(film).rows:
        assert row.box is not None
        means.setdefault(bool(row.box[0] > 250), []).append(row.face_probs)
    assert len(means) == 2
    np.testing.assert_allclose(answer.post["face"], np.mean(means[True], axis=0), atol=1e-6)
    assert np.abs(np.mean(means[False], axis=0) - answer.post["face"]).max() > 1e-5


def test_what_cannot_be_read_keeps_its_row(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "empty.png").touch()
    sound = write_utterance(tmp_path / "a.flac", pitch=300, duration=1.0, seed=0)
    picture = Picture(path=tmp_path / "empty.png", label="Fear", split="val")
    answers = rate(clip(tmp_path / "broken.mp4"), picture, clip(sound, 5.0), clip(sound))
    assert [answer.note.partition(":")[0] for answer in answers] == [*["cannot be read"] * 3, ""]
    assert [answer.asked for answer in answers] == [(), (), (), ("voice",)]


def test_a_model_without_the_network_is_refused(film: Path, tmp_path: Path) -> None:
    sound = write_utterance(tmp_path / "a.flac", pitch=300, duration=1.0, seed=0)
    with pytest.raises(CheckpointError, match="mien-b has no speech network, and sound"):
        rate(clip(sound), rater=without(*SPEECH_FILES))
    with pytest.raises(CheckpointError, match="mien-b has no face network, and pictures"):
        rate(clip(film), rater=without(*FACE_FILES))
    with pytest.raises(CheckpointError, match="no face network"):
        rate(np.zeros((48, 48), np.uint8), rater=without(*FACE_FILES))


def test_without_a_speech_network_video_is_only_looked_at(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", scenes((0.4, (100,))), waveform=tone(300.0, 0.4))
    (answer,) = rate(clip(film), rater=without(*SPEECH_FILES))
    assert (answer.asked, set(answer.raw)) == (("face",), {"fused", "face"})
    assert rate(clip(film))[0].asked == ("face", "voice")


def test_face_and_voice_are_told_apart_only_where_there_are_both() -> None:
    one, other = np.full(8, 0.125, np.float32), np.eye(8, dtype=np.float32)[0]
    assert set(stack([{"fused": one, "face": one}, {}])) == {"fused"}
    stacked = stack([{"fused": one, "face": one}, {"fused": other, "voice": other}, {}])
    assert {source: found_in(probs).tolist() for source, probs in stacked.items()} == {
        "fused": [True, True, False],
        "face": [True, False, False],
        "voice": [False, True, False],
    }
