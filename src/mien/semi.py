"""Faces without labels in, a loss beside the labelled one out: the semi-supervised stage.

It is Ada-CM (Li et al., CVPR 2022). The running mean of the weights, the teacher, looks at two weak views of
each face. Where it is sure of an expression, the network is to see that expression in a strong view of the
face; where it is not, the network's features of the two weak views are to be alike, and unlike those of
other faces. How sure is sure enough is learned for each expression from the labelled faces.

Axes: U unlabelled faces, E expressions, D features, h w sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from mien.datasets.augment import STRONG, WEAK, FaceAugmentation
from mien.errors import InputError
from mien.expressions import EXPRESSIONS, position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from mien.datasets.batches import FaceViews
    from mien.models.face import FaceNet


@dataclass(frozen=True, slots=True, kw_only=True)
class SemiConfig:
    """How faces without labels teach; the defaults are Ada-CM's, and the whole stage is off."""

    n_faces: int = 0
    """Faces without labels beside each batch of labelled ones; 0 leaves the stage out."""
    labelled: float = 0.5
    """Weight of the labelled faces' loss while the stage is on."""
    pseudo: float = 1.0
    """Weight of the cross-entropy of the strong views against what the teacher is sure of."""
    contrast: float = 0.1
    """Weight of the contrastive loss of the two weak views where the teacher is not sure."""
    temperature: float = 0.07
    """Of the contrastive loss."""
    debias: float = 0.5
    """Power of an expression's usual probability by which the teacher's probability of it is divided."""
    memory: float = 0.999
    """Decay per step of the usual probabilities."""
    margin: float = 0.97
    """Share of the mean confidence on labelled faces that is sure enough once many epochs have passed."""
    lowest: float = 0.8
    """Confidence below which nothing is sure enough."""
    ignored: tuple[str, ...] = ("Other",)
    """Expressions that do not occur among the faces without labels; a face taken for one teaches nothing."""
    weak: FaceAugmentation = WEAK
    strong: FaceAugmentation = STRONG

    def __post_init__(self) -> None:
        for name in ("n_faces", "labelled", "pseudo", "contrast", "debias"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("memory", "margin", "lowest"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 to 1")
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}; expected a number above 0")
        for expression in self.ignored:
            position(expression)


class SemiState(NamedTuple):
    """What the stage has learned so far.

    After a batch in parts, each of which started from the same state, it is the mean of the parts' states.
    """

    usual: Float[Tensor, "E"]
    """Running mean of what the teacher says of faces without labels, p̄."""
    thresholds: Float[Tensor, "E"]
    """How sure the teacher must be of each expression."""
    used: Float[Tensor, "2"]
    """Faces without labels of the epoch under way: whose pseudo-label counted, and all."""


def start_semi(config: SemiConfig, device: torch.device | None = None) -> SemiState:
    """The state before the first step: no expression is usual, and the lowest thresholds hold."""
    n = len(EXPRESSIONS)
    return SemiState(
        usual=torch.full((n,), 1 / n, device=device),
        thresholds=torch.full((n,), config.lowest, device=device),
        used=torch.zeros(2, device=device),
    )


def semi_loss(
    network: FaceNet, average: dict[str, Tensor], views: FaceViews, state: SemiState, config: SemiConfig
) -> tuple[Float[Tensor, ""], SemiState]:
    """The weighed loss of faces without labels, and the state after them.

    Args:
        network: In training; its batch norms see the three views as one batch.
        average: The teacher: weights by name that `network` would have; no gradient reaches them.
        views: Of the faces, on the network's device.
        state: Before these faces.
        config: Of the stage.
    """
    probs = (ask_mean(network, average, views.first) + ask_mean(network, average, views.second)) / 2
    labels, sure, unsure = pseudo_labels(probs, state, config)
    first, second, strong = network.encode(torch.cat(views)).chunk(3)
    cost = functional.cross_entropy(network.head(strong).float(), labels, reduction="none")
    pseudo = (cost * sure).mean()
    contrast = contrastive_loss(first[unsure], second[unsure], config.temperature)
    after = state._replace(
        usual=torch.lerp(probs.mean(0), state.usual, config.memory),
        used=state.used + torch.stack([sure.sum(), torch.tensor(len(sure), device=sure.device)]),
    )
    return config.pseudo * pseudo + config.contrast * contrast, after


@torch.no_grad()
def ask_mean(
    network: nn.Module, average: dict[str, Tensor], faces: Float[Tensor, "U 1 h w"]
) -> Float[Tensor, "U E"]:
    """The probabilities that a network with other weights gives faces, in evaluation mode."""
    training = network.training
    network.eval()
    logits = torch.func.functional_call(network, average, (faces,))
    network.train(training)
    return torch.softmax(logits.float(), dim=-1)


def debiased(probs: Float[Tensor, "U E"], usual: Float[Tensor, "E"], power: float) -> Float[Tensor, "U E"]:
    """Probabilities in which what is said of many faces counts for less."""
    return torch.softmax(probs.clamp(min=1e-12).log() - power * usual.clamp(min=1e-12).log(), dim=-1)


def pseudo_labels(
    probs: Float[Tensor, "U E"], state: SemiState, config: SemiConfig
) -> tuple[Int[Tensor, "U"], Bool[Tensor, "U"], Bool[Tensor, "U"]]:
    """The column of each face's pseudo-label, whether it is sure, and whether it is not.

    Neither is true of a face that is taken for an expression that does not occur among these faces. Sureness
    is read off the debiased probabilities: one that debiasing has turned to another expression was sure of
    nothing before.
    """
    confidence, labels = debiased(probs, state.usual, config.debias).max(-1)
    sure = confidence >= state.thresholds[labels]
    occurs = torch.tensor([name not in config.ignored for name in EXPRESSIONS], device=labels.device)[labels]
    return labels, sure & occurs, ~sure & occurs


def contrastive_loss(
    first: Float[Tensor, "U D"], second: Float[Tensor, "U D"], temperature: float
) -> Float[Tensor, ""]:
    """How hard it is to tell a face's other view from all views of the other faces, by angle.

    It is SimCLR's loss, the mean over both views; 0 without faces, and for one face alone.
    """
    n = len(first)
    if n < 2:
        return first.sum() * 0
    with torch.autocast(first.device.type, enabled=False):  # bfloat16 is too coarse over the temperature
        directions = functional.normalize(torch.cat([first, second]).float(), dim=-1)
        likeness = directions @ directions.T / temperature
    likeness = likeness.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=first.device), -math.inf)
    others = torch.arange(2 * n, device=first.device).roll(n)
    return functional.cross_entropy(likeness, others)


def learn_thresholds(
    state: SemiState,
    probs: Float[Tensor, "faces E"],
    labels: Sequence[str],
    config: SemiConfig,
    n_epochs: int,
) -> SemiState:
    """The state for the next epoch: thresholds as the teacher's confidence now asks, nothing used yet.

    An expression's threshold is a share of the mean confidence in the faces that are rightly taken for it.

    Args:
        state: After the epoch.
        probs: What the teacher says of labelled training faces.
        labels: Of these faces.
        config: Of the stage.
        n_epochs: How many are over; the share rises with them.
    """
    confidence, said = debiased(probs, state.usual, config.debias).max(-1)
    true = torch.tensor([position(label) for label in labels], device=said.device)
    right = functional.one_hot(true, len(EXPRESSIONS)) * (said == true).unsqueeze(1)
    mean = confidence @ right.to(confidence) / right.sum(0).clamp(min=1)
    thresholds = (config.margin / (1 + math.exp(-n_epochs)) * mean).clamp(min=config.lowest)
    return state._replace(thresholds=thresholds, used=torch.zeros_like(state.used))
