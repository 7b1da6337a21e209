"""Rows as the timeline yields them, made up, for the tests of what is written of them."""

from collections.abc import Iterator

import numpy as np

from mien.expressions import EXPRESSIONS, position
from mien.timeline import Row


def leaning(label: str, by: float = 0.72) -> np.ndarray:
    """Probabilities of which one expression has `by` and the others share the rest."""
    probs = np.full(8, (1 - by) / 7, np.float32)
    probs[position(label)] = by
    return probs


def row(
    time: float,
    track_id: int | None = 1,
    probs: np.ndarray | None = None,
    *,
    frame: int | None = 0,
    voice: np.ndarray | None = None,
    flags: tuple[str, ...] = (),
) -> Row:
    """A row of one person, or of nobody; fused probabilities are the face's, or the voice's for nobody."""
    seen = track_id is not None
    fused = probs if seen else voice
    return Row(
        frame=frame,
        time=float(time),
        track_id=track_id,
        box=np.array([10, 20.25, 110, 140], np.float32) if seen else None,
        confidence=0.987654 if seen else None,
        probs=fused,
        face_probs=probs,
        voice_probs=voice,
        label=None if fused is None else EXPRESSIONS[int(fused.argmax())],
        source="none" if fused is None else "face" if seen else "voice",
        flags=frozenset(flags)
        | (set() if seen else {"no_face"})
        | (set() if voice is not None else {"no_speech"}),
    )


def clip(duration: float = 4.0, fps: float = 25.0) -> Iterator[Row]:
    """Two people and a voice: 1 is Happy, then Sad; 2 comes at a quarter; the last tenth shows nobody."""
    for frame in range(round(duration * fps)):
        time = frame / fps
        share = frame / round(duration * fps)
        voice = leaning("Anger", 0.6) if 0.3 <= share < 0.6 else None
        if share >= 0.9:
            yield row(time, None, frame=frame, voice=voice)
            continue
        yield row(time, 1, leaning("Happiness" if share < 0.5 else "Sadness"), frame=frame, voice=voice)
        if share >= 0.25:
            yield row(time, 2, leaning("Neutral"), frame=frame, voice=voice)
