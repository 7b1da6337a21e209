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
"""Least log-mel value of a window, and the one that stands in columns outside the file."""

QUIETEST_SPEECH = -3.0
"""Log-mel value to which the loudest columns of a window of quieter sound are raised: a quarter of RAVDESS
lies below it. Chosen on the voices that choose a net's epoch: as they are it changes nothing; 20 and 30 dB
quieter, .67 and .61 of them are right with it, .64 and .40 without (decision 27)."""

MOST_RAISED = float(np.log(1e4))
"""By so much a window is raised at most, 40 dB: what is quieter still is hiss."""


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
    """The window of mel columns [start, start + n_columns), and which of them lie inside the file.

    A window of quiet sound is raised as `raised` does; columns outside hold `QUIETEST`.
    """
    window, mask = cut(log_mel, start, n_columns, outside=QUIETEST)
    window[:, mask] = raised(window[:, mask])
    return window, mask


def raised(log_mel: Float32[np.ndarray, "mels columns"]) -> Float32[np.ndarray, "mels columns"]:
    """Quiet sound made as loud as a net expects, and what is then still below `QUIETEST` brought up to it.

    How loud it is, the loudest mel of its columns says, all but the loudest 5 % of them. What is as loud as
    `QUIETEST_SPEECH` already is not raised.

    >>> raised(np.full((64, 320), -6.0, np.float32)).max(), raised(np.full((64, 320), 1.0, np.float32)).max()
    (np.float32(-3.0), np.float32(1.0))
    """
    if log_mel.shape[1] == 0:
        return log_mel
    loud = float(np.percentile(log_mel.max(axis=0), 95))
    by = min(max(QUIETEST_SPEECH - loud, 0.0), MOST_RAISED)
    return np.maximum(log_mel + np.float32(by), np.float32(QUIETEST))


def cut(
    columns: Float32[np.ndarray, "features columns"], start: int, n_columns: int, *, outside: float
) -> tuple[Float32[np.ndarray, "features window"], Bool[np.ndarray, "window"]]:
    """Columns [start, start + n_columns) of anything, `outside` beyond their ends; and which are inside."""
    window = np.full((columns.shape[0], n_columns), outside, np.float32)
    mask = np.zeros(n_columns, np.bool_)
    first, last = max(start, 0), min(start + n_columns, columns.shape[1])
    if first < last:
        window[:, first - start : last - start] = columns[:, first:last]
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
