"""Training: a configuration and batches in, a checkpoint with its history out.

One visible loop, in one process or in several that share out the parts of each batch. Chance is drawn from
torch's global generator, seeded before every part by (seed, step, part), so a run that was interrupted
anywhere and taken up again ends in the same weights, bit for bit, on the same processor and thread count.
"""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from mien.datasets.batches import FaceBatches, FaceViews
from mien.errors import InputError, MienError
from mien.expressions import EXPRESSIONS
from mien.faces import Template
from mien.losses import CoarseFine, joint_loss, soft_cross_entropy
from mien.models.checkpoint import build_network, load_network, save_network
from mien.models.face import FaceNet
from mien.models.network import ExpressionNet, LogProbs
from mien.models.speech import SpeechNet
from mien.pictures import draw_learning_curves
from mien.runs import (
    RunningStatistics,
    State,
    build_optimiser,
    copy_weights,
    encoders_of,
    join_processes,
    load_state,
    save_state,
)
from mien.selection import calibrate, held_out_logits, held_out_scores
from mien.semi import SemiState, ask_mean, learn_thresholds, semi_loss, start_semi
from mien.sources import ask_teachers, read_batches
from mien.spec import ModelSpec
from mien.whole import checksum, written_whole
from mien.windows import WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Float
    from torch import Tensor

    from mien.datasets.batches import Batch, Batches
    from mien.recipes import TrainConfig
    from mien.spans import Hook

SAVE_EVERY = 100
"""Steps between two states on disk; an interrupted run repeats at most so many."""

MOST_ASKED = 4096
"""Labelled faces by which the teacher's confidence is measured after an epoch, evenly spaced."""


def train(
    config: TrainConfig,
    data: Path,
    out: Path,
    hook: Hook,
    start: Path | None = None,
    n_threads: int = 2,
    teachers: Sequence[Path] = (),
) -> Path:
    """Trains one network on a data folder and writes it to `out`; takes up an interrupted run found there.

    Args:
        config: What `mien.recipes` returns.
        data: What `mien prepare` wrote, or the folder that holds `ferplus`, or `ravdess_speech` and `emodb`.
        out: Folder for the state, `history.json`, `curve.png`, TensorBoard's log and the result.
        hook: Called with what is done, how far, and how much there is.
        start: Checkpoint whose weights the run starts from; None for random ones.
        n_threads: Processor threads; another number gives other roundings.
        teachers: Face checkpoints, of any network, that `distil` and `unlabelled` ask.

    Returns:
        Path of the checkpoint: weights of the best epoch on `choose`, temperature fitted there.

    Raises:
        InputError: The configuration asks for teachers and there is none, or the other way about.
        DatasetError: The data are missing or leak between splits.
        CheckpointError: `out` holds a run of another configuration.
        MienError: The loss is not a number.
    """
    if bool(teachers) != bool(config.distil or config.unlabelled):
        raise InputError(
            "distil and unlabelled need a teacher, and a teacher one of them; name its checkpoint with "
            "--teacher, and set distil above 0 or unlabelled=true"
        )
    if start is None and config.heads_only:
        raise InputError("heads_only needs a network whose encoders stay as they are; name it with --from")
    if start is None and not config.hold_out:
        raise InputError("hold_out=false needs a network that was held to it; name it with --from")
    torch.set_num_threads(n_threads)
    batches, told = read_batches(config, data, hook, join_processes(config.n_parts).device)
    if not config.hold_out:
        if not isinstance(batches, FaceBatches):
            raise InputError(
                "hold_out=false is for FER+ as it is; give --data the folder that holds `ferplus`"
            )
        batches.learn_held_out()
    if teachers:
        told |= ask_teachers(batches, teachers, config, hook)
    return fit(config, batches, told, out, hook, start, n_threads)


