"""ResNet-18 in two and three dimensions: published sizes, shapes on the way, and what a block may look at."""

import pytest
import torch
from torch import Tensor, nn

from mien.models.attention import GCSA, AttentionConfig, AttentionName
from mien.models.face import FaceNet, FaceNetConfig
from mien.models.network import ExpressionNet, ExpressionNetConfig, LogProbs
from mien.models.resnet import (
    BasicBlock,
    ClipBlock,
    ClipResNet18,
    ResNet18,
    at_each_step,
    channels_between,
    clip_convolution,
)
from mien.models.speech import SpeechNet, SpeechNetConfig
from some_networks import fill_with_noise, n_parameters, starved

PLAIN = AttentionConfig(name="none")


def clip_net(*, factored: bool) -> ClipResNet18:
    torch.manual_seed(0)
    return ClipResNet18(PLAIN, factored=factored)


def shapes_inside(network: nn.Module, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes after the stem, each layer and the network, found without computing."""
    shapes: list[tuple[int, ...]] = []
    network = network.to("meta")
    for name in ("stem", "layer1", "layer2", "layer3", "layer4"):
        network.get_submodule(name).register_forward_hook(lambda *told: shapes.append(tuple(told[2].shape)))
    with torch.no_grad():
        shapes.append(tuple(network(torch.empty(shape, device="meta")).shape))
    return shapes


@pytest.mark.parametrize(("n_channels", "wanted"), [(3, 11_176_512), (1, 11_170_240)])
def test_size_of_resnet18(n_channels: int, wanted: int) -> None:
    """11,689,512 are published for a net of 1,000 classes, whose last layer has 513,000."""
    with torch.device("meta"):
        assert n_parameters(ResNet18(n_channels, PLAIN)) == wanted


def test_size_of_r3d18() -> None:
    """33,371,472 are published for a net of 400 classes, whose last layer has 205,200."""
    with torch.device("meta"):
        network = ClipResNet18(PLAIN, factored=False)
    parts = [network.stem, network.layer1, network.layer2, network.layer3, network.layer4]
    assert [n_parameters(part) for part in parts] == [28_352, 442_880, 1_557_760, 6_228_480, 24_908_800]
    assert n_parameters(network) == 33_371_472 - 205_200


def test_size_of_r2plus1d18() -> None:
    """31,505,325 are published for a net of 400 classes."""
    with torch.device("meta"):
        network = ClipResNet18(PLAIN, factored=True)
    parts = [network.stem, network.layer1, network.layer2, network.layer3, network.layer4]
    assert [n_parameters(part) for part in parts] == [15_473, 444_032, 1_470_360, 5_874_736, 23_495_524]
    assert n_parameters(network) == 31_505_325 - 205_200


def test_size_of_attention() -> None:
    config = AttentionConfig(name="gcsa")
    with torch.device("meta"):
        for network in (ResNet18(3, config), ClipResNet18(config, factored=True)):
            n_without = n_parameters(network) - n_parameters(network.attention1)
            assert n_parameters(network.attention1) == 410_240
            assert n_without in (11_176_512 + 6_556_160, 31_300_125 + 6_556_160)


@pytest.mark.parametrize("n_out", [64, 128, 512])
def test_factored_convolutions_have_the_weights_of_whole_ones(n_out: int) -> None:
    n_between = channels_between(64, n_out)
    whole, factored = 27 * 64 * n_out, n_between * (9 * 64 + 3 * n_out)
    assert factored <= whole < factored + 9 * 64 + 3 * n_out


def test_shapes_on_the_way_of_a_crop_of_112_px() -> None:
    assert shapes_inside(ResNet18(3, PLAIN), (1, 3, 112, 112)) == [
        (1, 64, 28, 28),
        (1, 64, 28, 28),
        (1, 128, 14, 14),
        (1, 256, 7, 7),
        (1, 512, 4, 4),
        (1, 512),
    ]


def test_shapes_on_the_way_of_a_window() -> None:
    assert shapes_inside(ResNet18(1, PLAIN, pooled=(2,)), (1, 1, 64, 320)) == [
        (1, 64, 16, 80),
        (1, 64, 16, 80),
        (1, 128, 8, 40),
        (1, 256, 4, 20),
        (1, 512, 2, 10),
        (1, 512, 10),
    ]


def test_smaller_strides_keep_detail() -> None:
    for strides, side in (((2, 2), 12), ((2, 1), 24), ((1, 1), 48)):
        assert shapes_inside(ResNet18(3, PLAIN, strides), (1, 3, 48, 48))[0] == (1, 64, side, side)


@pytest.mark.parametrize("factored", [False, True], ids=["r3d18", "r2plus1d18"])
@pytest.mark.parametrize(
    ("n_faces", "steps"),
    [(1, (1, 1, 1, 1, 1)), (3, (3, 3, 2, 1, 1)), (8, (8, 8, 4, 2, 1)), (9, (9, 9, 5, 3, 2))],
)
def test_shapes_on_the_way_of_a_sequence(factored: bool, n_faces: int, steps: tuple[int, ...]) -> None:
    *inside, out = shapes_inside(ClipResNet18(PLAIN, factored=factored), (2, 3, n_faces, 112, 112))
    assert [shape[2] for shape in inside] == list(steps)
    assert [shape[3] for shape in inside] == [56, 56, 28, 14, 7]
    assert [shape[1] for shape in inside] == [64, 64, 128, 256, 512]
    assert out == (2, 512)


def test_blocks_add_their_shortcut() -> None:
    image, clip = torch.randn(2, 4, 6, 6), torch.randn(2, 4, 3, 6, 6)
    for x, same, other in (
        (image, BasicBlock(4, 4), BasicBlock(4, 8, (2, 1))),
        (clip, ClipBlock(4, 4, 1, factored=False), ClipBlock(4, 8, 2, factored=True)),
    ):
        for block in (same.eval(), other.eval()):
            fill_with_noise(block)
            torch.testing.assert_close(block(x), torch.relu(block.main(x) + block.shortcut(x)))
            assert not torch.allclose(block(x), torch.relu(block.main(x)))
        assert isinstance(same.shortcut, nn.Identity)
        assert isinstance(other.shortcut, nn.Sequential)
    assert BasicBlock(4, 8, (2, 1))(image).shape == (2, 8, 3, 6)
    assert ClipBlock(4, 8, 2, factored=True)(clip).shape == (2, 8, 2, 3, 3)


def changed(module: nn.Module, x: Tensor) -> set[tuple[int, int, int]]:
    """Places, in time and image, at which what comes out moves when the middle of what enters does."""
    other = x.clone()
    other[:, :, 2, 4, 4] += 1
    with torch.no_grad():
        moved = (module(other) - module(x)).abs().amax((0, 1)) > 1e-6
    return {tuple(place) for place in moved.nonzero().tolist()}


def test_a_factored_convolution_looks_at_the_image_then_along_time() -> None:
    factored = clip_convolution(2, 3, 1, channels_between(2, 3))
    assert isinstance(factored, nn.Sequential)
    fill_with_noise(factored.eval())
    x = torch.randn(1, 2, 5, 9, 9)
    around = {(2, row, column) for row in (3, 4, 5) for column in (3, 4, 5)}
    assert changed(factored[0], x) == around
    between = torch.randn(1, channels_between(2, 3), 5, 9, 9)
    assert changed(factored[3], between) == {(1, 4, 4), (2, 4, 4), (3, 4, 4)}
    whole = clip_convolution(2, 3, 1, None)
    assert changed(whole, x) == {(step, row, column) for step in (1, 2, 3) for _, row, column in around}


def test_attention_sees_each_step_by_itself() -> None:
    torch.manual_seed(0)
    block, x = GCSA(8).eval(), torch.randn(2, 8, 3, 4, 5)
    with torch.no_grad():
        each = torch.stack([block(x[:, :, step]) for step in range(3)], dim=2)
        torch.testing.assert_close(at_each_step(block, x), each)
    assert at_each_step(nn.Identity(), x[:0]).shape == (0, 8, 3, 4, 5)


def test_first_weights() -> None:
    whole, factored = clip_net(factored=False), clip_net(factored=True)
    for convolution in (whole.layer1[0].main[0], factored.layer1[0].main[0][0]):
        n_fan = convolution.weight[:, 0].numel()
        assert convolution.weight.std().item() == pytest.approx((2 / n_fan) ** 0.5, rel=0.02)


@pytest.mark.parametrize("factored", [False, True], ids=["r3d18", "r2plus1d18"])
def test_a_sequence_is_read_in_its_order_and_alone_as_among_others(factored: bool) -> None:
    network, clips = clip_net(factored=factored).eval(), torch.randn(2, 3, 5, 16, 16)
    with torch.no_grad():
        together = network(clips)
        alone = torch.cat([network(clip[None]) for clip in clips])
        torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(network(clips.flip(2)), together, atol=1e-3)
        assert network(clips[:, :, :1]).shape == (2, 512)


@pytest.mark.parametrize("attention", ["none", "gcsa", "mecs", "convctl"])
def test_gradients_reach_every_weight(attention: AttentionName) -> None:
    config = AttentionConfig(name=attention)
    network = ResNet18(1, config, pooled=(2,)).train()
    network(torch.randn(2, 1, 64, 64)).square().sum().backward()
    assert starved(network) == []


@pytest.mark.slow
@pytest.mark.parametrize("factored", [False, True], ids=["r3d18", "r2plus1d18"])
def test_gradients_reach_every_weight_of_a_sequence(factored: bool) -> None:
    network = ClipResNet18(AttentionConfig(name="gcsa"), factored=factored).train()
    network(torch.randn(2, 3, 9, 32, 32)).square().sum().backward()
    assert starved(network) == []


LABELS = torch.arange(16) % 8
HEARD = torch.ones(16, 32, dtype=torch.bool)


def n_learnt(network: nn.Module, *inputs: Tensor) -> int:
    """How many of 16 samples of noise are told right in evaluation mode after ten steps on them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = 0.5  # the running statistics keep up with so few steps

    def logits() -> Tensor:
        said = network(*inputs)
        return said.fused if isinstance(said, LogProbs) else said

    optimiser = torch.optim.AdamW(network.train().parameters(), lr=1e-3)
    for _ in range(10):
        optimiser.zero_grad()
        nn.functional.cross_entropy(logits(), LABELS).backward()
        optimiser.step()
    network.eval()
    with torch.no_grad():
        return int((logits().argmax(-1) == LABELS).sum())


@pytest.mark.slow
def test_resnet18_learns_16_crops_and_16_windows() -> None:
    torch.manual_seed(0)
    face = FaceNet(FaceNetConfig(backbone="resnet18", input_px=32, attention=PLAIN, dropout=0), 8)
    assert n_learnt(face, torch.rand(16, 1, 32, 32)) == 16
    speech = SpeechNet(SpeechNetConfig(backbone="resnet18", attention=PLAIN, dropout=0), 8)
    assert n_learnt(speech, torch.randn(16, 64, 32), HEARD) == 16


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["r3d18", "r2plus1d18"])
def test_sequences_are_learnt_by_the_whole_network(backbone) -> None:
    torch.manual_seed(0)
    face = FaceNetConfig(backbone=backbone, input_px=16, attention=PLAIN, dropout=0)
    network = ExpressionNet(ExpressionNetConfig(modalities="face", face=face), 8)
    there = torch.rand(16, 3) < 0.8
    there[:, 1] = True
    assert n_learnt(network, torch.rand(16, 3, 16, 16), there, torch.zeros(16, 64, 32), HEARD) == 16


@pytest.mark.parametrize("factored", [False, True])
def test_gradients_under_bfloat16_are_those_of_float32(factored: bool) -> None:
    torch.manual_seed(0)
    network = ClipResNet18(AttentionConfig(name="none"), factored=factored)
    clips = torch.rand(2, 3, 3, 32, 32)
    norms = []
    for enabled in (True, False):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            network(clips).float().square().mean().backward()
        norms.append([parameter.grad.norm().item() for parameter in network.parameters()])
    assert norms[0] == pytest.approx(norms[1], rel=0.1)
