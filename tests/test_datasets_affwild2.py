"""Aff-Wild2: line i is crop i's by name of class, splits part whole videos, and what does not fit is told."""

import os
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpora_affwild2 import (
    NAMES,
    Person,
    seen,
    shade,
    write_affwild2,
    write_crops,
    write_example,
    write_media,
)
from media_files import flat_frames, tone, write_sound, write_still, write_video
from mien.datasets.affwild2 import (
    count_timed,
    crop_times,
    find_example,
    find_videos,
    frame_times,
    media_name,
    middle_times,
    read_affwild2,
    read_annotation,
    read_crop,
)
from mien.datasets.corpus import LabelledVideo
from mien.errors import DatasetError, MediaError
from mien.media import read_frames

SEVEN = NAMES[:7]
VAL = "Validation_Set"
SOME = (Person("video1", [0]), Person("video2", [1]), Person("video3", [2], of=VAL))
"""The least that is a corpus: one video of each split."""


def read(root: Path, **options: str | int) -> dict[str, LabelledVideo]:
    """The videos by name; nothing may have been skipped but media."""
    videos, skipped = read_affwild2(root, **options)
    assert set(skipped) <= {"video without media"}
    assert [video.name for video in videos] == sorted(video.name for video in videos)
    return {video.name: video for video in videos}


def lines_of(root: Path, text: str | bytes, name: str = "video3") -> None:
    """Replaces a validation annotation."""
    path = root / "EXPR_Recognition_Challenge" / VAL / f"{name}.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def header_and(*lines: str) -> str:
    return "\n".join((",".join(NAMES), *lines))


def refused(root: Path, *words: str) -> None:
    """Reading fails with one line that has these words."""
    with pytest.raises(DatasetError) as raised:
        read_affwild2(root)
    assert "\n" not in str(raised.value)
    assert [word for word in words if word not in str(raised.value)] == []


def test_line_i_is_of_crop_i(tmp_path: Path) -> None:
    labels = [7, 6, 5, 4, 3, 2, 1, 0, -1, 4]
    write_affwild2(tmp_path, [*SOME, Person("14-30-1920x1080", labels, of=VAL, crops=(2, 3, 7, 8, 9, 10))])
    video = {video.name: video for video in read_affwild2(tmp_path)[0]}["14-30-1920x1080"]
    assert video.frames == (2, 3, 7, 8, 9, 10)
    assert video.labels == (*reversed(NAMES), None, "Happiness")
    for frame in video.frames:
        assert seen(video.crops / f"{frame:05d}.jpg") == shade(video.labels[frame - 1])


@pytest.mark.parametrize("names", [NAMES, SEVEN])
def test_labels_go_by_the_names_in_the_header(tmp_path: Path, names: tuple[str, ...]) -> None:
    everything = Person("video4", range(-1, len(names)), of=VAL, names=names)
    write_affwild2(tmp_path, [*SOME, everything], size=16)
    assert read(tmp_path)["video4"].labels == (None, *names)


@pytest.mark.parametrize("names", [NAMES[::-1], (*SEVEN[3:], *SEVEN[:3]), (*SEVEN, "Contempt")])
def test_another_order_of_classes_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    everything = Person("video4", range(-1, len(names)), of=VAL, names=names)
    write_affwild2(tmp_path, [*SOME, everything], size=16)
    refused(tmp_path, "video4.txt line 1", names[0], "in this order")


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n"])
def test_how_lines_end_is_of_no_matter(tmp_path: Path, ending: str) -> None:
    write_affwild2(tmp_path, [*SOME, Person("video4", [0, -1, 7])], ending=ending, size=16)
    assert read(tmp_path)["video4"].labels == ("Neutral", None, "Other")
    lines_of(tmp_path, b"\xef\xbb\xbf" + b", ".join(name.encode() for name in NAMES) + b"\n3\n\n\n")
    assert read(tmp_path)["video3"].labels == ("Fear",)


