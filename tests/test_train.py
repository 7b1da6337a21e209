"""Training: interrupted is as good as uninterrupted, and what is wrong is said at once."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from corpora import write_emodb, write_ferplus, write_ravdess
from mien import sources
from mien import train as training
from mien.calibration import fit_bias, fit_temperature
from mien.datasets.augment import FaceAugmentation
from mien.datasets.batches import Batch, Batches, FaceBatches, HeldOut
from mien.errors import CheckpointError, DatasetError, InputError, MienError
from mien.expressions import EXPRESSIONS
from mien.faces import Template
from mien.fusion import nearest_ratio
from mien.models.checkpoint import build_network, load_network, load_tensors
from mien.recipes import RECIPES, TrainConfig, override, train_face, train_speech, train_tuned
from mien.runs import RunningStatistics, State, build_optimiser, encoders_of, join_processes
from mien.selection import held_out_logits, held_out_opinions
from mien.sources import read_batches
from mien.spans import Hook
from mien.train import (
    describe,
    mix,
    note_loss,
    share_of_highest,
)

SMALL = ("network.attention.name=none", "batch_size=8", "warmup=0.3")
CONFIGS = {
    "face": override(train_face(), [*SMALL, "network.input_px=48", "epochs=3"]),
    "speech": override(train_speech(), [*SMALL, "batch_size=4", "epochs=3", "augmentation.crop=0.8"]),
    "both": override(
        train_tuned(),
        [
            *(f"network.{net}.attention.name=none" for net in ("face", "speech")),
            "network.face.input_px=16",
            "network.learned=true",
            "augmentation.speech.crop=0.8",
            "batch_size=4",
            "epochs=3",
            "coarse_fine.mode=confusion",
            "coarse_fine.scale=1",
        ],
    ),
}
N_STEPS = {"face": 21, "speech": 6, "both": 6}
"""57 faces and 11 utterances are left to train on."""


class InterruptionError(Exception):
    """The machine goes down."""


train = partial(training.train, n_threads=1)


def no_hook(what: str, done: int, total: int) -> None:
    assert 0 < done <= total


def interrupt_at(step: int):
    def hook(what: str, done: int, total: int) -> None:
        if what == "training" and done == step:
            raise InterruptionError

    return hook


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_ferplus(folder / "ferplus", n_train=64)  # so many that `choose` has all that is spoken there
    write_ravdess(folder / "ravdess_speech")
    write_emodb(folder / "emodb")
    return folder


@pytest.fixture(scope="module", autouse=True)
def keep_number_of_threads():
    """As it was: training sets it for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["face", "speech", "both"])
