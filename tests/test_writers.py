"""Each format read back by the reader people use for it."""

import csv
import json
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from media_files import four_corners, write_still
from mien.errors import MissingExtraError
from mien.expressions import EXPRESSIONS
from mien.lanes import Persons
from mien.pipeline import Analysis
from mien.spans import Span
from mien.table import COLUMNS, SCHEMA_VERSION, SEGMENT_COLUMNS
from mien.timeline import FLAGS, Segment
from mien.whole import Asides
from mien.writers import WRITERS
from some_rows import clip, leaning, row

PROVENANCE = {
    "file": 'a <b> & "c" \udce9.mp4',
    "model": "mien-av 1.0",
    "mien": "0.1.0",
    "weights": {"sha256": "00"},
}
SEGMENTS = (
    Segment(span=Span(0.0, 2.0), track_id=1, label="Happiness", probability=0.72),
    Segment(span=Span(2.0, 10 / 3), track_id=None, label="Anger", probability=0.6),
)


def written(tmp_path, name, rows=None, segments=SEGMENTS):
    """The file that one writer makes of a clip."""
    asides, persons = Asides(tmp_path), Persons()
    writer = WRITERS[name](asides)
    for each in clip(4.0) if rows is None else rows:
        writer.write_row(each)
        persons.add(each)
    for each in segments:
        writer.write_segment(each)
    writer.close(PROVENANCE, persons.close())
    asides.keep([writer.file_name], [])
    asides.remove()
    assert [each.name for each in tmp_path.iterdir()] == [writer.file_name]
    return tmp_path / writer.file_name


def test_rows_csv_reads_back(tmp_path):
    path = written(tmp_path, "csv")
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, strict=True))
    rows = list(clip(4.0))
    assert b"\r" not in path.read_bytes()
    assert len(table) == len(rows)
    assert list(table[0]) == list(COLUMNS)
    for cells, each in zip(table, rows, strict=True):
        assert float(cells["time_s"]) == pytest.approx(each.time, abs=1e-6)
        assert cells["track_id"] == ("" if each.track_id is None else str(each.track_id))
        assert (cells["label"] or None, cells["source"]) == (each.label, each.source)
        assert {flag for flag in FLAGS if cells[flag] == "1"} == each.flags
        if each.probs is None:
            assert {cells[f"p_{name}"] for name in EXPRESSIONS} == {""}
        else:
            assert [float(cells[f"p_{name}"]) for name in EXPRESSIONS] == pytest.approx(
                each.probs.tolist(), abs=1e-5
            )


def test_parquet_is_the_csv_with_types(tmp_path):
    polars = pytest.importorskip("polars", reason="needs the extra [table]")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    table = polars.read_parquet(written(tmp_path / "a", "parquet"))
    text = polars.read_csv(written(tmp_path / "b", "csv"), infer_schema_length=None)
    assert table.columns == text.columns == list(COLUMNS)
    assert (table["frame"].dtype, table["time_s"].dtype) == (polars.Int64, polars.Float64)
    assert {table[flag].dtype for flag in FLAGS} == {polars.UInt8}
    for name in COLUMNS:
        assert table[name].null_count() == text[name].null_count()
        if text[name].dtype == polars.String:
            assert table[name].to_list() == text[name].to_list()
        else:
            left, right = (each[name].cast(polars.Float64).fill_null(-1).to_numpy() for each in (table, text))
            np.testing.assert_allclose(left, right, atol=1e-6)


def test_parquet_says_where_it_comes_from(tmp_path):
    polars = pytest.importorskip("polars", reason="needs the extra [table]")
    told = polars.read_parquet_metadata(written(tmp_path, "parquet"))
    assert told["schema_version"] == SCHEMA_VERSION
    assert json.loads(told["provenance"]) == PROVENANCE


def test_parquet_of_no_rows(tmp_path):
    polars = pytest.importorskip("polars", reason="needs the extra [table]")
    assert polars.read_parquet(written(tmp_path, "parquet", rows=[])).shape == (0, len(COLUMNS))


def test_segments_csv_reads_back(tmp_path):
    with written(tmp_path, "segments").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file, strict=True))
    assert table == [
        list(SEGMENT_COLUMNS),
        ["1", "0.000000", "2.000000", "2.000000", "Happiness", "0.72000"],
        ["", "2.000000", "3.333333", "1.333333", "Anger", "0.60000"],
    ]


FROZEN_JSON = {
    "1.0": (
        "schema_version expressions columns rows segments persons provenance",
        "track_id start_s end_s duration_s label probability",
        "track_id first_s last_s frames seconds labels dominant",
    )
}
FROZEN_JSON["1.1"] = FROZEN_JSON["1.2"] = FROZEN_JSON["1.0"]  # they changed provenance alone
FROZEN_JSON["1.4"] = FROZEN_JSON["1.3"] = FROZEN_JSON["1.2"]  # they added a column of the rows
"""Keys of the file, of a segment and of a person in each version of the schema."""


