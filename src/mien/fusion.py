"""Probabilities of the voice and of the face in, fused probabilities out: the proportion rule of Eq. 4.

    P = (m·a·P_a + n·v·P_v) / (m·a + n·v)

m multiplies the voice (audio) and n the face (video); a and v say whether each is there, which is our
addition to the paper. The network's torch module is tested equal to what stands here. Beside it, also beyond
the paper, stands the product of both, by which the models that ship fuse (docs/decisions/0024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import gcd, inf
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

RATIOS: tuple[tuple[int, int], ...] = tuple(
    sorted(
        ((m, n) for m in range(1, 6) for n in range(1, 6) if gcd(m, n) == 1),
        key=lambda ratio: ratio[0] / ratio[1],
    )
)
"""The 19 distinct ratios m:n that the paper's {1..5}² holds, in lowest terms, from least voice to most."""


FLOOR = 1e-3
"""Added to probabilities that are multiplied, so that a 0 does not rule an expression out."""


def proportion(
    voice: Float[np.ndarray, "*rows classes"],
    face: Float[np.ndarray, "*rows classes"],
    *,
    voice_weight: float = 1.0,
    face_weight: float = 1.0,
    voice_present: Bool[np.ndarray, "*rows"] | None = None,
    face_present: Bool[np.ndarray, "*rows"] | None = None,
) -> Float[np.ndarray, "*rows classes"]:
    """Fused probabilities by Eq. 4; where one modality is missing they are the other's, bit for bit.

    Args:
        voice: P_a; rows where no voice is present may hold anything.
        face: P_v; rows where no face is present may hold anything.
        voice_weight: m. A modality of weight 0 counts only where the other one is missing.
        face_weight: n.
        voice_present: a; None means everywhere.
        face_present: v; None means everywhere. Rows with neither come back as NaN.

    Raises:
        InputError: Shapes differ, a weight is negative or not finite, or both are 0.

    >>> voice, face = np.array([0.9, 0.1]), np.array([0.3, 0.7])
    >>> proportion(voice, face, voice_weight=1, face_weight=2).round(6).tolist()
    [0.5, 0.5]
    >>> proportion(voice, face, voice_present=np.array(False)).tolist()
    [0.3, 0.7]
    """
    check_weights(voice_weight, face_weight)
    refuse_other_shapes(voice, face)
    weigh = partial(_weighted, m=voice_weight, n=face_weight)
    return _fuse(voice, face, voice_present, face_present, weigh)


def product(
    voice: Float[np.ndarray, "*rows classes"],
    face: Float[np.ndarray, "*rows classes"],
    *,
    voice_present: Bool[np.ndarray, "*rows"] | None = None,
    face_present: Bool[np.ndarray, "*rows"] | None = None,
) -> Float[np.ndarray, "*rows classes"]:
    """Fused probabilities in proportion to P_a · P_v; where one modality is missing the other's, bit for bit.

    What both hold for likely is likelier still, and what one of them all but rules out stays unlikely. To
    each probability `FLOOR` is added first.

    Args:
        voice: P_a; rows where no voice is present may hold anything.
        face: P_v; rows where no face is present may hold anything.
        voice_present: As in `proportion`.
        face_present: As in `proportion`.

    Raises:
        InputError: Shapes differ.

    >>> product(np.array([0.6, 0.4]), np.array([0.6, 0.4])).round(2).tolist()
    [0.69, 0.31]
    """
    refuse_other_shapes(voice, face)
    return _fuse(voice, face, voice_present, face_present, _multiplied)


def _fuse(
    voice: Float[np.ndarray, "*rows classes"],
    face: Float[np.ndarray, "*rows classes"],
    voice_present: Bool[np.ndarray, "..."] | None,
    face_present: Bool[np.ndarray, "..."] | None,
    join: Callable[..., Float[np.ndarray, "*rows classes"]],
) -> Float[np.ndarray, "*rows classes"]:
    """Both joined where both are there, the one that is there elsewhere, NaN where none is."""
    if voice_present is None and face_present is None:
        return join(voice, face)
    heard = presence("voice_present", voice_present, voice.shape[:-1])
    seen = presence("face_present", face_present, face.shape[:-1])
    both = heard & seen
    fused = np.where(heard[..., np.newaxis], voice, face)
    fused[both] = join(voice[both], face[both])
    fused[~(heard | seen)] = np.nan
    return fused


