"""Sound in, what the network hears out: log-mel columns, where somebody speaks, where it is silent.

Everything is a stream: chunks of any length come in, stretches of one second leave, and their values do not
depend on how the sound was cut. Speech is found by Silero VAD (MIT; its weights lie in `weights/`) on ONNX
Runtime; a stretch is known to be speech, or not, at most 0.5 s of sound later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain, islice, pairwise, tee
from typing import TYPE_CHECKING

import numpy as np

from mien.engine import open_session, refuse_altered
from mien.spans import HOP_SAMPLES, SAMPLE_RATE

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32

    from mien.engine import InferenceSession

N_FFT = 512
"""Samples under one column, 32 ms; the window is centred in them."""
WINDOW_SAMPLES = 400
"""Length of the periodic Hann window: 25 ms."""
N_MELS = 64
LOWEST_HZ, HIGHEST_HZ = 20.0, 7600.0
"""Where the lowest mel filter begins and the highest one ends."""

LEAST_POWER = 1e-10
"""Least mel power of a column: 50 dB below what a net hears, for windows of quiet sound are made louder."""

SILENCE_DBFS = -70.0
"""A column is silent where the RMS of its 32 ms about their mean is below this (0 dBFS: RMS of 1). Quiet
speech recorded far below full scale still lies above it."""

SPEECH_FILE = "silero_vad_16k.onnx"
"""Name of the speech detector's weights, in the folder `weights` of the package."""
SPEECH_SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
"""Of the detector's weights: `silero_vad_16k_sequence.onnx` of silero-vad 6.2.3."""
SPEECH_FRAME_SAMPLES = 512
"""The detector decides once in 32 ms."""
ONSET, OFFSET = 0.4, 0.25
"""Speech begins one frame before its probability reaches the first; it lasts until below the second."""
LONGEST_PAUSE_FRAMES = 10
"""A pause up to this long (0.32 s) between speech counts as speech (pyannote's min_duration_off)."""
SHORTEST_SPEECH_FRAMES = 5
"""What is shorter than this (0.16 s), pauses included, is no speech (pyannote's min_duration_on)."""

_PIECE_SAMPLES = SAMPLE_RATE
_OVERLAP = (N_FFT - HOP_SAMPLES) // 2
"""Zeros before and after the file, and sound that a piece shares with each neighbour: 176 samples."""
_CONTEXT_SAMPLES = 64
"""The detector sees the last samples of the frame before."""
_LOUDEST = 4.0
"""12 dB over full scale: no sound decodes to more, and a broken sample must not reach a memory that lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundColumns:
    """Consecutive columns of 10 ms; column j of the file is centred on (j + 0.5) · 10 ms."""

    start_column: int
    """Index in the file of the first of them."""
    log_mel: Float32[np.ndarray, "64 columns"]
    """Natural logarithm of mel power, low frequencies first; not normalised."""
    speech: Bool[np.ndarray, "columns"]
    """Where somebody speaks, the short pauses inside an utterance included."""
    silent: Bool[np.ndarray, "columns"]
    """Where there is next to no sound at all."""


def log_mel(waveform: Float32[np.ndarray, "samples"]) -> Float32[np.ndarray, "64 columns"]:
    """The log-mel spectrogram of a whole recording (16 kHz mono), one column per full 10 ms of it.

    >>> log_mel(np.zeros(16_000, np.float32)).shape
    (64, 100)
    """
    columns = [_log_mel(_frames(piece)) for piece in _pieces([waveform])]
    return np.concatenate([np.zeros((N_MELS, 0), np.float32), *columns], axis=1)


def hear(chunks: Iterable[Float32[np.ndarray, "_"]]) -> Iterator[SoundColumns]:
    """What is heard in a stream of 16 kHz mono sound, a second at a time, in order and without gaps.

    The columns are those of `log_mel` on all chunks together, to the bit. Reads at most two seconds ahead of
    what it yields, so memory does not grow. A recording shorter than one column yields nothing.

    Args:
        chunks: Consecutive stretches of the sound, of any lengths, nominally within -1..1.

    >>> [heard] = hear([np.zeros(700, np.float32), np.zeros(900, np.float32)])
    >>> heard.log_mel.shape, heard.speech.any(), heard.silent.all()
    ((64, 10), np.False_, np.True_)
    """
    pieces, pieces_ahead = tee(_pieces(chunks))
    speech = _per_column(keep_utterances(speech_probs(piece[_OVERLAP:-_OVERLAP] for piece in pieces_ahead)))
    start_column = 0
    for piece in pieces:
        frames = _frames(piece)
        n_columns = len(frames)
        if n_columns == 0:
            continue
        yield SoundColumns(
            start_column=start_column,
            log_mel=_log_mel(frames),
            speech=np.fromiter(islice(speech, n_columns), np.bool_, n_columns),
            silent=frames.std(axis=1) < 10 ** (SILENCE_DBFS / 20),
        )
        start_column += n_columns


def speech_probs(stretches: Iterable[Float32[np.ndarray, "samples"]]) -> Iterator[float]:
    """The probability of speech in each 32 ms of a stream of 16 kHz mono sound.

    A last frame that is not full counts as continued by zeros. The detector is loaded when sound first comes.
    """
    session: InferenceSession | None = None
    hidden = cell = np.zeros((1, 1, 128), np.float32)
    rest = np.zeros(_CONTEXT_SAMPLES, np.float32)
    for stretch in stretches:
        rest = np.concatenate((rest, stretch))
        frames = _overlapping(rest, SPEECH_FRAME_SAMPLES + _CONTEXT_SAMPLES, SPEECH_FRAME_SAMPLES)
        if len(frames) == 0:
            continue
        session = session or _load_detector()
        probs, hidden, cell = session.run(None, {"input": frames, "h": hidden, "c": cell})
        rest = rest[len(frames) * SPEECH_FRAME_SAMPLES :]
        yield from probs.tolist()
    if len(rest) > _CONTEXT_SAMPLES:
        last = np.zeros((1, SPEECH_FRAME_SAMPLES + _CONTEXT_SAMPLES), np.float32)
        last[0, : len(rest)] = rest
        session = session or _load_detector()
        yield float(session.run(None, {"input": last, "h": hidden, "c": cell})[0][0])


def keep_utterances(probs: Iterable[float]) -> Iterator[bool]:
    """Whether each frame of 32 ms belongs to an utterance: pauses filled, blips dropped.

    Each is told as soon as it is certain: no more than `SHORTEST_SPEECH_FRAMES + LONGEST_PAUSE_FRAMES`, half
    a second, are held back.

    >>> "".join(".#"[kept] for kept in keep_utterances([0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0]))
    '.########...'
    """
    # The probability rises late: the frame before the first that reaches ONSET is most often speech too.
    return (now or coming for now, coming in pairwise(chain(_without_blips(probs), [False])))


def _without_blips(probs: Iterable[float]) -> Iterator[bool]:
    n_held = n_speech = n_pause = 0
    active = False
    for prob in probs:
        active = prob >= (OFFSET if active else ONSET)
        n_held += 1
        if active:
            n_speech += n_pause + 1
            n_pause = 0
            if n_speech < SHORTEST_SPEECH_FRAMES:
                continue
        elif n_speech and n_pause < LONGEST_PAUSE_FRAMES:
            n_pause += 1
            continue
        else:
            n_speech = n_pause = 0
        yield from [active] * n_held
        n_held = 0
    yield from [False] * n_held


def _per_column(speech: Iterable[bool]) -> Iterator[bool]:
    """For each mel column, the flag of the detector's frame in which its centre lies."""
    centre = HOP_SAMPLES // 2
    for frame, flag in enumerate(speech, start=1):
        while centre < frame * SPEECH_FRAME_SAMPLES:
            yield flag
            centre += HOP_SAMPLES


