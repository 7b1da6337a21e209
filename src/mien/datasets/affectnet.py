"""AffectNet's manually labelled part, in either of its two forms, as pictures.

    <root>/training.csv, validation.csv                     a row a face, in a picture that may show more
    <root>/Manually_Annotated_Images/<number>/<name>        each of the three may stand one folder deeper

    <root>/train_set/images/<id>.jpg                        the later form: face crops
    <root>/train_set/annotations/<id>_exp.npy               one code, a string or a number; val_set alike

Neutral and the six basic expressions are labels; contempt, none and uncertain become unlabelled pictures;
non-faces are dropped. The corpus' validation is scored; of its training a tenth is chosen on.
"""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mien.datasets.corpus import Picture, hold_out
from mien.errors import DatasetError
from mien.expressions import AFFECTNET
from mien.plain import read_array

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTS, IMAGES = {"val": "validation.csv", "train": "training.csv"}, "Manually_Annotated_Images"
FILE, *BOX = "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"
COLUMNS = (FILE, *BOX, "facial_landmarks", "expression", "valence", "arousal")

NON_FACE = "10"
CODES = (*AFFECTNET, "7", "8", "9", NON_FACE)  # between: contempt, none, uncertain


def read_affectnet(folder: Path, *, seed: int = 0) -> tuple[list[Picture], Counter[str]]:
    """The pictures, validation first, and how often something was skipped, by reason.

    Args:
        folder: Holds `train_set` and `val_set`, or else lists and pictures.
        seed: Decides which tenth of the training pictures is `choose`.

    Raises:
        DatasetError: Something is absent or not of its form, or no picture is left.
    """
    skipped: Counter[str] = Counter()
    read = _read_sets if (folder / "train_set").is_dir() else _read_lists
    pictures = list(read(folder, skipped))
    if not pictures:
        raise DatasetError(f"{folder}: none of the labelled pictures is there; fetch them")
    chosen = hold_out([str(each.path) for each in pictures if each.split == "train"], seed)
    return [replace(p, split="choose") if str(p.path) in chosen else p for p in pictures], +skipped


def _read_lists(folder: Path, skipped: Counter[str]) -> Iterator[Picture]:
    """The pictures of the earlier form."""
    images = _only(folder, IMAGES)
    there = {f"{path.parent.name}/{path.name}" for path in images.glob("*/*")}
    split_of: dict[str, str] = {}
    for split, name in LISTS.items():
        for where, row in _read_rows(_only(folder, name)):
            file, code = row[FILE], _checked(row["expression"].strip(), where)
            if code == NON_FACE:
                skipped["non-face"] += 1
            elif (box := _box(row, where)) is None:
                skipped["face box without area"] += 1
            elif file not in there:
                skipped["row whose picture is not there"] += 1
            elif split_of.setdefault(file, split) != split:
                skipped["training row of a validation picture"] += 1
            else:
                yield Picture(path=images / file, label=AFFECTNET.get(code), split=split, box=box)


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a list by the names of its columns, after its file and line."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, restval="")
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise DatasetError(f"{path.name} line 1: expected the columns {','.join(COLUMNS)}")
            for row in reader:
                line = reader.line_num
                yield f"{path.name} line {line}", row
    except (OSError, UnicodeDecodeError, csv.Error) as failure:
        raise DatasetError(f"{path.name} after line {line}: {failure}; fetch it again") from None


def _box(row: dict[str, str], where: str) -> tuple[float, float, float, float] | None:
    """The face's left, top, right and bottom; None where that is no area."""
    try:
        x, y, width, height = (float(row[name]) for name in BOX)
    except ValueError:
        x = y = width = height = math.nan
    if not math.isfinite(x + y + width + height):
        cells = ",".join(row[name] for name in BOX)
        raise DatasetError(f"{where}: {','.join(BOX)} are {cells[:99]!r}; expected four numbers")
    return (x, y, x + width, y + height) if min(width, height) > 0 else None


def _read_sets(folder: Path, skipped: Counter[str]) -> Iterator[Picture]:
    """The pictures of the later form."""
    for split in LISTS:
        images, annotations = (_only(folder / f"{split}_set", name) for name in ("images", "annotations"))
        there, annotated = _stems(images, ".jpg"), _stems(annotations, "_exp.npy")
        skipped["picture without annotation"] += len(there - annotated)
        skipped["annotation without picture"] += len(annotated - there)
        for stem in sorted(there & annotated):
            code = read_code(annotations / f"{stem}_exp.npy")
            if code == NON_FACE:
                skipped["non-face"] += 1
            else:
                yield Picture(path=images / f"{stem}.jpg", label=AFFECTNET.get(code), split=split)


def read_code(path: Path) -> str:
    """The code in an annotation of the later form, which is an array of one string or number.

    Raises:
        DatasetError: The file is damaged or holds something else; pickles are not opened.
    """
    where = "/".join(path.parts[-3:])
    try:
        code = str(read_array(path).item()).strip().removesuffix(".0")
    except Exception as failure:  # SystemError for letters that are none, among others
        reason = " ".join(str(failure).split())[:99]
        raise DatasetError(f"{where}: {reason}; expected one string or number, so fetch it again") from None
    return _checked(code, where)


def _checked(code: str, where: str) -> str:
    if code not in CODES:
        raise DatasetError(f"{where}: expression is {code[:40]!r}; expected 0 to {NON_FACE}")
    return code


def _stems(folder: Path, ending: str) -> set[str]:
    """What stands before an ending in the names of a folder's files."""
    names = (entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    return {name.removesuffix(ending) for name in names if name.endswith(ending)}


def _only(folder: Path, name: str) -> Path:
    """The one file or folder of a name, in a folder or one deeper."""
    found = [*folder.glob(name), *folder.glob(f"*/{name}")]
    if len(found) != 1:
        raise DatasetError(f"{folder}: has {len(found)} of {name}, at most a folder deeper; expected one")
    return found[0]
