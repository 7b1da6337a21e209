"""RAVDESS' acted speech: `Actor_NN/MM-01-<emotion>-….wav|flac|mp4`, as clips split by actor.

Actors 1-14 train, 15-16 choose, 17-24 are scored. Songs are refused: they come in folders of the same names,
and would be taken for speech.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from mien.datasets.corpus import Clip, find_recordings
from mien.errors import DatasetError
from mien.expressions import RAVDESS

if TYPE_CHECKING:
    from pathlib import Path

    from mien.datasets.corpus import Sex

Medium = Literal["sound", "video", "silent video"]

MODALITIES: dict[Medium, str] = {"video": "01", "silent video": "02", "sound": "03"}
"""First field of a file's name. RAVDESS says full-AV, video-only, audio-only; each recording is all three."""

ENDINGS = {"01": (".mp4",), "02": (".mp4",), "03": (".flac", ".wav")}

NAME = re.compile(
    r"(?P<modality>0[123])-(?P<channel>0[12])-(?P<emotion>\d\d)-0[12]-0[12]-0[12]-(?P<actor>0[1-9]|1\d|2[0-4])"
)
"""Stem of a file: modality-channel-emotion-intensity-statement-repetition-actor; channel 01 is speech."""


def split_of(actor: int) -> str:
    """The split that an actor belongs to.

    >>> split_of(14), split_of(15), split_of(17)
    ('train', 'choose', 'val')
    """
    if actor <= 14:
        return "train"
    return "choose" if actor <= 16 else "val"


def sex_of(speaker: str) -> Sex:
    """Of a speaker such as `ravdess-07`: actors of odd numbers are men.

    >>> sex_of("ravdess-07"), sex_of("ravdess-24")
    ('men', 'women')
    """
    return "women" if int(speaker.removeprefix("ravdess-")) % 2 == 0 else "men"


def read_ravdess(folder: Path, medium: Medium = "sound") -> list[Clip]:
    """The speech below a RAVDESS folder in one medium, in the order of the names.

    Args:
        folder: Holds `Actor_NN` folders; those of other media may lie there too.
        medium: Which of the three files of each recording.

    Raises:
        DatasetError: No such file is there, one is there twice, a name or emotion code is not RAVDESS', or a
            file is song.
    """
    modality = MODALITIES[medium]
    clips = []
    for path in find_recordings(folder, "Actor_*/*", ENDINGS[modality]):
        where = f"{path.parent.name}/{path.name}"
        name = NAME.fullmatch(path.stem)
        if name is None or name["emotion"] not in RAVDESS or path.suffix not in ENDINGS[name["modality"]]:
            raise DatasetError(f"{where}: not a RAVDESS file name ({modality}-01-EE-II-SS-RR-AA)")
        if name["channel"] != "01":
            raise DatasetError(f"{where} is song; keep speech alone ({modality}-01-…) in the folder")
        if name["modality"] == modality:
            clips.append(
                Clip(
                    path=path,
                    label=RAVDESS[name["emotion"]],
                    speaker=f"ravdess-{name['actor']}",
                    split=split_of(int(name["actor"])),
                )
            )
    if not clips:
        files = " or ".join(f"{modality}-01-…{ending}" for ending in ENDINGS[modality])
        raise DatasetError(f"{folder}: no Actor_NN folders with {files}; give RAVDESS' own folder")
    return clips
