"""An entry of a corpus in, its recording out: pictures decoded, faces found and cut out, sound heard.

A file that cannot be used is no error: the reason is noted and it is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.datasets.affwild2 import MOST_BEYOND, crop_times, frame_times, middle_times
from mien.datasets.corpus import Clip, LabelledVideo, Picture
from mien.datasets.crops import cut_box, decode, find_in_box, find_largest, follow, resize
from mien.datasets.entries import Row, read_photographs, read_stills
from mien.datasets.ms1mv2 import read_record
from mien.datasets.prepared import LabelledSpan, Recording
from mien.detection import STILL_PX, VIDEO_PX, RetinaFace
from mien.errors import DatasetError, InputError, MediaError
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
    crops: UInt8[np.ndarray, "crops size size"] | None
    crop_times: Float64[np.ndarray, "crops"]
    columns: Float32[np.ndarray, "columns 64"] | None = None
    frame_step: float | None = None


def record(corpus: str, entry: Entry, settings: PrepareSettings, note: Note) -> Recording | None:
    """The recording of an entry; None where nothing of it can be used.

    Args:
        corpus: That the entry is of.
        entry: What becomes the recording.
        settings: What is made of it.
        note: Called with what could not be used.

    Raises:
        CheckpointError: The detector's weights are not what they should be.
    """
    try:
        match entry.content:
            case Row():
                taken = _take_row(corpus, entry.content, settings, note)
            case Picture():
                image = decode(entry.content.path.read_bytes())
                taken = _still(_crop(image, entry.content.box, settings, note), entry.content.label)
            case LabelledVideo():
                taken = _take_video(entry.content, settings, note)
            case _:
                taken = _take_clips(entry.content, settings, note)
    except (InputError, DatasetError, OSError):
        note("file that cannot be read or decoded")
        return None
    if taken is None:
        return None
    size_px = settings.size_px
    return Recording(
        name=entry.name,
        corpus=corpus,
        speaker=entry.speaker,
        split=entry.split,
        stretches=taken.stretches,
        frame_step=taken.frame_step,
        crops=np.zeros((0, size_px, size_px), np.uint8) if taken.crops is None else taken.crops,
        crop_times=taken.crop_times,
        columns=SILENCE if taken.columns is None else taken.columns,
    )


SILENCE: Float32[np.ndarray, "0 64"] = np.zeros((0, N_MELS), np.float32)


def _take_row(corpus: str, row: Row, settings: PrepareSettings, note: Note) -> Taken | None:
    match corpus:
        case "ferplus":
            grey = read_stills(row.file.parent, settings.seed).images[row.number]
            return _still(resize(np.repeat(grey[..., None], 3, axis=2), settings.size_px), row.label)
        case "ms1mv2":
            with row.file.open("rb") as file:
                image = decode(read_record(file, row.number)[1])
            if image is None:
                note("picture that cannot be decoded")
            return _still(None if image is None else resize(image, settings.size_px), row.label)
        case _:
            image = decode(read_photographs(row.file)[row.number])
            return _still(_crop(image, None, settings, note), row.label)


def _crop(
    image: UInt8[np.ndarray, "height width 3"] | None,
    box: tuple[float, float, float, float] | None,
    settings: PrepareSettings,
    note: Note,
) -> UInt8[np.ndarray, "size size"] | None:
    """The face of a picture; None where it cannot be decoded, or has none."""
    template, crop = Template(settings.size_px), None
    if image is None:
        note("picture that cannot be decoded")
    elif box is not None:
        crop = find_in_box(image, box, template, _detector(STILL_PX))
        if crop is None:
            crop = cut_box(image, box, template)
            note("face box outside its picture" if crop is None else "no face found in its box: cut as it is")
    elif settings.crops:
        crop = resize(image, settings.size_px)
    else:
        crop = find_largest(image, template, _detector(STILL_PX))
        if crop is None:
            note("no face found")
    return crop


def _still(crop: UInt8[np.ndarray, "size size"] | None, label: str | None) -> Taken | None:
    if crop is None:
        return None
    stretches = () if label is None else (LabelledSpan(span=STILL, label=label),)
    return Taken(stretches, crop[None], np.zeros(1))


def _take_clips(clips: Sequence[Clip], settings: PrepareSettings, note: Note) -> Taken | None:
    path = clips[0].path
    media = probe(path)
    if media.is_still:
        if len(clips) > 1:
            note("more than one row of one still")
        image = next(read_frames(path)).image
        return _still(_crop(image, None, settings, note), clips[0].label)
    columns = hear(path) if media.has_sound else None
    crops, times, end = None, np.zeros(0), 0.0
    if media.has_video:
        spans = [Span(clip.start, inf if clip.end is None else clip.end) for clip in clips]
        seen = follow(read_frames(path), Template(settings.size_px), _detector(VIDEO_PX), spans)
        crops, times, end = seen.crops, seen.times, seen.end
    has_faces, has_sound = len(times) > 0, columns is not None and len(columns) > 0
    if not has_faces and not has_sound:
        note("neither face nor sound" if media.has_video else "no sound")
        return None
    if media.has_video and not has_faces:
        note("no face found in a video: sound alone is kept")
    if media.has_video and not has_sound:
        note("no sound in a video: faces alone are kept")
    end = max(end, 0.0 if columns is None else len(columns) / COLUMNS_PER_SECOND)
    return Taken(_stretches(clips, end, note), crops, times, columns)


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
            span = Span(clip.start, end if clip.end is None else min(clip.end, end))
            found.append(LabelledSpan(span=span, label=clip.label))
    return tuple(found)


def _take_video(video: LabelledVideo, settings: PrepareSettings, note: Note) -> Taken | None:
    labels: dict[int, str | None] = {}
    crops = []
    for frame, label in zip(video.frames, video.labels, strict=True):
        image = decode((video.crops / f"{frame:05d}.jpg").read_bytes())
        if image is None:
            note("crop that cannot be decoded")
        else:
            labels[frame] = label
            crops.append(resize(image, settings.size_px))
    if not crops:
        note("video without any crop that can be decoded")
        return None
    columns, middles = _clock(video, note)
    step = float(np.median(np.diff(middles))) if len(middles) > 1 else 1 / FRAME_RATE
    return Taken(
        _runs(labels, middles, step),
        np.stack(crops),
        middles[np.array(list(labels)) - 1],
        columns,
        frame_step=step,
    )


def _clock(
    video: LabelledVideo, note: Note
) -> tuple[Float32[np.ndarray, "columns 64"] | None, Float64[np.ndarray, "frames"]]:
    """A video's sound, and the middle of each frame up to its last crop."""
    last = video.frames[-1]
    numbers = np.arange(1, last + 1)
    if video.media is not None:
        try:
            media = probe(video.media)
            columns = hear(video.media) if media.has_sound else None
            begins = frame_times(video.media)
            if last - len(begins) > max(1, MOST_BEYOND * len(begins)):
                note("crops go on after their media's frames: spread evenly over it")
            duration = media.duration or (0 if columns is None else len(columns) / COLUMNS_PER_SECOND)
            if columns is None or not len(columns):
                note("no sound in a video: faces alone are kept")
            return columns, middle_times(begins, numbers, duration)
        except MediaError:
            note("media that cannot be decoded: crops are timed at 30 a second, without sound")
    else:
        note("video without media: crops are timed at 30 a second, without sound")
    return None, crop_times(numbers.tolist(), n_frames=last, fps=FRAME_RATE)


def _runs(
    labels: dict[int, str | None], middles: Float64[np.ndarray, "frames"], step: float
) -> tuple[LabelledSpan, ...]:
    """Frames of one label that follow each other, as stretches that begin and end midway between frames."""
    edges = np.concatenate(
        [[max(middles[0] - step / 2, 0.0)], (middles[:-1] + middles[1:]) / 2, [middles[-1] + step / 2]]
    ).tolist()
    runs: list[tuple[int, int, str]] = []
    for frame, label in labels.items():
        if label is None:
            continue
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
