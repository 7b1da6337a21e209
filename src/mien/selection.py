"""A network and the items that training never fits in: its scores on them, and its temperature, out.

What is kept of a run is chosen here, on `choose`; nothing of `val` is ever seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from mien.calibration import fit_bias, fit_temperature
from mien.expressions import EXPRESSIONS
from mien.fusion import nearest_ratio
from mien.metrics import accuracy, confusion, per_class, uar
from mien.models.checkpoint import load_network, save_network
from mien.models.network import ExpressionNet, LogProbs

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float32, Float64

    from mien.datasets.batches import Batches
    from mien.models.face import FaceNet
    from mien.models.speech import SpeechNet
    from mien.spec import ModelSpec


def held_out_scores(logits: Float32[np.ndarray, "items 8"], batches: Batches) -> dict[str, float]:
    """Loss, accuracy, macro-F1 and UAR on `choose`, over the expressions that occur there."""
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    predicted = [EXPRESSIONS[k] for k in logits.argmax(1)]
    counts = confusion(batches.held_labels, predicted, EXPRESSIONS)
    present = [one.f1.value for one in per_class(counts, EXPRESSIONS).values() if one.support]
    return {
        "choose_loss": float(-(batches.held_targets * log_probs).sum(1).mean()),
        "choose_accuracy": float(accuracy(counts)),
        "choose_macro_f1": float(np.mean(present)),
        "choose_uar": float(uar(counts)),
    }


def held_out_logits(network: nn.Module, batches: Batches) -> Float32[np.ndarray, "items 8"]:
    """Log-probabilities of the items of `choose`; of the whole network, the fused ones."""
    return held_out_opinions(network, batches)["fused"]


@torch.no_grad()
def held_out_opinions(network: nn.Module, batches: Batches) -> dict[str, Float32[np.ndarray, "items 8"]]:
    """Log-probabilities of the items of `choose`, averaged as probabilities over each item's rows.

    They are called `fused`; those of the whole network's parts, where it has both, `face` and `voice`.

    Args:
        network: In evaluation mode.
        batches: Have the items.
    """
    device = next(network.parameters()).device
    probs: dict[str, Float64[np.ndarray, "items 8"]] = {}
    rows = np.zeros(len(batches.held_labels))
    for inputs, items in batches.held_out():
        said = network(*(each.to(device) for each in inputs))
        opinions = (
            said._asdict() if isinstance(said, LogProbs) else {"fused": torch.log_softmax(said.double(), -1)}
        )
        for name, log_probs in opinions.items():
            if log_probs is not None:
                total = probs.setdefault(name, np.zeros((len(rows), len(EXPRESSIONS))))
                np.add.at(total, items, log_probs.double().exp().cpu().numpy())
        np.add.at(rows, items, 1)
    return {
        name: np.log(np.maximum(total / rows[:, None], 1e-12)).astype(np.float32)
        for name, total in probs.items()
    }


def calibrate(
    spec: ModelSpec,
    batches: Batches,
    out: Path,
    held_for: Path | None = None,
    device: torch.device | None = None,
) -> None:
    """Writes the best network of a run with the temperature that fits it to the labels of `choose`.

    To labels, not to shares of votes: a confidence of 0.8 is to mean that the label is right in 8 of 10
    cases, and a label gets most votes far more often than it gets any one of them. A network of one modality
    also gets the bias of its head refitted.

    Args:
        spec: Of the run.
        batches: Have the items.
        out: Folder of the run.
        held_for: The checkpoint that the items were held out for, if it was not this run: its calibration,
            fitted on them, becomes this network's.
        device: Where the networks are asked; the processor without it.
    """
    network = load_network(out / "best.safetensors")[0].to(device)
    if not isinstance(network, ExpressionNet):
        asked = network if held_for is None else load_network(held_for)[0].to(device)
        temperature = correct_head(network, held_out_logits(asked, batches), batches)
        save_network(network, replace(spec, temperature=temperature), out / f"{spec.modality}.safetensors")
        return
    parts: dict[str, tuple[FaceNet | SpeechNet | ExpressionNet, ModelSpec]] = {"fused": (network, spec)}
    if network.config.alignment == "none":
        parts |= split(network, spec)  # each network by itself, which is what `mien export` takes
    opinions = held_out_opinions(network, batches)
    for opinion, (part, part_spec) in parts.items():
        temperature = float(fit_temperature(opinions[opinion], batches.held_labels))
        save_network(
            part, replace(part_spec, temperature=temperature), out / f"{part_spec.modality}.safetensors"
        )


@torch.no_grad()
def correct_head(
    network: FaceNet | SpeechNet, logits: Float32[np.ndarray, "items 8"], batches: Batches
) -> float:
    """Moves the bias of a network's head to where logits are likeliest to give the labels; the temperature.

    Args:
        network: Is changed.
        logits: Of the items of `choose`, held out from whatever network said them.
        batches: Have the labels.
    """
    bias, temperature = fit_bias(logits, batches.held_labels)
    head = network.head[-1]
    assert isinstance(head, nn.Linear)
    head.bias.add_(torch.from_numpy(bias * temperature).to(head.bias))
    return temperature


def split(network: ExpressionNet, spec: ModelSpec) -> dict[str, tuple[FaceNet | SpeechNet, ModelSpec]]:
    """The networks of face and voice in the whole one, each with a specification of its own.

    Where m:n was learned, both tell the nearest of the 19 ratios.
    """
    parts: dict[str, tuple[FaceNet | SpeechNet, ModelSpec]] = {}
    if network.config.learned:
        ratio = nearest_ratio(network.rule.voice_share)
        spec = replace(spec, training=spec.training | {"ratio": list(ratio)})
    if network.face is not None:
        parts["face"] = (
            network.face,
            replace(spec, modality="face", network=spec.network["face"], window=None),
        )
    if network.speech is not None:
        own = replace(spec, modality="speech", network=spec.network["speech"], crop_px=None, landmarks=None)
        parts["voice"] = network.speech, own
    return parts
