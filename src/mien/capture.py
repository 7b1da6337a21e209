"""A camera, an RTSP address or a file that still grows in; its newest frame and its sound as they come, out.

A thread of its own reads, so that whoever looks at frames does not hold up what follows: frames that came
while one was looked at are told, and not shown. Sound is never dropped.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from pathlib import Path
from threading import Condition, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Self

import av
from av.error import FFmpegError

from mien.container import readable_formats
from mien.errors import InputError, MediaError
from mien.media import Frame
from mien.spans import SAMPLE_RATE
from mien.waveform import SHORTEST_STEP

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer
    from av.packet import Packet
    from jaxtyping import Float32

OPENING = 10.0
"""Seconds in which a source must open."""

PATIENCE = 5.0
"""Seconds without anything new after which a source has ended."""

LOOKED_OVER = 300_000
"""Microseconds of a source that are read to learn what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """The newest frame."""

    frame: Frame
    at: float
    """When it arrived, by `time.monotonic`."""
    dropped: tuple[tuple[int, float], ...]
    """Number and time of each frame before it that nobody asked for."""


def plain_source(source: str) -> str:
    """What a source is called where others read it: an address without its user and password.

    >>> plain_source("rtsp://me:secret@camera.example:554/live")
    'rtsp://camera.example:554/live'
    """
    return re.sub(r"(?<=://)[^/@]*@", "", source)


class Capture:
    """A source as it is read; use it as a context.

    Args:
        source: Number or device of a camera (Linux), an address that begins with rtsp://, or the path of a
            file that something is writing: MPEG-TS or Matroska (WebM), which can be read unfinished.
        patience: Seconds without anything new after which the source has ended.

    Raises:
        InputError: There is no such file.
        MediaError: It does not open, or has no picture.
    """

    def __init__(self, source: str, *, patience: float = PATIENCE) -> None:
        self.source = plain_source(source)
        self._patience = patience
        self._container = _open(source, patience)
        picture = next(iter(self._container.streams.video), None)
        if picture is None:
            self._container.close()
            raise MediaError(f"{self.source!r} has no picture to look at; sound alone is for  mien analyze")
        picture.thread_type = "SLICE"  # threads by frame would hold frames back
        self._streams = [picture, *list(self._container.streams.audio)[:1]]
        self.has_sound = len(self._streams) > 1
        self.width, self.height = picture.width, picture.height
        self.n_frames = 0
        self._changed = Condition()
        self._newest: tuple[Frame, float] | None = None
        self._passed: list[tuple[int, float]] = []
        self._sound: deque[Float32[np.ndarray, "samples"]] = deque()
        self._ended = False
        self._stopped = False
        self._start: Fraction | None = None
        self._thread = Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()
        self._container.close()

    def stop(self) -> None:
        """Ends it: nothing new is told any more."""
        with self._changed:
            self._stopped = self._ended = True
            self._changed.notify_all()

    def frames(self) -> Iterator[Arrived]:
        """The newest frame each time that one is asked for, as soon as there is one; ends with the source."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._ended)
                if self._stopped or self._newest is None:
                    return
                (frame, at), self._newest = self._newest, None
                passed, self._passed = tuple(self._passed), []
            yield Arrived(frame=frame, at=at, dropped=passed)

    def sound(self) -> Iterator[Float32[np.ndarray, "samples"]]:
        """The sound at 16 kHz in one channel, as it comes; ends with the source."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._sound or self._ended)
                if self._stopped or not self._sound:
                    return
                heard = self._sound.popleft()
            yield heard

    def _read(self) -> None:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        last = -inf
        try:
            for packet in self._packets():
                for block in _decode(packet):
                    if isinstance(block, av.AudioFrame):
                        self._hear(resampler, block)
                    elif isinstance(block, av.VideoFrame):
                        last = max(last + SHORTEST_STEP, self._place(block))
                        self._see(block, last)
        except FFmpegError:  # nothing new for as long as we wait
            pass
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _packets(self) -> Iterator[Packet[Any]]:
        """Packets as they come, until there is none for as long as we wait, or nobody wants them."""
        latest = monotonic()
        while not self._stopped and monotonic() - latest < self._patience:
            try:
                for packet in self._container.demux(self._streams):
                    latest = monotonic()
                    yield packet
                    if self._stopped:
                        return
                return
            except BlockingIOError:  # nothing yet: FFmpeg wants to be asked again
                sleep(0.005)

    def _see(self, picture: av.VideoFrame, time: float) -> None:
        with self._changed:
            if self._newest is not None:
                self._passed.append((self._newest[0].index, self._newest[0].time))
            self._newest = Frame(self.n_frames, time, picture), monotonic()
            self.n_frames += 1
            self._changed.notify_all()

    def _hear(self, resampler: av.AudioResampler, block: av.AudioFrame) -> None:
        self._place(block)
        heard = [each.to_ndarray()[0] for each in resampler.resample(block)]
        with self._changed:
            self._sound.extend(heard)
            self._changed.notify_all()

    def _place(self, block: av.VideoFrame | av.AudioFrame) -> float:
        """Time of what was decoded, seconds after the first that was."""
        stamp = Fraction(block.pts or 0) * (block.time_base or Fraction(0))
        if self._start is None:
            self._start = stamp
        return max(0.0, float(stamp - self._start))


def _decode(packet: Packet[Any]) -> list[Any]:
    try:
        return list(packet.decode())
    except FFmpegError:  # a packet that was damaged on its way
        return []


def _open(source: str, patience: float) -> InputContainer:
    options = {"analyzeduration": str(LOOKED_OVER)}
    kind = None
    address = source
    if source.isdecimal() or source.startswith("/dev/"):
        kind = "v4l2"
        address = f"/dev/video{source}" if source.isdecimal() else source
    elif source.startswith("rtsp://"):
        options |= {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,rtp,udp,tcp"}
    else:
        if not Path(source).is_file():
            raise InputError(
                f"{source!r} is not there; give a camera's number, an rtsp:// address, or a file that grows"
            )
        address = f"file:{source}"
        options |= {"follow": "1", "seekable": "0", "protocol_whitelist": "file"}
        options |= {"format_whitelist": readable_formats(), "pattern_type": "none"}
    try:
        return av.open(address, format=kind, options=options, timeout=(OPENING, patience))
    except (FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, FFmpegError) else error
        raise MediaError(
            f"{plain_source(source)!r} does not open ({reason}); expected a camera, an rtsp:// address, or a "
            "MPEG-TS or Matroska file that something is writing"
        ) from None
