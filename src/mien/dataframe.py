"""Rows of one file or several in, one data frame out; pandas' home, extra [pandas]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError
from mien.expressions import EXPRESSIONS
from mien.table import COLUMNS
from mien.timeline import FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from mien.timeline import Row


def table_of(files: Iterable[tuple[str, Iterable[Row]]]) -> pd.DataFrame:
    """The rows of several files in one data frame, with a first column that names the file.

    Args:
        files: Each file's name and rows.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("a data frame", "pandas") from None
    columns: dict[str, list[Any]] = {"file": [], **{name: [] for name in COLUMNS}}
    for file, rows in files:
        for row in rows:
            columns["file"].append(file)
            for name, cell in zip(COLUMNS, _cells(row), strict=True):
                columns[name].append(cell)
    kinds: dict[str, str] = {"frame": "Int64", "track_id": "Int64", "time_s": "float64"}
    kinds |= dict.fromkeys(FLAGS, "uint8") | dict.fromkeys(("file", "label", "source"), "string")
    return pd.DataFrame(
        {name: pd.array(cells, kinds.get(name, "float32")) for name, cells in columns.items()}
    )


def _cells(row: Row) -> list[Any]:
    """A row in the order of `COLUMNS`; None, or among numbers NaN, where there is nothing."""
    nan = float("nan")
    eights = [
        [nan] * len(EXPRESSIONS) if probs is None else probs.tolist()
        for probs in (row.probs, row.face_probs, row.voice_probs)
    ]
    return [
        row.frame,
        row.time,
        row.track_id,
        *([nan] * 4 if row.box is None else row.box.tolist()),
        nan if row.confidence is None else row.confidence,
        *(p for eight in eights for p in eight),
        row.label,
        row.source,
        *(int(flag in row.flags) for flag in FLAGS),
    ]
