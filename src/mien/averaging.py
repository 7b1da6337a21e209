"""Checkpoints of one network in, the mean of their weights out, scored and calibrated on `choose`.

Runs that start from the same weights often end in one basin of the loss, and the middle of a basin often
generalises better than its rim (Izmailov et al., 2018; Wortsman et al., 2022). One checkpoint is calibrated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from mien.calibration import fit_temperature
from mien.datasets.pairs import PairAugmentation
from mien.errors import CheckpointError
from mien.models.checkpoint import load_network, save_network
from mien.models.network import ExpressionNet
from mien.recipes import RECIPES
from mien.selection import correct_head, held_out_logits, held_out_scores
from mien.sources import read_batches
from mien.whole import checksum

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mien.models.face import FaceNetConfig
    from mien.models.network import ExpressionNetConfig
    from mien.models.speech import SpeechNetConfig
    from mien.recipes import TrainConfig
    from mien.spans import Hook
    from mien.spec import ModelSpec


def average(
    checkpoints: Sequence[Path], data: Path, out: Path, hook: Hook, n_threads: int = 2
) -> dict[str, float]:
    """Writes the mean of the weights of checkpoints; what it scores on `choose` comes back.

    Args:
        checkpoints: Of the same network, one or more.
        data: Folder that holds the corpora of their recipe.
        out: The checkpoint to write.
        hook: Called with what is done, how far, and how much there is.
        n_threads: Processor threads.

    Raises:
        CheckpointError: One is damaged, or their networks differ.
        DatasetError: The data are missing.
    """
    torch.set_num_threads(n_threads)
    (network, spec), *others = [load_network(path) for path in checkpoints]
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
        temperature = correct_head(network, logits, batches)
    told = spec.training | {"mean_of": parts, **scores}
    save_network(network, replace(spec, temperature=temperature, training=told), out)
    return scores


def config_of(network: FaceNetConfig | SpeechNetConfig | ExpressionNetConfig, spec: ModelSpec) -> TrainConfig:
    """A configuration that asks for the data that a network takes; with nine faces if it had nine."""
    config = replace(RECIPES["tuned" if spec.modality == "both" else spec.modality](), network=network)
    told = spec.training.get("recipe", {}).get("augmentation", {})
    if isinstance(config.augmentation, PairAugmentation) and "n_faces" in told:
        return replace(config, augmentation=replace(config.augmentation, n_faces=told["n_faces"]))
    return config
