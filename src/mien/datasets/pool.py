"""Recordings in, those that a training run counts as labelled out: so many moments of each expression (§6.3).

Stills are plenty for some expressions and too few for others; frames of labelled videos make up what lacks.
A still, or any stretch with one label, is one item; where every frame was labelled by itself, each frame is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.datasets.corpus import Stills
from mien.datasets.likeness import near_any, perceptual_hashes
from mien.datasets.moments import (
    drawable_times,
    equally_spaced,
    frame_edges,
    nearest_crops,
    scored_times,
    targets_of,
)
from mien.datasets.prepared import LabelledSpan
from mien.errors import DatasetError, InputError
from mien.expressions import EXPRESSIONS, position
from mien.spans import Span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from jaxtyping import Float64, UInt8

    from mien.datasets.prepared import Recording

PER_CLASS = 8000
"""Items of each expression in the pool, where there are so many (§6.3)."""

LEAST_CAP = 50
"""So many frames of an expression one video may give, however many videos show it."""


class Pool(NamedTuple):
    """What is labelled and what is not."""

    recordings: list[Recording]
    """Those with something in the pool, which are left their stretches in it; those of `choose` and `val` as
    they were. Other frames of a pooled video stay with it, without a label."""
    unlabelled: list[Recording]
    """The others of `train`, without stretches."""
    stills: dict[str, int]
    """How many stills and clips of each expression are in the pool."""
    frames: dict[str, int]
    """How many frames of videos."""


def draw_pool(
    recordings: Iterable[Recording],
    *,
    per_class: int = PER_CLASS,
    seed: int = 0,
    video_only: Collection[str] = ("Other",),
) -> Pool:
    """The pool: of each expression stills drawn by `seed`, then frames of videos until there are enough.

    A video gives equally spaced frames, `cap_per_video` of an expression at most. The pool does not depend on
    the order of the recordings.

    Args:
        recordings: Of `train`, and of other splits, which pass unchanged.
        per_class: How many items of each expression are enough.
        seed: Another one draws other stills.
        video_only: Expressions that are taken from videos alone, where any video shows them: what stills
            call Other differs from corpus to corpus.

    Raises:
        InputError: `per_class` is below 1.
    """
    if per_class < 1:
        raise InputError(f"per_class is {per_class}; expected 1 or more")
    known = list(recordings)
    train = sorted((each for each in known if each.split == "train"), key=lambda r: (r.corpus, r.name))
    stills: dict[str, list[tuple[int, Span]]] = {label: [] for label in EXPRESSIONS}
    videos: dict[str, dict[int, list[Float64[np.ndarray, "edges"]]]] = {label: {} for label in EXPRESSIONS}
    for number, recording in enumerate(train):
        for stretch in recording.stretches:
            if recording.frame_step is None:
                stills[stretch.label].append((number, stretch.span))
            else:
                edges = frame_edges(stretch.span, recording.frame_step)
                videos[stretch.label].setdefault(number, []).append(edges)
    kept: dict[int, list[LabelledSpan]] = {}
    counts: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for label in EXPRESSIONS:
        there = [] if label in video_only and videos[label] else stills[label]
        chosen = np.random.default_rng([seed, position(label)]).permutation(len(there))[:per_class]
        taken = [there[row] for row in chosen]
        counts[0][label] = len(taken)
        taken += take_frames(videos[label], per_class - len(taken), per_class)
        counts[1][label] = len(taken) - counts[0][label]
        for number, span in taken:
            kept.setdefault(number, []).append(LabelledSpan(span=span, label=label))
    pooled = {
        id(train[number]): replace(
            train[number], stretches=tuple(sorted(stretches, key=lambda each: each.span.start))
        )
        for number, stretches in kept.items()
    }
    return Pool(
        [pooled.get(id(each), each) for each in known if each.split != "train" or id(each) in pooled],
        [replace(each, stretches=()) for each in known if each.split == "train" and id(each) not in pooled],
        *counts,
    )


def without_repeats(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings without stills that a later split has, too: of `choose` those of `val`, of `train` both.

    Recordings that are no stills stay, and so do stills that repeat one of their own split.
    """
    stills = [each for each in recordings if len(each.crops) == 1 and not len(each.columns)]
    hashes = {id(each): perceptual_hashes(each.crops)[0] for each in stills}
    dropped: set[int] = set()
    held = np.zeros(0, np.uint64)
    for split in ("val", "choose", "train"):
        own = [id(each) for each in stills if each.split == split]
        found = np.array([hashes[each] for each in own], np.uint64)
        near = near_any(found, held)
        dropped |= {each for each, repeats in zip(own, near.tolist(), strict=True) if repeats}
        held = np.concatenate([held, found[~near]])
    return [each for each in recordings if id(each) not in dropped]


