"""Files that a program should survive: media of every kind, damaged, lied about and made to lead astray.

    bases = write_bases(folder)
    case = make_case(17, bases, folder)

The same number gives the same file. A case is one of the bases as it is, or with one change of `CHANGES`.
"""

from __future__ import annotations

import contextlib
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream

from media_files import flat_frames, four_corners, tone, write_still, write_video
from portraits import PORTRAIT, scene

SECONDS = 0.6
N_FRAMES = 12


@dataclass(frozen=True, slots=True)
class Case:
    """One file, and what was done to it."""

    number: int
    path: Path
    base: str
    change: str
    astray: bool = False
    """It names other files or addresses, and nothing but a refusal is right."""


def make_case(number: int, bases: Sequence[Path], folder: Path) -> Case:
    """The case of a number, written into a folder."""
    draw = random.Random(number)
    if number % 40 == 0:
        return lead_astray(draw, number, bases, folder)
    base = bases[number % len(bases)]
    if number < len(bases):
        change, content, suffix = "as it is", base.read_bytes(), base.suffix
    elif draw.random() < 0.2 and base.suffix in TIMED and base.stem != "headers":
        path = folder / f"case{base.suffix}"
        change = retime(draw, base, path)
        return Case(number, path, base.name, change)
    else:
        change, alter = draw.choice(CHANGES)
        content = alter(draw, base.read_bytes(), bases)
        suffix = draw.choice(SUFFIXES) if draw.random() < 0.1 else base.suffix
        if suffix != base.suffix:
            change += f", called {suffix}"
    path = folder / f"case{suffix}"
    path.write_bytes(content)
    return Case(number, path, base.name, change)


# Bases


def write_bases(folder: Path) -> list[Path]:
    """Small files of every kind, each readable, or odd but honest."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, write in BASES.items():
        path = folder / name
        if not path.exists():
            aside = path.with_name(f"aside.{name}")
            write(aside)
            aside.rename(path)
        found.append(path)
    return found


def clip(path: Path, **how: Any) -> None:
    """A plain clip with a tone."""
    write_video(path, flat_frames(N_FRAMES), waveform=tone(440, SECONDS), **how)


def faces(path: Path, n_faces: int, **how: Any) -> None:
    """A clip of so many faces, with a tone."""
    columns = max(1, int(np.ceil(np.sqrt(n_faces))))
    rows = -(-n_faces // columns)
    side = 200 if n_faces == 1 else max(24, 720 // columns)
    cell = cv2.resize(PORTRAIT, (side, side), interpolation=cv2.INTER_AREA)
    image = np.full((rows * side, columns * side, 3), 120, np.uint8)
    for k in range(n_faces):
        y, x = k // columns * side, k % columns * side
        image[y : y + side, x : x + side] = cell
    write_video(path, [image] * 6, waveform=tone(440, 0.24), **how)


def silent_clip(path: Path, **how: Any) -> None:
    """A clip without sound."""
    write_video(path, flat_frames(N_FRAMES), **how)


def sound(
    path: Path, layout: str, rate: int, codec: str, *, seconds: float = SECONDS, bad: float = 0.0
) -> None:
    """Sound in so many channels; `bad` is the share of samples that are no numbers."""
    draw = np.random.default_rng(0)
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = cast(AudioStream, container.add_stream(codec, rate=rate, layout=layout))
        n_channels = stream.layout.nb_channels
        for begin in range(0, len(wave), 1024):
            piece = np.repeat(wave[begin : begin + 1024], n_channels)[None]
            piece[draw.random(piece.shape) < bad] = draw.choice([np.nan, np.inf, -np.inf, 1e30])
            block = av.AudioFrame.from_ndarray(piece, format="flt", layout=layout)
            block.sample_rate, block.pts, block.time_base = rate, begin, Fraction(1, rate)
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))


def several_sounds(path: Path) -> None:
    """Three tracks of sound beside the picture."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tracks = [container.add_stream("aac", rate=rate, layout="mono") for rate in (48_000, 16_000, 44_100)]
        for image in flat_frames(N_FRAMES):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        for track in tracks:
            block = av.AudioFrame.from_ndarray(
                tone(440, SECONDS, sample_rate=track.rate)[None], "fltp", "mono"
            )
            block.sample_rate = track.rate
            container.mux(track.encode(block))
            container.mux(track.encode(None))


