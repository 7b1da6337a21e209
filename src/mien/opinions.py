"""A network and windows in; what voice, face and both of them say of each item, fused and smoothed, out.

Opinions are one array for each item: probabilities by the voice, by the face and by both, NaN where there was
nothing to hear or to see. Once they are kept, rules of fusion and widths of smoothing cost no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from mien.expressions import EXPRESSIONS, position
from mien.fusion import FLOOR, choose_ratio, nearest_ratio, proportion
from mien.metrics import confusion, macro_f1
from mien.postprocess import box_mean, fill_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jaxtyping import Bool, Float32

    from mien.datasets.batches import HeldOut
    from mien.models.network import ExpressionNet

VOICE, FACE, FUSED = range(3)
"""Where the three opinions stand."""

Rule = Literal["own", "1:1", "learned", "nearest", "grid"]
"""How voice and face are fused: as in their network; 1:1; by the shares that are likeliest on `choose`; by
the nearest to these of the 19 ratios; by that of the 19 with the highest macro-F1 on `choose`."""


@torch.no_grad()
def ask(network: ExpressionNet, windows: Iterable[HeldOut], n_items: int) -> Float32[np.ndarray, "3 items 8"]:
    """Opinions of each item, meant over its windows.

    Args:
        network: In evaluation mode, on any device.
        windows: Inputs of `ExpressionNet`, and the item that each is of.
        n_items: How many items there are.
    """
    device = next(network.parameters()).device
    sums, rows = np.zeros((3, n_items, len(EXPRESSIONS))), np.zeros((3, n_items, 1))
    for inputs, items in windows:
        said = network(*(each.to(device) for each in inputs))
        seen, heard = (inputs[mask].any(1).numpy() for mask in (1, 3))
        there = {VOICE: heard & (said.voice is not None), FACE: seen & (said.face is not None)}
        there[FUSED] = there[VOICE] | there[FACE]
        for opinion, log_probs in ((VOICE, said.voice), (FACE, said.face), (FUSED, said.fused)):
            if log_probs is not None:
                probs = log_probs.double().exp().cpu().numpy()
                np.add.at(sums[opinion], items[there[opinion]], probs[there[opinion]])
                np.add.at(rows[opinion], items[there[opinion]], 1)
    return np.where(rows > 0, sums / np.maximum(rows, 1), np.nan).astype(np.float32)


def choose_weights(
    rule: Rule, opinions: Float32[np.ndarray, "3 items 8"], labels: Sequence[str]
) -> tuple[float, float]:
    """Weights m of the voice and n of the face, by the opinions of items that nothing is scored on."""
    voice, face = opinions[VOICE], opinions[FACE]
    heard, seen = presence_of(voice), presence_of(face)
    if rule == "grid":
        return choose_ratio(voice, face, labels, _macro_f1, voice_present=heard, face_present=seen)
    if rule == "1:1":
        return 1.0, 1.0
    assert rule != "own", "a network's own weights are in what it says"
    both = np.flatnonzero(heard & seen)
    right = np.array([position(labels[item]) for item in both.tolist()])
    shares = np.arange(101)[:, None] / 100
    likelihood = np.log(shares * voice[both, right] + (1 - shares) * face[both, right] + FLOOR).sum(1)
    share = float(shares[int(likelihood.argmax()), 0])
    return nearest_ratio(share) if rule == "nearest" else (share, 1 - share)


def fuse(
    opinions: Float32[np.ndarray, "3 items 8"], weights: tuple[float, float]
) -> Float32[np.ndarray, "3 items 8"]:
    """The same opinions, of which that of both is made of the other two by the proportion rule (Eq. 4)."""
    voice, face = opinions[VOICE], opinions[FACE]
    fused = proportion(
        voice,
        face,
        voice_weight=weights[0],
        face_weight=weights[1],
        voice_present=presence_of(voice),
        face_present=presence_of(face),
    )
    return np.stack([voice, face, fused.astype(np.float32)])


def finish(
    probs: Float32[np.ndarray, "items 8"], tracks: Sequence[int], delta: int
) -> Float32[np.ndarray, "items 8"]:
    """Probabilities without gaps, meant over `delta` items to either side, inside each track alone.

    Args:
        probs: NaN where nothing is known.
        tracks: How many items in a row belong together.
        delta: 0 leaves them as they are.
    """
    parts = np.split(probs, np.cumsum(tracks)[:-1])
    return np.concatenate([box_mean(fill_frames(part), delta) for part in parts])


def presence_of(probs: Float32[np.ndarray, "items 8"]) -> Bool[np.ndarray, "items"]:
    """Which rows hold an opinion."""
    return np.asarray(~np.isnan(probs).any(axis=1))


def _macro_f1(labels: Sequence[str | None], probs: np.ndarray) -> float:
    return float(macro_f1(confusion(labels, [EXPRESSIONS[k] for k in probs.argmax(1)], EXPRESSIONS)))
