"""Losses on logits and soft targets.

Axes: B samples, E expressions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def soft_cross_entropy(
    logits: Float[Tensor, "B E"], targets: Float[Tensor, "B E"], label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Mean over samples of the cross-entropy against shares of votes, of which some are spread evenly."""
    n_expressions = logits.shape[-1]
    smoothed = targets * (1 - label_smoothing) + label_smoothing / n_expressions
    return -(smoothed * torch.log_softmax(logits, dim=-1)).sum(-1).mean()