def fit(
    config: TrainConfig,
    batches: Batches,
    told: dict[str, Any],
    out: Path,
    hook: Hook,
    start: Path | None = None,
    n_threads: int = 2,
) -> Path:
    """Trains one network on batches, as `train` does.

    Args:
        config: What `mien.recipes` returns.
        batches: Where training items come from, and the items that choose.
        told: What the checkpoint tells of its data.
        out: As in `train`.
        hook: As in `train`.
        start: As in `train`.
        n_threads: As in `train`.
    """
    torch.set_num_threads(n_threads)
    team = join_processes(config.n_parts)
    out.mkdir(parents=True, exist_ok=True)
    if start is not None:
        begun = load_network(start)[1].training
        told = told | {"start": {"sha256": checksum(start), **begun}}
    spec = describe(config, told, batches.crop_px)
    state = start_or_resume(config, spec, batches, out, start)
    steps_per_epoch = max(1, batches.n_train // config.batch_size)
    n_steps = steps_per_epoch * config.epochs
    while state.step < n_steps:
        take_step(state, batches, config, n_steps)
        state.step += 1
        if state.step % steps_per_epoch == 0:
            finish_epoch(state, batches, spec, config, out)
        if team.is_main_process and (state.step % SAVE_EVERY == 0 or state.step == n_steps):
            save_state(state, spec, out)
        hook("training", state.step, n_steps)
    if team.is_main_process:
        draw_learning_curves(state.history, out / "curve.png")
        calibrate(spec, batches, out, None if config.hold_out else start, team.device)
    team.wait_for_everyone()
    return out / f"{spec.modality}.safetensors"


def take_step(state: State, batches: Batches, config: TrainConfig, n_steps: int) -> None:
    """One batch, in parts: draw, loss, gradient of each; then weights and their running mean."""
    for group in state.optimiser.param_groups:
        group["lr"] = group["highest"] * share_of_highest(config, state.step, n_steps)
    state.network.train()
    if config.heads_only:
        for encoder in encoders_of(state.network):
            encoder.eval()
    state.optimiser.zero_grad()
    parts = range(state.team.process_index, config.n_parts, state.team.num_processes)
    statistics = RunningStatistics(state.network, len(parts), state.team)
    n = len(EXPRESSIONS)
    loss, counts = (torch.zeros(shape, device=state.team.device) for shape in ((), (n, n)))
    semi = [torch.zeros_like(each) for each in state.semi]
    for part in parts:
        torch.manual_seed((config.seed * 1_000_003 + state.step) * config.n_parts + part)
        batch = batches.draw(config.batch_size // config.n_parts)
        # gradients of several processes meet once a step, after the last part
        alone = state.team.no_sync(state.forward) if part != parts[-1] else nullcontext()
        with statistics, alone:
            part_loss, part_counts = loss_of(state, batch, config)
            if config.semi.n_faces:
                extra, part_semi = semi_loss_of(state, batches, config)
                part_loss = config.semi.labelled * part_loss + extra
                semi = [a + b / len(parts) for a, b in zip(semi, part_semi, strict=True)]
            torch.autograd.backward(part_loss / len(parts))
        loss += part_loss.detach() / len(parts)
        counts += part_counts
    state.counts += state.team.reduce(counts, "sum")
    if config.semi.n_faces:
        state.semi = SemiState(*(state.team.reduce(each, "mean") for each in semi))
    if config.clip:
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), config.clip)
    state.optimiser.step()
    update_average(state, config)
    note_loss(state.history, state.team.reduce(loss, "mean").item())


def loss_of(
    state: State, batch: Batch, config: TrainConfig
) -> tuple[Float[Tensor, ""], Float[Tensor, "E E"]]:
    """The loss of a part of a batch, and which label was taken for which expression there.

    Raises:
        MienError: The loss is not a number.
    """
    inputs, targets = mix(batch, config.mixup)
    device = state.team.device
    inputs, targets = tuple(each.to(device) for each in inputs), targets.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        said = state.forward(*inputs)
    if isinstance(said, LogProbs):
        loss = joint_loss(state.loss, said, inputs[1].any(1), inputs[3].any(1), targets, config.auxiliary)
        counts = count_pairs(targets, said.fused)
    else:
        loss = soft_cross_entropy(said.float(), targets, config.label_smoothing)
        counts = count_pairs(targets, said)
    refuse_no_number(loss, state.step, batch.names)
    return loss, counts


