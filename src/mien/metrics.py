"""Labels and predictions in; confusion counts, scores, calibration and their uncertainty out.

Conventions, the same in every table of this project:

- **Labels are names.** `classes` is a tuple of names and gives the order of rows, columns and probabilities.
- **A label that is None never enters** (-1 in Aff-Wild2's files, no majority in FER+): its row is dropped
  from everything, whatever was predicted for it. A labelled row without a prediction is an error, unless
  `score` is told that nothing was found there: then it counts as wrong, in recall and accuracy, and not in
  precision or ECE.
- **Everything is counted once**, by `confusion`: rows are labels, columns are predictions. The scores are
  functions of those counts and take a stack of such matrices as readily as one ("*more classes classes").
- **Pooled**: all rows of a split are counted together, never averaged by video or speaker.
- **F1 of a class that is neither labelled nor predicted is 0**, and it counts in macro-F1: the mean runs over
  all of `classes`, as scikit-learn's `f1_score(average="macro", labels=classes, zero_division=0)`. Where data
  lack a class, `averaged` names those that the mean runs over; the others can still be predicted, wrongly.
- **UAR** is the mean recall over the classes that occur in the labels; **WAR** is plain accuracy.
- **Intervals** are percentiles of a bootstrap. Frames of one video are nearly copies of each other, so give
  `groups` (the video, the speaker): then whole groups are drawn. All scores share the same resamples.
- **Of a class alone**, a resample that leaves a ratio nothing to divide by says nothing of it and is left out
  of that interval; if all do, the bounds are None, as is the case for the recall of a class without rows.
- **ECE** (`mien.calibration`) looks at the largest probability of each row, in bins of equal count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.calibration import (
    Abstention,
    ReliabilityBin,
    abstentions,
    expected_gap,
    gap_by_chance,
    reliability,
)
from mien.errors import MetricError
from mien.expressions import EXPRESSIONS, QUADRANTS
from mien.resampling import cells_of, resamples_of, total_of, units_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float64, Int64, Num

QUADRANT_NAMES = ("pleasant-aroused", "unpleasant-aroused", "unpleasant-calm", "pleasant-calm")
"""Quadrants 1 to 4 of Russell's circumplex: the rows and columns of `quadrant_confusion`, in order."""

