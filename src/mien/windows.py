"""Which faces and which mel columns belong to a label time; the same for training and inference.

A window is 3.2 s: 320 mel columns, and nine faces 0.4 s apart, the middle one at the label time.
"""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

import numpy as np

from mien.spans import COLUMNS_PER_SECOND, MEL_FLOOR

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32

WINDOW = 3.2
"""Seconds of sound that one reading of the voice hears, centred on its time."""

N_COLUMNS = round(WINDOW * COLUMNS_PER_SECOND)
"""Mel columns in a window: 320."""

N_FACES = 9
"""Faces in a window, at equal intervals of `FACE_STEP`."""

FACE_STEP = 0.4
"""Seconds between the faces of a window."""

QUIETEST = float(np.log(MEL_FLOOR))
"""Log-mel value that stands in columns outside the file."""


def first_column(time: float) -> int:
    """Index of the first mel column of the window centred on a time; negative near the start of a file.

    >>> first_column(1.6), first_column(0.0)
    (0, -160)
    """
    return floor(COLUMNS_PER_SECOND * time + 0.5) - N_COLUMNS // 2


def face_times(time: float, n_faces: int = N_FACES) -> tuple[float, ...]:
    """Times of a window's faces, in seconds, the middle one at the label time.

    >>> face_times(1.0, 3)
    (0.6, 1.0, 1.4)
    """
    middle = n_faces // 2
    return tuple(time + (k - middle) * FACE_STEP for k in range(n_faces))


def cut_window(
    log_mel: Float32[np.ndarray, "mels columns"], start: int, n_columns: int = N_COLUMNS
) -> tuple[Float32[np.ndarray, "mels window"], Bool[np.ndarray, "window"]]:
    """The window of columns [start, start + n_columns), and which of them lie inside the file.

    Columns outside hold `QUIETEST`.
    """
    window = np.full((log_mel.shape[0], n_columns), QUIETEST, np.float32)
    mask = np.zeros(n_columns, np.bool_)
    first, last = max(start, 0), min(start + n_columns, log_mel.shape[1])
    if first < last:
        window[:, first - start : last - start] = log_mel[:, first:last]
        mask[first - start : last - start] = True
    return window, mask


def cut_clip(
    log_mel: Float32[np.ndarray, "mels columns"],
) -> tuple[Float32[np.ndarray, "windows mels window"], Bool[np.ndarray, "windows window"]]:
    """The windows that cover a clip (see `clip_windows`), and which of their columns lie inside it."""
    starts = clip_windows(log_mel.shape[1])
    windows, masks = zip(*(cut_window(log_mel, start) for start in starts), strict=True)
    return np.stack(windows), np.stack(masks)


def clip_windows(n_columns: int) -> tuple[int, ...]:
    """First columns of the windows that cover a clip, 1.6 s apart; a short clip has one, centred on it.

    >>> clip_windows(500), clip_windows(200)
    ((0, 160, 180), (-60,))
    """
    spare = n_columns - N_COLUMNS
    if spare <= 0:
        return (-(-spare // 2),)
    hop = N_COLUMNS // 2
    return (*range(0, spare, hop), spare)
