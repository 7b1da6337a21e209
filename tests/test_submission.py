"""Submissions: complete ones pass, and every kind of fault is counted and shown where it stands."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS
from mien.submission import HEADER, MOST_TOLD, check_submission, read_example, write_submission

IMAGES = [f"{video}/{frame:05d}.jpg" for video in ("1-30-1280x720", "video12_left") for frame in (1, 2, 5)]


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return write(tmp_path / "example.txt", *(f"{image},0" for image in IMAGES))


def faults(file: Path, example: Path) -> list[str]:
    return [str(fault) for fault in check_submission(file, example)[1]]


def answers() -> list[str]:
    return [f"{image},{k % 8}" for k, image in enumerate(IMAGES)]


def test_a_complete_one_has_no_faults(example: Path, tmp_path: Path) -> None:
    assert check_submission(write(tmp_path / "mine.txt", *answers()), example) == (6, [])
    windows = tmp_path / "windows.txt"
    windows.write_bytes("\r\n".join((HEADER, *answers(), "")).encode())
    assert check_submission(windows, example) == (6, [])


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("\ufeff" + "\n".join((HEADER, *answers(), "")), "1 (line 1)"),
        ("\r".join((HEADER, *answers(), "")), "1 (line 1)"),
        (" \n".join((HEADER, *answers(), "")), "7 (line 1, line 2, line 3, …)"),
        ("\n".join((HEADER, *answers(), "", "")), "1 (line 8)"),
    ],
)
def test_what_only_some_readers_forgive_is_a_fault(
    content: str, where: str, example: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_bytes(content.encode())
    (told,) = faults(mine, example)
    assert told.startswith("line has a byte order mark, blanks")
    assert told.endswith(f": {where}")


def test_the_example_s_form_may_be_bare(tmp_path: Path) -> None:
    bare = tmp_path / "bare.txt"
    bare.write_text("\n".join(IMAGES))
    assert check_submission(write(tmp_path / "mine.txt", *answers()), bare) == (6, [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:-1], "without an answer: 1 (video12_left/00005.jpg)"),
        (lambda lines: [*lines, lines[0]], "answered before: 1 (line 8: 1-30-1280x720/00001.jpg)"),
        (
            lambda lines: [lines[1], lines[0], *lines[2:]],
            "after one that it stands before in the example list: 1",
        ),
        (lambda lines: [lines[0][:-1] + "8", *lines[1:]], "none of 0 to 7: 1 (line 2: 8)"),
        (lambda lines: [lines[0][:-1] + "01", *lines[1:]], "none of 0 to 7: 1 (line 2: 01)"),
        (lambda lines: [lines[0][:-1] + 5000 * "9", *lines[1:]], "none of 0 to 7: 1 (line 2: 999999999999)"),
        (lambda lines: [lines[0][:-1] + "-1", *lines[1:]], "not of the form <image>,<class>: 1"),
        (lambda lines: [lines[0][:-1] + " 1", *lines[1:]], "not of the form <image>,<class>: 1"),
        (lambda lines: [" " + lines[0], *lines[1:]], "not in the example list: 1 (line 2:"),
        (lambda lines: [lines[0][:-1] + "1.0", *lines[1:]], "not of the form"),
        (lambda lines: [lines[0][:-1] + "²", *lines[1:]], "not of the form"),
        (lambda lines: [lines[0][:-2], *lines[1:]], "not of the form"),
        (lambda lines: [lines[0], "", *lines[1:]], "not of the form"),
        (lambda lines: [*lines, "1-30-1280x720/00003.jpg,1"], "not in the example list: 1 (line 8:"),
    ],
)
def test_each_fault_is_found_where_it_stands(change, told: str, example: Path, tmp_path: Path) -> None:
    assert told in " | ".join(faults(write(tmp_path / "mine.txt", *change(answers())), example))


def test_lines_that_lack_are_told_and_the_others_stand_where_they_should(
    example: Path, tmp_path: Path
) -> None:
    (told,) = faults(write(tmp_path / "mine.txt", *answers()[:2], *answers()[4:]), example)
    assert "without an answer: 2" in told


def test_an_example_of_another_class_order_is_refused(tmp_path: Path) -> None:
    swapped = HEADER.replace("Anger,Disgust", "Disgust,Anger")
    example = write(tmp_path / "example.txt", *answers(), header=swapped)
    with pytest.raises(DatasetError, match=r"line 1: .*expected image_location,Neutral,Anger"):
        check_submission(write(tmp_path / "mine.txt", *answers()), example)


def test_a_header_in_another_order_is_a_fault(example: Path, tmp_path: Path) -> None:
    swapped = HEADER.replace("Anger,Disgust", "Disgust,Anger")
    (told,) = faults(write(tmp_path / "mine.txt", *answers(), header=swapped), example)
    assert told.startswith("header is not")
    headless = tmp_path / "headless.txt"
    headless.write_text("\n".join(answers()))
    assert "header is not" in faults(headless, example)[0]


def test_many_faults_are_counted_and_few_shown(tmp_path: Path) -> None:
    images = [f"a/{frame:05d}.jpg" for frame in range(1, 101)]
    example = write(tmp_path / "example.txt", *images)
    (told,) = faults(write(tmp_path / "mine.txt", *(f"{image},9" for image in images)), example)
    assert "100" in told
    assert told.count("line") == MOST_TOLD


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_whatever_the_file_holds_it_is_judged_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
):
    folder = tmp_path_factory.mktemp("any")
    example = write(folder / "example.txt", *IMAGES)
    (folder / "mine.txt").write_bytes(content)
    with suppress(DatasetError):
        assert check_submission(folder / "mine.txt", example)[1], "it answers nothing"


@pytest.mark.parametrize(
    ("ending", "last"),
    [("\n", "\n"), ("\n", ""), ("\r\n", "\r\n"), ("\r\n", ""), (" \n", " "), ("\t\r\n", "\n\n")],
)
def test_how_lines_of_the_example_end_is_of_no_matter(
    ending: str, last: str, example: Path, tmp_path: Path
) -> None:
    mine = write(tmp_path / "mine.txt", *answers())
    example.write_bytes((ending.join(("image_location", *IMAGES)) + last).encode())
    assert check_submission(mine, example) == (6, [])


@pytest.mark.parametrize("content", ["", "\n", HEADER, HEADER + "\r\n"])
def test_a_submission_without_lines_answers_nothing(content: str, example: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(content)
    n_lines, told = check_submission(tmp_path / "mine.txt", example)
    assert (n_lines, str(told[-1])[:54]) == (0, "image of the example list without an answer: 6 (1-30-1")
    assert [fault.what[:6] for fault in told[:-1]] == ([] if content.startswith(HEADER) else ["header"])


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([IMAGES[1], IMAGES[0], IMAGES[1]], r"line 4: '1-30-1280x720/00002\.jpg' is named twice"),
        (["a/00001.jpg", "a"], "line 3: 'a' is no image"),
        (["a/1.jpg"], "no image"),
        (["a/00000.jpg"], "no image"),
        (["../a/00001.jpg"], "no image"),
        (["a/00001.jpg", "", "a/00002.jpg"], "line 3: '' is no image"),
        ([], "names no"),
    ],
)
def test_an_example_list_of_another_form_is_refused(lines: list[str], match: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=match):
        check_submission(tmp_path / "mine.txt", write(tmp_path / "example.txt", *lines))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 99_999)), min_size=1, max_size=30, unique=True),
    st.data(),
)
@settings(deadline=None)
def test_every_image_is_found_where_it_stands(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[str, int]], data: st.DataObject
) -> None:
    images = [f"{video}/{frame:05d}.jpg" for video, frame in frames]
    folder = tmp_path_factory.mktemp("any")
    example = read_example(write(folder / "example.txt", *images))
    assert [example.image(place) for place in range(len(example))] == images
    expected = data.draw(st.integers(0, len(images)))
    assert [example.place(image, expected) for image in images] == list(range(len(images)))
    assert example.place("d/00001.jpg") is None
    seen = {}
    for video, numbers, places in example.by_video():
        assert numbers.tolist() == sorted(numbers.tolist())
        seen |= {
            place: (video, frame) for frame, place in zip(numbers.tolist(), places.tolist(), strict=True)
        }
    assert [seen[place] for place in range(len(frames))] == frames
    write_submission(folder / "mine.txt", example, np.arange(len(images)).astype(np.uint8) % 8)
    assert check_submission(folder / "mine.txt", folder / "example.txt") == (len(images), [])


def write_folder(folder: Path, classes: tuple[str, ...] = EXPRESSIONS[:7], **lines: str) -> Path:
    folder.mkdir()
    for video, text in lines.items():
        (folder / f"{video}.txt").write_text("\n".join((",".join(classes), *text)) + "\n")
    return folder


@pytest.mark.parametrize("classes", [EXPRESSIONS, EXPRESSIONS[:7]])
def test_a_folder_has_a_file_for_each_video(classes: tuple[str, ...], tmp_path: Path) -> None:
    example = write_folder(tmp_path / "example", classes, video1="000", video2_left="00")
    assert check_submission(
        write_folder(tmp_path / "mine", classes, video1="016", video2_left="33"), example
    ) == (
        5,
        [],
    )
    write_submission(tmp_path / "written", read_example(example), np.array([6, 0, 1, 2, 3], np.uint8))
    text = (tmp_path / "written" / "video2_left.txt").read_text()
    assert text == "\n".join((",".join(classes), "2", "3", ""))
    assert check_submission(tmp_path / "written", example) == (5, [])


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ({"a": "000"}, "without an answer: 2 (b/00001.jpg, b/00002.jpg)"),
        ({"a": "00", "b": "00"}, "without an answer: 1 (a/00003.jpg)"),
        ({"a": "0000", "b": "00"}, "not in the example list: 1 (a.txt line 5: 'a/00004.jpg')"),
        ({"a": "000", "b": "00", "c": "0"}, "not in the example list: 1 (c.txt line 2:"),
        ({"a": "000", "b": "07"}, "none of 0 to 6: 1 (b.txt line 3: 7)"),
        ({"a": "0-0", "b": "00"}, "not of the form <class>: 1 (a.txt line 3: '-')"),
    ],
)
def test_each_fault_in_a_folder_is_found(lines: dict[str, str], told: str, tmp_path: Path) -> None:
    example = write_folder(tmp_path / "example", a="000", b="00")
    assert told in " | ".join(faults(write_folder(tmp_path / "mine", **lines), example))


def test_a_folder_of_another_form_is_refused(tmp_path: Path) -> None:
    example = write_folder(tmp_path / "example", a="000")
    with pytest.raises(DatasetError, match="is no folder"):
        check_submission(write(tmp_path / "mine.txt"), example)
    (told,) = faults(write_folder(tmp_path / "mine", EXPRESSIONS, a="000"), example)
    assert told.startswith("header is not 'Neutral,")
    write_folder(tmp_path / "swapped", EXPRESSIONS[::-1], a="0")
    with pytest.raises(DatasetError, match=r"a\.txt line 1: 'Other,Surprise"):
        read_example(tmp_path / "swapped")
    (tmp_path / "example" / "b.txt").write_text(",".join(EXPRESSIONS))
    with pytest.raises(DatasetError, match=r"b\.txt line 1"):
        read_example(tmp_path / "example")
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match="wants no answers"):
        read_example(tmp_path / "none")


def test_files_that_are_not_there_are_named(example: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"mine\.txt cannot be read: No such file"):
        check_submission(tmp_path / "mine.txt", example)
