"""Opinions: mean over windows, absence kept apart, rules that look at `choose` alone, no leak over tracks."""

import numpy as np
import pytest
import torch

from mien.datasets.batches import HeldOut
from mien.expressions import EXPRESSIONS
from mien.fusion import RATIOS, proportion
from mien.models.network import ExpressionNet, ExpressionNetConfig
from mien.opinions import FACE, FUSED, VOICE, ask, choose_weights, finish, fuse
from some_networks import face_config, fill_with_noise, speech_config


def network(modalities: str = "both") -> ExpressionNet:
    config = ExpressionNetConfig(modalities=modalities, face=face_config(), speech=speech_config())
    net = ExpressionNet(config, 8).eval()
    fill_with_noise(net)
    return net


def windows(n: int, *, seen: list[bool], heard: list[bool], seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    face_mask = torch.tensor(seen).unsqueeze(1).expand(n, 2)
    column_mask = torch.tensor(heard).unsqueeze(1).expand(n, 80)
    faces = torch.rand(n, 2, 32, 32, generator=generator)
    mels = torch.randn(n, 64, 80, generator=generator)
    return faces, face_mask, mels, column_mask, torch.zeros(n, 2)


def some_opinions(n: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """A sure voice that is right half of the time, and a sure face that is right more often."""
    generator = np.random.default_rng(seed)
    right = generator.integers(0, 8, n)
    probs = generator.dirichlet(np.ones(8), (3, n))
    for opinion, share in ((VOICE, 0.5), (FACE, 0.7)):
        said = np.where(generator.random(n) < share, right, generator.integers(0, 8, n))
        probs[opinion] = 0.2 * probs[opinion] + 0.8 * np.eye(8)[said]
    return probs.astype(np.float32), [EXPRESSIONS[k] for k in right]


def test_opinions_of_an_item_are_the_mean_over_its_windows() -> None:
    net = network()
    inputs = windows(3, seen=[True] * 3, heard=[True] * 3)
    opinions = ask(net, [HeldOut(inputs, np.array([0, 0, 1]))], 2)
    with torch.no_grad():
        said = net(*inputs)
    for opinion, log_probs in ((VOICE, said.voice), (FACE, said.face), (FUSED, said.fused)):
        probs = log_probs.exp().numpy()
        assert np.allclose(opinions[opinion], [probs[:2].mean(0), probs[2]], atol=1e-6)


def test_what_was_not_there_has_no_opinion() -> None:
    inputs = windows(3, seen=[True, False, False], heard=[False, True, False])
    opinions = ask(network(), [HeldOut(inputs, np.arange(3))], 3)
    there = ~np.isnan(opinions).any(2)
    assert there[VOICE].tolist() == [False, True, False]
    assert there[FACE].tolist() == [True, False, False]
    assert there[FUSED].tolist() == [True, True, False]
    assert np.array_equal(opinions[FUSED, 0], opinions[FACE, 0])


@pytest.mark.parametrize(("modalities", "own", "other"), [("face", FACE, VOICE), ("voice", VOICE, FACE)])
def test_a_network_of_one_modality_has_one_opinion(modalities: str, own: int, other: int) -> None:
    inputs = windows(2, seen=[True, False], heard=[False, True])
    opinions = ask(network(modalities), [HeldOut(inputs, np.arange(2))], 2)
    assert np.isnan(opinions[other]).all()
    assert np.array_equal(opinions[FUSED], opinions[own], equal_nan=True)
    assert np.isnan(opinions[own]).any(1).sum() == 1


def test_learned_shares_trust_the_better_modality() -> None:
    opinions, labels = some_opinions(400, 0)
    m, n = choose_weights("learned", opinions, labels)
    assert m + n == pytest.approx(1)
    assert 0 < m < 0.5
    likelihood = {
        share: np.log(
            proportion(opinions[VOICE], opinions[FACE], voice_weight=share, face_weight=1 - share)[
                np.arange(400), [EXPRESSIONS.index(label) for label in labels]
            ]
            + 1e-3
        ).sum()
        for share in (m - 0.05, m, m + 0.05)
    }
    assert max(likelihood, key=likelihood.__getitem__) == m


def test_nearest_and_grid_are_of_the_nineteen() -> None:
    opinions, labels = some_opinions(200, 1)
    m, _ = choose_weights("learned", opinions, labels)
    nearest = choose_weights("nearest", opinions, labels)
    assert nearest in RATIOS
    assert abs(nearest[0] / sum(nearest) - m) == min(abs(a / (a + b) - m) for a, b in RATIOS)
    assert choose_weights("grid", opinions, labels) in RATIOS
    assert choose_weights("1:1", opinions, labels) == (1, 1)


def test_shares_are_learned_where_both_are_there() -> None:
    opinions, labels = some_opinions(200, 2)
    expected = choose_weights("learned", opinions[:, :100], labels[:100])
    opinions[VOICE, 100:150] = np.nan
    opinions[FACE, 150:] = np.nan
    assert choose_weights("learned", opinions, labels) == expected


def test_fusing_leaves_voice_and_face_alone_and_heeds_absence() -> None:
    opinions, _ = some_opinions(4, 3)
    opinions[VOICE, 1] = np.nan
    opinions[FACE, 2] = np.nan
    opinions[:2, 3] = np.nan
    fused = fuse(opinions, (2, 1))
    assert np.array_equal(fused[:2], opinions[:2], equal_nan=True)
    assert np.allclose(fused[FUSED, 0], (2 * opinions[VOICE, 0] + opinions[FACE, 0]) / 3)
    assert np.array_equal(fused[FUSED, 1], opinions[FACE, 1])
    assert np.array_equal(fused[FUSED, 2], opinions[VOICE, 2])
    assert np.isnan(fused[FUSED, 3]).all()


def test_nothing_is_smoothed_or_filled_across_tracks() -> None:
    probs = np.eye(8, dtype=np.float32)[[0, 0, 1, 1, 1]]
    probs[1] = np.nan
    finished = finish(probs, (2, 3), 4)
    assert np.allclose(finished[:2], np.eye(8)[0])
    assert np.allclose(finished[2:], np.eye(8)[1])
    one = finish(probs, (5,), 1)
    assert one[1, :2].tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert np.array_equal(finish(probs[2:], (3,), 0), probs[2:])
