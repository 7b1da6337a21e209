"""The name of a corpus and its place on disk in, what is to become its recordings out: one `Entry` each.

Nothing is decoded here, so that entries can be dealt out to several processes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from mien.datasets.affectnet import read_affectnet
from mien.datasets.affwild2 import media_name, read_affwild2
from mien.datasets.clips import read_clips
from mien.datasets.corpus import Clip, LabelledVideo, Picture, Stills, read_parquet
from mien.datasets.cremad import read_cremad
from mien.datasets.emodb import read_emodb
from mien.datasets.expw import read_expw
from mien.datasets.ferplus import FILE as FERPLUS_FILE
from mien.datasets.ferplus import read_ferplus
from mien.datasets.ms1mv2 import INDEX, RECORDS, read_ms1mv2
from mien.datasets.ravdess import read_ravdess
from mien.datasets.unlabelled import FILE as UNLABELLED_FILE
from mien.errors import DatasetError, InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSettings:
    """What is made of a corpus."""

    size_px: int = 48
    """Side of the face crops."""
    seed: int = 0
    """Decides what is held out, and what is taken where not all is."""
    share: float = 1 / 3
    """Of MS1MV2's pictures that are taken."""
    crops: bool = False
    """Pictures that come without a face box are face crops already: no face is looked for."""
    face_extractor: Path | None = None
    """ONNX file, or folder of features, whose features of every crop are kept beside it."""
    speech_extractor: Path | None = None
    """The same of sound."""

    def __post_init__(self) -> None:
        if not 16 <= self.size_px <= 512:
            raise InputError(f"size is {self.size_px}; expected 16 to 512 pixels, such as 48")
        if not 0 < self.share <= 1:
            raise InputError(f"share is {self.share}; expected a number above 0, up to 1")


@dataclass(frozen=True, slots=True)
class Row:
    """A face picture inside a file that has many."""

    file: Path
    number: int
    """Its row there, or the byte at which its record begins."""
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to become one recording."""

    name: str
    """Unique in its corpus."""
    speaker: str
    """Unique over corpora."""
    split: str
    content: tuple[Clip, ...] | Picture | LabelledVideo | Row
    """Clips: stretches of one file."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is made from: media, or else pictures, first."""
        match self.content:
            case Row(file=file):
                return (file,)
            case Picture(path=path):
                return (path,)
            case LabelledVideo(media=media, crops=crops):
                return (crops,) if media is None else (media, crops)
            case clips:
                return (clips[0].path,)

    @property
    def is_alone(self) -> bool:
        """All of the first file belongs to one split."""
        return not isinstance(self.content, Row)


