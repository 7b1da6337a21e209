"""Probabilities of every frame of one person in one video in; gaps filled and smoothed, out.

This is the protocol of Aff-Wild2, by frames and after the fact. `mien.timeline`, which smooths by seconds
while a file is still being read, is what users see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.expressions import EXPRESSIONS, position

if TYPE_CHECKING:
    from jaxtyping import Float32

DELTA = 50
"""Frames before and after a frame over which its mean is taken: 1.7 s each way at 30 frames a second."""


def fill_frames(probs: Float32[np.ndarray, "frames 8"]) -> Float32[np.ndarray, "frames 8"]:
    """The frames, those that are NaN on the straight line between their neighbours.

    Before the first that is known, and after the last, stands a copy of it; where none is, Neutral.

    >>> gap = np.full((3, 8), np.nan, np.float32)
    >>> gap[0], gap[2] = np.eye(8)[0], np.eye(8)[1]
    >>> fill_frames(gap)[1, :2].tolist()
    [0.5, 0.5]
    """
    known = ~np.isnan(probs).any(axis=1)
    if not known.any():
        nothing = np.zeros_like(probs)
        nothing[:, position("Neutral")] = 1
        return nothing
    at, there = np.arange(len(probs)), np.flatnonzero(known)
    columns = [np.interp(at, there, probs[there, k]) for k in range(len(EXPRESSIONS))]
    return np.where(known[:, None], probs, np.stack(columns, axis=1)).astype(np.float32)


def box_mean(probs: Float32[np.ndarray, "frames 8"], delta: int = DELTA) -> Float32[np.ndarray, "frames 8"]:
    """The mean over each frame and `delta` frames to either side of it, fewer at the ends.

    >>> box_mean(np.eye(8, dtype=np.float32)[:3], delta=1)[0, :3].tolist()
    [0.5, 0.5, 0.0]
    """
    sums = np.concatenate([np.zeros((1, probs.shape[1])), np.cumsum(probs, axis=0, dtype=np.float64)])
    at = np.arange(len(probs))
    first, behind = np.maximum(at - delta, 0), np.minimum(at + delta + 1, len(probs))
    means = (sums[behind] - sums[first]) / (behind - first)[:, None]
    return np.asarray(means, np.float32)
