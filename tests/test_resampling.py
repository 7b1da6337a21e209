"""What is drawn: rows by kind, or whole groups, and the same draws from the same seed."""

import numpy as np
import pytest

from mien.errors import MetricError
from mien.resampling import cells_of, resamples_of, total_of, units_of

CLASSES = ("Anger", "Fear", "Sadness")
LABELS = ["Anger", "Fear", None, "Fear", "Sadness", "Anger"]
GUESSES = ["Anger", "Anger", "Fear", "Fear", "Fear", "Anger"]


def test_a_cell_is_label_times_classes_plus_prediction() -> None:
    cells, kept = cells_of(LABELS, GUESSES, CLASSES)
    assert cells.tolist() == [0, 3, 4, 7, 0]
    assert kept.tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("groups", [None, ["x", "y", "x", "y", "z", "z"]])
def test_all_units_together_are_the_confusion_matrix(groups) -> None:
    total = total_of(units_of(LABELS, GUESSES, CLASSES, groups))
    assert total.tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 0]]


def test_groups_are_drawn_whole() -> None:
    drawn = resamples_of(units_of(LABELS, GUESSES, CLASSES, ["x", "y", "x", "y", "z", "z"]))
    assert drawn.shape == (1000, 3, 3)
    np.testing.assert_array_equal(drawn[:, 1, 0], drawn[:, 1, 1])  # the two rows of y
    assert set(drawn[:, 1, 0].tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert not np.array_equal(drawn[:, 0, 0], drawn[:, 2, 1])


def test_rows_are_drawn_as_often_as_there_are() -> None:
    drawn = resamples_of(units_of(LABELS, GUESSES, CLASSES, None), n=50)
    np.testing.assert_array_equal(drawn.sum(axis=(1, 2)), 5)
    np.testing.assert_array_equal(drawn, resamples_of(units_of(LABELS, GUESSES, CLASSES, None), n=50))
    assert not np.array_equal(drawn, resamples_of(units_of(LABELS, GUESSES, CLASSES, None), n=50, seed=1))


def test_of_one_unit_nothing_is_drawn() -> None:
    assert len(resamples_of(units_of(["Fear"], ["Fear"], CLASSES, None))) == 0


@pytest.mark.parametrize(
    "labels, guesses, groups, said",
    [
        (["Fear"], ["Fear", "Anger"], None, "1 labels but 2 predictions"),
        (["Fear"], [None], None, "1 labelled rows have no prediction"),
        (["Fear", "Anger"], ["Fear", "Anger"], ["x"], "1 groups for 2 labels"),
        ([None], ["Fear"], None, "none of 1 rows has a label"),
    ],
)
def test_what_does_not_match_is_refused(labels, guesses, groups, said: str) -> None:
    with pytest.raises(MetricError, match=said):
        units_of(labels, guesses, CLASSES, groups)
