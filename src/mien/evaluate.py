"""A model and labelled data in, figures, predictions and pictures out.

Raw and post-processed always stand side by side. Where a row is one reading, as a still, a face crop or a
sound clip is, they are the same numbers, and one line says so. Of a stretch of video and of Aff-Wild2's
frames `mien.scoring` and `mien.framewise` say what is averaged.

**A row in which nothing was found**, or that cannot be read, stays in `predictions.csv` with an empty
prediction and a note. It counts as wrong: who leaves out what the detector misses measures another, easier
corpus. Beside each view with such rows stands the same view over the rows with a prediction alone.

**Classes that the data lack** are left out of the mean that macro-F1 is, and named; they can still be
predicted, which is wrong. Views whose protocol names eight classes average all eight, and say so.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DatasetError, InputError, MissingExtraError
from mien.expressions import EXPRESSIONS, position
from mien.framewise import rate_affwild2
from mien.metrics import score
from mien.predictor import load_model
from mien.samples import is_affwild2, read_samples, refuse_split
from mien.scoresheet import PICTURES, Figures, as_dict, count_notes, draw, group_table, table, tell
from mien.scoring import Predictions, Rater, found_in, rate_samples, stack
from mien.whole import files_aside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Bool, Float32

    from mien.classwise import Fusion
    from mien.metrics import Scores
    from mien.samples import Samples, Source, View
    from mien.scoring import Answer
    from mien.spans import Hook

MODALITIES: tuple[Source, ...] = ("face", "voice")


def evaluate(
    model: str,
    data: Path,
    out: Path,
    *,
    split: str,
    hook: Hook,
    crops: bool = False,
    fusion: Fusion | None = None,
    seed: int = 0,
) -> list[str]:
    """Scores a model; writes `metrics.json`, `predictions.csv`, tables and pictures into `out`.

    `per_video.csv` is left out where rows are pictures, `per_speaker.csv` where nobody says who speaks,
    pictures where matplotlib is not installed.

    Args:
        model: A shipped model's name, or a model folder.
        data: Folder of a corpus, recognised by what lies in it, or a CSV table of one's own.
        out: Made if absent.
        split: Which part of the data is scored.
        hook: Called with what is done, how far, and how much there is.
        crops: Pictures are face crops already, and no face is looked for in them.
        fusion: Which rule fuses face and voice; None: the model's own.
        seed: Of the dealing of what has no `choose` of its own, as `mien prepare` was given it.

    Returns:
        Lines that say the figures.

    Raises:
        DatasetError: It is no known corpus, has nothing in this split, or nothing in it was found.
        CheckpointError: The model lacks a network that the data need.
        InputError: There is no such model, or `out` is a file.
        MissingExtraError: FER+ needs [table].
    """
    refuse_file(out)
    predictions = predict_corpus(model, data, split, hook, crops=crops, fusion=fusion, seed=seed)
    info = load_model(model)
    return write_figures(predictions, info.name, info.sha256, split, out)


def refuse_file(out: Path) -> None:
    """Refuses a file where the folder for the figures is to be, before any work.

    Raises:
        InputError: It is one.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder for the figures")


def write_figures(
    predictions: Predictions, name: str, sha256: dict[str, str], split: str, out: Path
) -> list[str]:
    """Scores predictions and writes what `evaluate` writes.

    Args:
        predictions: Of one split of one corpus.
        name: The model's.
        sha256: Checksums of the model's files.
        split: Which it is.
        out: Made if absent.

    Returns:
        Lines that say the figures.
    """
    figures = score_views(predictions)
    told: dict[str, Any] = {
        "model": name,
        "weights_sha256": sha256,
        "corpus": predictions.corpus,
        "split": split,
        "rows": len(predictions.labels),
        "not_found": count_notes(predictions.notes),
        "remarks": list(predictions.remarks),
        "post_processed": predictions.post is not predictions.raw,
        "views": {each.view.name: as_dict(each) for each in figures},
    }
    texts = {"metrics.json": json.dumps(told, indent=1) + "\n", "predictions.csv": table(predictions)}
    speakers = predictions.groups if predictions.group_word == "speakers" else None
    for word, groups in {"video": predictions.videos, "speaker": speakers}.items():
        if groups is not None:
            texts[f"per_{word}.csv"] = group_table(predictions, word, groups)
    lines = tell(predictions, split, figures)
    # What an earlier evaluation left may be of views that this one does not have.
    with files_aside(out, ["per_*.csv", *(f"{kind}-*.png" for kind in PICTURES)]) as aside:
        for file_name, text in texts.items():
            (aside / file_name).write_text(text, encoding="utf-8")
        try:
            for each in (each for each in figures if not each.view.is_part):
                draw(each, aside, f"{name} on {predictions.corpus} {split}, {each.view.name}")
        except MissingExtraError as error:
            lines.append(f"no pictures: {error}")
    return lines


