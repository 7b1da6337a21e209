"""The speech encoders: MCNN's size, shapes and branches; no sound outside the file ever counts."""

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.attention import AttentionName
from mien.models.speech import COLUMNS_PER_STEP, MCNN, SpeechNet, SpeechNetConfig, pool_steps, steps_heard
from some_networks import fill_with_noise, n_parameters, speech_config, starved

BRANCHES = {"local": 51_680, "temporal": 14_880, "spectral": 10_720}


@pytest.mark.parametrize(
    ("attention", "wanted"),
    [("none", 1_333_216), ("gcsa", 3_383_136), ("mecs", 1_333_216 + 38_944 + 127_040)],
)
def test_size(attention: AttentionName, wanted: int) -> None:
    assert n_parameters(MCNN(speech_config(attention))) == wanted


def test_size_of_the_parts() -> None:
    network = MCNN(speech_config())
    assert [n_parameters(each) for each in network.branches] == list(BRANCHES.values())
    assert n_parameters(network.merge) == 24_832
    assert n_parameters(network.trunk1) + n_parameters(network.trunk2) == 1_231_104
    assert n_parameters(SpeechNet(speech_config(), 8).head) == 2_056


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_can_be_removed(name: str) -> None:
    config = SpeechNetConfig(
        local=name != "local",
        temporal=name != "temporal",
        spectral=name != "spectral",
        attention=speech_config().attention,
    )
    network = MCNN(config).eval()
    assert n_parameters(network) == 1_333_216 - BRANCHES[name] - 64 * 128
    assert network(torch.randn(1, 1, 64, 64)).shape == (1, 256, 8)


def test_all_branches_cannot() -> None:
    with pytest.raises(InputError, match="one branch at least"):
        SpeechNetConfig(local=False, temporal=False, spectral=False)


def test_shapes_on_the_way_of_a_window() -> None:
    network = MCNN(speech_config("mecs")).eval()
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("branches.0", "branches.1", "branches.2", "merge", "trunk1", "trunk2"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: shapes.update({name: tuple(out.shape)})
        )
    with torch.no_grad():
        out = network(torch.randn(1, 1, 64, 320))
    assert {shapes.pop(f"branches.{k}") for k in range(3)} == {(1, 64, 16, 80)}
    assert shapes == {"merge": (1, 128, 16, 80), "trunk1": (1, 128, 8, 40), "trunk2": (1, 256, 4, 40)}
    assert out.shape == (1, 256, 320 // COLUMNS_PER_STEP)


@pytest.mark.parametrize(
    ("n_columns", "n_steps"), [(8, 1), (61, 8), (63, 8), (64, 8), (65, 8), (67, 8), (69, 9)]
)
def test_odd_lengths(n_columns: int, n_steps: int) -> None:
    network = SpeechNet(speech_config(), 8).eval()
    log_mel, mask = torch.randn(1, 64, n_columns), torch.ones(1, n_columns, dtype=torch.bool)
    with torch.no_grad():
        assert network.encode(log_mel, mask).shape == (1, 256, n_steps)
        assert network(log_mel, mask).shape == (1, 8)


def changed(branch: nn.Module, x: Tensor, row: int, column: int) -> Tensor:
    """Which positions of a branch's output move when one position of its input does."""
    other = x.clone()
    other[:, :, row, column] += 1
    with torch.no_grad():
        moved: Tensor = ((branch(other) - branch(x)).abs() > 0).any(1)[0]
    return moved


def test_branches_look_along_time_and_along_the_spectrum() -> None:
    network = MCNN(speech_config()).eval()
    fill_with_noise(network)
    local, temporal, spectral = network.branches
    x = torch.randn(1, 1, 64, 64)
    in_time, in_spectrum = changed(temporal, x, 32, 32), changed(spectral, x, 32, 32)
    assert in_time.any(1).nonzero().flatten().tolist() == [8]  # the one row of four mels
    assert in_time.any(0).sum() > 2
    assert in_spectrum.any(0).nonzero().flatten().tolist() == [8]
    assert in_spectrum.any(1).sum() > 2
    both = changed(local, x, 32, 32)
    assert both.any(0).sum() > 1
    assert both.any(1).sum() > 1


def test_every_step_of_a_whole_window_counts_alike() -> None:
    steps, mask = torch.randn(2, 5, 40), torch.ones(2, 320, dtype=torch.bool)
    torch.testing.assert_close(pool_steps(steps, mask), steps.mean(-1))


def test_a_step_counts_as_much_as_is_heard_of_it() -> None:
    steps = torch.tensor([[[1.0, 10.0, 100.0]]])
    mask = torch.zeros(1, 24, dtype=torch.bool)
    mask[0, 4:16] = True  # half of the first step, the second, none of the third
    assert steps_heard(mask, 3).tolist() == [[0.5, 1.0, 0.0]]
    torch.testing.assert_close(pool_steps(steps, mask), torch.tensor([[(0.5 + 10) / 1.5]]))


def test_a_window_outside_the_file_pools_to_nothing() -> None:
    assert not pool_steps(torch.randn(1, 4, 3), torch.zeros(1, 24, dtype=torch.bool)).any()


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=320, max_size=320))
def test_shares_of_steps_add_up_to_what_is_heard(heard: list[bool]) -> None:
    shares = steps_heard(torch.tensor([heard]), 40)
    assert shares.sum().item() * COLUMNS_PER_STEP == pytest.approx(sum(heard), abs=1e-3)


