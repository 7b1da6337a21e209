"""Makes demo.mp4: one public-domain photograph bent into ten seconds of expressions, with made-up sound.

    pip install 'mien[dev]'; apt-get install espeak-ng; python examples/make_demo.py

The photograph is `skimage.data.astronaut()` (NASA, public domain, inside the scikit-image wheel). All
coordinates below are its pixels. Each frame is one lookup into the photograph: from a pixel of the frame
back through camera, head, brows and corners of the mouth, lids and lips, to where its colour comes from.
Nothing is left to chance; the same libraries and the same espeak-ng make the same file.
"""

from __future__ import annotations

import io
import subprocess
import sys
import wave
from dataclasses import astuple, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
from skimage.data import astronaut

WIDTH, HEIGHT, FPS, DURATION = 640, 360, 25, 10.0  # pixels, pixels, frames/s, s
FINER = 2  # frames are drawn this many times larger and averaged down, so that lips and lids have soft edges
SOUND_RATE = 44_100  # Hz
TEXT = "Hello! This is one photograph, bent by a program, and a voice made by a program."
SPEECH_START, MUSIC_START, MUSIC_DURATION = 1.5, 7.0, 1.6  # s; all else is digital silence

Curve = tuple[tuple[float, float], ...]
LEFT_LIDS: tuple[Curve, Curve] = (
    ((192, 100), (196, 98.3), (200, 97.8), (204, 97.8), (208, 98.6), (211, 100.5), (214, 103.5)),
    ((192, 100), (195, 102), (199, 104), (204, 104.9), (208, 104.9), (211, 104.6), (214, 103.5)),
)
RIGHT_LIDS: tuple[Curve, Curve] = (
    ((236, 104.5), (239, 101.7), (243, 100), (247, 99.6), (251, 100.3), (255, 102), (259, 104)),
    ((236, 104.5), (239, 105.6), (243, 106.4), (247, 106.7), (251, 106.3), (255, 105.2), (259, 104)),
)
LIPS: tuple[Curve, Curve] = (
    (
        (203, 139.5),
        (207, 141),
        (212, 142),
        (217, 143.3),
        (224, 144),
        (230, 143.4),
        (236, 142.6),
        (240, 141.2),
        (244.5, 141),
    ),
    (
        (203, 139.5),
        (206, 143),
        (210, 146.3),
        (215, 149),
        (221, 149.9),
        (228, 149.7),
        (233, 148.6),
        (237, 146.4),
        (244.5, 141),
    ),
)
"""Edges of the openings, upper then lower: of the lids, and of the lips around the teeth."""


@dataclass(frozen=True)
class Look:
    """How far the face is bent away from the photograph's smile; pixels unless said otherwise."""

    lips_closed: float = 0.0
    """0 as in the photograph, 1 closed."""
    jaw_drop: float = 0.0
    corners_in: float = 0.0
    corners_down: float = 0.0
    brows_up: float = 0.0
    inner_brows_up: float = 0.0
    lids_up: float = 0.0

    def towards(self, other: Look, share: float) -> Look:
        """The look that lies this share of the way to another."""
        return Look(*(a + share * (b - a) for a, b in zip(astuple(self), astuple(other), strict=True)))


SMILE = Look()
NEUTRAL = Look(lips_closed=1, corners_in=4, corners_down=4.5)
SURPRISE = Look(jaw_drop=9, corners_in=9, corners_down=6, brows_up=3, lids_up=0.5)
SADNESS = Look(lips_closed=1, corners_in=4, corners_down=8.5, inner_brows_up=4)

LOOKS = (
    (0.0, SMILE),
    (2.2, SMILE),
    (2.8, NEUTRAL),
    (4.4, NEUTRAL),
    (4.8, SURPRISE),
    (6.3, SURPRISE),
    (6.8, SMILE),
    (7.6, SMILE),
    (7.7, SADNESS),
    (10.0, SADNESS),
)
"""What the face shows when (s)."""
BLINKS = (1.2, 3.5, 4.2, 9.2)
"""When the lids are shut (s)."""
TILT = ((0.0, 0.0), (6.9, 0.0), (7.3, 1.0), (8.4, 1.0), (8.8, 0.0), (10.0, 0.0))
"""When the camera looks at the face (0) and down at the suit (1)."""


def ease(share: np.ndarray | float) -> np.ndarray:
    """From 0 to 1 without a jerk."""
    bounded = np.asarray(np.clip(share, 0, 1))
    return bounded * bounded * (3 - 2 * bounded)


def between(keys: tuple[tuple[float, float], ...], time: float) -> float:
    """The value at a time of a course that eases from key to key."""
    for (start, before), (end, after) in pairwise(keys):
        if start <= time <= end:
            return before + (after - before) * float(ease((time - start) / (end - start)))
    return keys[-1][1]


