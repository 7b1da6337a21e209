"""JSON and arrays that somebody else may have made: whatever is wrong with them is a ValueError."""

from __future__ import annotations

import json
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Shaped

DEEPEST = 50
"""So many lists and objects of JSON may lie in each other; what mien writes has six."""


def read_json(text: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: It is no JSON, or deeper than what walks through it later could follow.

    >>> read_json('{"a": [1]}')
    {'a': [1]}
    """
    try:
        told = json.loads(text)
    except RecursionError:
        raise ValueError("lists or objects lie too deep in each other") from None
    level = [told] if isinstance(told, dict | list) else []
    for _ in range(DEEPEST + 1):
        if not level:
            return told
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
    raise ValueError("lists or objects lie too deep in each other")


def read_array(file: Path | BytesIO, *, mapped: bool = False) -> Shaped[np.ndarray, "..."]:
    """The array of a .npy file; pickles are not opened.

    Args:
        file: Its place, or what it holds.
        mapped: It stays on disk, where it has a place.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, or another file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a head of an earlier form is no harm
            if not isinstance(file, Path):
                return np.lib.format.read_array(file, allow_pickle=False)
            if mapped:
                return np.lib.format.open_memmap(file, mode="r")
            with file.open("rb") as content:
                return np.lib.format.read_array(content, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # of damaged bytes numpy says nearly anything
        raise ValueError(f"no whole .npy file: {error}") from None
