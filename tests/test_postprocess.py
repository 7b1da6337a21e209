"""Frames are filled and smoothed as a hand does it, each video by itself."""

import numpy as np
import pytest

from mien.expressions import EXPRESSIONS
from mien.postprocess import DELTA, box_mean, fill_frames

FEAR, ANGER = (np.eye(8, dtype=np.float32)[EXPRESSIONS.index(name)] for name in ("Fear", "Anger"))


def frames(*rows) -> np.ndarray:
    return np.array([np.full(8, np.nan) if row is None else row for row in rows], np.float32)


def test_a_gap_lies_on_the_line_between_its_neighbours() -> None:
    filled = fill_frames(frames(FEAR, None, None, None, ANGER))
    np.testing.assert_allclose(filled[1:4, 3], [0.75, 0.5, 0.25])
    np.testing.assert_allclose(filled[1:4, 1], [0.25, 0.5, 0.75])


def test_before_the_first_and_after_the_last_they_are_copied() -> None:
    np.testing.assert_array_equal(
        fill_frames(frames(None, None, FEAR, ANGER, None)), frames(FEAR, FEAR, FEAR, ANGER, ANGER)
    )


def test_a_video_in_which_nothing_is_known_is_neutral() -> None:
    assert [EXPRESSIONS[k] for k in fill_frames(frames(None, None)).argmax(1)] == ["Neutral"] * 2


def test_what_is_known_stays_to_the_bit() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(8), 20).astype(np.float32)
    np.testing.assert_array_equal(fill_frames(probs), probs)


@pytest.mark.parametrize("delta", [0, 1, 5, DELTA])
def test_the_mean_is_that_of_a_loop(delta: int) -> None:
    probs = np.random.default_rng(1).dirichlet(np.ones(8), 33).astype(np.float32)
    by_hand = [probs[max(0, i - delta) : i + delta + 1].mean(0, dtype=np.float64) for i in range(33)]
    np.testing.assert_allclose(box_mean(probs, delta), by_hand, atol=1e-6)


def test_without_width_nothing_changes_and_what_is_constant_stays() -> None:
    probs = np.random.default_rng(2).dirichlet(np.ones(8), 9).astype(np.float32)
    np.testing.assert_array_equal(box_mean(probs, 0), probs)
    np.testing.assert_allclose(
        box_mean(np.repeat(probs[:1], 200, axis=0)), probs[:1].repeat(200, 0), atol=1e-7
    )
