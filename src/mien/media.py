"""A media file becomes frames with their true times, and sound at 16 kHz in one channel.

Enters: the path of a video, sound or picture file on this machine. Leaves: `MediaInfo`, a generator of
`Frame`s, a generator of stretches of waveform. Picture and sound are opened apart and share one clock, whose
zero is the earliest start of the file's picture and sound streams, so that either can be pulled in time order
at constant memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import av
import numpy as np
from av.error import FFmpegError

from mien.container import Source, open_source, read_packets
from mien.errors import MediaError
from mien.spans import SAMPLE_RATE
from mien.upright import upright_rgb, upright_size
from mien.waveform import SHORTEST_STEP, Clock, lay_out, mix

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from jaxtyping import Float32, Shaped, UInt8

SLOWEST_SOUND, FASTEST_SOUND = 1_000, 768_000
"""Samples a second of sound that is read: what is outside is a damaged header."""

_ONE_THREAD_PX = 640 * 480
"""Pixels of a frame up to which one thread decodes: at 640×360 three of them take half as much processor
time again for the same seconds; at 1280×720 an eighth more, and two thirds of the seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """What a file holds."""

    path: Path
    has_video: bool
    """Frames can be read: from a picture stream that is not cover art, or from a still picture."""
    has_sound: bool
    is_still: bool
    """The file is one picture: one frame at time 0."""
    width: int
    """Pixels, upright; 0 without video."""
    height: int
    """Pixels, upright; 0 without video."""
    fps: float
    """Average frames per second; 0 without video, for a still, and where unknown."""
    duration: float
    """Seconds on the common clock, as the file's headers have it; 0 for a still and where unknown."""
    picture_end: float
    """When the picture ends by its own header, like `duration`; a file cut short has frames for less."""


class Frame:
    """One frame of a video, converted to RGB when it is first looked at.

    Attributes:
        index: Position in presentation order, from 0.
        time: Presentation time, seconds on the file's common clock.

    >>> Frame(0, 0.0, np.zeros((4, 6, 3), np.uint8)).image.shape
    (4, 6, 3)
    """

    __slots__ = ("_picture", "index", "time")

    def __init__(
        self, index: int, time: float, picture: VideoFrame | UInt8[np.ndarray, "height width 3"]
    ) -> None:
        self.index = index
        self.time = time
        self._picture = picture

    def __repr__(self) -> str:
        return f"Frame(index={self.index}, time={self.time:.6g})"

    @property
    def image(self) -> UInt8[np.ndarray, "height width 3"]:
        """The picture, RGB and upright; kept, so not to be written to."""
        if not isinstance(self._picture, np.ndarray):
            self._picture = upright_rgb(self._picture)
        return self._picture


class FramePart(Frame):
    """A part of a frame, which counts as the whole; cut out when it is first looked at.

    >>> whole = Frame(3, 0.12, np.zeros((40, 60, 3), np.uint8))
    >>> FramePart(whole, (10, 0, 30, 5)).image.shape
    (5, 20, 3)
    """

    __slots__ = ("_region", "_whole")

    def __init__(self, whole: Frame, region: tuple[int, int, int, int]) -> None:
        self.index, self.time = whole.index, whole.time
        self._whole, self._region = whole, region

    @property
    def image(self) -> UInt8[np.ndarray, "height width 3"]:
        """The part, RGB and upright."""
        x1, y1, x2, y2 = self._region
        return np.ascontiguousarray(self._whole.image[y1:y2, x1:x2])


def probe(path: str | Path) -> MediaInfo:
    """What a file holds, by its headers and its first frame.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file, or neither picture nor sound of it can be decoded.
    """
    with open_source(Path(path)) as source:
        picture, width, height, fps = source.picture, 0, 0, 0.0
        if picture is not None:
            first = next(_decode(source, picture, picture.decode), None)
            if first is None:
                raise _nothing_decodes(source.path, picture)
            width, height = upright_size(first[1])
            fps = 0.0 if source.is_still else _fps(picture)
        length = 0.0 if source.is_still else (source.container.duration or 0) / av.time_base
        return MediaInfo(
            path=source.path,
            has_video=picture is not None,
            has_sound=source.sound is not None,
            is_still=source.is_still,
            width=width,
            height=height,
            fps=fps,
            duration=source.end_of(source.picture, source.sound) or length,
            picture_end=0.0 if source.has_one_length else source.end_of(source.picture),
        )


