"""Encoder and head say together what their network says."""

from dataclasses import replace

import torch

from mien.models.checkpoint import build_network
from mien.models.face import FaceNet
from mien.models.parts import FaceEncoder, FaceHead, Probabilities, SpeechEncoder, SpeechHead
from mien.models.speech import SpeechNet
from mien.recipes import override, train_face, train_speech
from mien.spec import ModelSpec
from mien.train import describe
from some_networks import fill_with_noise


def face_spec() -> ModelSpec:
    small = ["network.attention.name=none", "network.input_px=32"]
    return replace(describe(override(train_face(), small), {}, 48), temperature=2.0)


def speech_spec(*settings: str) -> ModelSpec:
    small = ["network.attention.name=none", *settings]
    return replace(describe(override(train_speech(), small), {}, None), temperature=2.0)


@torch.no_grad()
def test_parts_of_a_face_net_are_the_whole() -> None:
    network = build_network(face_spec())
    assert isinstance(network, FaceNet)
    fill_with_noise(network)
    network.eval()
    crops = torch.randint(0, 256, (3, 48, 48, 3), dtype=torch.uint8)
    grey = (crops.float() @ torch.tensor([0.299, 0.587, 0.114]) / 255).unsqueeze(1)
    said = FaceHead(network, face_spec())(FaceEncoder(network)(crops))
    torch.testing.assert_close(said, torch.softmax(network(grey) / 2, dim=-1), atol=1e-4, rtol=0)


@torch.no_grad()
def test_parts_of_a_speech_net_are_the_whole() -> None:
    spec = speech_spec()
    network = build_network(spec)
    assert isinstance(network, SpeechNet)
    fill_with_noise(network)
    network.eval()
    log_mel, mask = torch.randn(2, 64, 320), torch.arange(320).repeat(2, 1) < 200
    said = SpeechHead(network, spec)(SpeechEncoder(network)(log_mel, mask), mask)
    torch.testing.assert_close(said, torch.softmax(network(log_mel, mask) / 2, dim=-1))


@torch.no_grad()
def test_the_head_normalises_steps_that_are_given() -> None:
    spec = speech_spec("network.backbone=features", "network.n_features=6")
    network = build_network(spec)
    assert isinstance(network, SpeechNet)
    fill_with_noise(network)
    network.eval()
    assert abs(float(network.mel_mean)) > 0.01
    steps, mask = torch.randn(2, 6, 40), torch.arange(40).repeat(2, 1) < 25
    said = SpeechHead(network, spec)(steps, mask)
    torch.testing.assert_close(said, torch.softmax(network(steps, mask) / 2, dim=-1))


def test_a_masked_expression_has_probability_0() -> None:
    spec = replace(face_spec(), masked=("Other",))
    said = Probabilities(spec)(torch.zeros(1, 8))
    assert said[0, -1] == 0
    torch.testing.assert_close(said[0, :-1], torch.full((7,), 1 / 7))
