"""The folder of a corpus, or a table, in; the labelled samples of one split out, and how they are scored.

A corpus is known by what lies in its folder. Aff-Wild2, whose labels are of frames, is read by
`mien.framewise`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Literal

import numpy as np

from mien.datasets.affectnet import IMAGES as AFFECTNET_IMAGES
from mien.datasets.affectnet import read_affectnet
from mien.datasets.affwild2 import CHALLENGES
from mien.datasets.clips import has_splits, read_clips
from mien.datasets.corpus import SPLITS, Clip, Picture, labelled
from mien.datasets.cremad import MEDIA, read_cremad
from mien.datasets.emodb import read_emodb
from mien.datasets.emodb import sex_of as emodb_sex
from mien.datasets.expw import FILE as EXPW_FILE
from mien.datasets.expw import read_expw
from mien.datasets.ferplus import FILE as FERPLUS_FILE
from mien.datasets.ferplus import read_ferplus
from mien.datasets.ravdess import MODALITIES, read_ravdess
from mien.datasets.ravdess import sex_of as ravdess_sex
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS
from mien.spans import Span

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jaxtyping import UInt8

    from mien.datasets.corpus import Sex
    from mien.datasets.ravdess import Medium

Source = Literal["fused", "face", "voice"]

WITHOUT_OTHER = tuple(name for name in EXPRESSIONS if name != "Other")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One way of scoring predictions."""

    name: str
    source: Source = "fused"
    classes: tuple[str, ...] = EXPRESSIONS
    """Among which a prediction is made; probabilities are renormalised over them."""
    rows: np.ndarray | None = None
    """Which rows count, as booleans; None: all whose label is among the classes."""
    is_part: bool = False
    """Rows of the view before it, such as those of women: no pictures of their own."""
    averages_all: bool = False
    """Macro-F1 is the mean over all classes, also those that no label names; they add 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """What gets one prediction."""

    name: str
    label: str
    group: str
    """Speaker, or picture, or itself: what is resampled."""
    source: Clip | Picture | UInt8[np.ndarray, "height width"]
    """A stretch of a file, a face in a picture, or a grey face crop."""

    @property
    def span(self) -> Span:
        """The stretch of its file; from 0 without an end for a picture."""
        clip = self.source
        return (
            Span(clip.start, inf if clip.end is None else clip.end)
            if isinstance(clip, Clip)
            else Span(0.0, inf)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """One split of one corpus."""

    corpus: str
    samples: tuple[Sample, ...]
    views: tuple[View, ...]
    groups: str | None = None
    """What the groups are, such as "speakers"; None: every sample is its own."""
    remarks: tuple[str, ...] = ()
    """What was left out, a line each."""


def is_affwild2(data: Path) -> bool:
    """Whether a folder holds Aff-Wild2's expression challenge."""
    if not data.is_dir():
        return False
    inside = {path.name for path in data.iterdir()}
    return "cropped_aligned" in inside or any(name in inside for name in CHALLENGES)


def read_samples(data: Path, split: str, seed: int = 0) -> Samples:
    """The labelled samples of one split.

    Args:
        data: Folder of a corpus, or a CSV table of one's own.
        split: One of `SPLITS`.
        seed: Of the dealing of what has no `choose` of its own, as `mien prepare` was given it.

    Raises:
        DatasetError: It is no known corpus, is not of its form, or has nothing in this split.
        MissingExtraError: FER+ needs [table].
    """
    if data.is_file():
        return _own(data, split)
    if not data.is_dir():
        raise DatasetError(f"{data} is not there; give the folder of a corpus, or a CSV table")
    inside = {path.name for path in data.iterdir()}
    if FERPLUS_FILE in inside:
        return _ferplus(data, split, seed)
    if any(name.startswith("Actor_") for name in inside):
        return _ravdess(data, split)
    if any(folder in inside for folder, _ in MEDIA.values()):
        medium: Literal["video", "sound"] = "video" if MEDIA["video"][0] in inside else "sound"
        return _clips(f"CREMA-D {medium}", read_cremad(data, medium), split, (View(name="all rows"),))
    if "train_set" in inside or AFFECTNET_IMAGES in inside or any(data.glob(f"*/{AFFECTNET_IMAGES}")):
        return _pictures("AffectNet", *read_affectnet(data, seed=seed), split)
    if EXPW_FILE in inside or (data / "label" / EXPW_FILE).is_file():
        return _pictures("ExpW", *read_expw(data, seed=seed), split)
    if any(name.endswith((".flac", ".wav")) for name in inside):
        return _acted("EMO-DB", read_emodb(data), split, emodb_sex)
    raise DatasetError(
        f"{data} is no known corpus; expected FER+, AffectNet, ExpW, RAVDESS, EMO-DB, CREMA-D or Aff-Wild2 "
        "in its own form, or a CSV table with the columns path and label"
    )