def config(request: pytest.FixtureRequest) -> TrainConfig:
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def run(config: TrainConfig, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp(config.modality)
    assert train(config, data, out, no_hook) == out / f"{config.modality}.safetensors"
    return out


def of_face_in(config: TrainConfig, setting: str) -> str:
    """A setting of a network, which in the whole network is that of its face net."""
    return setting.replace("network.", "network.face.") if config.modality == "both" else setting


def results(out: Path) -> dict[str, object]:
    """What a run leaves, bit for bit, but for its picture; the order of a file's metadata is chance."""
    left: dict[str, object] = {}
    for path in out.iterdir():
        if path.suffix == ".safetensors":
            tensors, told = load_tensors(path)
            left[path.name] = told, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
        elif path.suffix != ".png" and path.is_file():
            left[path.name] = path.read_bytes()
    return left


@pytest.mark.slow
@pytest.mark.parametrize("save_every", [2, 5])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(
    config: TrainConfig, data: Path, run: Path, tmp_path: Path, save_every: int, monkeypatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", save_every)
    n_steps = N_STEPS[config.modality]
    for step in (1, n_steps // 2, n_steps // 2 + 1, n_steps):
        with pytest.raises(InterruptionError):
            train(config, data, tmp_path, interrupt_at(step))
        torch.manual_seed(step)  # what else drew from torch's generator must not matter
        torch.rand(step)
    train(config, data, tmp_path, no_hook)
    assert results(tmp_path) == results(run)


@pytest.mark.slow
def test_interruption_between_best_and_state_is_mended(
    data: Path, tmp_path: Path, run: Path, config, monkeypatch
):
    """The best weights are on disk already when the state still speaks of an earlier step."""
    monkeypatch.setattr(training, "SAVE_EVERY", 4)
    save, n_saved = training.save_state, 0

    def save_once(*args) -> None:
        nonlocal n_saved
        n_saved += 1
        if n_saved > 1:
            raise InterruptionError
        save(*args)

    with monkeypatch.context() as patched:
        patched.setattr(training, "save_state", save_once)
        with pytest.raises(InterruptionError):
            train(config, data, tmp_path, no_hook)
    assert (tmp_path / "best.safetensors").exists()
    train(config, data, tmp_path, no_hook)
    assert results(tmp_path) == results(run)


def test_finished_run_is_not_trained_on(config: TrainConfig, data: Path, run: Path) -> None:
    before = results(run)
    train(config, data, run, interrupt_at(1))
    assert results(run) == before


def test_run_leaves_history_curve_and_nothing_half_written(config: TrainConfig, run: Path) -> None:
    history = json.loads((run / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert {entry["n"] for entry in history} == {N_STEPS[config.modality] / 3}
    assert all(math.isfinite(value) for entry in history for value in entry.values())
    assert {"train_loss", "choose_loss", "choose_accuracy", "choose_macro_f1", "choose_uar"} < set(history[0])
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert not list(run.glob("*.part"))


def test_checkpoint_says_what_it_is(config: TrainConfig, run: Path) -> None:
    network, spec = load_network(run / f"{config.modality}.safetensors")
    _, untempered = load_network(run / "best.safetensors")
    assert not network.training
    assert spec.modality == config.modality
    assert spec.expressions == EXPRESSIONS
    assert 0 < spec.temperature != 1.0
    assert replace(spec, temperature=1.0) == untempered
    assert spec.training["recipe"]["epochs"] == 3
    assert sum(spec.training["data"]["labels"]["train"].values()) == (57 if config.modality == "face" else 11)
    assert spec.crop_px == (None if config.modality == "speech" else 48)
    assert spec.window == (None if config.modality == "face" else 3.2)
    if config.modality != "face":
        assert not set(spec.training["data"]["speakers"]["train"]) & set(
            spec.training["data"]["speakers"]["choose"]
        )


def test_speech_net_carries_mean_and_deviation_of_the_training_sound(config: TrainConfig, run: Path) -> None:
    network, _ = load_network(run / f"{config.modality}.safetensors")
    if config.modality == "face":
        assert not hasattr(network, "mel_mean")
        return
    speech = network.speech if config.modality == "both" else network
    assert -12 < float(speech.mel_mean) < 0
    assert 0.5 < float(speech.mel_std) < 6


@pytest.mark.parametrize("setting", ["seed=1", "learning_rate=0.01", "epochs=4", "network.dropout=0.1"])
def test_another_configuration_in_the_same_folder_is_refused(
    config: TrainConfig, data: Path, run: Path, setting: str
) -> None:
    before = results(run)
    with pytest.raises(CheckpointError, match="another configuration"):
        train(override(config, [of_face_in(config, setting)]), data, run, no_hook)
    assert results(run) == before


def test_other_data_in_the_same_folder_are_refused(run: Path, config: TrainConfig, tmp_path: Path) -> None:
    write_ferplus(tmp_path / "ferplus", n_train=72)
    write_ravdess(tmp_path / "ravdess_speech", actors=(1, 15))
    write_emodb(tmp_path / "emodb")
    with pytest.raises(CheckpointError, match="or data"):
        train(config, tmp_path, run, no_hook)


def test_damaged_state_is_refused(config: TrainConfig, data: Path, run: Path, tmp_path: Path) -> None:
    whole = (run / "state.safetensors").read_bytes()
    (tmp_path / "state.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not a whole"):
        train(config, data, tmp_path, no_hook)


def test_loss_that_is_no_number_names_the_step(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    losses, wrong_at = training.soft_cross_entropy, 3
    n_losses = 0

    def go_wrong(*args):
        nonlocal n_losses
        n_losses += 1
        return losses(*args) * (math.nan if n_losses == wrong_at + 1 else 1)

    monkeypatch.setattr(training, "soft_cross_entropy", go_wrong)
    with pytest.raises(MienError, match=r"loss is nan at step 3, over (fer\d+(, |;)){8}"):
        train(CONFIGS["face"], data, tmp_path, no_hook)
    tensors, _ = load_tensors(tmp_path / "state.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_missing_data_are_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        train(CONFIGS["face"], tmp_path / "nowhere", tmp_path / "out", no_hook)
    with pytest.raises(DatasetError, match="ferplus48"):
        train(CONFIGS["face"], tmp_path, tmp_path / "out", no_hook)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_run_that_starts_from_a_checkpoint_has_its_weights_and_says_so(
    config: TrainConfig, data: Path, run: Path, tmp_path: Path
) -> None:
    start = run / f"{config.modality}.safetensors"
    still = replace(config, learning_rate=1e-12, rule_learning_rate=1e-12, epochs=1, ema=0.0)
    train(still, data, tmp_path / "first", no_hook, start)
    train(still, data, tmp_path / "again", no_hook, start)
    first, _ = load_network(tmp_path / "first" / "best.safetensors")  # before its calibration
    again, spec = load_network(tmp_path / "again" / "best.safetensors")
    before, _ = load_network(start)
    for name, weights in before.named_parameters():
        torch.testing.assert_close(first.get_parameter(name), weights, atol=1e-6, rtol=0)
        assert torch.equal(first.get_parameter(name), again.get_parameter(name))
    told = spec.training["data"]["start"]
    assert told["sha256"] == sha256(start.read_bytes()).hexdigest()
    assert told["recipe"]["epochs"] == 3
    with pytest.raises(CheckpointError, match="another configuration"):
        train(still, data, tmp_path / "again", no_hook)


def test_a_student_without_a_teacher_is_refused(data: Path, tmp_path: Path) -> None:
    for setting in ("distil=0.5", "unlabelled=true"):
        with pytest.raises(InputError, match="need a teacher"):
            train(override(CONFIGS["face"], [setting]), data, tmp_path / "out", no_hook)
    with pytest.raises(InputError, match="a teacher one of them"):
        train(CONFIGS["face"], data, tmp_path / "out", no_hook, teachers=[tmp_path / "nobody.safetensors"])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_student_of_unlabelled_faces_says_how_many(data: Path, tmp_path: Path, monkeypatch) -> None:
    def read(folder: Path, template: Template, hook: Hook) -> np.ndarray:
        assert folder == data / "faces_unlabelled"
        return np.zeros((5, template.size_px, template.size_px), np.uint8)

    monkeypatch.setattr(sources, "read_unlabelled", read)
    config = override(CONFIGS["face"], ["epochs=1", "unlabelled=true", "network.input_px=16"])
    plain = train(override(config, ["unlabelled=false"]), data, tmp_path / "plain", no_hook)
    other = train(
        override(config, ["unlabelled=false", "network.widths=[64,64,128]", "seed=1"]),
        data,
        tmp_path / "other",
        no_hook,
    )
    student = train(config, data, tmp_path / "student", no_hook, teachers=[plain, other])
    told = load_network(student)[1].training["data"]
    assert told["unlabelled"] == 5
    assert told["teachers"] == [sha256(path.read_bytes()).hexdigest() for path in (plain, other)]
    with pytest.raises(CheckpointError, match="another configuration or data"):
        train(config, data, tmp_path / "student", no_hook, teachers=[plain])


@pytest.mark.slow
@pytest.mark.parametrize("config", ["face"], indirect=True)
def test_a_last_run_learns_the_held_out_faces_too(
    data: Path, run: Path, config: TrainConfig, tmp_path: Path
) -> None:
    last = replace(config, hold_out=False, epochs=2)
    with pytest.raises(InputError, match="held to it"):
        train(last, data, tmp_path / "none", no_hook)
    batches, _ = read_batches(last, data, no_hook)
    assert isinstance(batches, FaceBatches)
    before, n_held = batches.n_train, len(batches.held_labels)
    batches.learn_held_out()
    assert batches.n_train == len(batches.images) == len(batches.names) == before + n_held
    assert torch.equal(batches.images[before:], batches.held_images)
    assert batches.labels[before:] == batches.held_labels
    path = train(last, data, tmp_path / "run", no_hook, start=run / "face.safetensors")
    network, spec = load_network(path)
    held_out = held_out_logits(load_network(run / "face.safetensors")[0], batches)
    bias, temperature = fit_bias(held_out, batches.held_labels)
    assert spec.temperature == pytest.approx(temperature), "of what was said before the faces were learnt"
    state, _ = load_tensors(tmp_path / "run" / "state.safetensors")
    state["average/head.1.bias"] += torch.from_numpy(bias * temperature).float()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(state[f"average/{name}"], tensor, rtol=0, atol=1e-6)  # of the last epoch
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert sum(entry["n"] for entry in history) == 2 * (batches.n_train // last.batch_size)


def test_confidence_is_fitted_to_labels_and_not_to_votes(data: Path, run: Path, config: TrainConfig) -> None:
    batches, _ = read_batches(config, data, no_hook)
    network, spec = load_network(run / f"{config.modality}.safetensors")
    best, _ = load_network(run / "best.safetensors")
    logits, kept = held_out_logits(best, batches), best.state_dict()
    if config.modality == "both":
        labels = np.eye(8)[[EXPRESSIONS.index(label) for label in batches.held_labels]]
        assert spec.temperature == pytest.approx(fit_temperature(logits, labels))
    else:
        bias, temperature = fit_bias(logits, batches.held_labels)
        assert spec.temperature == pytest.approx(temperature)
        kept["head.1.bias"] += torch.from_numpy(bias * temperature).float()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, kept[name], rtol=0, atol=1e-6)


def test_start_that_does_not_fit_is_refused(
    config: TrainConfig, data: Path, run: Path, tmp_path: Path
) -> None:
    start = run / f"{config.modality}.safetensors"
    larger = override(config, [of_face_in(config, "network.attention.name=mecs")])
    with pytest.raises(CheckpointError, match="--from"):
        train(larger, data, tmp_path, no_hook, start)
    with pytest.raises(CheckpointError, match="is not there"):
        train(config, data, tmp_path, no_hook, tmp_path / "nowhere.safetensors")


def test_learning_rate_rises_in_a_line_then_falls_along_a_cosine_to_nothing() -> None:
    config = replace(CONFIGS["face"], warmup=0.1)
    rates = [share_of_highest(config, step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx(np.linspace(0.1, 1.0, 10))
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    assert all(later < sooner for sooner, later in pairwise(rates[10:]))


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_learning_rate_of_the_shortest_runs_is_a_rate(n_steps: int, warmup: float) -> None:
    config = replace(CONFIGS["face"], warmup=warmup)
    rates = [share_of_highest(config, step, n_steps) for step in range(n_steps)]
    assert all(0 < rate <= 1 for rate in rates)
    constant = replace(config, schedule="constant")
    assert share_of_highest(constant, n_steps, n_steps) == 1.0


def test_losses_are_averaged_over_each_epoch() -> None:
    history: list[dict[str, float]] = []
    note_loss(history, 2.0)
    note_loss(history, 4.0)
    assert history == [{"epoch": 1.0, "train_loss": 3.0, "n": 2.0}]
    history[-1]["choose_loss"] = 1.0
    note_loss(history, 5.0)
    assert history[1] == {"epoch": 2.0, "train_loss": 5.0, "n": 1.0}
    assert history[0]["train_loss"] == 3.0


@pytest.mark.parametrize("config", ["face", "speech", "both"], indirect=True)
def test_heads_alone_learn(run: Path, config: TrainConfig, data: Path, tmp_path: Path) -> None:
    start = run / f"{config.modality}.safetensors"
    config = override(config, ["heads_only=true", "epochs=1"])
    with pytest.raises(InputError, match="heads_only needs"):
        train(config, data, tmp_path, no_hook)
    learnt, _ = load_network(train(config, data, tmp_path, no_hook, start))
    begun, _ = load_network(start)
    for old, new in zip(encoders_of(begun), encoders_of(learnt), strict=True):
        assert all(torch.equal(new.state_dict()[name], value) for name, value in old.state_dict().items())
    heads = [name for name, _ in begun.named_parameters() if ".encoder." not in f".{name}"]
    assert heads
    assert not any(torch.equal(learnt.state_dict()[name], begun.state_dict()[name]) for name in heads)


def test_learned_weights_of_the_rule_have_a_rate_of_their_own() -> None:
    for optimiser in ("adamw", "sgd"):
        config = replace(CONFIGS["both"], optimiser=optimiser)
        network = build_network(describe(config, {}, 48))
        rest, rule = build_optimiser(network, config).param_groups
        assert [each.shape for each in rule["params"]] == [(2,)]
        assert (rule["highest"], rule["weight_decay"]) == (1e-3, 0.0)
        assert (rest["highest"], rest["weight_decay"]) == (config.learning_rate, config.weight_decay)
        assert len(rest["params"]) + 1 == len(list(network.parameters()))


@pytest.mark.parametrize("config", ["both"], indirect=True)
def test_costs_of_quadrants_are_learnt_from_each_epoch(run: Path, config: TrainConfig) -> None:
    tensors, _ = load_tensors(run / "state.safetensors")
    assert tensors["loss/mu"].max() == 1.0
    assert not tensors["loss/counts"].any(), "an epoch has just ended"
    assert set(tensors["loss/mu"].unique().tolist()) != {0.0, 0.5, 1.0}, "they are no longer the fixed ones"


@pytest.mark.parametrize("config", ["both"], indirect=True)
def test_a_run_of_both_leaves_each_network_calibrated_by_itself(
    data: Path, run: Path, config: TrainConfig
) -> None:
    batches, _ = read_batches(config, data, no_hook)
    whole, _ = load_network(run / "both.safetensors")
    for modality, opinion in (("face", "face"), ("speech", "voice")):
        part, spec = load_network(run / f"{modality}.safetensors")
        assert spec.modality == modality
        assert (spec.crop_px is None, spec.window is None) == (modality == "speech", modality == "face")
        kept = getattr(whole, modality).state_dict()
        assert all(torch.equal(tensor, kept[name]) for name, tensor in part.state_dict().items())
        assert spec.training["ratio"] == list(nearest_ratio(whole.rule.voice_share))
        logits = held_out_opinions(whole, batches)[opinion]
        assert spec.temperature == pytest.approx(fit_temperature(logits, batches.held_labels))


def test_mixup_blends_pairs_and_joins_masks() -> None:
    torch.manual_seed(0)
    values = torch.eye(6)
    masks = torch.eye(6, dtype=torch.bool)
    (mixed, joined), targets = mix(Batch((values, masks), torch.eye(6), tuple("abcdef")), 0.4)
    assert torch.equal(mixed, targets), "inputs and targets are blended by the same shares"
    assert torch.allclose(targets.sum(1), torch.ones(6))
    assert (targets.diagonal() >= 0.5).all()
    assert torch.equal(joined, targets > 0)
    plain, same = mix(Batch((values, masks), torch.eye(6), tuple("abcdef")), 0.0)
    assert torch.equal(plain[0], values)
    assert torch.equal(same, torch.eye(6))


@pytest.mark.slow
def test_32_faces_are_learnt_by_heart(data: Path) -> None:
    config = override(
        CONFIGS["face"], ["batch_size=32", "balance=0", "network.dropout=0", "learning_rate=0.002"]
    )
    still = FaceAugmentation(scale=0, rotation=0, shift=0, blur=0, contrast=0, noise=0, erase=0)
    batches, told = read_batches(replace(config, augmentation=still), data, no_hook)
    assert isinstance(batches, FaceBatches)
    state = training.start_or_resume(config, describe(config, told, batches.crop_px), batches, data)
    for state.step in range(25):
        training.take_step(state, batches, config, 25)
    losses = [entry["train_loss"] for entry in state.history]
    assert len(losses) == 1, "no epoch was finished"
    torch.manual_seed(0)
    (faces,), targets, _ = batches.draw(32)
    with torch.no_grad():
        state.network.train()
        loss = training.soft_cross_entropy(state.network(faces), targets)
    entropy = -(targets * targets.clamp(min=1e-9).log()).sum(1).mean()
    assert loss < losses[0], "less than on average under way"
    assert loss < entropy + 0.25
    assert loss < 1.0 < math.log(8)


class Same:
    """Always the same batch, however often one is drawn."""

    def __init__(self, batches: Batches, n_items: int) -> None:
        torch.manual_seed(0)
        self.batch, self.crop_px, self.mel_range = batches.draw(n_items), batches.crop_px, batches.mel_range
        self.n_train, self.held_labels, self.held_targets = n_items, (), batches.held_targets[:0]

    def draw(self, batch_size: int) -> Batch:
        assert batch_size == self.n_train
        return self.batch

    def held_out(self) -> Iterator[HeldOut]:
        raise AssertionError("no epoch is finished here")


def taught(recipe: str, settings: list[str], n_steps: int, data: Path, out: Path) -> tuple[State, Same, list]:
    """A run's state after steps on one batch, and the batch's loss before and after them."""
    small = ["network.face.input_px=32", "augmentation.speech.crop=0.8", "precision=float32", *settings]
    config = override(RECIPES[recipe](), small)
    batches, told = read_batches(config, data, no_hook)
    same = Same(batches, config.batch_size)
    state = training.start_or_resume(config, describe(config, told, 48), same, out)
    losses = []

    def note() -> None:
        torch.manual_seed(0)  # of dropout
        with torch.no_grad():
            losses.append(training.loss_of(state, same.batch, config)[0].item())

    state.network.train()
    note()
    for state.step in range(n_steps):
        training.take_step(state, same, config, n_steps)
    note()
    return state, same, losses


@pytest.mark.slow
def test_32_windows_are_learnt_by_heart_as_tuned(data: Path, tmp_path: Path) -> None:
    state, same, losses = taught("tuned", ["learning_rate=0.002"], 40, data, tmp_path)
    network = state.network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    with torch.no_grad():
        fused = network(*same.batch.inputs).fused
    right = (fused.argmax(1) == same.batch.targets.argmax(1)).float().mean()
    assert len(set(same.batch.targets.argmax(1).tolist())) > 3
    assert right > 0.95
    assert losses[1] < losses[0] / 2


@pytest.mark.slow
def test_the_loss_falls_as_the_paper_trains(data: Path, tmp_path: Path) -> None:
    state, _, losses = taught("paper", ["augmentation.n_faces=3", "network.learned=true"], 20, data, tmp_path)
    assert losses[1] < losses[0] - 0.01
    assert isinstance(state.optimiser, torch.optim.SGD)


@pytest.mark.slow
@pytest.mark.parametrize(("chosen_by", "best"), [("loss", [1, 2]), ("macro_f1", [1, 3])])
def test_the_best_epoch_so_far_is_kept(
    config: TrainConfig, data: Path, tmp_path: Path, monkeypatch, chosen_by: str, best: list[int]
) -> None:
    epoch, kept = 0, []
    scores = training.held_out_scores

    def pretend(*args) -> dict[str, float]:
        nonlocal epoch
        epoch += 1
        losses, f1s = (1.5, 0.5, 0.9), (0.2, 0.1, 0.3)
        return scores(*args) | {"choose_loss": losses[epoch - 1], "choose_macro_f1": f1s[epoch - 1]}

    save = training.save_network

    def save_and_note(network, spec, path: Path) -> None:
        kept.append(epoch)
        save(network, spec, path)

    monkeypatch.setattr(training, "held_out_scores", pretend)
    monkeypatch.setattr(training, "save_network", save_and_note)
    train(replace(config, chosen_by=chosen_by), data, tmp_path, no_hook)
    assert kept == best


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
def test_compiled_steps_learn_what_plain_ones_do(data: Path, tmp_path: Path) -> None:
    """In processes of their own: torch.compile cannot look through what holds functions to their shapes."""
    settings = [*SMALL, "network.input_px=48", "epochs=1", "precision=float32"]
    # Three short steps of SGD: roundings grow with each step and its length (at a rate of 0.01 to 0.4 % of
    # the loss on a processor without AVX-512), and in Adam's first ones only signs count.
    settings += ["optimiser=sgd", "learning_rate=0.002", "batch_size=16"]
    settings.append("network.dropout=0")  # which draws other numbers when compiled
    losses = {}
    for compiled in ("false", "true"):
        out = tmp_path / compiled
        command = [sys.executable, "-m", "mien", "train", "face", "--data", str(data), "--out", str(out)]
        for setting in (*settings, f"compiled={compiled}"):
            command += ["--set", setting]
        subprocess.run([*command, "--threads", "1"], check=True, capture_output=True, text=True)
        (epoch,) = json.loads((out / "history.json").read_text())
        losses[compiled] = epoch["train_loss"], epoch["choose_loss"]
    assert losses["true"] == pytest.approx(losses["false"], rel=1e-3)


def test_description_builds_the_network(config: TrainConfig) -> None:
    network = build_network(describe(config, {}, 48))
    assert sum(parameter.numel() for parameter in network.parameters()) > 500_000


@pytest.mark.slow
def test_two_processes_train_as_one_that_takes_their_parts_in_turn(data: Path, tmp_path: Path) -> None:
    """Loss and weights over 50 steps; running statistics are the mean of what the parts make of them."""
    settings = [*SMALL, "network.input_px=16", "network.dropout=0", "n_parts=2", "epochs=8", "mixup=0.2"]
    alone = train(override(train_face(), settings), data, tmp_path / "alone", no_hook)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "mien"]
    options = ["train", "face", "--data", str(data), "--out", str(tmp_path / "team"), "--threads=1"]
    options += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run([sys.executable, *command, *options], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("alone", "team")]
    assert sum(entry["n"] for entry in histories[0]) == 56
    for one, other in zip(*histories, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    states = [load_tensors(tmp_path / name / "state.safetensors")[0] for name in ("alone", "team")]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, atol=1e-5, rtol=0)
    assert alone.exists()


def test_parts_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of the parts"):
        override(CONFIGS["face"], ["n_parts=3"])


def test_running_statistics_of_parts_are_the_mean_of_what_each_makes_of_them() -> None:
    team, norm = join_processes(2), torch.nn.BatchNorm1d(1)
    statistics = RunningStatistics(norm, 2, team)
    for part in (torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0], [14.0]])):
        with statistics:
            norm(part)
    assert norm.running_mean.item() == pytest.approx(0.1 * (2 + 12) / 2)
    assert norm.running_var.item() == pytest.approx(0.9 + 0.1 * (2 + 8) / 2)


@pytest.mark.slow
def test_a_run_with_faces_without_labels_is_resumed_bit_for_bit(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (12, 48, 48), np.uint8)
    monkeypatch.setattr(sources, "read_unlabelled", lambda *_: faces)
    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    settings = ["network.input_px=16", "epochs=2", "n_parts=2", "semi.n_faces=4", "semi.lowest=0.1"]
    config = override(CONFIGS["face"], settings)
    train(config, data, tmp_path / "whole", no_hook)
    for step in (3, 8):  # in the first epoch, whose thresholds are the lowest, and in the second
        with pytest.raises(InterruptionError):
            train(config, data, tmp_path / "cut", interrupt_at(step))
    train(config, data, tmp_path / "cut", no_hook)
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    history = json.loads((tmp_path / "whole" / "history.json").read_text())
    assert max(entry["pseudo_labelled"] for entry in history) > 0