NOTHING = "nothing"
"""Stands for what was predicted of a row in which nothing was found."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A score and the bounds between which resampling puts it.

    >>> f"{Interval(0.25, 0.5, 0.75):.2f}"
    '0.50 [0.25, 0.75]'
    """

    low: float | None
    """None, like `high`, where nothing was resampled, or no resample said anything of this score."""
    value: float
    high: float | None

    def __format__(self, digits: str) -> str:
        """The score and its bounds, all three with these digits."""
        digits = digits or ".4f"
        if self.low is None or self.high is None:
            return format(self.value, digits)
        return f"{self.value:{digits}} [{self.low:{digits}}, {self.high:{digits}}]"

    def __str__(self) -> str:
        return format(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """What one class alone scores; a ratio with nothing to divide by is 0."""

    precision: Interval
    recall: Interval
    f1: Interval
    support: int
    """Rows with this label."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Everything that one evaluation says."""

    classes: tuple[str, ...]
    n: int
    """Labelled rows."""
    n_groups: int | None
    """Videos or speakers that were resampled; None: rows were."""
    averaged: tuple[str, ...]
    """The classes that macro-F1 is the mean of."""
    missed: dict[str, int]
    """Rows of each label in which nothing was found; they count as wrong and are not in `confusion`."""
    macro_f1: Interval
    accuracy: Interval
    uar: Interval
    per_class: dict[str, ClassScores]
    confusion: Int64[np.ndarray, "classes classes"]
    quadrants: Int64[np.ndarray, "4 4"]
    ece: float | None
    """None where predictions were given as names."""
    ece_by_chance: float | None
    """What ECE would be on average, with as many rows, if every confidence were true."""
    reliability: tuple[ReliabilityBin, ...]
    """Empty where predictions were given as names."""
    abstention: tuple[Abstention, ...]
    """Empty where predictions were given as names."""

    def as_dict(self) -> dict[str, Any]:
        """These scores as JSON has them: plain numbers, and confusion by name, label first."""
        return {
            "classes": list(self.classes),
            "n": self.n,
            "n_groups": self.n_groups,
            "averaged": list(self.averaged),
            "missed": self.missed,
            "macro_f1": asdict(self.macro_f1),
            "accuracy": asdict(self.accuracy),
            "uar": asdict(self.uar),
            "per_class": {name: asdict(one) for name, one in self.per_class.items()},
            "confusion": _named(self.confusion, self.classes),
            "quadrants": _named(self.quadrants, QUADRANT_NAMES),
            "ece": self.ece,
            "ece_by_chance": self.ece_by_chance,
            "reliability": [asdict(one) for one in self.reliability],
            "abstention": [asdict(one) for one in self.abstention],
        }


def score(
    labels: Sequence[str | None],
    predicted: Float[np.ndarray, "rows classes"] | Sequence[str | None],
    classes: tuple[str, ...] = EXPRESSIONS,
    groups: Sequence[str] | None = None,
    *,
    averaged: tuple[str, ...] | None = None,
    found: Bool[np.ndarray, " rows"] | None = None,
) -> Scores:
    """All scores of one evaluation, with 95 % intervals.

    Args:
        labels: Names, one for each row; None where a row has no label.
        predicted: Probabilities, or the predicted names.
        classes: Names of expressions.
        groups: The video or speaker of each row.
        averaged: Those of the classes that macro-F1 is the mean of; None: all.
        found: Which rows have a prediction; the others are wrong, whatever stands in `predicted`. None: all.

    Raises:
        MetricError: There is no labelled row, or none with a prediction, lengths differ, a name is unknown,
            or a probability is not one.

    >>> print(score(["Fear", "Anger", None], ["Fear", "Fear", "Anger"], ("Anger", "Fear")).accuracy.value)
    0.5
    """
    bins, passed_over = tuple[ReliabilityBin, ...](), tuple[Abstention, ...]()
    names: Sequence[str | None]
    if isinstance(predicted, np.ndarray) and predicted.ndim == 2:
        probs, there, n_missed = _with_prediction(labels, predicted, found)
        bins, passed_over = reliability(probs, there, classes), abstentions(probs, there, classes, n_missed)
        # NaN: no label, or nothing found
        names = [classes[column] for column in np.nan_to_num(predicted, nan=-1.0).argmax(axis=1).tolist()]
    else:
        names = predicted  # type: ignore[assignment]  # an array of names is a sequence too
    cells = classes
    if found is not None:
        cells = (*classes, NOTHING)
        names = [name if there else NOTHING for name, there in zip(names, found.tolist(), strict=True)]
    units = units_of(labels, names, cells, groups)
    counts, drawn = total_of(units), resamples_of(units)
    among = [classes.index(name) for name in averaged or classes]
    square = counts[: len(classes), : len(classes)]
    return Scores(
        classes=classes,
        n=int(counts.sum()),
        n_groups=None if groups is None else int(units.times.sum()),
        averaged=averaged or classes,
        missed={name: n for name, n in _missed(counts, classes).items() if n},
        macro_f1=_interval(float(macro_f1(counts, among)), macro_f1(drawn, among)),
        accuracy=_interval(float(accuracy(counts)), accuracy(drawn)),
        uar=_interval(float(uar(counts)), uar(drawn)),
        per_class={name: each for name, each in per_class(counts, cells, drawn).items() if name in classes},
        confusion=square,
        quadrants=quadrant_confusion(square, classes),
        ece=expected_gap(bins) if bins else None,
        ece_by_chance=gap_by_chance(bins) if bins else None,
        reliability=bins,
        abstention=passed_over,
    )


def confusion(
    labels: Sequence[str | None], predictions: Sequence[str | None], classes: tuple[str, ...]
) -> Int64[np.ndarray, "classes classes"]:
    """How many rows of each label (down) got each prediction (across).

    Raises:
        MetricError: There is no labelled row, lengths differ, or a name is unknown.

    >>> confusion(["Fear", "Anger", None], ["Fear", "Fear", "Anger"], ("Anger", "Fear")).tolist()
    [[0, 1], [0, 1]]
    """
    cells, _ = cells_of(labels, predictions, classes)
    counts: Int64[np.ndarray, "classes classes"] = np.bincount(cells, minlength=len(classes) ** 2)
    return counts.reshape(len(classes), len(classes))


def macro_f1(
    counts: Num[np.ndarray, "*more classes classes"], among: Sequence[int] | None = None
) -> Float64[np.ndarray, "*more"]:
    """Mean F1 over all classes, or those at some places; what is neither labelled nor predicted has 0.

    >>> float(macro_f1(np.array([[1, 1], [0, 2]])).round(4))
    0.7333
    """
    f1s = _ratio(*_ratios(counts)["f1"])
    return np.asarray((f1s if among is None else f1s[..., list(among)]).mean(axis=-1))


def accuracy(counts: Num[np.ndarray, "*more classes classes"]) -> Float64[np.ndarray, "*more"]:
    """Share of rows whose prediction is their label; also called WAR."""
    return np.asarray(_right(counts).sum(axis=-1) / np.sum(counts, axis=(-2, -1)))


def uar(counts: Num[np.ndarray, "*more classes classes"]) -> Float64[np.ndarray, "*more"]:
    """Mean recall over the classes that occur in the labels; also called balanced accuracy."""
    support = np.sum(counts, axis=-1)
    return np.asarray(_ratio(_right(counts), support).sum(axis=-1) / (support > 0).sum(axis=-1))


def per_class(
    counts: Num[np.ndarray, "classes classes"],
    classes: tuple[str, ...],
    drawn: Num[np.ndarray, "resamples classes classes"] | None = None,
) -> dict[str, ClassScores]:
    """Precision, recall, F1 and support of each class, by name.

    Args:
        counts: Labels down, predictions across.
        classes: Names.
        drawn: Counts of resamples; with none, the scores have no bounds.
    """
    resamples = _ratios(np.zeros((0, *counts.shape)) if drawn is None else drawn)
    columns = {}
    for ratio, (part, whole) in _ratios(counts).items():
        parts, wholes = resamples[ratio]
        values, shares, defined = _ratio(part, whole).tolist(), _ratio(parts, wholes), wholes > 0
        columns[ratio] = [_interval(values[k], shares[defined[:, k], k]) for k in range(len(classes))]
    return {
        name: ClassScores(support=support, **{ratio: column[k] for ratio, column in columns.items()})
        for k, (name, support) in enumerate(zip(classes, counts.sum(axis=1).tolist(), strict=True))
    }


def quadrant_confusion(
    counts: Num[np.ndarray, "classes classes"], classes: tuple[str, ...]
) -> Int64[np.ndarray, "4 4"]:
    """Confusion of the quadrants of Russell's circumplex, in the order of `QUADRANT_NAMES`.

    Rows with `Other`, which lies in no quadrant, as label or as prediction are left out.

    Raises:
        MetricError: A class is not an expression.
    """
    strangers = [name for name in classes if name not in QUADRANTS]
    if strangers:
        raise MetricError(f"{strangers[0]!r} has no quadrant; expected classes among {', '.join(QUADRANTS)}")
    member = np.array([[QUADRANTS[name] == quadrant for name in classes] for quadrant in (1, 2, 3, 4)])
    return np.asarray(member @ counts @ member.T, dtype=np.int64)


def bootstrap(
    score: Callable[[Float64[np.ndarray, "*more classes classes"]], Float64[np.ndarray, "*more"]],
    labels: Sequence[str | None],
    predictions: Sequence[str | None],
    classes: tuple[str, ...],
    groups: Sequence[str] | None = None,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """A score with the percentile bounds of `n` resamples, drawn with replacement.

    Whole groups are drawn where `groups` names the video or speaker of each row, single rows otherwise. What
    is drawn is counts, not rows, which comes to the same thing for every score that is a function of them.
    Macro-F1 leans: resamples that lack a rare class score lower, so the bounds need not lie evenly about the
    value.

    Args:
        score: `macro_f1`, `accuracy`, `uar`, or another function of a stack of confusion matrices.
        labels: Names; None where a row has no label.
        predictions: Names.
        classes: Names.
        groups: The video or speaker of each row.
        n: Resamples.
        seed: The same seed gives the same bounds.
        level: Share of the resamples that lies within the bounds.

    Raises:
        MetricError: There is no labelled row, lengths differ, or a name is unknown.
    """
    units = units_of(labels, predictions, classes, groups)
    value = score(total_of(units).astype(np.float64))
    return _interval(float(value), score(resamples_of(units, n, seed)), level)


def paired_bootstrap(
    score: Callable[[Float64[np.ndarray, "*more classes classes"]], Float64[np.ndarray, "*more"]],
    labels: Sequence[str | None],
    ours: Sequence[str | None],
    theirs: Sequence[str | None],
    classes: tuple[str, ...],
    groups: Sequence[str],
) -> Interval:
    """How much higher one list of predictions scores than another; both are scored on the same resamples.

    Arguments and errors are those of `bootstrap`.
    """
    units = [units_of(labels, predictions, classes, groups) for predictions in (ours, theirs)]
    values = [float(score(total_of(each).astype(np.float64))) for each in units]
    drawn = [score(resamples_of(each)) for each in units]  # one seed and one list of groups: the same draws
    return _interval(values[0] - values[1], drawn[0] - drawn[1])


def _interval(value: float, drawn: Float64[np.ndarray, " resamples"], level: float = 0.95) -> Interval:
    """A score between percentiles of what the resamples score; without bounds if there is no resample."""
    if not len(drawn):
        return Interval(None, value, None)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), value, float(high))


