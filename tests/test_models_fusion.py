"""The proportion rule in torch: equal to the rule on arrays, exact where a modality is missing, learnable."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mien.errors import InputError
from mien.fusion import RATIOS, proportion
from mien.models.fusion import ProportionRule


def some_log_probs(seed: int, n_rows: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.log_softmax(3 * torch.randn(n_rows, 8, generator=generator), dim=-1)


def everywhere(n_rows: int = 5) -> Tensor:
    return torch.ones(n_rows, dtype=torch.bool)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), ratio=st.sampled_from(RATIOS))
def test_torch_and_arrays_fuse_alike(seed: int, ratio: tuple[int, int]) -> None:
    generator = np.random.default_rng(seed)
    voice, face = some_log_probs(seed), some_log_probs(seed + 1)
    heard, seen = generator.random(5) < 0.6, generator.random(5) < 0.6
    fused = ProportionRule(*ratio)(voice, face, torch.from_numpy(heard), torch.from_numpy(seen)).exp()
    wanted = proportion(
        voice.exp().numpy(),
        face.exp().numpy(),
        voice_weight=ratio[0],
        face_weight=ratio[1],
        voice_present=heard,
        face_present=seen,
    )
    np.testing.assert_allclose(fused.numpy(), wanted, atol=1e-6)
    both = fused[torch.from_numpy(heard & seen)]
    torch.testing.assert_close(both.sum(-1), torch.ones(len(both)))


def test_only_the_ratio_counts() -> None:
    voice, face = some_log_probs(0), some_log_probs(1)
    once = ProportionRule(1, 2)(voice, face, everywhere(), everywhere())
    twice = ProportionRule(2, 4)(voice, face, everywhere(), everywhere())
    torch.testing.assert_close(once, twice, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rubbish", [torch.nan, torch.inf, -torch.inf, 7.0])
def test_a_missing_modality_leaves_the_other_bit_for_bit(rubbish: float) -> None:
    voice, face = some_log_probs(0, 3), some_log_probs(1, 3)
    heard, seen = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    fused = ProportionRule(3, 5)(
        voice.masked_fill(~heard.unsqueeze(1), rubbish),
        face.masked_fill(~seen.unsqueeze(1), rubbish),
        heard,
        seen,
    )
    assert torch.equal(fused[0], voice[0])
    assert torch.equal(fused[1], face[1])
    assert fused[2].isnan().all()


def test_weight_zero_switches_a_modality_off_exactly() -> None:
    voice, face = some_log_probs(0), some_log_probs(1)
    assert torch.equal(ProportionRule(0, 1)(voice, face, everywhere(), everywhere()), face)
    assert torch.equal(ProportionRule(2, 0)(voice, face, everywhere(), everywhere()), voice)


def test_certain_errors_stay_finite() -> None:
    sure = torch.log_softmax(torch.tensor([[200.0] + [0.0] * 7]), dim=-1)
    fused = ProportionRule()(sure, sure, everywhere(1), everywhere(1))
    torch.testing.assert_close(fused, sure)
    assert fused.isfinite().all()


def test_learned_weights_start_equal_and_move_towards_the_better_modality() -> None:
    rule = ProportionRule(learned=True)
    assert rule.voice_share == 0.5
    assert [name for name, _ in rule.named_parameters()] == ["log_weights"]
    right, wrong = torch.log(torch.eye(8) * 0.9 + 0.0125), torch.full((8, 8), -np.log(8.0))
    optimiser = torch.optim.SGD(rule.parameters(), lr=1.0)
    for _ in range(3):
        optimiser.zero_grad()
        fused = rule(right, wrong, everywhere(8), everywhere(8))
        (-fused.diagonal().mean()).backward()
        assert isinstance(rule.log_weights, nn.Parameter)
        assert rule.log_weights.grad is not None
        assert rule.log_weights.grad[0] < 0 < rule.log_weights.grad[1]
        optimiser.step()
    assert rule.voice_share > 0.6


def test_fixed_weights_are_no_parameters_but_travel_with_the_weights() -> None:
    rule = ProportionRule(3, 1)
    assert list(rule.parameters()) == []
    assert rule.voice_share == pytest.approx(0.75)
    other = ProportionRule()
    other.load_state_dict(rule.state_dict())
    assert other.voice_share == pytest.approx(0.75)


def test_gradients_reach_both_modalities_where_they_are() -> None:
    voice, face = some_log_probs(0, 2).requires_grad_(), some_log_probs(1, 2).requires_grad_()
    heard, seen = torch.tensor([True, False]), everywhere(2)
    ProportionRule(learned=True)(voice, face, heard, seen).sum().backward()
    assert voice.grad is not None
    assert face.grad is not None
    assert (voice.grad[0] > 0).all()
    assert not voice.grad[1].any()
    assert (face.grad > 0).all()


@pytest.mark.parametrize("weights", [(-1.0, 1.0), (1.0, float("nan")), (0.0, 0.0), (float("inf"), 1.0)])
def test_weights_that_cannot_be_divided_by(weights: tuple[float, float]) -> None:
    with pytest.raises(InputError):
        ProportionRule(*weights)
