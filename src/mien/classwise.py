"""Probabilities of voice and face in, fused ones out, each expression weighed by itself.

    log P[c] = m[c] log P_a[c] + n[c] log P_v[c] + b[c] + constant

This goes beyond the paper, whose Eq. 4 (`mien.fusion`) has one m:n for all: one expression may be heard
better and another seen better. On held-out votes weights on logarithms did better than weights on
probabilities (docs/decisions/0013), and their fit has one answer. A model's manifest holds the rule as plain
numbers under `class_wise`, by expression and by the names of the fields of `ClassWise`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mien.errors import CheckpointError, InputError
from mien.fusion import FLOOR, presence, product, proportion, refuse_other_shapes
from mien.regression import fit_softmax, softmax
from mien.spec import fits

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float64

Fusion = Literal["proportion", "product", "class_wise"]
"""How face and voice are fused: by the paper's ratio m:n (Eq. 4), as the product of both probabilities, or
each expression weighed by itself."""

Rule = Callable[..., np.ndarray]
"""Rows of voice and of face to fused ones, called as `ClassWise` is, and `mien.fusion.proportion`."""

STRENGTH = 100.0
"""How firmly weights are held to the ratio, in `fit_softmax`'s terms; biases a hundredth as firmly."""

LARGEST = 1e6
"""No number of a rule that was fitted comes near it; beyond it logarithms would overflow."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassWise:
    """The fitted rule, with a fallback of its own where one modality is missing."""

    voice: Float64[np.ndarray, " classes"]
    """m, where both are there."""
    face: Float64[np.ndarray, " classes"]
    """n."""
    bias: Float64[np.ndarray, " classes"]
    voice_alone: Float64[np.ndarray, " classes"]
    voice_alone_bias: Float64[np.ndarray, " classes"]
    face_alone: Float64[np.ndarray, " classes"]
    face_alone_bias: Float64[np.ndarray, " classes"]

    def __call__(
        self,
        voice: Float[np.ndarray, "rows classes"],
        face: Float[np.ndarray, "rows classes"],
        *,
        voice_present: Bool[np.ndarray, "rows"] | None = None,
        face_present: Bool[np.ndarray, "rows"] | None = None,
    ) -> Float64[np.ndarray, "rows classes"]:
        """Fused probabilities.

        Args:
            voice: P_a; rows where no voice is present may hold anything.
            face: P_v; rows where no face is present may hold anything.
            voice_present: None means everywhere.
            face_present: None means everywhere. Rows with neither come back as NaN.

        Raises:
            InputError: Shapes differ.
        """
        refuse_other_shapes(voice, face)
        heard = presence("voice_present", voice_present, voice.shape[:-1])
        seen = presence("face_present", face_present, face.shape[:-1])
        log_voice, log_face = _logs(voice, heard), _logs(face, seen)
        both = self.voice * log_voice + self.face * log_face + self.bias
        voice_only = self.voice_alone * log_voice + self.voice_alone_bias
        face_only = self.face_alone * log_face + self.face_alone_bias
        logits = np.where(heard[:, None], np.where(seen[:, None], both, voice_only), face_only)
        return np.where((heard | seen)[:, None], softmax(logits), np.nan)

    def as_dict(self, classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """The rule as JSON has it, by class."""
        return {
            name: {field.name: float(getattr(self, field.name)[k]) for field in fields(self)}
            for k, name in enumerate(classes)
        }


def find_rule(fusion: Fusion | None, weights: tuple[float, float], class_wise: ClassWise | None) -> Rule:
    """The way of fusing that is named, by default the proportion rule.

    Args:
        fusion: Its name.
        weights: m and n of the proportion rule.
        class_wise: The fitted rule, which must be there where it is named.
    """
    if fusion == "product":
        return product
    if fusion == "class_wise":
        assert class_wise is not None, "the settings ask for a rule that is not given"
        return class_wise
    return partial(proportion, voice_weight=weights[0], face_weight=weights[1])


def read_fusion(text: object) -> Fusion:
    """The way of fusing that is named.

    Raises:
        InputError: There is none of that name.
    """
    for name in get_args(Fusion):
        if text == name:
            found: Fusion = name
            return found
    raise InputError(f"fusion is {text!r:.60}; expected {' or '.join(get_args(Fusion))}")


def read_class_wise(told: Any, classes: tuple[str, ...], source: str) -> ClassWise:
    """The rule that `ClassWise.as_dict` has made plain.

    Args:
        told: As JSON gives it.
        classes: Names, in the order of the columns of probabilities.
        source: Where it stands, for messages.

    Raises:
        CheckpointError: It is not such a rule.
    """
    mend = "fit it again with `mien fit-fusion`"
    if not fits(told, dict[str, dict[str, float]]) or told.keys() != set(classes):
        raise CheckpointError(f"{source}: its class_wise is not of {', '.join(classes)}; {mend}")
    wanted = tuple(field.name for field in fields(ClassWise))
    for name, numbers in told.items():
        if numbers.keys() != set(wanted):
            raise CheckpointError(f"{source}: class_wise of {name} is not of {', '.join(wanted)}; {mend}")
        for key, number in numbers.items():
            if not abs(number) <= LARGEST:  # NaN is not
                raise CheckpointError(
                    f"{source}: {key} of {name} in class_wise is {number!r:.20}; expected a number between "
                    f"{-LARGEST:.0f} and {LARGEST:.0f}; {mend}"
                )
    return ClassWise(**{key: np.array([told[name][key] for name in classes], np.float64) for key in wanted})


def fit_class_wise(
    voice: Float[np.ndarray, "rows classes"],
    face: Float[np.ndarray, "rows classes"],
    targets: Float[np.ndarray, "rows classes"],
    ratio: tuple[float, float] = (1.0, 1.0),
    *,
    voice_present: Bool[np.ndarray, "rows"] | None = None,
    face_present: Bool[np.ndarray, "rows"] | None = None,
) -> ClassWise:
    """The rule that fits held-out probabilities best.

    Weights of both are fitted where both are there, the fallback of each wherever it is there. A class that
    no target names keeps the weights of the ratio, and a bias of 0: nothing is known of it.

    Args:
        voice: P_a of rows that the speech net was not trained on.
        face: P_v of the same rows, which the face net was not trained on.
        targets: A distribution over the classes in each row.
        ratio: m:n of the proportion rule, toward which the weights are drawn; they sum to 2 there.
        voice_present: As in `ClassWise`.
        face_present: As in `ClassWise`.

    Raises:
        InputError: Shapes differ.
        MetricError: There is no row with both.
    """
    refuse_other_shapes(voice, face)
    heard = presence("voice_present", voice_present, voice.shape[:-1])
    seen = presence("face_present", face_present, face.shape[:-1])
    m, n = (2 * weight / sum(ratio) for weight in ratio)
    log_voice, log_face = _logs(voice, heard), _logs(face, seen)
    there = heard & seen
    both = _fit((log_voice[there], log_face[there]), (m, n), targets[there])
    voice_alone = _fit((log_voice[heard],), (1.0,), targets[heard])
    face_alone = _fit((log_face[seen],), (1.0,), targets[seen])
    return ClassWise(
        voice=both[0],
        face=both[1],
        bias=both[2],
        voice_alone=voice_alone[0],
        voice_alone_bias=voice_alone[1],
        face_alone=face_alone[0],
        face_alone_bias=face_alone[1],
    )


def _fit(
    logs: tuple[Float[np.ndarray, "rows classes"], ...],
    weights: tuple[float, ...],
    targets: Float[np.ndarray, "rows classes"],
) -> Float64[np.ndarray, "terms classes"]:
    """A weight for each class of each modality, and a bias last."""
    n_classes = targets.shape[1]
    # Were a class without targets among those compared, the fit would learn never to name it. Biases are as
    # likely at any common height, so drawn toward 0 those of the others have the mean 0: its own.
    named = targets.any(axis=0)
    one = np.eye(n_classes)[named][:, named]
    terms = [each[:, named, None] * one for each in logs]
    design = np.concatenate([*terms, np.broadcast_to(one, (len(targets), *one.shape))], axis=2)
    prior = np.repeat([*weights, 0.0], len(one))
    strength = np.repeat([*[STRENGTH] * len(weights), STRENGTH / 100], len(one))
    fitted = np.repeat([[*weights, 0.0]], n_classes, axis=0).T
    fitted[:, named] = fit_softmax(design, targets[:, named], prior, strength).reshape(len(fitted), -1)
    return fitted


def _logs(
    probs: Float[np.ndarray, "rows classes"], present: Bool[np.ndarray, "rows"]
) -> Float64[np.ndarray, "rows classes"]:
    """Logarithms above the floor; 0 in rows that hold nothing."""
    return np.log(np.where(present[:, None], probs, 1.0) + FLOOR, dtype=np.float64)