Entries = tuple[list[Entry], Counter[str]]
"""Entries in order, and how often something was skipped, by reason."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """How a corpus is listed."""

    entries: Callable[[Path, PrepareSettings], Entries]
    heeds: frozenset[str]
    """Which settings make a difference."""


@lru_cache(maxsize=1)
def read_stills(folder: Path, seed: int) -> Stills:
    """FER+, kept between shards."""
    return read_ferplus(folder, seed=seed)


@lru_cache(maxsize=1)
def read_photographs(file: Path) -> list[Any]:
    """The cells of an unlabelled set, encoded pictures as a rule, kept between shards."""
    return read_parquet(file, {"webp"})["webp"]


def _affwild2(folder: Path, settings: PrepareSettings) -> Entries:
    videos, skipped = read_affwild2(folder, seed=settings.seed)
    del skipped["video without media"]  # told of when its crops are timed
    entries = [
        Entry(name=each.name, speaker=f"affwild2-{media_name(each.name)}", split=each.split, content=each)
        for each in videos
    ]
    # By media, so that those in one video stand together and it is heard once.
    return sorted(entries, key=lambda entry: (entry.speaker, entry.name)), skipped


def _pictures(
    corpus: str,
    read: Callable[..., tuple[list[Picture], Counter[str]]],
    folder: Path,
    settings: PrepareSettings,
) -> Entries:
    pictures, skipped = read(folder, seed=settings.seed)
    pictures.sort(key=lambda picture: picture.path)
    files = [each.path.relative_to(folder).as_posix() for each in pictures]
    return [
        Entry(name=name, speaker=f"{corpus}-{file}", split=each.split, content=each)
        for name, file, each in zip(_numbered(files), files, pictures, strict=True)
    ], skipped


def _ms1mv2(folder: Path, settings: PrepareSettings) -> Entries:
    records = read_ms1mv2(folder, share=settings.share, seed=settings.seed)
    keys, positions = np.loadtxt(folder / INDEX, np.int64, delimiter="\t", ndmin=2).T
    pictures = np.flatnonzero((keys > 0) & (keys <= records.n_images))
    if len(pictures) < len(records):
        raise DatasetError(f"{INDEX} lacks {records.n_images - len(pictures)} pictures; fetch it again")
    chosen = np.random.default_rng(settings.seed).choice(pictures, len(records), replace=False)
    return [
        _row("ms1mv2", f"{keys[k]:07d}", "train", Row(folder / RECORDS, int(positions[k]), None))
        for k in np.sort(chosen).tolist()
    ], Counter()


def _ferplus(folder: Path, settings: PrepareSettings) -> Entries:
    stills = read_stills(folder, settings.seed)
    rows = zip(_numbered(stills.names), stills.splits.tolist(), stills.labels, strict=True)
    return [
        _row("ferplus", name, split, Row(folder / FERPLUS_FILE, number, label))
        for number, (name, split, label) in enumerate(rows)
    ], Counter(stills.dropped)


def _numbered(names: Iterable[str]) -> Iterator[str]:
    """The names, with a number at the end of those that were there before.

    >>> list(_numbered(["a", "b", "a"]))
    ['a', 'b', 'a#2']
    """
    seen = Counter[str]()
    for name in names:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}#{seen[name]}"


def _unlabelled(folder: Path, _: PrepareSettings) -> Entries:
    file = folder / UNLABELLED_FILE
    n_rows = len(read_photographs(file))
    return [_row("unlabelled", f"{n:07d}", "train", Row(file, n, None)) for n in range(n_rows)], Counter()


def _row(corpus: str, name: str, split: str, row: Row) -> Entry:
    return Entry(name=name, speaker=f"{corpus}-{name}", split=split, content=row)


def _clips(read: Callable[[Path], list[Clip]], folder: Path, _: PrepareSettings) -> Entries:
    return [
        Entry(
            name=clip.path.relative_to(folder).as_posix(),
            speaker=clip.speaker,
            split=clip.split,
            content=(clip,),
        )
        for clip in read(folder)
    ], Counter()


def _own(table: Path, settings: PrepareSettings) -> Entries:
    of_person: dict[tuple[Path, str], list[Clip]] = {}
    for clip in read_clips(table, for_training=True, seed=settings.seed):
        of_person.setdefault((clip.path, clip.speaker), []).append(clip)
    n_people = Counter(path for path, _ in of_person)
    entries = []
    for (path, speaker), clips in of_person.items():
        file = os.path.relpath(path, table.parent)
        name = f"{table.stem}: {file}"
        entries.append(
            Entry(
                name=name if n_people[path] == 1 else f"{name}: {speaker}",
                # Where nobody says who, it is the file, and two tables may have files of one name.
                speaker=os.path.normpath(path) if speaker == file else speaker,
                split=clips[0].split,
                content=tuple(sorted(clips, key=lambda clip: clip.start)),
            )
        )
    return entries, Counter()


def _corpus(entries: Callable[[Path, PrepareSettings], Entries], *heeds: str) -> Corpus:
    return Corpus(entries, frozenset(heeds))


_FACES = ("size_px", "face_extractor")
_BOTH = (*_FACES, "speech_extractor")

CORPORA = {
    "affwild2": _corpus(_affwild2, *_BOTH, "seed"),
    "affectnet": _corpus(partial(_pictures, "affectnet", read_affectnet), *_FACES, "seed", "crops"),
    "expw": _corpus(partial(_pictures, "expw", read_expw), *_FACES, "seed"),
    "ms1mv2": _corpus(_ms1mv2, *_FACES, "seed", "share"),
    "ferplus": _corpus(_ferplus, *_FACES, "seed"),
    "ravdess": _corpus(partial(_clips, read_ravdess), "speech_extractor"),
    "ravdess_video": _corpus(partial(_clips, partial(read_ravdess, medium="video")), *_BOTH),
    "emodb": _corpus(partial(_clips, read_emodb), "speech_extractor"),
    "cremad": _corpus(partial(_clips, partial(read_cremad, medium="sound")), "speech_extractor"),
    "cremad_video": _corpus(partial(_clips, partial(read_cremad, medium="video")), *_BOTH),
    "unlabelled": _corpus(_unlabelled, *_FACES, "crops"),
    "clips": _corpus(_own, *_BOTH, "seed", "crops"),
}
"""By the name that `mien prepare` is given."""
