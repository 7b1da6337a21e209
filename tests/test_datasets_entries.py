"""Each corpus as it lies on disk is listed: one entry for each recording to come, named and split."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from corpora import write_cremad, write_emodb, write_ferplus, write_own, write_ravdess, write_ravdess_media
from corpora_affwild2 import Person, write_affwild2, write_media
from corpora_pictures import write_affectnet_lists, write_affectnet_sets, write_expw, write_ms1mv2
from mien.datasets.corpus import LabelledVideo, Picture
from mien.datasets.entries import CORPORA, Entry, PrepareSettings, Row
from mien.datasets.ms1mv2 import read_record
from mien.errors import InputError
from test_datasets_unlabelled import write as write_unlabelled

USUAL = PrepareSettings()


def entries_of(corpus: str, data: Path, settings: PrepareSettings = USUAL) -> list[Entry]:
    entries, _ = CORPORA[corpus].entries(data, settings)
    assert len({entry.name for entry in entries}) == len(entries)
    split_of: dict[str, str] = {}
    assert all(split_of.setdefault(entry.speaker, entry.split) == entry.split for entry in entries)
    return entries


def test_sound_and_video_of_one_actor_are_of_one_speaker(tmp_path: Path) -> None:
    write_ravdess_media(tmp_path)
    sound, video = entries_of("ravdess", tmp_path), entries_of("ravdess_video", tmp_path)
    assert (
        {entry.speaker for entry in sound}
        == {entry.speaker for entry in video}
        == {
            "ravdess-01",
            "ravdess-15",
            "ravdess-17",
        }
    )
    assert sound[0].name == "Actor_01/03-01-01-01-01-01-01.wav"
    assert video[0].name == "Actor_01/01-01-01-01-01-01-01.mp4"
    assert sound[0].files == (tmp_path / sound[0].name,)


def test_sound_and_video_of_cremad(tmp_path: Path) -> None:
    write_cremad(tmp_path)
    assert [entry.name for entry in entries_of("cremad", tmp_path)] == [
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "AudioWAV/1002_IEO_HAP_LO.wav",
    ]
    assert [entry.speaker for entry in entries_of("cremad_video", tmp_path)] == ["cremad-1001", "cremad-1002"]


def test_sentences_of_emodb(tmp_path: Path) -> None:
    entries = entries_of("emodb", write_emodb(tmp_path))
    assert Counter(entry.split for entry in entries) == {"train": 3, "val": 3}


def test_people_in_one_video_stand_together_and_share_its_split(tmp_path: Path) -> None:
    names = ["video1", "video1_left", "video10", "video1-2", "video1_right"]
    write_affwild2(tmp_path, [Person(name, [0]) for name in names])
    write_affwild2(tmp_path, [Person("v", [0], of="Validation_Set")])
    media = write_media(tmp_path / "batch1" / "video1.mp4")
    entries = entries_of("affwild2", tmp_path)
    of_one = [k for k, entry in enumerate(entries) if entry.speaker == "affwild2-video1"]
    assert [entries[k].name for k in of_one] == ["video1", "video1_left", "video1_right"]
    assert of_one == list(range(of_one[0], of_one[0] + 3))
    assert entries[of_one[1]].files == (media, tmp_path / "cropped_aligned" / "video1_left")
    content = next(entry for entry in entries if entry.name == "v").content
    assert isinstance(content, LabelledVideo)
    assert content.media is None


def test_faces_of_one_picture_are_numbered(tmp_path: Path) -> None:
    entries = entries_of("expw", write_expw(tmp_path, n_images=3))
    assert [entry.name for entry in entries][:3] == [
        "image/origin/angry_actor_0.jpg",
        "image/origin/angry_actor_0.jpg#2",
        "image/origin/angry_actor_1.jpg",
    ]
    assert len({entry.speaker for entry in entries}) == 3


def test_both_forms_of_affectnet(tmp_path: Path) -> None:
    lists = entries_of("affectnet", write_affectnet_lists(tmp_path / "lists"))
    sets = entries_of("affectnet", write_affectnet_sets(tmp_path / "sets"))
    assert len(lists) == len(sets) == 15
    assert all(isinstance(each.content, Picture) and each.content.box for each in lists)
    assert all(isinstance(each.content, Picture) and not each.content.box for each in sets)


def test_faces_of_ferplus_are_rows_of_its_file(tmp_path: Path) -> None:
    entries = entries_of("ferplus", write_ferplus(tmp_path))
    assert Counter(entry.split for entry in entries).keys() == {"train", "choose", "val"}
    assert [entry.content.number for entry in entries if isinstance(entry.content, Row)] == list(
        range(len(entries))
    )
    assert not any(entry.is_alone for entry in entries)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_share_of_ms1mv2_is_taken(tmp_path: Path, share: float) -> None:
    images = write_ms1mv2(tmp_path)
    chosen = set()
    for seed in range(20):
        settings = PrepareSettings(share=share, seed=seed)
        entries = entries_of("ms1mv2", tmp_path, settings)
        assert entries == entries_of("ms1mv2", tmp_path, settings)
        assert len(entries) == round(share * len(images))
        for entry in entries:
            assert isinstance(entry.content, Row)
            with entry.content.file.open("rb") as file:
                assert read_record(file, entry.content.number)[1] == images[int(entry.name) - 1]
        chosen |= {entry.name for entry in entries}
    assert len(chosen) == len(images)


def test_photographs_are_rows_of_their_file(tmp_path: Path) -> None:
    entries = entries_of("unlabelled", write_unlabelled(tmp_path, *[np.zeros((9, 9, 3), np.uint8)] * 2))
    assert [entry.name for entry in entries] == ["0000000", "0000001"]


def test_rows_of_one_person_in_one_file_are_one_entry(tmp_path: Path) -> None:
    entries = entries_of("clips", write_own(tmp_path))
    assert [(entry.name, entry.speaker, entry.split) for entry in entries] == [
        ("clips: talks/Zoë, 1.wav", "Zoë", "train"),
        ("clips: film.mp4", "Max", "choose"),
        ("clips: face.png", "Eva", "val"),
    ]
    content = entries[0].content
    assert isinstance(content, tuple)
    assert [(clip.start, clip.label) for clip in content] == [(0.0, "Happiness"), (0.5, "Neutral")]


def test_two_people_in_one_file_are_two_entries(tmp_path: Path) -> None:
    write_own(tmp_path)
    (tmp_path / "two.csv").write_text(
        "path,label,speaker,start,split\nfilm.mp4,Anger,A,1,val\nfilm.mp4,Fear,B,0,val\nfilm.mp4,Fear,A,0,val\n"
    )
    entries = entries_of("clips", tmp_path / "two.csv")
    assert [entry.name for entry in entries] == ["two: film.mp4: A", "two: film.mp4: B"]
    assert isinstance(entries[0].content, tuple)
    assert [clip.start for clip in entries[0].content] == [0.0, 1.0]


def test_without_speakers_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    speakers = set()
    for folder in ("one", "other"):
        write_own(tmp_path / folder)
        table = tmp_path / folder / "few.csv"
        table.write_text("path,label,split\nfilm.mp4,Anger,val\n")
        speakers |= {entry.speaker for entry in entries_of("clips", table)}
    assert speakers == {str(tmp_path / "one" / "film.mp4"), str(tmp_path / "other" / "film.mp4")}


def test_what_was_skipped_is_counted(tmp_path: Path) -> None:
    write_affwild2(tmp_path, [Person("a", [0, 1], crops=[1]), Person("v", [0], of="Validation_Set")])
    _, skipped = CORPORA["affwild2"].entries(tmp_path, USUAL)
    assert skipped == {"labelled line after the last crop: scored in val, not trained on": 1}


def test_settings_that_a_corpus_heeds_are_settings() -> None:
    names = asdict(USUAL).keys()
    assert all(corpus.heeds <= names for corpus in CORPORA.values())


def test_sound_is_listed_as_it_lies_there(tmp_path: Path) -> None:
    assert len(entries_of("ravdess", write_ravdess(tmp_path))) == 16


@pytest.mark.parametrize("settings", [{"size_px": 8}, {"size_px": 1024}, {"share": 0.0}, {"share": 1.5}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        PrepareSettings(**settings)  # type: ignore[arg-type]
