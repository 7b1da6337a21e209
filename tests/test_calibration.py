"""Calibration against hand examples, and temperatures that are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.calibration import (
    TEMPERATURES,
    ReliabilityBin,
    abstentions,
    expected_gap,
    fit_bias,
    fit_temperature,
    gap_by_chance,
    reliability,
)
from mien.errors import MetricError
from mien.expressions import EXPRESSIONS

TWO = ("Anger", "Fear")


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def two_class(confidences: list[float]) -> np.ndarray:
    """Rows that believe in Anger to these degrees."""
    return np.array([[one, 1 - one] for one in confidences])


def test_a_bias_is_found_where_there_is_one_and_classes_of_no_rows_stay() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4000, 8)).astype(np.float32)
    logits[:, 7] = -20.0  # never said and never right
    wanted = np.array([0.6, -0.4, 0.2, 0.0, -0.3, 0.1, -0.2, 0.0])
    probs = np.exp(logits / 0.7 + wanted)
    probs /= probs.sum(1, keepdims=True)
    labels = [EXPRESSIONS[generator.choice(8, p=row)] for row in probs]
    bias, temperature = fit_bias(logits, labels)
    assert temperature == pytest.approx(0.7, abs=0.05)
    centred = wanted[:7] - wanted[:7].mean()
    np.testing.assert_allclose(bias[:7] - bias[:7].mean(), centred, atol=0.12)
    assert abs(bias[7]) < 0.01


def test_a_bias_of_few_rows_stays_near_nothing_and_of_none_is_nothing() -> None:
    logits = np.log(np.full((3, 8), 0.125))
    bias, temperature = fit_bias(logits, ["Fear", "Fear", None])
    assert 0.1 < bias[EXPRESSIONS.index("Fear")] < 1
    assert 0.01 <= temperature <= 100
    with pytest.raises(MetricError, match="has a label"):
        fit_bias(logits, [None, None, None])


@given(st.integers(0, 99))
def test_a_bias_never_makes_the_labels_less_likely(seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (30, 8))
    labels = [EXPRESSIONS[k] for k in generator.integers(0, 8, 30)]
    at = [EXPRESSIONS.index(label) for label in labels]

    def loss(scores: np.ndarray) -> float:
        return float((np.logaddexp.reduce(scores, axis=1) - scores[range(30), at]).sum())

    bias, temperature = fit_bias(logits, labels)
    best = logits / fit_temperature(logits, labels)
    assert loss(logits / temperature + bias) <= loss(best) + 1e-6


def test_two_bins_by_hand() -> None:
    probs = two_class([0.6, 0.7, 0.8, 0.9])
    bins = reliability(probs, ["Anger", "Fear", "Anger", "Anger"], TWO, n_bins=2)
    assert [(one.low, one.high, one.accuracy, one.count) for one in bins] == [
        (0.6, 0.7, 0.5, 2),
        (0.8, 0.9, 1.0, 2),
    ]
    assert [one.confidence for one in bins] == pytest.approx([0.65, 0.85])
    assert expected_gap(bins) == pytest.approx((0.15 + 0.15) / 2)


def test_a_bin_weighs_as_much_as_it_has_rows() -> None:
    bins = reliability(two_class([0.6, 0.6, 0.6, 0.9]), ["Anger", "Fear", "Fear", "Anger"], TWO)
    assert expected_gap(bins) == pytest.approx(3 / 4 * abs(1 / 3 - 0.6) + 1 / 4 * 0.1)


def test_rows_of_equal_confidence_stay_together() -> None:
    bins = reliability(two_class([0.75] * 6), ["Anger", "Fear"] * 3, TWO, n_bins=3)
    assert bins == (ReliabilityBin(low=0.75, high=0.75, confidence=0.75, accuracy=0.5, count=6),)


@given(st.lists(st.tuples(st.floats(0.5, 1), st.sampled_from(TWO)), min_size=1, max_size=50), st.randoms())
def test_bins_hold_every_row_once_in_any_order(rows: list[tuple[float, str]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = (
        reliability(two_class([one for one, _ in order]), [label for _, label in order], TWO)
        for order in (rows, shuffled)
    )
    assert sum(one.count for one in first) == len(rows)
    assert all(one.high < other.low for one, other in itertools.pairwise(first))
    assert [(one.low, one.count, one.accuracy) for one in first] == [
        (one.low, one.count, one.accuracy) for one in second
    ]


def test_bins_are_of_nearly_equal_count() -> None:
    probs = two_class(np.linspace(0.5, 1, 1000).tolist())
    counts = [one.count for one in reliability(probs, ["Anger"] * 1000, TWO)]
    assert len(counts) == 15
    assert max(counts) - min(counts) <= 1


@given(
    confidence=st.lists(st.floats(0.5, 1), min_size=1, max_size=30),
    n_missed=st.integers(0, 5),
    data=st.data(),
)
def test_abstention_counts_what_is_left(confidence: list[float], n_missed: int, data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.sampled_from(TWO), min_size=len(confidence), max_size=len(confidence)))
    found = abstentions(two_class(confidence), labels, TWO, n_missed)
    assert found[0].threshold == 0
    assert [one.threshold for one in found] == pytest.approx([k / 50 for k in range(len(found))])
    n_rows = len(confidence) + n_missed
    for one in found:
        sure = [name for p, name in zip(confidence, labels, strict=True) if max(p, 1 - p) >= one.threshold]
        assert one.coverage == pytest.approx(len(sure) / n_rows)
        assert one.risk == pytest.approx(sum(name != TWO[0] for name in sure) / len(sure))
    assert len(found) == 50 or max(confidence) < len(found) / 50


def test_probabilities_that_are_true_have_no_gap() -> None:
    rng = np.random.default_rng(0)
    probs = softmax(2 * rng.standard_normal((20_000, 8)))
    labels = [EXPRESSIONS[rng.choice(8, p=one)] for one in probs]
    assert expected_gap(reliability(probs, labels, EXPRESSIONS)) < 0.02
    assert expected_gap(reliability(softmax(3 * np.log(probs)), labels, EXPRESSIONS)) > 0.1


@pytest.mark.parametrize("n_rows", [15, 60, 240, 3000])
def test_gap_by_chance_is_that_of_true_probabilities(n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    probs = softmax(2 * rng.standard_normal((n_rows, 8)))
    gaps = []
    for _ in range(60):
        labels = [EXPRESSIONS[column] for column in (probs.cumsum(1) > rng.random((n_rows, 1))).argmax(1)]
        gaps.append(expected_gap(reliability(probs, labels, EXPRESSIONS)))
    # bins are taken for rows of one confidence, which strays a little more
    assert gap_by_chance(reliability(probs, labels, EXPRESSIONS)) == pytest.approx(np.mean(gaps), rel=0.1)


@given(n=st.integers(1, 300), chance=st.floats(0, 1))
def test_deviation_is_the_binomial_s_mean_distance(n: int, chance: float) -> None:
    bins = (ReliabilityBin(low=chance, high=chance, confidence=chance, accuracy=0.0, count=n),)
    shares = np.arange(n + 1) / n
    likely = np.array([math.comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(n + 1)])
    expected = (likely * np.abs(shares - chance)).sum()
    assert gap_by_chance(bins) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_known_temperature_is_recovered(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((20_000, 8)) * 2
    truth = softmax(logits / temperature)
    assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=1e-6)
    names = [EXPRESSIONS[rng.choice(8, p=one)] for one in truth]
    assert fit_temperature(logits, names) == pytest.approx(temperature, rel=0.05)
    with_gap = np.vstack([logits, np.full((1, 8), np.nan)])
    assert fit_temperature(with_gap, [*names, None]) == fit_temperature(logits, names)


def test_fitted_temperature_has_the_least_loss() -> None:
    rng = np.random.default_rng(3)
    logits, targets = rng.standard_normal((50, 3)) * 4, rng.dirichlet([1, 1, 1], 50)

    def loss(temperature: float) -> float:
        return float(-(targets * np.log(softmax(logits / temperature))).sum(axis=1).mean())

    best = fit_temperature(logits, targets, ("Anger", "Fear", "Other"))
    assert loss(best) < min(loss(best * 1.01), loss(best * 0.99))


def test_temperature_stays_within_its_bounds() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(logits, ["Anger", "Fear"], TWO) == pytest.approx(TEMPERATURES[0])
    assert fit_temperature(logits, ["Fear", "Anger"], TWO) == pytest.approx(TEMPERATURES[1])
    assert fit_temperature(logits * 1e6, ["Anger", "Fear"], TWO) > 0


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (np.zeros((1, 2)), ["Anger", "Fear"], r"logits are \(1, 2\); expected \(2, 2\)"),
        (np.zeros((1, 3)), ["Anger"], r"logits are \(1, 3\); expected \(1, 2\)"),
        (np.full((1, 2), np.nan), ["Anger"], "NaN or infinite"),
        (np.zeros((1, 2)), [None], "none of 1 rows has a label"),
        (np.zeros((1, 2)), ["Bored"], "'Bored' is not a class"),
        (np.zeros((1, 2)), np.array([[1.0, 1.0]]), "does not sum to 1"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "expected at least one row of 2 classes"),
    ],
)
def test_what_has_no_temperature_is_refused(logits: np.ndarray, targets: object, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        fit_temperature(logits, targets, TWO)
