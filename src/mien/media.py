"""A media file becomes frames with their true times, and sound at 16 kHz in one channel.

Enters: the path of a video, sound or picture file on this machine. Leaves: `MediaInfo`, a generator of
`Frame`s, a generator of stretches of waveform. Picture and sound are opened apart and share one clock, whose
zero is the earliest start of the file's picture and sound streams, so that either can be pulled in time order
at constant memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import av
import cv2
import numpy as np
from av.error import ArgumentError, FFmpegError
from av.stream import Discard, Disposition
from av.video.reformatter import VideoReformatter

from mien.errors import InputError, MediaError
from mien.spans import SAMPLE_RATE
from mien.waveform import SHORTEST_STEP, Clock, lay_out, mix

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.codec.context import CodecContext
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from jaxtyping import Float32, Shaped, UInt8

REFUSED_FORMATS = frozenset(
    {"concat", "dash", "hls", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest"}  # lists of files, addresses
    | {"adf", "bin", "idf", "tty", "xbin"}  # text, which would become a film of its letters
)
"""FFmpeg's names of the formats that are not read."""


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
    """When the picture ends by the headers, like `duration`; a file cut short has frames for less."""


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
            self._picture = _upright_rgb(self._picture)
        return self._picture


def probe(path: str | Path) -> MediaInfo:
    """What a file holds, by its headers and its first frame.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file, or neither picture nor sound of it can be decoded.
    """
    with _open(path) as source:
        picture, width, height, fps = source.picture, 0, 0, 0.0
        if picture is not None:
            first = next(_decode(source, picture, picture.decode), None)
            if first is None:
                raise _nothing_decodes(source.path, picture)
            width, height = first[1].width, first[1].height
            if _quarter_turns(first[1]) % 2:
                width, height = height, width
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
            duration=_end(source, source.picture, source.sound) or length,
            picture_end=_end(source, source.picture),
        )


def read_frames(path: str | Path) -> Iterator[Frame]:
    """Every frame of a file that can be decoded, in presentation order; none where it has no picture.

    Times increase: a frame without a timestamp follows on the one before, a late one stands beside it.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file, or no frame of its picture can be decoded.
    """
    with _open(path) as source:
        stream = source.picture
        if stream is None:
            return
        stream.thread_type = "AUTO"
        usual_duration = 1 / (_fps(stream) or 25)
        clock, index, time, expected = Clock(_decode(source, stream, stream.decode)), 0, -SHORTEST_STEP, 0.0
        for stamp, picture in clock:
            if source.is_still:
                yield Frame(0, 0.0, picture)
                return
            time = max(time + SHORTEST_STEP, clock.place(stamp, expected))
            yield Frame(index, time, picture)
            index += 1
            expected = time + (float(picture.duration * (stream.time_base or 0)) or usual_duration)
        if index == 0:
            raise _nothing_decodes(source.path, stream)


def read_packets(path: str | Path) -> Iterator[tuple[float, float, bool]]:
    """Time and duration in seconds of each packet of picture, and whether the file shows it to be broken."""
    with _open(path) as source, suppress(FFmpegError):
        for packet in source.container.demux(source.picture) if source.picture else ():
            if packet.pts is not None and not packet.is_discard:
                tick = packet.time_base or Fraction(0)
                time = float(packet.pts * tick - source.start)
                yield time, float((packet.duration or 0) * tick), packet.is_corrupt


def read_sound(path: str | Path) -> Iterator[Float32[np.ndarray, "samples"]]:
    """A file's sound at 16 kHz in one channel, in stretches of about a second at most; nothing without sound.

    The stretches follow each other without a gap, and the first sample is time 0 of the common clock: a late
    start and holes in the sound are zeros, what overlaps is cut. Channels are averaged.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file, or a sound file of which nothing can be decoded.
    """
    with _open(path) as source:
        stream = source.sound
        if stream is None:
            return
        n_samples = 0
        decoded = _decode(source, stream, stream.decode)
        for sample_rate, run in groupby(decoded, key=lambda stamped: stamped[1].sample_rate):
            blocks = ((stamp, mix(_by_channel(block))) for stamp, block in run)
            for chunk in _resample(lay_out(blocks, sample_rate, n_samples / SAMPLE_RATE), sample_rate):
                n_samples += chunk.size
                yield chunk
        if n_samples == 0 and source.picture is None:
            raise _nothing_decodes(source.path, stream)


def read_waveform(path: str | Path) -> Float32[np.ndarray, "samples"]:
    """The whole sound of a file, 16 kHz mono; no samples where it has none."""
    return np.concatenate([np.zeros(0, np.float32), *read_sound(path)])


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


class _Converter(threading.local):
    """swscale's state: kept, it converts a frame in half the time, but two threads cannot share it."""

    def __init__(self) -> None:
        self.rgb = VideoReformatter()


_converter = _Converter()


