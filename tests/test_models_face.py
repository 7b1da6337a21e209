"""The face encoders: RHCNN's size and shapes, its alternatives, and what a face's features may depend on."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.attention import AttentionName, shuffle_channels
from mien.models.face import RHB, RHCNN, FaceNet, FaceNetConfig
from mien.models.resnet import ClipResNet18, ResNet18
from some_networks import face_config, fill_with_noise, n_parameters, starved


@pytest.mark.parametrize(("attention", "wanted"), [("none", 754_336), ("gcsa", 2_804_256), ("mecs", 920_320)])
def test_size(attention: AttentionName, wanted: int) -> None:
    assert n_parameters(RHCNN(face_config(attention))) == wanted


def test_size_of_the_parts() -> None:
    network = RHCNN(face_config())
    assert n_parameters(network.stem) == 23_328
    assert [n_parameters(block) for block in network.stage1] == [59_840, 88_256]
    assert [n_parameters(block) for block in network.stage2] == [234_368, 348_544]
    assert n_parameters(FaceNet(face_config(), 8).head) == 2_056


def shapes_inside(network: nn.Module, *inputs: Tensor) -> dict[str, tuple[int, ...]]:
    """Shape of the output of each child of a network."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, child in network.named_children():
        child.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape)}))
    with torch.no_grad():
        shapes["out"] = tuple(network(*inputs).shape)
    return shapes


def test_shapes_on_the_way_of_a_crop_of_112_px() -> None:
    network = RHCNN(face_config("mecs")).eval()
    assert shapes_inside(network, torch.randn(1, 3, 112, 112)) == {
        "stem": (1, 64, 28, 28),
        "stage0": (1, 64, 28, 28),
        "stage1": (1, 128, 14, 14),
        "attention1": (1, 128, 14, 14),
        "stage2": (1, 256, 7, 7),
        "attention2": (1, 256, 7, 7),
        "out": (1, 256),
    }


def test_smaller_strides_keep_detail() -> None:
    network = RHCNN(FaceNetConfig(stem_strides=(1, 2), attention=face_config().attention)).eval()
    assert shapes_inside(network, torch.randn(1, 3, 32, 32))["stem"] == (1, 64, 16, 16)


@pytest.mark.parametrize("depths", [(0, 1, 1), (2, 3, 4)])
def test_depths_are_numbers_of_blocks(depths: tuple[int, int, int]) -> None:
    network = RHCNN(FaceNetConfig(depths=depths, attention=face_config().attention)).eval()
    assert (len(network.stage0), len(network.stage1), len(network.stage2)) == depths
    assert network(torch.randn(2, 3, 48, 48)).shape == (2, 256)


@pytest.mark.parametrize("depths", [(-1, 2, 2), (0, 0, 2), (0, 2, 0)])
def test_a_stage_that_widens_has_a_block(depths: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="depths are"):
        FaceNetConfig(depths=depths)


def test_widths_are_numbers_of_channels() -> None:
    config = FaceNetConfig(widths=(128, 192, 512), depths=(1, 1, 1), attention=face_config().attention)
    network = RHCNN(config).eval()
    sizes = shapes_inside(network, torch.randn(1, 3, 48, 48))
    assert [sizes[part][1] for part in ("stem", "stage0", "stage1", "stage2")] == [128, 128, 192, 512]
    assert FaceNet(config, 8).eval()(torch.rand(2, 1, 48, 48)).shape == (2, 8)


@pytest.mark.parametrize("widths", [(0, 64, 64), (64, 100, 256), (32, 128, 256)])
def test_widths_are_multiples_that_attention_can_divide(widths: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="widths are"):
        FaceNetConfig(widths=widths)


def test_block_adds_its_shortcut_and_shuffles() -> None:
    same, other = RHB(8, 8).eval(), RHB(8, 16, stride=2).eval()
    x = torch.randn(2, 8, 6, 6)
    assert isinstance(same.shortcut, nn.Identity)
    torch.testing.assert_close(same(x), shuffle_channels(torch.relu(same.main(x) + x), 4))
    fill_with_noise(other)
    assert other(x).shape == (2, 16, 3, 3)
    torch.testing.assert_close(other(x), shuffle_channels(torch.relu(other.main(x) + other.shortcut(x)), 4))


@pytest.fixture(scope="module")
def network() -> FaceNet:
    torch.manual_seed(0)
    return FaceNet(face_config("gcsa"), 8).eval()


