"""Submissions to the Aff-Wild2 expression challenge: files in, what they answer and what is wrong out.

The challenge gives an example, in one of two forms, and a submission is of the same form:

- a list: `HEADER`, then `<video>/<frame, five digits>.jpg,<class>` for every frame that wants an answer;
- a folder (editions 1 and 2): `<video>.txt` with the names of the classes, then a class for each frame.

A class is counted from 0, in the order of `EXPRESSIONS`. It is the one place where a class is a number
outside this package, because the challenge demands it.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jaxtyping import Int64, UInt8

HEADER = ",".join(("image_location", *EXPRESSIONS))
"""First line of a list."""

IMAGE = re.compile(r"([^/]+)/(?!00000)([0-9]{5})\.jpg")

MOST_TOLD = 3
"""Lines that are shown of each kind of fault."""

_FRAME_BITS = 32
"""A line's key is the number of its video, then, in so many bits, its frame's."""


@dataclass(slots=True)
class Fault:
    """One kind of fault: how often it occurs, and where first."""

    what: str
    count: int = 0
    first: list[str] = field(default_factory=list)

    def note(self, where: str) -> None:
        """Counts one more."""
        self.count += 1
        if self.count <= MOST_TOLD:
            self.first.append(where)

    def __str__(self) -> str:
        more = ", …" if self.count > MOST_TOLD else ""
        return f"{self.what}: {self.count} ({', '.join(self.first)}{more})"


class Example:
    """What the challenge wants answered: frames of videos, in an order; 24 bytes for each.

    Args:
        videos: Names, each once.
        keys: Of each line, as `key_of` makes them.
        classes: Names, in the order in which answers count them; the first editions had no Other.
        is_folder: The form is that of editions 1 and 2.
    """

    def __init__(
        self,
        videos: tuple[str, ...],
        keys: Int64[np.ndarray, "lines"],
        classes: tuple[str, ...],
        *,
        is_folder: bool,
    ) -> None:
        self.videos = videos
        self.classes = classes
        self.is_folder = is_folder
        self._keys = keys
        self._order = np.argsort(keys, kind="stable")
        self._rising = keys[self._order]
        self._numbers = {video: number for number, video in enumerate(videos)}

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def header(self) -> str:
        """First line of each of its files."""
        return ",".join(self.classes if self.is_folder else ("image_location", *self.classes))

    def repeated(self) -> int | None:
        """Place of the first line that names a frame once more."""
        again = self._order[1:][self._rising[1:] == self._rising[:-1]]
        return int(again.min()) if len(again) else None

    def image(self, place: int) -> str:
        """Name of the image at a place."""
        key = int(self._keys[place])
        return f"{self.videos[key >> _FRAME_BITS]}/{key & (1 << _FRAME_BITS) - 1:05d}.jpg"

    def place(self, image: str, expected: int = 0) -> int | None:
        """Where an image stands; None where it does not. It is looked for at the place expected first."""
        parts = IMAGE.fullmatch(image)
        number = self._numbers.get(parts[1]) if parts else None
        if parts is None or number is None:
            return None
        key = key_of(number, int(parts[2]))
        if expected < len(self) and self._keys[expected] == key:
            return expected
        found = int(np.searchsorted(self._rising, key))
        there = found < len(self) and self._rising[found] == key
        return int(self._order[found]) if there else None

    def by_video(self) -> Iterator[tuple[str, Int64[np.ndarray, "lines"], Int64[np.ndarray, "lines"]]]:
        """Each video with its frames, rising, and the places of their lines."""
        ends = np.searchsorted(self._rising, [key_of(n + 1, 0) for n in range(len(self.videos))])
        for n, video in enumerate(self.videos):
            part = slice(ends[n - 1] if n else 0, ends[n])
            yield video, self._rising[part] & (1 << _FRAME_BITS) - 1, self._order[part]


def key_of(number: int, frame: int) -> int:
    """One number for a frame of a video, which sorts by video, then by frame."""
    return number << _FRAME_BITS | frame


def read_example(example: Path) -> Example:
    """What an example, a list or a folder, wants answered; what it answers itself is of no matter.

    Raises:
        DatasetError: It is absent, not text, without images, or names one twice.
    """
    return _read_folder(example) if example.is_dir() else _read_list(example)


def check_submission(file: Path, example: Path) -> tuple[int, list[Fault]]:
    """How many lines a submission has under its header, and what is wrong with them.

    Args:
        file: The submission, of the example's form.
        example: The challenge's example, whatever stands behind the image.

    Raises:
        DatasetError: A file is absent or not text, or the example is not of its form.
    """
    return find_faults(file, read_example(example))


def find_faults(file: Path, example: Example) -> tuple[int, list[Fault]]:
    """Like `check_submission`, for an example that was read.

    Raises:
        DatasetError: The submission is absent or not text.
    """
    indices = [str(index) for index in range(len(example.classes))]
    header = Fault(f"header is not {example.header!r}")
    form = Fault("not of the form <class>" if example.is_folder else "not of the form <image>,<class>")
    outside = Fault(f"class is none of 0 to {indices[-1]}")
    unknown = Fault("image is not in the example list")
    twice = Fault("image was answered before")
    missing = Fault("image of the example list without an answer")
    order = Fault("image comes after one that it stands before in the example list")
    blemish = Fault("line has a byte order mark, blanks at its end, another end than \\n, or nothing in it")
    answered = np.zeros(len(example), np.bool_)
    n_lines, expected = 0, 0
    for where, line, image, answer in _read_answers(file, example, header):
        n_lines += 1
        if answer not in indices:
            if answer.isascii() and answer.isdigit():
                outside.note(f"{where}: {answer[:12]}")
            else:
                form.note(f"{where}: {line[:60]!r}")
        place = example.place(image, expected)
        if place is None:
            unknown.note(f"{where}: {image[:60]!r}")
        elif answered[place]:
            twice.note(f"{where}: {image}")
        else:
            if place < expected:
                order.note(f"{where}: {image}")
            answered[place] = True
            expected = place + 1
    for path in _texts(file) if example.is_folder else [file]:
        _note_blemishes(path, f"{path.name} line" if example.is_folder else "line", blemish)
    for unanswered in np.flatnonzero(~answered).tolist():
        missing.note(example.image(unanswered))
    faults = (header, blemish, form, outside, unknown, twice, missing, order)
    return n_lines, [fault for fault in faults if fault.count]


def write_submission(path: Path, example: Example, answers: UInt8[np.ndarray, "lines"]) -> None:
    """Writes a file, or a folder, that answers each line of an example in its form.

    Args:
        path: Nothing is there yet.
        example: Says which line is of which image.
        answers: A class for each line, counted in the order of `example.classes`.
    """
    if not example.is_folder:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(f"{example.header}\n")
            file.writelines(f"{example.image(place)},{answer}\n" for place, answer in enumerate(answers))
        return
    path.mkdir()
    for video, _, places in example.by_video():
        lines = (example.header, *map(str, answers[places]), "")
        (path / f"{video}.txt").write_text("\n".join(lines), encoding="utf-8", newline="\n")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file with their numbers, from 1; an empty line at the end does not count.

    Raises:
        DatasetError: The file is absent or not text.
    """
    try:
        with path.open(encoding="utf-8-sig") as text:
            empty = 0
            for number, line in enumerate(text, 1):
                line = line.rstrip()
                if not line:
                    empty += 1
                    continue
                for skipped in range(number - empty, number):
                    yield skipped, ""
                empty = 0
                yield number, line
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise DatasetError(f"{path} cannot be read: {reason}; name a text file") from None


