"""A film and the rows that were made of it in, the same film with what was found drawn into it out.

Boxes, numbers, labels and probabilities on the faces; along the lower edge, what each person showed in the
last seconds. Rate and length are the film's own, and its sound is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np

from mien.chart import COLOURS, LIGHT_INK
from mien.container import open_source, read_packets
from mien.detection import STILL_PX, RetinaFace
from mien.errors import InputError
from mien.media import probe, read_frames
from mien.segments import who

if TYPE_CHECKING:
    from pathlib import Path

    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from jaxtyping import UInt8

    from mien.spans import Hook


CLOCK = Fraction(1, 90_000)
"""Seconds of a tick of the film that is written."""

KEPT_SOUND = frozenset({"aac", "ac3", "eac3", "mp3", "alac"})
"""Codecs that go into MP4 as they are; sound of others is written anew, as AAC."""

SHOWN_SECONDS = 8.0
"""Of the past, along the lower edge."""

LONGEST_LOOK = 0.5
"""Seconds; between labels further apart the person was away."""

SHOWN_PERSONS = 4
"""Strips along the lower edge: those of the persons seen first."""

BLUR_WIDTH = 1.5
"""Sides of a face's box that are made unrecognisable with it."""

HIDDEN_FROM = 0.3
"""Confidence from which what may be a face is hidden: rather a pattern too many than a face too few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is drawn of one person in one frame."""

    track_id: int
    box: tuple[float, float, float, float]
    label: str | None
    probability: float
    uncertain: bool


def annotate(
    original: Path,
    marks: Iterable[tuple[int, list[Mark]]],
    out: Path,
    *,
    blur: bool,
    hook: Hook | None = None,
) -> None:
    """Writes the film with its marks as MP4 (H.264).

    Args:
        original: The film.
        marks: Of frames, by their number, rising; a frame that is not named has none.
        out: Where it goes.
        blur: Faces are made unrecognisable: those of the marks, and whatever a detector takes for one, be it
            too small for a row, outside the part or the seconds that were analyzed, or one of a crowd.
        hook: Told how far it is.

    Raises:
        InputError: The file has no picture.
        MediaError: It cannot be decoded.
    """
    media = probe(original)
    if not media.has_video:
        raise InputError(f"{original.name} has no picture to be annotated; leave the format video out")
    following, history, hide = _Following(marks), _History(), _Hiding() if blur else None
    with av.open(str(out), "w", format="mp4") as film:
        picture = _open_picture(film, media.width, media.height, media.fps)
        with _Sound(original, film) as sound:
            for frame in read_frames(original):
                if hook is not None:
                    hook("drawing into the film", frame.time, media.duration)
                of_frame = following.at(frame.index)
                image = frame.image.copy()
                if hide is not None:
                    hide(image, of_frame)
                history.add(frame.time, of_frame)
                _draw(image, of_frame)
                history.draw(image, frame.time)
                sound.write_until(frame.time)
                for packet in picture.encode(_as_frame(image, frame.time)):
                    film.mux(packet)
            for packet in picture.encode(None):
                film.mux(packet)
            sound.write_until(float("inf"))


def _open_picture(film: OutputContainer, width: int, height: int, fps: float) -> VideoStream:
    picture = film.add_stream("libx264", rate=Fraction(fps or 25).limit_denominator(60_000))
    picture.width, picture.height = width + width % 2, height + height % 2  # colours are of two by two pixels
    picture.pix_fmt = "yuv420p"
    picture.time_base = picture.codec_context.time_base = CLOCK
    picture.codec_context.options = {"preset": "veryfast", "crf": "23"}
    return picture


def _as_frame(image: UInt8[np.ndarray, "height width 3"], time: float) -> av.VideoFrame:
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(even, format="rgb24")
    frame.pts, frame.time_base = round(time / CLOCK), CLOCK
    return frame


class _Following:
    """The marks of a frame, for frames that rise."""

    def __init__(self, marks: Iterable[tuple[int, list[Mark]]]) -> None:
        self._marks = iter(marks)
        self._next = next(self._marks, None)

    def at(self, frame: int) -> list[Mark]:
        while self._next is not None and self._next[0] < frame:
            self._next = next(self._marks, None)
        return self._next[1] if self._next is not None and self._next[0] == frame else []


class _Sound:
    """The sound of a film on its way into another, at its times."""

    def __init__(self, original: Path, film: OutputContainer) -> None:
        self._film = film
        self._source = open_source(original)
        self._packets: Iterator[av.Packet[Any]] = iter(())

    def __enter__(self) -> _Sound:
        source = self._source.__enter__()
        stream = source.sound
        if stream is not None:
            start = round(source.start / (stream.time_base or 1))
            packets = (packet for packet in read_packets(source, stream) if packet.dts is not None)
            if stream.codec_context.codec.canonical_name in KEPT_SOUND:
                self._packets = _copied(packets, self._film.add_stream_from_template(stream), start)
            else:
                self._packets = _encoded(packets, stream, self._film, start)
        self._waiting = next(self._packets, None)
        return self

    def __exit__(self, *error: object) -> None:
        self._source.__exit__(None, None, None)

    def write_until(self, time: float) -> None:
        """Writes what begins before a time."""
        while self._waiting is not None and float((self._waiting.pts or 0) * self._waiting.time_base) <= time:
            self._film.mux(self._waiting)
            self._waiting = next(self._packets, None)