@pytest.mark.parametrize(
    ("challenge", "train"),
    [
        ("EXPR_Recognition_Challenge", "Train_Set"),
        ("6th ABAW Annotations/EXPR_Recognition_Challenge", "Train_Set"),
        ("a/Third ABAW Annotations/EXPR_Classification_Challenge", "Train_Set"),
        ("annotations/EXPR_Set", "Training_Set"),
        ("annotations/annotations/EXPR_Set", "Train_Set"),
    ],
)
def test_every_edition_s_folders(tmp_path: Path, challenge: str, train: str) -> None:
    people = [Person(f"video{n}", [n], of=train, names=SEVEN) for n in range(3)]
    write_affwild2(
        tmp_path, [*people, Person("video9", [3], of=VAL, names=SEVEN)], challenge=challenge, size=16
    )
    (tmp_path / Path(challenge).parent / "VA_Estimation_Challenge" / "Train_Set").mkdir(parents=True)
    splits = Counter(video.split for video in read(tmp_path).values())
    assert splits == {"train": 2, "choose": 1, "val": 1}


def many(n_videos: int) -> list[Person]:
    """So many train videos, every third with two people, one of them without an ending at every sixth."""
    ends = [("_left", "_right"), (), (), ("", "_right"), (), ()]
    names = [f"video{n}{end}" for n in range(n_videos) for end in ends[n % 6] or ("",)]
    return [*(Person(name, [0], crops=[1]) for name in names), *(Person(f"v{n}", [0], of=VAL) for n in "ab")]


def test_a_tenth_of_the_videos_is_chosen_on_and_the_people_in_one_stay_together(tmp_path: Path) -> None:
    write_affwild2(tmp_path, many(40), size=16)
    choices = set()
    for seed in range(6):
        videos = read(tmp_path, seed=seed).values()
        parts = {
            split: {media_name(video.name) for video in videos if video.split == split}
            for split in ("train", "choose", "val")
        }
        assert {split: len(part) for split, part in parts.items()} == {"train": 36, "choose": 4, "val": 2}
        assert parts["train"] & parts["choose"] == set()
        assert parts["val"] == {"va", "vb"}
        assert read(tmp_path, seed=seed) == {video.name: video for video in videos}
        choices.add(frozenset(parts["choose"]))
    assert len(choices) > 1
    held_out = {media_name(video.name) for video in read(tmp_path).values() if video.split == "choose"}
    assert held_out == {"video12", "video19", "video30", "video33"}  # in every process alike


def test_the_choice_does_not_hang_on_which_crops_are_there(tmp_path: Path) -> None:
    write_affwild2(tmp_path, many(20), size=16)
    before = {name: video.split for name, video in read(tmp_path).items()}
    shutil.rmtree(tmp_path / "cropped_aligned" / "video1")
    videos, skipped = read_affwild2(tmp_path)
    assert {video.name: video.split for video in videos} == {
        name: split for name, split in before.items() if name != "video1"
    }
    assert skipped["annotation without folder of crops"] == 1


def test_a_person_in_a_val_video_does_not_train(tmp_path: Path) -> None:
    write_affwild2(
        tmp_path, [*SOME, Person("video3_right", [0]), Person("video3_left", [0], of=VAL)], size=16
    )
    videos, skipped = read_affwild2(tmp_path)
    assert {video.name for video in videos if video.split == "val"} == {"video3", "video3_left"}
    assert "video3_right" not in {video.name for video in videos}
    assert skipped == {"train annotation of a person in a val video": 1, "video without media": 4}