@pytest.fixture(scope="module")
def network() -> SpeechNet:
    torch.manual_seed(0)
    network = SpeechNet(speech_config("gcsa"), 8).eval()
    network.mel_mean.fill_(-6.0)
    network.mel_std.fill_(2.5)
    return network


def test_what_stands_outside_the_file_is_never_seen(network: SpeechNet) -> None:
    log_mel = torch.randn(2, 64, 64)
    mask = torch.ones(2, 64, dtype=torch.bool)
    mask[0, :20] = False
    mask[1, 40:] = False
    others = torch.where(mask.unsqueeze(1), log_mel, torch.full_like(log_mel, torch.nan))
    with torch.no_grad():
        assert torch.equal(network(log_mel, mask), network(others, mask))
        quiet = torch.where(mask.unsqueeze(1), log_mel, log(1e-5))
        everywhere = torch.ones_like(mask)
        assert torch.equal(network.encode(log_mel, mask), network.encode(quiet, everywhere))
        assert not torch.equal(network(log_mel, mask), network(log_mel, everywhere))


def test_windows_are_normalised_by_what_travels_with_the_weights(network: SpeechNet) -> None:
    log_mel, mask = -6 + torch.randn(1, 64, 64), torch.ones(1, 64, dtype=torch.bool)
    bare = SpeechNet(speech_config("gcsa"), 8).eval()
    bare.encoder.load_state_dict(network.encoder.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(network.encode(log_mel, mask), bare.encode((log_mel + 6) / 2.5, mask))
    assert {"mel_mean", "mel_std"} <= network.state_dict().keys()


def test_a_window_is_heard_alone_as_among_others(network: SpeechNet) -> None:
    log_mel, mask = torch.randn(3, 64, 64), torch.rand(3, 64) < 0.8
    with torch.no_grad():
        alone = torch.cat([network(log_mel[k : k + 1], mask[k : k + 1]) for k in range(3)])
        torch.testing.assert_close(alone, network(log_mel, mask), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_resnet18_hears_what_mcnn_does_in_longer_steps() -> None:
    torch.manual_seed(0)
    other = SpeechNet(SpeechNetConfig(backbone="resnet18", attention=speech_config().attention), 8).eval()
    assert n_parameters(other) == 11_170_240 + 8 * 512 + 8
    log_mel, mask = torch.randn(2, 64, 320), torch.ones(2, 320, dtype=torch.bool)
    mask[0, 200:] = False
    assert other.encode(log_mel, mask).shape == (2, 512, 10)
    hidden = torch.where(mask.unsqueeze(1), log_mel, torch.nan)
    assert torch.equal(other(hidden, mask), other(log_mel, mask))
    assert not torch.allclose(other(log_mel, torch.ones_like(mask))[0], other(log_mel, mask)[0], atol=1e-3)
    for n_columns in (8, 61, 65):
        assert other(log_mel[:1, :, :n_columns], mask[:1, :n_columns]).shape == (1, 8)


def test_branches_are_for_mcnn_alone() -> None:
    with pytest.raises(InputError, match="branches of mcnn, but backbone is 'resnet18'"):
        SpeechNetConfig(backbone="resnet18", spectral=False)


@pytest.mark.parametrize("attention", ["none", "gcsa", "mecs", "convctl"])
def test_gradients_reach_every_weight(attention: AttentionName) -> None:
    network = SpeechNet(speech_config(attention), 8).train()
    network(torch.randn(2, 64, 48), torch.ones(2, 48, dtype=torch.bool)).square().sum().backward()
    assert starved(network) == []


def test_steps_that_are_given_have_a_head_and_no_encoder() -> None:
    network = SpeechNet(SpeechNetConfig(backbone="features", n_features=5), 8).eval()
    assert n_parameters(network) == 5 * 8 + 8
    network.mel_mean.fill_(2.0)
    network.mel_std.fill_(4.0)
    steps, mask = torch.randn(2, 5, 30), torch.arange(30).repeat(2, 1) < 20
    normal = (steps - 2) / 4
    torch.testing.assert_close(network(steps, mask), network.head[1](normal[..., :20].mean(-1)))
    other = torch.where(mask.unsqueeze(1), steps, 99.0)
    torch.testing.assert_close(network(other, mask), network(steps, mask))
    assert (network.encode(other, mask)[..., 20:] == 0).all()


def test_given_steps_need_a_width_and_a_width_needs_them() -> None:
    with pytest.raises(InputError, match="speech's backbone is 'features'; set n_features beside it"):
        SpeechNet(SpeechNetConfig(backbone="features"), 8)
    with pytest.raises(InputError, match="n_features is 5 with backbone 'mcnn'"):
        SpeechNetConfig(n_features=5)
