"""Claims of the paper, put to data in hand: so far the proportion rule, on votes of people (§4.4, Eq. 4).

CREMA-D's raters heard a clip, saw it, or both. Their vote shares stand for the networks' probabilities, so
that the rule is judged by itself, against what people make of voice and face together.

Everything that is fitted or chosen is fitted on four fifths of the actors and scored on the fifth that is
left, five times over. Where a rule is fitted on probabilities that were themselves fitted, those are
held-out ones, too, from four folds of the actors within.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.classwise import fit_class_wise
from mien.datasets.cremad import CLASSES, read_votes
from mien.errors import DatasetError
from mien.fusion import FLOOR, RATIOS, choose_ratio, product, proportion
from mien.metrics import bootstrap, confusion, macro_f1, paired_bootstrap
from mien.regression import fit_linear, softmax
from mien.whole import files_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jaxtyping import Float64, Int64

    from mien.datasets.cremad import Votes
    from mien.metrics import Interval
    from mien.spans import Hook

    Shares = Float64[np.ndarray, "rows 6"]

N_FOLDS = 5
N_INNER_FOLDS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One fold: rows to fit a rule on, and rows to score it on, of other actors."""

    scored: Int64[np.ndarray, " scored"]
    targets: Float64[np.ndarray, "fitted 6"]
    ratio: tuple[int, int]
    """The one of the 19 whose macro-F1 is highest on the rows to fit on."""
    fit_voice: Float64[np.ndarray, "fitted 6"]
    fit_face: Float64[np.ndarray, "fitted 6"]
    voice: Float64[np.ndarray, "scored 6"]
    face: Float64[np.ndarray, "scored 6"]


def fixed(m: int, n: int) -> Callable[[Part], Shares]:
    """The paper's rule with one ratio of voice to face."""
    return lambda part: proportion(part.voice, part.face, voice_weight=m, face_weight=n)


def learned(part: Part) -> Shares:
    """The paper's rule with the share of the voice, in hundredths, that makes the labels likeliest."""
    right = part.targets.astype(bool)
    voice, face = part.fit_voice[right], part.fit_face[right]
    shares = np.arange(101) / 100
    likelihood = [np.log(share * voice + (1 - share) * face + FLOOR).sum() for share in shares]
    share = float(shares[int(np.argmax(likelihood))])
    return proportion(part.voice, part.face, voice_weight=share, face_weight=1 - share)


def biased(part: Part) -> Shares:
    """The paper's rule with the chosen ratio, and one bias a class."""
    m, n = part.ratio
    fused = [
        np.log(proportion(voice, face, voice_weight=m, face_weight=n) + FLOOR)
        for voice, face in ((part.fit_voice, part.fit_face), (part.voice, part.face))
    ]
    bias = np.zeros(part.targets.shape[1])
    for _ in range(200):  # the classes' shares as the labels have them: the best biases, by fixed point
        bias += np.log(part.targets.mean(0) / softmax(fused[0] + bias).mean(0))
    return softmax(fused[1] + bias)


RULES: dict[str, Callable[[Part], Shares]] = {
    "voice": lambda part: part.voice,
    "face": lambda part: part.face,
    **{f"ratio_{m}_{n}": fixed(m, n) for m, n in RATIOS},
    "ratio_chosen": lambda part: fixed(*part.ratio)(part),
    "learned": learned,
    "ratio_and_class_bias": biased,
    "product": lambda part: product(part.voice, part.face),
    "class_wise": lambda part: fit_class_wise(part.fit_voice, part.fit_face, part.targets, part.ratio)(
        part.voice, part.face
    ),
}
"""By name: ways from voice and face to fused probabilities."""

CONTRASTS = (
    ("ratio_chosen", "face"),
    ("class_wise", "ratio_chosen"),
    ("class_wise", "ratio_and_class_bias"),
    ("class_wise", "product"),
    ("humans", "class_wise"),
)
"""Pairs of recalibrated rules whose difference is told with its interval."""


