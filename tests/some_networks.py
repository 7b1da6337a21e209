"""What the tests of the networks share: small configurations, and a count of parameters."""

import torch
from torch import nn

from mien.models.attention import AttentionConfig, AttentionName
from mien.models.face import FaceNetConfig
from mien.models.speech import SpeechNetConfig


def n_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def face_config(attention: AttentionName = "none", input_px: int = 32) -> FaceNetConfig:
    return FaceNetConfig(input_px=input_px, attention=AttentionConfig(name=attention))


def speech_config(attention: AttentionName = "none") -> SpeechNetConfig:
    return SpeechNetConfig(attention=AttentionConfig(name=attention))


def fill_with_noise(module: nn.Module, seed: int = 0) -> None:
    """Weights, biases and running statistics that no two places share, so that a swapped one shows."""
    torch.manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn_like(tensor) / max(1, tensor[0].numel() if tensor.ndim > 1 else 1) ** 0.5
            tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise)


def starved(module: nn.Module) -> list[str]:
    """Names of the weights that got no gradient."""
    return [
        name
        for name, parameter in module.named_parameters()
        if parameter.ndim > 1 and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]