def look_at(time: float) -> Look:
    """What the face shows at a time."""
    shares = tuple((when, float(number)) for number, (when, _) in enumerate(LOOKS))
    position = between(shares, time)
    before = min(int(position), len(LOOKS) - 2)
    return LOOKS[before][1].towards(LOOKS[before + 1][1], position - before)


def edge(curve: Curve, x: np.ndarray) -> np.ndarray:
    """Height of a smooth curve through the points at each x; level beyond its ends."""
    known = np.array(curve)
    dense = np.arange(known[0, 0], known[-1, 0] + 0.25, 0.25)
    rough = np.pad(np.interp(dense, known[:, 0], known[:, 1]), 8, mode="reflect", reflect_type="odd")
    return np.interp(x, dense, np.convolve(rough, np.hanning(19)[1:-1] / np.hanning(19).sum(), mode="valid"))


def fade(distance: np.ndarray, stiff: float, reach: float) -> np.ndarray:
    """1 up to a distance of `stiff`, 0 from `stiff + reach` on."""
    return 1 - ease((distance - stiff) / reach)


def moved(x: np.ndarray, y: np.ndarray, centre: tuple[float, float], size: tuple[float, float]) -> np.ndarray:
    """How much each pixel takes part in a movement around a centre: 1 there, dying away like a bell."""
    return np.asarray(np.exp(-(((x - centre[0]) / size[0]) ** 2) - ((y - centre[1]) / size[1]) ** 2))


def frame_grid(time: float) -> tuple[np.ndarray, np.ndarray]:
    """Where in the photograph the camera sees each pixel of a frame."""
    tilt = between(TILT, time)
    zoom = 1.9 + 0.12 * np.sin(2 * np.pi * time / 7)
    u, v = np.meshgrid(np.arange(WIDTH * FINER), np.arange(HEIGHT * FINER))
    x = ((u + 0.5) / FINER - WIDTH / 2) / zoom + 226 + 4 * np.sin(2 * np.pi * time / 5)
    y = ((v + 0.5) / FINER - HEIGHT / 2) / zoom + 106 + 245 * tilt
    return x, y


