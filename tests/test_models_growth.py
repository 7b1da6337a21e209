import pytest
import torch

from mien.errors import CheckpointError
from mien.models.attention import AttentionConfig, GCSAConfig
from mien.models.face import RHB, RHCNN, FaceNet, FaceNetConfig
from mien.models.growth import deepen

RESIDUAL = AttentionConfig(gcsa=GCSAConfig(residual=True))


def untrained(depths: tuple[int, int, int]) -> FaceNet:
    return FaceNet(FaceNetConfig(input_px=48, depths=depths, attention=RESIDUAL), 8)


def trained(depths: tuple[int, int, int], seed: int) -> FaceNet:
    """A net whose norms and biases are not those that it is born with."""
    torch.manual_seed(seed)
    network = untrained(depths)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.copy_(torch.rand(len(tensor)) + ("running_var" in name))
    return network.eval()


@pytest.mark.parametrize(
    ("old", "added"),
    [((0, 2, 2), (2, 0, 0)), ((0, 2, 2), (0, 1, 0)), ((0, 2, 2), (0, 0, 3)), ((1, 1, 3), (1, 2, 2))],
)
def test_a_deeper_net_says_the_same(old: tuple[int, int, int], added: tuple[int, int, int]) -> None:
    shallow = trained(old, 0)
    depths = old[0] + added[0], old[1] + added[1], old[2] + added[2]
    deep = untrained(depths)
    deepen(shallow, deep)
    faces = torch.rand(3, 1, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(deep.eval()(faces), shallow(faces), rtol=1e-4, atol=1e-5)


def test_new_blocks_learn() -> None:
    deep = untrained((1, 2, 3))
    deepen(trained((0, 2, 2), 0), deep)
    assert isinstance(deep.encoder, RHCNN)
    deep.train()(torch.rand(4, 1, 48, 48)).square().sum().backward()
    for block in (deep.encoder.stage0[0], deep.encoder.stage2[1]):
        assert isinstance(block, RHB)
        gradient = next(block.main[-1].parameters()).grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_no_net_becomes_shallower() -> None:
    with pytest.raises(CheckpointError, match=r"\(0, 2, 1\).*\(0, 2, 2\)"):
        deepen(trained((0, 2, 2), 0), trained((0, 2, 1), 1))
