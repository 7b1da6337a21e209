"""Lanes of time bins in, the chart of `mien.chart` as a PNG out; the home of matplotlib (extra [plot])."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

import numpy as np

from mien.chart import COLOURS, labelled, layout, rest_of, runs, texts, tick, visible
from mien.expressions import EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.lanes import Lanes, Person


def png(lanes: Lanes, persons: Sequence[Person], *, title: str, caption: str) -> bytes:
    """The picture as a PNG file; needs matplotlib.

    Args:
        lanes: As for `svg`.
        persons: As for `svg`.
        title: As for `svg`.
        caption: As for `svg`.
    """
    from matplotlib.figure import Figure

    shown, drawn, edges = layout(lanes, persons)
    figure = Figure(figsize=(12, 1.4 + len(drawn)), dpi=100, layout="constrained")
    figure.suptitle(visible(title, 90), x=0.02, ha="left", weight="bold", parse_math=False)
    axes = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    x = np.repeat(edges, 2)[1:-1]
    for lane, axis in zip(drawn, axes, strict=True):
        axis.set(xlim=(0, edges[-1]), ylim=(-0.3, 1), yticks=[0, 1], facecolor="#f5f5f3")
        axis.set_ylabel("\n".join((lane.name, *lane.notes)).strip(), rotation=0, ha="right", va="center")
        probs = np.repeat(lane.columns.probs, 2, axis=0)
        axis.stackplot(x, probs.T, colors=list(COLOURS.values()), labels=EXPRESSIONS, linewidth=0)
        for where, style in ((lane.hatched, "#999"), (lane.columns.uncertain, "#fff")):
            spans = [(edges[start], edges[stop] - edges[start]) for start, stop in runs(where)]
            axis.broken_barh(spans, (0, 1), facecolor="none", edgecolor=style, hatch="////", linewidth=0)
        for label, where in labelled(lane.columns.labels):
            spans = [(edges[start], edges[stop] - edges[start]) for start, stop in runs(where)]
            axis.broken_barh(spans, (-0.3, 0.27), facecolor=COLOURS[label], edgecolor="#fff", linewidth=0.5)
        for start, stop, text, ink in texts(lane.columns.labels, 1000 * edges / edges[-1]):
            middle = (edges[start] + edges[stop]) / 2
            colour = "#fff" if ink == "light" else "#111"
            axis.text(middle, -0.17, text, ha="center", va="center", fontsize=7, color=colour)
    if not lanes.is_still:
        axes[-1].xaxis.set_major_formatter(lambda time, _: tick(time, float(edges[-1])))
    else:
        axes[-1].set_xticks([])
    axes[0].legend(ncols=8, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    hatches = "striped: uncertain · hatched: nobody in view"
    notes = (rest_of(persons, shown), f"{visible(caption, 180)} · {hatches}")
    figure.supxlabel("\n".join(filter(None, notes)), fontsize=8)
    picture = BytesIO()
    with catch_warnings():
        filterwarnings("ignore", message="Glyph .* missing")  # a title in a script the font lacks
        figure.savefig(picture, format="png")
    return picture.getvalue()
