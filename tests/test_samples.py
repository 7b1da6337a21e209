"""Each corpus is known by what lies in its folder; what is left out is told, what is wrong is one line."""

from pathlib import Path

import numpy as np
import pytest

from corpora import write_cremad, write_emodb, write_ferplus, write_own, write_ravdess, write_ravdess_media
from corpora_affwild2 import Person, write_affwild2
from corpora_pictures import write_affectnet_lists, write_affectnet_sets, write_expw
from mien.datasets.corpus import Clip, Picture
from mien.datasets.cremad import SPLITS as CREMAD_SPLITS
from mien.errors import DatasetError
from mien.samples import WITHOUT_OTHER, is_affwild2, read_samples, refuse_split

VAL_ACTOR = next(actor for actor, split in CREMAD_SPLITS.items() if split == "val")


def cremad(folder: Path) -> Path:
    return write_cremad(folder, clips=(f"{VAL_ACTOR}_DFA_ANG_XX", f"{VAL_ACTOR}_IEO_HAP_LO"))


CORPORA = {
    "FER+": (lambda folder: write_ferplus(folder, n_train=8, n_val=8), "val", 8, None),
    "RAVDESS": (write_ravdess, "val", 4, "speakers"),
    "RAVDESS video": (write_ravdess_media, "val", 2, "speakers"),
    "CREMA-D video": (cremad, "val", 2, "speakers"),
    "EMO-DB": (write_emodb, "val", 3, "speakers"),
    "AffectNet": (write_affectnet_lists, "val", 7, "pictures"),
    "ExpW": (write_expw, "choose", 4, "pictures"),
}


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_corpus_is_known_by_what_lies_in_it(tmp_path: Path, corpus: str) -> None:
    write, split, n, groups = CORPORA[corpus]
    found = read_samples(write(tmp_path), split)
    assert (found.corpus, len(found.samples), found.groups) == (corpus, n, groups)
    assert not is_affwild2(tmp_path)


def test_the_later_form_of_affectnet_is_known_too(tmp_path: Path) -> None:
    found = read_samples(write_affectnet_sets(tmp_path, val="0127"), "val")
    assert (found.corpus, [sample.label for sample in found.samples]) == (
        "AffectNet",
        ["Neutral", "Happiness", "Sadness"],
    )
    assert found.remarks == (
        "AffectNet: picture of val that is labelled as none of the expressions: 1 left out",
    )


def test_affwild2_is_known(tmp_path: Path) -> None:
    people = (Person("video1", [0]), Person("video2", [1]), Person("video3", [2], of="Validation_Set"))
    assert is_affwild2(write_affwild2(tmp_path, people))
    assert not is_affwild2(tmp_path / "nowhere")


def test_without_its_video_cremad_is_sound(tmp_path: Path) -> None:
    cremad(tmp_path)
    for path in (tmp_path / "VideoFlash").iterdir():
        path.unlink()
    (tmp_path / "VideoFlash").rmdir()
    assert read_samples(tmp_path, "val").corpus == "CREMA-D sound"


def test_acted_speech_is_scored_with_eight_classes_and_without_other(tmp_path: Path) -> None:
    eight, seven, *_ = read_samples(write_ravdess(tmp_path), "val").views
    assert (eight.name, eight.averages_all) == ("eight classes", True)
    assert (seven.name, seven.classes, seven.averages_all) == ("without Other", WITHOUT_OTHER, False)


def test_women_and_men_are_scored_apart_too(tmp_path: Path) -> None:
    samples = read_samples(write_ravdess(tmp_path / "ravdess", actors=(17, 18, 20), emotions=("01",)), "val")
    of_sex = {view.name: view.rows.tolist() for view in samples.views if view.rows is not None}
    assert of_sex == {
        "without Other, men": [True, False, False],
        "without Other, women": [False, True, True],
    }
    (only,) = read_samples(write_emodb(tmp_path / "emodb", speakers=(15,)), "val").views[2:]
    assert (only.name, only.is_part, only.classes) == ("without Other, men", True, WITHOUT_OTHER)


def test_ferplus_is_scored_by_both_rules(tmp_path: Path) -> None:
    votes = [[7, 3, *[0] * 8], [4, 3, 3, *[0] * 7]]
    most, majority = read_samples(write_ferplus(tmp_path, n_train=0, n_val=2, votes=votes), "val").views
    assert (most.name, most.rows) == ("most votes", None)
    assert majority.rows is not None
    assert majority.rows.tolist() == [True, False]


def test_of_a_table_what_is_left_out_is_told(tmp_path: Path) -> None:
    table = write_own(tmp_path)
    found = read_samples(table, "train")
    assert [(sample.name, sample.group) for sample in found.samples] == [("talks/Zoë, 1.wav", "Zoë")] * 2
    assert [(sample.span.start, sample.span.end) for sample in found.samples] == [(0, 0.5), (0.5, np.inf)]
    assert found.remarks == ("clips.csv: rows in another split, left out: 2",)
    assert isinstance(found.samples[0].source, Clip)
    with pytest.raises(DatasetError, match="no labelled clip in split 'val'; these have choose, train"):
        read_samples(table, "val")


def test_of_a_table_without_speakers_the_files_are_the_groups(tmp_path: Path) -> None:
    write_own(tmp_path)
    table = tmp_path / "short.csv"
    away = tmp_path.parent / f"{tmp_path.name}.png"
    away.write_bytes((tmp_path / "face.png").read_bytes())
    table.write_text(f"path,label\nface.png,Anger\nfilm.mp4,\n{away},Fear\n")
    found = read_samples(table, "val")
    assert found.groups == "files"
    assert found.remarks == (
        "short.csv has no column split: all rows are scored; no net may have learnt them",
        "short.csv: rows without a label, left out: 1",
    )
    assert [sample.name for sample in found.samples] == ["face.png", str(away)]


def test_faces_of_one_picture_are_one_group(tmp_path: Path) -> None:
    samples = read_samples(write_expw(tmp_path, faces=2), "choose").samples
    assert isinstance(samples[0].source, Picture)
    assert samples[0].group == samples[1].group != samples[2].group


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere is not there"):
        read_samples(tmp_path / "nowhere", "val")
    with pytest.raises(DatasetError, match=r"no known corpus; expected FER.*CSV table"):
        read_samples(tmp_path, "val")
    with pytest.raises(DatasetError, match="it has choose, train"):
        read_samples(write_expw(tmp_path), "val")


def test_what_is_no_split_is_refused() -> None:
    refuse_split("choose")
    with pytest.raises(DatasetError, match="split is 'test'; expected one of train, choose, val"):
        refuse_split("test")
