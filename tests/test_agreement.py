"""Agreement is counted in seconds, and is what sklearn counts in moments."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from mien.agreement import agree
from mien.errors import MetricError
from mien.expressions import EXPRESSIONS
from mien.spans import Span

MOMENTS = st.lists(st.sampled_from([None, *EXPRESSIONS[:3]]), min_size=1, max_size=12)


def stretches(moments: list[str | None], step: float = 0.5) -> list[tuple[Span, str]]:
    """Each moment as a stretch of its own, in reversed order, which must not matter."""
    found = [
        (Span(number * step, (number + 1) * step), label)
        for number, label in enumerate(moments)
        if label is not None
    ]
    return found[::-1]


@given(one=MOMENTS, other=MOMENTS)
def test_it_is_what_sklearn_counts(one, other):
    n = min(len(one), len(other))
    pairs = [(a, b) for a, b in zip(one[:n], other[:n], strict=True) if a and b]
    assume(pairs)
    found = agree(stretches(one[:n]), stretches(other[:n]))
    assert found.seconds == pytest.approx(len(pairs) / 2)
    assert found.agreed == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert found.first_alone == pytest.approx(
        sum(a is not None and b is None for a, b in zip(one[:n], other[:n], strict=True)) / 2
    )
    same = len({name for pair in pairs for name in pair}) == 1
    assert (found.kappa is None) == same
    if not same:
        assert found.kappa == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))
    assert sum(sum(row.values()) for row in found.confusion.values()) == pytest.approx(found.seconds)


def test_rates_and_cuts_do_not_decide():
    whole = [(Span(0.0, 3.0), "Fear"), (Span(3.0, 4.0), "Anger")]
    cut = [(Span(k / 100, (k + 1) / 100), "Fear" if k < 300 else "Anger") for k in range(400)]
    found = agree(whole, cut)
    assert (found.agreed, found.kappa) == (pytest.approx(1), pytest.approx(1))
    assert str(found) == "100.0% of 4.0 s agreed, kappa 1.00"
    assert found.disagreements() == []


def test_disagreements_come_by_length():
    first = [(Span(0.0, 3.0), "Fear"), (Span(3.0, 8.0), "Anger")]
    second = [(Span(0.0, 2.0), "Fear"), (Span(2.0, 4.0), "Neutral"), (Span(4.0, 8.0), "Sadness")]
    found = agree(first, second).disagreements()
    assert found[0] == ("Anger", "Sadness", 4.0)
    assert sorted(found[1:]) == [("Anger", "Neutral", 1.0), ("Fear", "Neutral", 1.0)]


def test_two_things_at_once_and_nothing_in_common_are_refused():
    twice = [(Span(0.0, 3.0), "Fear"), (Span(2.0, 4.0), "Anger")]
    with pytest.raises(MetricError, match="Fear until 3 s and Anger from 2 s overlap"):
        agree(twice, twice[:1])
    with pytest.raises(MetricError, match="no time in which both"):
        agree(twice[:1], [(Span(3.0, 4.0), "Fear")])
