"""Rows become a data frame with the types that people expect."""

import builtins

import pandas as pd
import pytest

from mien.dataframe import table_of
from mien.errors import MissingExtraError
from mien.table import COLUMNS
from mien.timeline import FLAGS
from some_rows import leaning, row


def test_types_are_those_of_the_table():
    rows = [row(0.0, 1, leaning("Fear"), frame=0), row(0.04, None, frame=1)]
    frame = table_of([("a.mp4", rows), ("b.mp4", rows[:1])])
    assert list(frame.columns) == ["file", *COLUMNS]
    assert frame["file"].tolist() == ["a.mp4", "a.mp4", "b.mp4"]
    assert (frame["track_id"].dtype, frame["time_s"].dtype, frame["p_Fear"].dtype) == (
        "Int64",
        "float64",
        "float32",
    )
    assert {str(frame[flag].dtype) for flag in FLAGS} == {"uint8"}
    assert pd.isna(frame["track_id"][1])
    assert pd.isna(frame["label"][1])
    assert frame.groupby("file")["p_Fear"].mean()["b.mp4"] == pytest.approx(0.72)


def test_of_no_rows_it_has_the_columns_all_the_same():
    frame = table_of([])
    assert (len(frame), list(frame.columns)) == (0, ["file", *COLUMNS])


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def refuse(name: str, *args, **options):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[pandas\]'"):
        table_of([])
