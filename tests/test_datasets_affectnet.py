"""AffectNet: both forms by code and name, splits that no picture crosses, and refusals with file and line."""

import io
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpora_pictures import (
    AFFECTNET_HEAD,
    affectnet_row,
    write_affectnet_list,
    write_affectnet_lists,
    write_affectnet_sets,
)
from mien.datasets.affectnet import read_affectnet, read_code
from mien.errors import DatasetError

LABELS = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", None, None, None)
"""What codes 0 to 9 become: contempt, none and uncertain are no label."""

ALL = [str(code) for code in range(11)]


def labels_of(folder: Path) -> dict[str, str | None]:
    return {picture.path.stem: picture.label for picture in read_affectnet(folder)[0]}


def test_codes_of_the_lists_become_labels(tmp_path: Path) -> None:
    write_affectnet_lists(tmp_path, train=ALL, val="6")
    pictures, skipped = read_affectnet(tmp_path)
    assert labels_of(tmp_path) == {f"train{k}": label for k, label in enumerate(LABELS)} | {"val0": "Anger"}
    assert skipped == {"non-face": 1}
    assert {picture.box for picture in pictures} == {(4.0, 6.0, 24.0, 30.0)}
    assert all(picture.path.is_file() for picture in pictures)


@pytest.mark.parametrize("kind", [str, int, float])
def test_codes_of_the_sets_become_labels(kind: type, tmp_path: Path) -> None:
    write_affectnet_sets(tmp_path, train=[kind(code) for code in [*ALL, "10"]], val=[kind("6")])
    pictures, skipped = read_affectnet(tmp_path)
    train = [picture for picture in pictures if picture.split != "val"]
    assert {picture.path.stem: picture.label for picture in train} == dict(zip(ALL, LABELS, strict=False))
    assert [picture.label for picture in pictures if picture.split == "val"] == ["Anger"]
    assert skipped == {"non-face": 2}
    assert all(picture.box is None and picture.path.is_file() for picture in pictures)


def test_lists_and_pictures_may_stand_a_folder_deeper(tmp_path: Path) -> None:
    write_affectnet_lists(tmp_path)
    flat = labels_of(tmp_path)
    for name, where in (("training.csv", "lists"), ("validation.csv", "lists")):
        (tmp_path / where).mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / where / name)
    (tmp_path / "Manually_Annotated").mkdir()
    images = tmp_path / "Manually_Annotated_Images"
    images.rename(tmp_path / "Manually_Annotated" / images.name)
    assert labels_of(tmp_path) == flat


def test_columns_are_read_by_name(tmp_path: Path) -> None:
    write_affectnet_lists(tmp_path, train="", val="3")
    swapped = ",".join([*AFFECTNET_HEAD.split(",")[::-1], "more"])
    row = ",".join([*affectnet_row("1/val0.jpg", "4").split(",")[::-1], "0"])
    write_affectnet_list(tmp_path / "validation.csv", row, head=f"\ufeff{swapped}")
    assert labels_of(tmp_path) == {"val0": "Fear"}
    assert read_affectnet(tmp_path)[0][0].box == (4, 6, 24, 30)


@pytest.mark.parametrize("write", [write_affectnet_lists, write_affectnet_sets])
def test_a_tenth_of_train_is_chosen_on_by_the_seed(write, tmp_path: Path) -> None:
    write(tmp_path, train="01234" * 8, val="56" * 5)
    splits = {p.path: p.split for p in read_affectnet(tmp_path)[0]}
    assert Counter(splits.values()) == {"train": 36, "choose": 4, "val": 10}
    assert splits == {p.path: p.split for p in read_affectnet(tmp_path)[0]}
    assert splits != {p.path: p.split for p in read_affectnet(tmp_path, seed=1)[0]}


def test_what_is_skipped_is_counted(tmp_path: Path) -> None:
    write_affectnet_lists(tmp_path, train="01", val="2")
    rows = (
        affectnet_row("1/train0.jpg", "0"),
        affectnet_row("1/val0.jpg", "1"),  # validation has it
        affectnet_row("1/val0.jpg", "1"),
        affectnet_row("9/none.jpg", "1"),
        affectnet_row("2/train1.jpg", "1", box="-1,-1,-1,-1"),
        affectnet_row("2/train1.jpg", "10", box="NULL,NULL,NULL,NULL"),
        affectnet_row("2/train1.jpg", "10"),
    )
    write_affectnet_list(tmp_path / "training.csv", *rows)
    pictures, skipped = read_affectnet(tmp_path)
    assert [(p.path.stem, p.split) for p in pictures] == [("val0", "val"), ("train0", "train")]
    assert skipped == {
        "training row of a validation picture": 2,
        "row whose picture is not there": 1,
        "face box without area": 1,
        "non-face": 2,
    }