def test_people_share_the_media_of_their_video(tmp_path: Path) -> None:
    names = [
        "122-60-1920x1080-1",
        "30-30-1920x1080_left",
        "30-30-1920x1080_right",
        "video59",
        "video59_right",
    ]
    write_affwild2(tmp_path, [*SOME, *(Person(name, [0]) for name in names)], size=16)
    files = ["batch1/122-60-1920x1080-1.mp4", "batch2/30-30-1920x1080.avi", "new_vids/video59.MP4"]
    write_media(tmp_path / files[0])
    write_media(tmp_path / files[1])
    (tmp_path / "new_vids").mkdir()
    shutil.copy(tmp_path / files[0], tmp_path / files[2])
    (tmp_path / "batch1" / "._video1.mp4").touch()
    (tmp_path / "cropped" / "batch1").mkdir(parents=True)
    (tmp_path / "cropped" / "batch1" / "video1.mp4").touch()
    videos, skipped = read_affwild2(tmp_path)
    media = {video.name: video.media for video in videos if video.name in names}
    assert media == dict(zip(names, (tmp_path / files[n] for n in (0, 1, 1, 2, 2)), strict=True))
    assert skipped == {"video without media": len(SOME)}
    assert all(video.media is None for video in videos if video.name not in names)
    for file in files[:2]:
        with av.open(str(tmp_path / file)) as container:
            assert {stream.type for stream in container.streams} == {"video", "audio"}


def test_media_behind_a_link_is_found_and_a_loop_of_links_ends(tmp_path: Path) -> None:
    root = write_affwild2(tmp_path / "corpus", SOME, size=16)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "video1.mp4").touch()
    (root / "batch1").symlink_to(tmp_path / "disk")
    assert read(root)["video1"].media == root / "batch1" / "video1.mp4"
    (tmp_path / "disk" / "2" / "3" / "4" / "5").mkdir(parents=True)
    (tmp_path / "disk" / "2" / "3" / "4" / "5" / "video2.mp4").touch()
    (tmp_path / "disk" / "2" / "3" / "4" / "5" / "6").mkdir()
    (tmp_path / "disk" / "2" / "3" / "4" / "5" / "6" / "video3.mp4").touch()
    assert [video.media is not None for video in read(root).values()] == [True, True, False]
    (root / "batch1").unlink()
    (tmp_path / "disk" / "again").symlink_to(tmp_path / "disk")
    (root / "batch1").symlink_to(tmp_path / "disk")
    refused(root, "video1 has the media", "keep one")


def test_other_folders_of_crops(tmp_path: Path) -> None:
    write_affwild2(tmp_path, SOME, size=16)
    write_affwild2(tmp_path, [Person("430", [0])], crops="cropped_aligned_new_50_vids", size=16)
    write_affwild2(tmp_path, [Person("video1", [0, 1])], crops="cropped", size=16)
    videos, _ = read_affwild2(tmp_path)
    assert {video.name: video.crops.parent.name for video in videos} == {
        "430": "cropped_aligned_new_50_vids",
        **dict.fromkeys(("video1", "video2", "video3"), "cropped_aligned"),
    }
    (unaligned,), skipped = read_affwild2(tmp_path, crops="cropped")
    assert (unaligned.crops, unaligned.labels) == (tmp_path / "cropped" / "video1", ("Neutral", "Anger"))
    assert skipped["annotation without folder of crops"] == 3


