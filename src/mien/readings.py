"""A file in, what each of its frames says of every face and of the voice out.

Faces are looked at 12.5 times a second, each crop encoded as it passes; the voice is read on its own grid and
asked for at the frames' times. The picture and the sound are decoded side by side, each once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf
from pathlib import Path
from typing import TYPE_CHECKING

from mien.ahead import ahead
from mien.boxes import follow_boxes, read_boxes
from mien.detection import STILL_PX, VIDEO_PX, RetinaFace
from mien.errors import InputError
from mien.faces import FaceFinder, Template
from mien.media import Frame, FramePart, read_frames, read_sound
from mien.predictor import DEFAULT_MODEL, FacePredictor, ModelInfo, VoicePredictor
from mien.speech import hear
from mien.stretches import Seam, join, look_in_stretches
from mien.tracking import Tracker
from mien.views import FaceReading, Reading
from mien.voice import Hearing, Voice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.detection import Detector
    from mien.faces import SampledFrame
    from mien.media import MediaInfo
    from mien.speech import SoundColumns

FRAMES_AHEAD, SOUND_AHEAD = 32, 4
"""Frames, of which their faces are held, and seconds of sound that are worked on before they are needed."""

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
    """1: one thing after the other; more: pictures and sound are looked at ahead, in threads of their own,
    while faces and voices are read. Rows are the same."""
    start: float = 0.0
    """Seconds on the file's clock; frames before it get no row."""
    end: float | None = None
    """Frames from here on get no row; None: to the file's end."""
    region: tuple[int, int, int, int] | None = None
    """x1, y1, x2, y2 in pixels of the upright frame; faces are looked for in it alone. None: everywhere."""
    min_face_px: float = 0.0
    """Faces whose box is narrower or lower than this are not seen."""
    boxes: str | None = None
    """Path of a CSV of faces' places, which are looked at instead of searched for; `mien.boxes` reads it."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < (inf if self.end is None else self.end):
            raise InputError(f"the stretch is from {self.start} to {self.end} s; expected 0 <= start < end")
        if not 0 <= self.min_face_px < inf:
            raise InputError(f"min_face_px is {self.min_face_px}; expected pixels, 0 or more")
        if self.region is not None and not (
            0 <= self.region[0] < self.region[2] and 0 <= self.region[1] < self.region[3]
        ):
            raise InputError(f"region is {self.region}; expected x1, y1, x2, y2, each pair rising from 0 on")
        if self.boxes is not None and (self.region is not None or self.min_face_px):
            raise InputError("boxes say where faces are; leave region and min_face_px out")
        if not 0 < self.sample_hz < inf:
            raise InputError(f"sample_hz is {self.sample_hz}; expected frames a second, such as 12.5")
        if self.n_threads < 1:
            raise InputError(f"n_threads is {self.n_threads}; expected 1 or more")


def read_file(media: MediaInfo, model: ModelInfo, settings: ReadingSettings) -> Iterator[Reading]:
    """One reading for each frame of a file, in order; of a file with only sound, 25 a second.

    Raises:
        InputError: The region that the settings name does not lie in the picture.
        MediaError: The file cannot be decoded.
        CheckpointError: The model's files are not what its manifest says.
    """
    if media.has_video:
        refuse_region(settings.region, media.width, media.height, media.path.name)
    voice = listen(media, model, settings)
    if not media.has_video:
        return _listen(voice, settings)
    frames = _wanted(read_frames(media.path), settings)
    if settings.boxes is not None:
        return add_voice(_look_at_boxes(frames, media, model, settings), voice)
    return add_voice(join(look(frames, media, model, settings)), voice)


def listen(media: MediaInfo, model: ModelInfo, settings: ReadingSettings) -> Voice:
    """What is heard in a file.

    Raises:
        CheckpointError: The model's files are not what its manifest says.
    """
    listens = settings.voice and media.has_sound
    predictor = VoicePredictor(model) if listens else None
    heard: Iterator[SoundColumns] = hear(read_sound(media.path)) if media.has_sound else iter(())
    if settings.n_threads > 1 and media.has_sound:
        heard = ahead(heard, SOUND_AHEAD)
    return Voice(heard, predictor)


def refuse_region(region: tuple[int, int, int, int] | None, width: int, height: int, name: str) -> None:
    """Returns if a region lies in a picture.

    Raises:
        InputError: It does not.
    """
    if region is not None and (region[2] > width or region[3] > height):
        raise InputError(
            f"region {','.join(map(str, region))} does not lie in the picture of {name}, which is "
            f"{width} x {height} pixels"
        )


def look(
    frames: Iterator[Frame], media: MediaInfo, model: ModelInfo, settings: ReadingSettings, first: int = 0
) -> Iterator[Reading | Seam]:
    """What frames of a file show, stretch by stretch (see `mien.stretches`); nothing of what is heard.

    Args:
        frames: of the file, in order; from the lead-in of the first stretch on.
        media: the file.
        model: reads the faces.
        settings: `start`, `end` and `boxes` are not looked at.
        first: the stretch in which to begin.
    """
    predict = FacePredictor(model)
    template, detector = template_of(predict), _detector_for(media)

    def new_finder() -> FaceFinder:
        return FaceFinder(
            template,
            detector=detector,
            sample_hz=settings.sample_hz,
            tracker=_tracker_for(media),
            min_face_px=settings.min_face_px,
        )

    corner = (0, 0)
    if settings.region is not None:
        frames, corner = (FramePart(frame, settings.region) for frame in frames), settings.region[:2]
    looks = look_in_stretches(frames, new_finder, first, corner)
    for looked in ahead(looks, FRAMES_AHEAD) if settings.n_threads > 1 else looks:
        yield looked if isinstance(looked, Seam) else read_faces(looked, predict)


def _look_at_boxes(
    frames: Iterator[Frame], media: MediaInfo, model: ModelInfo, settings: ReadingSettings
) -> Iterator[Reading]:
    """What frames of a file show where a table says that faces are, and whose."""
    assert settings.boxes is not None
    predict, boxes = FacePredictor(model), read_boxes(Path(settings.boxes))
    looks = follow_boxes(
        frames, boxes, template_of(predict), detector=_detector_for(media), tracker=_tracker_for(media)
    )
    for looked in ahead(looks, FRAMES_AHEAD) if settings.n_threads > 1 else looks:
        yield read_faces(looked, predict)


def template_of(predict: FacePredictor) -> Template:
    """How the crops are cut that a face net was trained on."""
    assert predict.spec.crop_px is not None
    assert predict.spec.landmarks is not None
    return Template(predict.spec.crop_px, predict.spec.landmarks)


def _detector_for(media: MediaInfo) -> Detector:
    return RetinaFace(detect_px=STILL_PX if media.is_still else VIDEO_PX)


def _tracker_for(media: MediaInfo) -> Tracker:
    return Tracker(start_confidence=0.0) if media.is_still else Tracker()


def add_voice(readings: Iterable[Reading], voice: Hearing) -> Iterator[Reading]:
    """The readings, with what is heard at their times."""
    for reading in readings:
        heard = voice.at(reading.time)
        yield replace(reading, speech=heard.speech, voice=heard.probs, silent=heard.silent)


def _wanted(frames: Iterator[Frame], settings: ReadingSettings) -> Iterator[Frame]:
    """The frames from the start that is asked for to the end."""
    for frame in frames:
        if settings.end is not None and frame.time >= settings.end:
            return
        if frame.time >= settings.start:
            yield frame


def read_faces(looked: SampledFrame, predict: FacePredictor) -> Reading:
    """What the crops of a frame say, where nothing is heard."""
    faces = None
    if looked.faces is not None:
        faces = tuple(
            FaceReading(
                track_id=face.track_id,
                box=face.box,
                confidence=face.confidence,
                probs=predict(face.crop[None])[0],
            )
            for face in looked.faces
        )
    return Reading(
        frame=looked.index,
        time=looked.time,
        faces=faces,
        speech=False,
        voice=None,
        silent=True,
        crowded=looked.crowded,
    )


def _listen(voice: Voice, settings: ReadingSettings) -> Iterator[Reading]:
    tick, end = ceil(settings.start * SOUND_HZ - 1e-9), inf if settings.end is None else settings.end
    while tick / SOUND_HZ < end and voice.reaches(tick / SOUND_HZ):
        time = tick / SOUND_HZ
        heard = voice.at(time)
        yield Reading(
            frame=None, time=time, faces=(), speech=heard.speech, voice=heard.probs, silent=heard.silent
        )
        tick += 1
