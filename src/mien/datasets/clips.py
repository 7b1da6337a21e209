"""Recordings of your own: a CSV table in, clips out; what does not fit is refused with its line.

The first line names the columns, in any order: `path` and `label`, and where wanted `start`, `end`, `speaker`
and `split`. Rows may be several stretches of one file. The text is UTF-8, with or without a byte order mark.
Cells stand apart by commas, or by semicolons, as Excel writes them in much of Europe, and then a number may
have a decimal comma. Spaces around a cell, columns without a name and empty rows do not count.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from mien.datasets.corpus import SPLITS, Clip, deal, refuse_shared_speakers
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REQUIRED = ("path", "label")
COLUMNS = (*REQUIRED, "start", "end", "speaker", "split")

SHARE = 0.1
"""Of the speakers, for `choose` and for `val` each, where the table names no splits."""

_NUMBER = re.compile(r"(\d{1,9}(\.\d*)?|\.\d+)(e-\d+)?", re.ASCII | re.IGNORECASE)


def read_clips(table: Path, *, for_training: bool, seed: int = 0) -> list[Clip]:
    """The clips that a CSV table names, in its order.

    Args:
        table: Paths in it are relative to its folder, or absolute. A label is one of `EXPRESSIONS`, to the
            letter; empty: not labelled. `start` and `end` are seconds, empty: from the file's start, to its
            end. Without the column `speaker` each file counts as its own.
        for_training: Without the column `split`, a tenth of the speakers is dealt to `choose`, a tenth to
            `val` and the others to `train`; for scoring, all is `val`.
        seed: Of that dealing.

    Raises:
        DatasetError: The table is absent or not of this form, a file is missing, a speaker or file stands in
            two splits (name the splits where speakers share files), or too few are there to be dealt out.
    """
    rows = _read_rows(table)
    clips = [_clip(where, cells, table.parent) for where, cells in rows.items()]
    try:
        if for_training and not any("split" in cells for cells in rows.values()):
            splits = deal((clip.speaker for clip in clips), choose=SHARE, val=SHARE, seed=seed)
            clips = [replace(clip, split=splits[clip.speaker]) for clip in clips]
        refuse_shared_speakers(clips)
    except DatasetError as error:
        raise DatasetError(f"{table.name}: {error}") from None
    return clips


def has_splits(table: Path) -> bool:
    """Whether a table that can be read says which split its rows belong to."""
    return any("split" in cells for cells in _read_rows(table).values())


def _read_rows(table: Path) -> dict[str, dict[str, str]]:
    """The rows under the column names, at least one: by file and line, each cell by its column."""
    text = _read_text(table)
    delimiter = ";" if ";" in re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader]
    except csv.Error as error:
        raise DatasetError(f"{table.name} line {reader.line_num}: {error}; mend that line") from None
    lines = [(number, line) for number, line in lines if any(line)]
    if not lines:
        raise DatasetError(f"{table.name} is empty; expected a line of column names and rows")
    (number, head), *lines = lines
    _check_head(head, f"{table.name} line {number}")
    if not lines:
        raise DatasetError(f"{table.name} has no rows under its column names; give one for each clip")
    rows = {}
    for number, line in lines:
        where = f"{table.name} line {number}"
        if len(line) != len(head):
            raise DatasetError(f"{where}: {len(line)} cells; expected {len(head)}, as in the first line")
        cells = {name: cell for name, cell in zip(head, line, strict=True) if name}
        if delimiter == ";":
            cells |= {name: cells[name].replace(",", ".") for name in ("start", "end") if name in cells}
        rows[where] = cells
    return rows


def _read_text(table: Path) -> str:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except OSError as error:
        raise DatasetError(f"{table} cannot be read: {error.strerror}; name a CSV file") from None
    except UnicodeDecodeError:
        raise DatasetError(f"{table} is not UTF-8; save it as 'CSV UTF-8'") from None


def _check_head(head: Sequence[str], where: str) -> None:
    for name, count in Counter(filter(None, head)).items():
        if name not in COLUMNS:
            raise DatasetError(f"{where}: column {name[:60]!r} is not known; {_expected(name, COLUMNS)}")
        if count > 1:
            raise DatasetError(f"{where}: column {name!r} is there {count} times; expected once")
    for name in REQUIRED:
        if name not in head:
            raise DatasetError(f"{where}: column {name!r} is not there; expected {' and '.join(REQUIRED)}")


def _clip(where: str, cells: dict[str, str], folder: Path) -> Clip:
    path = folder / cells["path"]
    if not _is_file(path):
        raise DatasetError(f"{where}: path is {cells['path'][:99]!r}; no such file is in {folder}")
    label = cells["label"]
    if label and label not in EXPRESSIONS:
        raise DatasetError(f"{where}: label is {label[:60]!r}; {_expected(label.capitalize(), EXPRESSIONS)}")
    start = _seconds(where, cells, "start") or 0.0
    end = _seconds(where, cells, "end")
    if end is not None and end <= start:
        raise DatasetError(f"{where}: end is {end:g}; expected more than the start, {start:g}")
    speaker = cells.get("speaker", os.path.relpath(path, folder))
    if not speaker:
        raise DatasetError(f"{where}: speaker is empty; name one in every row, or leave the column out")
    split = cells.get("split", "val")
    if split not in SPLITS:
        raise DatasetError(f"{where}: split is {split[:60]!r}; {_expected(split, SPLITS)}")
    return Clip(path=path, label=label or None, speaker=speaker, split=split, start=start, end=end)


def _seconds(where: str, cells: dict[str, str], column: str) -> float | None:
    """What a cell says; None where it is empty or not there."""
    cell = cells.get(column, "")
    if not cell:
        return None
    if not _NUMBER.fullmatch(cell):
        raise DatasetError(f"{where}: {column} is {cell[:60]!r}; expected seconds from 0, such as 2.5")
    return float(cell)


def _expected(name: str, names: Sequence[str]) -> str:
    """What was expected instead of a name, the nearest one first where one is near."""
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return "".join(f"nearest is {each!r}; " for each in near) + f"expected one of {', '.join(names)}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, or a folder that may not be read
        return False
