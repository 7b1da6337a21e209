"""Clips of one photograph for the tests: people come and go on a plain background; music, made-up speech."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from media_files import Image, Waveform, tone
from mien import readings
from mien.speech import SoundColumns, hear

PORTRAIT = cv2.resize(astronaut()[:300, 80:380], (200, 200), interpolation=cv2.INTER_AREA)


def scene(*lefts: int, height: int = 270, width: int = 480) -> Image:
    """A grey picture with the photograph at each of these places from the left, every other one mirrored."""
    image = np.full((height, width, 3), 120, np.uint8)
    for k, left in enumerate(lefts):
        image[40:240, left : left + 200] = PORTRAIT[:, ::-1] if k % 2 else PORTRAIT
    return image


def scenes(*stretches: tuple[float, tuple[int, ...]], fps: int = 25) -> Iterator[Image]:
    """Frames of stretches of so many seconds, each with the photograph at these places."""
    for duration, lefts in stretches:
        yield from [scene(*lefts)] * round(duration * fps)


def music(duration: float) -> Waveform:
    """A chord, in which nobody speaks."""
    chord = tone(262, duration) + tone(330, duration) + tone(392, duration)
    return np.asarray(chord / 3, np.float32)


def hear_speech(
    monkeypatch: pytest.MonkeyPatch, start: float = 0.0, end: float = np.inf
) -> Callable[[Iterable[np.ndarray]], Iterator[SoundColumns]]:
    """What `mien.speech.hear` is replaced by: it takes all sound between two times for speech."""

    def hear_all(chunks: Iterable[np.ndarray]) -> Iterator[SoundColumns]:
        for heard in hear(chunks):
            times = (heard.start_column + np.arange(heard.speech.size) + 0.5) / 100
            yield replace(heard, speech=(times >= start) & (times < end))

    monkeypatch.setattr(readings, "hear", hear_all)
    return hear_all