def refuse_no_number(loss: Float[Tensor, ""], step: int, names: tuple[str, ...]) -> None:
    """Checks that training can go on.

    Raises:
        MienError: The loss is not a number; the samples that it was taken over are named.
    """
    if not torch.isfinite(loss):
        raise MienError(
            f"the loss is {loss.item()} at step {step}, over {', '.join(names)}; "
            "look at these, or lower learning_rate and start anew"
        )


def semi_loss_of(state: State, batches: Batches, config: TrainConfig) -> tuple[Float[Tensor, ""], SemiState]:
    """The loss of a part's faces without labels, and what the stage has learned after them."""
    assert isinstance(batches, FaceBatches), "the configuration refuses anything but faces"
    assert isinstance(state.network, FaceNet)
    views = batches.draw_views(config.semi.n_faces // config.n_parts, config.semi.weak, config.semi.strong)
    device = state.team.device
    views = FaceViews(*(each.to(device) for each in views))
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        loss, semi = semi_loss(state.network, state.average, views, state.semi, config.semi)
    refuse_no_number(loss, state.step, ("faces without labels",))
    return loss, semi


def learn_semi(state: State, batches: FaceBatches, config: TrainConfig) -> None:
    """Ends an epoch of faces without labels: notes the share that was used, takes new thresholds."""
    state.history[-1]["pseudo_labelled"] = (state.semi.used[0] / state.semi.used[1]).item()
    rows = torch.arange(0, len(batches.images), math.ceil(len(batches.images) / MOST_ASKED))
    faces = (each.to(state.team.device).float() / 255 for each in torch.split(batches.images[rows], 256))
    probs = torch.cat([ask_mean(state.network, state.average, each) for each in faces])
    labels = [batches.labels[row] for row in rows.tolist()]
    n_epochs = state.step // max(1, batches.n_train // config.batch_size)
    state.semi = learn_thresholds(state.semi, probs, labels, config.semi, n_epochs)


def update_average(state: State, config: TrainConfig) -> None:
    """Moves the running mean of the weights toward the weights; counters are copied."""
    decay = min(config.ema, (1 + state.step) / (10 + state.step))
    weights = state.network.state_dict()
    floats = [name for name, tensor in weights.items() if tensor.is_floating_point()]
    move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    move([state.average[name] for name in floats], [weights[name] for name in floats], 0)
    for name in weights.keys() - set(floats):
        state.average[name].copy_(weights[name])


def count_pairs(targets: Float[Tensor, "B E"], log_probs: Float[Tensor, "B E"]) -> Float[Tensor, "E E"]:
    """How often each label, down, was taken for each expression, across."""
    n = targets.shape[1]
    labels, predicted = (functional.one_hot(each.argmax(1), n).float() for each in (targets, log_probs))
    return labels.T @ predicted


def note_loss(history: list[dict[str, float]], loss: float) -> None:
    """Adds a step's loss to the mean of the current epoch, which is `n` steps long so far."""
    if not history or "choose_loss" in history[-1]:
        history.append({"epoch": float(len(history) + 1), "train_loss": 0.0, "n": 0.0})
    entry = history[-1]
    entry["train_loss"] += (loss - entry["train_loss"]) / (entry["n"] + 1)
    entry["n"] += 1


def share_of_highest(config: TrainConfig, step: int, n_steps: int) -> float:
    """Share of the highest learning rate: a linear rise over `warmup`, then a cosine to 0, or 1."""
    n_rise = max(1, round(config.warmup * n_steps))
    if step < n_rise:
        return (step + 1) / n_rise
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - n_rise) / max(1, n_steps - n_rise)))


