"""Two opinions on who shows what, as stretches of time, in; how far they agree out.

Everything is counted in seconds, so that neither the rate of frames nor the number of stretches decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mien.errors import MetricError
from mien.expressions import EXPRESSIONS
from mien.spans import Span

Stretches = Sequence[tuple[Span, str]]
"""Stretches of time, each with one of `EXPRESSIONS`; none overlaps another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two opinions agree where both say something."""

    seconds: float
    """In which both say something."""
    agreed: float
    """Share of these in which both say the same."""
    kappa: float | None
    """Cohen's kappa: `agreed` beyond what two opinions of these shares have by chance; 1 is all, 0 is chance.

    None where both say one and the same all the time, so that chance agrees too.
    """
    confusion: dict[str, dict[str, float]]
    """Seconds, by what the first says and by what the second says; only pairs that occur."""
    first_alone: float
    """Seconds in which only the first says something."""
    second_alone: float
    """Seconds in which only the second does."""

    def disagreements(self) -> list[tuple[str, str, float]]:
        """What the first says, what the second says instead, and for how many seconds; the longest first."""
        pairs = [
            (one, other, seconds)
            for one, row in self.confusion.items()
            for other, seconds in row.items()
            if one != other
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def __str__(self) -> str:
        kappa = "none" if self.kappa is None else f"{self.kappa:.2f}"
        return f"{self.agreed:.1%} of {self.seconds:.1f} s agreed, kappa {kappa}"


def agree(first: Stretches, second: Stretches) -> Agreement:
    """How far two opinions agree.

    Args:
        first: Stretches in any order.
        second: As `first`.

    Raises:
        MetricError: There is no time in which both say something, or one says two things at once.

    >>> first = [(Span(0, 2), "Fear"), (Span(2, 4), "Anger")]
    >>> second = [(Span(1, 3), "Fear"), (Span(3, 4), "Anger")]
    >>> found = agree(first, second)
    >>> found.seconds, round(found.agreed, 3), round(found.kappa, 3), found.first_alone
    (3.0, 0.667, 0.4, 1.0)
    """
    refuse_overlaps(first)
    refuse_overlaps(second)
    edges = sorted({edge for span, _ in (*first, *second) for edge in (span.start, span.end)})
    ours, theirs = _Cursor(first), _Cursor(second)
    confusion: dict[str, dict[str, float]] = {}
    alone = {True: 0.0, False: 0.0}
    for start, end in pairwise(edges):
        one, other = ours.at(start), theirs.at(start)
        if one is not None and other is not None:
            row = confusion.setdefault(one, {})
            row[other] = row.get(other, 0.0) + end - start
        elif (one is None) != (other is None):
            alone[one is not None] += end - start
    seconds = sum(sum(row.values()) for row in confusion.values())
    if not seconds:
        raise MetricError("there is no time in which both say something; compare labels of the same stretch")
    agreed = sum(row.get(name, 0.0) for name, row in confusion.items()) / seconds
    chance = sum(
        sum(confusion.get(name, {}).values()) * sum(row.get(name, 0.0) for row in confusion.values())
        for name in EXPRESSIONS
    ) / (seconds * seconds)
    return Agreement(
        seconds=seconds,
        agreed=agreed,
        kappa=None if chance > 1 - 1e-9 else (agreed - chance) / (1 - chance),
        confusion=confusion,
        first_alone=alone[True],
        second_alone=alone[False],
    )


def refuse_overlaps(stretches: Stretches) -> None:
    """Checks that no two things are said at once.

    Raises:
        MetricError: They are; it says when.
    """
    ordered = sorted(stretches, key=lambda each: (each[0].start, each[0].end))
    for (one, label), (other, following) in pairwise(ordered):
        if other.start < one.end - 1e-6:
            raise MetricError(
                f"{label} until {one.end:g} s and {following} from {other.start:g} s overlap; "
                "compare one person at a time"
            )


class _Cursor:
    """What is said at a time, for times that rise."""

    def __init__(self, stretches: Stretches) -> None:
        self._left = sorted(stretches, key=lambda each: -each[0].start)

    def at(self, time: float) -> str | None:
        while self._left and self._left[-1][0].end <= time:
            self._left.pop()
        if self._left and self._left[-1][0].start <= time:
            return self._left[-1][1]
        return None
