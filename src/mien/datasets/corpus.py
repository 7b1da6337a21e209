"""What corpus readers return: stills, pictures, clips or videos, with the split each one belongs to.

Splits are `train` (fits the weights), `choose` (picks checkpoint, settings and calibration) and `val` (scored
only). No speaker and no image crosses them.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise, zip_longest
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mien.errors import DatasetError, MissingExtraError
from mien.expressions import EXPRESSIONS
from mien.spec import fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from jaxtyping import Bool, Float32, UInt8

SPLITS = ("train", "choose", "val")

Sex = Literal["women", "men"]
"""Of speakers, where their corpus tells it."""

ROUNDING = 0.1
"""Seconds by which tables may be wrong about where a file ends."""

LONGEST = 400_000.0
"""Seconds of a recording that was prepared: more than four days."""

MOST_FRAMES = 10_000_000
"""Of all that is labelled in it."""

ROW = {
    **dict.fromkeys(("name", "speaker", "split"), str),
    **dict.fromkeys(("crops", "columns"), tuple[int, int]),
    "file": str | None,
    "stretches": tuple[tuple[float, float, str], ...],
    "frame_step": float | None,
    "steps": tuple[int, int] | None,
    "shares": dict[str, float] | None,
}
"""What a prepared corpus says of each recording, by kind."""

CHOOSE_SHARE = 0.1
"""Share of train that is held out to choose checkpoint, settings and calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stills:
    """Face pictures of one size, grey, with the share of votes that each expression got."""

    names: tuple[str, ...]
    images: UInt8[np.ndarray, "stills height width"]
    targets: Float32[np.ndarray, "stills 8"]
    """In the order of `EXPRESSIONS`; each row sums to 1."""
    labels: tuple[str, ...]
    majority: Bool[np.ndarray, "stills"]
    """True where more than half of all votes fall on the label (FER+'s stricter rule)."""
    splits: np.ndarray
    """Name of the split that each still belongs to."""
    dropped: dict[str, int]
    """How many rows of the corpus are not here, by reason."""

    def part(self, split: str) -> Stills:
        """The stills of one split.

        Raises:
            DatasetError: None is in it.
        """
        kept = np.flatnonzero(self.splits == split)
        if not len(kept):
            raise DatasetError(
                f"no still in split {split!r}; this corpus has {', '.join(sorted(set(self.splits.tolist())))}"
            )
        return Stills(
            names=tuple(self.names[i] for i in kept),
            images=self.images[kept],
            targets=self.targets[kept],
            labels=tuple(self.labels[i] for i in kept),
            majority=self.majority[kept],
            splits=self.splits[kept],
            dropped=self.dropped,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A stretch of one file, sound, video or still, that shows one expression."""

    path: Path
    label: str | None
    """None: not labelled."""
    speaker: str
    """Who speaks, unique over corpora, such as `ravdess-07`; the video or file where nobody says who."""
    split: str
    start: float = 0.0
    """Seconds on the file's own clock."""
    end: float | None = None
    """Seconds on the file's own clock; None: to its end."""

    def __post_init__(self) -> None:
        if self.label is not None and self.label not in EXPRESSIONS:
            raise DatasetError(f"{self.path.name}: label {self.label!r} is none of {', '.join(EXPRESSIONS)}")
        if self.split not in SPLITS:
            raise DatasetError(f"{self.path.name}: split {self.split!r} is none of {', '.join(SPLITS)}")
        if not 0 <= self.start < (inf if self.end is None else self.end):
            raise DatasetError(
                f"{self.path.name}: stretch from {self.start} to {self.end} s; expected 0 <= start < end"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture file of a face, or with a face in it."""

    path: Path
    label: str | None
    """None: not labelled, or labelled as none of the expressions."""
    split: str
    box: tuple[float, float, float, float] | None = None
    """x1, y1, x2, y2 of the face in pixels, as the corpus gives it; None: the picture is a face crop."""

    def __post_init__(self) -> None:
        if self.label is not None and self.label not in EXPRESSIONS:
            raise DatasetError(f"{self.path.name}: label {self.label!r} is none of {', '.join(EXPRESSIONS)}")
        if self.split not in SPLITS:
            raise DatasetError(f"{self.path.name}: split {self.split!r} is none of {', '.join(SPLITS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledVideo:
    """One person in one video, with a label for every frame."""

    name: str
    """Unique in its corpus, such as `video12_left`."""
    media: Path | None
    """The video with its sound, which the people in it share; None where only crops are there."""
    crops: Path
    """Folder of aligned faces, named by the number of their frame."""
    frames: tuple[int, ...]
    """Numbers of the crops that are there, as their names count, rising."""
    labels: tuple[str | None, ...]
    """Of every frame, from frame 1 on; None: not labelled."""
    split: str

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise DatasetError(f"{self.name}: split {self.split!r} is none of {', '.join(SPLITS)}")
        if self.frames and self.frames[-1] > len(self.labels):
            raise DatasetError(
                f"{self.name}: {len(self.labels)} labels, and a crop of frame {self.frames[-1]}"
            )


def find_recordings(folder: Path, pattern: str, endings: Sequence[str]) -> list[Path]:
    """The files of some endings that match a pattern, in the order of their names.

    Raises:
        DatasetError: One recording is there in two formats.
    """
    found = sorted(path for path in folder.glob(pattern) if path.suffix in endings)
    for one, other in pairwise(found):
        if one.with_suffix("") == other.with_suffix(""):
            raise DatasetError(f"{one} is there as {other.suffix} too; keep one of the two")
    return found


def labelled(clips: Sequence[Clip], split: str) -> list[tuple[Clip, str]]:
    """The clips of one split that have a label, each with it.

    Raises:
        DatasetError: None is in it.
    """
    found = [(clip, clip.label) for clip in clips if clip.split == split and clip.label is not None]
    if not found:
        splits = ", ".join(sorted({clip.split for clip in clips if clip.label is not None}))
        raise DatasetError(f"no labelled clip in split {split!r}; these have {splits or 'none at all'}")
    return found


def hold_out(names: Iterable[str], seed: int = 0) -> set[str]:
    """A tenth of the names, whatever their order: those that are `choose`. Of two and more, one at least."""
    order = np.random.default_rng(seed).permutation(sorted(set(names))).tolist()
    return set(order[: max(round(CHOOSE_SHARE * len(order)), min(len(order) - 1, 1))])


def deal(groups: Iterable[str], *, choose: float, val: float, seed: int = 0) -> dict[str, str]:
    """The split of each group: shares of them go to `choose` and `val`, one at least, the others train.

    It depends on the seed and on which groups there are, and not on their order.

    Args:
        groups: Speakers, or what else must not cross splits.
        choose: Share of the groups.
        val: Share of the groups.
        seed: Another one deals otherwise.

    Raises:
        DatasetError: There are fewer than three.
    """
    dealt = sorted(set(groups), key=lambda group: sha256(f"{seed} {group}".encode()).digest())
    if len(dealt) < len(SPLITS):
        raise DatasetError(
            f"{len(dealt)} speakers or files cannot be dealt out to {', '.join(SPLITS)}; give three or more"
        )
    n_choose, n_val = (max(1, round(share * len(dealt))) for share in (choose, val))
    held_out = ["choose"] * n_choose + ["val"] * n_val
    return dict(zip_longest(dealt, held_out, fillvalue="train"))


def refuse_shared_speakers(clips: Iterable[Clip]) -> None:
    """Checks that no speaker and no file stands in two splits.

    Raises:
        DatasetError: One does; it is named.
    """
    split_of: dict[tuple[str, str], str] = {}
    for clip in clips:
        for shared in (("file", os.path.realpath(clip.path)), ("speaker", clip.speaker)):
            first = split_of.setdefault(shared, clip.split)
            if first != clip.split:
                kind, name = shared
                raise DatasetError(
                    f"{kind} {name!r} is in split {first!r} and in {clip.split!r}; "
                    "splits must share neither speakers nor files"
                )


def check_told(told: dict[str, Any]) -> None:
    """Checks what a shard of a prepared corpus says of its recordings, but for its arrays.

    Raises:
        ValueError: It says something else, or of times that cannot be.
    """
    if not fits(told.get("corpus"), str):
        raise ValueError("the corpus has no name")
    if not fits(told.get("extractors", {}), dict[str, dict[str, Any]]):
        raise ValueError("extractors are no objects")
    for row in told["recordings"]:
        _check_row(row)


def _check_row(row: Any) -> None:
    if not isinstance(row, dict):
        raise ValueError("a recording is no object")
    for name, kind in ROW.items():
        if not fits(row.get(name), kind):
            raise ValueError(f"{name} of a recording is {str(row.get(name))[:40]!r}")
    stretches, step = row["stretches"], row["frame_step"]
    if row["split"] not in SPLITS or any(label not in EXPRESSIONS for _, _, label in stretches):
        raise ValueError(f"{row['name']} has an unknown split or label")
    times = [time for since, until, _ in stretches for time in (since, until)]
    if not all(one <= other for one, other in pairwise([-LONGEST, *times, LONGEST])):
        raise ValueError(f"{row['name']} has stretches that are not in order, or longer than any")
    if step is not None and not 0 < step <= LONGEST:
        raise ValueError(f"{row['name']} has frames of {step} s")
    if step is not None and times and times[-1] - times[0] > MOST_FRAMES * step:
        raise ValueError(f"{row['name']} has more frames than any")


def count_labels(labels: Sequence[str]) -> dict[str, int]:
    """How often each expression occurs, in the order of `EXPRESSIONS`.

    >>> count_labels(["Fear", "Fear", "Other"])["Fear"]
    2
    """
    counts = Counter(labels)
    return {name: counts[name] for name in EXPRESSIONS}


def read_parquet(path: Path, columns: AbstractSet[str]) -> dict[str, list[Any]]:
    """All columns of a Parquet file, by name.

    Args:
        path: The file.
        columns: Names that it must have.

    Raises:
        DatasetError: It is absent, damaged or lacks a column.
        MissingExtraError: The extra that reads Parquet is not installed.
    """
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("reading Parquet", "table") from None
    if not path.is_file():
        raise DatasetError(f"{path.name} is not in {path.parent}; give the folder that holds it")
    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        raise DatasetError(f"{path} is not a whole Parquet file; fetch it again") from None
    missing = columns - set(table.columns)
    if missing:
        raise DatasetError(f"{path.name} lacks the columns {', '.join(sorted(missing))}")
    rows: dict[str, list[Any]] = table.to_dict(as_series=False)
    return rows
