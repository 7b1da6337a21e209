"""Scores and histories in; picture files out (PNG, SVG or PDF, by the ending of the path).

Needs the extra [plot]. The pictures read the same to all kinds of colour vision: one ramp from light to dark
blue, and lines that differ in dash as well as in colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.calibration import expected_gap
from mien.errors import InputError
from mien.metrics import NOTHING, accuracy, macro_f1
from mien.plot import FAINT, INK, add_caption, blank_panels, write_figure

if TYPE_CHECKING:
    from jaxtyping import Int64

    from mien.calibration import Abstention, ReliabilityBin
    from mien.plot import Panel

ENDINGS = {"loss": ("loss",), "score": ("macro_f1", "accuracy", "uar")}
"""What the two panels of learning curves hold: the values whose names end so."""

GRID, BLUE, RED = "#e3e3e3", "#0072b2", "#d55e00"
LINES = ((BLUE, "-"), (RED, "--"), ("#009e73", "-."), ("#cc79a7", ":"), ("#e69f00", "-"), ("#56b4e9", "--"))
"""Colour (of Okabe and Ito's set) and dash of each line in turn."""


def draw_confusion(
    counts: Int64[np.ndarray, "classes classes"], classes: tuple[str, ...], path: str | Path, title: str = ""
) -> None:
    """A confusion matrix: labels down, predictions across, shaded by the share of each label's rows.

    Args:
        counts: Rows of each label (down) that got each prediction (across), as `metrics.confusion` counts.
        classes: Names, in the order of `counts`.
        path: Where the picture goes.
        title: What was evaluated.

    Raises:
        InputError: `path` does not end in one of `plot.FORMATS`, or `counts` does not match `classes`.
        MissingExtraError: matplotlib is not installed.
    """
    _refuse_counts(counts, classes)
    summary = f"macro-F1 {float(macro_f1(counts)):.3f} · accuracy {float(accuracy(counts)):.3f}"
    draw_confusions([(counts, f"{summary} · {counts.sum():,} rows")], classes, path, title)


def draw_confusions(
    panels: Sequence[tuple[Int64[np.ndarray, "classes _"], str]],
    classes: tuple[str, ...],
    path: str | Path,
    title: str = "",
) -> None:
    """Confusion matrices of the same rows side by side, such as before and after smoothing.

    Args:
        panels: Counts as for `draw_confusion`, and what they come to. A column more counts the rows of each
            label that got no prediction.
        classes: As for `draw_confusion`.
        path: As for `draw_confusion`.
        title: As for `draw_confusion`.

    Raises:
        InputError: As for `draw_confusion`.
        MissingExtraError: matplotlib is not installed.
    """
    for counts, _ in panels:
        _refuse_counts(counts, classes)
    side = 1.5 + 0.72 * max(len(classes), 5)
    figure, first = blank_panels((side + 1.3) * len(panels), side, len(panels))
    all_axes = list(figure.axes)
    for axes, (counts, summary) in zip(all_axes, panels, strict=True):
        _shade(axes, counts, classes)
        add_caption(axes, title if axes is first else "", summary)
    bar = figure.colorbar(
        first.images[0], ax=all_axes, shrink=0.8, pad=0.03, format=lambda share, _: f"{share:.0%}"
    )
    bar.set_label("share of the label's rows")
    bar.outline.set_visible(False)
    write_figure(figure, path)


def _refuse_counts(counts: Int64[np.ndarray, "down across"], classes: tuple[str, ...]) -> None:
    n = len(classes)
    if counts.shape not in ((n, n), (n, n + 1)) or not counts.sum():
        raise InputError(
            f"counts are {counts.shape}; expected {len(classes)} classes down and across, and a row"
        )


def _shade(axes: Panel, counts: Int64[np.ndarray, "classes _"], classes: tuple[str, ...]) -> None:
    """Draws one matrix."""
    support = counts.sum(axis=1)
    shares = counts / np.maximum(support, 1)[:, None]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.7 else INK
        where: dict[str, Any] = {"ha": "center", "va": "center", "color": colour}
        axes.text(column, row - 0.12, _percent(shares[row, column]), fontsize=9, **where)
        axes.text(column, row + 0.2, f"{counts[row, column]:,}", fontsize=6.5, **where)
    across = (*classes, NOTHING)[: counts.shape[1]]
    axes.set_xticks(range(len(across)), across, rotation=35, ha="right", rotation_mode="anchor")
    names = [f"{name}\n{n:,}" for name, n in zip(classes, support.tolist(), strict=True)]
    axes.set_yticks(range(len(classes)), names)
    axes.set_xticks(np.arange(0.5, len(across) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(classes) - 1), minor=True)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")


def draw_reliability(bins: Sequence[ReliabilityBin], path: str | Path, title: str = "") -> None:
    """Accuracy against confidence, one point for each bin, over how many rows lie at each confidence.

    Args:
        bins: As `calibration.reliability` gives them.
        path: Where the picture goes.
        title: What was evaluated.

    Raises:
        InputError: `path` does not end in one of `plot.FORMATS`, or there is no bin.
        MissingExtraError: matplotlib is not installed.
    """
    draw_reliabilities([(bins, "")], path, title)


def draw_reliabilities(
    panels: Sequence[tuple[Sequence[ReliabilityBin], str]], path: str | Path, title: str = ""
) -> None:
    """Reliability of the same rows side by side, such as before and after smoothing.

    Args:
        panels: Bins as for `draw_reliability`, and what they are of.
        path: Where the picture goes.
        title: What was evaluated.

    Raises:
        InputError: As for `draw_reliability`.
        MissingExtraError: matplotlib is not installed.
    """
    if not all(bins for bins, _ in panels):
        raise InputError("there is no bin to draw; expected those of calibration.reliability")
    figure, first = blank_panels(5.2 * len(panels), 5.0, len(panels))
    for axes, (bins, name) in zip(figure.axes, panels, strict=True):
        _plot_bins(axes, bins)
        n_bins = f"{len(bins)} bin{'s' if len(bins) > 1 else ''}"
        n_rows = sum(one.count for one in bins)
        error = f"expected calibration error {expected_gap(tuple(bins)):.3f}"
        summary = " · ".join(filter(None, (name, error, n_bins, f"{n_rows:,} rows")))
        add_caption(axes, title if axes is first else "", summary)
    write_figure(figure, path)


def _plot_bins(axes: Panel, bins: Sequence[ReliabilityBin]) -> None:
    confidence = np.array([one.confidence for one in bins])
    right = np.array([one.accuracy for one in bins])
    n_rows = np.array([one.count for one in bins])
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, dashes=(4, 3), label="as sure as right")
    error = np.sqrt(right * (1 - right) / n_rows)
    axes.vlines(confidence, confidence, right, color=RED, linewidth=5, alpha=0.25, label="gap")
    axes.errorbar(
        confidence,
        right,
        yerr=error,
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.5,
        label="bin ± standard error",
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_xlabel("confidence: probability of the leading expression")
    axes.set_ylabel("accuracy: how often it is the label")
    axes.legend(loc="upper left", frameon=False)


def draw_abstention(
    curves: Sequence[tuple[Sequence[Abstention], str]],
    path: str | Path,
    title: str = "",
    marked: Sequence[float] = (0.4, 0.6, 0.8),
) -> None:
    """How often what is left is wrong, against how much is left, as doubtful rows are passed over.

    Args:
        curves: As `calibration.abstentions` gives them, and what each is of.
        path: Where the picture goes.
        title: What was evaluated.
        marked: Thresholds that are written beside the curves.

    Raises:
        InputError: `path` does not end in one of `plot.FORMATS`, or a curve is empty.
        MissingExtraError: matplotlib is not installed.
    """
    if not curves or not all(points for points, _ in curves):
        raise InputError("there is no point to draw; expected those of calibration.abstentions")
    figure, axes = blank_panels(5.6, 4.4, 1)
    for (points, name), (colour, dash) in zip(curves, cycle(LINES), strict=False):
        coverage, risk = (np.array([getattr(one, what) for one in points]) for what in ("coverage", "risk"))
        axes.plot(coverage, risk, dash, color=colour, linewidth=1.8, label=name or None)
        for one in points:
            if one.threshold in marked:
                axes.plot(one.coverage, one.risk, "o", color=colour, markersize=5)
                axes.annotate(
                    f"{one.threshold:g}",
                    (one.coverage, one.risk),
                    (-4, 5),
                    textcoords="offset points",
                    ha="right",
                    fontsize=8,
                )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(bottom=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_xlabel("coverage: share of rows that are sure enough")
    axes.set_ylabel("risk: share of these that are wrong")
    if len(curves) > 1:
        axes.legend(loc="upper left", frameon=False)
    add_caption(axes, title, "numbers are the smallest confidence that is kept")
    write_figure(figure, path)


def draw_learning_curves(
    history: Sequence[Mapping[str, float | None]], path: str | Path, title: str = ""
) -> None:
    """Losses and scores by epoch, side by side, with each score's best epoch marked.

    Args:
        history: A dictionary for each epoch, with `epoch` and values such as `train_loss`, `val_loss` and
            `val_macro_f1`, None or absent where an epoch has none. What ends in one of `ENDINGS` is drawn.
        path: Where the picture goes.
        title: What was trained.

    Raises:
        InputError: `path` does not end in one of `plot.FORMATS`, or there is nothing to draw.
        MissingExtraError: matplotlib is not installed.
    """
    keys = dict.fromkeys(key for epoch in history for key, value in epoch.items() if value is not None)
    panels = {name: [key for key in keys if key.endswith(ends)] for name, ends in ENDINGS.items()}
    panels = {name: drawn for name, drawn in panels.items() if drawn}
    if not panels:
        raise InputError("the history holds neither a loss nor a score; expected a dictionary for each epoch")
    epoch_numbers = [float(epoch["epoch"] or 0) for epoch in history]
    height = 3.4 + 0.27 * max(map(len, panels.values()))
    figure, axes = blank_panels(4.6 * len(panels) + 0.4, height, len(panels))
    for panel, (name, drawn) in zip(figure.axes, panels.items(), strict=True):
        for key, (colour, dash) in zip(drawn, cycle(LINES), strict=False):
            known = [(epoch["epoch"], epoch[key]) for epoch in history if epoch.get(key) is not None]
            epochs, values = np.array(known, dtype=np.float64).T
            label = key.replace("_", " ").replace("macro f1", "macro-F1").replace("uar", "UAR")
            if name == "score":
                best = int(values.argmax())
                panel.plot(epochs[best], values[best], "o", color=colour, markersize=7)
                label = f"{label}, best {values[best]:.3f} in epoch {epochs[best]:g}"
            few = "." if len(known) == 1 else None  # a line through one point is nothing to see
            panel.plot(epochs, values, dash, color=colour, linewidth=1.8, label=label, marker=few)
        panel.set_xlabel("epoch")
        panel.set_xlim(min(epoch_numbers) - 0.5, max(epoch_numbers) + 0.5)
        panel.set_ylabel(name)
        panel.grid(color=GRID, linewidth=0.8)
        panel.locator_params(axis="x", integer=True, min_n_ticks=1)
        panel.legend(loc="upper left", bbox_to_anchor=(0, -0.18), frameon=False)  # never over a curve
    add_caption(axes, title, f"{len(history)} epoch{'s' if len(history) > 1 else ''}")
    write_figure(figure, path)


def _percent(share: float) -> str:
    """A share without decimals, and never 0 % of something."""
    return "<1%" if share < 0.005 else f"{share:.0%}"