def test_a_face_is_read_alone_as_among_others(network: FaceNet) -> None:
    crops = torch.rand(9, 1, 32, 32)
    with torch.no_grad():
        together = network(crops)
        assert together.shape == (9, 8)
        alone = torch.cat([network(crop[None]) for crop in crops])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def test_crops_of_any_size_are_brought_to_one(network: FaceNet) -> None:
    crops = torch.rand(2, 1, 48, 40)
    brought = nn.functional.interpolate(crops, (32, 32), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert torch.equal(network.encode(crops), network.encode(brought))


def test_neither_light_nor_contrast_decides(network: FaceNet) -> None:
    crops = 255 * torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        features = network.encode(crops)
        torch.testing.assert_close(network.encode(0.5 * crops + 60), features, atol=1e-3, rtol=1e-3)
        assert not torch.allclose(network.encode(crops.flip(2)), features, atol=1e-3, rtol=1e-3)


def test_mirrored_features_are_the_mean_of_both_sides_and_only_outside_training(network: FaceNet) -> None:
    both = FaceNet(replace(face_config("gcsa"), mirrored=True), 8).eval()
    both.load_state_dict(network.state_dict())
    crops = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        wanted = (network.encode(crops) + network.encode(crops.flip(-1))) / 2
        torch.testing.assert_close(both.encode(crops), wanted)
        torch.testing.assert_close(both(crops), both(crops.flip(-1)))
        for each in (network, both):
            for module in each.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.track_running_stats = False
        torch.testing.assert_close(both.train().encode(crops), network.train().encode(crops))
    network.eval()


def test_a_crop_of_one_grey_is_no_accident(network: FaceNet) -> None:
    assert network(torch.full((1, 1, 32, 32), 0.5)).isfinite().all()


def test_no_faces_give_no_rows(network: FaceNet) -> None:
    assert network(torch.zeros(0, 1, 32, 32)).shape == (0, 8)


@pytest.mark.parametrize("attention", ["none", "gcsa", "mecs", "convctl"])
def test_gradients_reach_every_weight(attention: AttentionName) -> None:
    network = FaceNet(face_config(attention), 8).train()
    network(torch.rand(4, 1, 32, 32)).square().sum().backward()
    assert starved(network) == []


@pytest.mark.parametrize(
    ("backbone", "kind", "n_weights"),
    [
        ("resnet18", ResNet18, 11_176_512),
        ("r3d18", ClipResNet18, 33_166_272),
        ("r2plus1d18", ClipResNet18, 31_300_125),
    ],
)
def test_another_backbone_reads_one_crop_too(backbone, kind: type[nn.Module], n_weights: int) -> None:
    torch.manual_seed(0)
    config = replace(face_config(), backbone=backbone, mirrored=True)
    other = FaceNet(config, 8).eval()
    assert type(other.encoder) is kind
    assert n_parameters(other) == n_weights + 8 * 512 + 8
    crops = torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        assert other.encode(crops).shape == (2, 512)
        assert other(crops).shape == (2, 8)
        torch.testing.assert_close(other(crops[:1]), other(crops)[:1], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other(crops.flip(-1)), other(crops), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other(0.5 * crops + 9), other(crops), atol=1e-2, rtol=1e-2)
        assert other(crops[:0]).shape == (0, 8)


@pytest.mark.slow
def test_each_crop_of_a_sequence_is_standardised_by_itself() -> None:
    torch.manual_seed(0)
    network = FaceNet(replace(face_config(), backbone="r2plus1d18"), 8).eval()
    faces = 255 * torch.rand(2, 3, 32, 32)
    light = torch.tensor([1.0, 0.5, 2.0]).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(network(faces * light), network(faces), atol=1e-3, rtol=1e-3)
        assert not torch.allclose(network(faces.flip(1)), network(faces), atol=1e-3)


@pytest.mark.parametrize("backbone", ["rhcnn", "resnet18"])
def test_a_sequence_is_no_picture_in_colour(backbone) -> None:
    network = FaceNet(replace(face_config(), backbone=backbone), 8)
    with pytest.raises(AssertionError, match="three colours"):
        network(torch.rand(2, 3, 32, 32))


def test_strides_of_the_stem_are_for_stems_of_two_layers() -> None:
    assert FaceNetConfig(backbone="resnet18", stem_strides=(2, 1)).stem_strides == (2, 1)
    with pytest.raises(InputError, match=r"stem_strides are \(2, 1\), but r3d18"):
        FaceNetConfig(backbone="r3d18", stem_strides=(2, 1))


def test_features_that_are_given_have_a_head_and_no_encoder() -> None:
    network = FaceNet(FaceNetConfig(backbone="features", n_features=5), 8).eval()
    assert n_parameters(network) == 5 * 8 + 8
    given = torch.randn(3, 1, 1, 5)
    torch.testing.assert_close(network.encode(given), given[:, 0, 0])
    torch.testing.assert_close(network(given), network.head[1](given[:, 0, 0]))


def test_features_need_a_width_and_a_width_needs_features() -> None:
    with pytest.raises(InputError, match="the face's backbone is 'features'; set n_features beside it"):
        FaceNet(FaceNetConfig(backbone="features"), 8)
    for config in ({"n_features": 5}, {"backbone": "features", "n_features": 0}):
        with pytest.raises(InputError, match=r"n_features is \d with backbone"):
            FaceNetConfig(**config)
