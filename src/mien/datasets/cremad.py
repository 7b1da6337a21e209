"""CREMA-D: its media in, clips split by actor out; its crowd votes in, shares of votes out.

7,442 clips of 91 actors, who were told which of six emotions to act; other people then named what they heard,
saw, or heard and saw. Of the actors, 64 train, 9 choose and 18 are scored, whichever of them are there.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mien.datasets.corpus import Clip, deal, find_recordings
from mien.errors import DatasetError
from mien.expressions import CREMAD

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float64

FILE = "tabulatedVotes.csv"

CLASSES = tuple(CREMAD.values())
"""The six expressions in the order of the table's columns A D F H N S; ties go to the earlier one."""

INITIALS = tuple(code[0] for code in CREMAD)

CLIP = re.compile(r"(?P<actor>\d{4})_[A-Z]{3}_(?P<emotion>[A-Z]{3})_(?:[A-Z]{2}|X)")
"""A clip's name: actor_sentence_emotion_intensity, the last cut to X in the name of one sound file."""

BROKEN = ("1064_IEO_DIS_MD", "1064_TIE_SAD_XX", "1076_MTI_NEU_XX", "1076_MTI_SAD_XX")
"""Clips whose media are (nearly) empty or show several emotions, as the authors say."""

Medium = Literal["sound", "video"]

MEDIA = {"sound": ("AudioWAV", (".wav",)), "video": ("VideoFlash", (".flv", ".mp4"))}
"""Folder of each medium, and the endings of its files."""

SPLITS = deal((str(actor) for actor in range(1001, 1092)), choose=0.1, val=0.2)
"""Of the 91 actors."""

_MODES = {"1": "voice", "2": "face", "3": "both"}
"""What the raters were given, by the first digit of a row's number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Votes:
    """Shares of votes on every clip, in the order of the clips' names."""

    clips: tuple[str, ...]
    actors: tuple[str, ...]
    labels: tuple[str, ...]
    """The expression that was to be acted."""
    voice: Float64[np.ndarray, "clips 6"]
    """Votes of those who only heard the clip, in the order of `CLASSES`; each row sums to 1."""
    face: Float64[np.ndarray, "clips 6"]
    """Of those who only saw it."""
    both: Float64[np.ndarray, "clips 6"]
    """Of those who heard and saw it."""


def read_cremad(folder: Path, medium: Medium) -> list[Clip]:
    """The clips of one medium but the `BROKEN` ones, labelled as they were to be acted, in order of names.

    Args:
        folder: Holds `AudioWAV` or `VideoFlash`.
        medium: Sound alone, or video with its sound.

    Raises:
        DatasetError: No file is there, one is there in two formats, or a name is not CREMA-D's.
    """
    part, endings = MEDIA[medium]
    clips = []
    for path in find_recordings(folder / part, "*", endings):
        name = CLIP.fullmatch(path.stem)
        if name is None or name["emotion"] not in CREMAD or name["actor"] not in SPLITS:
            raise DatasetError(f"{part}/{path.name}: not a CREMA-D file name (such as 1001_DFA_ANG_XX)")
        if path.stem not in BROKEN:
            clips.append(
                Clip(
                    path=path,
                    label=CREMAD[name["emotion"]],
                    speaker=f"cremad-{name['actor']}",
                    split=SPLITS[name["actor"]],
                )
            )
    if not clips:
        files = " or ".join(f"*{ending}" for ending in endings)
        raise DatasetError(f"{folder / part}: no {files} in it; give CREMA-D's own folder")
    return clips


def read_votes(folder: Path) -> Votes:
    """The vote shares of all clips in CREMA-D's table.

    Raises:
        DatasetError: The table is absent, a row is not of its form, or a clip lacks one of its three rows.
    """
    path = folder / FILE
    if not path.is_file():
        raise DatasetError(f"{FILE} is not in {folder}; give the folder of CREMA-D's vote tables")
    try:
        return _read_votes(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is no CSV table ({error}); fetch it again") from None


def _read_votes(path: Path) -> Votes:
    shares: dict[str, dict[str, list[float]]] = {mode: {} for mode in _MODES.values()}
    with path.open(newline="", encoding="utf-8") as text:
        reader = csv.DictReader(text, strict=True)
        lacking = {"", "fileName", *INITIALS} - set(reader.fieldnames or ())
        if lacking:
            raise DatasetError(
                f"{FILE} line 1: columns {', '.join(map(repr, sorted(lacking)))} are not there"
            )
        for row in reader:
            where = f"{FILE} line {reader.line_num}"
            mode, clip = _MODES.get((row[""] or " ")[0]), row["fileName"]
            if mode is None:
                raise DatasetError(f"{where}: row number is {row['']!r}; expected it to begin with 1, 2 or 3")
            name = CLIP.fullmatch(clip or "")
            if name is None or name["emotion"] not in CREMAD:
                raise DatasetError(f"{where}: fileName is {clip!r}; expected a name such as 1001_IEO_NEU_XX")
            if clip in shares[mode]:
                raise DatasetError(f"{where}: {clip} has two rows of votes on {mode}; expected one")
            shares[mode][clip] = _shares([row[initial] for initial in INITIALS], where)
    clips = sorted(set().union(*shares.values()))
    for mode, of_clips in shares.items():
        for clip in clips:
            if clip not in of_clips:
                raise DatasetError(f"{FILE}: {clip} has no row of votes on {mode}; expected all three")
    if not clips:
        raise DatasetError(f"{FILE} has no rows; fetch it again")
    names = [CLIP.fullmatch(clip) for clip in clips]
    return Votes(
        clips=tuple(clips),
        actors=tuple(name["actor"] for name in names if name),
        labels=tuple(CREMAD[name["emotion"]] for name in names if name),
        **{mode: np.array([of_clips[clip] for clip in clips]) for mode, of_clips in shares.items()},
    )


def _shares(cells: list[str], where: str) -> list[float]:
    """Votes as shares of their sum."""
    try:
        votes = [int(cell) for cell in cells]
    except (TypeError, ValueError):
        votes = [-1]
    if min(votes) < 0 or sum(votes) == 0:
        raise DatasetError(f"{where}: votes are {cells}; expected six counts, not all 0")
    return [count / sum(votes) for count in votes]
