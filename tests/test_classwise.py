"""Class-wise fusion: learns which modality knows which expression, and stands alone where one is missing."""

import inspect
import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from mien.classwise import (
    LARGEST,
    STRENGTH,
    ClassWise,
    find_rule,
    fit_class_wise,
    read_class_wise,
    read_fusion,
)
from mien.errors import CheckpointError, InputError, MetricError
from mien.fusion import FLOOR, product, proportion

CLASSES = 3


def votes(n: int = 1500, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voice, face and targets: class 0 is heard and not seen, class 1 seen and not heard."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, n)
    clear = 3.0 * np.eye(CLASSES)[labels]
    voice, face = generator.normal(0, 1, (2, n, CLASSES))
    voice += clear * [1, 0, 1]
    face += clear * [0, 1, 1]
    return *(np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (voice, face)), np.eye(CLASSES)[
        labels
    ]


@pytest.fixture(scope="module")
def rule() -> ClassWise:
    return fit_class_wise(*votes())


def right(probs: np.ndarray, targets: np.ndarray) -> float:
    return float((probs.argmax(1) == targets.argmax(1)).mean())


def test_each_class_leans_on_the_modality_that_knows_it(rule: ClassWise) -> None:
    assert rule.voice[0] > rule.face[0]
    assert rule.face[1] > rule.voice[1]
    voice, face, targets = votes(seed=1)
    product = (voice + FLOOR) * (face + FLOOR)
    assert right(rule(voice, face), targets) > right(product, targets)


def test_fused_rows_are_distributions(rule: ClassWise) -> None:
    voice, face, _ = votes(200, seed=2)
    assert rule(voice, face).sum(1) == pytest.approx(np.ones(200))
    certain = np.eye(CLASSES)
    assert np.isfinite(rule(certain, certain[::-1])).all()


def test_a_missing_modality_leaves_the_other_s_own_fit(rule: ClassWise) -> None:
    voice, face, targets = votes(seed=3)
    n = len(voice)
    nobody, everybody = np.zeros(n, bool), np.ones(n, bool)
    for present, kept in (({"voice_present": nobody}, face), ({"face_present": nobody}, voice)):
        gone = {name: np.full_like(kept, np.nan) for name in ("voice", "face")}
        gone["face" if kept is face else "voice"] = kept
        alone = rule(**gone, **present)
        assert np.isfinite(alone).all()
        assert right(alone, targets) >= right(kept, targets) - 0.02
    assert np.isnan(rule(voice, face, voice_present=nobody, face_present=nobody)).all()
    assert np.array_equal(
        rule(voice, face, voice_present=everybody, face_present=everybody), rule(voice, face)
    )


@pytest.mark.parametrize("n", [5, 100, 1500])
def test_the_fit_is_where_its_loss_is_least(n: int) -> None:
    voice, face, targets = votes(n)
    rule = fit_class_wise(voice, face, targets)

    def loss(terms: np.ndarray) -> float:
        m, n, bias = terms.reshape(3, CLASSES)
        logits = m * np.log(voice + FLOOR) + n * np.log(face + FLOOR) + bias
        log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        drawn = STRENGTH * ((m - 1) ** 2 + (n - 1) ** 2) + STRENGTH / 100 * bias**2
        return float(drawn.sum() / 2 - (targets * log_probs).sum())

    least = minimize(loss, np.repeat([1.0, 1.0, 0.0], CLASSES), tol=1e-7)
    fitted = np.concatenate([rule.voice, rule.face, rule.bias])
    np.testing.assert_allclose(fitted, least.x, atol=1e-4)


def test_single_precision_is_worked_out_in_double(rule: ClassWise) -> None:
    voice, face, targets = (each.astype(np.float32) for each in votes(300))
    wide = [each.astype(np.float64) for each in (voice, face)]
    assert rule(voice, face).dtype == np.float64
    np.testing.assert_allclose(rule(voice, face), rule(*wide), atol=1e-6)
    found, wanted = fit_class_wise(voice, face, targets), fit_class_wise(*wide, targets)
    assert found.voice == pytest.approx(wanted.voice, abs=1e-4)


def test_the_way_of_fusing_that_is_named_is_found(rule: ClassWise) -> None:
    voice, face, _ = votes(5)
    assert find_rule("class_wise", (1.0, 1.0), rule) is rule
    assert find_rule("product", (2.0, 1.0), rule) is product
    for name in ("proportion", None):
        found = find_rule(name, (2.0, 3.0), rule)(voice, face)
        assert np.array_equal(found, proportion(voice, face, voice_weight=2, face_weight=3))
    with pytest.raises(AssertionError, match="not given"):
        find_rule("class_wise", (1.0, 1.0), None)


def test_names_of_ways_of_fusing() -> None:
    for name in ("proportion", "product", "class_wise"):
        assert read_fusion(name) == name
    for name in ("", "Product", "product "):
        with pytest.raises(InputError, match="expected proportion or product or class_wise"):
            read_fusion(name)


def test_with_little_to_learn_from_the_ratio_stays() -> None:
    voice, face, targets = votes(2)
    rule = fit_class_wise(voice, face, targets, (1, 3))
    assert rule.voice == pytest.approx(np.full(CLASSES, 0.5), abs=0.1)
    assert rule.face == pytest.approx(np.full(CLASSES, 1.5), abs=0.1)


def test_class_that_no_row_is_labelled_as_keeps_the_ratio() -> None:
    voice, face, targets = votes()
    absent = targets[:, 2] == 0
    rule = fit_class_wise(voice[absent], face[absent], targets[absent], (1, 3))
    assert (rule.voice[2], rule.face[2], rule.bias[2]) == (0.5, 1.5, 0.0)
    assert (rule.voice_alone[2], rule.face_alone_bias[2]) == (1.0, 0.0)
    assert rule.face[:2] != pytest.approx(np.full(2, 1.5), abs=0.1)
    assert rule.bias[:2].sum() == pytest.approx(0, abs=1e-9)
    said = rule(voice[~absent], face[~absent]).argmax(1)
    assert (said == 2).mean() > 0.5, "the fit has learnt never to name what it was not shown"


def test_each_fallback_is_fitted_wherever_its_modality_is_there() -> None:
    voice, face, targets = votes()
    heard, seen = np.arange(1500) >= 300, np.arange(1500) < 1200
    gone_voice, gone_face = (
        np.where(there[:, None], probs, np.nan) for probs, there in ((voice, heard), (face, seen))
    )
    rule = fit_class_wise(gone_voice, gone_face, targets, voice_present=heard, face_present=seen)
    both = heard & seen
    whole = fit_class_wise(voice[both], face[both], targets[both])
    assert rule.voice == pytest.approx(whole.voice)
    assert rule.face_alone == pytest.approx(fit_class_wise(voice[seen], face[seen], targets[seen]).face_alone)
    assert rule.voice_alone == pytest.approx(
        fit_class_wise(voice[heard], face[heard], targets[heard]).voice_alone
    )
    with pytest.raises(MetricError, match="no rows"):
        fit_class_wise(voice, face, targets, voice_present=~seen, face_present=seen)


NAMES = ("a", "b", "c")


def test_a_rule_is_read_as_it_was_written(rule: ClassWise) -> None:
    told = json.loads(json.dumps(rule.as_dict(NAMES)))
    assert told["b"]["face"] == rule.face[1]
    found = read_class_wise(dict(reversed(told.items())), NAMES, "here")
    for field in fields(ClassWise):
        assert getattr(found, field.name).tobytes() == getattr(rule, field.name).tobytes()


def spoilt(told: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    return told | {"b": told["b"] | {key: value}}


@pytest.mark.parametrize("number", [-LARGEST, LARGEST, 0, -3])
def test_numbers_up_to_the_largest_are_read(rule: ClassWise, number: float) -> None:
    found = read_class_wise(spoilt(rule.as_dict(NAMES), "bias", number), NAMES, "here")
    assert found.bias[1] == number


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), 1.001 * LARGEST, -1.001 * LARGEST, 10**400, "1", None, True, [1.0]]
)
def test_numbers_that_are_none_are_refused(rule: ClassWise, number: object) -> None:
    with pytest.raises(CheckpointError, match=r"^here: .*class_wise.*mien fit-fusion`$"):
        read_class_wise(spoilt(rule.as_dict(NAMES), "bias", number), NAMES, "here")


def test_other_classes_and_other_fields_are_refused(rule: ClassWise) -> None:
    told = rule.as_dict(NAMES)
    lacking = {name: numbers for name, numbers in told.items() if name != "b"}
    for wrong in (None, [], 1, lacking, told | {"d": told["a"]}, told | {"b": {}}, spoilt(told, "more", 1.0)):
        with pytest.raises(CheckpointError, match=r"^here: "):
            read_class_wise(wrong, NAMES, "here")


def test_shapes_that_differ_are_refused(rule: ClassWise) -> None:
    bare = inspect.unwrap(ClassWise.__call__)  # as users call it; tests hold shapes by the signature
    with pytest.raises(InputError, match="expected one row of each"):
        bare(rule, np.full((2, 3), 1 / 3), np.full((3, 3), 1 / 3))
    with pytest.raises(InputError, match="voice_present"):
        bare(rule, *np.full((2, 2, 3), 1 / 3), voice_present=np.ones(3, bool))