def predict_corpus(
    model: str,
    data: Path,
    split: str,
    hook: Hook,
    *,
    crops: bool = False,
    fusion: Fusion | None = None,
    seed: int = 0,
) -> Predictions:
    """Labels and probabilities of one split; arguments and errors are those of `evaluate`."""
    refuse_split(split)
    rater = Rater(load_model(model), crops=crops, fusion=fusion)
    if is_affwild2(data):
        return rate_affwild2(rater, data, split, hook, seed)
    samples = read_samples(data, split, seed)
    answers = rate_samples(rater, samples.samples, hook)
    if not any(answer.raw for answer in answers):
        notes = ", ".join(f"{note}: {n}" for note, n in count_notes(each.note for each in answers).items())
        raise DatasetError(
            f"{samples.corpus}: nothing was found in any of {len(answers)} rows ({notes}); "
            "give data with faces or voices, or say --crops where pictures are face crops"
        )
    return _gather(samples, answers)


def score_views(predictions: Predictions) -> list[Figures]:
    """Every view that has rows, scored; where there are face and voice, also each by itself.

    Each by itself is scored on the rows that have a picture, or sound, whoever is found there.
    """
    views = list(predictions.views)
    if "face" in predictions.raw:
        first = replace(predictions.views[0], classes=EXPRESSIONS)
        for source in MODALITIES:
            asked = predictions.asked.get(source)
            views.append(replace(first, name=f"{source} only", source=source, rows=asked))
    figures = []
    for view in views:
        rows = np.array([label in view.classes for label in predictions.labels])
        if view.rows is not None:
            rows &= view.rows
        found = found_in(predictions.raw[view.source]) & found_in(predictions.post[view.source])
        if (rows & found).any():
            figures.append(_score(predictions, view, rows))
            if not found[rows].all():
                alone = replace(view, name=f"{view.name}, found only", is_part=True)
                figures.append(_score(predictions, alone, rows & found))
    return figures


def _gather(samples: Samples, answers: Sequence[Answer]) -> Predictions:
    raw = stack([answer.raw for answer in answers])
    same = all(answer.raw is answer.post or not (answer.raw or answer.post) for answer in answers)
    of_clips = samples.groups in ("speakers", "files")
    n_cut = sum(answer.is_cut for answer in answers)
    cut = (f"{samples.corpus}: rows that end after their files, scored to there: {n_cut}",) if n_cut else ()
    return Predictions(
        corpus=samples.corpus,
        names=tuple(sample.name for sample in samples.samples),
        spans=tuple(sample.span for sample in samples.samples) if of_clips else None,
        labels=tuple(sample.label for sample in samples.samples),
        groups=tuple(sample.group for sample in samples.samples) if samples.groups else None,
        group_word=samples.groups or "rows",
        videos=tuple(sample.name for sample in samples.samples) if of_clips else None,
        notes=tuple(answer.note for answer in answers),
        raw=raw,
        post=raw if same else stack([answer.post for answer in answers]),
        asked={
            source: np.array([source in answer.asked for answer in answers])
            for source in raw
            if source != "fused"
        },
        views=samples.views,
        remarks=(*samples.remarks, *cut),
    )


def _score(predictions: Predictions, view: View, rows: Bool[np.ndarray, "rows"]) -> Figures:
    at = np.flatnonzero(rows).tolist()
    labels = [predictions.labels[i] for i in at]
    groups = None if predictions.groups is None else [predictions.groups[i] for i in at]
    averaged = tuple(name for name in view.classes if view.averages_all or name in labels)

    def scored(probs: Float32[np.ndarray, "rows 8"]) -> Scores:
        here = found_in(probs)
        return score(
            labels,
            _among(probs, view.classes),
            view.classes,
            groups,
            averaged=averaged,
            found=None if here.all() else here,
        )

    raw = scored(predictions.raw[view.source][at])
    same = predictions.post is predictions.raw
    return Figures(view, raw, raw if same else scored(predictions.post[view.source][at]))


def _among(
    probs: Float32[np.ndarray, "rows 8"], classes: tuple[str, ...]
) -> Float32[np.ndarray, "rows classes"]:
    """The columns of some classes, renormalised."""
    chosen = probs[:, [position(name) for name in classes]]
    return np.asarray(chosen / chosen.sum(1, keepdims=True))
