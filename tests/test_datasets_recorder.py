"""An entry becomes its recording as analysis would see and hear it; what cannot be used is noted."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from corpora import write_ferplus
from corpora_affwild2 import NAMES, Person, shade, write_affwild2, write_media
from corpora_pictures import jpg, write_affectnet_sets, write_jpg, write_ms1mv2
from media_files import flat_frames, tone, write_sound, write_still, write_video
from mien.datasets.affwild2 import read_affwild2
from mien.datasets.corpus import Clip, Picture
from mien.datasets.crops import decode, resize
from mien.datasets.entries import CORPORA, Entry, PrepareSettings, Row, read_stills
from mien.datasets.moments import look, moments
from mien.datasets.prepared import Recording
from mien.datasets.recorder import Extractors, record
from mien.media import read_frames, read_waveform
from mien.speech import log_mel
from portraits import PORTRAIT, music, scene, scenes
from test_datasets_unlabelled import write as write_unlabelled

USUAL = PrepareSettings()


def taken(
    content: Any, corpus: str = "clips", settings: PrepareSettings = USUAL
) -> tuple[Recording | None, list[str]]:
    """The recording of an entry with this content, and what was noted."""
    notes: list[str] = []
    entry = Entry(name="a", speaker="b", split="train", content=content)
    return record(corpus, entry, settings, notes.append, Extractors(settings)), notes


def clip(path: Path, label: str | None = "Anger", start: float = 0.0, end: float | None = None) -> Clip:
    return Clip(path=path, label=label, speaker="b", split="train", start=start, end=end)


def spans(recording: Recording | None) -> list[tuple[float, float, str]]:
    assert recording is not None
    return [(each.span.start, each.span.end, each.label) for each in recording.stretches]


def test_sound_is_heard_as_in_analysis(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", [(0.0, tone(300.0, 1.2))])
    recording, notes = taken((clip(path),))
    assert recording is not None
    np.testing.assert_array_equal(recording.columns, log_mel(read_waveform(path)).T)
    assert spans(recording) == [(0.0, pytest.approx(1.2), "Anger")]
    assert (recording.corpus, recording.name, recording.speaker, recording.split) == (
        "clips",
        "a",
        "b",
        "train",
    )
    assert len(recording.crops) == len(recording.crop_times) == 0
    assert recording.frame_step is None
    assert notes == []


def test_stretches_of_one_file(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", [(0.0, tone(300.0, 1.2))])
    clips = (
        clip(path, "Fear", 0.0, 0.5),
        clip(path, "Anger", 0.4, 0.6),
        clip(path, None, 0.5, 0.7),
        clip(path, "Other", 0.75),
        clip(path, "Fear", 9.0),
    )
    recording, notes = taken(clips)
    assert spans(recording) == [(0.0, 0.5, "Fear"), (0.75, pytest.approx(1.2), "Other")]
    assert notes == ["stretch over another one", "stretch after the end of its file"]


def test_an_end_beyond_the_file_is_that_of_the_file(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", [(0.0, tone(300.0, 1.2))])
    for end, told in ((99.0, ["stretch that ends after its file: cut off there"]), (1.25, [])):
        recording, notes = taken((clip(path, end=end),))
        assert spans(recording) == [(0.0, pytest.approx(1.2), "Anger")]
        assert notes == told


def test_a_video_has_face_and_sound(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", scenes((1.0, (100,)), fps=25), waveform=music(1.0))
    recording, notes = taken((clip(path),))
    assert recording is not None
    times = [frame.time for frame in read_frames(path)]
    assert recording.crop_times.tolist() == times[::2]  # 12.5 a second
    assert recording.crops.shape == (13, 48, 48)
    assert len(recording.columns) == pytest.approx(100, abs=5)
    [(start, end, label)] = spans(recording)
    assert (start, label) == (0.0, "Anger")
    assert end >= 1.0
    assert notes == []


@pytest.mark.parametrize(
    ("lefts", "heard", "note"),
    [
        ((), True, "no face found in a video: sound alone is kept"),
        ((100,), False, "no sound in a video: faces alone are kept"),
        ((), False, "neither face nor sound"),
    ],
)
def test_what_a_video_lacks_is_noted(tmp_path: Path, lefts: Sequence[int], heard: bool, note: str) -> None:
    waveform = music(0.4) if heard else None
    path = write_video(tmp_path / "a.mp4", scenes((0.4, tuple(lefts))), waveform=waveform)
    recording, notes = taken((clip(path),))
    assert notes == [note]
    assert (recording is not None) == (bool(lefts) or heard)
    if recording is not None:
        assert (len(recording.crops) > 0, len(recording.columns) > 0) == (bool(lefts), heard)


def test_a_still_is_one_crop_at_time_zero(tmp_path: Path) -> None:
    path = write_still(tmp_path / "a.png", scene(100))
    recording, notes = taken((clip(path, "Fear"), clip(path, "Anger")))
    assert recording is not None
    assert spans(recording) == [(0.0, 0.04, "Fear")]
    assert recording.crop_times.tolist() == [0.0]
    assert recording.crops.shape == (1, 48, 48)
    assert len(recording.columns) == 0
    assert notes == ["more than one row of one still"]


def test_a_still_may_be_a_crop_already(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    path = write_still(tmp_path / "a.png", image)
    assert taken((clip(path),)) == (None, ["no face found"])
    recording, notes = taken((clip(path),), settings=PrepareSettings(crops=True))
    assert recording is not None
    np.testing.assert_array_equal(recording.crops[0], resize(image, 48))
    assert notes == []


@pytest.mark.parametrize("content", [b"", b"no media at all" * 50])
def test_a_file_that_cannot_be_read_is_noted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert taken((clip(path),)) == (None, ["file that cannot be read or decoded"])
    assert taken((clip(tmp_path / "gone.mp4"),)) == (None, ["file that cannot be read or decoded"])


def test_a_face_is_found_in_the_box_of_its_corpus(tmp_path: Path) -> None:
    path = write_still(tmp_path / "a.png", scene(20, 260))
    left, right = (
        taken(Picture(path=path, label="Fear", split="train", box=box), "expw")
        for box in ((80.0, 60.0, 170.0, 190.0), (310.0, 60.0, 400.0, 190.0))
    )
    assert left[1] == right[1] == []
    assert left[0] is not None
    assert right[0] is not None
    assert not np.array_equal(left[0].crops, right[0].crops)
    assert spans(left[0]) == [(0.0, 0.04, "Fear")]


def test_a_box_without_a_face_is_cut_and_noted(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    path = write_still(tmp_path / "a.png", image)
    recording, notes = taken(
        Picture(path=path, label=None, split="train", box=(30.0, 10.0, 78.0, 58.0)), "expw"
    )
    assert recording is not None
    np.testing.assert_array_equal(recording.crops[0], cv2.cvtColor(image[10:58, 30:78], cv2.COLOR_RGB2GRAY))
    assert spans(recording) == []
    assert notes == ["no face found in its box: cut as it is"]
    outside = Picture(path=path, label=None, split="train", box=(200.0, 10.0, 240.0, 58.0))
    assert taken(outside, "expw") == (None, ["face box outside its picture"])


def test_pictures_without_a_box(tmp_path: Path) -> None:
    write_affectnet_sets(tmp_path)
    path = tmp_path / "train_set" / "images" / "0.jpg"
    picture = Picture(path=path, label="Fear", split="train")
    assert taken(picture, "affectnet") == (None, ["no face found"])
    recording, _ = taken(picture, "affectnet", PrepareSettings(crops=True, size_px=64))
    image = decode(path.read_bytes())
    assert recording is not None
    assert image is not None
    np.testing.assert_array_equal(recording.crops[0], resize(image, 64))


def test_an_unreadable_picture_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no jpg")
    assert taken(Picture(path=path, label=None, split="train")) == (
        None,
        ["picture that cannot be decoded"],
    )


def test_faces_of_ferplus_stay_as_they_are(tmp_path: Path) -> None:
    write_ferplus(tmp_path)
    stills = read_stills(tmp_path, 0)
    for entry in CORPORA["ferplus"].entries(tmp_path, USUAL)[0][:3]:
        assert isinstance(entry.content, Row)
        recording, _ = taken(entry.content, "ferplus")
        assert recording is not None
        np.testing.assert_array_equal(recording.crops[0], stills.images[entry.content.number])
        assert spans(recording) == [(0.0, 0.04, stills.labels[entry.content.number])]


def test_faces_of_ms1mv2_are_only_made_grey_and_smaller(tmp_path: Path) -> None:
    images = write_ms1mv2(tmp_path)
    settings = PrepareSettings(share=1.0)
    for entry, content in zip(CORPORA["ms1mv2"].entries(tmp_path, settings)[0], images, strict=True):
        recording, notes = taken(entry.content, "ms1mv2", settings)
        image = decode(content)
        assert recording is not None
        assert image is not None
        np.testing.assert_array_equal(recording.crops[0], resize(image, 48))
        assert recording.stretches == ()
        assert notes == []


def test_a_damaged_record_is_noted(tmp_path: Path) -> None:
    write_ms1mv2(tmp_path)
    row = Row(tmp_path / "train.rec", 5, None)
    assert taken(row, "ms1mv2") == (None, ["file that cannot be read or decoded"])


def test_photographs_without_labels(tmp_path: Path) -> None:
    write_unlabelled(tmp_path, PORTRAIT, np.full((64, 64, 3), 120, np.uint8))
    entries, _ = CORPORA["unlabelled"].entries(tmp_path, USUAL)
    recording, _ = taken(entries[0].content, "unlabelled")
    assert recording is not None
    assert recording.crops.shape == (1, 48, 48)
    assert taken(entries[1].content, "unlabelled") == (None, ["no face found"])


def aff(root: Path, *people: Person, media: Callable[[Path], object] | None = None) -> Path:
    write_affwild2(root, [*people, Person("scored", [0], of="Validation_Set")])
    if media is not None:
        media(root / "batch1" / "video1.mp4")
    return root


def one_of(root: Path, name: str = "video1") -> tuple[Recording, list[str]]:
    video = next(each for each in read_affwild2(root)[0] if each.name == name)
    recording, notes = taken(video, "affwild2")
    assert recording is not None
    return recording, notes


LABELS = [0, 0, 4, 4, -1, 4, 4, 4, 1, 1]


@pytest.mark.parametrize("with_media", [True, False])
def test_labels_are_runs_and_lie_where_their_crops_do(tmp_path: Path, with_media: bool) -> None:
    media = (lambda path: write_media(path, n_frames=10)) if with_media else None
    root = aff(tmp_path, Person("video1", LABELS, crops=[1, 2, 3, 4, 5, 6, 8, 9, 10]), media=media)
    recording, notes = one_of(root)
    expected = [(0, 2, "Neutral"), (2, 4, "Happiness"), (5, 6, "Happiness"), (7, 8, "Happiness")]
    expected.append((8, 10, "Anger"))
    found = [(round(30 * start, 3), round(30 * end, 3), label) for start, end, label in spans(recording)]
    assert found == expected
    assert recording.frame_step == pytest.approx(1 / 30, abs=1e-4)
    np.testing.assert_allclose(
        recording.crop_times, (np.array([1, 2, 3, 4, 5, 6, 8, 9, 10]) - 0.5) / 30, atol=1e-3
    )
    assert (len(recording.columns) > 0) == with_media
    assert notes == (
        [] if with_media else ["video without media: crops are timed at 30 a second, without sound"]
    )
    # What training will look up at the middle of each labelled frame is that frame's own crop.
    times = moments(recording.stretches, recording.frame_step or 0.0)
    for stretch, middles in zip(recording.stretches, times, strict=True):
        for middle in middles.tolist():
            [row] = look(recording, middle, 1, 32).crop_rows
            assert abs(float(recording.crops[row].mean()) - shade(stretch.label)) < 3


@pytest.mark.parametrize("with_media", [True, False])
def test_frames_that_are_scored_need_no_crop(tmp_path: Path, with_media: bool) -> None:
    labels = [0, 0, 4, 4, -1, 4, 4, 4, 1, 1, 2]
    write_affwild2(
        tmp_path, [Person("video2", [0]), Person("video1", labels, "Validation_Set", crops=[2, 8])]
    )
    if with_media:
        write_media(tmp_path / "batch1" / "video1.mp4", n_frames=11)
    recording, _ = one_of(tmp_path)
    assert recording.crop_times == pytest.approx([1.5 / 30, 7.5 / 30], abs=1e-3)
    found = [(round(30 * start, 3), round(30 * end, 3), label) for start, end, label in spans(recording)]
    expected = [(0, 2, "Neutral"), (2, 4, "Happiness"), (5, 8, "Happiness"), (8, 10, "Anger")]
    assert found == [*expected, (10, 11, "Disgust")]


def test_labels_after_the_end_of_their_video_are_noted(tmp_path: Path) -> None:
    write_affwild2(
        tmp_path, [Person("video2", [0]), Person("video1", [0] * 9, "Validation_Set", crops=[2, 4])]
    )
    write_media(tmp_path / "batch1" / "video1.mp4", n_frames=5)
    recording, notes = one_of(tmp_path)
    assert spans(recording) == [(0, pytest.approx(6 / 30, abs=1e-3), "Neutral")]
    assert notes == ["labelled line after the end of its video"] * 3


def test_times_are_those_that_the_video_has(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.1, 0.2, 0.24, 0.3]
    root = aff(
        tmp_path,
        Person("video1", [0, 0, 0, 4, 4, 4]),
        media=lambda path: (
            path.parent.mkdir(parents=True),
            write_video(path, flat_frames(6), times=times, waveform=tone(300.0, 0.4)),
        ),
    )
    recording, _ = one_of(root)
    ends = np.array([*times[1:], times[-1] + 0.06])
    np.testing.assert_allclose(recording.crop_times, (np.array(times) + ends) / 2, atol=1e-3)
    stretches = spans(recording)
    assert stretches[0][1] == stretches[1][0]
    for time, label in zip(recording.crop_times.tolist(), ["Neutral"] * 3 + ["Happiness"] * 3, strict=True):
        assert [each.label for each in recording.stretches if time in each.span] == [label]


def test_crops_counted_in_another_way_are_spread_over_their_media(tmp_path: Path) -> None:
    root = aff(tmp_path, Person("video1", [0] * 12), media=lambda path: write_media(path, n_frames=6, fps=15))
    recording, notes = one_of(root)
    np.testing.assert_allclose(recording.crop_times, (np.arange(12) + 0.5) / 30, atol=0.01)
    assert notes == ["crops go on after their media's frames: spread evenly over it"]


def test_media_that_cannot_be_decoded_are_as_none(tmp_path: Path) -> None:
    def break_off(path: Path) -> None:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no video" * 99)

    recording, notes = one_of(aff(tmp_path, Person("video1", [0] * 3), media=break_off))
    np.testing.assert_allclose(recording.crop_times, (np.arange(3) + 0.5) / 30)
    assert notes == ["media that cannot be decoded: crops are timed at 30 a second, without sound"]


def test_a_crop_that_cannot_be_decoded_is_no_frame(tmp_path: Path) -> None:
    root = aff(tmp_path, Person("video1", [0, 0, 0]))
    (root / "cropped_aligned" / "video1" / "00002.jpg").write_bytes(b"no jpg")
    recording, notes = one_of(root)
    assert len(recording.crops) == 2
    assert len(recording.stretches) == 2
    assert notes[0] == "crop that cannot be decoded"
    for crop in (1, 3):
        (root / "cropped_aligned" / "video1" / f"{crop:05d}.jpg").write_bytes(b"")
    video = next(each for each in read_affwild2(root)[0] if each.name == "video1")
    assert taken(video)[0] is None


def test_people_in_one_video_share_its_sound(tmp_path: Path) -> None:
    root = aff(tmp_path, Person("video1", [0] * 4), Person("video1_left", [0] * 4), media=write_media)
    assert one_of(root)[0].columns is one_of(root, "video1_left")[0].columns


def test_every_name_of_the_corpus_can_be_a_label(tmp_path: Path) -> None:
    recording, _ = one_of(aff(tmp_path, Person("video1", range(8))))
    assert [label for _, _, label in spans(recording)] == list(NAMES)


def test_a_jpg_is_decoded_as_it_is(tmp_path: Path) -> None:
    path = write_jpg(tmp_path / "a.jpg", seed=4, size=48)
    picture = Picture(path=path, label=None, split="train")
    recording, _ = taken(picture, "affectnet", PrepareSettings(crops=True))
    image = decode(jpg(seed=4, size=48))
    assert recording is not None
    assert image is not None
    np.testing.assert_array_equal(recording.crops[0], resize(image, 48))
