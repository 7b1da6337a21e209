"""A training run between two steps: what it is made of, to a file and back, and shared by processes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from accelerate import Accelerator
from torch import nn

from mien.errors import CheckpointError, InputError
from mien.models.checkpoint import load_network, load_tensors, save_tensors
from mien.models.face import FaceNet
from mien.models.growth import deepen
from mien.models.speech import SpeechNet
from mien.semi import SemiState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from mien.losses import CoarseFine
    from mien.models.network import LogProbs
    from mien.recipes import TrainConfig
    from mien.spec import ModelSpec


@dataclass(slots=True)
class State:
    """What a run is made of between two steps; all but `forward` is on disk after a save."""

    network: nn.Module
    average: dict[str, Tensor]
    """Running mean of the weights, by name."""
    optimiser: torch.optim.Optimizer
    step: int
    history: list[dict[str, float]]
    """One entry an epoch; the last one lacks its scores while the epoch is under way."""
    best: float
    """Highest score on `choose` so far: macro-F1, or the loss below 0."""
    loss: CoarseFine
    """Its μ may change from epoch to epoch."""
    counts: Tensor
    """Labels down, training predictions across, of the epoch under way."""
    semi: SemiState
    """Stays as it began where the configuration has no faces without labels."""
    forward: Callable[..., Tensor | LogProbs]
    """The network, compiled if the configuration says so; its gradients are the processes' mean."""
    team: Accelerator
    """The processes that share out the parts of each batch: most often one."""


def join_processes(n_parts: int) -> Accelerator:
    """The processes that `torchrun` started, this one alone without it, on whatever device each has.

    Raises:
        InputError: Parts of a batch cannot be shared out evenly.
    """
    # unless told of processors, accelerate does not look for other processes on them
    team = Accelerator(cpu=not torch.accelerator.is_available())
    if n_parts % team.num_processes:
        raise InputError(
            f"n_parts is {n_parts}, but {team.num_processes} processes share the parts of a batch; "
            f"set n_parts to a multiple of {team.num_processes}"
        )
    return team


class RunningStatistics:
    """Batch norm's running statistics in a step whose batch comes in parts, in whichever processes.

    Each part starts from the statistics before the step; those after it are the mean of what each part alone
    makes of them. Use it as a context around each part.
    """

    def __init__(self, network: nn.Module, n_parts: int, team: Accelerator) -> None:
        self.n_parts, self.team = n_parts, team
        self.buffers = list(network.buffers()) if n_parts * team.num_processes > 1 else []
        self.before = [each.clone() for each in self.buffers]
        self.sums = [torch.zeros_like(each) for each in self.buffers]
        self.n_done = 0

    def __enter__(self) -> Self:
        for each, before in zip(self.buffers, self.before, strict=True):
            each.copy_(before)
        return self

    def __exit__(self, *_: object) -> None:
        for each, total in zip(self.buffers, self.sums, strict=True):
            if each.is_floating_point():  # others count steps, which is the same in every part
                total += each / self.n_parts
        self.n_done += 1
        if self.n_done == self.n_parts:
            for each, total in zip(self.buffers, self.sums, strict=True):
                if each.is_floating_point():
                    each.copy_(self.team.reduce(total, "mean"))


def encoders_of(network: nn.Module) -> list[nn.Module]:
    """The parts of a network that make features of faces or sound, in front of its heads."""
    return [each.encoder for each in network.modules() if isinstance(each, FaceNet | SpeechNet)]


