"""Lanes of time bins in, the chart of `mien.chart` as a PNG out; figures for `mien.pictures` to draw on.

The home of matplotlib (extra [plot]). Figures are made without pyplot, which would hold on to them and to a
window system.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

import numpy as np

from mien.chart import COLOURS, labelled, layout, rest_of, runs, texts, tick, visible
from mien.errors import InputError, MissingExtraError
from mien.expressions import EXPRESSIONS
from mien.whole import written_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mien.lanes import Lanes, Person

    Panel = Axes
    """One of the panels of `blank_panels`, for those who draw on it."""

FORMATS = (".png", ".svg", ".pdf")
"""Endings that a picture's path may have."""

INK, FAINT = "#222222", "#6b6b6b"


def png(lanes: Lanes, persons: Sequence[Person], *, title: str, caption: str) -> bytes:
    """The picture as a PNG file; needs matplotlib.

    Args:
        lanes: As for `svg`.
        persons: As for `svg`.
        title: As for `svg`.
        caption: As for `svg`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    shown, drawn, edges = layout(lanes, persons)
    figure = _figure(12, 1.4 + len(drawn))
    figure.suptitle(visible(title, 90), x=0.02, ha="left", weight="bold", parse_math=False)
    axes = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    x = np.repeat(edges, 2)[1:-1]
    for lane, axis in zip(drawn, axes, strict=True):
        axis.set(xlim=(0, edges[-1]), ylim=(-0.3, 1), yticks=[0, 0.5, 1], facecolor="#f5f5f3")
        axis.set_ylabel("\n".join((lane.name, *lane.notes)).strip(), rotation=0, ha="right", va="center")
        probs = np.repeat(lane.columns.probs, 2, axis=0)
        axis.stackplot(x, probs.T, colors=list(COLOURS.values()), labels=EXPRESSIONS, linewidth=0)
        for where, style in ((lane.hatched, "#999"), (lane.uncertain, "#fff")):
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
        figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def blank_panels(width: float, height: float, n_panels: int = 1) -> tuple[Figure, Axes]:
    """A figure of that many inches with its panels in a row, and the first of them.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(width, height)
    for panel in np.ravel(figure.subplots(1, n_panels)):
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(FAINT)
        panel.tick_params(colors=INK)
    return figure, figure.axes[0]


def add_caption(axes: Axes, title: str, summary: str) -> None:
    """Writes the title in ink and what it comes to below it, both flush left."""
    axes.set_title(summary, loc="left", fontsize=9, color=FAINT)
    if title:
        axes.annotate(
            title, (0, 1), (0, 22), "axes fraction", "offset points", fontsize=12, color=INK, va="bottom"
        )


def write_figure(figure: Figure, path: str | Path) -> None:
    """Writes the picture to its place, whole.

    Raises:
        InputError: `path` does not end in one of `FORMATS`.
    """
    wanted = Path(path)
    ending = wanted.suffix.lower()
    if ending not in FORMATS:
        raise InputError(
            f"{wanted.name} is no name for a picture; expected one that ends in {', '.join(FORMATS)}"
        )
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(wanted) as aside:
        figure.savefig(aside, format=ending[1:], dpi=150)


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing pictures", "plot") from error
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")
