"""Key-frame alignment and dilated fusion: their size, what masks keep out, and where frames agree."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mien.models.alignment import DilatedFusion, KeyFrameAlignment, masked_mean, steps_at
from mien.models.layers import N_FEATURES
from some_networks import fill_with_noise, n_parameters

B, K = 3, 9


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def features() -> tuple[Tensor, Tensor]:
    return some(B, K, N_FEATURES), some(B, K, N_FEATURES, seed=1)


def masks(voice: bool = True, face: bool = True) -> tuple[Tensor, Tensor]:
    return torch.full((B, K), voice), torch.full((B, K), face)


def test_sizes() -> None:
    assert n_parameters(KeyFrameAlignment()) == 33_282
    assert n_parameters(DilatedFusion()) == 477_312


def test_frames_are_weighed_by_agreement(features: tuple[Tensor, Tensor]) -> None:
    align = KeyFrameAlignment()
    torch.nn.init.eye_(align.query.weight)
    torch.nn.init.eye_(align.key.weight)
    voice = features[0]
    face = -voice
    face[:, 4] = voice[:, 4]
    aligned = align(voice, face, *masks())
    torch.testing.assert_close(aligned.frames.sum(-1), torch.ones(B))
    assert aligned.frames.argmax(-1).tolist() == [4] * B


@pytest.mark.slow
@given(seed=st.integers(0, 500))
@settings(deadline=None, max_examples=25)
def test_what_a_mask_shuts_out_never_counts(seed: int) -> None:
    torch.manual_seed(seed)
    align, fuse = KeyFrameAlignment().eval(), DilatedFusion().eval()
    fill_with_noise(fuse)
    voice_mask, face_mask = torch.rand(2, B, K) < 0.5
    face_mask[:, 0] |= ~(voice_mask.any(1) | face_mask.any(1))
    voice, face = some(B, K, N_FEATURES, seed=seed), some(B, K, N_FEATURES, seed=seed + 1)
    other = [
        torch.where(mask.unsqueeze(-1), each, 1e3) for each, mask in ((voice, voice_mask), (face, face_mask))
    ]
    before, after = (align(*pair, voice_mask, face_mask) for pair in ((voice, face), other))
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b)
    assert (before.frames[~(voice_mask | face_mask)] == 0).all()
    assert (before.voice_share[~voice_mask.any(1)] == 0).all()
    assert (before.voice_share[~face_mask.any(1)] == 1).all()
    fused = [fuse(*pair, voice_mask, face_mask, before) for pair in ((voice, face), other)]
    for mask, a, b in zip((voice_mask, face_mask), *fused, strict=True):
        torch.testing.assert_close(a[mask], b[mask])


def test_fusion_reaches_further_at_each_dilation(features: tuple[Tensor, Tensor]) -> None:
    fuse = DilatedFusion().eval()
    align = KeyFrameAlignment()
    torch.nn.init.zeros_(fuse.whole[0].weight)  # else every frame would reach every other one
    aligned = align(*features, *masks())
    voice = features[0].clone()
    voice[:, 0] += 1.0
    before, after = (fuse(each, features[1], *masks(), aligned)[1] for each in (features[0], voice))
    changed = (before - after).abs().amax((0, 2)) > 1e-6
    assert changed.tolist() == [frame in (0, 1, 2, 4) for frame in range(K)]


def test_voice_and_face_are_kept_beside_what_is_added(features: tuple[Tensor, Tensor]) -> None:
    fuse, align = DilatedFusion().eval(), KeyFrameAlignment()
    torch.nn.init.zeros_(fuse.restore[1].weight)
    voice, face = fuse(*features, *masks(), align(*features, *masks()))
    assert torch.equal(voice, features[0])
    assert torch.equal(face, features[1])


def test_a_masked_mean_of_nothing_is_nothing() -> None:
    x = some(2, 4, 3)
    mask = torch.tensor([[True, False, True, False], [False] * 4])
    torch.testing.assert_close(masked_mean(x, mask), torch.stack([x[0, [0, 2]].mean(0), torch.zeros(3)]))


@given(st.integers(1, 12), st.lists(st.floats(-3, 15), min_size=1, max_size=9))
@settings(deadline=None)
def test_steps_between_steps_are_interpolated(n_steps: int, places: list[float]) -> None:
    steps = some(1, 2, n_steps)
    found = steps_at(steps, torch.tensor([places]))
    for d in range(2):
        wanted = np.interp(places, np.arange(n_steps), steps[0, d].numpy())
        assert found[0, :, d].numpy() == pytest.approx(wanted, abs=1e-5)