def build_optimiser(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser; weights of the proportion rule form a group of their own, with their own rate (§6.1)."""
    if config.heads_only:
        for encoder in encoders_of(network):
            encoder.requires_grad_(False)
    rule: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        (rule if name.startswith("rule.") else rest).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": rest, "highest": config.learning_rate, "weight_decay": config.weight_decay}
    ]
    if rule:
        groups.append({"params": rule, "highest": config.rule_learning_rate, "weight_decay": 0.0})
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def copy_weights(start: Path, network: nn.Module) -> None:
    """Fills a network with a checkpoint's weights; one of a face net with fewer blocks makes it say the same.

    Raises:
        CheckpointError: The checkpoint's network has other weights.
    """
    begun = load_network(start)[0]
    if isinstance(network, FaceNet) and isinstance(begun, FaceNet):
        old, new = begun.config, network.config
        as_new = replace(
            old,
            depths=new.depths,
            input_px=new.input_px,
            stem_strides=new.stem_strides,
            dropout=new.dropout,
            mirrored=new.mirrored,
        )
        if old.backbone == "rhcnn" and old.depths != new.depths and as_new == new:
            deepen(begun, network)
            return
    weights = begun.state_dict()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if {name: tensor.shape for name, tensor in weights.items()} != shapes:
        raise CheckpointError(f"{start} holds another network than this recipe's; train without --from")
    network.load_state_dict(weights)


def save_state(state: State, spec: ModelSpec, out: Path) -> None:
    """Writes everything that the next step depends on as one file."""
    told = {"step": state.step, "history": state.history, "best": state.best}
    metadata = {"state": json.dumps(told), "spec": spec.to_text()}
    save_tensors(tensors_of(state), metadata, out / "state.safetensors")


def tensors_of(state: State) -> dict[str, Tensor]:
    """Every tensor that the next step depends on, by the name that it has in the file."""
    tensors = {f"network/{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in state.average.items()}
    for index, moments in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": value for name, value in moments.items()}
    tensors |= {"loss/mu": state.loss.mu, "loss/counts": state.counts}
    return tensors | {f"semi/{name}": tensor for name, tensor in state.semi._asdict().items()}


def load_state(state: State, spec: ModelSpec, out: Path) -> None:
    """Fills a new state from the file that `save_state` wrote.

    Raises:
        CheckpointError: It is not whole, of another run, or holds something else than it says.
    """
    tensors, metadata = load_tensors(out / "state.safetensors")
    if metadata.get("spec") != spec.to_text():
        raise CheckpointError(f"{out} holds a run of another configuration or data; give another --out")
    try:
        fill_state(state, tensors, metadata)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        short = " ".join(str(error).split())[:99]
        raise CheckpointError(
            f"{out / 'state.safetensors'} is not the state of this run ({short}); remove it to begin anew"
        ) from None


def fill_state(state: State, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Fills a new state with what `save_state` wrote.

    Raises:
        ValueError: Tensors are of other names or shapes. Text that is damaged raises others of Python.
    """
    wanted = {name: tensor.shape for name, tensor in tensors_of(state).items()}
    if wanted != {name: each.shape for name, each in tensors.items() if not name.startswith("optimiser/")}:
        raise ValueError("tensors of other names or shapes")
    told = json.loads(metadata["state"])
    state.step, state.history, state.best = told["step"], told["history"], told["best"]
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
    parts |= {"loss": {}, "semi": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor.to(state.team.device)
    state.network.load_state_dict(parts["network"])
    for name, tensor in state.average.items():
        tensor.copy_(parts["average"][name])  # which lie in memory as they did
    state.loss.mu, state.counts = parts["loss"]["mu"], parts["loss"]["counts"]
    state.semi = SemiState(**parts["semi"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        place, _, kind = name.partition("/")
        moments.setdefault(int(place), {})[kind] = tensor
    weights = [weight for group in state.optimiser.param_groups for weight in group["params"]]
    for index, kinds in moments.items():
        if kinds.keys() != moments[0].keys() or any(
            each.dim() and each.shape != weights[index].shape for each in kinds.values()
        ):
            raise ValueError("moments of other names or shapes")
    whole = state.optimiser.state_dict()
    state.optimiser.load_state_dict({"state": moments, "param_groups": whole["param_groups"]})
