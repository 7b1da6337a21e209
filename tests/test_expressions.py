"""Names, quadrants, and the corpora's labels."""

from collections.abc import Mapping

import pytest

from mien.errors import InputError
from mien.expressions import EMODB, EXPRESSIONS, FERPLUS, QUADRANTS, RAVDESS, position


def test_the_order_is_that_of_aff_wild2() -> None:
    assert " ".join(EXPRESSIONS) == "Neutral Anger Disgust Fear Happiness Sadness Surprise Other"


def test_quadrants_are_those_of_the_specification() -> None:
    assert [QUADRANTS[name] for name in EXPRESSIONS] == [4, 2, 2, 2, 1, 3, 1, 0]


@pytest.mark.parametrize("labels", [FERPLUS, RAVDESS, EMODB])
def test_corpora_name_only_expressions(labels: Mapping[str, str]) -> None:
    assert set(labels.values()) <= set(EXPRESSIONS)


def test_what_has_no_name_of_its_own() -> None:
    assert (FERPLUS["contempt"], RAVDESS["02"], EMODB["L"]) == ("Other", "Neutral", "Other")
    assert "Other" not in RAVDESS.values()


def test_mappings_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        QUADRANTS["Fear"] = 1  # type: ignore[index]


def test_positions() -> None:
    assert [position(name) for name in EXPRESSIONS] == list(range(8))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="'fear' is not an expression; expected one of Neutral"):
        position("fear")