def read_frames(path: str | Path) -> Iterator[Frame]:
    """Every frame of a file that can be decoded, in presentation order; none where it has no picture.

    Times increase: a frame without a timestamp follows on the one before, a late one stands beside it.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file, or no frame of its picture can be decoded.
    """
    with open_source(Path(path)) as source:
        stream = source.picture
        if stream is None:
            return
        _set_threads(stream)
        frames = _timed(source, stream, _decode(source, stream, stream.decode), 0.0)
        first = next(frames, None)
        if first is None:
            raise _nothing_decodes(source.path, stream)
        yield from chain([first], frames)


def read_frames_from(path: str | Path, start: float) -> Iterator[Frame]:
    """The frames of a file whose time is `start` or later, each with the time that `read_frames` gives it.

    Decoding begins at the key frame before, where the file can be searched for it, and else where the file
    does. `index` counts from 0 for the first of them.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file, or no frame of its picture can be decoded.
    """
    late = (frame for frame in _sought(Path(path), start) if frame.time >= start)
    for index, frame in enumerate(late):
        frame.index = index
        yield frame


def _sought(path: Path, start: float) -> Iterator[Frame]:
    """Frames from the key frame before a time on, or all of a file that cannot tell where that is."""
    with open_source(path) as source:
        stream = source.picture
        if stream is not None and start > 0 and not source.is_still and not source.only_counts:
            _set_threads(stream)
            with suppress(FFmpegError):
                at = Fraction(start) + source.start
                source.container.seek(int(at / (stream.time_base or 1)), stream=stream)
            decoded = _decode(source, stream, stream.decode)
            first = next(decoded, None)
            if first is not None and first[0] is not None and first[0] <= start:
                yield from _timed(source, stream, chain([first], decoded), first[0])
                return
    yield from read_frames(path)


def _timed(
    source: Source,
    stream: VideoStream,
    decoded: Iterable[tuple[float | None, VideoFrame]],
    expected: float,
) -> Iterator[Frame]:
    """Decoded pictures as frames, of which the first is expected at a time."""
    usual_duration = 1 / (_fps(stream) or 25)
    clock, time = Clock(decoded), -inf
    for index, (stamp, picture) in enumerate(clock):
        if source.is_still:
            yield Frame(0, 0.0, picture)
            return
        time = max(time + SHORTEST_STEP, clock.place(stamp, expected), 0.0)
        yield Frame(index, time, picture)
        expected = time + (float(picture.duration * (stream.time_base or 0)) or usual_duration)


def read_glimpses(
    path: str | Path, times: Iterable[float]
) -> Iterator[tuple[float, UInt8[np.ndarray, "height width 3"]]]:
    """The pictures that are shown at some times, RGB and upright, each with its time.

    They are looked for from the nearest key frame on, so that a long film is not decoded whole. A picture
    that cannot be decoded is left out.

    Args:
        path: Of the file.
        times: Seconds on the common clock, rising.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file.
    """
    with open_source(Path(path)) as source:
        stream = source.picture
        if stream is None:
            return
        for time in times:
            if not source.is_still:
                # a file that only counts is read from its start: it cannot tell where it is
                at = Fraction(0) if source.only_counts else Fraction(time) + source.start
                with suppress(FFmpegError):
                    source.container.seek(int(at / (stream.time_base or 1)), stream=stream)
            for stamp, picture in _decode(source, stream, stream.decode):
                if source.is_still or (stamp is not None and stamp > time - SHORTEST_STEP):
                    yield time, upright_rgb(picture)
                    break


def read_sound(path: str | Path) -> Iterator[Float32[np.ndarray, "samples"]]:
    """A file's sound at 16 kHz in one channel, in stretches of about a second at most; nothing without sound.

    The stretches follow each other without a gap, and the first sample is time 0 of the common clock: a late
    start and holes in the sound are zeros, what overlaps is cut. Channels are averaged.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file, or a sound file of which nothing can be decoded, or its sound has a
            rate that no sound has.
    """
    with open_source(Path(path)) as source:
        stream = source.sound
        if stream is None:
            return
        n_samples = 0
        decoded = _decode(source, stream, stream.decode)
        for sample_rate, run in groupby(decoded, key=lambda stamped: stamped[1].sample_rate):
            if not SLOWEST_SOUND <= sample_rate <= FASTEST_SOUND:
                raise MediaError(
                    f"{str(path)!r} has sound of {sample_rate} samples a second; expected {SLOWEST_SOUND} to "
                    f"{FASTEST_SOUND}; convert it again"
                )
            blocks = ((stamp, mix(_by_channel(block))) for stamp, block in run)
            for chunk in _resample(lay_out(blocks, sample_rate, n_samples / SAMPLE_RATE), sample_rate):
                n_samples += chunk.size
                yield chunk
        if n_samples == 0 and source.picture is None:
            raise _nothing_decodes(source.path, stream)