def mix(batch: Batch, alpha: float) -> tuple[tuple[Tensor, ...], Tensor]:
    """Mixup: each sample blended with another one of its batch, targets alike; masks are joined."""
    if alpha == 0:
        return batch.inputs, batch.targets
    n, device = len(batch.targets), batch.targets.device
    share = torch.distributions.Beta(alpha, alpha).sample((n,)).to(device)
    share = torch.maximum(share, 1 - share)
    partner = torch.randperm(n, device=device)
    mixed = []
    for each in batch.inputs:
        if each.dtype == torch.bool:
            mixed.append(each | each[partner])
        else:
            weight = share.view(-1, *[1] * (each.ndim - 1))
            mixed.append(weight * each + (1 - weight) * each[partner])
    weight = share.unsqueeze(1)
    return tuple(mixed), weight * batch.targets + (1 - weight) * batch.targets[partner]


def finish_epoch(state: State, batches: Batches, spec: ModelSpec, config: TrainConfig, out: Path) -> None:
    """Scores the running mean of the weights on `choose`, and keeps it if it is the best so far."""
    state.loss.learn(state.counts)
    state.counts.zero_()
    if config.semi.n_faces:
        assert isinstance(batches, FaceBatches)
        learn_semi(state, batches, config)
    if not state.team.is_main_process:
        return
    network = build_network(spec).to(state.team.device)
    network.load_state_dict(state.average)
    entry = state.history[-1]
    entry.update(held_out_scores(held_out_logits(network.eval(), batches), batches))
    if isinstance(network, ExpressionNet) and network.config.learned:
        entry["voice_share"] = network.rule.voice_share
    score = -entry["choose_loss"] if config.chosen_by == "loss" else entry["choose_macro_f1"]
    if not config.hold_out:
        score = float(state.step)  # the last epoch is kept
    if score > state.best:
        state.best = score
        save_network(network, spec, out / "best.safetensors")
    write_json(out / "history.json", state.history)
    with SummaryWriter(out / "tensorboard") as log:
        for name, value in entry.items():
            log.add_scalar(name, value, state.step)


def describe(config: TrainConfig, told: dict[str, Any], crop_px: int | None) -> ModelSpec:
    """What the checkpoint will say of itself."""
    recipe = asdict(config)
    network = recipe.pop("network")
    common = {
        "modality": config.modality,
        "network": json.loads(json.dumps(network)),
        "expressions": EXPRESSIONS,
        "licence": told.get("licence", "not stated"),
        "training": json.loads(json.dumps({"recipe": recipe, "data": told})),
    }
    if crop_px is None:
        return ModelSpec(**common, window=WINDOW)
    template = Template(crop_px)
    window = None if config.modality == "face" else WINDOW
    return ModelSpec(**common, crop_px=template.size_px, landmarks=template.landmarks, window=window)


def start_or_resume(
    config: TrainConfig, spec: ModelSpec, batches: Batches, out: Path, start: Path | None = None
) -> State:
    """The state found in `out`, or a new one, with the weights of `start` if it is given."""
    torch.manual_seed(config.seed)
    network = build_network(spec)
    if start is not None:
        copy_weights(start, network)
    speech = network.speech if isinstance(network, ExpressionNet) else network
    if isinstance(speech, SpeechNet) and batches.mel_range is not None:
        for each, value in zip((speech.mel_mean, speech.mel_std), batches.mel_range, strict=True):
            each.fill_(value)
    team = join_processes(config.n_parts)
    network.to(team.device)
    for each in network.parameters():
        if each.ndim == 4:  # convolutions of images are faster so
            each.data = each.data.contiguous(memory_format=torch.channels_last)
    n = len(spec.expressions)
    state = State(
        network=network,
        average={name: tensor.clone() for name, tensor in network.state_dict().items()},
        optimiser=build_optimiser(network, config),
        step=0,
        history=[],
        best=-math.inf,
        loss=CoarseFine(config.coarse_fine),
        counts=torch.zeros(n, n, device=team.device),
        semi=start_semi(config.semi, team.device),
        forward=team.prepare_model(torch.compile(network) if config.compiled else network),
        team=team,
    )
    if (out / "state.safetensors").exists():
        load_state(state, spec, out)
    return state


def write_json(path: Path, values: object) -> None:
    """Writes JSON, whole or not at all."""
    with written_whole(path) as aside:
        aside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