def _copied(packets: Iterable[av.Packet[Any]], to: AudioStream, start: int) -> Iterator[av.Packet[Any]]:
    for packet in packets:
        packet.pts = (packet.pts if packet.pts is not None else packet.dts or 0) - start
        packet.dts = (packet.dts or 0) - start
        packet.stream = to
        yield packet


def _encoded(
    packets: Iterable[av.Packet[Any]], stream: AudioStream, film: OutputContainer, start: int
) -> Iterator[av.Packet[Any]]:
    """The sound as AAC; what cannot be decoded is left out, and its time stays empty."""
    rate = (
        stream.codec_context.sample_rate if stream.codec_context.sample_rate in (44_100, 48_000) else 48_000
    )
    sound = film.add_stream("aac", rate=rate)
    layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
    sound.codec_context.layout = layout
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    for packet in packets:
        try:
            blocks = packet.decode()
        except av.FFmpegError:
            continue
        for block in blocks:
            assert isinstance(block, av.AudioFrame), "packets of sound hold sound"
            if block.pts is not None:
                block.pts -= start
            for part in resampler.resample(block):
                yield from sound.encode(part)
    for part in resampler.resample(None):
        yield from sound.encode(part)
    yield from sound.encode(None)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


class _Hiding:
    """Makes faces unrecognisable in one frame after the other."""

    def __init__(self) -> None:
        self._detect = RetinaFace(detect_px=STILL_PX, threshold=HIDDEN_FROM)
        self._before: list[tuple[float, ...]] = []

    def __call__(self, image: UInt8[np.ndarray, "height width 3"], marks: Iterable[Mark]) -> None:
        """Hides what is a face by the marks or by the detector, in this frame or the one before it."""
        now = [tuple(found.box.tolist()) for found in self._detect(image)]
        for box in (*(mark.box for mark in marks), *now, *self._before):
            _blur(image, box)
        self._before = now


def _blur(image: UInt8[np.ndarray, "height width 3"], box: tuple[float, ...]) -> None:
    """A face becomes a few tiles of one colour each, which no filter undoes."""
    x1, y1, x2, y2 = box
    reach_x, reach_y = (BLUR_WIDTH - 1) / 2 * (x2 - x1), (BLUR_WIDTH - 1) / 2 * (y2 - y1)
    left, top = max(0, int(x1 - reach_x)), max(0, int(y1 - reach_y))
    part = image[top : max(0, int(y2 + reach_y)), left : max(0, int(x2 + reach_x))]
    if part.size:
        tiles = cv2.resize(part, (5, 6), interpolation=cv2.INTER_AREA)
        part[:] = cv2.resize(tiles, part.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def _draw(image: UInt8[np.ndarray, "height width 3"], marks: Iterable[Mark]) -> None:
    scale = max(0.35, image.shape[0] / 720)
    thick = max(1, round(2 * scale))
    for mark in marks:
        label = mark.label or "?"
        colour = _rgb(COLOURS.get(label, "#ffffff"))
        x1, y1, x2, y2 = (round(edge) for edge in mark.box)
        cv2.rectangle(image, (x1 - thick, y1 - thick), (x2 + thick, y2 + thick), (0, 0, 0), thick)
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, thick)
        doubt = "?" if mark.uncertain else ""
        words = f"{mark.track_id} {label}{doubt} {mark.probability:.2f}"
        (width, height), rest = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, thick)
        left = max(0, min(x1, image.shape[1] - width - 6))
        bottom = y1 - 4 if y1 - height - rest - 8 >= 0 else min(y2 + height + rest + 8, image.shape[0] - 2)
        cv2.rectangle(image, (left, bottom - height - rest - 4), (left + width + 6, bottom), colour, -1)
        ink = (255, 255, 255) if label in LIGHT_INK else (0, 0, 0)
        place = (left + 3, bottom - rest)
        cv2.putText(image, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, ink, thick, cv2.LINE_AA)


class _History:
    """What each person showed in the last seconds."""

    def __init__(self) -> None:
        self._shown: dict[int, deque[tuple[float, str]]] = {}

    def add(self, time: float, marks: Iterable[Mark]) -> None:
        """Takes the marks of the next frame."""
        for mark in marks:
            if mark.label and (mark.track_id in self._shown or len(self._shown) < SHOWN_PERSONS):
                self._shown.setdefault(mark.track_id, deque()).append((time, mark.label))
        for track_id, past in list(self._shown.items()):
            while past and past[0][0] < time - SHOWN_SECONDS:
                past.popleft()
            if not past:
                del self._shown[track_id]

    def draw(self, image: UInt8[np.ndarray, "height width 3"], time: float) -> None:
        """A strip for each person along the lower edge; the right end is now."""
        height, width = image.shape[:2]
        high, scale = max(8, height // 30), max(0.35, height / 720)
        for number, (track_id, past) in enumerate(sorted(self._shown.items(), reverse=True)):
            bottom = height - number * (high + 2)
            strip = image[max(0, bottom - high) : bottom]
            strip[:] = strip // 2
            ends = [*(moment for moment, _ in past), time][1:]
            for (moment, label), end in zip(past, ends, strict=True):
                if end - moment < LONGEST_LOOK:
                    left, right = (round(width * (1 - (time - at) / SHOWN_SECONDS)) for at in (moment, end))
                    strip[:, max(0, left) : right] = _rgb(COLOURS[label])
            size = 0.55 * scale
            name = (4, bottom - max(1, high // 5))
            cv2.putText(image, who(track_id), name, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.putText(
                image, who(track_id), name, cv2.FONT_HERSHEY_SIMPLEX, size, (255,) * 3, 1, cv2.LINE_AA
            )
