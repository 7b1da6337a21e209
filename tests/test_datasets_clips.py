"""Recordings of one's own: a table becomes clips by name, or is refused in one line that says where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpora import write_own
from mien.datasets.clips import COLUMNS, read_clips
from mien.datasets.corpus import Clip
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS
from mien.media import read_waveform
from mien.spans import SAMPLE_RATE

NAMES = ("a.wav", "b.wav", "c d.mp4", "sub/é, 1.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in NAMES:
        (tmp_path / name).touch()
    return tmp_path


def write(folder: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    path = folder / "mine.csv"
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def read(folder: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> list[Clip]:
    return read_clips(write(folder, *lines, end=end, encoding=encoding), for_training=False)


def refused(folder: Path, *lines: str, encoding: str = "utf-8") -> str:
    with pytest.raises(DatasetError) as caught:
        read(folder, *lines, encoding=encoding)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_all_columns_become_clips(tmp_path: Path) -> None:
    clips = read_clips(write_own(tmp_path), for_training=True)
    talk = tmp_path / "talks" / "Zoë, 1.wav"
    assert clips == [
        Clip(path=talk, label="Happiness", speaker="Zoë", split="train", start=0.0, end=0.5),
        Clip(path=talk, label="Neutral", speaker="Zoë", split="train", start=0.5),
        Clip(path=tmp_path / "film.mp4", label="Anger", speaker="Max", split="choose"),
        Clip(path=tmp_path / "face.png", label=None, speaker="Eva", split="val"),
    ]
    assert clips == read_clips(tmp_path / "clips.csv", for_training=False)
    sizes = [read_waveform(clip.path, clip.start, clip.end).size for clip in clips[:2]]
    assert sizes == [0.5 * SAMPLE_RATE, pytest.approx(0.7 * SAMPLE_RATE, abs=2)]


def test_path_and_label_are_enough(folder: Path) -> None:
    clips = read(folder, "label,path", "Fear,a.wav", ",sub/../b.wav", "Other,./a.wav", f"Fear,{folder}/b.wav")
    assert [clip.label for clip in clips] == ["Fear", None, "Other", "Fear"]
    assert [clip.speaker for clip in clips] == ["a.wav", "b.wav", "a.wav", "b.wav"]
    assert {(clip.split, clip.start, clip.end) for clip in clips} == {("val", 0.0, None)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "lines",
    [
        ("path,label,start,end", '"sub/é, 1.png",Fear,1.5,2', "a.wav,,,"),
        ("path;label;start;end", "sub/é, 1.png;Fear;1,5;2,0", "a.wav;;;"),
        ("path;label;start;end", '"sub/é, 1.png";Fear;1.5;2.', "", "a.wav;;;", ";;;"),
        (" path , label,start,end", '"sub/é, 1.png" , Fear,1.5, 2', " a.wav ,  ,,"),
        (",path,label,start,end,", '0,"sub/é, 1.png",Fear,15e-1,02.00,', "1,a.wav,,,,"),
    ],
)
def test_dialects(folder: Path, lines: Sequence[str], end: str, encoding: str) -> None:
    if lines[0].startswith(" path"):
        lines = [line.replace('png" ,', 'png",') for line in lines]
    fear, unlabelled = read(folder, *lines, end=end, encoding=encoding)
    assert (fear.path, fear.label, fear.start, fear.end) == (folder / "sub/é, 1.png", "Fear", 1.5, 2.0)
    assert (unlabelled.path, unlabelled.label, unlabelled.end) == (folder / "a.wav", None, None)


@pytest.mark.parametrize(
    ("head", "row", "told"),
    [
        ("path,label", "a.wav,happy", "mine.csv line 3: label is 'happy'; nearest is 'Happiness'; expected"),
        ("path,label", "a.wav,fear", "line 3: label is 'fear'; nearest is 'Fear'; expected one of Neutral"),
        ("path,label", "a.wav,4", "line 3: label is '4'; expected one of Neutral, Anger"),
        ("path,label", "z.wav,Fear", "line 3: path is 'z.wav'; no such file is in"),
        ("path,label", "sub,Fear", "line 3: path is 'sub'; no such file"),
        ("path,label", ",Fear", "line 3: path is ''; no such file"),
        ("path,label", "x" * 5000 + ",Fear", "no such file"),
        ("path,label", "a.wav,Fear,1", "line 3: 3 cells; expected 2, as in the first line"),
        ("path,label", "a.wav", "line 3: 1 cells; expected 2"),
        ("path,label", 'a.wav,"Fear', "line 3: unexpected end of data; mend that line"),
        ("path,label", '"a.wav"x,Fear', "line 3: ',' expected after '\"'"),
        ("path,label", "a.wav," + "x" * 200_000, "line 3: field larger than field limit"),
        ("path,label,start", "a.wav,Fear,soon", "line 3: start is 'soon'; expected seconds from 0"),
        ("path,label,start", "a.wav,Fear,-1", "line 3: start is '-1'"),
        ("path,label,start", "a.wav,Fear,nan", "line 3: start is 'nan'"),
        ("path,label,start", "a.wav,Fear,1e999", "line 3: start is '1e999'"),
        ("path,label,start", "a.wav,Fear,1_0", "line 3: start is '1_0'"),
        ("path,label,start", "a.wav,Fear,１", "line 3: start is '１'"),
        ("path,label,start", 'a.wav,Fear,"1,5"', "line 3: start is '1,5'"),
        ("path,label,end", "a.wav,Fear,0", "line 3: end is 0; expected more than the start, 0"),
        ("path,label,start,end", "a.wav,Fear,2,1.5", "line 3: end is 1.5; expected more than the start, 2"),
        ("path,label,speaker", "a.wav,Fear,", "line 3: speaker is empty; name one in every row"),
        ("path,label,split", "a.wav,Fear,", "line 3: split is ''; expected one of train, choose, val"),
        ("path,label,split", "a.wav,Fear,test", "line 3: split is 'test'; expected one of train"),
        ("path,label,split", "a.wav,Fear,Train", "line 3: split is 'Train'; nearest is 'train'"),
    ],
)
def test_a_row_that_does_not_fit_is_told_with_its_line(folder: Path, head: str, row: str, told: str) -> None:
    good = {"path": "b.wav", "label": "Anger", "speaker": "b", "split": "val"}
    first = ",".join(good.get(column, "") for column in head.split(","))
    read(folder, head, first)
    assert told in refused(folder, head, first, row)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("",), "mine.csv is empty"),
        (("", " ", ",,"), "mine.csv is empty"),
        (("path,label",), "mine.csv has no rows under its column names"),
        (("path;label", ";", ""), "has no rows"),
        (("path,label,path", "a.wav,Fear,b.wav"), "line 1: column 'path' is there 2 times; expected once"),
        (("path,start", "a.wav,1"), "line 1: column 'label' is not there; expected path and label"),
        (("label", "Fear"), "line 1: column 'path' is not there"),
        (("a.wav,Fear",), "line 1: column 'a.wav' is not known"),
        (
            ("path,label,speker", "a.wav,Fear,a"),
            "column 'speker' is not known; nearest is 'speaker'; expected",
        ),
        (("path,Label", "a.wav,Fear"), "column 'Label' is not known; nearest is 'label'"),
        (("path\tlabel", "a.wav\tFear"), "is not known"),
        (("", "path,label,label"), "line 2: column 'label' is there 2 times"),
    ],
)
def test_tables_of_another_form(folder: Path, lines: Sequence[str], told: str) -> None:
    assert told in refused(folder, *lines)


def test_files_that_are_no_table(folder: Path) -> None:
    for path, reason in ((folder / "none.csv", "No such file"), (folder / "sub", "Is a directory")):
        with pytest.raises(DatasetError, match=f"{path.name} cannot be read: {reason}"):
            read_clips(path, for_training=False)
    for encoding in ("latin-1", "utf-16"):
        assert "is not UTF-8; save it as 'CSV UTF-8'" in refused(
            folder, "path,label", "é,Fear", encoding=encoding
        )


def test_a_speaker_or_file_in_two_splits_is_refused(folder: Path) -> None:
    ann = ("path,label,speaker,split", "a.wav,Fear,Ann,train", "b.wav,Fear,Ann,val")
    assert "speaker 'Ann' is in split 'train' and in 'val'" in refused(folder, *ann)
    alone = ("path,label,start,split", "a.wav,Fear,0,train", "a.wav,Fear,1,val")
    assert "a.wav' is in split 'train' and in 'val'" in refused(folder, *alone)
    dotted = ("path,label,split", "a.wav,Fear,train", "sub/../a.wav,Fear,val")
    assert "a.wav' is in split 'train' and in 'val'" in refused(folder, *dotted)


def dealt(folder: Path, *lines: str, seed: int = 0) -> dict[str, str]:
    clips = read_clips(write(folder, *lines), for_training=True, seed=seed)
    return {clip.speaker: clip.split for clip in clips}


def test_speakers_are_dealt_out_where_nothing_else_is_said(folder: Path) -> None:
    names = [f"{number}.wav" for number in range(60)]
    for name in names:
        (folder / name).touch()
    rows = [f"{name},Fear,speaker {number // 3}" for number, name in enumerate(names)]
    splits = dealt(folder, "path,label,speaker", *rows)
    assert Counter(splits.values()) == {"train": 16, "choose": 2, "val": 2}
    assert splits == dealt(folder, "path,label,speaker", *reversed(rows))
    assert splits != dealt(folder, "path,label,speaker", *rows, seed=1)
    files = dealt(folder, "path,label", *(f"{name},Fear" for name in names))
    assert Counter(files.values()) == {"train": 48, "choose": 6, "val": 6}
    assert {clip.split for clip in read_clips(folder / "mine.csv", for_training=False)} == {"val"}


def test_too_few_or_entangled_speakers_cannot_be_dealt_out(folder: Path) -> None:
    with pytest.raises(DatasetError, match="2 speakers or files cannot be dealt out"):
        dealt(folder, "path,label", "a.wav,Fear", "b.wav,Fear")
    with pytest.raises(DatasetError, match=r"file .*a\.wav' is in split"):
        dealt(folder, "path,label,speaker", *(f"a.wav,Fear,{name}" for name in "xyz"))


GOOD = {
    "path": ("a.wav", "./a.wav"),
    "label": ("", *EXPRESSIONS),
    "start": ("", "0", "1.5", "1,5"),
    "end": ("", "2", "2.5"),
    "speaker": ("x", "y", "z"),
    "split": ("train",),
}


@st.composite
def tables(draw: st.DrawFn) -> str:
    """A table of the right form, or with one cell that may be anything."""
    columns = ["path", "label", *draw(st.lists(st.sampled_from(COLUMNS[2:]), unique=True))]
    n_rows = draw(st.integers(0, 4))
    lines = [columns, *([draw(st.sampled_from(GOOD[name])) for name in columns] for _ in range(n_rows))]
    if draw(st.booleans()):
        line = draw(st.sampled_from(lines))
        line[draw(st.integers(0, len(line) - 1))] = draw(
            st.text() | st.sampled_from(["-1", "0", '"', "..", "/"])
        )
    delimiter, end = draw(st.sampled_from(",;")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    return end.join(delimiter.join(line) for line in lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tables of the property tests are written, beside one file."""
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.wav").touch()
    return folder


@given(text=st.text() | tables(), for_training=st.booleans())
@example(text="path,label\na.wav,Fear", for_training=False)
@example(text="path,label\n\0,Fear", for_training=False)
@example(text="path,label,start\na.wav,,999999999", for_training=False)
def test_any_text_is_clips_or_one_line_of_error(place: Path, text: str, for_training: bool) -> None:
    assert is_read_or_refused(place / "any.csv", text.encode(), for_training)


@given(content=st.binary())
def test_any_bytes_are_clips_or_one_line_of_error(place: Path, content: bytes) -> None:
    assert is_read_or_refused(place / "any.csv", content, False)


def is_read_or_refused(table: Path, content: bytes, for_training: bool) -> bool:
    table.write_bytes(content)
    try:
        clips = read_clips(table, for_training=for_training)
    except DatasetError as error:
        return len(str(error).splitlines()) == 1
    return len(clips) > 0 and all(clip.path.is_file() for clip in clips)