def _pieces(chunks: Iterable[Float32[np.ndarray, "_"]]) -> Iterator[Float32[np.ndarray, "_"]]:
    """The sound, zeros around it, in stretches that do not depend on how it was cut.

    Each carries one second (the last one less) and 176 samples of what comes before and after it.
    """
    size = _PIECE_SAMPLES + 2 * _OVERLAP
    edge = np.zeros(_OVERLAP, np.float32)
    held, n_held = [edge], _OVERLAP
    for chunk in chain(chunks, [edge]):
        held.append(np.clip(np.nan_to_num(chunk, nan=0.0), -_LOUDEST, _LOUDEST))
        n_held += len(chunk)
        if n_held < size:
            continue
        sound = np.concatenate(held)
        for start in range(0, n_held - size + 1, _PIECE_SAMPLES):
            yield sound[start : start + size]
        n_held = (n_held - 2 * _OVERLAP) % _PIECE_SAMPLES + 2 * _OVERLAP
        held = [sound[-n_held:]]
    if n_held > 2 * _OVERLAP:
        yield np.concatenate(held)


def _overlapping(
    sound: Float32[np.ndarray, "samples"], size: int, hop: int
) -> Float32[np.ndarray, "frames size"]:
    """Every full frame of `size` samples, `hop` samples apart."""
    if len(sound) < size:
        return np.zeros((0, size), np.float32)
    return np.lib.stride_tricks.sliding_window_view(sound, size)[::hop]


def _frames(piece: Float32[np.ndarray, "samples"]) -> Float32[np.ndarray, "columns 512"]:
    return _overlapping(piece, N_FFT, HOP_SAMPLES)


def _log_mel(frames: Float32[np.ndarray, "columns 512"]) -> Float32[np.ndarray, "64 columns"]:
    spectrum = np.fft.rfft(frames * hann_window())
    power = spectrum.real**2 + spectrum.imag**2
    # not by BLAS, whose threads go on spinning for longer than the next second of sound takes
    mel: Float32[np.ndarray, "64 columns"] = np.einsum("mf,cf->mc", mel_filters(), power)
    columns: Float32[np.ndarray, "64 columns"] = np.log(np.maximum(mel, np.float32(LEAST_POWER)))
    return columns


@cache
def hann_window() -> Float32[np.ndarray, "512"]:
    """A periodic Hann window between zeros."""
    phase = 2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
    edge = (N_FFT - WINDOW_SAMPLES) // 2
    return np.pad(0.5 - 0.5 * np.cos(phase), edge).astype(np.float32)


@cache
def mel_filters() -> Float32[np.ndarray, "64 257"]:
    """Slaney's triangles on his mel scale, each of unit area in Hz (the default of librosa and others)."""
    corners = _hz(np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), N_MELS + 2))[:, None]
    bins = np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    triangles = np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak))
    filters: Float[np.ndarray, "64 257"] = np.maximum(0.0, triangles) * 2 / (high - low)
    return filters.astype(np.float32)


def _mel(hz: float) -> float:
    """Slaney's mel scale: linear up to 1 kHz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else float(15 + 27 * np.log(hz / 1000) / np.log(6.4))


def _hz(mel: Float[np.ndarray, "corners"]) -> Float[np.ndarray, "corners"]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def _load_detector() -> InferenceSession:
    weights = (files("mien") / "weights" / SPEECH_FILE).read_bytes()
    refuse_altered(
        weights,
        SPEECH_SHA256,
        told="the speech detector's weights have",
        mend="; install mien anew from its clone or wheel",
    )
    return open_session(weights)