def take_frames(
    videos: dict[int, list[Float64[np.ndarray, "edges"]]], wanted: int, per_class: int
) -> list[tuple[int, Span]]:
    """Frames of one expression, each with the number of its video, equally spaced in each and over all.

    Args:
        videos: Edges of the frames of each stretch, by number of video.
        wanted: So many, or as many as the videos may give.
        per_class: What the cap is reckoned by.
    """
    cap = cap_per_video(len(videos), per_class)
    offered: list[tuple[int, Span]] = []
    for number, stretches in videos.items():
        starts = np.concatenate([edges[:-1] for edges in stretches])
        ends = np.concatenate([edges[1:] for edges in stretches])
        rows = equally_spaced(len(starts), cap)
        offered += [(number, Span(float(starts[row]), float(ends[row]))) for row in rows]
    return [offered[row] for row in equally_spaced(len(offered), wanted)]


def cap_per_video(n_videos: int, per_class: int = PER_CLASS) -> int:
    """How many frames of an expression one video may give, so that a long one cannot stand for all.

    >>> cap_per_video(40), cap_per_video(1000)
    (400, 50)
    """
    return max(LEAST_CAP, 2 * per_class // max(n_videos, 1))


def gather_stills(recordings: Iterable[Recording]) -> Stills:
    """The crop nearest to each labelled moment, in memory; of `choose` as few as it is scored by.

    Raises:
        DatasetError: No labelled moment has a face, or crops differ in size.
    """
    names, crops, splits = [], [], []
    items: list[tuple[Recording, str]] = []
    for recording in recordings:
        stretches = recording.stretches if len(recording.crops) else ()
        if recording.split == "train":
            times = [
                (stretch.label, seen)
                for stretch, seen in zip(stretches, drawable_times(recording, 0), strict=False)
            ]
        else:
            times = scored_times(recording, heard=False) if stretches else []
        for label, seen in times:
            rows = nearest_crops(recording.crop_times, seen)
            for row in rows[rows >= 0].tolist():
                names.append(f"{recording.corpus} {recording.name} crop {row}")
                crops.append(recording.crops[row])
                items.append((recording, label))
                splits.append(recording.split)
    if len({crop.shape for crop in crops}) != 1:
        raise DatasetError(
            "no labelled face is in these corpora; prepare some with faces"
            if not crops
            else "these corpora were prepared with crops of several sizes; prepare them with one"
        )
    return Stills(
        names=tuple(names),
        images=np.stack(crops),
        targets=targets_of(items),
        labels=tuple(label for _, label in items),
        majority=np.ones(len(items), np.bool_),
        splits=np.array(splits),
        dropped={},
    )


def gather_crops(recordings: Iterable[Recording], size_px: int) -> UInt8[np.ndarray, "faces size size"]:
    """Every crop of some recordings, in memory."""
    crops = [each.crops for each in recordings if len(each.crops)]
    return np.concatenate([np.zeros((0, size_px, size_px), np.uint8), *crops])
