"""Probabilities and labels in; how far confidence may be believed, and what mends it, out.

Conventions: labels are names, `classes` gives the order of the columns of probabilities and logits, and a
row whose label is None never enters, whatever its probabilities are. Confidence is the largest probability
of a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import MetricError
from mien.expressions import EXPRESSIONS

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float64, Int64

TEMPERATURES = (0.01, 100.0)
"""Between these a temperature is looked for; data that ask for less or more get the nearer bound."""

BIAS_DEVIATION = 0.5
"""Of the biases of classes, before the data are seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Rows of similar confidence, and how often they are right."""

    low: float
    """Smallest confidence in the bin."""
    high: float
    """Largest confidence in the bin."""
    confidence: float
    """Mean confidence."""
    accuracy: float
    """Share of rows whose most probable class is the label."""
    count: int


def reliability(
    probs: Float[np.ndarray, "rows classes"],
    labels: Sequence[str | None],
    classes: tuple[str, ...],
    n_bins: int = 15,
) -> tuple[ReliabilityBin, ...]:
    """Bins of as nearly equal numbers of rows as can be, by rising confidence, a row's largest probability.

    Args:
        probs: Rows that sum to 1.
        labels: Names; None where a row has no label.
        classes: Names, in the order of the columns of `probs`.
        n_bins: The most bins there may be. Rows of equal confidence are never parted, so there can be fewer.

    Raises:
        MetricError: There is no labelled row, shapes differ, a name is unknown, or a probability is not one.
    """
    confidence, right = _confidence(probs, labels, classes)
    starts = np.sort(confidence)[np.arange(1, n_bins) * len(confidence) // n_bins]
    of_row = np.searchsorted(np.unique(starts), confidence, side="right")
    return tuple(
        ReliabilityBin(
            low=float(confidence[inside].min()),
            high=float(confidence[inside].max()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
            count=int(inside.sum()),
        )
        for inside in (of_row == one for one in np.unique(of_row))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """What is left where rows of less confidence than a threshold are passed over."""

    threshold: float
    coverage: float
    """Share of all rows that have this confidence, at least."""
    risk: float
    """Share of these whose most probable class is not the label."""


def abstentions(
    probs: Float[np.ndarray, "rows classes"],
    labels: Sequence[str | None],
    classes: tuple[str, ...],
    n_missed: int = 0,
) -> tuple[Abstention, ...]:
    """Risk against coverage, at thresholds 0.02 apart, as far as any row is left.

    Args:
        probs: Rows that sum to 1.
        labels: Names; None where a row has no label.
        classes: Names, in the order of the columns of `probs`.
        n_missed: Rows beside these that have a label and no prediction: never covered.

    Raises:
        MetricError: As `reliability`.

    >>> sure = np.array([[0.9, 0.1], [0.4, 0.6]])
    >>> found = abstentions(sure, ["Anger", "Anger"], ("Anger", "Fear"))
    >>> [(one.coverage, one.risk) for one in found if one.threshold in (0.0, 0.7)]
    [(1.0, 0.5), (0.5, 0.0)]
    """
    confidence, right = _confidence(probs, labels, classes)
    n_rows = len(confidence) + n_missed
    found = []
    for threshold in (np.arange(50) / 50).tolist():
        kept = confidence >= threshold
        if kept.any():
            coverage, risk = float(kept.sum() / n_rows), float(1 - right[kept].mean())
            found.append(Abstention(threshold=threshold, coverage=coverage, risk=risk))
    return tuple(found)


def fit_temperature(
    logits: Float[np.ndarray, "rows classes"],
    targets: Float[np.ndarray, "rows classes"] | Sequence[str | None],
    classes: tuple[str, ...] = EXPRESSIONS,
) -> float:
    """The temperature T at which softmax(logits / T) has the least negative log-likelihood.

    The loss is convex in 1 / T, so its slope is bisected; the result lies within `TEMPERATURES`.

    Args:
        logits: Or log-probabilities; finite.
        targets: A distribution for each row, or its label's name (None: the row does not enter).
        classes: Names, in the order of the columns.

    Raises:
        MetricError: There is no row, shapes differ, a name is unknown, a logit is not finite, or a target
            is no distribution.
    """
    if isinstance(targets, np.ndarray) and targets.ndim == 2:
        wanted, kept = _distributions(targets, classes), np.ones(len(targets), dtype=np.bool_)
    else:
        names: Sequence[str | None] = targets  # type: ignore[assignment]  # an array of names is a sequence too
        positions, kept = labelled(names, classes)
        wanted = np.eye(len(classes))[positions]
    if logits.shape != (len(kept), len(classes)):
        raise MetricError(
            f"logits are {logits.shape}; expected {(len(kept), len(classes))} to match the targets"
        )
    scores = np.asarray(logits[kept], dtype=np.float64)
    if not np.isfinite(scores).all():
        raise MetricError("a logit is NaN or infinite; expected finite numbers")
    scores = scores - scores.max(axis=1, keepdims=True)
    observed = (wanted * scores).sum(axis=1)

    def slope(sharpness: float) -> float:
        weights = np.exp(sharpness * scores)
        return float(((weights * scores).sum(axis=1) / weights.sum(axis=1) - observed).mean())

    low, high = np.log(1 / TEMPERATURES[1]), np.log(1 / TEMPERATURES[0])
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(float(np.exp(middle))) > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def fit_bias(
    logits: Float[np.ndarray, "rows classes"],
    labels: Sequence[str | None],
    classes: tuple[str, ...] = EXPRESSIONS,
) -> tuple[Float64[np.ndarray, "classes"], float]:
    """The bias b and temperature T at which softmax(logits / T + b) is most likely, given the labels.

    A net that learnt shares of votes gives a class its share of all votes; a label is what most votes say,
    and goes to frequent classes more often than that. Biases are held near 0, as if drawn from a normal
    distribution of deviation `BIAS_DEVIATION`, so that classes of a few rows do not run away. The loss is
    convex in b and 1 / T together, and Newton's steps find its least; T lies within `TEMPERATURES`.

    Args:
        logits: Or log-probabilities; finite.
        labels: Names; a row of None does not enter.
        classes: Names, in the order of the columns.

    Raises:
        MetricError: As `fit_temperature`.
    """
    sharpness = 1 / fit_temperature(logits, labels, classes)
    positions, kept = labelled(labels, classes)
    wanted, n = np.eye(len(classes))[positions], len(classes)
    scores = np.asarray(logits[kept], np.float64)
    scores = scores - scores.max(axis=1, keepdims=True)
    prior = 1 / (len(scores) * BIAS_DEVIATION**2)
    values = np.append(np.zeros(n), sharpness)

    def probs_at(values: Float64[np.ndarray, "_"]) -> Float64[np.ndarray, "rows classes"]:
        raw = values[n] * scores + values[:n]
        raw = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    def loss_at(values: Float64[np.ndarray, "_"]) -> float:
        likely = (probs_at(values) * wanted).sum(axis=1)
        return float(-np.log(np.maximum(likely, 1e-300)).mean() + prior * (values[:n] ** 2).sum() / 2)

    for _ in range(50):
        probs = probs_at(values)
        mean = (probs * scores).sum(axis=1, keepdims=True)
        slope = np.append(
            (probs - wanted).mean(axis=0) + prior * values[:n], ((probs - wanted) * scores).sum(1).mean()
        )
        curve = np.zeros((n + 1, n + 1))
        curve[:n, :n] = np.diag(probs.mean(axis=0) + prior) - probs.T @ probs / len(probs)
        curve[:n, n] = curve[n, :n] = (probs * (scores - mean)).mean(axis=0)
        curve[n, n] = (probs * (scores - mean) ** 2).sum(axis=1).mean() + 1e-9
        step = np.linalg.solve(curve, slope)
        share = next((0.5**k for k in range(30) if loss_at(values - 0.5**k * step) <= loss_at(values)), 0.0)
        values = values - share * step
        values[n] = np.clip(values[n], 1 / TEMPERATURES[1], 1 / TEMPERATURES[0])
        if np.abs(share * step).max() < 1e-8:
            break
    return values[:n], float(1 / values[n])


def labelled(
    labels: Sequence[str | None], classes: tuple[str, ...]
) -> tuple[Int64[np.ndarray, " kept"], Bool[np.ndarray, " rows"]]:
    """Where the labels of the labelled rows stand in `classes`, and which rows those are.

    Raises:
        MetricError: There is no labelled row, or a name is unknown.
    """
    positions = positions_of(labels, classes)
    kept = positions >= 0
    if not kept.any():
        raise MetricError(f"none of {len(labels)} rows has a label; expected at least one")
    return positions[kept], kept


def positions_of(names: Sequence[str | None], classes: tuple[str, ...]) -> Int64[np.ndarray, " rows"]:
    """Where each name stands in `classes`; -1 for None.

    Raises:
        MetricError: A name is unknown.
    """
    stands: dict[str | None, int] = {name: number for number, name in enumerate(classes)}
    stands[None] = -1
    try:
        return np.fromiter((stands[name] for name in names), dtype=np.int64, count=len(names))
    except KeyError as error:
        raise MetricError(
            f"{error.args[0]!r} is not a class; expected one of {', '.join(classes)}, or None for no label"
        ) from None


def expected_gap(bins: tuple[ReliabilityBin, ...]) -> float:
    """Expected calibration error (ECE): how far confidence lies from accuracy, on average over rows, 0 to 1.

    >>> sure = np.array([[0.8, 0.2], [0.7, 0.3]])
    >>> expected_gap(reliability(sure, ["Anger", "Fear"], ("Anger", "Fear"), n_bins=1))
    0.25
    """
    n_rows = sum(one.count for one in bins)
    return sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / n_rows


def gap_by_chance(bins: tuple[ReliabilityBin, ...]) -> float:
    """What `expected_gap` would come to, on average, with as many rows and a confidence that is true.

    In few rows even a true confidence seems wrong. How far the share of right rows in a bin strays is De
    Moivre's mean deviation of a binomial.

    >>> coin = ReliabilityBin(low=0.5, high=0.5, confidence=0.5, accuracy=0.25, count=4)
    >>> round(gap_by_chance((coin,)), 4)  # 0 to 4 right: 0.5, 0.25, 0, 0.25, 0.5 off in 1, 4, 6, 4, 1 of 16
    0.1875
    """
    n_rows = sum(one.count for one in bins)
    return sum(one.count * _deviation(one.count, one.confidence) for one in bins) / n_rows


def _deviation(n: int, chance: float) -> float:
    """The mean distance of the share of successes in n trials from their chance."""
    if not 0 < chance < 1:
        return 0.0
    above = min(math.floor(n * chance), n - 1) + 1
    ways = math.lgamma(n + 1) - math.lgamma(above + 1) - math.lgamma(n - above + 1)
    likely = math.exp(ways + above * math.log(chance) + (n - above + 1) * math.log1p(-chance))
    return 2 * above * likely / n


def _confidence(
    probs: Float[np.ndarray, "rows classes"], labels: Sequence[str | None], classes: tuple[str, ...]
) -> tuple[Float64[np.ndarray, " kept"], Bool[np.ndarray, " kept"]]:
    """The largest probability of each labelled row, and whether it is its label's."""
    targets, kept = labelled(labels, classes)
    if len(probs) != len(kept):
        raise MetricError(f"{len(probs)} rows of probabilities for {len(kept)} labels; expected one for each")
    chances = _distributions(probs[kept], classes)
    return chances.max(axis=1), chances.argmax(axis=1) == targets


def _distributions(
    rows: Float[np.ndarray, "rows classes"], classes: tuple[str, ...]
) -> Float64[np.ndarray, "rows classes"]:
    """The rows in double precision, once they have been seen to be probabilities."""
    if rows.ndim != 2 or rows.shape[1] != len(classes) or not len(rows):
        raise MetricError(
            f"probabilities are {rows.shape}; expected at least one row of {len(classes)} classes"
        )
    exact = np.asarray(rows, dtype=np.float64)
    if not (exact >= 0).all() or not np.allclose(exact.sum(axis=1), 1.0, atol=1e-2):
        raise MetricError("a row of probabilities holds NaN or a negative number, or does not sum to 1")
    return exact
