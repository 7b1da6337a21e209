"""Parameters and multiply-accumulates: by hand for small layers, as published for known networks."""

import pytest
import torch
from torch import Tensor, nn

from mien.models.attention import AttentionConfig, AttentionName
from mien.models.counting import Counts, count
from mien.models.face import RHCNN, FaceNet, FaceNetConfig
from mien.models.network import ExpressionNet, ExpressionNetConfig
from mien.models.resnet import ClipResNet18, ResNet18
from mien.models.speech import MCNN
from some_networks import face_config, speech_config

PLAIN = AttentionConfig(name="none")


@pytest.mark.parametrize(
    ("layer", "shape", "n_parameters", "n_macs"),
    [
        (nn.Linear(5, 3), (1, 5), 18, 15),
        (nn.Linear(5, 3), (2, 7, 5), 18, 2 * 7 * 15),
        (nn.Conv1d(4, 6, 3, padding=1), (1, 4, 10), 78, 10 * 6 * 4 * 3),
        (nn.Conv2d(3, 8, 5, stride=2, bias=False), (1, 3, 9, 11), 600, 3 * 4 * 8 * 3 * 25),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (1, 8, 4, 4), 80, 16 * 8 * 9),
        (nn.Conv3d(2, 4, (3, 1, 1)), (1, 2, 5, 3, 3), 28, 3 * 9 * 4 * 2 * 3),
        (nn.BatchNorm2d(4), (1, 4, 3, 3), 8, 0),
    ],
)
def test_layers_by_hand(layer: nn.Module, shape: tuple[int, ...], n_parameters: int, n_macs: int) -> None:
    assert count(layer, [torch.zeros(shape)]) == Counts(n_parameters=n_parameters, n_macs=n_macs)


def n_giga(network: nn.Module, *shape: int) -> float:
    """Multiply-accumulates in units of 10^9, counted without computing."""
    return count(network.to("meta"), [torch.empty(shape, device="meta")]).n_macs / 1e9


@pytest.mark.parametrize(
    ("attention", "speech", "face"), [("none", 0.69, 0.13), ("gcsa", 1.47, 0.29), ("mecs", 0.80, 0.15)]
)
def test_encoders_of_the_paper(attention: AttentionName, speech: float, face: float) -> None:
    assert n_giga(MCNN(speech_config(attention)), 1, 1, 64, 320) == pytest.approx(speech, abs=0.0055)
    assert n_giga(RHCNN(face_config(attention)), 1, 3, 112, 112) == pytest.approx(face, abs=0.005)


def test_resnets_as_published() -> None:
    """1.814 G at 224 px with 512,000 for 1,000 classes; 40.70 G and 40.52 G for 16 frames of 112 px."""
    assert n_giga(ResNet18(3, PLAIN), 1, 3, 224, 224) + 0.000512 == pytest.approx(1.814, abs=5e-4)
    clip = (1, 3, 16, 112, 112)
    assert n_giga(ClipResNet18(PLAIN, factored=False), *clip) == pytest.approx(40.70, abs=0.005)
    assert n_giga(ClipResNet18(PLAIN, factored=True), *clip) == pytest.approx(40.52, abs=0.005)


def window(n_faces: int, n_there: int) -> list[Tensor]:
    there = torch.arange(n_faces).unsqueeze(0) < n_there
    heard = torch.ones(1, 64, dtype=torch.bool)
    places = torch.linspace(0, 7, n_faces).unsqueeze(0)
    return [torch.rand(1, n_faces, 32, 32), there, torch.randn(1, 64, 64), heard, places]


def test_the_whole_network_is_its_parts() -> None:
    network = ExpressionNet(ExpressionNetConfig(face=face_config(), speech=speech_config()), 8)
    face = count(network.face, [torch.rand(1, 1, 32, 32)])
    speech = count(network.speech, window(1, 1)[2:4])
    head = 256 * 8
    for n_there in (0, 1, 3):
        both = count(network, window(3, n_there))
        assert both.n_macs == n_there * (face.n_macs - head) + head + speech.n_macs
    assert both.n_parameters == face.n_parameters + speech.n_parameters


def test_alignment_costs_what_its_layers_do() -> None:
    plain, aligned = (
        ExpressionNet(ExpressionNetConfig(face=face_config(), speech=speech_config(), alignment=alignment), 8)
        for alignment in ("none", "align")
    )
    added = count(aligned, window(3, 3)).n_macs - count(plain, window(3, 3)).n_macs
    assert added == 2 * 3 * 256 * 64 + 2 * 256


def test_what_reads_twice_costs_twice() -> None:
    once, twice = (
        count(
            FaceNet(FaceNetConfig(input_px=32, attention=PLAIN, mirrored=mirrored), 8),
            [torch.rand(1, 1, 32, 32)],
        )
        for mirrored in (False, True)
    )
    assert twice.n_macs + 2_048 == 2 * once.n_macs
    assert twice.n_parameters == once.n_parameters


def test_a_network_is_left_as_it_was() -> None:
    network = FaceNet(face_config(), 8).train()
    network.encoder.stem.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    first, second = (count(network, [torch.rand(2, 1, 32, 32)]) for _ in range(2))
    assert first == second
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(RuntimeError):
        count(network, [torch.rand(2, 1, 0, 1)])
    assert [module.training for module in network.modules()] == modes
    assert not any(module._forward_hooks for module in network.modules())
