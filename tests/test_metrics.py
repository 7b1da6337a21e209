"""Scores against scikit-learn's and against hand examples; intervals, and what must be refused."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score

from mien.calibration import gap_by_chance
from mien.errors import MetricError
from mien.expressions import EXPRESSIONS
from mien.metrics import (
    Interval,
    accuracy,
    bootstrap,
    confusion,
    macro_f1,
    paired_bootstrap,
    per_class,
    quadrant_confusion,
    score,
    uar,
)

AFFWILD2_VAL = (82_258, 6_126, 5_296, 8_408, 34_511, 25_157, 12_332, 106_444)
"""Frames of each class in Aff-Wild2's validation split, in the order of EXPRESSIONS."""

name = st.sampled_from(EXPRESSIONS)
rows = st.lists(st.tuples(name, name), min_size=1, max_size=60)


def drawn(n_rows: int, seed: int = 0, skill: float = 0.5) -> tuple[list[str], list[str]]:
    """Labels, and predictions of which a share is right."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(EXPRESSIONS, n_rows)
    guesses = np.where(rng.random(n_rows) < skill, labels, rng.choice(EXPRESSIONS, n_rows))
    return labels.tolist(), guesses.tolist()


@settings(deadline=None)  # the machine may be busy
@given(rows)
def test_scores_are_those_of_sklearn(pairs: list[tuple[str, str]]) -> None:
    labels, predictions = [list(column) for column in zip(*pairs, strict=True)]
    counts = confusion(labels, predictions, EXPRESSIONS)
    assert (counts == confusion_matrix(labels, predictions, labels=EXPRESSIONS)).all()
    options = {"labels": EXPRESSIONS, "zero_division": 0}
    assert macro_f1(counts) == pytest.approx(f1_score(labels, predictions, average="macro", **options))
    occurring = sorted(set(labels))
    expected = recall_score(labels, predictions, labels=occurring, average="macro", zero_division=0)
    assert uar(counts) == pytest.approx(expected)
    assert accuracy(counts) == pytest.approx(np.mean([one == other for one, other in pairs]))
    table = per_class(counts, EXPRESSIONS)
    for field, oracle in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        ours = [getattr(table[one], field).value for one in EXPRESSIONS]
        assert ours == pytest.approx(oracle(labels, predictions, average=None, **options))
    assert [table[one].support for one in EXPRESSIONS] == [labels.count(one) for one in EXPRESSIONS]


@settings(deadline=None)  # the machine may be busy
@given(rows, st.randoms())
def test_order_of_rows_does_not_matter(pairs: list[tuple[str, str]], random: object) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    groups = {pair: f"video {number % 3}" for number, pair in enumerate(pairs)}
    before, after = (
        score([one for one, _ in order], [other for _, other in order], groups=[groups[p] for p in order])
        for order in (pairs, shuffled)
    )
    assert before.as_dict() == after.as_dict()


def test_always_other_scores_as_little_as_it_should_on_affwild2() -> None:
    labels = np.repeat(EXPRESSIONS, AFFWILD2_VAL).tolist()
    scores = score(labels, ["Other"] * len(labels))
    assert scores.macro_f1.value == pytest.approx(0.0688, abs=5e-5)
    assert scores.uar.value == pytest.approx(1 / 8)
    assert scores.n == sum(AFFWILD2_VAL)


def test_class_in_neither_counts_as_zero_in_macro_f1_but_not_in_uar() -> None:
    counts = confusion(["Fear", "Anger"], ["Fear", "Anger"], ("Anger", "Fear", "Sadness"))
    assert macro_f1(counts) == pytest.approx(2 / 3)
    assert uar(counts) == 1.0


def test_a_stack_of_matrices_scores_as_its_members() -> None:
    stack = np.random.default_rng(0).integers(0, 9, (5, 8, 8))
    for of in (macro_f1, accuracy, uar):
        assert of(stack) == pytest.approx([float(of(one)) for one in stack])


def test_rows_without_a_label_never_enter() -> None:
    labels, predictions = drawn(40)
    with_gaps = [*labels, None, None]
    assert (confusion(with_gaps, [*predictions, "Fear", None], EXPRESSIONS).sum()) == 40
    probs = np.full((42, 8), np.nan)
    probs[:40] = np.eye(8)[[EXPRESSIONS.index(one) for one in predictions]]
    groups = [f"video {number % 4}" for number in range(40)]
    kept = score(labels, probs[:40], groups=groups)
    assert score(with_gaps, probs, groups=[*groups, "unlabelled", "unlabelled"]).as_dict() == kept.as_dict()


def test_quadrants_pool_expressions_and_leave_other_out() -> None:
    labels = ["Anger", "Fear", "Happiness", "Sadness", "Neutral", "Other", "Fear"]
    predictions = ["Fear", "Surprise", "Surprise", "Neutral", "Neutral", "Anger", "Other"]
    counts = quadrant_confusion(confusion(labels, predictions, EXPRESSIONS), EXPRESSIONS)
    assert counts.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    shares = quadrant_confusion(confusion(labels, predictions, EXPRESSIONS).astype(float), EXPRESSIONS)
    assert (shares.tolist(), shares.dtype) == (counts.tolist(), np.int64)
    with pytest.raises(MetricError, match="'laugh' has no quadrant"):
        quadrant_confusion(np.eye(1), ("laugh",))


def test_bootstrap_repeats_and_surrounds_the_value() -> None:
    labels, predictions = drawn(400)
    first = bootstrap(macro_f1, labels, predictions, EXPRESSIONS)
    assert first == bootstrap(macro_f1, labels, predictions, EXPRESSIONS)
    assert first != bootstrap(macro_f1, labels, predictions, EXPRESSIONS, seed=1)
    assert first.low < first.value < first.high
    assert first.value == macro_f1(confusion(labels, predictions, EXPRESSIONS))
    narrower = bootstrap(macro_f1, labels, predictions, EXPRESSIONS, level=0.5)
    assert first.low < narrower.low < narrower.high < first.high


def test_paired_bootstrap_is_narrower_than_two_of_its_kind() -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(["Anger", "Fear"], 2000)
    groups = [f"actor {i % 20}" for i in range(2000)]
    hard = generator.random(20) < 0.5  # some groups are hard for both
    wrong = np.where(hard[np.arange(2000) % 20], 0.5, 0.1)[None] * [[1.0], [0.9]] > generator.random(2000)
    swapped = np.where(labels == "Fear", "Anger", "Fear")
    theirs, ours = (np.where(each, swapped, labels).tolist() for each in wrong)
    classes = ("Anger", "Fear")
    gain = paired_bootstrap(accuracy, labels.tolist(), ours, theirs, classes, groups)
    alone = [bootstrap(accuracy, labels.tolist(), each, classes, groups) for each in (ours, theirs)]
    assert gain.value == pytest.approx(alone[0].value - alone[1].value)
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < gain.value < gain.high
    assert gain.high - gain.low < 0.5 * min(each.high - each.low for each in alone)
    nothing = paired_bootstrap(accuracy, labels.tolist(), ours, ours, classes, groups)
    assert (nothing.low, nothing.value, nothing.high) == (0.0, 0.0, 0.0)


def test_bootstrap_of_rows_is_that_of_resampled_rows() -> None:
    labels, predictions = drawn(150)
    ours = bootstrap(macro_f1, labels, predictions, EXPRESSIONS, n=4000)
    rng = np.random.default_rng(5)
    draws = rng.integers(0, 150, (4000, 150)).tolist()
    scores = [
        macro_f1(confusion([labels[i] for i in rows], [predictions[i] for i in rows], EXPRESSIONS))
        for rows in draws
    ]
    assert (ours.low, ours.high) == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.01)


def test_bootstrap_of_groups_is_that_of_resampled_groups() -> None:
    labels, predictions = drawn(150)
    right = np.array(labels) == np.array(predictions)
    groups = np.random.default_rng(2).integers(0, 12, 150)
    ours = bootstrap(accuracy, labels, predictions, EXPRESSIONS, groups=[f"{g:02}" for g in groups], n=4000)
    rng = np.random.default_rng(5)
    scores = []
    for draw in rng.integers(0, 12, (4000, 12)):
        chosen = np.concatenate([np.flatnonzero(groups == one) for one in draw])
        scores.append(right[chosen].mean())
    assert (ours.low, ours.high) == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.01)


def naive(field: str, draws: list[np.ndarray], labels: list[str], predictions: list[str]) -> list[float]:
    """Precision, recall or F1 of Fear in each draw of rows that does not leave it undefined."""
    fear, guessed = np.array(labels) == "Fear", np.array(predictions) == "Fear"
    scores = []
    for rows in draws:
        right, n_fear, n_guessed = (fear & guessed)[rows].sum(), fear[rows].sum(), guessed[rows].sum()
        whole = {"precision": n_guessed, "recall": n_fear, "f1": (n_fear + n_guessed) / 2}[field]
        if whole:
            scores.append(right / whole)
    return scores


@pytest.mark.parametrize("field", ["precision", "recall", "f1"])
def test_bounds_of_a_class_are_those_of_resampled_rows(field: str) -> None:
    labels, predictions = drawn(60, seed=3)
    ours = getattr(score(labels, predictions).per_class["Fear"], field)
    draws = list(np.random.default_rng(5).integers(0, 60, (4000, 60)))
    scores = naive(field, draws, labels, predictions)
    assert (ours.low, ours.high) == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.04)
    assert ours.low < ours.value < ours.high


@pytest.mark.parametrize("field", ["precision", "recall", "f1"])
def test_bounds_of_a_class_are_those_of_resampled_groups(field: str) -> None:
    labels, predictions = drawn(150)
    groups = np.random.default_rng(2).integers(0, 12, 150)
    ours = getattr(score(labels, predictions, groups=[f"{g:02}" for g in groups]).per_class["Fear"], field)
    draws = [
        np.concatenate([np.flatnonzero(groups == one) for one in draw])
        for draw in np.random.default_rng(5).integers(0, 12, (4000, 12))
    ]
    scores = naive(field, draws, labels, predictions)
    assert (ours.low, ours.high) == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.04)


def test_resamples_without_a_rare_class_say_nothing_of_it() -> None:
    scores = score(["Fear", *["Anger"] * 9], ["Fear", *["Anger"] * 9])
    assert scores.per_class["Fear"].recall == Interval(1.0, 1.0, 1.0)
    assert scores.macro_f1.low < scores.macro_f1.value  # there a class that does not occur counts as 0


def test_class_without_rows_has_no_bounds_and_json_has_null() -> None:
    scores = score(["Fear", "Anger", "Fear"], ["Fear", "Fear", "Happiness"])
    nothing, only_guessed = scores.per_class["Sadness"], scores.per_class["Happiness"]
    assert nothing.precision == nothing.recall == nothing.f1 == Interval(None, 0.0, None)
    assert only_guessed.recall == Interval(None, 0.0, None)
    assert only_guessed.precision == only_guessed.f1 == Interval(0.0, 0.0, 0.0)
    written = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert written["per_class"]["Sadness"]["recall"] == {"low": None, "value": 0.0, "high": None}


def test_counts_alone_give_scores_without_bounds() -> None:
    found = per_class(np.array([[1, 1], [0, 2]]), ("Anger", "Fear"))
    assert found["Anger"].recall == Interval(None, 0.5, None)
    assert (found["Fear"].precision.value, found["Fear"].support) == (pytest.approx(2 / 3), 2)


def test_groups_of_rows_that_fail_together_widen_the_interval() -> None:
    labels = ["Fear", "Anger"] * 200
    right = [number // 40 % 2 == 0 for number in range(400)]
    predictions = [one if good else "Other" for one, good in zip(labels, right, strict=True)]
    groups = [f"video {number // 40}" for number in range(400)]
    by_row = bootstrap(accuracy, labels, predictions, EXPRESSIONS)
    by_group = bootstrap(accuracy, labels, predictions, EXPRESSIONS, groups=groups)
    assert by_group.high - by_group.low > 3 * (by_row.high - by_row.low)
    assert by_group.value == by_row.value


def test_a_single_group_has_no_bounds() -> None:
    scores = score(["Fear", "Anger"], ["Fear", "Fear"], groups=["a", "a"])
    assert scores.accuracy == Interval(None, 0.5, None)
    assert scores.n_groups == 1
    assert str(scores.accuracy) == "0.5000"
    assert str(Interval(0.25, 0.5, 0.75)) == f"{Interval(0.25, 0.5, 0.75)}" == "0.5000 [0.2500, 0.7500]"
    assert scores.per_class["Fear"].recall == Interval(None, 1.0, None)
    assert f"{scores.accuracy:.1f}" == "0.5"


def test_resampling_is_fast_enough_for_a_whole_split() -> None:
    labels, predictions = drawn(300_000)
    groups = [f"video {number // 100}" for number in range(300_000)]
    start = time.perf_counter()
    bootstrap(macro_f1, labels, predictions, EXPRESSIONS, groups=groups)
    assert time.perf_counter() - start < 10


def test_scores_from_probabilities_say_more_than_from_names() -> None:
    labels, predictions = drawn(90)
    probs = 0.6 * np.eye(8)[[EXPRESSIONS.index(one) for one in predictions]] + 0.05
    from_probs, from_names = score(labels, probs), score(labels, predictions)
    assert from_names.n_groups is from_probs.n_groups is from_names.ece is None
    assert from_names.ece_by_chance is None
    assert from_probs.ece_by_chance == gap_by_chance(from_probs.reliability)
    assert from_names.reliability == from_names.abstention == ()
    assert from_probs.ece == pytest.approx(abs(0.65 - from_probs.accuracy.value))
    assert from_probs.macro_f1 == from_names.macro_f1
    written = json.loads(json.dumps(from_probs.as_dict()))
    assert written["confusion"]["Fear"]["Anger"] == from_probs.confusion[3, 1]
    assert written["macro_f1"]["value"] == from_probs.macro_f1.value
    assert written["per_class"]["Sadness"]["support"] == labels.count("Sadness")
    assert written["quadrants"]["pleasant-calm"]["pleasant-calm"] == from_probs.quadrants[3, 3]


@pytest.mark.parametrize(
    ("labels", "predicted", "groups", "message"),
    [
        ([], [], None, "none of 0 rows has a label"),
        ([None], ["Fear"], None, "none of 1 rows has a label"),
        (["Fear"], ["Fear", "Fear"], None, "1 labels but 2 predictions"),
        (["fear"], ["Fear"], None, "'fear' is not a class; expected one of Neutral"),
        (["Fear"], ["Bored"], None, "'Bored' is not a class"),
        (["-1"], ["Fear"], None, "'-1' is not a class"),
        (["Fear"], [None], None, "1 labelled rows have no prediction"),
        (["Fear"], ["Fear"], ["a", "b"], "2 groups for 1 labels"),
        (["Fear"], np.full((1, 8), np.nan), None, "holds NaN"),
        (["Fear"], np.full((1, 8), 0.5), None, "does not sum to 1"),
        (["Fear"], np.full((2, 8), 0.125), None, "2 rows of probabilities for 1 labels"),
        (["Fear"], np.full((1, 7), 1 / 7), None, "expected at least one row of 8 classes"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    labels: list, predicted: object, groups: object, message: str
) -> None:
    with pytest.raises(MetricError, match=message):
        score(labels, predicted, groups=groups)


PRESENT = ("Anger", "Fear")
PARTLY = np.array([[0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [np.nan, np.nan, np.nan], [0.1, 0.7, 0.2]])
"""Of three classes, the last of which no row is labelled as; of one row nothing was found."""


def test_macro_f1_is_the_mean_of_the_classes_named() -> None:
    labels = ["Anger", "Fear", "Fear"]
    guesses = ["Anger", "Sadness", "Fear"]
    ours = score(labels, guesses, (*PRESENT, "Sadness"), averaged=PRESENT)
    assert ours.macro_f1.value == pytest.approx(
        f1_score(labels, guesses, labels=list(PRESENT), average="macro", zero_division=0)
    )
    assert ours.averaged == PRESENT
    assert score(labels, guesses, (*PRESENT, "Sadness")).macro_f1.value < ours.macro_f1.value


def test_a_row_in_which_nothing_was_found_is_wrong() -> None:
    found = np.array([True, True, False, True])
    labels = ["Anger", "Fear", "Fear", "Fear"]
    ours = score(labels, PARTLY, (*PRESENT, "Sadness"), averaged=PRESENT, found=found)
    assert (ours.n, ours.missed) == (4, {"Fear": 1})
    assert ours.accuracy.value == pytest.approx(2 / 4)
    assert ours.uar.value == pytest.approx((1 + 1 / 3) / 2)
    assert ours.per_class["Fear"].support == 3
    assert ours.per_class["Fear"].precision.value == 1
    assert ours.macro_f1.value == pytest.approx((1 + 2 * 1 / (1 + 3)) / 2)
    assert ours.confusion.sum() == 3
    assert sum(one.count for one in ours.reliability) == 3
    assert (ours.abstention[0].coverage, ours.abstention[0].risk) == (3 / 4, pytest.approx(1 / 3))
    assert set(ours.per_class) == {*PRESENT, "Sadness"}
    assert ours.as_dict()["missed"] == {"Fear": 1}


def test_where_all_were_found_nothing_changes() -> None:
    labels, probs = ["Anger", "Fear", "Fear"], PARTLY[[0, 1, 3]]
    plain = score(labels, probs, (*PRESENT, "Sadness"))
    told = score(labels, probs, (*PRESENT, "Sadness"), found=np.ones(3, np.bool_))
    assert plain.as_dict() == told.as_dict()
