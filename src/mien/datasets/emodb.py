"""EMO-DB: acted German sentences, `<speaker><text><emotion><version>.flac|wav`, as utterances.

Speakers 15 and 16 are scored, the others train.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mien.datasets.corpus import Utterance
from mien.errors import DatasetError
from mien.expressions import EMODB

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"(?P<speaker>\d\d)[ab]\d\d(?P<emotion>[A-Z])[a-z]")
"""Stem of a file: speaker (2 digits), text (letter, 2 digits), emotion letter, version letter."""

SCORED_SPEAKERS = ("15", "16")


def read_emodb(folder: Path) -> list[Utterance]:
    """The utterances of an EMO-DB folder, in the order of their names.

    Raises:
        DatasetError: No file is there, or a name or emotion letter is not EMO-DB's.
    """
    utterances = []
    for path in sorted(p for p in folder.glob("*") if p.suffix in (".flac", ".wav")):
        name = NAME.fullmatch(path.stem)
        if name is None or name["emotion"] not in EMODB:
            raise DatasetError(f"{path.name}: not an EMO-DB file name (such as 03a01Fa)")
        utterances.append(
            Utterance(
                path=path,
                label=EMODB[name["emotion"]],
                speaker=f"emodb-{name['speaker']}",
                split="val" if name["speaker"] in SCORED_SPEAKERS else "train",
            )
        )
    if not utterances:
        raise DatasetError(f"{folder}: no FLAC or WAV files; give EMO-DB's folder")
    return utterances
