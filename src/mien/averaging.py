"""Checkpoints of one network in, the mean of their weights out, scored and calibrated on `choose`.

Runs that start from the same weights often end in one basin of the loss, and the middle of a basin often
generalises better than its rim (Izmailov et al., 2018; Wortsman et al., 2022). One checkpoint is calibrated.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch

from mien.calibration import fit_temperature
from mien.datasets.pairs import PairAugmentation
from mien.errors import CheckpointError, InputError
from mien.models.checkpoint import build_network, load_network, save_network
from mien.models.network import ExpressionNet
from mien.recipes import RECIPES, override
from mien.selection import correct_head, held_out_logits, held_out_scores
from mien.sources import read_batches
from mien.whole import checksum

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mien.models.face import FaceNet, FaceNetConfig
    from mien.models.network import ExpressionNetConfig
    from mien.models.speech import SpeechNet, SpeechNetConfig
    from mien.recipes import TrainConfig
    from mien.spans import Hook
    from mien.spec import ModelSpec

    Network = FaceNet | SpeechNet | ExpressionNet


def average(
    checkpoints: Sequence[Path],
    data: Path,
    out: Path,
    hook: Hook,
    n_threads: int = 2,
    settings: Sequence[str] = (),
    held_for: Path | None = None,
) -> dict[str, float]:
    """Writes the mean of the weights of checkpoints; what it scores on `choose` comes back.

    Args:
        checkpoints: Of the same network, one or more.
        data: Folder that holds the corpora of their recipe.
        out: The checkpoint to write.
        hook: Called with what is done, how far, and how much there is.
        n_threads: Processor threads.
        settings: Of the network, as `mien.recipes.override` takes them, that leave its weights as they are.
        held_for: A checkpoint of one modality that was not trained on `choose`, where these were: what it
            says there, with the same settings, decides temperature and bias.

    Raises:
        CheckpointError: One is damaged, or their networks differ.
        InputError: There is no such setting, or it asks for other weights; or `held_for` goes with a network
            of both modalities.
        DatasetError: The data are missing.
    """
    torch.set_num_threads(n_threads)
    (network, spec), *others = [load_network(path) for path in checkpoints]
    if held_for is not None and isinstance(network, ExpressionNet):
        raise InputError(f"{checkpoints[0]} reads both face and voice; --held-for is for one of them")
    for path, (other, _) in zip(checkpoints[1:], others, strict=True):
        if other.config != network.config:
            raise CheckpointError(
                f"{path} holds another network than {checkpoints[0]}; give runs of one recipe"
            )
    mean = network.state_dict()
    for name, tensor in mean.items():
        if tensor.is_floating_point():
            whole = torch.stack([tensor, *(other.state_dict()[name] for other, _ in others)])
            tensor.copy_(whole.mean(0))
    network, spec = with_settings(network, spec, settings)
    batches, _ = read_batches(config_of(network.config, spec), data, hook)
    logits = held_out_logits(network, batches)
    scores = held_out_scores(logits, batches)
    parts = [
        {"sha256": checksum(path), **each.training}
        for path, each in zip(checkpoints, (spec, *(other for _, other in others)), strict=True)
    ]
    if isinstance(network, ExpressionNet):
        temperature = float(fit_temperature(logits, batches.held_labels))
    else:
        if held_for is not None:
            logits = held_out_logits(with_settings(*load_network(held_for), settings)[0], batches)
        temperature = correct_head(network, logits, batches)
    told = spec.training | {"mean_of": parts, **scores}
    save_network(network, replace(spec, temperature=temperature, training=told), out)
    return scores


def with_settings(network: Network, spec: ModelSpec, settings: Sequence[str]) -> tuple[Network, ModelSpec]:
    """A network with the same weights and other settings, such as `mirrored=false`.

    Raises:
        InputError: There is no such setting, or it asks for other weights.
    """
    spec = replace(spec, network=json.loads(json.dumps(asdict(override(network.config, settings)))))
    other = build_network(spec).eval()
    try:
        other.load_state_dict(network.state_dict())
    except RuntimeError as error:
        raise InputError(f"{', '.join(settings)} would need other weights; train with it instead") from error
    return other, spec


def config_of(network: FaceNetConfig | SpeechNetConfig | ExpressionNetConfig, spec: ModelSpec) -> TrainConfig:
    """A configuration that asks for the data that a network takes; with nine faces if it had nine."""
    config = replace(RECIPES["tuned" if spec.modality == "both" else spec.modality](), network=network)
    told = spec.training.get("recipe", {}).get("augmentation", {})
    if isinstance(config.augmentation, PairAugmentation) and "n_faces" in told:
        return replace(config, augmentation=replace(config.augmentation, n_faces=told["n_faces"]))
    return config
