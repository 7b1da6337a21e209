"""The loss on shares of votes, against torch's own cross-entropy."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mien.losses import soft_cross_entropy


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
