"""The losses: against torch's own cross-entropy, and the coarse-fine loss against its formula."""

import math
from itertools import combinations
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mien.errors import InputError
from mien.expressions import EXPRESSIONS, QUADRANTS, position
from mien.losses import CoarseFine, CoarseFineConfig, joint_loss, likelihood_cost, soft_cross_entropy
from mien.models.network import LogProbs


@settings(deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 6), smoothing=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_it_is_torch_s_cross_entropy_against_probabilities(seed: int, n: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(n, 8, generator=generator)
    targets = torch.softmax(torch.randn(n, 8, generator=generator), -1)
    wanted = F.cross_entropy(logits, targets, label_smoothing=smoothing)
    torch.testing.assert_close(soft_cross_entropy(logits, targets, smoothing), wanted)


def test_one_hot_targets_are_labels() -> None:
    logits, labels = torch.randn(5, 8), torch.tensor([0, 7, 3, 3, 1])
    found = soft_cross_entropy(logits, F.one_hot(labels, 8).float())
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))
    smoothed = soft_cross_entropy(logits, F.one_hot(labels, 8).float(), 0.2)
    torch.testing.assert_close(smoothed, F.cross_entropy(logits, labels, label_smoothing=0.2))


def test_its_gradient_is_the_difference_of_probabilities() -> None:
    logits = torch.randn(4, 8, requires_grad=True)
    targets = torch.softmax(torch.randn(4, 8), -1)
    (gradient,) = torch.autograd.grad(soft_cross_entropy(logits, targets), logits)
    torch.testing.assert_close(gradient, (torch.softmax(logits.detach(), -1) - targets) / 4)


def test_sure_and_wrong_is_costly_but_finite() -> None:
    logits = torch.tensor([[1000.0, 0, 0, 0, 0, 0, 0, 0]])
    assert soft_cross_entropy(logits, torch.eye(8)[:1]).item() == 0
    assert soft_cross_entropy(logits, torch.eye(8)[1:2]).item() == pytest.approx(1000)


def log_probs_of(*names: str, sure: float = 0.9) -> Tensor:
    """A row for each name, which is most probable there."""
    probs = torch.full((len(names), 8), (1 - sure) / 7)
    for row, name in enumerate(names):
        probs[row, position(name)] = sure
    return probs.log()


def labels_of(*names: str) -> Tensor:
    return torch.eye(8)[[position(name) for name in names]]


def factor(loss: CoarseFine, label: str, predicted: str) -> float:
    """How many times the negative log-likelihood the loss is."""
    log_probs = log_probs_of(predicted)
    plain = -log_probs[0, position(label)]
    return float(loss(log_probs, labels_of(label)) / plain)


@pytest.mark.parametrize(
    ("label", "predicted", "wanted"),
    [
        ("Happiness", "Sadness", 2.0),
        ("Happiness", "Anger", 1.5),
        ("Happiness", "Surprise", 1.0),
        ("Happiness", "Neutral", 1.5),
        ("Fear", "Neutral", 2.0),
        ("Sadness", "Disgust", 1.5),
        ("Other", "Happiness", 1.0),
        ("Happiness", "Other", 1.0),
        ("Fear", "Fear", 1.0),
    ],
)
def test_a_mistake_across_quadrants_costs_more(label: str, predicted: str, wanted: float) -> None:
    assert factor(CoarseFine(CoarseFineConfig()), label, predicted) == pytest.approx(wanted)


@given(seed=st.integers(0, 1000), mode=st.sampled_from(["fixed", "soft", "confusion"]))
@settings(deadline=None)
def test_without_mu_it_is_the_likelihood_of_the_fused(seed: int, mode: Literal["fixed", "soft"]) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.log_softmax(torch.randn(5, 8, generator=generator), -1)
    labels = torch.randint(0, 8, (5,), generator=generator)
    loss = CoarseFine(CoarseFineConfig(mode=mode, scale=0.0))
    torch.testing.assert_close(loss(log_probs, torch.eye(8)[labels]), F.nll_loss(log_probs, labels))


