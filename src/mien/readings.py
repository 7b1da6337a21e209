"""A file in, what each of its frames says of every face and of the voice out.

Faces are looked at 12.5 times a second, each crop encoded as it passes; the voice is read on its own grid and
asked for at the frames' times. The picture and the sound are decoded side by side, each once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from mien.detection import STILL_PX, VIDEO_PX, RetinaFace
from mien.errors import InputError
from mien.faces import Face, Template, find_faces
from mien.media import read_frames, read_sound
from mien.predictor import DEFAULT_MODEL, FacePredictor, ModelInfo, VoicePredictor
from mien.speech import hear
from mien.timeline import FaceReading, Reading
from mien.tracking import Tracker
from mien.voice import Voice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.media import MediaInfo

SOUND_HZ = 25
"""Readings per second of a file that has only sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSettings:
    """How a file is read."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model, or a folder written by `mien export`."""
    voice: bool = True
    """False: the voice is not analyzed, and the weights of the speech net are never opened."""
    sample_hz: float = 12.5
    """Frames a second in which faces are looked at."""
    n_threads: int = 2
    """Threads of the speech encoder; a face is too small to share."""

    def __post_init__(self) -> None:
        if not 0 < self.sample_hz < inf:
            raise InputError(f"sample_hz is {self.sample_hz}; expected frames a second, such as 12.5")
        if self.n_threads < 1:
            raise InputError(f"n_threads is {self.n_threads}; expected 1 or more")


def read_file(media: MediaInfo, model: ModelInfo, settings: ReadingSettings) -> Iterator[Reading]:
    """One reading for each frame of a file, in order; of a file with only sound, 25 a second.

    Raises:
        MediaError: The file cannot be decoded.
        CheckpointError: The model's files are not what its manifest says.
    """
    listens = settings.voice and media.has_sound
    predictor = VoicePredictor(model, n_threads=settings.n_threads) if listens else None
    voice = Voice(hear(read_sound(media.path)) if media.has_sound else (), predictor)
    return _look(media, model, settings, voice) if media.has_video else _listen(voice)


def _look(media: MediaInfo, model: ModelInfo, settings: ReadingSettings, voice: Voice) -> Iterator[Reading]:
    predict = FacePredictor(model)
    spec = predict.spec
    assert spec.crop_px is not None
    assert spec.landmarks is not None
    template = Template(spec.crop_px, spec.landmarks)
    detector = RetinaFace(detect_px=STILL_PX if media.is_still else VIDEO_PX)
    tracker = Tracker(start_confidence=0.0) if media.is_still else Tracker()
    frames = read_frames(media.path)
    for sampled in find_faces(
        frames, template, detector=detector, sample_hz=settings.sample_hz, tracker=tracker
    ):
        heard = voice.at(sampled.time)
        faces = None if sampled.faces is None else tuple(_read_face(face, predict) for face in sampled.faces)
        yield Reading(
            frame=sampled.index,
            time=sampled.time,
            faces=faces,
            speech=heard.speech,
            voice=heard.probs,
            silent=heard.silent,
        )


def _read_face(face: Face, predict: FacePredictor) -> FaceReading:
    return FaceReading(
        track_id=face.track_id,
        box=face.box,
        confidence=face.confidence,
        probs=predict(face.crop[None])[0],
    )


def _listen(voice: Voice) -> Iterator[Reading]:
    tick = 0
    while voice.reaches(tick / SOUND_HZ):
        time = tick / SOUND_HZ
        heard = voice.at(time)
        yield Reading(
            frame=None, time=time, faces=(), speech=heard.speech, voice=heard.probs, silent=heard.silent
        )
        tick += 1