def test_everything_skipped_is_counted(tmp_path: Path) -> None:
    people = [
        Person("gaps", [0, 0, -1, 0, 0, -1, 0, 0], crops=(2, 4)),  # 1 labelled line before, 3 after the last
        Person("crop_more", [0, 0], crops=(1, 2, 3)),
        Person("line_more", [0, 0, 1], crops=(1, 2)),
        Person("no_face", [0, -1], crops=()),
        Person("no_label", [-1, -1]),
        Person("no_line", [], crops=(1,)),
        Person("no_folder", [0, 0]),
    ]
    write_affwild2(tmp_path, [*SOME, *people], size=16)
    shutil.rmtree(tmp_path / "cropped_aligned" / "no_folder")
    (tmp_path / "cropped_aligned" / "of_test").mkdir()
    (tmp_path / "cropped_aligned" / ".DS_Store").touch()
    for stray in (".DS_Store", "._00002.jpg", "Thumbs.db"):
        (tmp_path / "cropped_aligned" / "gaps" / stray).touch()
    (tmp_path / "EXPR_Recognition_Challenge" / VAL / "._video3.txt").write_bytes(b"\0\5\x16\7")
    videos, skipped = read_affwild2(tmp_path)
    frames = {video.name: video.frames for video in videos if not video.name.startswith("video")}
    assert frames == {"gaps": (2, 4), "crop_more": (1, 2), "line_more": (1, 2), "no_label": (1, 2)}
    assert skipped == {
        "folder of crops without annotation": 1,
        "annotation without folder of crops": 1,
        "annotation without any crop": 2,  # no_face, no_line
        "labelled line in a gap of the crops: scored in val, not trained on": 1,
        "labelled line after the last crop: scored in val, not trained on": 3
        + 1
        + 1,  # gaps, line_more, no_face
        "crop after the last line": 2,  # crop_more, no_line
        "video without media": 7,
    }


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Neutral,Anger,Disgust,Fear,Happy,Sadness,Surprise,Other",
        "Neutral,Anger,Disgust,Fear,Fear,Sadness,Surprise,Other",
        "Neutral,Anger,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other",
        "Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other",
        "neutral,anger,disgust,fear,happiness,sadness,surprise",
        "valence,arousal",
        "4",
        "x" * 100_000,
    ],
)
def test_another_header_is_refused(tmp_path: Path, header: str) -> None:
    write_affwild2(tmp_path, SOME, size=16)
    lines_of(tmp_path, f"{header}\n0\n")
    refused(tmp_path, f"{VAL}/video3.txt line 1", "in this order")
    with pytest.raises(DatasetError, match=r"^.{1,400}$"):
        read_affwild2(tmp_path)


@pytest.mark.parametrize("label", ["8", "-2", "-5", "Fear", "1.0", "", "0,1", "01", "٣", "1_0", "\0", "0\r0"])
def test_another_label_is_refused_by_its_line(tmp_path: Path, label: str) -> None:
    write_affwild2(tmp_path, SOME, size=16)
    lines_of(tmp_path, header_and("0", "-1", label, "0"))
    refused(tmp_path, f"{VAL}/video3.txt line 4", repr(label), "-1 or 0 to 7")


def test_what_is_other_in_eight_names_is_refused_in_seven(tmp_path: Path) -> None:
    write_affwild2(tmp_path, SOME, size=16)
    lines_of(tmp_path, ",".join(SEVEN) + "\n0\n7\n")
    refused(tmp_path, "video3.txt line 3", "'7'", "0 to 6")


def test_an_annotation_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    write_affwild2(tmp_path, [*SOME, Person("video4", [0, 0], crops=(1, 4))], size=16)
    refused(tmp_path, "Train_Set/video4.txt labels 2 frames", "00004.jpg")


@pytest.mark.parametrize("name", ["00000.jpg", "0001.jpg", "000001.jpg", "frame_00001.jpg", "٠٠٠٠١.jpg"])
def test_crops_that_count_otherwise_are_refused(tmp_path: Path, name: str) -> None:
    write_affwild2(tmp_path, SOME, size=16)
    (tmp_path / "cropped_aligned" / "video1" / name).touch()
    refused(tmp_path, f"video1/{name}", "00001.jpg and up")


def test_two_of_what_there_may_be_one(tmp_path: Path) -> None:
    root = write_affwild2(tmp_path / "name", [*SOME, Person("video3", [0])], size=16)
    refused(root, "Train_Set/video3.txt", f"{VAL}/video3.txt", "keep one")
    root = write_affwild2(tmp_path / "crops", SOME, size=16)
    (root / "cropped_aligned_new_50_vids" / "video1").mkdir(parents=True)
    refused(root, "cropped_aligned/video1", "cropped_aligned_new_50_vids/video1", "keep one")
    root = write_affwild2(tmp_path / "media", SOME, size=16)
    for name in ("batch1/video1.avi", "batch2/video1.mp4", "batch1/of_test.avi", "batch2/of_test.avi"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    refused(root, "batch1/video1.avi", "batch2/video1.mp4", "keep one")
    root = write_affwild2(tmp_path / "edition", SOME, size=16)
    write_affwild2(root, SOME, challenge="old/EXPR_Set", size=16)
    refused(root, "EXPR_Recognition_Challenge and", "old/EXPR_Set", "expected one")


def test_a_folder_that_is_no_corpus(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "expected one folder EXPR_Recognition_Challenge", "none")
    refused(tmp_path, "expected one folder EXPR_Recognition_Challenge", "none")
    root = write_affwild2(tmp_path / "no_val", SOME[:2], size=16)
    refused(root, "EXPR_Recognition_Challenge", "train and validation")
    root = write_affwild2(tmp_path / "no_crops", SOME, crops="elsewhere", size=16)
    refused(root, "no crops in cropped_aligned")
    (root / "cropped_aligned" / "another").mkdir(parents=True)
    refused(root, "no annotated video has crops in cropped_aligned")


texts = st.lists(
    st.one_of(st.sampled_from(["-1", "0", "3", "7", "8", "", ",".join(NAMES), ",".join(SEVEN)]), st.text())
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))
with_header = texts.map((",".join(NAMES) + "\n").encode().__add__)