def test_mu_is_symmetric_and_nothing_within_a_quadrant() -> None:
    mu = CoarseFine(CoarseFineConfig(mu_12=0.1, mu_23=0.2, mu_34=0.3, mu_14=0.4, mu_13=0.5, mu_24=0.6)).mu
    assert torch.equal(mu, mu.T)
    assert sorted({round(value, 6) for value in mu.flatten().tolist()}) == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert mu[position("Anger"), position("Fear")] == 0


def test_no_gradient_flows_through_the_factor() -> None:
    logits = torch.randn(6, 8, requires_grad=True)
    targets = torch.eye(8)[:6]
    for mode in ("fixed", "soft"):
        loss = CoarseFine(CoarseFineConfig(mode=mode))
        log_probs = torch.log_softmax(logits, -1)
        (gradient,) = torch.autograd.grad(loss(log_probs, targets), log_probs)
        factors = -gradient.gather(1, torch.arange(6)[:, None]) * 6  # d(-log P) is 1 there, and 0 elsewhere
        assert (factors >= 1).all()
        assert torch.count_nonzero(gradient) == 6


def test_soft_mu_weighs_by_probability() -> None:
    loss = CoarseFine(CoarseFineConfig(mode="soft"))
    log_probs = log_probs_of("Sadness", sure=0.72)  # the seven others 0.04 each
    # from Happiness: Sadness 1, Anger Disgust Fear Neutral 0.5, Happiness Surprise Other 0
    wanted = (1 + 0.72 + 4 * 0.5 * 0.04) * -log_probs[0, position("Happiness")]
    torch.testing.assert_close(loss(log_probs, labels_of("Happiness")), wanted)


def test_mu_is_learnt_from_the_confusion_of_quadrants() -> None:
    loss = CoarseFine(CoarseFineConfig(mode="confusion"))
    assert factor(loss, "Happiness", "Sadness") == pytest.approx(2.0), "fixed until the first epoch has ended"
    counts = torch.zeros(8, 8)
    happiness, surprise, sadness, anger, other = map(
        position, ("Happiness", "Surprise", "Sadness", "Anger", "Other")
    )
    counts[happiness, happiness] = 30
    counts[surprise, happiness] = 30  # within a quadrant
    counts[happiness, sadness] = 10
    counts[happiness, other] = 30  # exempt, but still rows of the quadrant
    counts[sadness, sadness] = 100
    counts[anger, sadness] = 20
    counts[sadness, anger] = 20
    loss.learn(counts)
    unpleasant, across = 40 / (20 + 120), 10 / (100 + 120)
    assert factor(loss, "Anger", "Sadness") == pytest.approx(2.0), "the most frequent mistake has 1"
    assert factor(loss, "Happiness", "Sadness") == pytest.approx(1 + across / unpleasant)
    assert factor(loss, "Happiness", "Anger") == pytest.approx(1.0)
    loss.learn(torch.eye(8))
    assert torch.equal(loss.mu, torch.zeros(8, 8)), "without mistakes nothing costs more"
    fixed = CoarseFine(CoarseFineConfig())
    fixed.learn(counts)
    assert factor(fixed, "Happiness", "Sadness") == pytest.approx(2.0)


@given(st.lists(st.tuples(st.sampled_from(EXPRESSIONS), st.sampled_from(EXPRESSIONS)), max_size=8))
@settings(deadline=None)
def test_mu_is_learnt_as_counted_row_by_row(pairs: list[tuple[str, str]]) -> None:
    loss = CoarseFine(CoarseFineConfig(mode="confusion", scale=0.5))
    counts = torch.zeros(8, 8)
    for label, predicted in pairs:
        counts[position(label), position(predicted)] += 1
    loss.learn(counts)
    shares = {}
    for a, b in combinations((1, 2, 3, 4), 2):
        n_rows = sum(QUADRANTS[label] in (a, b) for label, _ in pairs)
        n_mistaken = sum({QUADRANTS[one], QUADRANTS[other]} == {a, b} for one, other in pairs)
        shares[a, b] = shares[b, a] = n_mistaken / n_rows if n_rows else 0
    most = max(shares.values()) or 1
    wanted = [
        [0.5 * shares.get((QUADRANTS[one], QUADRANTS[other]), 0) / most for other in EXPRESSIONS]
        for one in EXPRESSIONS
    ]
    torch.testing.assert_close(loss.mu, torch.tensor(wanted))