def refuse_split(split: str) -> None:
    """Refuses what is no name of a split.

    Raises:
        DatasetError: It is none.
    """
    if split not in SPLITS:
        raise DatasetError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")


def _ferplus(data: Path, split: str, seed: int) -> Samples:
    stills = read_ferplus(data, seed=seed).part(split)
    return Samples(
        corpus="FER+",
        samples=tuple(
            Sample(name=name, label=label, group=name, source=image)
            for name, label, image in zip(stills.names, stills.labels, stills.images, strict=True)
        ),
        views=(View(name="most votes"), View(name="majority of votes", rows=stills.majority)),
    )


def _ravdess(data: Path, split: str) -> Samples:
    """The richest medium that is there: video has the sound too."""
    there = {path.name[:2] for path in data.glob("Actor_*/*")}
    medium: Medium = next((medium for medium, code in MODALITIES.items() if code in there), "sound")
    corpus = "RAVDESS" if medium == "sound" else f"RAVDESS {medium}"
    return _acted(corpus, read_ravdess(data, medium), split, ravdess_sex)


def _acted(corpus: str, clips: Sequence[Clip], split: str, sex_of: Callable[[str], Sex]) -> Samples:
    """With a view for each sex."""
    without = View(name="without Other", classes=WITHOUT_OTHER)
    samples = _clips(corpus, clips, split, (View(name="eight classes", averages_all=True), without))
    sexes = np.array([sex_of(sample.group) for sample in samples.samples])
    parts = tuple(
        replace(without, name=f"{without.name}, {sex}", rows=sexes == sex, is_part=True)
        for sex in sorted(set(sexes.tolist()))
    )
    return replace(samples, views=(*samples.views, *parts))


def _clips(corpus: str, clips: Sequence[Clip], split: str, views: tuple[View, ...]) -> Samples:
    return Samples(
        corpus=corpus,
        samples=tuple(
            Sample(name=clip.path.name, label=label, group=clip.speaker, source=clip)
            for clip, label in labelled(clips, split)
        ),
        views=views,
        groups="speakers",
    )


def _own(table: Path, split: str) -> Samples:
    clips = read_clips(table, for_training=False)
    remarks = []
    if not has_splits(table):
        remarks.append(f"{table.name} has no column split: all rows are scored; no net may have learnt them")
    n_without = sum(clip.split == split and clip.label is None for clip in clips)
    n_elsewhere = sum(clip.split != split for clip in clips)
    left_out = {"without a label": n_without, "in another split": n_elsewhere}
    are_files = all(clip.speaker == os.path.relpath(clip.path, table.parent) for clip in clips)
    return Samples(
        corpus=table.name,
        samples=tuple(
            Sample(name=_name(clip.path, table.parent), label=label, group=clip.speaker, source=clip)
            for clip, label in labelled(clips, split)
        ),
        views=(View(name="all rows"),),
        groups="files" if are_files else "speakers",
        remarks=(
            *remarks,
            *(f"{table.name}: rows {why}, left out: {n}" for why, n in left_out.items() if n),
        ),
    )


def _name(path: Path, folder: Path) -> str:
    """A path below the folder of its table, from there; else as the table has it."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _pictures(corpus: str, pictures: Sequence[Picture], skipped: Counter[str], split: str) -> Samples:
    chosen = [picture for picture in pictures if picture.split == split]
    samples = []
    for picture in chosen:
        name = "/".join(picture.path.parts[-2:])
        if picture.label is not None:
            samples.append(Sample(name=name, label=picture.label, group=str(picture.path), source=picture))
    if not samples:
        splits = ", ".join(sorted({picture.split for picture in pictures if picture.label is not None}))
        raise DatasetError(f"{corpus}: no labelled picture in split {split!r}; it has {splits or 'none'}")
    if len(chosen) > len(samples):
        skipped = skipped.copy()
        skipped[f"picture of {split} that is labelled as none of the expressions"] = len(chosen) - len(
            samples
        )
    return Samples(
        corpus=corpus,
        samples=tuple(samples),
        views=(View(name="all rows"),),
        groups="pictures",
        remarks=tuple(f"{corpus}: {why}: {n} left out" for why, n in sorted(skipped.items())),
    )
