"""Labels and predictions in, the counts of resamples out: what a bootstrap draws, and drawing it.

A unit is what is drawn: a single row, or a group of rows, such as a video or a speaker. Counts are drawn, not
rows, which comes to the same thing for every score that is a function of a confusion matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.calibration import labelled, positions_of
from mien.errors import MetricError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float64, Int64

_DRAWN_AT_ONCE = 4_000_000  # numbers that are held at a time (32 MB)


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What a bootstrap draws: kinds of unit, the counts that one of a kind holds, and how many there are."""

    matrices: Float64[np.ndarray, "kinds classes classes"]
    times: Int64[np.ndarray, " kinds"]


def units_of(
    labels: Sequence[str | None],
    predictions: Sequence[str | None],
    classes: tuple[str, ...],
    groups: Sequence[str] | None,
) -> Units:
    """The groups; or, without groups, the rows, of which there are at most classes² kinds.

    Raises:
        MetricError: There is no labelled row, lengths differ, or a name is unknown.
    """
    cells, kept = cells_of(labels, predictions, classes)
    n_cells = len(classes) ** 2
    if groups is None:
        kinds, times = np.unique(cells, return_counts=True)
        matrices = np.eye(n_cells)[kinds]
    else:
        if len(groups) != len(kept):
            raise MetricError(
                f"{len(groups)} groups for {len(kept)} labels; expected one group for each label"
            )
        of_rows = [group for group, keep in zip(groups, kept.tolist(), strict=True) if keep]
        order = {group: number for number, group in enumerate(sorted(set(of_rows)))}
        codes = np.fromiter((order[group] for group in of_rows), dtype=np.int64, count=len(of_rows))
        counts = np.bincount(codes * n_cells + cells, minlength=len(order) * n_cells)
        matrices = counts.reshape(len(order), n_cells).astype(np.float64)
        times = np.ones(len(order), dtype=np.int64)
    return Units(matrices.reshape(-1, len(classes), len(classes)), times)


def total_of(units: Units) -> Int64[np.ndarray, "classes classes"]:
    """The counts of all units together."""
    return np.asarray(np.tensordot(units.times, units.matrices, axes=1), dtype=np.int64)


def resamples_of(units: Units, n: int = 1000, seed: int = 0) -> Float64[np.ndarray, "drawn classes classes"]:
    """The counts of `n` resamples; of none where there is a single unit."""
    flat = units.matrices.reshape(len(units.times), -1)
    total = int(units.times.sum())
    if total < 2:
        return np.zeros((0, *units.matrices.shape[1:]))
    rng = np.random.default_rng(seed)
    at_once = max(1, _DRAWN_AT_ONCE // len(units.times))
    drawn = [
        rng.multinomial(total, units.times / total, size=min(at_once, n - done)) @ flat
        for done in range(0, n, at_once)
    ]
    return np.concatenate(drawn).reshape(-1, *units.matrices.shape[1:])


def cells_of(
    labels: Sequence[str | None], predictions: Sequence[str | None], classes: tuple[str, ...]
) -> tuple[Int64[np.ndarray, " kept"], Bool[np.ndarray, " rows"]]:
    """The cell of the flat confusion matrix that each labelled row falls in, and which rows those are.

    Raises:
        MetricError: There is no labelled row, lengths differ, or a name is unknown.

    >>> cells_of(["Fear", None, "Anger"], ["Fear", "Anger", "Fear"], ("Anger", "Fear"))[0].tolist()
    [3, 1]
    """
    targets, kept = labelled(labels, classes)
    if len(predictions) != len(labels):
        raise MetricError(
            f"{len(labels)} labels but {len(predictions)} predictions; expected one for each label"
        )
    guesses = positions_of(predictions, classes)[kept]
    if (guesses < 0).any():
        raise MetricError(
            f"{(guesses < 0).sum()} labelled rows have no prediction; expected one for each label"
        )
    return targets * len(classes) + guesses, kept