@settings(deadline=None)  # the disk may be slow
@given(content=st.one_of(st.binary(), texts, with_header))
@example(content=b"")
@example(content=b"\xff\xfe0\x00")
@example(content=b"Neutral\n" * 1000)
@example(content=(header_and("0") + "\r\n\x1c\u2028").encode())
def test_any_bytes_are_read_or_refused_in_one_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video1.txt"
        path.write_bytes(content)
        error, labels = None, ()
        try:
            labels = read_annotation(path)
        except DatasetError as raised:
            error = str(raised)
    if error is not None:
        assert error.splitlines() == [error]
        assert "video1.txt" in error
    else:
        lines = content.decode("utf-8-sig").rstrip().split("\n")[1:]
        assert [label is None for label in labels] == [line.strip() == "-1" for line in lines]


@settings(deadline=None, max_examples=50)
@given(data=st.data(), labels=st.lists(st.integers(-1, 7), min_size=1))
def test_any_annotation_and_crops(data: st.DataObject, labels: list[int]) -> None:
    """Each frame has its own line's name; all labelled lines and crops are in the video or in the counts."""
    crops = {1} | data.draw(st.sets(st.integers(1, len(labels) + 1)))
    with tempfile.TemporaryDirectory() as folder:
        root = write_affwild2(Path(folder), [Person(n, [0], crops=()) for n in "abc"], size=1)
        write_affwild2(root, [Person("d", labels, of=VAL, crops=())], size=1)
        for frame in crops:
            (root / "cropped_aligned" / "d" / f"{frame:05d}.jpg").touch()
        (video,), skipped = read_affwild2(root)
    assert set(video.frames) == crops - {len(labels) + 1}
    assert list(video.labels) == [NAMES[label] if label >= 0 else None for label in labels]
    n_labelled = sum(video.labels[frame - 1] is not None for frame in video.frames)
    n_lost = sum(n for reason, n in skipped.items() if reason.startswith("labelled line"))
    assert n_labelled + n_lost == sum(label >= 0 for label in labels) + 3  # a, b and c have no crops
    assert skipped["crop after the last line"] + len(video.frames) == len(crops)


def test_unreadable_annotations(tmp_path: Path) -> None:
    write_affwild2(tmp_path, SOME, size=16)
    (tmp_path / "EXPR_Recognition_Challenge" / VAL / "video4.txt").mkdir()
    refused(tmp_path, f"{VAL}/video4.txt", "cannot be read")


