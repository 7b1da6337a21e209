"""Held-out predictions of a model in, a copy of the model with fitted fusion out, and what that gains.

Two rules are fitted: the paper's ratio m:n (Eq. 4), the one of the 19 with the highest macro-F1, and the
class-wise rule, which is drawn toward that ratio. What each gains is told of speakers it was not fitted to:
everything that is fitted or chosen is fitted on four fifths of them and scored on the others, five times
over. The model then gets what is fitted to all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.classwise import ClassWise, fit_class_wise
from mien.engine import refuse_altered
from mien.errors import CheckpointError, InputError, MetricError
from mien.expressions import EXPRESSIONS, position
from mien.fusion import choose_ratio, proportion
from mien.heldout import read_held_out
from mien.metrics import bootstrap, confusion, macro_f1, paired_bootstrap
from mien.predictor import load_model, write_manifest
from mien.whole import folder_aside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float64, Int64

    from mien.heldout import HeldOut
    from mien.metrics import Interval
    from mien.predictor import ModelInfo
    from mien.spans import Hook

N_FOLDS = 5
"""Of speakers; there must be as many of them."""

FEWEST_ROWS = 100
"""With face and voice. The pull toward the ratio weighs as much as these (`mien.classwise.STRENGTH`)."""

MEASURED_AT = ", voice : face = "
"""Stands in the name of a figure that was measured with another ratio than the model now has."""

WAYS = {
    "face": "face",
    "voice": "voice",
    "as_it_was": "the model's own rule",
    "ratio": "ratio chosen",
    "recalibrated": "ratio chosen, both recalibrated",
    "class_wise": "class-wise",
}
"""What is scored where face and voice are there. Recalibrated: by the class-wise rule's fit to each alone."""

