"""Averaging: the mean of weights, calibrated on `choose`; checkpoints of different networks are refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from corpora import write_ferplus
from mien.averaging import average, config_of
from mien.calibration import fit_bias
from mien.datasets.pairs import PairAugmentation
from mien.errors import CheckpointError, DatasetError, InputError
from mien.models.checkpoint import build_network, load_network, save_network
from mien.recipes import override, train_face, train_tuned
from mien.selection import held_out_logits
from mien.sources import read_batches
from mien.train import describe

CONFIG = override(train_face(), ["network.attention.name=none", "network.input_px=16"])
SPEC = describe(CONFIG, {"corpora": ["FER+"]}, 48)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_ferplus(folder / "ferplus")
    return folder


@pytest.fixture(autouse=True)
def keep_number_of_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def write(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    save_network(build_network(SPEC), replace(SPEC, training={"seed": seed}), path)
    return path


def no_hook(what: str, done: float, total: float) -> None:
    """Nobody asks."""


def test_weights_are_the_mean_and_confidence_is_fitted(data: Path, tmp_path: Path) -> None:
    runs = [write(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1, 2)]
    scores = average(runs, data, tmp_path / "mean.safetensors", no_hook, n_threads=1)
    network, spec = load_network(tmp_path / "mean.safetensors")
    parts = [load_network(path)[0].state_dict() for path in runs]
    batches, _ = read_batches(train_face(), data, no_hook)
    plain = build_network(SPEC).eval()
    plain.load_state_dict({name: sum(part[name] for part in parts) / 3 for name in parts[0]})
    bias, temperature = fit_bias(held_out_logits(plain, batches), batches.held_labels)
    assert spec.temperature == pytest.approx(temperature, rel=1e-3)
    moved = plain.state_dict()["head.1.bias"] + torch.from_numpy(bias * temperature)
    for name, tensor in network.state_dict().items():
        wanted = sum(part[name].double() for part in parts) / 3
        if name == "head.1.bias":
            wanted = moved
        torch.testing.assert_close(tensor.double(), wanted.double(), atol=1e-4, rtol=1e-4)
    assert [part["seed"] for part in spec.training["mean_of"]] == [0, 1, 2]
    assert spec.training["seed"] == 0, "what the first tells of its data and recipe is told of the mean"
    assert len({part["sha256"] for part in spec.training["mean_of"]}) == 3
    assert spec.training["choose_loss"] == pytest.approx(scores["choose_loss"])


def test_settings_that_keep_the_weights_are_taken_and_others_refused(data: Path, tmp_path: Path) -> None:
    run = write(tmp_path / "run.safetensors", 0)
    average([run], data, tmp_path / "both.safetensors", no_hook, 1, ["mirrored=true"])
    before, (network, spec) = load_network(run)[0], load_network(tmp_path / "both.safetensors")
    assert (before.config.mirrored, network.config.mirrored) == (False, True)
    assert spec.network["mirrored"] is True
    assert torch.equal(network.encoder.state_dict()["stem.0.0.weight"], before.encoder.stem[0][0].weight)
    for setting, words in {"widths=[64,64,64]": "other weights", "mirored=true": "mirrored"}.items():
        with pytest.raises(InputError, match=words):
            average([run], data, tmp_path / "no.safetensors", no_hook, 1, [setting])
    assert not (tmp_path / "no.safetensors").exists()


def test_calibration_is_that_of_the_checkpoint_which_was_held_out(data: Path, tmp_path: Path) -> None:
    run, held = (write(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))
    average([run], data, tmp_path / "own.safetensors", no_hook, 1)
    average([run], data, tmp_path / "lent.safetensors", no_hook, 1, held_for=held)
    average([held], data, tmp_path / "held.safetensors", no_hook, 1)
    moved, temperatures = {}, {}
    for name, start in {"own": run, "lent": run, "held": held}.items():
        network, spec = load_network(tmp_path / f"{name}.safetensors")
        temperatures[name] = spec.temperature
        moved[name] = network.head[-1].bias - load_network(start)[0].head[-1].bias
    assert temperatures["lent"] == temperatures["held"]
    torch.testing.assert_close(moved["lent"], moved["held"])
    assert not torch.allclose(moved["lent"], moved["own"])


def test_both_networks_at_once_have_no_calibration_lent(data: Path, tmp_path: Path) -> None:
    spec = describe(override(train_tuned(), ["network.face.input_px=16"]), {}, 48)
    save_network(build_network(spec), spec, tmp_path / "both.safetensors")
    held = write(tmp_path / "held.safetensors", 1)
    with pytest.raises(InputError, match="reads both face and voice"):
        average([tmp_path / "both.safetensors"], data, tmp_path / "no.safetensors", no_hook, 1, held_for=held)


def test_a_network_s_data_are_asked_for_as_it_was_trained() -> None:
    nine = override(train_tuned(), ["augmentation.n_faces=9", "network.face.input_px=32"])
    asked = config_of(nine.network, describe(nine, {}, 48))
    assert asked.modality == "both"
    assert asked.network == nine.network
    assert isinstance(asked.augmentation, PairAugmentation)
    assert asked.augmentation.n_faces == 9
    assert config_of(CONFIG.network, SPEC).network == CONFIG.network


def test_one_checkpoint_keeps_its_weights(data: Path, tmp_path: Path) -> None:
    run = write(tmp_path / "run.safetensors", 0)
    average([run], data, tmp_path / "again.safetensors", no_hook, n_threads=1)
    before, after = (load_network(path)[0].state_dict() for path in (run, tmp_path / "again.safetensors"))
    changed = [name for name, tensor in before.items() if not torch.equal(after[name], tensor)]
    assert changed == ["head.1.bias"], "which its calibration moves"


def test_what_cannot_be_averaged_is_refused_and_nothing_written(data: Path, tmp_path: Path) -> None:
    run = write(tmp_path / "run.safetensors", 0)
    larger = describe(override(CONFIG, ["network.attention.name=mecs"]), {}, 48)
    save_network(build_network(larger), larger, tmp_path / "larger.safetensors")
    with pytest.raises(CheckpointError, match=r"larger\.safetensors holds another network"):
        average([run, tmp_path / "larger.safetensors"], data, tmp_path / "out.safetensors", no_hook)
    with pytest.raises(DatasetError, match="is not a folder"):
        average([run], data / "nowhere", tmp_path / "out.safetensors", no_hook)
    assert not (tmp_path / "out.safetensors").exists()