def _read_answers(file: Path, example: Example, header: Fault) -> Iterator[tuple[str, str, str, str]]:
    """Where each line stands, the line, and its image and answer; headers that are not right are noted."""
    if example.is_folder and not file.is_dir():
        raise DatasetError(f"{file} is no folder, and the example is; give the folder with a .txt a video")
    for path in _texts(file) if example.is_folder else [file]:
        where = f"{path.name} line" if example.is_folder else "line"
        number = 0
        for number, line in read_lines(path):
            if number == 1:
                if line != example.header:
                    header.note(f"{where} 1: {line[:60]!r}")
            elif example.is_folder:
                yield f"{where} {number}", line, f"{path.stem}/{number - 1:05d}.jpg", line
            else:
                image, _, answer = line.partition(",")
                yield f"{where} {number}", line, image, answer
        if number == 0:
            header.note(f"{where} 1: ''")


def _note_blemishes(path: Path, where: str, blemish: Fault) -> None:
    """Notes what one reader of text forgives and another may not; a line may end as on Windows, too."""
    number, empty = 0, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            body = line.removesuffix(b"\n").removesuffix(b"\r")
            empty = 0 if body.strip() else empty + 1
            if body.strip() != body or b"\r" in body or (number == 1 and body.startswith(BOM_UTF8)):
                blemish.note(f"{where} {number}")
    for after in range(number - empty + 1, number + 1) if empty < number else ():
        blemish.note(f"{where} {after}")