def refuse_other_shapes(
    voice: Float[np.ndarray, "*rows classes"], face: Float[np.ndarray, "*others classes"]
) -> None:
    """Refuses two opinions that are not on the same rows.

    Raises:
        InputError: Their shapes differ.
    """
    if voice.shape != face.shape:
        raise InputError(
            f"voice is {voice.shape} and face {face.shape}; expected one row of each for each other"
        )


def check_weights(voice_weight: float, face_weight: float) -> None:
    """Refuses weights that Eq. 4 cannot divide by.

    Raises:
        InputError: A weight is negative or not finite, or both are 0.
    """
    for name, weight in (("voice_weight", voice_weight), ("face_weight", face_weight)):
        if not 0 <= weight < inf:
            raise InputError(f"{name} is {weight}; expected a finite number, 0 or more")
    if voice_weight + face_weight == 0:
        raise InputError("voice_weight and face_weight are both 0; expected one of them above 0")


def choose_ratio(
    voice_probs: Float[np.ndarray, "rows classes"],
    face_probs: Float[np.ndarray, "rows classes"],
    labels: Sequence[str | None],
    score: Callable[[Sequence[str | None], Float[np.ndarray, "rows classes"]], float],
    *,
    voice_present: Bool[np.ndarray, "rows"] | None = None,
    face_present: Bool[np.ndarray, "rows"] | None = None,
) -> tuple[int, int]:
    """The m:n of `RATIOS` whose fused probabilities score highest, as (m, n) in lowest terms.

    Among equal scores the ratio closest to 1:1 wins, then the smallest m+n, then the one with less voice.

    Args:
        voice_probs: P_a of validation rows.
        face_probs: P_v of the same rows.
        labels: Handed on to `score`.
        score: `score(labels, fused)`, higher is better; macro-F1 in this project.
        voice_present: As in `proportion`.
        face_present: As in `proportion`.

    Raises:
        InputError: Shapes differ, or a score is NaN.
    """
    scores: dict[tuple[int, int], float] = {}
    for m, n in RATIOS:
        fused = proportion(
            voice_probs,
            face_probs,
            voice_weight=m,
            face_weight=n,
            voice_present=voice_present,
            face_present=face_present,
        )
        scores[m, n] = score(labels, fused)
        if scores[m, n] != scores[m, n]:
            raise InputError(f"the score of ratio {m}:{n} is NaN; expected a number that can be compared")
    return min(RATIOS, key=lambda ratio: (-scores[ratio], *_plainness(ratio)))


def nearest_ratio(voice_share: float) -> tuple[int, int]:
    """The m:n of `RATIOS` whose share of voice, m/(m+n), is nearest; ties as in `choose_ratio`.

    Raises:
        InputError: The share lies outside 0 to 1.

    >>> nearest_ratio(0.35)
    (1, 2)
    """
    if not 0 <= voice_share <= 1:
        raise InputError(f"the share of voice is {voice_share}; expected 0 to 1, that is m/(m+n)")
    return min(RATIOS, key=lambda ratio: (abs(ratio[0] / sum(ratio) - voice_share), *_plainness(ratio)))


def _plainness(ratio: tuple[int, int]) -> tuple[float, int]:
    return max(ratio) / min(ratio), sum(ratio)  # 1:1 first, then the smaller numbers


def _weighted(
    voice: Float[np.ndarray, "*rows classes"], face: Float[np.ndarray, "*rows classes"], m: float, n: float
) -> Float[np.ndarray, "*rows classes"]:
    if m == 0:
        return np.array(face)  # not 0·P_a + n·P_v over n, which would round
    if n == 0:
        return np.array(voice)
    return np.asarray((float(m) * voice + float(n) * face) / float(m + n))  # float keeps float32 what it is


def _multiplied(
    voice: Float[np.ndarray, "*rows classes"], face: Float[np.ndarray, "*rows classes"]
) -> Float[np.ndarray, "*rows classes"]:
    joined = (voice + FLOOR) * (face + FLOOR)
    return np.asarray(joined / joined.sum(axis=-1, keepdims=True))


def presence(
    name: str, present: Bool[np.ndarray, "*rows"] | None, shape: tuple[int, ...]
) -> Bool[np.ndarray, "*rows"]:
    """Where a modality is there; None means everywhere.

    Raises:
        InputError: It does not say so of each row.
    """
    if present is None:
        return np.ones(shape, dtype=np.bool_)
    if present.shape != shape:
        raise InputError(f"{name} is {present.shape}; expected {shape}, one value for each row")
    return present.astype(np.bool_)
