"""The interactive chart holds what the lanes hold, and Bokeh's own code."""

import re

import numpy as np
import pytest

from mien.chart import layout
from mien.expressions import EXPRESSIONS
from mien.lanes import Lanes, Persons
from mien.panels import DASHES, HATCHES, _source, embed
from some_rows import clip, leaning, row


def lanes_of(rows):
    lanes, persons = Lanes(), Persons()
    for each in rows:
        lanes.add(each)
        persons.add(each)
    _, drawn, edges = layout(lanes, persons.close())
    return drawn, edges


def test_a_panel_for_each_lane_and_no_address_of_another_host():
    drawn, edges = lanes_of(clip(4.0))
    chart = embed(drawn, edges)
    assert len(chart.ids["heads"]) == len(drawn) == 3
    assert len(chart.ids["stacked"]) == len(chart.ids["lines"]) == 3 * len(EXPRESSIONS)
    assert all(f'"{each}"' in chart.data for ids in chart.ids.values() for each in ids)
    assert len(chart.code) < 1_500_000, "Bokeh's other parts, such as MathJax, are not needed"
    assert not re.findall(r"<script[^>]+src", chart.code + chart.data + chart.place)


def test_columns_are_those_in_which_somebody_is_there():
    rows = [row(t / 10, 1 if not 20 <= t < 30 else None, leaning("Fear"), frame=t) for t in range(40)]
    (lane, *_), edges = lanes_of(rows)
    data = _source(lane, edges).data
    assert not ((data["middle"] > 2.1) & (data["middle"] < 2.9)).any()
    np.testing.assert_allclose(sum(data[f"p_{name}"] for name in EXPRESSIONS), 1, atol=1e-5)
    assert {each.dtype for name, each in data.items() if name not in ("clock", "label")} == {
        np.dtype("float32")
    }
    assert set(data["label"]) == {"Fear"}
    assert data["clock"][0] == "0.00 s"


def test_every_expression_has_a_pattern_and_a_dash():
    assert set(HATCHES) == set(DASHES) == set(EXPRESSIONS)


@pytest.mark.parametrize("rows", [[], [row(0.0, 1, leaning("Fear"))], [row(0.0, None, frame=0)]])
def test_little_or_nothing_is_drawn_all_the_same(rows):
    drawn, edges = lanes_of(rows)
    assert embed(drawn, edges).data
