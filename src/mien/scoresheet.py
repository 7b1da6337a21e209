"""Predictions and their scores in; text, tables and pictures of them out."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.expressions import EXPRESSIONS, position
from mien.metrics import QUADRANT_NAMES, accuracy, macro_f1
from mien.pictures import draw_abstention, draw_confusions, draw_reliabilities
from mien.scoring import found_in
from mien.timeline import TimelineSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from jaxtyping import Float32, Int64

    from mien.metrics import Scores
    from mien.samples import View
    from mien.scoring import Predictions
    from mien.spans import Span


PICTURES = ("abstention", "confusion", "quadrants", "reliability")
"""What the names of the pictures of a view begin with."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One view, scored."""

    view: View
    raw: Scores
    post: Scores
    """`raw` itself where each row is one reading."""

    @property
    def lacking(self) -> list[str]:
        """The classes that no row is labelled as."""
        return [name for name in self.raw.classes if not self.raw.per_class[name].support]


def as_dict(figures: Figures) -> dict[str, Any]:
    """The raw figures, and the others under `post`."""
    return {**figures.raw.as_dict(), "lacking": figures.lacking, "post": figures.post.as_dict()}


def count_notes(notes: Iterable[str]) -> dict[str, int]:
    """How often each note is there, by what stands before its colon.

    >>> count_notes(["", "no face", "cannot be read: it is empty", "cannot be read: ends at 2 s"])
    {'no face': 1, 'cannot be read': 2}
    """
    return dict(Counter(note.partition(":")[0] for note in notes if note))


def tell(predictions: Predictions, split: str, figures: Sequence[Figures]) -> list[str]:
    """Lines that say the figures, after what was left out or not found."""
    lines = list(predictions.remarks)
    lines += [
        f"{predictions.corpus}: {n} without a prediction, which counts as wrong: {why}"
        for why, n in count_notes(predictions.notes).items()
    ]
    if predictions.post is predictions.raw:
        lines.append("each row is one reading: raw and post-processed are the same figures")
    for each in figures:
        lines += _lines_of(f"{predictions.corpus} {split}, {each.view.name}", predictions.group_word, each)
    return lines


def _lines_of(where: str, group_word: str, figures: Figures) -> list[str]:
    raw, post = figures.raw, figures.post
    groups = "" if raw.n_groups is None else f" of {raw.n_groups} {group_word}"
    lines = [f"{where}: {raw.n} rows{groups}"]
    if figures.lacking:
        counts = "adds 0 to macro-F1" if figures.view.averages_all else "left out of the mean of macro-F1"
        lines.append(f"  no row is labelled {', '.join(figures.lacking)}: {counts}")
    if raw.missed or post.missed:
        lines.append(
            f"  without a prediction: raw {sum(raw.missed.values())}, post {sum(post.missed.values())}"
        )
    both = {"": raw} if post is raw else {"raw   ": raw, "post  ": post}
    lines += [
        f"  {kind}accuracy {each.accuracy}  macro-F1 {each.macro_f1}  UAR {each.uar}"
        f"  ECE {each.ece:.3f} ({each.ece_by_chance:.3f} by chance alone)"
        for kind, each in both.items()
    ]
    lines += [
        f"  {kind}sure enough ({left.threshold:g} or more): {left.coverage:.1%} of the rows;"
        f" {1 - left.risk:.3f} of these are right"
        for kind, each in both.items()
        for left in each.abstention
        if left.threshold == TimelineSettings().low_confidence
    ]
    if figures.view.is_part:
        return lines
    names = {"F1": "f1", "recall": "recall", "precision": "precision"}
    columns = [(title, raw, key) for title, key in names.items()]
    if post is not raw:
        columns = [("F1 raw", raw, "f1"), ("F1 post", post, "f1"), ("recall post", post, "recall")]
    lines.append(f"  {'':10} " + "  ".join(f"{title:18}" for title, _, _ in columns) + f"  {'rows':>6}")
    n_predicted = (raw.confusion + post.confusion).sum(axis=0).tolist()
    for (name, one), n in zip(raw.per_class.items(), n_predicted, strict=True):
        if name not in raw.averaged and not n:
            continue
        cells = (f"{getattr(scores.per_class[name], key):.2f}" for _, scores, key in columns)
        lines.append(f"  {name:10} " + "  ".join(f"{cell:18}" for cell in cells) + f"  {one.support:6}")
    return lines