def test_two_polarities_are_a_choice_of_quadrants() -> None:
    pleasant, unpleasant = ("Neutral", "Happiness", "Surprise"), ("Anger", "Disgust", "Fear", "Sadness")
    loss = CoarseFine(CoarseFineConfig(quadrants=(pleasant, unpleasant, (), ())))
    assert factor(loss, "Neutral", "Happiness") == pytest.approx(1.0)
    assert factor(loss, "Neutral", "Sadness") == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"quadrants": (("Fear",), ("Fear",), (), ())}, "no expression in two"),
        ({"quadrants": (("Fear",), ())}, "expected four"),
        ({"quadrants": (("Joy",), (), (), ())}, "'Joy' is not an expression"),
        ({"mu_13": -1.0}, "mu_13 is -1.0"),
        ({"mu_13": float("nan")}, "mu_13 is nan"),
        ({"mu_12": float("inf")}, "mu_12 is inf"),
        ({"mu_23": -0.1}, "mu_23 is -0.1"),
        ({"scale": float("inf")}, "scale is inf"),
        ({"scale": -0.1}, "scale is -0.1"),
    ],
)
def test_settings_that_are_refused(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        CoarseFineConfig(**wrong)


def test_what_is_all_but_impossible_costs_as_one_in_ten_million() -> None:
    log_probs = torch.tensor([[0.0, -1000.0, *[-30.0] * 6]])
    cost = [float(likelihood_cost(log_probs, labels_of(name))) for name in ("Neutral", "Anger", "Other")]
    assert cost == [0.0, *[pytest.approx(math.log(1e7))] * 2]


def test_settings_at_their_bounds_and_as_they_are_told() -> None:
    nothing = CoarseFineConfig(mu_12=0, mu_23=0, mu_34=0, mu_14=0, mu_13=0, mu_24=0, scale=0)
    assert torch.equal(CoarseFine(nothing).mu, torch.zeros(8, 8))
    told = CoarseFineConfig()
    assert (told.mode, told.mu_12, told.mu_23, told.mu_34, told.mu_14) == ("fixed", 0.5, 0.5, 0.5, 0.5)
    assert (told.mu_13, told.mu_24, told.scale) == (1.0, 1.0, 1.0)
    assert {name for names in told.quadrants for name in names} == {*EXPRESSIONS} - {"Other"}
    assert all(QUADRANTS[name] == k + 1 for k, names in enumerate(told.quadrants) for name in names)


def test_each_modality_s_own_opinion_costs_beside_the_fused_one() -> None:
    generator = torch.Generator().manual_seed(0)
    fused, voice, face = (torch.log_softmax(torch.randn(4, 8, generator=generator), -1) for _ in range(3))
    targets = labels_of("Fear", "Anger", "Other", "Neutral")
    heard, seen = torch.tensor([True, True, False, False]), torch.tensor([False, True, True, True])
    loss = CoarseFine(CoarseFineConfig())
    said = LogProbs(fused, voice, face)
    labels = targets.argmax(1)
    own = F.nll_loss(voice[heard], labels[heard]) + F.nll_loss(face[seen], labels[seen])
    torch.testing.assert_close(
        joint_loss(loss, said, seen, heard, targets, 0.3), loss(fused, targets) + 0.3 * own
    )
    torch.testing.assert_close(joint_loss(loss, said, seen, heard, targets, 0.0), loss(fused, targets))
    deaf = LogProbs(face, None, face)
    alone = joint_loss(loss, deaf, seen, torch.zeros(4, dtype=torch.bool), targets, 0.3)
    torch.testing.assert_close(alone, loss(face, targets) + 0.3 * F.nll_loss(face[seen], labels[seen]))


def test_a_missing_modality_s_row_spoils_no_gradient() -> None:
    voice = torch.full((2, 8), torch.nan)
    face = torch.log_softmax(torch.randn(2, 8), -1).requires_grad_()
    nobody, everybody = torch.zeros(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    said = LogProbs(face, voice, face)
    joint_loss(
        CoarseFine(CoarseFineConfig()), said, everybody, nobody, labels_of("Fear", "Anger"), 0.3
    ).backward()
    assert face.grad is not None
    assert face.grad.isfinite().all()
