"""Lanes in, an interactive chart for a page out: Bokeh's home, extra [report].

Everything that the page needs is in what leaves, so that it opens without a network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.chart import COLOURS, LIGHT_INK, Drawn, clock
from mien.expressions import EXPRESSIONS

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource, LegendItem
    from bokeh.plotting import figure
    from jaxtyping import Float

HATCHES = {
    "Neutral": " ",
    "Anger": "/",
    "Disgust": "\\",
    "Fear": "x",
    "Happiness": ".",
    "Sadness": "-",
    "Surprise": "|",
    "Other": " ",
}
"""Patterns by which the areas are told apart without colour."""

DASHES = {
    "Neutral": "solid",
    "Anger": "dashed",
    "Disgust": "dotted",
    "Fear": "dotdash",
    "Happiness": "solid",
    "Sadness": "dashdot",
    "Surprise": "dashed",
    "Other": "dotted",
}
"""Of the lines, for the same end."""

PLACE = "panels"
"""Id of the element in which the chart appears."""

LINE_COLOURS = {"Neutral": "#777", "Other": "#aaa", "Happiness": "#a39600"}
"""Darker than the areas, as a thin line must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A chart in the parts that a page is made of."""

    code: str
    """Bokeh itself, in a script element."""
    place: str
    """The element in which the chart appears."""
    data: str
    """A script element that makes it appear."""
    ids: dict[str, list[str]]
    """Bokeh's ids of what can be shown and moved: `stacked` and `lines`, and `heads`, which mark a moment."""


def embed(lanes: Sequence[Drawn], edges: Float[np.ndarray, "edges"], *, is_still: bool = False) -> Embedded:
    """The chart of some lanes: a panel for each, all on one axis of time, which a single frame has not."""
    from bokeh.embed import json_item
    from bokeh.layouts import column
    from bokeh.models import CustomJS, CustomJSTickFormatter, Range1d, Span
    from bokeh.resources import Resources

    ids: dict[str, list[str]] = {"stacked": [], "lines": [], "heads": []}
    end = float(edges[-1])
    shared = Range1d(0, end, bounds=(0, end))
    seek = CustomJS(
        code="const film = document.getElementById('film'); if (film) film.currentTime = cb_obj.x;"
    )
    ticks = CustomJSTickFormatter(
        code="const m = Math.floor(tick / 60), s = tick - 60 * m;"
        "return m + ':' + (s < 10 ? '0' : '') + (Number.isInteger(s) ? s : s.toFixed(2));"
    )
    panels = []
    for number, lane in enumerate(lanes):
        panel = _panel(lane, edges, shared, ids, with_legend=number == 0)
        head = Span(location=0, dimension="height", line_color="#000", line_width=2, visible=False)
        panel.add_layout(head)
        ids["heads"].append(head.id)
        panel.js_on_event("tap", seek)
        panel.xaxis.formatter = ticks
        panel.xaxis.visible = number == len(lanes) - 1 and not is_still
        panels.append(panel)
    item = json_item(
        column(*panels, sizing_mode="stretch_width"), PLACE
    )  # unlike `components`, no chance in it
    told = json.dumps(item).replace("</", "<\\/")
    return Embedded(
        code=Resources(mode="inline", components=["bokeh"]).render_js(),
        place=f'<div id="{PLACE}"></div>',
        data=f"<script>Bokeh.embed.embed_item({told});</script>",
        ids=ids,
    )


def _panel(
    lane: Drawn,
    edges: Float[np.ndarray, "edges"],
    shared: Any,
    ids: dict[str, list[str]],
    *,
    with_legend: bool,
) -> figure:
    from bokeh.models import HoverTool, Legend
    from bokeh.plotting import figure

    panel = figure(
        height=150 + 70 * with_legend,
        x_range=shared,
        y_range=(-0.34, 1.02),
        title=" · ".join(filter(None, (lane.name, *lane.notes))),
        tools="xpan,xwheel_zoom,xbox_zoom,reset",
        toolbar_location="right" if with_legend else None,
        sizing_mode="stretch_width",
        min_border_left=48,
    )
    panel.toolbar.logo = None
    panel.yaxis.ticker = [0, 0.5, 1]
    panel.grid.visible = False
    panel.outline_line_color = "#bbb"
    place: dict[str, Any] = {
        "source": _source(lane, edges),
        "left": "start",
        "right": "end",
        "line_color": None,
    }
    areas = _areas(panel, place, ids)
    if with_legend:
        legend = Legend(items=areas, orientation="horizontal", border_line_color=None, padding=0)
        panel.add_layout(legend, "above")
    _marks(panel, lane, edges)
    _strip(panel, lane, edges)
    whole = panel.quad(**place, bottom=0, top=1, fill_alpha=0, hover_fill_alpha=0.12, hover_fill_color="#000")
    tips = [("time", "@clock"), ("shows", "@label"), *((name, f"@p_{name}{{0.00}}") for name in EXPRESSIONS)]
    panel.add_tools(HoverTool(renderers=[whole], tooltips=tips, point_policy="follow_mouse"))
    return panel


