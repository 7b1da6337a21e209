"""Recordings in memory whose crops and columns tell where they are from."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mien.datasets.prepared import LabelledSpan, Recording
from mien.spans import Span


def make_recording(
    *stretches: tuple[float, float, str],
    name: str = "one",
    split: str = "train",
    frame_step: float | None = None,
    crop_times: Sequence[float] = (),
    seconds: float = 0.0,
    speaker: str | None = None,
    size_px: int = 8,
) -> Recording:
    """Every pixel of crop k is k (up to 255), every value of column j is j / 100, of `seconds` of sound."""
    n_columns = round(seconds * 100)
    rows = np.arange(len(crop_times)).astype(np.uint8)
    return Recording(
        name=name,
        corpus="corpus",
        speaker=f"{split} {name}" if speaker is None else speaker,
        split=split,
        stretches=tuple(LabelledSpan(span=Span(start, end), label=label) for start, end, label in stretches),
        frame_step=frame_step,
        crops=np.broadcast_to(rows[:, None, None], (len(rows), size_px, size_px)),
        crop_times=np.array(crop_times, np.float64),
        columns=np.broadcast_to(np.arange(n_columns, dtype=np.float32)[:, None] / 100, (n_columns, 64)),
    )


def with_features(recording: Recording, face: int = 0, speech: int = 0, rate: float = 10.0) -> Recording:
    """The recording with so many features: of crop k, k + 1000; of step j, its middle in seconds."""
    n_steps = round(len(recording.columns) / 100 * rate)
    changes: dict[str, Any] = {"extractors": {}}
    if face:
        rows = np.arange(len(recording.crops), dtype=np.float32)[:, None] + 1000
        changes["face_features"] = np.repeat(rows, face, axis=1)
        changes["extractors"]["face"] = {"n_features": face, "sha256": "of faces"}
    if speech:
        middles = (np.arange(n_steps, dtype=np.float32)[:, None] + 0.5) / np.float32(rate)
        changes["speech_features"] = np.repeat(middles, speech, axis=1)
        changes["extractors"]["speech"] = {"n_features": speech, "sha256": "of speech", "rate": rate}
    return replace(recording, **changes)


def frames(start: float, end: float, step: float) -> list[float]:
    """The middles of the frames of a stretch, as times of crops."""
    return [start + (k + 0.5) * step for k in range(round((end - start) / step))]