def reproduce_fusion(folder: Path, out: Path | None, hook: Hook) -> list[str]:
    """Judges the rules on CREMA-D's votes.

    Args:
        folder: Holds CREMA-D's vote tables.
        out: Folder for `fusion.json`, which gives each rule its macro-F1, and `fusion.csv`, with intervals;
            None writes neither.
        hook: Called with what is done, how far, and how much there is.

    Returns:
        Lines that say the figures.

    Raises:
        DatasetError: The tables are absent or not of their form.
    """
    votes = read_votes(folder)
    refuse_too_few(votes)
    said = judge(votes, hook)
    scores = {
        name: bootstrap(macro_f1, votes.labels, names, CLASSES, votes.actors) for name, names in said.items()
    }
    gains = {
        (ours, theirs): paired_bootstrap(
            macro_f1, votes.labels, said[_key(ours)], said[_key(theirs)], CLASSES, votes.actors
        )
        for ours, theirs in CONTRASTS
    }
    if out is not None:
        flat = {name: interval.value for name, interval in scores.items()}
        with files_aside(out, ()) as aside:
            (aside / "fusion.json").write_text(json.dumps(flat, indent=1) + "\n", encoding="utf-8")
            (aside / "fusion.csv").write_text(_table(scores, gains), encoding="utf-8")
    return _lines(scores, gains, len(votes.clips), len(set(votes.actors)))


def refuse_too_few(votes: Votes) -> None:
    """Checks that each expression is there in whatever part of the actors is fitted to.

    Raises:
        DatasetError: It is not.
    """
    folds, labels = fold_of(votes.actors, N_FOLDS), np.array(votes.labels)
    for fold in range(N_FOLDS):
        fitted = np.flatnonzero(folds != fold)
        inner = fold_of([votes.actors[i] for i in fitted], N_INNER_FOLDS)
        for part in range(N_INNER_FOLDS):
            lacking = set(CLASSES) - set(labels[fitted[inner != part]].tolist())
            if lacking:
                raise DatasetError(
                    f"{len(set(votes.actors))} actors are too few: without some of them nobody acts "
                    f"{', '.join(sorted(lacking))}; give CREMA-D's whole table"
                )


def judge(votes: Votes, hook: Hook) -> dict[str, list[str]]:
    """What each rule, raw and recalibrated, says of every clip, by an actor-disjoint fold.

    Recalibrated: each rule's voice and face have first been through a softmax regression of their own.
    """
    said: dict[str, Shares] = {}
    folds = fold_of(votes.actors, N_FOLDS)
    for name, inputs in (("raw", raw_part), ("recalibrated", recalibrated_part)):
        for fold in range(N_FOLDS):
            part = inputs(votes, folds, fold)
            for rule, fuse in RULES.items():
                whole = said.setdefault(_key(rule, name), np.full(votes.face.shape, np.nan))
                whole[part.scored] = fuse(part)
            hook(f"{name} votes", fold + 1, N_FOLDS)
    targets = one_hot(votes.labels)
    said["raw_humans"] = votes.both
    said["recalibrated_humans"] = held_out(votes.both, targets, folds)
    said["recalibrated_both_vectors"] = held_out(np.hstack([votes.voice, votes.face]), targets, folds)
    return {name: [CLASSES[k] for k in probs.argmax(1)] for name, probs in said.items()}


def raw_part(votes: Votes, folds: Int64[np.ndarray, " rows"], fold: int) -> Part:
    """A fold with shares of votes as they are."""
    return _part(votes, folds, fold, votes.voice, votes.face, votes.voice, votes.face)


def recalibrated_part(votes: Votes, folds: Int64[np.ndarray, " rows"], fold: int) -> Part:
    """A fold with both modalities recalibrated on its rows to fit on; those rows' own values are held-out."""
    targets = one_hot(votes.labels)
    fitted = np.flatnonzero(folds != fold)
    inner = fold_of([votes.actors[i] for i in fitted], N_INNER_FOLDS)
    within, outside = [], []
    for shares in (votes.voice, votes.face):
        fit = np.full(shares.shape, np.nan)
        fit[fitted] = held_out(shares[fitted], targets[fitted], inner)
        within.append(fit)
        outside.append(fit_linear(shares[fitted], targets[fitted])(shares))
    return _part(votes, folds, fold, within[0], within[1], outside[0], outside[1])


