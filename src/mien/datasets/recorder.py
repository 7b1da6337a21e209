"""An entry of a corpus in, its recording out: pictures decoded, faces found and cut out, sound heard.

A file that cannot be used is no error: the reason is noted and it is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.datasets.affwild2 import MOST_BEYOND, count_timed, crop_times, frame_times, middle_times
from mien.datasets.corpus import ROUNDING, Clip, LabelledVideo, Picture
from mien.datasets.crops import Seen, Sight, cut_box, decode, find_in_box, find_largest, follow
from mien.datasets.entries import Row, read_photographs, read_stills
from mien.datasets.ms1mv2 import read_record
from mien.datasets.prepared import LabelledSpan, Recording
from mien.detection import STILL_PX, VIDEO_PX, RetinaFace
from mien.errors import DatasetError, InputError, MediaError
from mien.expressions import EXPRESSIONS
from mien.extractors import FaceExtractor, FeatureFolder, SpeechExtractor, open_extractor
from mien.faces import Template
from mien.media import probe, read_frames, read_waveform
from mien.spans import COLUMNS_PER_SECOND, Span
from mien.speech import N_MELS, log_mel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Float32, Float64, UInt8

    from mien.datasets.entries import Entry, PrepareSettings

STILL = Span(0.0, 0.04)
"""When a still is seen."""

FRAME_RATE = 30.0
"""Frames a second of crops whose media is not there."""

Note = Callable[[str], None]
"""Called with what could not be used, and why."""


class Taken(NamedTuple):
    """What was taken from the files of an entry."""

    stretches: tuple[LabelledSpan, ...]
    seen: Sequence[Seen]
    crop_times: Float64[np.ndarray, "crops"]
    columns: Float32[np.ndarray, "columns 64"]
    frame_step: float | None = None
    end: float | None = 0.0
    """Seconds of the picture; 0: a still, or none; None: nobody knows."""
    shares: dict[str, float] | None = None
    """Of votes, where people voted."""


class Extractors:
    """The extractors of one's own that the settings name, opened.

    Raises:
        CheckpointError: A network is not what its JSON says.
        DatasetError: A folder has no features of this kind.
    """

    def __init__(self, settings: PrepareSettings) -> None:
        named = {"face": settings.face_extractor, "speech": settings.speech_extractor}
        self._open = {
            modality: open_extractor(path, "face" if modality == "face" else "speech")
            for modality, path in named.items()
            if path is not None
        }
        self.told = {modality: each.told for modality, each in self._open.items()}
        self._heard: tuple[object, Float32[np.ndarray, "steps D"]] | None = None

    def sight(self, settings: PrepareSettings) -> Sight:
        """How faces are kept."""
        face = self._open.get("face")
        return Sight(Template(settings.size_px), face if isinstance(face, FaceExtractor) else None)

    def face_features(self, name: str, taken: Taken) -> Float32[np.ndarray, "crops D"] | None:
        """Features of each crop of a recording; rows of NaN where its folder has none.

        Raises:
            DatasetError: The folder's do not fit the recording.
        """
        if "face" not in self._open:
            return None
        face, n_features = self._open["face"], self.told["face"]["n_features"]
        if not taken.seen:
            return np.zeros((0, n_features), np.float32)
        if not isinstance(face, FeatureFolder):
            return np.stack([each.features for each in taken.seen if each.features is not None])
        rows = face.read(name, taken.end)
        at = face.rows_at(taken.crop_times, len(rows))
        if at.max() >= len(rows):
            raise DatasetError(
                f"{face.folder} has {len(rows)} rows of {name!r}, which end before its last face at "
                f"{taken.crop_times[-1]:.2f} s; expected rows to its end"
            )
        return np.asarray(rows[at])

    def speech_features(
        self, name: str, columns: Float32[np.ndarray, "columns 64"]
    ) -> Float32[np.ndarray, "steps D"] | None:
        """Features of a recording's sound; those of one array are made once.

        Raises:
            DatasetError: The folder's do not fit the recording.
        """
        speech = self._open.get("speech")
        if speech is None:
            return None
        if isinstance(speech, FeatureFolder) and len(columns):
            rows = speech.read(name, len(columns) / COLUMNS_PER_SECOND)
            if not np.isfinite(rows).all():
                raise DatasetError(f"{speech.folder} has features of {name!r} that are no numbers; mend them")
            return rows
        if isinstance(speech, SpeechExtractor):
            if self._heard is None or self._heard[0] is not columns:
                self._heard = columns, speech.hear(columns)
            return self._heard[1]
        return np.zeros((0, self.told["speech"]["n_features"]), np.float32)


def record(
    corpus: str, entry: Entry, settings: PrepareSettings, note: Note, extractors: Extractors
) -> Recording | None:
    """The recording of an entry; None where nothing of it can be used.

    Args:
        corpus: That the entry is of.
        entry: What becomes the recording.
        settings: What is made of it.
        note: Called with what could not be used.
        extractors: Those of the settings.

    Raises:
        CheckpointError: The detector's weights are not what they should be.
        DatasetError: A folder's features do not fit the recording.
    """
    sight = extractors.sight(settings)
    try:
        match entry.content:
            case Row():
                taken = _take_row(corpus, entry.content, settings, sight, note)
            case Picture():
                image = decode(entry.content.path.read_bytes())
                taken = _still(_crop(image, entry.content.box, settings, sight, note), entry.content.label)
            case LabelledVideo():
                taken = _take_video(entry.content, sight, note)
            case _:
                taken = _take_clips(entry.content, settings, sight, note)
    except (InputError, DatasetError, OSError):
        note("file that cannot be read or decoded")
        return None
    if taken is None:
        return None
    crops = np.zeros((0, settings.size_px, settings.size_px), np.uint8)
    if taken.seen:
        crops = np.stack([each.crop for each in taken.seen])
    features, times = extractors.face_features(entry.name, taken), taken.crop_times
    if features is not None and not np.isfinite(features).all():
        note("faces without features: left out")
        there = np.isfinite(features).all(1)
        crops, times, features = crops[there], times[there], features[there]
        if not len(crops) and not len(taken.columns):
            return None
    return Recording(
        name=entry.name,
        corpus=corpus,
        speaker=entry.speaker,
        split=entry.split,
        stretches=taken.stretches,
        frame_step=taken.frame_step,
        crops=crops,
        crop_times=times,
        columns=taken.columns,
        face_features=features,
        speech_features=extractors.speech_features(entry.name, taken.columns),
        shares=taken.shares,
        extractors=extractors.told,
    )


SILENCE: Float32[np.ndarray, "0 64"] = np.zeros((0, N_MELS), np.float32)


def _take_row(corpus: str, row: Row, settings: PrepareSettings, sight: Sight, note: Note) -> Taken | None:
    match corpus:
        case "ferplus":
            stills = read_stills(row.file.parent, settings.seed)
            grey, shares = stills.images[row.number], stills.targets[row.number].tolist()
            taken = _still(sight.whole(np.repeat(grey[..., None], 3, axis=2)), row.label)
            return taken and taken._replace(shares=dict(zip(EXPRESSIONS, shares, strict=True)))
        case "ms1mv2":
            with row.file.open("rb") as file:
                image = decode(read_record(file, row.number)[1])
            if image is None:
                note("picture that cannot be decoded")
            return _still(None if image is None else sight.whole(image), row.label)
        case _:
            image = decode(read_photographs(row.file)[row.number])
            return _still(_crop(image, None, settings, sight, note), row.label)


def _crop(
    image: UInt8[np.ndarray, "height width 3"] | None,
    box: tuple[float, float, float, float] | None,
    settings: PrepareSettings,
    sight: Sight,
    note: Note,
) -> Seen | None:
    """The face of a picture; None where it cannot be decoded, or has none."""
    seen = None
    if image is None:
        note("picture that cannot be decoded")
    elif box is not None:
        seen = find_in_box(image, box, sight, _detector(STILL_PX))
        if seen is None:
            seen = cut_box(image, box, sight)
            note("face box outside its picture" if seen is None else "no face found in its box: cut as it is")
    elif settings.crops:
        seen = sight.whole(image)
    else:
        seen = find_largest(image, sight, _detector(STILL_PX))
        if seen is None:
            note("no face found")
    return seen


def _still(seen: Seen | None, label: str | None) -> Taken | None:
    if seen is None:
        return None
    stretches = () if label is None else (LabelledSpan(span=STILL, label=label),)
    return Taken(stretches, [seen], np.zeros(1), SILENCE)


def _take_clips(clips: Sequence[Clip], settings: PrepareSettings, sight: Sight, note: Note) -> Taken | None:
    path = clips[0].path
    media = probe(path)
    if media.is_still:
        if len(clips) > 1:
            note("more than one row of one still")
        image = next(read_frames(path)).image
        return _still(_crop(image, None, settings, sight, note), clips[0].label)
    columns = hear(path) if media.has_sound else SILENCE
    faces: list[Seen] = []
    times, end = np.zeros(0), 0.0
    if media.has_video:
        spans = [Span(clip.start, inf if clip.end is None else clip.end) for clip in clips]
        followed = follow(read_frames(path), sight, _detector(VIDEO_PX), spans)
        faces, times, end = followed.seen, followed.times, followed.end
    if not faces and not len(columns):
        note("neither face nor sound" if media.has_video else "no sound")
        return None
    if media.has_video and not faces:
        note("no face found in a video: sound alone is kept")
    if media.has_video and not len(columns):
        note("no sound in a video: faces alone are kept")
    longer = max(end, len(columns) / COLUMNS_PER_SECOND)
    return Taken(_stretches(clips, longer, note), faces, times, columns, end=end)


def _stretches(clips: Sequence[Clip], end: float, note: Note) -> tuple[LabelledSpan, ...]:
    """The labelled stretches of one file, by their starts; what goes beyond its end is cut off."""
    found: list[LabelledSpan] = []
    for clip in clips:
        if clip.label is None:
            continue
        if clip.start >= end:
            note("stretch after the end of its file")
        elif found and clip.start < found[-1].span.end:
            note("stretch over another one")
        else:
            if clip.end is not None and clip.end > end + ROUNDING:
                note("stretch that ends after its file: cut off there")
            span = Span(clip.start, end if clip.end is None else min(clip.end, end))
            found.append(LabelledSpan(span=span, label=clip.label))
    return tuple(found)


def _take_video(video: LabelledVideo, sight: Sight, note: Note) -> Taken | None:
    seen: dict[int, Seen] = {}
    for frame in video.frames:
        image = decode((video.crops / f"{frame:05d}.jpg").read_bytes())
        if image is None:
            note("crop that cannot be decoded")
        else:
            seen[frame] = sight.whole(image)
    if not seen:
        note("video without any crop that can be decoded")
        return None
    columns, middles, end = _clock(video, note)
    step = float(np.median(np.diff(middles))) if len(middles) > 1 else 1 / FRAME_RATE
    for _ in filter(None, video.labels[len(middles) :]):
        note("labelled line after the end of its video")
    # what is learnt from was seen; what is scored is every frame that has a label
    labels = {
        frame: label
        for frame, label in enumerate(video.labels[: len(middles)], 1)
        if label is not None and (video.split == "val" or frame in seen)
    }
    times = middles[np.array(list(seen)) - 1]
    return Taken(_runs(labels, middles, step), list(seen.values()), times, columns, frame_step=step, end=end)


def _clock(
    video: LabelledVideo, note: Note
) -> tuple[Float32[np.ndarray, "columns 64"], Float64[np.ndarray, "frames"], float | None]:
    """A video's sound, the middle of each frame that has a time, and when the last one ends."""
    last = video.frames[-1]
    if video.media is not None:
        try:
            media = probe(video.media)
            columns = hear(video.media) if media.has_sound else SILENCE
            begins = frame_times(video.media)
            if last - len(begins) > max(1, MOST_BEYOND * len(begins)):
                note("crops go on after their media's frames: spread evenly over it")
            numbers = np.arange(1, count_timed(video, len(begins)) + 1)
            duration = media.duration or len(columns) / COLUMNS_PER_SECOND
            if not len(columns):
                note("no sound in a video: faces alone are kept")
            end = float(begins[-1] + np.median(np.diff(begins))) if len(begins) > 1 else None
            return columns, middle_times(begins, numbers, duration), end
        except MediaError:
            note("media that cannot be decoded: crops are timed at 30 a second, without sound")
    else:
        note("video without media: crops are timed at 30 a second, without sound")
    n_frames = len(video.labels)
    return SILENCE, crop_times(range(1, n_frames + 1), n_frames=n_frames, fps=FRAME_RATE), None


