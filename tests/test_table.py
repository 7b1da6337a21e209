"""Rows as text: nothing lost beyond the decimals promised, and no change of columns without a word."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.expressions import EXPRESSIONS
from mien.faces import MAX_FACES
from mien.table import COLUMNS, SCHEMA_VERSION, SEGMENT_COLUMNS, RowText
from some_rows import leaning, row

CSV = RowText(absent="", quote="")
JSON = RowText(absent="null", quote='"')

FROZEN = {
    "1.0": (
        (
            "frame time_s track_id x1 y1 x2 y2 confidence "
            "p_Neutral p_Anger p_Disgust p_Fear p_Happiness p_Sadness p_Surprise p_Other "
            "face_Neutral face_Anger face_Disgust face_Fear face_Happiness face_Sadness face_Surprise "
            "face_Other voice_Neutral voice_Anger voice_Disgust voice_Fear voice_Happiness voice_Sadness "
            "voice_Surprise voice_Other label source no_face no_speech silent interpolated "
            "voice_unassigned low_confidence"
        ),
        "track_id start_s end_s duration_s label probability",
    )
}
FROZEN["1.1"] = FROZEN["1.2"] = FROZEN["1.0"]  # they changed the JSON's provenance alone
FROZEN["1.3"] = (f"{FROZEN['1.2'][0]} dropped", FROZEN["1.2"][1])
FROZEN["1.4"] = (f"{FROZEN['1.3'][0]} crowded", FROZEN["1.3"][1])
"""What each version of the schema promised; a version that was released is never edited."""


def test_columns_are_those_of_the_schema():
    assert (" ".join(COLUMNS), " ".join(SEGMENT_COLUMNS)) == FROZEN[SCHEMA_VERSION], (
        "the columns changed: raise SCHEMA_VERSION, add its columns to FROZEN, and say so in CHANGELOG.md"
    )


def test_changelog_names_the_schema():
    changelog = Path(__file__).parents[1] / "CHANGELOG.md"
    assert re.search(rf"\bschema {re.escape(SCHEMA_VERSION)}\b", changelog.read_text(encoding="utf-8"))


def test_every_column_has_a_meaning():
    assert all({**COLUMNS, **SEGMENT_COLUMNS}.values())
    assert f" {MAX_FACES} " in COLUMNS["crowded"]


def read_csv(text: str) -> dict[str, str]:
    (cells,) = csv.reader([text])
    return dict(zip(COLUMNS, cells, strict=True))


def test_a_row_of_a_face_and_a_voice():
    cells = read_csv(
        CSV(row(1 / 3, 7, leaning("Fear"), frame=12, voice=leaning("Other"), flags=("interpolated",)))
    )
    assert cells["frame"] == "12"
    assert cells["time_s"] == "0.333333"
    assert cells["track_id"] == "7"
    assert cells["confidence"] == "0.9877"
    assert [cells[name] for name in ("x1", "y1", "x2", "y2")] == ["10.0", "20.2", "110.0", "140.0"]
    assert cells["p_Fear"] == cells["face_Fear"] == cells["voice_Other"] == "0.72000"
    assert (cells["label"], cells["source"]) == ("Fear", "face")
    assert {name for name in COLUMNS if cells[name] == "1"} == {"interpolated"}


def test_what_is_absent_is_empty_and_null():
    nobody = row(0.0, None, frame=None)
    absent = [name for name in COLUMNS if name not in {"time_s", "source"} and "1: " not in COLUMNS[name]]
    cells = read_csv(CSV(nobody))
    values = dict(zip(COLUMNS, json.loads(f"[{JSON(nobody)}]"), strict=True))
    assert {cells[name] for name in absent} == {""}
    assert {values[name] for name in absent} == {None}
    assert (cells["source"], cells["no_face"], cells["silent"]) == ("none", "1", "0")


@given(
    time=st.floats(0, 1e6),
    weights=st.lists(st.floats(0.001, 1), min_size=8, max_size=8),
    frame=st.integers(0, 10**9),
)
def test_text_keeps_times_and_probabilities(time, weights, frame):
    probs = (np.array(weights) / sum(weights)).astype(np.float32)
    cells = read_csv(CSV(row(time, 1, probs, frame=frame)))
    values = dict(zip(COLUMNS, json.loads(f"[{JSON(row(time, 1, probs, frame=frame))}]"), strict=True))
    assert "e" not in cells["time_s"]
    assert abs(float(cells["time_s"]) - time) <= 6e-7
    assert int(cells["frame"]) == values["frame"] == frame
    written = [float(cells[f"p_{name}"]) for name in EXPRESSIONS]
    assert written == [values[f"p_{name}"] for name in EXPRESSIONS]
    assert written == pytest.approx(probs.tolist(), abs=6e-6)
    assert sum(written) == pytest.approx(1, abs=5e-5)


@pytest.mark.parametrize("text", [CSV, JSON], ids=["csv", "json"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_our_own_mistake(text, wrong):
    probs = leaning("Fear")
    probs[2] = wrong
    with pytest.raises(AssertionError, match="number in"):
        text(row(0.0, 1, probs))


def test_speed_of_a_row(benchmark):
    one = row(12.34, 3, leaning("Fear"), voice=leaning("Other"))
    benchmark(CSV, one)