def with_cover(path: Path, source_codec: str) -> None:
    """Sound with an attached picture as its only video."""
    cover = cv2.imencode(".png", four_corners())[1].tobytes()
    with av.open(str(path), "w") as container:
        track = container.add_stream(source_codec, rate=44_100, layout="mono")
        picture = container.add_stream("png", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "rgb24"
        picture.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts = picture, 0, 0
        block = av.AudioFrame.from_ndarray(tone(440, SECONDS, sample_rate=44_100)[None], "fltp", "mono")
        block.sample_rate = 44_100
        packets = [*track.encode(block), *track.encode(None)]
        container.mux(packet)
        container.mux(packets)


def words_alone(path: Path) -> None:
    """Subtitles and nothing else."""
    text = path.with_suffix(".txt.srt")
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with av.open(str(text)) as source, av.open(str(path), "w") as target:
        copy = target.add_stream_from_template(source.streams[0])
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    text.unlink()


def streams_without_anything(path: Path) -> None:
    """Headers of a picture and a sound, and not one packet."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.add_stream("aac", rate=48_000, layout="mono")
        container.start_encoding()


def remuxed(path: Path) -> None:
    """A clip in MPEG-1, whose encoder knows the clock of an .avi alone, brought to another container."""
    via = path.with_suffix(".avi")
    clip(via, codec="mpeg1video", sound_codec="mp2")
    with av.open(str(via)) as source, av.open(str(path), "w") as target:
        copies = {each.index: target.add_stream_from_template(each) for each in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream_index]
                target.mux(packet)
    via.unlink()


def edited(path: Path) -> None:
    """A clip whose edit list leaves out its beginning."""
    clip(path, options={"bf": "2", "g": "6"}, video_start=0.0, sound_start=0.3)


def uneven(path: Path) -> None:
    """A clip whose frames come when they like."""
    write_video(path, flat_frames(6), times=[0.0, 0.01, 0.5, 0.51, 2.0, 2.04], waveform=tone(440, 0.3))


BASES: dict[str, Callable[[Path], object]] = {
    **{f"clip.{end}": clip for end in ("mp4", "mov", "mkv", "ts", "flv", "3gp", "m4v")},
    "mpeg4.avi": partial(clip, codec="mpeg4", sound_codec="mp3"),
    "mjpeg.avi": partial(clip, codec="mjpeg", pix_fmt="yuvj420p", sound_codec="pcm_s16le"),
    "clip.mpg": remuxed,
    "vp8.webm": partial(clip, codec="libvpx", sound_codec="libopus"),
    "vp9.webm": partial(silent_clip, codec="libvpx-vp9"),
    "hevc.mp4": partial(
        silent_clip, codec="libx265", options={"preset": "ultrafast", "x265-params": "log-level=none"}
    ),
    "wmv2.wmv": partial(silent_clip, codec="wmv2"),
    "ten.mp4": partial(silent_clip, pix_fmt="yuv420p10le"),
    "full.mp4": partial(silent_clip, pix_fmt="yuv444p"),
    "grey.mkv": partial(silent_clip, codec="ffv1", pix_fmt="gray"),
    "grey16.mkv": partial(silent_clip, codec="ffv1", pix_fmt="gray16le"),
    "alpha.mkv": partial(silent_clip, codec="ffv1", pix_fmt="yuva444p"),
    "alpha.mov": partial(silent_clip, codec="qtrle", pix_fmt="argb"),
    "deep.mkv": partial(silent_clip, codec="ffv1", pix_fmt="gbrp12le"),
    "palette.gif": partial(silent_clip, codec="gif", pix_fmt="rgb8"),
    "frames.apng": lambda path: write_video(path, flat_frames(3), codec="apng", pix_fmt="rgb24"),
    "turned.mp4": partial(clip, rotation=90),
    "mirrored.mov": partial(clip, rotation=180, mirrored=True),
    "late.mp4": partial(clip, video_start=1.0),
    "late-sound.mkv": partial(clip, sound_start=1.5),
    "edited.mp4": edited,
    "uneven.mkv": uneven,
    "short-sound.mp4": lambda path: write_video(path, flat_frames(25), waveform=tone(440, 0.1)),
    "long-sound.mp4": lambda path: write_video(path, flat_frames(3), waveform=tone(440, 2.0)),
    "three-sounds.mkv": several_sounds,
    "odd.mkv": lambda path: write_video(
        path, flat_frames(4, height=33, width=35), codec="ffv1", pix_fmt="yuv444p"
    ),
    "dot.mkv": lambda path: write_video(
        path, flat_frames(4, height=1, width=1), codec="ffv1", pix_fmt="gray"
    ),
    "wide.mkv": lambda path: write_video(
        path, flat_frames(2, height=8, width=6000), codec="ffv1", pix_fmt="yuv444p"
    ),
    "fast.mkv": partial(silent_clip, fps=1000),
    "slow.mp4": lambda path: write_video(path, flat_frames(3), fps=1),
    **{f"faces{n}.mp4": partial(faces, n_faces=n) for n in (1, 2, 5, 40, 200)},
    "mono.wav": partial(sound, layout="mono", rate=8_000, codec="pcm_s16le"),
    "high.wav": partial(sound, layout="stereo", rate=192_000, codec="pcm_s24le"),
    "eight.wav": partial(sound, layout="7.1", rate=48_000, codec="pcm_f32le"),
    "six.flac": partial(sound, layout="5.1", rate=44_100, codec="flac"),
    "bad.wav": partial(sound, layout="mono", rate=16_000, codec="pcm_f32le", bad=0.3),
    "worse.mka": partial(sound, layout="stereo", rate=16_000, codec="pcm_f64le", bad=1.0),
    "sound.mp3": partial(sound, layout="stereo", rate=44_100, codec="mp3"),
    "sound.ogg": partial(sound, layout="mono", rate=48_000, codec="flac"),
    "sound.opus": partial(sound, layout="mono", rate=48_000, codec="libopus"),
    "sound.m4a": partial(sound, layout="mono", rate=22_050, codec="aac"),
    "sound.aiff": partial(sound, layout="mono", rate=11_025, codec="pcm_s16be"),
    "phone.wav": partial(sound, layout="mono", rate=8_000, codec="pcm_mulaw"),
    "blip.wav": partial(sound, layout="mono", rate=16_000, codec="pcm_s16le", seconds=0.001),
    "cover.mp3": partial(with_cover, source_codec="mp3"),
    "words.mkv": words_alone,
    "headers.mp4": streams_without_anything,
    "headers.mkv": streams_without_anything,
    **{f"still.{end}": lambda path: write_still(path, scene(60)) for end in ("png", "bmp", "webp", "tiff")},
    "turned.jpg": lambda path: write_still(path, scene(60), orientation=6),
}

TIMED = frozenset({".mp4", ".mkv", ".mov", ".ts", ".avi", ".flv", ".webm"})
"""Containers whose packets are given other times."""

SUFFIXES = (
    ".mp4",
    ".mkv",
    ".avi",
    ".wav",
    ".mp3",
    ".jpg",
    ".png",
    ".gif",
    ".txt",
    ".m3u8",
    "",
    ".MP4",
    ".ts",
)


# Changes


def truncate(draw: random.Random, content: bytes, _: Sequence[Path]) -> bytes:
    """Cuts off after a whole number of hundredths."""
    return content[: len(content) * draw.randrange(1, 100) // 100]


def flip(draw: random.Random, content: bytes, _: Sequence[Path]) -> bytes:
    """Turns one to sixty-four bits around."""
    changed = bytearray(content)
    for _n in range(2 ** draw.randrange(7)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def overwrite(draw: random.Random, content: bytes, _: Sequence[Path]) -> bytes:
    """Writes zeros, ones or noise over a stretch."""
    begin, length = draw.randrange(len(content)), 2 ** draw.randrange(1, 15)
    length = min(length, len(content) - begin)
    filling = draw.choice([bytes(length), b"\xff" * length, draw.randbytes(length)])
    return content[:begin] + filling + content[begin + length :]


def remove(draw: random.Random, content: bytes, _: Sequence[Path]) -> bytes:
    """Takes a stretch out."""
    begin = draw.randrange(len(content))
    return content[:begin] + content[begin + 2 ** draw.randrange(1, 15) :]


def repeat(draw: random.Random, content: bytes, _: Sequence[Path]) -> bytes:
    """Puts a stretch in twice."""
    begin = draw.randrange(len(content))
    end = begin + 2 ** draw.randrange(1, 15)
    return content[:end] + content[begin:end] * draw.randrange(1, 4) + content[end:]


def swap_headers(draw: random.Random, content: bytes, bases: Sequence[Path]) -> bytes:
    """Begins like another file."""
    other = draw.choice(bases).read_bytes()
    length = 2 ** draw.randrange(3, 14)
    return other[:length] + content[length:]


def append(draw: random.Random, content: bytes, bases: Sequence[Path]) -> bytes:
    """Goes on as another file."""
    return content + draw.choice(bases).read_bytes()


EXTREMES = (0, 1, 0x7FFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
BOXES = (
    b"tkhd",
    b"mvhd",
    b"mdhd",
    b"stsd",
    b"stts",
    b"ctts",
    b"stsz",
    b"stsc",
    b"stco",
    b"elst",
    b"avcC",
    b"hdlr",
)
CHUNKS = (
    b"avih",
    b"strh",
    b"strf",
    b"fmt ",
    b"data",
    b"IHDR",
    b"fLaC",
    b"OggS",
    b"\x2a\xd7\xb1",
    b"\xe0",
    b"\xae",
)


def lie(draw: random.Random, content: bytes, _: Sequence[Path]) -> bytes:
    """Writes an absurd number into a header: dimensions, rates, lengths, counts."""
    places = [at for name in (*BOXES, *CHUNKS) if (at := content.find(name)) >= 0]
    changed = bytearray(content)
    for _n in range(draw.randrange(1, 4)):
        at = draw.choice(places or [0]) + draw.choice([-4, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 76, 80])
        at = min(max(at, 0), len(changed) - 4)
        number = draw.choice([*EXTREMES, draw.getrandbits(32)])
        changed[at : at + 4] = struct.pack(draw.choice("<>") + "I", number)
    if content.startswith(b"\x89PNG"):  # with the right sum, so that it is believed
        changed[29:33] = struct.pack(">I", zlib.crc32(changed[12:29]))
    return bytes(changed)


CHANGES: tuple[tuple[str, Callable[[random.Random, bytes, Sequence[Path]], bytes]], ...] = (
    ("cut off", truncate),
    ("bits turned", flip),
    ("overwritten", overwrite),
    ("a stretch missing", remove),
    ("a stretch repeated", repeat),
    ("begins like another", swap_headers),
    ("goes on as another", append),
    ("a number that lies", lie),
    ("a number that lies", lie),
)


def retime(draw: random.Random, base: Path, path: Path) -> str:
    """Copies a file's packets with other times; what was done to them."""
    how = draw.choice(
        ["negative", "repeating", "a gap", "a jump", "backwards", "some lost", "shaken", "absurd"]
    )
    with (
        contextlib.suppress(av.FFmpegError),  # some muxers refuse to end what they have begun
        av.open(str(base)) as source,
        av.open(str(path), "w") as target,
    ):
        copies = {each.index: target.add_stream_from_template(each) for each in source.streams}
        packets = [packet for packet in source.demux() if packet.dts is not None]
        middle = len(packets) // 2
        for n, packet in enumerate(packets):
            base_unit = packet.time_base
            one = max(1, round(Fraction(1, 25) / base_unit))
            shift = {
                "negative": -20 * one,
                "repeating": 0,
                "a gap": 250 * one * (n > middle),
                "a jump": 90_000 * one * (n > middle),
                "backwards": -8 * one * (n > middle),
                "some lost": 0,
                "shaken": draw.randrange(-3, 4) * one,
                "absurd": draw.choice([0, 2**40, -(2**40)]),
            }[how]
            if how == "some lost" and draw.random() < 0.4:
                continue
            copy = av.Packet(bytes(packet))
            copy.pts = (packet.pts or packet.dts) + shift
            copy.dts = packet.dts + shift
            if how == "repeating" and n > middle:
                copy.pts = copy.dts = packets[middle].dts
            copy.duration, copy.time_base, copy.is_keyframe = packet.duration, base_unit, packet.is_keyframe
            copy.stream = copies[packet.stream_index]
            try:
                target.mux_one(copy)
            except (av.FFmpegError, OverflowError):  # the muxer knows better: it stays out
                continue
    path.touch()
    return f"times: {how}"


DASH = "urn:mpeg:dash:schema:mpd:2011"


def leading_to(target: str) -> dict[str, str]:
    """Texts by format that would have a file or an address read."""
    return {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
        "mpd": f'<?xml version="1.0"?><MPD xmlns="{DASH}"><BaseURL>{target}</BaseURL></MPD>',
        "imf": f'<?xml version="1.0"?><AssetMap><Path>{target}</Path></AssetMap>',
        "ram": f"{target}\n",
    }


def lead_astray(draw: random.Random, number: int, bases: Sequence[Path], folder: Path) -> Case:
    """A file that would have another one read, or an address asked."""
    other = draw.choice([base for base in bases if base.suffix in {".mp4", ".ts", ".mkv"}])
    address = "http://127.0.0.1:9/film.mp4"  # the discard service: nobody answers
    target = draw.choice(
        [str(other), f"file:{other}", address, "concat:" + str(other), f"subfile,,start,0,end,0,,:{other}"]
    )
    texts = leading_to(target)
    name = draw.choice([*texts])
    path = folder / f"case{draw.choice(['.mp4', '.' + name, '.mkv', '.wav', '.png', ''])}"
    path.write_text(texts[name])
    return Case(number, path, name, f"leads to {target.split(':')[0][:6]}", astray=True)