def _upright_rgb(picture: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    """A decoded frame as RGB, turned as its file says it is to be shown."""
    # By swscale, which heeds the frame's colour matrix and range; cv2's I420 conversion heeds neither and is
    # slower. On one thread: splitting a frame costs more processor time than it saves.
    converted = _converter.rgb.reformat(picture, format="rgb24", threads=1).to_ndarray()
    turns = _quarter_turns(picture)
    if turns == 0:
        return np.ascontiguousarray(converted, np.uint8)  # rows may come padded
    directions = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
    return cv2.rotate(converted, directions[turns - 1]).astype(np.uint8, copy=False)


def _quarter_turns(picture: VideoFrame) -> int:
    """How many times 90 degrees a decoded frame is to be turned counter-clockwise to be upright, 0 to 3."""
    return round(picture.rotation / 90) % 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """An open file, and what is read of it."""

    path: Path
    container: InputContainer
    picture: VideoStream | None
    sound: AudioStream | None
    is_still: bool
    start: Fraction
    """Zero of the common clock, seconds on the file's own."""


@contextmanager
def _open(path: str | Path) -> Iterator[_Source]:
    """A file, open while the context lasts, with the streams that are read from it."""
    path = Path(path)
    with _open_container(path) as container:
        source = _choose_streams(path, container)
        yield replace(source, start=min(source.start, _first_picture(source)))


def _open_container(path: Path) -> InputContainer:
    wanted = "the path of one video, sound or picture file on this machine"
    if not path.exists():
        raise InputError(f"{str(path)!r} does not exist; give {wanted}")
    if not path.is_file():
        raise InputError(f"{str(path)!r} is not a file; give {wanted}")
    if path.stat().st_size == 0:
        raise MediaError(
            f"{str(path)!r} is empty (0 bytes); expected a video, sound or picture; copy it again"
        )
    # The lists keep a file from making FFmpeg open other files or addresses; pattern_type keeps a name with
    # % or * in it from being taken for a series.
    options = {"protocol_whitelist": "file", "format_whitelist": _readable_formats(), "pattern_type": "none"}
    try:
        return av.open(f"file:{path}", "r", options=options, metadata_errors="replace")
    except FFmpegError as error:
        reason = "a list of other files, or text" if isinstance(error, ArgumentError) else error.strerror
        raise MediaError(
            f"{str(path)!r} cannot be opened as video, sound or picture ({reason}); "
            "expected one whole media file; check that a player plays it, or convert it to .mp4"
        ) from error


@cache
def _readable_formats() -> str:
    """FFmpeg's names of the formats that are read, as its option wants them."""
    return ",".join(sorted(set(",".join(av.formats_available).split(",")) - REFUSED_FORMATS))


def _choose_streams(path: Path, container: InputContainer) -> _Source:
    """The first picture stream that is not cover art and the first sound stream, of those with a decoder."""
    pictures = [
        stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
    ]
    sounds = container.streams.audio
    picture = next((stream for stream in pictures if _has_decoder(stream) and stream.width), None)
    sound = next((stream for stream in sounds if _has_decoder(stream) and stream.rate), None)
    if picture is None and sound is None:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no stream"
        raise MediaError(
            f"{str(path)!r} ({container.format.name}) holds {kinds} but no picture and no sound that can be "
            "decoded; expected a video, sound or picture file; convert it to .mp4"
        )
    starts = [
        stream.start_time * stream.time_base
        for stream in (*pictures, *sounds)
        if stream.start_time is not None and stream.time_base is not None
    ]
    return _Source(
        path=path,
        container=container,
        picture=picture,
        sound=sound,
        is_still=container.format.name == "image2" or container.format.name.endswith("_pipe"),
        start=min(starts, default=Fraction(0)),
    )


def _first_picture(source: _Source) -> Fraction:
    """Start of the picture by its first packet.

    FFmpeg gives a short clip's picture the start of its sound where it has not yet found the picture's own,
    which would put the frames before zero. Where something starts at zero, that is no matter.
    """
    if source.picture is None or source.sound is None or source.start <= 0:
        return source.start
    with _open_container(source.path) as container, suppress(FFmpegError):
        stream = container.streams[source.picture.index]
        for packet in container.demux(stream):
            if packet.pts is not None and not packet.is_discard:
                return packet.pts * (stream.time_base or Fraction(0))
    return source.start


Decoded = TypeVar("Decoded", "VideoFrame", "AudioFrame")


def _decode(
    source: _Source, stream: VideoStream | AudioStream, decode: Callable[[Packet[Any] | None], list[Decoded]]
) -> Iterator[tuple[float | None, Decoded]]:
    """What can be decoded of a stream, with its time on the common clock; what cannot be is passed over."""
    for other in source.container.streams:
        if other is not stream:
            other.discard = Discard.all
    time_base = stream.time_base or Fraction(0)
    packets: Iterator[Packet[Any] | None] = source.container.demux(stream)
    ended = False
    while not ended:
        try:
            packet = next(packets, None)
        except FFmpegError:  # the file breaks off
            packet = None
        ended = packet is None
        blocks: list[Decoded] = []
        with suppress(FFmpegError):
            blocks = decode(packet)  # None: what the decoder still holds back
        for block in blocks:
            yield (None if block.pts is None else float(block.pts * time_base - source.start)), block


def _end(source: _Source, *streams: Stream | None) -> float:
    """When the longest of some streams ends by the headers, seconds on the common clock; 0 if unknown."""
    ends = [
        (Fraction(stream.start_time or 0) + stream.duration) * (stream.time_base or 0) - source.start
        for stream in streams
        if stream is not None and stream.duration is not None
    ]
    return 0.0 if source.is_still else float(max(ends, default=0))


def _fps(stream: VideoStream) -> float:
    """Average frames per second, 0 where the file does not know: it then gives the rate of its clock."""
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    return fps if fps <= 1000 else 0.0


def _has_decoder(stream: Stream) -> bool:
    context: CodecContext | None = stream.codec_context
    return context is not None


def _nothing_decodes(path: Path, stream: VideoStream | AudioStream) -> MediaError:
    return MediaError(
        f"{str(path)!r}: nothing of its {stream.type} ({stream.codec_context.name}) can be decoded; "
        "expected an undamaged file; copy or convert it again"
    )
