"""GCSA and MECS: their size, every switch against its formula, and what a gate may look at."""

from itertools import product
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import InputError
from mien.models.attention import (
    GCSA,
    MECS,
    AttentionConfig,
    AttentionName,
    GCSAConfig,
    MECSConfig,
    PlainConvolutions,
    build_attention,
    shuffle_channels,
)
from some_networks import fill_with_noise, n_parameters, starved

BOOLS = (False, True)
ORDERS: tuple[Literal["text", "eq3"], ...] = ("text", "eq3")
SUMS: tuple[Literal["sum_sigmoid", "sigmoid_sum"], ...] = ("sum_sigmoid", "sigmoid_sum")
GCSA_CONFIGS = [
    GCSAConfig(order=order, residual=residual, channel=channel, shuffle=shuffle, spatial=spatial)
    for order, residual, channel, shuffle, spatial in product(ORDERS, BOOLS, BOOLS, BOOLS, BOOLS)
]
MECS_CONFIGS = [
    MECSConfig(channel_sum=channel_sum, shared_pw=shared, add_init=add_init, residual=residual, post_bn=norm)
    for channel_sum, shared, add_init, residual, norm in product(SUMS, BOOLS, BOOLS, BOOLS, BOOLS)
]


def some_maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        *((GCSAConfig, {name: value}) for name in ("groups", "ratio") for value in (0, 3, 300)),
        *((GCSAConfig, {"kernel": value}) for value in (0, 4)),
        *((MECSConfig, {"ratio": value}) for value in (0, 3, 300)),
    ],
)
def test_switches_that_no_block_can_have_are_refused(config: type, setting: dict[str, int]) -> None:
    (name,) = setting
    with pytest.raises(InputError, match=f"{name} is {setting[name]}; expected"):
        config(**setting)


@pytest.mark.parametrize(("channels", "wanted"), [(64, 102_720), (128, 410_240), (256, 1_639_680)])
def test_size_of_gcsa(channels: int, wanted: int) -> None:
    assert n_parameters(GCSA(channels)) == wanted


@pytest.mark.parametrize(("channels", "wanted"), [(128, 38_944), (256, 127_040)])
def test_size_of_mecs(channels: int, wanted: int) -> None:
    assert n_parameters(MECS(channels)) == wanted
    three = n_parameters(MECS(channels, MECSConfig(shared_pw=False)))
    assert three == wanted + 2 * (channels**2 + channels)
    assert n_parameters(MECS(channels, MECSConfig(post_bn=True))) == wanted + 2 * channels


@pytest.mark.parametrize(("channels", "wanted"), [(128, 401_728), (256, 1_606_272)])
def test_size_of_the_control_is_nearly_that_of_gcsa(channels: int, wanted: int) -> None:
    assert n_parameters(PlainConvolutions(channels)) == wanted
    assert wanted == pytest.approx(n_parameters(GCSA(channels)), rel=0.022)


def test_the_control_adds_to_its_input_and_gates_nothing() -> None:
    block = PlainConvolutions(8).eval()
    x = some_maps(2, 8, 5, 6)
    fill_with_noise(block)
    assert not torch.allclose(block(x), x)
    block.main[-1].weight.data.zero_()  # the last norm
    block.main[-1].bias.data.zero_()
    assert torch.equal(block(x), x)


def test_shuffle_deals_channels_out() -> None:
    x = torch.arange(8.0).view(1, 8, 1, 1).expand(2, 8, 3, 5)
    shuffled = shuffle_channels(x, 4)
    assert shuffled[0, :, 0, 0].tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert torch.equal(shuffled, shuffled[:1, :, :1, :1].expand(2, 8, 3, 5))


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6))
def test_shuffle_in_c_over_g_groups_undoes_one_in_g(groups: int, width: int) -> None:
    x = some_maps(2, groups * width, 2, 3)
    assert torch.equal(shuffle_channels(shuffle_channels(x, groups), width), x)


@pytest.mark.parametrize("training", BOOLS)
def test_gcsa_of_zero_weights_is_a_quarter_of_the_shuffled_map(training: bool) -> None:
    block = GCSA(8).train(training)
    for module in block.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    x = some_maps(2, 8, 5, 6)
    assert torch.equal(block(x), 0.25 * shuffle_channels(x, 4))


