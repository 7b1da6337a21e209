"""ExpW: labels and boxes of its lines, faces of one picture in one split, and refusals with the line."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpora_pictures import write_expw
from mien.datasets.expw import read_expw, read_faces
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS

LABELS = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Neutral")
LINE = "angry_actor_0.jpg 0 10 2 18 30 45.5 3"


def test_lines_become_labels_and_boxes(tmp_path: Path) -> None:
    pictures, skipped = read_expw(write_expw(tmp_path, n_images=7, faces=2))
    assert [picture.label for picture in pictures] == list(LABELS * 2)
    assert [picture.path.name for picture in pictures[:4]] == ["angry_actor_0.jpg"] * 2 + [
        "angry_actor_1.jpg"
    ] * 2
    assert [picture.box for picture in pictures[:2]] == [(0, 10, 16, 30), (20, 11, 36, 30)]
    assert all(picture.path.is_file() for picture in pictures)
    assert not skipped


def test_the_list_may_stand_in_a_folder_of_its_own(tmp_path: Path) -> None:
    flat = read_expw(write_expw(tmp_path))
    (tmp_path / "label").mkdir()
    (tmp_path / "label.lst").rename(tmp_path / "label" / "label.lst")
    assert read_expw(tmp_path) == flat
    write_expw(tmp_path)
    with pytest.raises(DatasetError, match=r"expected one label\.lst, here or in label/; found .* and "):
        read_expw(tmp_path)


def test_faces_of_a_picture_share_its_split(tmp_path: Path) -> None:
    write_expw(tmp_path, n_images=40, faces=3)
    split_of: dict[Path, set[str]] = {}
    for picture in read_expw(tmp_path)[0]:
        split_of.setdefault(picture.path, set()).add(picture.split)
    assert Counter(len(splits) for splits in split_of.values()) == {1: 40}
    assert Counter(split for splits in split_of.values() for split in splits) == {"train": 36, "choose": 4}
    assert read_expw(tmp_path) == read_expw(tmp_path)
    assert read_expw(tmp_path) != read_expw(tmp_path, seed=1)


def test_what_is_skipped_is_counted(tmp_path: Path) -> None:
    write_expw(tmp_path, n_images=3, faces=1)
    lines = (
        LINE,
        LINE,
        LINE,
        "angry_actor_0.jpg 1 10 18 2 30 45.5 3",  # right before left
        "angry_actor_0.jpg 2 10 18 18 30 45.5 3",  # right at left
        "angry_actor_1.jpg 0 30 2 18 30 45.5 3",  # bottom at top
        "angry_actor_9.jpg 0 10 2 18 30 45.5 3",
        "angry_actor_9.jpg 1 10 2 18 30 45.5 3",
        "angry_actor_0.jpg 3 10 2 18 30 45.5 3",  # another face, whatever its box
    )
    (tmp_path / "label.lst").write_text("\r\n".join(lines) + "\r\n\r\n", encoding="utf-8")
    pictures, skipped = read_expw(tmp_path)
    assert [(picture.path.name, picture.box) for picture in pictures] == [
        ("angry_actor_0.jpg", (2, 10, 18, 30))
    ] * 2
    assert skipped == {
        "line that repeats another": 2,
        "face box without area": 3,
        "face whose picture is not there": 2,
        "picture without a line": 1,
    }


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("", "0 fields; expected 8"),
        (LINE[:-2], "7 fields; expected 8"),
        (LINE + " 1", "9 fields"),
        (LINE[:-1] + "7", "expression is '7'; expected 0 to 6"),
        (LINE[:-1] + "-1", "expression is '-1'"),
        (LINE[:-1] + "3.0", "expression is '3.0'"),
        (LINE.replace("10", "ten"), "'0 ten 2 18 30 45.5'; expected face id, top, left, right, bottom"),
        (LINE.replace("45.5", "nan"), "'0 10 2 18 30 nan'"),
        (LINE.replace("18", "1e999"), "1e999"),
    ],
)
def test_lines_of_another_form(line: str, match: str, tmp_path: Path) -> None:
    write_expw(tmp_path, n_images=1)
    (tmp_path / "label.lst").write_text(f"{LINE}\n{line}\n{LINE}\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=rf"^label\.lst line 2: .*{match}"):
        read_expw(tmp_path)


def test_folders_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected one label\.lst.*found none"):
        read_expw(tmp_path)
    (tmp_path / "label.lst").write_text(LINE, encoding="utf-8")
    with pytest.raises(DatasetError, match="image: no pictures"):
        read_expw(tmp_path)
    (tmp_path / "image" / "again").mkdir(parents=True)
    (tmp_path / "image" / "other.jpg").touch()
    with pytest.raises(DatasetError, match=r"holds no picture that label\.lst names"):
        read_expw(tmp_path)
    (tmp_path / "image" / "again" / "other.jpg").touch()
    with pytest.raises(DatasetError, match=r"one picture is .* keep one of them"):
        read_expw(tmp_path)


CELLS = st.one_of(st.sampled_from([*LINE.split(), "7", "nan", "1e999", "१", "1_0"]), st.text(max_size=8))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.lists(CELLS, min_size=7, max_size=9).map(" ".join), max_size=4)
        .map("\n".join)
        .map(lambda text: text.encode(errors="replace")),
    )
)
@example(b"")
@example(LINE.encode())
@example(b"\xef\xbb\xbf" + LINE.encode() + b"\r\n")
@example(LINE.encode("utf-16"))
def test_any_bytes_are_faces_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "label.lst"
    path.write_bytes(content)
    faces, refusal = [], "label.lst"
    try:
        faces = read_faces(path)
    except DatasetError as caught:
        refusal = str(caught)
    assert bool(faces) == (refusal == "label.lst")
    assert refusal.startswith("label.lst")
    assert len(refusal.splitlines()) == 1
    assert all(face.label in EXPRESSIONS for face in faces)
