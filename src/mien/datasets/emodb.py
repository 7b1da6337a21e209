"""EMO-DB: acted German sentences, `<speaker><text><emotion><version>.flac|wav`, as clips.

Speakers 15 and 16 are scored, 08 chooses, the others train.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mien.datasets.corpus import Clip, find_recordings
from mien.errors import DatasetError
from mien.expressions import EMODB

if TYPE_CHECKING:
    from pathlib import Path

    from mien.datasets.corpus import Sex

NAME = re.compile(r"(?P<speaker>\d\d)[ab]\d\d(?P<emotion>[A-Z])[a-z]")
"""Stem of a file: speaker (2 digits), text (letter, 2 digits), emotion letter, version letter."""

SPLITS = {"08": "choose", "15": "val", "16": "val"}
"""Of speakers; the others train. Without one that chooses nobody would say when boredom, which is Other and
which RAVDESS lacks, has been learnt."""

MEN = ("03", "10", "11", "12", "15")
"""Speakers; the other five are women."""


def sex_of(speaker: str) -> Sex:
    """Of a speaker such as `emodb-03`.

    >>> sex_of("emodb-03"), sex_of("emodb-16")
    ('men', 'women')
    """
    return "men" if speaker.removeprefix("emodb-") in MEN else "women"


def read_emodb(folder: Path) -> list[Clip]:
    """The sentences of an EMO-DB folder, in the order of their names.

    Raises:
        DatasetError: No file is there, one is there twice, or a name or emotion letter is not EMO-DB's.
    """
    clips = []
    for path in find_recordings(folder, "*", (".flac", ".wav")):
        name = NAME.fullmatch(path.stem)
        if name is None or name["emotion"] not in EMODB:
            raise DatasetError(f"{path.name}: not an EMO-DB file name (such as 03a01Fa)")
        clips.append(
            Clip(
                path=path,
                label=EMODB[name["emotion"]],
                speaker=f"emodb-{name['speaker']}",
                split=SPLITS.get(name["speaker"], "train"),
            )
        )
    if not clips:
        raise DatasetError(f"{folder}: no FLAC or WAV files; give EMO-DB's folder")
    return clips