def table(predictions: Predictions) -> str:
    """A row for each row: probabilities before and after post-processing where these differ."""
    kinds: dict[str, Float32[np.ndarray, "rows 8"]] = {}
    for source, probs in predictions.raw.items():
        prefix = "" if source == "fused" else f"{source}_"
        kinds[prefix or "p_"] = probs
        if predictions.post is not predictions.raw:
            kinds[f"{prefix}post_"] = predictions.post[source]
    guesses = {"predicted": predictions.raw["fused"]}
    if predictions.post is not predictions.raw:
        guesses["predicted_post"] = predictions.post["fused"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = ["start_s", "end_s"] if predictions.spans else []
    head = ["name", *bounds, "group", "label", *guesses, "note"]
    writer.writerow([*head, *(f"{kind}{name}" for kind in kinds for name in EXPRESSIONS)])
    for i, name in enumerate(predictions.names):
        span = [_seconds(predictions.spans[i])] if predictions.spans else []
        group = predictions.groups[i] if predictions.groups else ""
        writer.writerow(
            [
                name,
                *(cell for cells in span for cell in cells),
                group,
                predictions.labels[i],
                *(_guess(probs[i]) or "" for probs in guesses.values()),
                predictions.notes[i],
                *(cell for probs in kinds.values() for cell in _cells(probs[i])),
            ]
        )
    return text.getvalue()


def _seconds(span: Span) -> tuple[str, str]:
    return f"{span.start:g}", f"{span.end:g}" if np.isfinite(span.end) else ""


def _guess(probs: Float32[np.ndarray, "8"]) -> str | None:
    return None if np.isnan(probs).any() else EXPRESSIONS[int(probs.argmax())]


def _cells(probs: Float32[np.ndarray, "8"]) -> list[str]:
    return ["" if np.isnan(p) else f"{p:.5f}" for p in probs.tolist()]


def group_table(predictions: Predictions, word: str, groups: Sequence[str]) -> str:
    """A row for each video or speaker; macro-F1 is the mean over the classes that it is labelled with.

    Args:
        predictions: Of all rows.
        word: "video", or "speaker".
        groups: Which one each row is of.
    """
    rows_of: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        rows_of.setdefault(group, []).append(i)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kinds = {"raw": predictions.raw["fused"], "post": predictions.post["fused"]}
    figures = [f"{name}_{kind}" for name in ("accuracy", "macro_f1") for kind in kinds]
    of_videos = word == "video"
    head = [word, "group"] if of_videos else [word]
    writer.writerow([*head, "rows", "labels", *(f"missed_{kind}" for kind in kinds), *figures])
    for group, rows in rows_of.items():
        labels = [position(predictions.labels[i]) for i in rows]
        counts = {kind: _tally(labels, probs[rows]) for kind, probs in kinds.items()}
        there = sorted(set(labels))
        writer.writerow(
            [
                group,
                *([predictions.groups[rows[0]] if predictions.groups else ""] if of_videos else []),
                len(rows),
                " ".join(EXPRESSIONS[k] for k in there),
                *(int(each[:, -1].sum()) for each in counts.values()),
                *(f"{float(accuracy(each)):.4f}" for each in counts.values()),
                *(f"{float(macro_f1(each, there)):.4f}" for each in counts.values()),
            ]
        )
    return text.getvalue()


def _tally(labels: Sequence[int], probs: Float32[np.ndarray, "rows 8"]) -> Int64[np.ndarray, "9 9"]:
    """Labels down, predictions across; the last column counts the rows without one."""
    guesses = np.where(found_in(probs), np.nan_to_num(probs, nan=0.0).argmax(axis=1), len(EXPRESSIONS))
    counts = np.zeros((len(EXPRESSIONS) + 1, len(EXPRESSIONS) + 1), np.int64)
    np.add.at(counts, (np.array(labels), guesses), 1)
    return counts


def draw(figures: Figures, out: Path, title: str) -> None:
    """Writes the pictures of one view, raw and post-processed side by side where these differ.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    slug = figures.view.name.replace(",", "").replace(" ", "-")
    both = {"": figures.raw} if figures.post is figures.raw else {"raw": figures.raw, "post": figures.post}
    summaries = {
        kind: " · ".join(
            filter(
                None,
                (
                    kind,
                    f"macro-F1 {each.macro_f1.value:.3f}",
                    f"accuracy {each.accuracy.value:.3f}",
                    f"{each.n:,} rows",
                    f"{sum(each.missed.values()):,} without a prediction" if each.missed else "",
                ),
            )
        )
        for kind, each in both.items()
    }
    has_missed = any(each.missed for each in both.values())
    draw_confusions(
        [(_with_missed(each, has_missed), summaries[kind]) for kind, each in both.items()],
        figures.raw.classes,
        out / f"confusion-{slug}.png",
        title,
    )
    if all(each.quadrants.sum() for each in both.values()):
        draw_confusions(
            [
                (each.quadrants, " · ".join(filter(None, (kind, f"{each.quadrants.sum():,} rows, no Other"))))
                for kind, each in both.items()
            ],
            QUADRANT_NAMES,
            out / f"quadrants-{slug}.png",
            title,
        )
    draw_reliabilities(
        [(each.reliability, kind) for kind, each in both.items()], out / f"reliability-{slug}.png", title
    )
    draw_abstention(
        [(each.abstention, kind) for kind, each in both.items()], out / f"abstention-{slug}.png", title
    )


def _with_missed(scores: Scores, has_missed: bool) -> Int64[np.ndarray, "classes predictions"]:
    """The confusion matrix; where there are rows without a prediction, with a last column of them."""
    missed = np.array([[scores.missed.get(name, 0)] for name in scores.classes])
    return np.concatenate([scores.confusion, missed], axis=1) if has_missed else scores.confusion