def _part(
    votes: Votes,
    folds: Int64[np.ndarray, " rows"],
    fold: int,
    fit_voice: Shares,
    fit_face: Shares,
    voice: Shares,
    face: Shares,
) -> Part:
    fitted, scored = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    labels = tuple(votes.labels[i] for i in fitted)
    return Part(
        scored=scored,
        targets=one_hot(labels),
        ratio=choose_ratio(fit_voice[fitted], fit_face[fitted], labels, _macro_f1),
        fit_voice=fit_voice[fitted],
        fit_face=fit_face[fitted],
        voice=voice[scored],
        face=face[scored],
    )


def fold_of(actors: Sequence[str], n_folds: int) -> Int64[np.ndarray, " rows"]:
    """The fold of each row: actors are dealt out in the order of their names.

    >>> fold_of(["b", "a", "c", "a"], 2).tolist()
    [1, 0, 0, 0]
    """
    order = {actor: number % n_folds for number, actor in enumerate(sorted(set(actors)))}
    return np.array([order[actor] for actor in actors], dtype=np.int64)


def held_out(
    features: Float64[np.ndarray, "rows features"], targets: Shares, folds: Int64[np.ndarray, " rows"]
) -> Shares:
    """Probabilities of each row by a softmax regression on the rows of all other folds."""
    probs = np.full(targets.shape, np.nan)
    for fold in np.unique(folds):
        others = folds != fold
        probs[~others] = fit_linear(features[others], targets[others])(features[~others])
    return probs


def one_hot(labels: Sequence[str]) -> Shares:
    """A row for each label, 1 in its column of `CLASSES`."""
    return np.eye(len(CLASSES))[[CLASSES.index(label) for label in labels]]


def _macro_f1(labels: Sequence[str | None], probs: Shares) -> float:
    return float(macro_f1(confusion(labels, [CLASSES[k] for k in probs.argmax(1)], CLASSES)))


def _key(rule: str, inputs: str = "recalibrated") -> str:
    """Under what name a rule is reported; `class_wise` is the recalibrated one."""
    return rule if (rule, inputs) == ("class_wise", "recalibrated") else f"{inputs}_{rule}"


def _lines(
    scores: dict[str, Interval], gains: dict[tuple[str, str], Interval], n_clips: int, n_actors: int
) -> list[str]:
    rules = [*RULES, "both_vectors", "humans"]
    told = []
    for rule in rules:
        cells = [scores.get(_key(rule, inputs)) for inputs in ("raw", "recalibrated")]
        told.append(
            f"  {rule:22}" + "".join(f"{f'{cell:.3f}' if cell else '':24}" for cell in cells).rstrip()
        )
    return [
        f"macro-F1 of six expressions, {n_clips} clips, {n_actors} actors; 95 % intervals resample actors",
        f"  {'':22}{'raw':24}recalibrated",
        *told,
        "differences, recalibrated:",
        *(f"  {ours} - {theirs}: {gain:+.3f}" for (ours, theirs), gain in gains.items()),
        f"The best raw ratio, {_highest(scores)}, is chosen in-sample; ratio_chosen outside the fold.",
    ]


def _highest(scores: dict[str, Interval]) -> str:
    m, n = max(RATIOS, key=lambda ratio: scores[f"raw_ratio_{ratio[0]}_{ratio[1]}"].value)
    return f"{m}:{n}"


def _table(scores: dict[str, Interval], gains: dict[tuple[str, str], Interval]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "macro_f1", "low", "high"])
    differences = {f"{ours} - {theirs}": gain for (ours, theirs), gain in gains.items()}
    for name, interval in (scores | differences).items():
        writer.writerow(
            [name, *(f"{x:.5f}" for x in (interval.value, interval.low, interval.high) if x is not None)]
        )
    return text.getvalue()
