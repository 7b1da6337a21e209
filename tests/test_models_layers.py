"""The pieces both encoders are made of."""

import pytest
import torch
from torch import nn

from mien.models.layers import conv_bn_relu, initialise


@pytest.mark.parametrize(
    ("kernel", "stride", "side"), [(1, 1, 9), (3, 1, 9), (3, 2, 5), (5, 2, 5), (7, 2, 5)]
)
def test_the_size_is_kept_but_for_the_stride(kernel: int, stride: int, side: int) -> None:
    out = conv_bn_relu(4, 6, kernel, stride)(torch.randn(2, 4, 9, 9))
    assert out.shape == (2, 6, side, side)
    assert out.min() == 0


def test_a_convolution_before_a_norm_has_no_bias() -> None:
    convolution = conv_bn_relu(4, 4, 3, groups=4)[0]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is None
    assert convolution.weight.shape == (4, 1, 3, 3)


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
