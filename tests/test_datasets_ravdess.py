"""RAVDESS: emotion codes become expressions by name, actors become splits, other names are refused."""

from pathlib import Path

import pytest

from corpora import write_ravdess, write_ravdess_media
from mien.datasets.corpus import refuse_shared_speakers
from mien.datasets.ravdess import Medium, read_ravdess, sex_of, split_of
from mien.errors import DatasetError
from mien.media import probe

CODES = {
    "01": "Neutral",
    "02": "Neutral",  # calm
    "03": "Happiness",
    "04": "Sadness",
    "05": "Anger",
    "06": "Fear",
    "07": "Disgust",
    "08": "Surprise",
}
SHARED = Path(__file__).parents[2] / "shared" / "data" / "ravdess_speech"


def empty_file(folder: Path, name: str, actor: str = "Actor_01") -> Path:
    path = folder / actor / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def test_codes_become_expressions_by_name(tmp_path: Path) -> None:
    write_ravdess(tmp_path, actors=(7,), emotions=list(CODES), duration=0.05)
    clips = read_ravdess(tmp_path)
    assert [each.path.stem for each in clips] == [f"03-01-{code}-01-01-01-07" for code in CODES]
    assert [each.label for each in clips] == list(CODES.values())
    assert {each.speaker for each in clips} == {"ravdess-07"}


@pytest.mark.parametrize(
    ("medium", "modality", "has_video", "has_sound"),
    [("video", "01", True, True), ("silent video", "02", True, False), ("sound", "03", False, True)],
)
def test_each_medium_has_its_files(
    tmp_path: Path, medium: Medium, modality: str, has_video: bool, has_sound: bool
) -> None:
    clips = read_ravdess(write_ravdess_media(tmp_path), medium)
    assert [(each.path.name[:2], each.speaker, each.split, each.label) for each in clips] == [
        (modality, f"ravdess-{actor}", split, label)
        for actor, split in (("01", "train"), ("15", "choose"), ("17", "val"))
        for label in ("Neutral", "Anger")
    ]
    for each in clips:
        assert (probe(each.path).has_video, probe(each.path).has_sound) == (has_video, has_sound)
        assert (each.start, each.end) == (0, None)


def test_actors_become_splits(tmp_path: Path) -> None:
    for actor in range(1, 25):
        empty_file(tmp_path, f"03-01-05-02-01-02-{actor:02d}.wav", f"Actor_{actor:02d}")
    splits = {each.speaker: each.split for each in read_ravdess(tmp_path)}
    assert list(splits.values()) == ["train"] * 14 + ["choose"] * 2 + ["val"] * 8
    assert {actor: split_of(actor) for actor in (1, 14, 15, 16, 17, 24)} == {
        1: "train",
        14: "train",
        15: "choose",
        16: "choose",
        17: "val",
        24: "val",
    }


def test_actors_of_odd_numbers_are_men() -> None:
    men = [actor for actor in range(1, 25) if sex_of(f"ravdess-{actor:02d}") == "men"]
    assert men == list(range(1, 25, 2))
    assert {sex_of(f"ravdess-{actor:02d}") for actor in range(2, 25, 2)} == {"women"}


def test_what_is_no_sound_is_left_alone(tmp_path: Path) -> None:
    empty_file(tmp_path, "notes.txt")
    (tmp_path / "03-01-05-01-01-01-01.wav").touch()  # in no actor's folder
    path = empty_file(tmp_path, "03-01-05-01-01-01-01.flac")
    assert [each.path for each in read_ravdess(tmp_path)] == [path]


@pytest.mark.parametrize(
    "name",
    [
        "01-01-05-01-01-01-01.wav",  # sound alone under the number of video
        "03-03-05-01-01-01-01.wav",  # neither speech nor song
        "03-01-05-01-01-01-25.wav",  # no such actor
        "03-01-09-01-01-01-01.wav",  # no such emotion
        "03-01-05-01-01-01.wav",
        "03-01-05-01-01-01-01-copy.wav",
        "anger.flac",
    ],
)
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    empty_file(tmp_path, "03-01-05-01-01-01-01.wav")
    empty_file(tmp_path, name)
    with pytest.raises(DatasetError, match=f"Actor_01/{name}: not a RAVDESS file name"):
        read_ravdess(tmp_path)


def test_sound_is_no_video(tmp_path: Path) -> None:
    name = empty_file(tmp_path, "03-01-05-01-01-01-01.mp4").name
    with pytest.raises(DatasetError, match=rf"{name}: not a RAVDESS file name \(01-01-EE-II-SS-RR-AA\)"):
        read_ravdess(tmp_path, "video")


@pytest.mark.parametrize(
    ("medium", "name"), [("sound", "03-02-05-01-01-01-01.wav"), ("video", "02-02-05-01-01-01-01.mp4")]
)
def test_songs_are_refused(medium: Medium, name: str, tmp_path: Path) -> None:
    empty_file(tmp_path, name.replace("-02-05-", "-01-05-"))
    empty_file(tmp_path, name)
    with pytest.raises(DatasetError, match=f"Actor_01/{name} is song; keep speech alone"):
        read_ravdess(tmp_path, medium)


def test_a_recording_in_two_formats_is_refused(tmp_path: Path) -> None:
    for ending in ("wav", "flac"):
        empty_file(tmp_path, f"03-01-05-01-01-01-01.{ending}")
    with pytest.raises(DatasetError, match="keep one of the two"):
        read_ravdess(tmp_path)


def test_a_folder_without_speech(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetError, match="no Actor_NN folders"):
            read_ravdess(folder)
    empty_file(tmp_path, "02-01-05-01-01-01-01.mp4")
    with pytest.raises(DatasetError, match=r"no Actor_NN folders with 01-01-….mp4; give RAVDESS' own"):
        read_ravdess(tmp_path, "video")


@pytest.mark.skipif(not SHARED.is_dir(), reason="RAVDESS is not on this machine")
def test_the_real_corpus() -> None:
    clips = read_ravdess(SHARED)
    refuse_shared_speakers(clips)
    assert {each.label for each in clips} == set(CODES.values())
    assert {each.split for each in clips} == {"train", "choose", "val"}