@pytest.mark.parametrize(
    "box, wanted",
    [
        ("1.5,2,0.5,1", (1.5, 2, 2, 3)),
        ("-3,-2,4,5", (-3, -2, 1, 3)),
        ("0,0,0,5", None),
        ("0,0,5,0", None),
        ("9,9,-1,5", None),
    ],
)
def test_a_box_has_an_area_or_is_passed_by(
    box: str, wanted: tuple[float, ...] | None, tmp_path: Path
) -> None:
    write_affectnet_lists(tmp_path, train="0", val="2")
    write_affectnet_list(tmp_path / "training.csv", *[affectnet_row("1/train0.jpg", "0", box=box)] * 2)
    pictures, skipped = read_affectnet(tmp_path)
    found = [picture.box for picture in pictures if picture.path.stem == "train0"]
    assert found == ([] if wanted is None else [wanted] * 2)
    assert skipped == ({"face box without area": 2} if wanted is None else {})


def test_sets_whose_pictures_and_annotations_do_not_pair(tmp_path: Path) -> None:
    write_affectnet_sets(tmp_path, train="0123", val="4")
    (tmp_path / "train_set" / "images" / "0.jpg").unlink()
    (tmp_path / "train_set" / "annotations" / "1_exp.npy").unlink()
    (tmp_path / "val_set" / "annotations" / "._0_exp.npy").touch()  # as one system leaves them
    pictures, skipped = read_affectnet(tmp_path)
    assert [picture.path.stem for picture in pictures] == ["0", "2", "3"]
    assert skipped == {"picture without annotation": 1, "annotation without picture": 1}


@pytest.mark.parametrize(
    ("row", "match"),
    [
        (affectnet_row("1/val0.jpg", "11"), "expression is '11'; expected 0 to 10"),
        (affectnet_row("1/val0.jpg", ""), "expression is ''"),
        ("1/val0.jpg,1,2", "expression is ''"),
        (affectnet_row("1/val0.jpg", "1", box="1,2,x,4"), "are '1,2,x,4'; expected four numbers"),
        (affectnet_row("1/val0.jpg", "1", box="1,2,nan,4"), "are '1,2,nan,4'"),
    ],
)
def test_rows_of_another_form(row: str, match: str, tmp_path: Path) -> None:
    write_affectnet_lists(tmp_path, val="1")
    write_affectnet_list(tmp_path / "validation.csv", affectnet_row("1/val0.jpg"), row)
    with pytest.raises(DatasetError, match=rf"^validation\.csv line 3: .*{match}"):
        read_affectnet(tmp_path)


def test_lists_of_another_form(tmp_path: Path) -> None:
    write_affectnet_lists(tmp_path)
    path = tmp_path / "training.csv"
    path.write_text(affectnet_row("1/train0.jpg") + "\n", encoding="utf-8")  # no names: nothing to go by
    with pytest.raises(DatasetError, match=r"training\.csv line 1: expected the columns subDirectory"):
        read_affectnet(tmp_path)
    path.write_bytes(AFFECTNET_HEAD.encode() + b"\n\xff\xfe\n")
    with pytest.raises(DatasetError, match=r"training\.csv after line 1: .*can't decode"):
        read_affectnet(tmp_path)
    (tmp_path / "more").mkdir()
    write_affectnet_list(tmp_path / "more" / "training.csv")
    with pytest.raises(DatasetError, match=r"has 2 of training\.csv"):
        read_affectnet(tmp_path)


def test_folders_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has 0 of Manually_Annotated_Images"):
        read_affectnet(tmp_path)
    write_affectnet_sets(tmp_path / "sets", train="", val="")
    (tmp_path / "sets" / "train_set" / "images").mkdir()
    with pytest.raises(DatasetError, match="has 0 of images"):
        read_affectnet(tmp_path / "sets")
    (tmp_path / "sets" / "val_set" / "images").mkdir()
    with pytest.raises(DatasetError, match="none of the labelled pictures is there"):
        read_affectnet(tmp_path / "sets")


class Opened:
    """Leaves a mark if anybody unpickles it."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("unpickled"),))


@pytest.mark.parametrize("value", [["1", "2"], [], "eleven", 2.5, True, float("nan"), b"1", 1j])
def test_annotations_of_something_else(value: object, tmp_path: Path) -> None:
    write_affectnet_sets(tmp_path, train="0", val="1")
    np.save(tmp_path / "train_set" / "annotations" / "0_exp.npy", np.array(value))
    with pytest.raises(DatasetError, match=r"train_set/annotations/0_exp\.npy: .*expected"):
        read_affectnet(tmp_path)


def test_pickles_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "0_exp.npy", np.array(Opened(), dtype=object), allow_pickle=True)
    (tmp_path / "1_exp.npy").write_bytes(pickle.dumps(Opened()))
    for number in (0, 1):
        with pytest.raises(DatasetError, match=f"{number}_exp"):
            read_code(tmp_path / f"{number}_exp.npy")
    assert not (tmp_path / "unpickled").exists()


def npy(value: object) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array(value))
    return content.getvalue()


@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(st.sampled_from("1x"), st.integers(0, 131), st.integers(0, 255)).map(
            lambda t: npy(t[0])[: t[1]] + bytes([t[2]]) + npy(t[0])[t[1] + 1 :]
        ),
    )
)
@example(b"")
@example(npy("7")[:-1])
@example(npy("1").replace(b"()", b"(9999999999999999,)"))
def test_any_bytes_are_a_code_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "0_exp.npy"
    path.write_bytes(content)
    try:
        code = read_code(path)
    except DatasetError as caught:
        code = str(caught)
    assert code in ALL or ("0_exp.npy: " in code and len(code.splitlines()) == 1)