CONTRASTS = (("ratio", "as_it_was"), ("class_wise", "ratio"), ("class_wise", "recalibrated"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The two rules."""

    ratio: tuple[int, int]
    """m:n, voice to face."""
    class_wise: ClassWise


def fit_fusion(tables: Sequence[Path], model: str, out: Path, *, hook: Hook) -> list[str]:
    """Writes a copy of a model whose manifest holds the ratio and the class-wise rule fitted to predictions.

    Args:
        tables: `predictions.csv` of this model, as `mien evaluate` wrote it of videos with sound.
        model: A shipped model's name, or a model folder.
        out: The folder to write, which must not be there; its name becomes the model's.
        hook: Called with what is done, how far, and how much there is.

    Returns:
        Lines that say what was fitted and what it gains.

    Raises:
        InputError: There is no such model, `out` is there, or a table is not one of the model's on rows that
            it was not trained on.
        MetricError: There are too few rows or speakers with face and voice.
        CheckpointError: The model has no speech network, or its files are not what its manifest says.
    """
    out = out.resolve()
    if out.exists():
        raise InputError(f"{out} is there; name a folder that is not there yet")
    info = load_model(model)
    held = read_held_out(tables, info)
    refuse_few(held)
    said = cross_validate(held, info, hook)
    fitted = fit(held)
    hook("fitting fusion", N_FOLDS + 1, N_FOLDS + 1)
    there = held.heard & held.seen
    scores = {way: _score(held, said[way], there) for way in WAYS}
    gains = {(ours, theirs): _gain(held, said[ours], said[theirs], there) for ours, theirs in CONTRASTS}
    m, n = fitted.ratio
    figure = (
        f"macro-F1 {scores['ratio'].value:.3f} by {m}:{n}, {scores['class_wise'].value:.3f} class-wise, "
        f"difference {gains['class_wise', 'ratio']:+.3f}; by speakers it was not fitted to"
    )
    figures = _told_apart(info, fitted) | {f"fusion fitted on {held.name}": figure}
    copy_model(info, fitted, figures, out)
    return [
        *held.remarks,
        *_tell_scores(held, said, scores, gains),
        *_tell_rule(held, fitted),
        f"{out}: the model with voice : face = {m} : {n}; --fusion class_wise takes the other rule",
        "its scores on these rows are no longer held-out ones",
    ]


def refuse_few(held: HeldOut) -> None:
    """Refuses what is too little to fit fusion to.

    Raises:
        MetricError: Rows with face and voice are too few, of too few speakers, or all of one expression.
    """
    both = held.part(held.heard & held.seen)
    n_rows, n_groups = len(both.labels), len(set(both.groups))
    if n_rows < FEWEST_ROWS or n_groups < N_FOLDS:
        raise MetricError(
            f"{n_rows} rows of {n_groups} speakers have face and voice; expected {FEWEST_ROWS} rows of "
            f"{N_FOLDS} speakers at least: evaluate on more"
        )
    if len(set(both.labels)) == 1:
        raise MetricError(f"all rows are labelled {both.labels[0]}; expected several expressions")


def fit(held: HeldOut) -> Fitted:
    """Both rules, on all rows."""
    both = held.part(held.heard & held.seen)
    ratio = choose_ratio(both.voice, both.face, both.labels, _macro_f1)
    targets = np.eye(len(EXPRESSIONS))[[position(label) for label in held.labels]]
    rule = fit_class_wise(
        held.voice, held.face, targets, ratio, voice_present=held.heard, face_present=held.seen
    )
    return Fitted(ratio=ratio, class_wise=rule)


def cross_validate(held: HeldOut, model: ModelInfo, hook: Hook) -> dict[str, Float64[np.ndarray, "rows 8"]]:
    """What each way says of every row, fitted to other speakers than the row's.

    Besides `WAYS`, what is fitted to the face and the voice alone: `face_alone`, `voice_alone`.
    """
    fold_of = deal(held.groups, held.heard & held.seen)
    said = {
        "face": held.face,
        "voice": held.voice,
        "as_it_was": np.array(model.rule()(held.voice, held.face)),
        **{way: np.full(held.face.shape, np.nan) for way in ("ratio", "recalibrated", "class_wise")},
        **{way: np.full(held.face.shape, np.nan) for way in ("face_alone", "voice_alone")},
    }
    for fold in range(N_FOLDS):
        inside = fold_of == fold
        others, scored = held.part(~inside), held.part(inside)
        fitted = fit(others)
        voice_alone, face_alone = _alone(others, fitted.class_wise)
        there = others.heard & others.seen
        labels = others.part(there).labels
        second = choose_ratio(voice_alone[there], face_alone[there], labels, _macro_f1)
        voice_alone, face_alone = _alone(scored, fitted.class_wise)
        said["voice_alone"][inside], said["face_alone"][inside] = voice_alone, face_alone
        said["ratio"][inside] = _by_ratio(scored.voice, scored.face, fitted.ratio)
        said["recalibrated"][inside] = _by_ratio(voice_alone, face_alone, second)
        said["class_wise"][inside] = fitted.class_wise(
            scored.voice, scored.face, voice_present=scored.heard, face_present=scored.seen
        )
        hook("fitting fusion", fold + 1, N_FOLDS + 1)
    return said


def deal(groups: Sequence[str], counted: Bool[np.ndarray, "rows"]) -> Int64[np.ndarray, "rows"]:
    """The fold of each row: speakers whole, folds as equal in rows that count as can be.

    Args:
        groups: The speaker of each row.
        counted: Which rows count.

    >>> deal(["b", "b", "a", "c", "d", "e", "e", "f"], np.array([True] * 7 + [False])).tolist()
    [0, 0, 2, 3, 4, 1, 1, 2]
    """
    sizes = dict.fromkeys(sorted(groups), 0)
    for group, counts in zip(groups, counted.tolist(), strict=True):
        sizes[group] += counts
    filled, fold_of = [0] * N_FOLDS, {}
    for group in sorted(sizes, key=lambda group: (-sizes[group], group)):
        fold_of[group] = filled.index(min(filled))
        filled[fold_of[group]] += sizes[group]
    return np.array([fold_of[group] for group in groups], np.int64)


def copy_model(info: ModelInfo, fitted: Fitted, figures: dict[str, str], out: Path) -> None:
    """Writes a model's files, each as its manifest has it, under a new manifest.

    Raises:
        CheckpointError: A file is absent or altered.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with folder_aside(out) as aside:
        made = aside / "made"
        made.mkdir()
        for name, sha256 in info.sha256.items():
            if not info.path(name).is_file():
                raise CheckpointError(f"model {info.name} lacks {name}; export it again, or reinstall mien")
            content = info.path(name).read_bytes()
            refuse_altered(content, sha256, told=f"{name} of model {info.name} has", mend="; export it again")
            (made / name).write_bytes(content)
        m, n = fitted.ratio
        write_manifest(
            replace(
                info,
                name=out.name,
                folder=made,
                voice_weight=float(m),
                face_weight=float(n),
                figures=figures,
                fusion="proportion",
                class_wise=fitted.class_wise,
                voice_of=None,
            )
        )
        made.rename(out)


def _told_apart(info: ModelInfo, fitted: Fitted) -> dict[str, str]:
    """The figures that the model had; with the ratio they were measured at, where that is another one now."""
    m, n = fitted.ratio
    if info.voice_weight * n == info.face_weight * m:
        return info.figures
    measured_at = f"{MEASURED_AT}{info.voice_weight:g} : {info.face_weight:g}"
    return {
        name if MEASURED_AT in name else f"{name}{measured_at}": each for name, each in info.figures.items()
    }


def _alone(
    held: HeldOut, rule: ClassWise
) -> tuple[Float64[np.ndarray, "rows 8"], Float64[np.ndarray, "rows 8"]]:
    """What the rule makes of the voice alone and of the face alone."""
    no = np.zeros(len(held.labels), np.bool_)
    return (
        rule(held.voice, held.face, voice_present=held.heard, face_present=no),
        rule(held.voice, held.face, voice_present=no, face_present=held.seen),
    )


def _by_ratio(
    voice: Float64[np.ndarray, "rows 8"], face: Float64[np.ndarray, "rows 8"], ratio: tuple[int, int]
) -> Float64[np.ndarray, "rows 8"]:
    return np.asarray(proportion(voice, face, voice_weight=ratio[0], face_weight=ratio[1]))


def _names(probs: Float64[np.ndarray, "rows 8"]) -> list[str]:
    return [EXPRESSIONS[k] for k in probs.argmax(axis=1).tolist()]


def _among(labels: Sequence[str | None]) -> list[int]:
    """The columns that macro-F1 is the mean over: of expressions that a row is labelled as."""
    return [k for k, name in enumerate(EXPRESSIONS) if name in labels]


def _macro_f1(labels: Sequence[str | None], probs: Float64[np.ndarray, "rows 8"]) -> float:
    return float(macro_f1(confusion(labels, _names(probs), EXPRESSIONS), _among(labels)))


def _score(held: HeldOut, probs: Float64[np.ndarray, "rows 8"], there: Bool[np.ndarray, "rows"]) -> Interval:
    """Macro-F1 over some rows, its interval by speakers."""
    part = held.part(there)
    score = partial(macro_f1, among=_among(part.labels))
    return bootstrap(score, part.labels, _names(probs[there]), EXPRESSIONS, part.groups)


def _gain(
    held: HeldOut,
    ours: Float64[np.ndarray, "rows 8"],
    theirs: Float64[np.ndarray, "rows 8"],
    there: Bool[np.ndarray, "rows"],
) -> Interval:
    part = held.part(there)
    score = partial(macro_f1, among=_among(part.labels))
    return paired_bootstrap(
        score, part.labels, _names(ours[there]), _names(theirs[there]), EXPRESSIONS, part.groups
    )


def _tell_scores(
    held: HeldOut,
    said: dict[str, Float64[np.ndarray, "rows 8"]],
    scores: dict[str, Interval],
    gains: dict[tuple[str, str], Interval],
) -> list[str]:
    both = held.part(held.heard & held.seen)
    n_classes = len(_among(both.labels))
    lines = [
        f"{held.name}: {len(both.labels)} rows of {len(set(both.groups))} speakers or files, face and voice",
        f"macro-F1 of {n_classes} expressions on speakers not fitted to; 95 % intervals resample speakers",
        *(f"  {WAYS[way]:32}{score:.3f}" for way, score in scores.items()),
        *(f"  {WAYS[ours]} - {WAYS[theirs]}: {gain:+.3f}" for (ours, theirs), gain in gains.items()),
        "where one is there, as it is and as class-wise fusion then has it",
    ]
    for source, there in (("face", held.seen), ("voice", held.heard)):
        before, after = (_score(held, said[way], there) for way in (source, f"{source}_alone"))
        lines.append(f"  {source}, {there.sum()} rows: {before:.3f} and {after:.3f}")
    whole, weights = (_verdict(gains["class_wise", other]) for other in ("ratio", "recalibrated"))
    return [
        *lines,
        f"class-wise fusion against the ratio: {whole}; its weights alone, all recalibrated: {weights}",
    ]


def _verdict(gain: Interval) -> str:
    if gain.low is None or gain.high is None or gain.low <= 0 <= gain.high:
        return "no gain shown, its interval holds 0"
    return "a gain" if gain.low > 0 else "a loss"


def _tell_rule(held: HeldOut, fitted: Fitted) -> list[str]:
    both, rule = held.part(held.heard & held.seen), fitted.class_wise
    named = _among(both.labels)
    absent = [name for k, name in enumerate(EXPRESSIONS) if k not in named]
    lines = [
        "fitted to all rows:",
        f"  {'':10} voice   face   bias",
        *(
            f"  {EXPRESSIONS[k]:10}{rule.voice[k]:6.2f} {rule.face[k]:6.2f} {rule.bias[k]:+6.2f}"
            for k in named
        ),
    ]
    if absent:
        lines.append(f"no row is labelled {', '.join(absent)}: class-wise weights stay at the ratio there")
    return lines