def gcsa_by_formula(block: GCSA, x: Tensor) -> Tensor:
    """Equations 1 to 3, written apart from the module: positions as rows, the shuffle as a list."""
    config, out = block.config, x
    if config.channel:
        first, second = block.channel_mlp[0], block.channel_mlp[2]
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.Conv2d)
        rows = x.permute(0, 2, 3, 1)
        hidden = F.relu(F.linear(rows, first.weight[:, :, 0, 0], first.bias))
        out = torch.sigmoid(F.linear(hidden, second.weight[:, :, 0, 0], second.bias)).permute(0, 3, 1, 2) * x
    if config.shuffle:
        n_channels, g = x.shape[1], config.groups
        out = out[:, [(c % g) * (n_channels // g) + c // g for c in range(n_channels)]]
    if config.spatial:
        gate = block.spatial_gate
        if config.order == "text":
            scores = gate[4](gate[3](F.relu(gate[1](gate[0](out)))))
        else:
            scores = gate[3](gate[2](F.relu(gate[0](out))))
        assert sum(isinstance(each, nn.BatchNorm2d) for each in gate) == (2 if config.order == "text" else 1)
        out = torch.sigmoid(scores) * out
    return out + x if config.residual else out


@pytest.mark.parametrize("config", GCSA_CONFIGS, ids=str)
def test_every_switch_of_gcsa_does_what_it_says(config: GCSAConfig) -> None:
    block = GCSA(8, config).eval()
    fill_with_noise(block)
    x = some_maps(2, 8, 5, 9)
    torch.testing.assert_close(block(x), gcsa_by_formula(block, x))


def test_switches_of_gcsa_that_are_numbers() -> None:
    x = some_maps(1, 8, 4, 4)
    only_shuffle = GCSAConfig(channel=False, spatial=False, groups=2)
    assert torch.equal(GCSA(8, only_shuffle)(x), shuffle_channels(x, 2))
    mlp = GCSA(8, GCSAConfig(ratio=2)).channel_mlp[0]
    assert isinstance(mlp, nn.Conv2d)
    assert mlp.out_channels == 4
    block = GCSA(8, GCSAConfig(kernel=3))
    squeeze = block.spatial_gate[0]
    assert isinstance(squeeze, nn.Conv2d)
    assert squeeze.kernel_size == (3, 3)
    assert block(x).shape == x.shape


def changed(block: nn.Module, x: Tensor, row: int, column: int) -> Tensor:
    """Which positions of a block's output move when one position of its input does."""
    other = x.clone()
    other[:, :, row, column] += 1
    with torch.no_grad():
        moved: Tensor = ((block(other) - block(x)).abs() > 0).any(1)[0]
    return moved


def test_the_channel_gate_pools_nothing() -> None:
    block = GCSA(8, GCSAConfig(spatial=False))
    assert changed(block, some_maps(1, 8, 5, 6), 2, 3).nonzero().tolist() == [[2, 3]]


def test_the_spatial_gate_reaches_six_positions_far() -> None:
    block = GCSA(8, GCSAConfig(channel=False)).eval()
    fill_with_noise(block)
    moved = changed(block, some_maps(1, 8, 1, 20), 0, 10)[0]
    assert moved.nonzero().flatten().tolist() == list(range(4, 17))


def mecs_by_formula(block: MECS, x: Tensor) -> Tensor:
    """MECS' channel gate, with torch.median where the module sorts."""
    config = block.config
    points = list(block.pointwise) * (3 if config.shared_pw else 1)
    x0 = F.gelu(points[0](x))
    flat = x0.flatten(2)
    scores = [
        block.restore(F.relu(block.reduce(described[:, :, None, None])))
        for described in (flat.mean(-1), flat.max(-1).values, flat.median(-1).values)
    ]
    if config.channel_sum == "sum_sigmoid":
        gate = torch.stack([torch.sigmoid(score) for score in scores]).sum(0)
    else:
        gate = torch.sigmoid(torch.stack(scores).sum(0))
    x1 = gate * x0
    local = block.depthwise(x1)
    spatial = torch.stack([strip(local) for strip in block.strips]).sum(0)
    if config.add_init:
        spatial = spatial + local
    out: Tensor = points[2](points[1](spatial) * x1)
    if config.post_bn:
        out = block.norm(out)
    return out + x if config.residual else out


@pytest.mark.parametrize("config", MECS_CONFIGS, ids=str)
def test_every_switch_of_mecs_does_what_it_says(config: MECSConfig) -> None:
    block = MECS(8, config).eval()
    fill_with_noise(block)
    for x in (some_maps(2, 8, 4, 5), some_maps(2, 8, 3, 5)):  # an even and an odd count
        torch.testing.assert_close(block(x), mecs_by_formula(block, x), atol=1e-4, rtol=1e-4)


def test_strips_of_mecs_are_those_of_the_published_block() -> None:
    sizes = {strip.kernel_size for strip in MECS(4).strips if isinstance(strip, nn.Conv2d)}
    assert sizes == {(1, 7), (7, 1), (1, 11), (11, 1), (1, 21), (21, 1)}


def transparent_gate() -> MECS:
    """A block whose channel gate is the sum of the sigmoids of mean, maximum and median."""
    block = MECS(2, MECSConfig(ratio=1))
    for layer in (block.reduce, block.restore):
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
        with torch.no_grad():
            layer.weight.copy_(torch.eye(2).view(2, 2, 1, 1))
    return block


def median_gate(x: Tensor) -> Tensor:
    """The part of the channel gate that comes from the median."""
    whole = transparent_gate().channel_gate(x).flatten(1).double()
    flat = x.flatten(2).double()
    return torch.logit(whole - flat.mean(-1).sigmoid() - flat.max(-1).values.sigmoid())


def test_median_of_an_even_count_is_the_lower_middle() -> None:
    x = torch.tensor([[[[1.0, 4.0], [2.0, 3.0]], [[0.5, 0.5], [0.25, 3.0]]]])
    torch.testing.assert_close(median_gate(x), torch.tensor([[2.0, 0.5]]).double(), atol=1e-5, rtol=0)


def test_an_extreme_pixel_moves_the_maximum_but_not_the_median() -> None:
    x = torch.linspace(0.1, 1.2, 24).view(1, 2, 3, 4)
    extreme = x.clone()
    extreme[:, :, 2, 3] = 3.0  # was the largest already
    torch.testing.assert_close(median_gate(extreme), median_gate(x), atol=1e-5, rtol=0)
    gates = transparent_gate().channel_gate(x), transparent_gate().channel_gate(extreme)
    assert (gates[1] - gates[0]).min() > 0.1


@pytest.mark.parametrize(("config", "most"), [(MECSConfig(), 3), (MECSConfig(channel_sum="sigmoid_sum"), 1)])
def test_range_of_the_channel_gate(config: MECSConfig, most: int) -> None:
    block = MECS(8, config)
    assert block.restore.bias is not None
    nn.init.constant_(block.restore.bias, 50.0)
    torch.testing.assert_close(
        block.channel_gate(some_maps(1, 8, 2, 2)), torch.full((1, 8, 1, 1), float(most))
    )


@pytest.mark.parametrize("name", ["gcsa", "mecs", "convctl", "none"])
@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (2, 8, 7, 7), (3, 8, 4, 11)])
def test_a_map_keeps_its_shape(name: AttentionName, shape: tuple[int, ...]) -> None:
    block = build_attention(8, AttentionConfig(name=name)).eval()
    assert block(some_maps(*shape)).shape == shape


def test_the_name_chooses_the_block_and_its_switches_reach_it() -> None:
    gcsa, mecs = GCSAConfig(residual=True), MECSConfig(residual=True)
    built = {
        name: build_attention(8, AttentionConfig(name=name, gcsa=gcsa, mecs=mecs))
        for name in ("gcsa", "mecs", "none")
    }
    assert isinstance(built["gcsa"], GCSA)
    assert built["gcsa"].config is gcsa
    assert isinstance(built["mecs"], MECS)
    assert built["mecs"].config is mecs
    x = some_maps(1, 8, 2, 2)
    assert built["none"](x) is x


@pytest.mark.parametrize(
    "block", [GCSA(8), MECS(8, MECSConfig(shared_pw=False, post_bn=True))], ids=["gcsa", "mecs"]
)
def test_gradients_reach_every_weight(block: nn.Module) -> None:
    fill_with_noise(block)
    x = some_maps(4, 8, 6, 6).requires_grad_()
    block(x).square().sum().backward()
    assert starved(block) == []
    assert x.grad is not None
    assert x.grad.abs().min() > 0
