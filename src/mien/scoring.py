"""A model and labelled samples in, what the model says of each out.

A still or a sound is one reading. A stretch of a video is many, so there are two answers to it: `raw`, the
mean of its readings as they are, and `post`, the mean of mien's timeline, gaps filled and smoothed. Both are
of the person who fills most of the picture there, fused with the voice as the timeline does it.

What cannot be read, or where nobody is seen or heard, keeps its row, with NaN and a note that says why.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from mien.boxes import overlaps
from mien.datasets.corpus import ROUNDING, Clip, Picture
from mien.detection import STILL_PX, RetinaFace, look_near
from mien.errors import CheckpointError, MediaError
from mien.faces import Template, align, find_faces
from mien.media import probe, read_frames, read_waveform
from mien.pipeline import fill_fusion
from mien.predictor import FACE_FILES, SPEECH_FILES, FacePredictor, VoicePredictor
from mien.readings import ReadingSettings, read_file
from mien.spans import SAMPLE_RATE, Span
from mien.speech import log_mel
from mien.timeline import TimelineSettings, rows
from mien.tracking import Tracker
from mien.windows import cut_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from jaxtyping import Bool, Float32, UInt8

    from mien.classwise import Fusion
    from mien.media import MediaInfo
    from mien.predictor import ModelInfo
    from mien.samples import Sample, Source, View
    from mien.spans import Hook
    from mien.timeline import Row
    from mien.views import Reading

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""

Probs = dict["Source", "Float32[np.ndarray, '8']"]
"""Probabilities by what they come from; what says nothing is not there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of one sample."""

    raw: Probs = field(default_factory=dict)
    post: Probs = field(default_factory=dict)
    note: str = ""
    """Why nothing is said; up to a colon the same for all samples of one kind."""
    asked: tuple[Source, ...] = ()
    """Whether there was a picture to look at ("face"), and sound to listen to ("voice")."""
    is_cut: bool = False
    """The stretch goes on after the end of its file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Labels and probabilities of one split of one corpus, and how they are scored."""

    corpus: str
    names: tuple[str, ...]
    spans: tuple[Span, ...] | None
    """The stretch of its file that each row is of; None where rows are pictures or frames."""
    labels: tuple[str, ...]
    groups: tuple[str, ...] | None
    """Speaker, video or picture of each row; None where every row is its own."""
    group_word: str
    """What the groups are, such as "speakers"."""
    videos: tuple[str, ...] | None
    """File, or person in a video, that each row is from; None for pictures."""
    notes: tuple[str, ...]
    """Why a row has no prediction; empty where it has one."""
    raw: dict[Source, Float32[np.ndarray, "rows 8"]]
    """By what they come from, NaN where nothing was found: "fused" always, "face" and "voice" if both are."""
    post: dict[Source, Float32[np.ndarray, "rows 8"]]
    """After post-processing; `raw` itself where each row is one reading."""
    asked: dict[Source, Bool[np.ndarray, "rows"]]
    """Which rows have a picture ("face") and sound ("voice") that the model was asked about."""
    views: tuple[View, ...]
    remarks: tuple[str, ...]

    @property
    def probs(self) -> Float32[np.ndarray, "rows 8"]:
        """What the model says of each row, not post-processed."""
        return self.raw["fused"]


class Rater:
    """A model at work on one sample after another; each network is opened when it is first needed.

    Args:
        model: What `load_model` gives.
        crops: Pictures, or the boxes in them that their corpus names, are face crops already.
        fusion: Which rule fuses face and voice; None: the model's own.
    """

    def __init__(self, model: ModelInfo, *, crops: bool = False, fusion: Fusion | None = None) -> None:
        self.model, self.rule = model, model.rule(fusion)
        self.hears = SPEECH_FILES[0] in model.sha256
        self.settings = fill_fusion(TimelineSettings(fusion=fusion), model)
        self._crops = crops

    @cached_property
    def face(self) -> FacePredictor:
        """The face network.

        Raises:
            CheckpointError: The model has none.
        """
        self.refuse(FACE_FILES[0], "face", "pictures")
        return FacePredictor(self.model)

    @cached_property
    def voice(self) -> VoicePredictor:
        """The speech network.

        Raises:
            CheckpointError: The model has none.
        """
        self.refuse(SPEECH_FILES[0], "speech", "sound")
        return VoicePredictor(self.model, n_threads=2)

    def refuse(self, file_name: str, network: str, data: str) -> None:
        """Refuses a model without a network that the data need."""
        if file_name not in self.model.sha256:
            raise CheckpointError(
                f"model {self.model.name} has no {network} network, and {data} are to be scored; "
                f"give a model exported with one, or other data"
            )

    @cached_property
    def template(self) -> Template:
        """Of the crops that the face network takes."""
        spec = self.face.spec
        assert spec.crop_px is not None
        assert spec.landmarks is not None
        return Template(spec.crop_px, spec.landmarks)

    @cached_property
    def _detector(self) -> RetinaFace:
        return RetinaFace(detect_px=STILL_PX)

    def one_reading(self, source: Source, probs: Float32[np.ndarray, "8"]) -> Answer:
        """The answer where there is nothing to be post-processed."""
        seen = np.array([source == "face"])
        fused = self.rule(probs[None], probs[None], voice_present=~seen, face_present=seen)[0]
        said: Probs = {"fused": fused.astype(np.float32), source: probs}
        return Answer(said, said, asked=(source,))

    def rate_crop(
        self, image: UInt8[np.ndarray, "height width 3"], box: Box | None = None
    ) -> Float32[np.ndarray, "8"]:
        """What a face crop shows: the square about the middle of a box, or of the whole picture.

        It is brought to the size that the network takes, and else left as it is.
        """
        corners = (0.0, 0.0, *map(float, image.shape[1::-1])) if box is None else box
        low, high = np.array(corners[:2]), np.array(corners[2:])
        side = float((high - low).max())
        landmarks = (low + high - side) / 2 + side * np.array(self.template.landmarks)
        return np.asarray(self.face(align(image, landmarks, self.template)[None])[0])

    def rate_still(self, path: Path, box: Box | None = None) -> Answer:
        """What the face in a picture shows: the one in the box, or the largest.

        Raises:
            MediaError: The picture cannot be decoded.
        """
        frame = next(read_frames(path), None)
        if frame is None:
            return Answer(note="cannot be read: no picture")
        image = frame.image
        if box is not None and not overlaps(np.array(box, np.float32), image):
            return nobody("box outside the picture", "face")
        if self._crops:
            return self.one_reading("face", self.rate_crop(image, box))
        if box is not None:
            found = look_near(self._detector, image, np.array(box, np.float32))
            if found is None:
                return nobody("no face", "face")
            # as in analysis, the points are those of a look near the detector's own box
            found = look_near(self._detector, image, found.box) or found
            return self.one_reading("face", self.face(align(image, found.landmarks, self.template)[None])[0])
        tracker = Tracker(start_confidence=0.0)
        (looked,) = find_faces([frame], self.template, detector=self._detector, tracker=tracker)
        if not looked.faces:
            return nobody("no face", "face")
        largest = max(looked.faces, key=lambda face: area(face.box))
        return self.one_reading("face", self.face(largest.crop[None])[0])

    def rate_sound(self, clip: Clip) -> Answer:
        """What a stretch of sound says: the mean over windows 1.6 s apart.

        Raises:
            MediaError: The sound cannot be decoded, or ends before the stretch.
        """
        waveform = read_waveform(clip.path, clip.start, clip.end)
        columns, end = log_mel(waveform), clip.start + len(waveform) / SAMPLE_RATE
        if not columns.shape[1]:
            return nobody("no sound", "voice")
        answer = self.one_reading("voice", self.voice(*cut_clip(columns)).mean(0))
        return replace(answer, is_cut=clip.end is not None and clip.end > end + ROUNDING)

    def rate_video(
        self, media: MediaInfo, clips: Sequence[Clip], tell: Callable[[float], None]
    ) -> list[Answer]:
        """What stretches of one video show and say; the file is read once.

        Raises:
            MediaError: The video cannot be decoded.
        """
        self.refuse(FACE_FILES[0], "face", "pictures")
        stretches = [_Stretch(Span(clip.start, inf if clip.end is None else clip.end)) for clip in clips]
        readings = read_file(media, self.model, ReadingSettings(voice=self.hears))
        last, at = 0.0, _Cursor(stretches)
        for row in rows(_tap(readings, stretches, self), self.settings, self.model.class_wise):
            last = row.time
            tell(min(last / media.duration, 1.0) if media.duration else 0.0)
            for stretch in at(last):
                stretch.add("post", row)
        asked: tuple[Source, ...] = ("face", "voice") if media.has_sound and self.hears else ("face",)
        note, end = "no face, no speech" if "voice" in asked else "no face", max(last, media.duration)
        return [
            replace(stretch.answer(note, asked), is_cut=end + ROUNDING < stretch.span.end < inf)
            if stretch.span.start <= last
            else ends_before(stretch.span, last)
            for stretch in stretches
        ]


def rate_samples(rater: Rater, samples: Sequence[Sample], hook: Hook) -> list[Answer]:
    """What the model says of each sample, in their order; every video is read once.

    Raises:
        CheckpointError: The model lacks the network that a sample needs.
    """
    answers: dict[int, Answer] = {}
    clips: dict[Path, list[int]] = {}
    for i, sample in enumerate(samples):
        if isinstance(sample.source, Clip):
            clips.setdefault(sample.source.path, []).append(i)
            continue
        try:
            if isinstance(sample.source, Picture):
                answers[i] = rater.rate_still(sample.source.path, sample.source.box)
            else:
                image = np.repeat(sample.source[:, :, None], 3, axis=2)
                answers[i] = rater.one_reading("face", rater.rate_crop(image))
        except MediaError as error:
            answers[i] = unreadable(error)
        hook("looking at faces", len(answers), len(samples))
    for path, numbers in clips.items():
        done = len(answers)

        def tell(share: float, done: int = done, n: int = len(numbers)) -> None:
            hook("looking and listening", done + share * n, len(samples))

        of_file = [source for i in numbers if isinstance(source := samples[i].source, Clip)]
        answers |= zip(numbers, _rate_clips(rater, path, of_file, tell), strict=True)
        tell(1.0)
    return [answers[i] for i in range(len(samples))]


def nobody(note: str, source: Source) -> Answer:
    """The answer where there is nobody."""
    return Answer(note=note, asked=(source,))


def unreadable(error: MediaError) -> Answer:
    """The answer where a file cannot be decoded."""
    return Answer(note=f"cannot be read: {error}")


def ends_before(span: Span, last: float) -> Answer:
    """The answer where a file is shorter than its row says."""
    return Answer(note=f"cannot be read: the last frame is at {last:.3f} s, the start at {span.start:g} s")


def area(box: Float32[np.ndarray, "4"]) -> float:
    """Of a box, in square pixels."""
    return float((box[2] - box[0]) * (box[3] - box[1]))


def stack(answers: Sequence[Probs]) -> dict[Source, Float32[np.ndarray, "rows 8"]]:
    """Answers as arrays, NaN where nothing is said; "face" and "voice" only where there are both."""
    sources: tuple[Source, ...] = ("fused", "face", "voice")
    if not all(any(source in each for each in answers) for source in sources):
        sources = ("fused",)
    nothing = np.full(8, np.nan, np.float32)
    return {source: np.stack([each.get(source, nothing) for each in answers]) for source in sources}


def found_in(probs: Float32[np.ndarray, "rows 8"]) -> Bool[np.ndarray, "rows"]:
    """Which rows have a prediction."""
    return np.asarray(~np.isnan(probs).any(axis=1))


def _rate_clips(
    rater: Rater, path: Path, clips: Sequence[Clip], tell: Callable[[float], None]
) -> list[Answer]:
    try:
        media = probe(path)
        if media.is_still:
            return [rater.rate_still(path)] * len(clips)
        if media.has_video:
            return rater.rate_video(media, clips, tell)
    except MediaError as error:
        return [unreadable(error)] * len(clips)
    answers = []
    for clip in clips:
        try:
            answers.append(rater.rate_sound(clip))
        except MediaError as error:
            answers.append(unreadable(error))
    return answers


def _tap(readings: Iterator[Reading], stretches: Sequence[_Stretch], rater: Rater) -> Iterator[Reading]:
    """The readings as they come; what each that was looked at says by itself goes to the stretches."""
    at = _Cursor(stretches)
    for reading in readings:
        if reading.faces is not None:
            for row in rows([reading], rater.settings, rater.model.class_wise):
                for stretch in at(row.time):
                    stretch.add("raw", row)
        yield reading


class _Stretch:
    """Sums over the rows of one stretch of a video."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self._areas: dict[int, float] = {}
        self._sums: dict[tuple[str, Source, int | None], Float32[np.ndarray, "9"]] = {}
        self._heard: dict[str, float] = {}

    def add(self, kind: str, row: Row) -> None:
        """Takes in a row of the stretch."""
        if kind == "raw" and row.track_id is not None and row.box is not None:
            self._areas[row.track_id] = self._areas.get(row.track_id, 0.0) + area(row.box)
        self._sum((kind, "fused", row.track_id), row.probs)
        self._sum((kind, "face", row.track_id), row.face_probs)
        if self._heard.get(kind) != row.time:  # the voice is the same in the rows of all who are in view
            self._sum((kind, "voice", None), row.voice_probs)
            self._heard[kind] = row.time

    def answer(self, note: str, asked: tuple[Source, ...]) -> Answer:
        """The means; `note` says why there are none."""
        person = max(self._areas, key=lambda track_id: self._areas[track_id], default=None)
        raw, post = ({}, {}) if not self._sums else (self._means(kind, person) for kind in ("raw", "post"))
        return Answer(raw, post, "" if "fused" in raw else note, asked)

    def _sum(self, key: tuple[str, Source, int | None], probs: Float32[np.ndarray, "8"] | None) -> None:
        if probs is not None:
            self._sums[key] = self._sums.get(key, 0.0) + np.append(probs, 1.0)

    def _means(self, kind: str, person: int | None) -> Probs:
        """Of a person, and of the voice alone where nobody is in view."""
        means: Probs = {}
        sources: tuple[Source, ...] = ("fused", "face", "voice")
        for source in sources:
            sums = [self._sums.get((kind, source, who)) for who in dict.fromkeys((person, None))]
            there = [each for each in sums if each is not None]
            if there:
                total = np.sum(there, axis=0)
                means[source] = (total[:8] / total[8]).astype(np.float32)
        return means


class _Cursor:
    """The stretches that a time lies in; times are asked for in their order."""

    def __init__(self, stretches: Sequence[_Stretch]) -> None:
        self._coming = deque(sorted(stretches, key=lambda stretch: stretch.span.start))
        self._open: list[_Stretch] = []

    def __call__(self, time: float) -> list[_Stretch]:
        while self._coming and self._coming[0].span.start <= time:
            self._open.append(self._coming.popleft())
        self._open = [stretch for stretch in self._open if time < stretch.span.end]
        return self._open
