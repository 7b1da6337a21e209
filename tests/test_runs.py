"""A run on disk: comes back bit for bit, and only into a run of the same configuration."""

import math
from pathlib import Path

import pytest
import torch

from mien.errors import CheckpointError
from mien.losses import CoarseFine, CoarseFineConfig
from mien.models.checkpoint import build_network, load_tensors, save_network, save_tensors
from mien.models.face import FaceNet
from mien.recipes import override, train_face
from mien.runs import State, copy_weights, join_processes, load_state, save_state
from mien.semi import SemiConfig, start_semi
from mien.spec import ModelSpec
from mien.train import describe

CONFIG = override(
    train_face(), ["network.attention.name=none", "network.input_px=16", "network.depths=[0,2,2]"]
)
SPEC = describe(CONFIG, {}, 48)


def some_state(seed: int, n_steps: int) -> State:
    """A run that has taken steps on noise."""
    torch.manual_seed(seed)
    network = build_network(SPEC)
    assert isinstance(network, FaceNet)
    optimiser = torch.optim.AdamW(network.parameters())
    for _ in range(n_steps):
        optimiser.zero_grad()
        network(torch.rand(4, 1, 16, 16)).square().mean().backward()
        optimiser.step()
    average = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    return State(
        network=network,
        average=average,
        optimiser=optimiser,
        step=n_steps,
        history=[{"epoch": 1.0}],
        best=0.5 * n_steps,
        loss=CoarseFine(CoarseFineConfig(scale=float(n_steps))),
        counts=torch.full((8, 8), float(n_steps)),
        semi=start_semi(SemiConfig()),
        forward=network,
        team=join_processes(1),
    )


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    before = some_state(0, 3)
    save_state(before, SPEC, tmp_path)
    after = some_state(1, 0)
    after.best = math.inf
    load_state(after, SPEC, tmp_path)
    assert (after.step, after.best, after.history) == (3, 1.5, [{"epoch": 1.0}])
    for name, tensor in before.network.state_dict().items():
        assert torch.equal(after.network.state_dict()[name], tensor)
        assert torch.equal(after.average[name], before.average[name])
    assert torch.equal(after.loss.mu, before.loss.mu)
    assert torch.equal(after.counts, before.counts)
    moments = [state.optimiser.state_dict()["state"] for state in (before, after)]
    assert moments[0].keys() == moments[1].keys() != set()
    for index, kinds in moments[0].items():
        assert all(torch.equal(moments[1][index][kind], value) for kind, value in kinds.items())
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_state_of_another_configuration_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    save_state(some_state(0, 1), SPEC, tmp_path)
    other: ModelSpec = describe(override(CONFIG, ["epochs=3"]), {}, 48)
    with pytest.raises(CheckpointError, match="another configuration"):
        load_state(some_state(0, 0), other, tmp_path)
    file = tmp_path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a whole"):
        load_state(some_state(0, 0), SPEC, tmp_path)


@pytest.mark.parametrize(
    "part", ["network", "average", "optimiser", "loss/mu", "loss/counts", "semi", "state"]
)
@pytest.mark.parametrize("change", ["lacking", "of another shape", "of another name"])
def test_a_state_that_holds_something_else_than_it_says_is_refused(
    part: str, change: str, tmp_path: Path
) -> None:
    save_state(some_state(0, 1), SPEC, tmp_path)
    tensors, metadata = load_tensors(tmp_path / "state.safetensors")
    if part == "state":
        metadata["state"] = {"lacking": "{}", "of another shape": "[]", "of another name": "{"}[change]
    else:
        name = max(name for name in tensors if name.startswith(part))
        tensor = tensors.pop(name)
        if change == "of another shape":
            tensors[name] = torch.zeros(*tensor.shape, 3)
        elif change == "of another name":
            tensors[name + "x"] = tensor
    save_tensors(tensors, metadata, tmp_path / "state.safetensors")
    with pytest.raises(CheckpointError, match=r"state\.safetensors is not the state of this run") as caught:
        load_state(some_state(0, 0), SPEC, tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_are_copied_into_the_same_network_only(tmp_path: Path) -> None:
    trained, fresh = some_state(0, 2).network, build_network(SPEC)
    assert isinstance(trained, FaceNet)
    save_network(trained, SPEC, tmp_path / "start.safetensors")
    copy_weights(tmp_path / "start.safetensors", fresh)
    assert all(torch.equal(fresh.state_dict()[name], tensor) for name, tensor in trained.state_dict().items())
    larger = build_network(describe(override(CONFIG, ["network.attention.name=mecs"]), {}, 48))
    with pytest.raises(CheckpointError, match="--from"):
        copy_weights(tmp_path / "start.safetensors", larger)


def test_a_face_net_with_fewer_blocks_lends_a_deeper_one_what_it_says(tmp_path: Path) -> None:
    trained = some_state(0, 2).network.eval()
    assert isinstance(trained, FaceNet)
    save_network(trained, SPEC, tmp_path / "start.safetensors")
    deeper = build_network(describe(override(CONFIG, ["network.depths=[1,2,3]"]), {}, 48))
    copy_weights(tmp_path / "start.safetensors", deeper)
    faces = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(deeper.eval()(faces), trained(faces), rtol=1e-4, atol=1e-5)
    shallower = build_network(describe(override(CONFIG, ["network.depths=[0,2,1]"]), {}, 48))
    with pytest.raises(CheckpointError, match="no fewer blocks"):
        copy_weights(tmp_path / "start.safetensors", shallower)
    for other in ("network.attention.name=mecs", "network.backbone=resnet18"):
        both = override(CONFIG, ["network.depths=[0,2,3]", other])
        with pytest.raises(CheckpointError, match="another network"):
            copy_weights(tmp_path / "start.safetensors", build_network(describe(both, {}, 48)))