def _runs(
    labels: dict[int, str], middles: Float64[np.ndarray, "frames"], step: float
) -> tuple[LabelledSpan, ...]:
    """Frames of one label that follow each other, as stretches that begin and end midway between frames."""
    edges = np.concatenate(
        [[max(middles[0] - step / 2, 0.0)], (middles[:-1] + middles[1:]) / 2, [middles[-1] + step / 2]]
    ).tolist()
    runs: list[tuple[int, int, str]] = []
    for frame, label in labels.items():
        if runs and runs[-1][1:] == (frame - 1, label):
            runs[-1] = runs[-1][0], frame, label
        else:
            runs.append((frame, frame, label))
    return tuple(
        LabelledSpan(span=Span(edges[first - 1], edges[last]), label=label) for first, last, label in runs
    )


@lru_cache(maxsize=1)
def hear(path: Path) -> Float32[np.ndarray, "columns 64"]:
    """The log-mel of a file's whole sound, kept for the next person in it; read-only.

    Raises:
        MediaError: It is no media file, or a sound file that cannot be decoded.
    """
    return np.ascontiguousarray(log_mel(read_waveform(path)).T)


@lru_cache(maxsize=2)
def _detector(detect_px: int) -> RetinaFace:
    return RetinaFace(detect_px=detect_px)
