"""RAVDESS speech: `Actor_NN/03-01-<emotion>-….flac|wav`, as utterances split by actor.

Actors 1-14 train, 15-16 choose, 17-24 are scored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mien.datasets.corpus import Utterance
from mien.errors import DatasetError
from mien.expressions import RAVDESS

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"03-01-(?P<emotion>\d\d)-\d\d-\d\d-\d\d-(?P<actor>\d\d)")
"""Stem of an audio-only speech file: modality-channel-emotion-intensity-statement-repetition-actor."""


def split_of(actor: int) -> str:
    """The split that an actor belongs to.

    >>> split_of(14), split_of(15), split_of(17)
    ('train', 'choose', 'val')
    """
    if actor <= 14:
        return "train"
    return "choose" if actor <= 16 else "val"


def read_ravdess(folder: Path) -> list[Utterance]:
    """The utterances below a RAVDESS speech folder, in the order of their names.

    Raises:
        DatasetError: No speech file is there, or a name or emotion code is not RAVDESS'.
    """
    utterances = []
    for path in sorted(p for p in folder.glob("Actor_*/*") if p.suffix in (".flac", ".wav")):
        name = NAME.fullmatch(path.stem)
        if name is None or name["emotion"] not in RAVDESS:
            raise DatasetError(
                f"{path.parent.name}/{path.name}: not a RAVDESS speech file name (03-01-EE-II-SS-RR-AA)"
            )
        utterances.append(
            Utterance(
                path=path,
                label=RAVDESS[name["emotion"]],
                speaker=f"ravdess-{name['actor']}",
                split=split_of(int(name["actor"])),
            )
        )
    if not utterances:
        raise DatasetError(f"{folder}: no Actor_NN folders with FLAC or WAV files; give RAVDESS' own folder")
    return utterances
