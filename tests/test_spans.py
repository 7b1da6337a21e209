"""Seconds to samples to columns, and spans of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.spans import (
    COLUMNS_PER_SECOND,
    HOP_SAMPLES,
    SAMPLE_RATE,
    Span,
    column_at,
)

times = st.floats(0, 1e5)
spans = st.tuples(times, times).map(lambda pair: Span(min(pair), max(pair)))


def test_constants_agree() -> None:
    assert COLUMNS_PER_SECOND * HOP_SAMPLES == SAMPLE_RATE


@given(times)
def test_a_time_lies_in_its_column(time: float) -> None:
    assert 0 <= time - column_at(time) / COLUMNS_PER_SECOND + 1e-6 <= 0.01 + 2e-6


@given(st.integers(0, 10**7))
def test_a_column_starts_at_its_hundredth(column: int) -> None:
    assert column_at(column / 100) == column
    assert column_at((column + 0.5) / COLUMNS_PER_SECOND) == column


@given(spans, spans)
def test_overlap_is_shared_and_bounded(one: Span, other: Span) -> None:
    assert one.overlap(other) == other.overlap(one)
    assert 0 <= one.overlap(other) <= min(one.duration, other.duration)
    assert one.overlap(one) == one.duration


def test_spans_are_half_open() -> None:
    span = Span(1.0, 2.0)
    assert 1.0 in span
    assert 2.0 not in span
    assert span.overlap(Span(2.0, 3.0)) == 0


def test_a_span_does_not_end_before_it_starts() -> None:
    with pytest.raises(AssertionError, match="ends before it starts"):
        Span(2.0, 1.0)
