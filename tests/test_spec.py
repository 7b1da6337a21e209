"""The text inside every model file: it comes back as it was, and other texts are refused."""

import json
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import CheckpointError
from mien.expressions import EXPRESSIONS
from mien.spec import FORMAT, ModelSpec, fits, read_spec

numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | numbers | st.text())
positive = st.floats(0, 60, exclude_min=True)
shares = st.floats(-1, 2)
points = st.lists(st.tuples(shares, shares), min_size=5, max_size=5, unique=True).map(tuple)
common = st.fixed_dictionaries(
    {
        "network": plain,
        "expressions": st.just(EXPRESSIONS),
        "masked": st.lists(st.sampled_from(EXPRESSIONS), max_size=7, unique=True).map(tuple),
        "temperature": positive,
        "licence": st.text(),
        "training": plain,
    }
)
own = st.fixed_dictionaries(
    {"modality": st.just("face"), "crop_px": st.integers(8, 1024), "landmarks": points}
) | st.fixed_dictionaries({"modality": st.just("speech"), "window": positive})
specs = st.builds(lambda shared, others: ModelSpec(**shared, **others), common, own)

SPEC = ModelSpec(
    modality="face",
    network={"a": 1},
    expressions=EXPRESSIONS,
    crop_px=48,
    landmarks=((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)),
    licence="CC BY 4.0",
    training={},
)


@settings(deadline=None)
@given(specs)
def test_a_specification_comes_back_as_it_was_written(spec: ModelSpec) -> None:
    assert read_spec(spec.to_text(), "model") == spec


def test_equal_specifications_are_equal_texts() -> None:
    assert SPEC.to_text() == read_spec(SPEC.to_text(), "model").to_text()
    assert "\n" not in SPEC.to_text()


def refused(text: str | None, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        read_spec(text, "face.onnx")
    assert str(caught.value).startswith("face.onnx")
    assert "\n" not in str(caught.value)


def test_texts_that_are_no_specification() -> None:
    refused(None, "carries no description")
    refused("", "not JSON")
    refused(SPEC.to_text()[:-1], "not JSON")
    for text in ("null", "[]", "3", "{}"):
        refused(text, "another version")


def changed(**values: object) -> str:
    return json.dumps(json.loads(SPEC.to_text()) | values)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("temperature", value) for value in (0, -1, float("nan"), float("inf"))),
        *(("crop_px", value) for value in (0, 7, 1025, 10**9)),
        *(("landmarks", value) for value in ([], [[0.1, 0.2]] * 5, [[0.1, 0.2], [0, 0], [0, 1], [1, 0]])),
        ("landmarks", [[0.1, 0.2], [0, 0], [0, 1], [1, 0], [float("nan"), 0]]),
        ("landmarks", [[0.1, 0.2], [0, 0], [0, 1], [1, 0], [1e300, 0]]),
        *(("masked", value) for value in (EXPRESSIONS, ["Contempt"])),
        *(("window", value) for value in (0, -3.2, 61, float("nan"))),
    ],
)
def test_values_that_no_model_has(name: str, wrong: object) -> None:
    speech = {"modality": "speech", "crop_px": None, "landmarks": None, "window": 3.2}
    refused(
        changed(**((speech if name == "window" else {}) | {name: wrong})), rf"its {name} is .*; expected "
    )


def test_a_model_without_what_its_input_is_cut_by() -> None:
    refused(changed(crop_px=None), "describes a face model without crop_px; export it again")
    refused(changed(landmarks=None), "a face model without landmarks;")
    refused(changed(crop_px=None, landmarks=None), "without crop_px and landmarks;")
    refused(changed(modality="speech"), "a speech model without window;")
    assert read_spec(changed(modality="speech", window=3.2), "speech.onnx").window == 3.2


def test_other_versions() -> None:
    refused(changed(format=FORMAT + 1), "another version")
    refused(changed(colour="grey"), "another version")
    lacking = json.loads(SPEC.to_text())
    del lacking["temperature"]
    refused(json.dumps(lacking), "another version")


def test_expressions_in_another_order_are_refused_since_nothing_reorders_them() -> None:
    refused(changed(expressions=["happy", "sad"]), "knows happy, sad; expected Neutral, Anger")
    refused(changed(expressions=EXPRESSIONS[::-1]), "knows Other, Surprise")
    refused(changed(expressions=[*EXPRESSIONS, "Other"]), "expected Neutral")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("modality", "hand"),
        ("network", []),
        ("expressions", None),
        ("masked", "Other"),
        ("temperature", "1"),
        ("crop_px", 48.0),
        ("landmarks", [[0.3, 0.4, 0.5]]),
        ("landmarks", 3),
        ("window", True),
        ("licence", None),
    ],
)
def test_values_of_another_type(name: str, value: object) -> None:
    refused(changed(**{name: value}), f"its {name} is .* damaged")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, bool),
        (3, int),
        (3, float),
        (0.5, float),
        ("a", str),
        ("b", Literal["a", "b"]),
        (None, int | None),
        ([1, 2], tuple[int, int]),
        ([], tuple[str, ...]),
        (["a", "b", "c"], tuple[str, ...]),
        ([[0, 1.5]], tuple[tuple[float, float], ...]),
        ({"a": object()}, dict[str, Any]),
        ({"a": "b"}, dict[str, str]),
    ],
)
def test_values_that_fit(value: object, kind: object) -> None:
    assert fits(value, kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, bool),
        (True, int),
        (True, float),
        (3.0, int),
        ("3", float),
        (None, str),
        ("c", Literal["a", "b"]),
        ("", int | None),
        ([1], tuple[int, int]),
        ([1, "2"], tuple[int, int]),
        ("ab", tuple[str, ...]),
        ([["0"]], tuple[tuple[float, float], ...]),
        ([], dict[str, Any]),
        ({"a": "b", "c": None}, dict[str, str]),
    ],
)
def test_values_that_do_not_fit(value: object, kind: object) -> None:
    assert not fits(value, kind)