def test_json_reads_back(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    timeline = json.loads(written(tmp_path, "json").read_bytes(), parse_constant=refuse)
    keys = (" ".join(timeline), " ".join(timeline["segments"][0]), " ".join(timeline["persons"][0]))
    assert keys == FROZEN_JSON[SCHEMA_VERSION], (
        "the JSON changed: raise SCHEMA_VERSION, add its keys to FROZEN_JSON, and say so in CHANGELOG.md"
    )
    assert timeline["schema_version"] == SCHEMA_VERSION
    assert timeline["expressions"] == list(EXPRESSIONS)
    assert {each["name"]: each["meaning"] for each in timeline["columns"]} == dict(COLUMNS)
    assert timeline["provenance"] == PROVENANCE
    rows = list(clip(4.0))
    assert len(timeline["rows"]) == len(rows)
    assert {len(each) for each in timeline["rows"]} == {len(COLUMNS)}
    last = dict(zip(COLUMNS, timeline["rows"][-1], strict=True))
    assert (last["frame"], last["track_id"], last["label"], last["no_face"]) == (99, None, None, 1)
    assert list(timeline["segments"][0]) == list(SEGMENT_COLUMNS)
    assert timeline["segments"][1]["track_id"] is None
    assert timeline["persons"][0] == {
        "track_id": 1,
        "first_s": 0.0,
        "last_s": 3.56,
        "frames": 90,
        "seconds": 3.6,
        "labels": {
            "Happiness": {"seconds": 2.0, "share": 0.55556},
            "Sadness": {"seconds": 1.6, "share": 0.44444},
        },
        "dominant": "Happiness",
    }


FROZEN_PROVENANCE = {
    "1.0": {
        "": (
            "mien model weights_sha256 reading timeline file file_sha256 "
            "duration_s width_px height_px fps frames missing_s has_video has_sound"
        ),
        "reading": "model voice sample_hz n_threads",
        "timeline": (
            "smooth max_gap voice_weight face_weight speaker low_confidence "
            "onset offset min_duration_on min_duration_off"
        ),
    }
}
FROZEN_PROVENANCE["1.1"] = FROZEN_PROVENANCE["1.0"] | {
    "timeline": (
        "smooth max_gap fusion voice_weight face_weight speaker low_confidence "
        "onset offset min_duration_on min_duration_off"
    )
}
FROZEN_PROVENANCE["1.2"] = FROZEN_PROVENANCE["1.1"] | {
    "reading": "model voice sample_hz n_threads start end region min_face_px boxes"
}
FROZEN_PROVENANCE["1.3"] = FROZEN_PROVENANCE["1.2"] | {
    "timeline": (
        "smooth causal max_gap fusion voice_weight face_weight speaker low_confidence "
        "onset offset min_duration_on min_duration_off"
    )
}
FROZEN_PROVENANCE["1.4"] = FROZEN_PROVENANCE["1.3"]
"""Keys of the JSON's provenance, and of the settings in it, in each version of the schema."""


def test_provenance_has_the_keys_that_its_schema_promises(tmp_path):
    told = Analysis(write_still(tmp_path / "still.png", four_corners())).provenance()
    nested = {name: each for name, each in told.items() if isinstance(each, dict)}
    del nested["weights_sha256"]  # by name of file: those of the model that were opened
    keys = {name: " ".join(each) for name, each in {"": told, **nested}.items()}
    assert keys == FROZEN_PROVENANCE[SCHEMA_VERSION], (
        "the provenance changed: raise SCHEMA_VERSION, add its keys to FROZEN_PROVENANCE, and say so in "
        "CHANGELOG.md"
    )


def test_json_of_nothing_is_valid(tmp_path):
    timeline = json.loads(written(tmp_path, "json", rows=[], segments=[]).read_bytes())
    assert timeline["rows"] == timeline["segments"] == timeline["persons"] == []


def test_svg_is_titled_with_the_name_of_the_file(tmp_path):
    root = ET.parse(written(tmp_path, "svg")).getroot()
    assert root.findtext("{http://www.w3.org/2000/svg}title") == 'a <b> & "c" \ufffd.mp4'


def test_png_is_one(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra [plot]")
    assert written(tmp_path, "png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"parquet", "png", "srt", "video"}))
def test_text_formats_of_a_still_and_of_nobody(tmp_path, name):
    for folder, each in (("still", row(0.0, 1, leaning("Fear"))), ("nobody", row(0.0, None))):
        (tmp_path / folder).mkdir()
        assert written(tmp_path / folder, name, [each], []).stat().st_size


@pytest.mark.parametrize(
    "name, package, extra", [("parquet", "polars", "table"), ("png", "matplotlib", "plot")]
)
def test_a_missing_extra_is_said_before_the_work(tmp_path, monkeypatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"timeline\.{name} needs the extra \[{extra}\]"):
        WRITERS[name](Asides(tmp_path))
    assert list(tmp_path.iterdir()) == []