def _read_list(path: Path) -> Example:
    numbers: dict[str, int] = {}
    keys: list[int] = []
    blocks: list[Int64[np.ndarray, "lines"]] = []
    n_headers = 0
    for number, line in read_lines(path):
        image = line.partition(",")[0]
        if number == 1 and image == "image_location":
            if line not in (HEADER, image):
                raise DatasetError(
                    f"{path} line 1: {line[:80]!r}; expected {HEADER}, in this order; give the challenge's "
                    "example list"
                )
            n_headers = 1
            continue
        parts = IMAGE.fullmatch(image)
        if parts is None:
            raise DatasetError(
                f"{path} line {number}: {image[:60]!r} is no image; expected <video>/00001.jpg and the like; "
                "give the challenge's example list"
            )
        keys.append(key_of(numbers.setdefault(parts[1], len(numbers)), int(parts[2])))
        if len(keys) == 1 << 16:  # as plain numbers they take four times the room
            blocks.append(np.array(keys))
            keys.clear()
    blocks.append(np.array(keys, np.int64))
    example = Example(tuple(numbers), np.concatenate(blocks), EXPRESSIONS, is_folder=False)
    if not len(example):
        raise DatasetError(f"{path} names no image; give the challenge's example list")
    again = example.repeated()
    if again is not None:
        raise DatasetError(
            f"{path} line {again + n_headers + 1}: {example.image(again)!r} is named twice; "
            "give the challenge's example list"
        )
    return example


def _read_folder(folder: Path) -> Example:
    videos: list[str] = []
    blocks: list[Int64[np.ndarray, "lines"]] = []
    classes: tuple[str, ...] = EXPRESSIONS
    for number, path in enumerate(_texts(folder)):
        lines = [line for _, line in read_lines(path)]
        names = tuple(lines[0].split(",")) if lines else ()
        if names not in (EXPRESSIONS, EXPRESSIONS[:-1]) or (number and names != classes):
            raise DatasetError(
                f"{path} line 1: {','.join(names)[:80]!r}; expected {','.join(EXPRESSIONS)}, with or without "
                "Other, the same in every file"
            )
        classes = names
        videos.append(path.stem)
        blocks.append(key_of(number, 0) + np.arange(1, len(lines)))
    if not sum(map(len, blocks)):
        raise DatasetError(f"{folder} wants no answers; give the challenge's example, a .txt for each video")
    return Example(tuple(videos), np.concatenate(blocks), classes, is_folder=True)


def _texts(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.txt"))
