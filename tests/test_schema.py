"""The published schema admits what is written, and nothing that is not."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mien.schema import build_schema
from mien.table import COLUMNS
from test_writers import written

PUBLISHED = Path(__file__).parents[1] / "docs" / "timeline.schema.json"


def test_what_is_published_is_the_schema():
    Draft202012Validator.check_schema(build_schema())
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == build_schema(), (
        "run  python -m mien.schema > docs/timeline.schema.json"
    )


def test_a_report_is_as_the_schema_says(tmp_path):
    timeline = json.loads(written(tmp_path, "json").read_bytes())
    Draft202012Validator(build_schema()).validate(timeline)


@pytest.mark.parametrize("column, wrong", [("label", "Joy"), ("frame", -1), ("silent", 2), ("p_Fear", 1.5)])
def test_a_cell_that_is_none_is_refused(tmp_path, column, wrong):
    timeline = json.loads(written(tmp_path, "json").read_bytes())
    validator = Draft202012Validator(build_schema())
    spoilt = copy.deepcopy(timeline)
    spoilt["rows"][0][list(COLUMNS).index(column)] = wrong
    assert not validator.is_valid(spoilt)
    for key in timeline:
        lacking = {name: value for name, value in timeline.items() if name != key}
        assert not validator.is_valid(lacking)
    timeline["rows"][0].pop()
    assert not validator.is_valid(timeline)
