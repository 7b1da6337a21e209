"""Readings as the tests of the timeline make them up."""

import numpy as np

from mien.expressions import EXPRESSIONS
from mien.timeline import TimelineSettings
from mien.views import FaceReading, Reading

AS_READ = TimelineSettings(smooth=0)
"""Settings that leave probabilities as they are."""
BOX = np.array([10, 20, 50, 80], dtype=np.float32)


def probs_of(name: str, certainty: float = 0.65) -> np.ndarray:
    rest = (1 - certainty) / 7
    return np.array([certainty if name == one else rest for one in EXPRESSIONS], dtype=np.float32)


def person(
    track_id: int, probs: np.ndarray | str = "Neutral", box: np.ndarray = BOX, confidence: float = 0.9
):
    probs = probs_of(probs) if isinstance(probs, str) else probs
    return FaceReading(track_id=track_id, box=box, confidence=confidence, probs=probs)


def reading(
    time: float, faces: tuple | None = (), voice: np.ndarray | str | None = None, silent: bool = False
):
    voice = probs_of(voice) if isinstance(voice, str) else voice
    return Reading(
        frame=round(time * 1000), time=time, faces=faces, speech=voice is not None, voice=voice, silent=silent
    )
