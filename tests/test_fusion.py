"""Eq. 4 on arrays: exact where a modality is missing, and the choice among the paper's 19 ratios."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import InputError
from mien.fusion import FLOOR, RATIOS, check_weights, choose_ratio, nearest_ratio, product, proportion


def some_probs(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(8, 0.5), shape).astype(np.float32)


def test_ratios_are_the_19_of_the_paper_in_order_of_voice_share():
    assert len(RATIOS) == 19
    assert {m / n for m, n in RATIOS} == {m / n for m in range(1, 6) for n in range(1, 6)}
    assert RATIOS[0] == (1, 5)
    assert RATIOS[9] == (1, 1)
    assert RATIOS[-1] == (5, 1)
    shares = [m / (m + n) for m, n in RATIOS]
    assert shares == sorted(shares)
    assert (2, 4) not in RATIOS


def test_m_multiplies_the_voice():
    voice, face = np.eye(8)[0], np.eye(8)[1]
    assert proportion(voice, face, voice_weight=3, face_weight=1)[:2].tolist() == [0.75, 0.25]


def test_without_weights_both_count_alike():
    voice, face = some_probs(0, 5), some_probs(1, 5)
    np.testing.assert_allclose(proportion(voice, face), (voice + face) / 2, atol=1e-7)


@given(
    seed=st.integers(0, 2**32 - 1), m=st.floats(0.01, 100), n=st.floats(0.01, 100), n_rows=st.integers(0, 5)
)
def test_fused_probabilities_sum_to_one_and_equal_the_log_space_form(seed, m, n, n_rows):
    voice, face = some_probs(seed, n_rows), some_probs(seed + 1, n_rows)
    fused = proportion(voice, face, voice_weight=m, face_weight=n)
    assert fused.dtype == np.float32
    np.testing.assert_allclose(fused.sum(axis=-1), 1, atol=1e-5)
    tiny = 1e-300  # log 0
    in_logs = np.logaddexp(
        np.log(m / (m + n)) + np.log(np.maximum(voice.astype(float), tiny)),
        np.log(n / (m + n)) + np.log(np.maximum(face.astype(float), tiny)),
    )
    np.testing.assert_allclose(fused, np.exp(in_logs), atol=1e-6)


def test_equal_ratios_fuse_equally():
    voice, face = some_probs(0, 50), some_probs(1, 50)
    once = proportion(voice, face, voice_weight=1, face_weight=2)
    assert np.array_equal(once, proportion(voice, face, voice_weight=2, face_weight=4))
    np.testing.assert_allclose(once, proportion(voice, face, voice_weight=5, face_weight=10), atol=1e-6)


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf, 7.0])
def test_a_missing_modality_leaves_the_other_bit_for_bit(rubbish):
    voice, face = some_probs(0, 4), some_probs(1, 4)
    heard, seen = np.array([True, True, False, False]), np.array([True, False, True, False])
    given_voice, given_face = voice.copy(), face.copy()
    given_voice[~heard], given_face[~seen] = rubbish, -rubbish
    fused = proportion(
        given_voice, given_face, voice_weight=3, face_weight=5, voice_present=heard, face_present=seen
    )
    assert np.array_equal(fused[0], proportion(voice[0], face[0], voice_weight=3, face_weight=5))
    assert fused[1].tobytes() == voice[1].tobytes()
    assert fused[2].tobytes() == face[2].tobytes()
    assert np.isnan(fused[3]).all()


def test_one_mask_alone_says_that_the_other_is_everywhere():
    voice, face = some_probs(0, 3), some_probs(1, 3)
    there = np.array([False, True, False])
    assert np.array_equal(proportion(voice, face, voice_present=there)[0], face[0])
    assert np.array_equal(proportion(voice, face, face_present=there)[0], voice[0])


def test_any_number_of_leading_axes():
    voice, face = some_probs(0, 2, 3), some_probs(1, 2, 3)
    heard = np.array([[True, False, True], [False, True, True]])
    fused = proportion(voice, face, voice_weight=2, voice_present=heard)
    for where in np.ndindex(2, 3):
        alone = proportion(voice[where], face[where], voice_weight=2, voice_present=np.array(heard[where]))
        assert np.array_equal(fused[where], alone)


def test_weight_zero_switches_a_modality_off_exactly_and_only_where_the_other_is():
    voice, face = some_probs(0, 2), some_probs(1, 2)
    assert proportion(voice, face, voice_weight=0, face_weight=3).tobytes() == face.tobytes()
    assert proportion(voice, face, voice_weight=3, face_weight=0).tobytes() == voice.tobytes()
    fused = proportion(voice, face, voice_weight=0, face_present=np.array([True, False]))
    assert np.array_equal(fused, np.stack([face[0], voice[1]]))


def test_the_product_is_a_distribution_in_proportion_to_both_and_does_not_ask_which_is_which():
    voice, face = some_probs(0, 5), some_probs(1, 5)
    fused = product(voice, face)
    assert fused.dtype == voice.dtype
    np.testing.assert_allclose(fused.sum(-1), 1, atol=1e-6)
    ratios = fused / ((voice + FLOOR) * (face + FLOOR))
    np.testing.assert_allclose(ratios, np.broadcast_to(ratios[:, :1], ratios.shape), rtol=1e-5)
    assert np.array_equal(fused, product(face, voice))
    certain, other = np.eye(8)[:2]
    assert product(certain, other).max() == pytest.approx(0.5, abs=0.01)
    assert product(certain, np.full(8, 1 / 8)).argmax() == 0


def test_the_product_leaves_one_alone_as_it_is():
    voice, face = some_probs(0, 4), some_probs(1, 4)
    heard, seen = np.array([True, True, False, False]), np.array([True, False, True, False])
    fused = product(voice, face, voice_present=heard, face_present=seen)
    assert np.array_equal(fused[0], product(voice[0], face[0]))
    assert fused[1].tobytes() == voice[1].tobytes()
    assert fused[2].tobytes() == face[2].tobytes()
    assert np.isnan(fused[3]).all()
    with pytest.raises(InputError, match="one row of each"):
        inspect.unwrap(product)(voice, face[:2])


def test_what_comes_back_is_a_new_array():
    voice, face = some_probs(0, 2), some_probs(1, 2)
    for m, n in ((0, 1), (1, 0), (1, 1)):
        fused = proportion(voice, face, voice_weight=m, face_weight=n)
        assert not np.shares_memory(fused, voice)
        assert not np.shares_memory(fused, face)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((-1.0, 1.0), "voice_weight is -1.0"),
        ((1.0, float("nan")), "face_weight is nan"),
        ((float("inf"), 1.0), "voice_weight is inf"),
        ((0.0, 0.0), "both 0"),
    ],
)
def test_weights_that_cannot_be_divided_by(weights, message):
    with pytest.raises(InputError, match=message):
        check_weights(*weights)
    with pytest.raises(InputError, match=message):
        proportion(some_probs(0), some_probs(1), voice_weight=weights[0], face_weight=weights[1])


def test_shapes_must_agree():
    bare = inspect.unwrap(proportion)  # as users call it, should the tests check shapes by its signature
    with pytest.raises(InputError, match=r"\(1, 8\).*\(3, 8\)"):
        bare(some_probs(0, 1), some_probs(0, 3))
    with pytest.raises(InputError, match=r"face_present is \(3,\); expected \(2,\)"):
        bare(some_probs(0, 2), some_probs(1, 2), face_present=np.ones(3, dtype=bool))


def fused_share(labels, fused):
    """The share of voice that went into rows of a pure voice (class 0) and a pure face (class 1)."""
    return float(fused[0, 0])


PURE = {"voice_probs": np.eye(8)[:1], "face_probs": np.eye(8)[1:2], "labels": ["Fear"]}


def test_the_ratio_that_scores_highest_is_chosen():
    assert choose_ratio(**PURE, score=fused_share) == (5, 1)
    for m, n in RATIOS:
        wanted = m / (m + n)
        assert choose_ratio(**PURE, score=lambda _, fused, w=wanted: -abs(fused[0, 0] - w)) == (m, n)


def test_equal_scores_go_to_the_plainest_ratio():
    assert choose_ratio(**PURE, score=lambda labels, fused: 0.5) == (1, 1)

    def best_among(*ratios):
        shares = [m / (m + n) for m, n in ratios]
        return choose_ratio(
            **PURE, score=lambda _, fused: float(min(abs(fused[0, 0] - s) for s in shares) < 1e-9)
        )

    assert best_among((5, 1), (3, 4)) == (3, 4)  # closer to 1:1 beats smaller numbers
    assert best_among((2, 1), (1, 2)) == (1, 2)  # no rule of the paper's parts these
    assert best_among((3, 1), (2, 5)) == (2, 5)


def test_the_score_gets_the_labels_and_masks_reach_the_rule():
    seen = []

    def score(labels, fused):
        seen.append((labels, fused))
        return 0.0

    voice, face = some_probs(0, 2), some_probs(1, 2)
    present = np.array([False, True])
    choose_ratio(voice, face, ["Fear", None], score, voice_present=present, face_present=~present)
    assert len(seen) == len(RATIOS)
    for labels, fused in seen:
        assert labels == ["Fear", None]
        assert np.array_equal(fused, np.stack([face[0], voice[1]]))


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="1:5 is NaN"):
        choose_ratio(**PURE, score=lambda labels, fused: float("nan"))


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_ratio_is_nearest_to_its_own_share(ratio):
    m, n = ratio
    assert nearest_ratio(m / (m + n)) == ratio


@given(st.floats(0, 1))
def test_no_ratio_is_nearer_than_the_nearest(share):
    m, n = nearest_ratio(share)
    assert abs(m / (m + n) - share) == min(abs(a / (a + b) - share) for a, b in RATIOS)


def test_shares_beyond_the_paper_s_ratios_and_beyond_reason():
    assert nearest_ratio(0) == (1, 5)
    assert nearest_ratio(1) == (5, 1)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="expected 0 to 1"):
            nearest_ratio(share)
