"""The pieces both encoders are made of."""

import pytest
import torch
from torch import nn

from mien.errors import InputError
from mien.models.face import FaceNetConfig
from mien.models.layers import Depthwise, conv_bn_relu, depthwise_bn_relu, initialise
from mien.models.speech import SpeechNetConfig


@pytest.mark.parametrize(
    ("kernel", "stride", "side"), [(1, 1, 9), (3, 1, 9), (3, 2, 5), (5, 2, 5), (7, 2, 5)]
)
def test_the_size_is_kept_but_for_the_stride(kernel: int, stride: int, side: int) -> None:
    out = conv_bn_relu(4, 6, kernel, stride)(torch.randn(2, 4, 9, 9))
    assert out.shape == (2, 6, side, side)
    assert out.min() == 0


@pytest.mark.parametrize("layers", [conv_bn_relu(4, 4, 3), depthwise_bn_relu(4, 3)])
def test_a_convolution_before_a_norm_has_no_bias(layers: nn.Sequential) -> None:
    convolution = layers[0]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is None
    assert convolution.weight.shape == (4, 4 // convolution.groups, 3, 3)


def test_depthwise_convolutions_stay_float32_under_bfloat16() -> None:
    layers = depthwise_bn_relu(4, 5, stride=2)
    x = torch.randn(2, 4, 9, 9)
    assert layers(x).shape == (2, 4, 5, 5)
    exact = layers[0](x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layers[0](x.bfloat16().float()), layers[0](x.bfloat16()))
        assert torch.equal(layers[0](x), exact)
        assert nn.Conv2d(4, 4, 1)(x).dtype == torch.bfloat16


def test_depthwise_convolutions_keep_the_size_with_any_kernel() -> None:
    convolution = Depthwise(4, (1, 7))
    assert convolution(torch.randn(1, 4, 6, 9)).shape == (1, 4, 6, 9)
    assert convolution.bias is not None


@pytest.mark.parametrize("config", [FaceNetConfig, SpeechNetConfig])
@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_dropout_that_leaves_nothing_is_refused(config: type, share: float) -> None:
    with pytest.raises(InputError, match="dropout is"):
        config(dropout=share)


def test_first_weights() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(16, 64, 5), nn.BatchNorm2d(64))
    convolution, norm = network
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    initialise(network)
    assert convolution.weight.std().item() == pytest.approx((2 / (64 * 25)) ** 0.5, rel=0.03)  # fan out
    assert convolution.weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert convolution.bias is not None
    assert not convolution.bias.any()
    assert torch.equal(norm.weight, torch.ones(64))
    assert not norm.bias.any()
