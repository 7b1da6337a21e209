"""A path in, the open file and the packets of its streams out.

Enters: the path of a video, sound or picture file on this machine. Leaves: a `Source` that names the streams
to be read and the zero of their common clock, and packets, as far as the file goes.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import av
from av.error import ArgumentError, FFmpegError
from av.stream import Discard, Disposition

from mien.errors import InputError, MediaError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from av.audio.stream import AudioStream
    from av.codec.context import CodecContext
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

REFUSED_FORMATS = frozenset(
    {"concat", "dash", "hls", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest"}  # lists of files, addresses
    | {"adf", "bin", "idf", "tty", "xbin"}  # text, which would become a film of its letters
)
"""FFmpeg's names of the formats that are not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An open file, and what is read of it."""

    path: Path
    container: InputContainer
    picture: VideoStream | None
    sound: AudioStream | None
    start: Fraction
    """Zero of the common clock, seconds on the file's own."""

    @property
    def format(self) -> str:
        """FFmpeg's name of the container."""
        return self.container.format.name

    @property
    def is_still(self) -> bool:
        """The file is one picture."""
        return self.format == "image2" or self.format.endswith("_pipe")

    @property
    def only_counts(self) -> bool:
        """The file has no presentation times: it numbers its packets in the order of decoding."""
        return self.format == "avi"

    @property
    def has_one_length(self) -> bool:
        """The headers say how long the file is, not how long each of its streams is."""
        return self.format in {"asf", "flv", "matroska,webm"}

    def end_of(self, *streams: Stream | None) -> float:
        """When the longest of some streams ends by the headers, seconds on the common clock; 0 if unknown."""
        ends = [
            (Fraction(stream.start_time or 0) + stream.duration) * (stream.time_base or 0) - self.start
            for stream in streams
            if stream is not None and stream.duration is not None
        ]
        return 0.0 if self.is_still else float(max(ends, default=0))


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """A file, open while the context lasts, with the streams that are read from it.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file, or holds neither picture nor sound that can be decoded.
    """
    with _open_container(path) as container:
        source = _choose_streams(path, container)
        picture = source.picture
        if source.is_still and picture is not None and picture.codec_context.name == "mjpeg":
            # of a JPEG that is cut short the rest would be grey, and nothing would tell
            picture.codec_context.options = {"err_detect": "explode"}
        yield replace(source, start=min(source.start, _first_picture(source)))


def read_packets(source: Source, stream: Stream) -> Iterator[Packet[Any]]:
    """The packets of one stream, to the end of the file or to where it breaks off.

    Where the file only counts, a packet's timestamp is its number in the order of decoding.
    """
    for other in source.container.streams:
        if other is not stream:
            other.discard = Discard.all
    while True:
        try:
            for packet in source.container.demux(stream):
                if source.only_counts:
                    packet.pts = packet.dts
                yield packet
        except BlockingIOError:  # so much without a packet that FFmpeg wants to be asked again
            continue
        except FFmpegError:  # the file breaks off
            pass
        return


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
    options = {"protocol_whitelist": "file", "format_whitelist": readable_formats(), "pattern_type": "none"}
    try:
        return av.open(f"file:{path}", "r", options=options, metadata_errors="replace")
    except FFmpegError as error:
        reason = "a list of other files, or text" if isinstance(error, ArgumentError) else error.strerror
        raise MediaError(
            f"{str(path)!r} cannot be opened as video, sound or picture ({reason}); "
            "expected one whole media file; check that a player plays it, or convert it to .mp4"
        ) from error


@cache
def readable_formats() -> str:
    """FFmpeg's names of the formats that are read, as its option wants them."""
    return ",".join(sorted(set(",".join(av.formats_available).split(",")) - REFUSED_FORMATS))


def _choose_streams(path: Path, container: InputContainer) -> Source:
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
            "decoded; expected a whole video, sound or picture file; copy it again, or convert it"
        )
    starts = [
        stream.start_time * stream.time_base
        for stream in (*pictures, *sounds)
        if stream.start_time is not None and stream.time_base is not None
    ]
    return Source(
        path=path, container=container, picture=picture, sound=sound, start=min(starts, default=Fraction(0))
    )


def _first_picture(source: Source) -> Fraction:
    """Start of the picture by its first packet.

    FFmpeg gives a short clip's picture the start of its sound where it has not yet found the picture's own,
    which would put the frames before zero. Where something starts at zero, that is no matter.
    """
    if source.picture is None or source.sound is None or source.start <= 0:
        return source.start
    with _open_container(source.path) as container:
        stream = container.streams[source.picture.index]
        for packet in read_packets(replace(source, container=container), stream):
            if packet.pts is not None and not packet.is_discard:
                return packet.pts * (stream.time_base or Fraction(0))
    return source.start


def _has_decoder(stream: Stream) -> bool:
    context: CodecContext | None = stream.codec_context
    return context is not None
