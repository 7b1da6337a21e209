"""Films to time analysis with: clips of talking faces joined, scaled and padded, or one film made longer.

    python benchmarks/workload.py WORK CLIP [CLIP ...]

Writes into WORK, unless they are there: `face.mp4` (640×360, 25 fps, 30 s, one face, stereo sound),
`large.mp4` (the same at 1280×720), `two.mp4` and `four.mp4` (two and four of these faces at once), and
`long.mp4` (face.mp4 for 3 minutes, by copying its packets).
"""

import argparse
from collections.abc import Iterator
from fractions import Fraction
from itertools import cycle, islice
from math import ceil
from pathlib import Path

import av
import cv2
import numpy as np

from mien.media import read_frames, read_sound
from mien.spans import SAMPLE_RATE

FPS, SECONDS = 25, 30
CELLS = {1: (1, 1), 2: (2, 1), 4: (2, 2)}
"""Columns and rows in which so many faces stand."""


def pictures(clips: list[Path]) -> Iterator[np.ndarray]:
    """Frames of the clips, over and over."""
    for clip in cycle(clips):
        for frame in read_frames(clip):
            yield frame.image


def sound(clips: list[Path], seconds: float) -> np.ndarray:
    """So much sound of the clips, each cut or filled to the length of its picture."""
    parts, n_samples = [], 0
    for clip in cycle(clips):
        if n_samples >= seconds * SAMPLE_RATE:
            return np.concatenate(parts)[: round(seconds * SAMPLE_RATE)]
        length = sum(1 for _ in read_frames(clip)) * SAMPLE_RATE // FPS
        heard = np.concatenate([np.zeros(0, np.float32), *read_sound(clip)])[:length]
        parts.append(np.pad(heard, (0, length - len(heard))))
        n_samples += length
    raise AssertionError("a cycle does not end")


def arrange(picture: np.ndarray, n_faces: int, width: int, height: int) -> np.ndarray:
    """A picture as often as told, each time as large as its cell allows, in black."""
    canvas = np.zeros((height, width, 3), np.uint8)
    columns, rows = CELLS[n_faces]
    scale = min(width / columns / picture.shape[1], height / rows / picture.shape[0])
    wide, high = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    small = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    for cell in range(n_faces):
        x = (2 * (cell % columns) + 1) * width // (2 * columns) - wide // 2
        y = (2 * (cell // columns) + 1) * height // (2 * rows) - high // 2
        canvas[max(y, 0) : y + high, max(x, 0) : x + wide] = small
    return canvas


def write(clips: list[Path], out: Path, n_faces: int, width: int, height: int) -> None:
    """A film of `SECONDS`, H.264 and AAC."""
    aside = out.with_name("." + out.name)
    with av.open(str(aside), "w") as target:
        video = target.add_stream("libx264", rate=FPS, options={"crf": "23"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = target.add_stream("aac", rate=44_100, layout="stereo")
        for index, picture in enumerate(islice(pictures(clips), SECONDS * FPS)):
            frame = av.VideoFrame.from_ndarray(arrange(picture, n_faces, width, height), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
        heard = av.AudioFrame.from_ndarray(sound(clips, SECONDS)[None], format="flt", layout="mono")
        heard.sample_rate = SAMPLE_RATE
        target.mux(audio.encode(heard))
        target.mux(audio.encode(None))
    aside.replace(out)


def lengthen(film: Path, out: Path, seconds: float) -> None:
    """A film over and over until it is so long, by copying its packets."""
    aside = out.with_name("." + out.name)
    with av.open(str(film)) as source:
        streams = [*source.streams.video[:1], *source.streams.audio[:1]]
        length = Fraction(streams[0].frames) / streams[0].average_rate
        packets = [
            each
            for each in source.demux(streams)
            if each.pts is not None and 0 <= each.pts * each.time_base < length
        ]
        with av.open(str(aside), "w") as target:
            copies = {each.index: target.add_stream_from_template(each) for each in streams}
            for times in range(ceil(seconds / length)):
                for packet in packets:
                    copy = av.Packet(bytes(packet))
                    shift = round(times * length / packet.time_base)
                    copy.pts, copy.dts, copy.duration = (
                        packet.pts + shift,
                        packet.dts + shift,
                        packet.duration,
                    )
                    copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
                    copy.stream = copies[packet.stream_index]
                    target.mux(copy)
    aside.replace(out)


def make(work: Path, clips: list[Path]) -> dict[str, Path]:
    """The films by name, made where they are not there yet."""
    work.mkdir(parents=True, exist_ok=True)
    plans = {"face": (1, 640, 360), "large": (1, 1280, 720), "two": (2, 640, 360), "four": (4, 640, 360)}
    films = {name: work / f"{name}.mp4" for name in [*plans, "long"]}
    for name, (n_faces, width, height) in plans.items():
        if not films[name].exists():
            write(clips, films[name], n_faces, width, height)
    if not films["long"].exists():
        lengthen(films["face"], films["long"], 180)
    return films


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    given = parser.parse_args()
    for name, path in make(given.work, given.clips).items():
        print(name, path, path.stat().st_size)