def read_waveform(
    path: str | Path, start: float = 0.0, end: float | None = None
) -> Float32[np.ndarray, "samples"]:
    """The sound of a file from `start` up to `end`, 16 kHz mono; no samples where it has none there.

    It is what a slice of the whole sound would be, to the sample: decoding begins where the file does.

    Args:
        path: Of the file.
        start: Seconds on the common clock.
        end: Seconds on the common clock; None, or what lies behind the file's end: to its end.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file, ends before `start`, or is a sound file that cannot be decoded.
    """
    first, last = round(start * SAMPLE_RATE), inf if end is None else round(end * SAMPLE_RATE)
    stretches, n_samples = [np.zeros(0, np.float32)], 0
    for chunk in read_sound(path):
        stretches.append(chunk[max(first - n_samples, 0) : int(min(last - n_samples, chunk.size))])
        n_samples += chunk.size
        if n_samples >= last:
            break
    if n_samples <= first and first > 0:
        info = probe(path)
        length = info.duration if info.has_video else n_samples / SAMPLE_RATE
        if length <= start:
            raise MediaError(
                f"{str(path)!r}: ends at {length:.3f} s; expected a start before that, not {start:.3f} s"
            )
    return np.concatenate(stretches)


def _resample(
    chunks: Iterable[Float32[np.ndarray, "_"]], sample_rate: int
) -> Iterator[Float32[np.ndarray, "samples"]]:
    """A waveform at 16 kHz; what it holds stays at its time."""
    if sample_rate == SAMPLE_RATE:
        yield from chunks
        return
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    for chunk in chain(chunks, [None]):  # None: what the filter still holds back
        block = None
        if chunk is not None:
            block = av.AudioFrame.from_ndarray(chunk[np.newaxis], format="flt", layout="mono")
            block.sample_rate = sample_rate
        for resampled in resampler.resample(block):
            yield resampled.to_ndarray()[0].astype(np.float32, copy=False)


def _by_channel(block: AudioFrame) -> Shaped[np.ndarray, "channels samples"]:
    """A decoded block's samples, whichever way they were interleaved."""
    samples = block.to_ndarray()
    return samples if block.format.is_planar else samples.reshape(-1, block.layout.nb_channels).T


Decoded = TypeVar("Decoded", "VideoFrame", "AudioFrame")


def _decode(
    source: Source, stream: VideoStream | AudioStream, decode: Callable[[Packet[Any] | None], list[Decoded]]
) -> Iterator[tuple[float | None, Decoded]]:
    """What can be decoded of a stream, with its time on the common clock; what cannot be is passed over."""
    time_base = stream.time_base or Fraction(0)
    delay: int | None = None
    for packet in chain(read_packets(source, stream), [None]):
        blocks: list[Decoded] = []
        with suppress(FFmpegError):
            blocks = decode(packet)  # None: what the decoder still holds back
        for block in blocks:
            stamp = block.pts
            if source.only_counts and stream.type == "video":
                # The decoder shows one frame for each packet that it takes (dts), the first of them after as
                # many packets as it looks ahead.
                if delay is None:
                    delay = (block.dts or 0) - (block.pts or 0)
                stamp = None if block.dts is None else block.dts - delay
            yield (None if stamp is None else float(stamp * time_base - source.start)), block


def _set_threads(stream: VideoStream) -> None:
    """Decodes large pictures on all cores."""
    large = stream.width * stream.height > _ONE_THREAD_PX
    stream.thread_type = "AUTO" if large else "NONE"


def _fps(stream: VideoStream) -> float:
    """Average frames per second, 0 where the file does not know: it then gives the rate of its clock."""
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    return fps if fps <= 1000 else 0.0


def _nothing_decodes(path: Path, stream: VideoStream | AudioStream) -> MediaError:
    return MediaError(
        f"{str(path)!r}: nothing of its {stream.type} ({stream.codec_context.name}) can be decoded; "
        "expected an undamaged file; copy or convert it again"
    )