def _areas(panel: figure, place: dict[str, Any], ids: dict[str, list[str]]) -> list[LegendItem]:
    """The stacked areas, and in their place the lines, which are not visible at first."""
    from bokeh.models import LegendItem
    from bokeh.models.expressions import Stack

    items = []
    for number, name in enumerate(EXPRESSIONS):
        below, above = (Stack(fields=[f"p_{each}" for each in EXPRESSIONS[:n]]) for n in (number, number + 1))
        area = panel.quad(
            **place,
            bottom={"expr": below} if number else 0,
            top={"expr": above},
            fill_color=COLOURS[name],
            hatch_pattern=HATCHES[name],
            hatch_color="#000",
            hatch_alpha=0.2,
            hatch_scale=7,
        )
        line = panel.line(
            "middle",
            f"p_{name}",
            source=place["source"],
            color=LINE_COLOURS.get(name, COLOURS[name]),
            line_dash=DASHES[name],
            line_width=2,
            visible=False,
        )
        ids["stacked"].append(area.id)
        ids["lines"].append(line.id)
        items.append(LegendItem(label=name, renderers=[area]))
    return items


def _source(lane: Drawn, edges: Float[np.ndarray, "edges"]) -> ColumnDataSource:
    """A lane's columns in which somebody is present; single precision, which halves the file."""
    from bokeh.models import ColumnDataSource

    there = lane.columns.present
    starts, ends = edges[:-1][there], edges[1:][there]
    probs = lane.columns.probs[there]
    probs = probs / np.maximum(probs.sum(1, keepdims=True), 1e-9)
    data: dict[str, Any] = {
        "start": starts.astype(np.float32),
        "end": ends.astype(np.float32),
        "middle": ((starts + ends) / 2).astype(np.float32),
        "clock": [clock(start) if edges[-1] > 60 else f"{start:.2f} s" for start in starts.tolist()],
        "label": [EXPRESSIONS[k] for k in probs.argmax(1)],
    }
    data |= {f"p_{name}": probs[:, k].astype(np.float32) for k, name in enumerate(EXPRESSIONS)}
    return ColumnDataSource(data)


def _marks(panel: figure, lane: Drawn, edges: Float[np.ndarray, "edges"]) -> None:
    """Uncertain stretches pale, stretches without anybody in view hatched."""
    pale: dict[str, Any] = {"fill_alpha": 0.55}
    hatched: dict[str, Any] = {"hatch_pattern": "/", "hatch_color": "#999", "hatch_scale": 10}
    for where, look in ((lane.uncertain, pale), (lane.hatched, hatched)):
        look |= {"left": edges[:-1][where], "right": edges[1:][where], "fill_color": "#fff"}
        panel.quad(**look, bottom=0, top=1, line_color=None)


def _strip(panel: figure, lane: Drawn, edges: Float[np.ndarray, "edges"]) -> None:
    """Segments below the areas, with their labels where there is room."""
    runs: list[list[Any]] = []
    for label, start, end in zip(lane.columns.labels, edges[:-1], edges[1:], strict=True):
        if label and runs and runs[-1][0] == label and runs[-1][2] == start:
            runs[-1][2] = end
        elif label:
            runs.append([label, start, end])
    if not runs:
        return
    labels, starts, ends = zip(*runs, strict=True)
    panel.quad(
        left=list(starts),
        right=list(ends),
        bottom=-0.3,
        top=-0.04,
        fill_color=[COLOURS[label] for label in labels],
        line_color="#fff",
    )
    wide = [row for row in runs if row[2] - row[1] > 0.07 * edges[-1]]
    panel.text(
        x=[(start + end) / 2 for _, start, end in wide],
        y=[-0.17] * len(wide),
        text=[label for label, _, _ in wide],
        text_color=["#fff" if label in LIGHT_INK else "#111" for label, _, _ in wide],
        text_align="center",
        text_baseline="middle",
        text_font_size="11px",
    )