def test_no_crop_is_asked_for_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of calls to the disk for a folder that is read in thousands."""
    write_affwild2(tmp_path, [*SOME, Person("video4", [0] * 300)], size=1)
    asked: list[str] = []
    stat = os.stat

    def noted(path: object, **rest: object) -> os.stat_result:
        asked.append(str(path))
        return stat(path, **rest)

    monkeypatch.setattr(os, "stat", noted)
    assert len(read(tmp_path)["video4"].frames) == 300
    assert asked
    assert [path for path in asked if path.endswith(".jpg")] == []


@settings(deadline=None)  # the machine may be busy
@given(data=st.data(), n_lines=st.integers(1, 9), n_shown=st.integers(0, 12))
def test_frames_have_a_time_up_to_the_last_crop_or_just_behind_the_media(
    data: st.DataObject, n_lines: int, n_shown: int
) -> None:
    frames = sorted(data.draw(st.sets(st.integers(1, n_lines), min_size=1)))
    video = LabelledVideo(
        name="a", media=None, crops=Path(), frames=tuple(frames), labels=(None,) * n_lines, split="val"
    )
    timed = [k for k in range(1, n_lines + 1) if k <= frames[-1] or k <= n_shown + 1]
    assert count_timed(video, n_shown) == len(timed)


def test_a_crop_is_averaged_where_it_shrinks_and_interpolated_where_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "00001.jpg"  # which holds a PNG, so that no bit is lost

    def shown(columns: list[int], side: int) -> list[int]:
        grey = np.repeat(np.array([columns], np.uint8), len(columns), axis=0)
        path.write_bytes(cv2.imencode(".png", np.stack([grey, 0 * grey, 255 - grey], axis=2))[1].tobytes())
        found = read_crop(path, side)
        assert found is not None
        assert found.shape == (side, side, 3)
        assert (found[..., 1] == 0).all()
        assert np.abs(found[..., 0].astype(int) + found[..., 2] - 255).max() <= 1
        return found[0, :, 2].tolist()

    assert shown([0, 0, 0, 200] * 4, 4) == [50] * 4
    assert shown([0, 200], 4) == [0, 50, 150, 200]
    assert shown([3, 1, 4, 1], 4) == [3, 1, 4, 1]
    path.write_bytes(b"")
    assert read_crop(path, 4) is None
    with pytest.raises(FileNotFoundError):
        read_crop(tmp_path / "00002.jpg", 4)


def test_times_of_crops() -> None:
    np.testing.assert_allclose(crop_times([1, 2, 75], n_frames=75, fps=25), [0.02, 0.06, 2.98])
    # Within 2 % of 3 s the rate holds, beyond it the frames are spread over the sound, whichever is longer.
    np.testing.assert_allclose(crop_times([1, 75], n_frames=75, fps=25, duration=3.05), [0.02, 2.98])
    np.testing.assert_allclose(crop_times([1], n_frames=75, fps=25, duration=3.075), [0.0205])
    np.testing.assert_allclose(crop_times([1, 75], n_frames=75, fps=25, duration=3.75), [0.025, 3.725])
    np.testing.assert_allclose(crop_times([1, 75], n_frames=75, fps=25, duration=1.5), [0.01, 1.49])
    assert crop_times([], n_frames=1, fps=25).shape == (0,)
    with pytest.raises(DatasetError, match=re.escape("fps is 0.0; expected a number above 0")):
        crop_times([1], n_frames=1, fps=0.0)
    with pytest.raises(DatasetError, match="duration is nan"):
        crop_times([1], n_frames=1, fps=25.0, duration=float("nan"))


@pytest.mark.parametrize("name", ["v.mp4", "v.avi"])
@pytest.mark.parametrize("irregular", [False, True])
def test_frames_begin_when_a_decoder_shows_them(tmp_path: Path, name: str, irregular: bool) -> None:
    codecs = {"codec": "mpeg4", "sound_codec": "pcm_s16le"} if name.endswith("avi") else {}
    times = None
    if irregular and not codecs:
        times = np.cumsum(np.random.default_rng(0).choice([1 / 30, 1 / 15, 0.2], 40)).tolist()
    path = write_video(
        tmp_path / name,
        flat_frames(40),
        fps=30,
        times=times,
        waveform=tone(440.0, 2.0),
        options={"bf": "2"},
        **codecs,
    )
    shown = [frame.time for frame in read_frames(path)]
    np.testing.assert_allclose(frame_times(path), shown, atol=1e-6)
    middles = middle_times(frame_times(path), np.array([1, 2, 39]), duration=2.0)
    np.testing.assert_allclose(middles, [(shown[i] + shown[i + 1]) / 2 for i in (0, 1, 38)], atol=1e-6)


def test_frames_after_the_last_go_on_as_before_or_are_spread(tmp_path: Path) -> None:
    begins = frame_times(write_media(tmp_path / "v.mp4", n_frames=50, fps=25))
    np.testing.assert_allclose(middle_times(begins, np.array([50, 51]), 2.0), [1.98, 2.02], atol=1e-6)
    np.testing.assert_allclose(middle_times(begins, np.array([1, 100]), 2.0), [0.01, 1.99], atol=1e-6)
    none = frame_times(write_sound(tmp_path / "s.mp4", [(0.0, tone(440.0, 2.0))], codec="aac"))
    assert none.size == 0
    np.testing.assert_allclose(middle_times(none, np.array([1, 4]), 2.0), [0.25, 1.75])
    with pytest.raises(MediaError, match="neither when frames come nor its length"):
        middle_times(none, np.array([1]), 0.0)


def test_a_crop_is_brought_to_the_side_asked_for_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((112, 112, 3), np.uint8)
    red[:, :, 0] = 200
    write_still(tmp_path / "00001.jpg", red)
    for size_px in (48, 112, 128):
        crop = read_crop(tmp_path / "00001.jpg", size_px)
        assert crop is not None
        assert crop.shape == (size_px, size_px, 3)
        np.testing.assert_allclose(crop.reshape(-1, 3).mean(0), [200, 0, 0], atol=3)


@pytest.mark.parametrize("content", [b"", b"no jpg", b"\xff\xd8\xff\xe0", None])
def test_a_crop_that_cannot_be_decoded_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "00001.jpg"
    with pytest.raises(FileNotFoundError):
        read_crop(path, 48)
    path.mkdir() if content is None else path.write_bytes(content)
    assert read_crop(path, 48) is None


def test_a_test_video_has_what_there_is_of_it(tmp_path: Path) -> None:
    write_crops(tmp_path, "video1_left", {1: "Fear"}, size=16)
    left, right = (crops_and_media(tmp_path, name) for name in ("video1_left", "video1_right"))
    assert (left, right) == ((tmp_path / "cropped_aligned" / "video1_left", None), (None, None))
    media = write_media(tmp_path / "batch2" / "video1.mp4")
    assert crops_and_media(tmp_path, "video1_right") == (None, media)
    assert crops_and_media(tmp_path, "video1_left")[1] == media
    write_media(tmp_path / "batch1" / "video1.avi")
    with pytest.raises(DatasetError, match=r"video1 has the media .* keep one"):
        crops_and_media(tmp_path, "video1_left")
    with pytest.raises(DatasetError, match="cropped_aligned has none of video2"):
        find_videos(tmp_path, ["video2"])
    with pytest.raises(DatasetError, match="no crops in cropped_aligned"):
        find_videos(tmp_path / "absent", ["video1"])


def crops_and_media(root: Path, name: str) -> tuple[Path | None, Path | None]:
    """Of the video of that name; another one, which has crops, is asked for as well."""
    found = list(find_videos(root, [name, "video1_left"] if name != "video1_left" else [name]))
    assert found[0].name == name
    return found[0].crops, found[0].media


@pytest.mark.parametrize(
    "name", ["CVPR_6th_ABAW_Expr_test_set_sample.txt", "CVPR_5th_ABAW_EXPR_test_set_example.txt"]
)
def test_the_example_list_is_found_where_it_lies(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=r"found none; name it with --example"):
        find_example(tmp_path)
    path = write_example(tmp_path / "deeper", ("video1", [1]), name=name)
    write_example(tmp_path, ("video1", [1]), name="CVPR_6th_ABAW_AU_test_set_example.txt")
    write_example(tmp_path, ("video1", [1]), name="._CVPR_6th_ABAW_Expr_test_set_example.txt")
    assert find_example(tmp_path) == path
    other = write_example(tmp_path, ("video1", [1]))
    with pytest.raises(DatasetError) as raised:
        find_example(tmp_path)
    assert str(path) in str(raised.value)
    assert str(other) in str(raised.value)