def _with_prediction(
    labels: Sequence[str | None],
    probs: Float[np.ndarray, "rows classes"],
    found: Bool[np.ndarray, " rows"] | None,
) -> tuple[Float[np.ndarray, "there classes"], Sequence[str | None], int]:
    """The rows with a prediction, their labels, and how many other rows have a label."""
    if found is None:
        return probs, labels, 0
    there = [label for label, here in zip(labels, found.tolist(), strict=True) if here]
    n_missed = sum(label is not None and not here for label, here in zip(labels, found.tolist(), strict=True))
    return probs[found], there, n_missed


def _missed(counts: Int64[np.ndarray, "cells cells"], classes: tuple[str, ...]) -> dict[str, int]:
    """Rows of each label that have no prediction: what the matrix has beyond the classes' columns."""
    return dict(zip(classes, counts[: len(classes), len(classes) :].sum(axis=1).tolist(), strict=True))


def _right(counts: Num[np.ndarray, "*more classes classes"]) -> Num[np.ndarray, "*more classes"]:
    """Rows of each class that were predicted so."""
    return np.asarray(np.diagonal(counts, axis1=-2, axis2=-1))


def _ratios(
    counts: Num[np.ndarray, "*more classes classes"],
) -> dict[str, tuple[Num[np.ndarray, "*more classes"], Num[np.ndarray, "*more classes"]]]:
    """What precision, recall and F1 divide for each class, and by what."""
    right, predicted, support = _right(counts), np.sum(counts, axis=-2), np.sum(counts, axis=-1)
    return {
        "precision": (right, predicted),
        "recall": (right, support),
        "f1": (2 * right, predicted + support),
    }


def _ratio(
    part: Num[np.ndarray, "*more classes"], whole: Num[np.ndarray, "*more classes"]
) -> Float64[np.ndarray, "*more classes"]:
    """Quotients; 0 where there is nothing to divide by."""
    return np.asarray(part / np.maximum(whole, 1))


def _named(counts: Int64[np.ndarray, "classes classes"], names: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """A confusion matrix by names, label first."""
    return {
        label: dict(zip(names, row, strict=True)) for label, row in zip(names, counts.tolist(), strict=True)
    }