def sway(x: np.ndarray, y: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
    """The head nods, leans about the neck and turns a little; the suit and the wall stay."""
    from_middle = np.hypot((x - 228) / 82, (y - 92) / 92)
    share = 1 - ease((from_middle - 0.95) / 0.6)
    angle = np.deg2rad(2.4) * np.sin(2 * np.pi * time / 3.1) * share
    across, down = x - 226, y - 185
    x, y = (
        226 + across * np.cos(angle) + down * np.sin(angle),
        185 - across * np.sin(angle) + down * np.cos(angle),
    )
    turn = moved(x, y, (226, 118), (48, 55))
    return x - 3.5 * np.sin(2 * np.pi * time / 4.3) * turn, y - 1.8 * np.sin(
        2 * np.pi * time / 2.7 + 1
    ) * turn


def bend(x: np.ndarray, y: np.ndarray, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Brows and corners of the mouth go where the look has them."""
    corners = (
        moved(x, y, (205 + look.corners_in, 140 + look.corners_down), (12, 11)),
        moved(x, y, (243 - look.corners_in, 141 + look.corners_down), (12, 11)),
    )
    brows = moved(x, y, (203, 89), (17, 7)) + moved(x, y, (250, 92), (17, 7))
    inner = moved(x, y, (213, 91), (10, 8)) + moved(x, y, (238, 92), (10, 8))
    bent_y = (
        y
        - look.corners_down * (corners[0] + corners[1])
        + look.brows_up * brows
        + look.inner_brows_up * inner
    )
    return x - look.corners_in * (corners[0] - corners[1]), bent_y


def lift_lids(
    x: np.ndarray, y: np.ndarray, lids: tuple[Curve, Curve], shut: float, raised: float
) -> np.ndarray:
    """The upper lid slides over the eye, or opens wider and draws the eye with it."""
    upper, lower = edge(lids[0], x), edge(lids[1], x)
    slit = np.clip((lower - upper) / (lower - upper).max(), 0, 1)
    wanted = upper + shut * (lower - upper) - raised * slit
    above = y + (upper - wanted) * fade(wanted - y, 0.5, 16)
    stretched = lower - (lower - y) * (lower - upper) / np.maximum(lower - wanted, 1e-6)
    inside = y if raised == 0 else stretched
    return np.where(y < wanted, above, np.where(y < lower, inside, y))


def part_lips(x: np.ndarray, y: np.ndarray, look: Look) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lips close over the teeth, or the jaw drops; with where the mouth is dark, and where the lips meet."""
    upper, lower = edge(LIPS[0], x), edge(LIPS[1], x)
    opening = np.clip((lower - upper) / 6.5, 0, 1)
    bell = np.clip(1 - ((x - 224) / 20.5) ** 2, 0, 1)
    meeting = 0.55 * upper + 0.45 * lower
    upper_wanted = upper + look.lips_closed * (meeting - upper) - 0.35 * look.jaw_drop * bell
    lower_wanted = lower + look.lips_closed * (meeting - lower) + look.jaw_drop * bell
    above = y + (upper - upper_wanted) * fade(upper_wanted - y, 3, 11)
    below = y + (lower - lower_wanted) * fade(y - lower_wanted, 8, 40)
    bent = np.where(y < upper_wanted, above, np.where(y < lower_wanted, y, below))
    teeth_end = lower - 0.45 * min(1.0, look.jaw_drop / 6) * (lower - upper)
    dark = (y >= upper_wanted) & (y < lower_wanted) & ((y > teeth_end) | (y < upper)) & (look.jaw_drop > 0.3)
    seam = look.lips_closed * opening * np.exp(-(((y - upper_wanted) / 0.55) ** 2))
    return bent, dark, seam


def draw(photo: np.ndarray, time: float) -> np.ndarray:
    """One frame, (height, width, 3) RGB."""
    look = look_at(time)
    x, y = bend(*sway(*frame_grid(time), time), look)
    shut = max(float(fade(np.array(abs(time - when)), 0.03, 0.11)) for when in BLINKS)
    for lids in (LEFT_LIDS, RIGHT_LIDS):
        y = lift_lids(x, y, lids, shut, look.lids_up)
    y, dark, seam = part_lips(x, y, look)
    fine = cv2.remap(
        photo, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    ).astype(np.float32)
    fine *= 1 - 0.45 * seam[..., None]
    fine[dark] = (52, 18, 18)
    return (
        cv2.resize(np.clip(fine, 0, 255), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        .round()
        .astype(np.uint8)
    )


def speak() -> np.ndarray:
    """The text as espeak-ng says it, at `SOUND_RATE`."""
    command = ["espeak-ng", "-v", "en-us", "-s", "165", "--stdout", TEXT]
    try:
        said = subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError:
        sys.exit("espeak-ng was not found; install it (Debian: apt-get install espeak-ng)")
    with wave.open(io.BytesIO(said)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        wanted = len(samples) * SOUND_RATE // file.getframerate()
    return np.fft.irfft(np.fft.rfft(samples), wanted) * (wanted / len(samples))


def play() -> np.ndarray:
    """A few plucked notes of a major chord."""
    tune = np.zeros(round(MUSIC_DURATION * SOUND_RATE))
    for number, pitch in enumerate((262, 330, 392, 523, 392, 330, 262)):
        start = round(number * 0.2 * SOUND_RATE)
        time = np.arange(len(tune) - start) / SOUND_RATE
        for harmonic in (1, 2, 3, 4):
            tune[start:] += (
                np.sin(2 * np.pi * pitch * harmonic * time) * np.exp(-4 * harmonic * time) / harmonic
            )
    return 0.18 * tune * np.minimum(1, np.linspace(20, 0, len(tune)))


def sound() -> np.ndarray:
    """All that is heard: silence, the voice in a faintly hissing room, music, silence; mono, -1 to 1."""
    whole = np.zeros(round(DURATION * SOUND_RATE))
    room = 0.002 * np.random.default_rng(0).standard_normal(round((MUSIC_START - SPEECH_START) * SOUND_RATE))
    for start, part in ((SPEECH_START, 0.8 * speak()), (SPEECH_START, room), (MUSIC_START, play())):
        first = round(start * SOUND_RATE)
        whole[first : first + len(part)] += part
    return np.clip(whole, -1, 1)


def write(path: Path) -> None:
    """The clip at its path."""
    photo: np.ndarray = astronaut()  # type: ignore[no-untyped-call]
    with av.open(path, "w", options={"movflags": "faststart"}) as file:
        picture = file.add_stream("libx264", rate=FPS, options={"crf": "25", "preset": "slow"})
        picture.width, picture.height, picture.pix_fmt, picture.thread_count = WIDTH, HEIGHT, "yuv420p", 1
        voice = file.add_stream("aac", rate=SOUND_RATE, layout="mono")
        voice.bit_rate = 64_000
        for number in range(round(DURATION * FPS)):
            frame = av.VideoFrame.from_ndarray(draw(photo, number / FPS), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            file.mux(picture.encode(frame))
        file.mux(picture.encode())
        samples = sound().astype(np.float32)
        for first in range(0, len(samples), voice.frame_size):
            part = av.AudioFrame.from_ndarray(samples[None, first : first + voice.frame_size], "fltp", "mono")
            part.sample_rate, part.pts, part.time_base = SOUND_RATE, first, Fraction(1, SOUND_RATE)
            file.mux(voice.encode(part))
        file.mux(voice.encode())


if __name__ == "__main__":
    write(Path(__file__).with_name("demo.mp4"))
