"""What is heard is right, at its right time, and the same however the sound is cut."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mien.speech
from mien.errors import CheckpointError
from mien.media import read_sound
from mien.spans import HOP_SAMPLES, MEL_FLOOR, SAMPLE_RATE, column_at
from mien.speech import (
    LEAST_POWER,
    LONGEST_PAUSE_FRAMES,
    N_MELS,
    SHORTEST_SPEECH_FRAMES,
    SoundColumns,
    hear,
    keep_utterances,
    log_mel,
    mel_filters,
    speech_probs,
)

SHARED = Path(__file__).parents[2] / "shared"
SILENCE = np.float32(np.log(LEAST_POWER))
QUIETEST = np.float32(np.log(MEL_FLOOR))
"""Below it the stored and the drawn spectrogram are not compared: there rounding speaks."""
# The chirp below through librosa 0.11 (melspectrogram, center=False on the sound with 176 zeros on each side,
# float64): rows are these mels, columns these columns.
LIBROSA_MELS, LIBROSA_COLUMNS = [0, 5, 10, 20, 40, 63], [0, 7, 24, 40, 49]
LIBROSA_LOG_MEL = [
    [3.126724, -7.305816, -11.512925, -11.512925, -4.297761],
    [-3.107887, 4.008151, -11.512925, -11.512925, -4.315573],
    [-5.752816, -8.482671, -6.707099, -11.512925, -4.095956],
    [-8.177413, -11.512925, -10.594521, -1.241028, -2.633604],
    [-11.512925, -11.512925, -11.512925, -11.512925, -6.1386],
    [-11.512925, -11.512925, -11.512925, -11.512925, -9.700846],
]


def chirp(duration: float) -> np.ndarray:
    time = np.arange(int(duration * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * (100 * time + 1200 * time**2))).astype(np.float32)


def noise(n_samples: int, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def chords(duration: float) -> np.ndarray:
    time = np.arange(int(duration * SAMPLE_RATE)) / SAMPLE_RATE
    pitches = np.array([220.0, 277.2, 329.6]) * 2 ** (np.floor(time[:, None] * 2) % 5 / 12)
    phase = 2 * np.pi * np.cumsum(pitches, axis=0) / SAMPLE_RATE
    tones = sum(0.5**k * np.sin((k + 1) * phase) for k in range(6))
    return (0.1 * tones.sum(axis=1) * np.exp(-2 * (time % 0.5))).astype(np.float32)


def cut(sound: np.ndarray, places: Iterable[int]) -> list[np.ndarray]:
    return np.split(sound, sorted(places))


def join(heard: Iterable[SoundColumns]) -> SoundColumns:
    pieces = list(heard)
    starts = np.cumsum([0] + [piece.log_mel.shape[1] for piece in pieces])
    assert [piece.start_column for piece in pieces] == starts[:-1].tolist()
    assert all(piece.log_mel.dtype == np.float32 for piece in pieces)
    return SoundColumns(
        start_column=0,
        log_mel=np.concatenate([np.zeros((N_MELS, 0), np.float32), *(p.log_mel for p in pieces)], axis=1),
        speech=np.concatenate([np.zeros(0, bool), *(p.speech for p in pieces)]),
        silent=np.concatenate([np.zeros(0, bool), *(p.silent for p in pieces)]),
    )


def a_recording() -> np.ndarray:
    path = SHARED / "data" / "ravdess_speech" / "Actor_03" / "03-01-05-02-01-01-03.flac"
    if not path.exists():
        pytest.skip("needs the shared RAVDESS recordings")
    return np.concatenate(list(read_sound(path)))


def find(kept: str) -> str:
    """The utterances in frames drawn as # (speech) and . (none)."""
    return "".join(".#"[flag] for flag in keep_utterances([float(frame == "#") for frame in kept]))


# The spectrogram


def torch_log_mel(sound: np.ndarray) -> np.ndarray:
    """The definition again: torch's transform, and triangles drawn point by point on Slaney's scale."""
    spectrum = torch.stft(
        torch.from_numpy(np.pad(sound.astype(np.float64), 176)),
        n_fft=512,
        hop_length=160,
        win_length=400,
        window=torch.hann_window(400, dtype=torch.float64),
        center=False,
        return_complex=True,
    )
    step = np.log(6.4) / 27  # a mel above 1 kHz
    lowest, highest = 20 / (200 / 3), 15 + np.log(7.6) / step
    mels = [lowest + (highest - lowest) * k / 65 for k in range(66)]
    corners = [mel * 200 / 3 if mel < 15 else 1000 * np.exp((mel - 15) * step) for mel in mels]
    frequencies = np.arange(257) * 31.25
    filters = [
        np.interp(frequencies, corners[k : k + 3], [0.0, 2 / (corners[k + 2] - corners[k]), 0.0])
        for k in range(64)
    ]
    return np.log(np.maximum(np.array(filters) @ (spectrum.abs() ** 2).numpy(), 1e-5))


@pytest.mark.parametrize(
    "sound",
    [noise(16_000), noise(4_321, 1e-3), chirp(2.0), chords(1.5), np.ones(800, np.float32), noise(160)],
    ids=["noise", "quiet", "chirp", "chords", "constant", "one column"],
)
def test_log_mel_is_the_one_torch_computes(sound: np.ndarray) -> None:
    expected = torch_log_mel(sound)
    found = log_mel(sound)
    assert found.shape == expected.shape == (64, len(sound) // 160)
    np.testing.assert_allclose(np.maximum(found, QUIETEST), expected, atol=1e-4)


def test_quiet_sound_has_the_same_spectrogram_lower_down() -> None:
    sound = noise(16_000, 0.1)
    np.testing.assert_allclose(log_mel(sound * 1e-2), log_mel(sound) - np.log(1e4), atol=1e-3)


def test_log_mel_is_the_one_librosa_computes() -> None:
    found = log_mel(chirp(0.5))[np.ix_(LIBROSA_MELS, LIBROSA_COLUMNS)]
    np.testing.assert_allclose(np.maximum(found, QUIETEST), LIBROSA_LOG_MEL, atol=1e-4)


def test_every_mel_filter_passes_something() -> None:
    assert mel_filters().shape == (64, 257)
    assert (mel_filters().max(axis=1) > 0).all()


@settings(deadline=None)
@given(st.integers(0, 47_999))
def test_a_click_lies_in_the_column_of_its_time(sample: int) -> None:
    sound = np.zeros(48_000, np.float32)
    sound[sample] = 1.0
    loudness = log_mel(sound).mean(axis=0)
    column = column_at(sample / SAMPLE_RATE)
    assert loudness[column] > SILENCE + 1
    if sample % HOP_SAMPLES:
        assert loudness.argmax() == column
    else:  # as near to the centre of the column before
        assert loudness[column] == pytest.approx(loudness.max(), abs=1e-4)


# The stream


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 70_000), st.lists(st.integers(0, 70_000), max_size=12), st.integers(0, 3))
def test_the_stream_does_not_depend_on_how_the_sound_is_cut(n: int, places: list[int], seed: int) -> None:
    sound = noise(n, seed=seed) * (np.arange(n) % 20_000 > 4_000)
    whole, pieces = join(hear([sound])), join(hear(cut(sound, [min(place, n) for place in places])))
    np.testing.assert_array_equal(whole.log_mel, log_mel(sound))
    np.testing.assert_array_equal(pieces.log_mel, whole.log_mel)
    np.testing.assert_array_equal(pieces.silent, whole.silent)
    np.testing.assert_array_equal(pieces.speech, whole.speech)
    assert len(whole.speech) == len(whole.silent) == n // 160


def test_speech_flags_do_not_depend_on_how_the_sound_is_cut() -> None:
    sound = a_recording()
    whole = join(hear([sound]))
    assert whole.speech.any()
    for size in (1, 7, 512, 1_000, 16_000, 16_352, 50_000):
        pieces = join(hear(cut(sound, range(size, len(sound), size))))
        np.testing.assert_array_equal(pieces.speech, whole.speech)
        np.testing.assert_array_equal(pieces.log_mel, whole.log_mel)


@pytest.mark.parametrize("chunks", [[], [np.zeros(0, np.float32)], [noise(100)], [noise(100), noise(59)]])
def test_less_sound_than_a_column_yields_nothing(chunks: list[np.ndarray]) -> None:
    assert list(hear(chunks)) == []
    assert log_mel(np.concatenate([np.zeros(0, np.float32), *chunks])).shape == (64, 0)


def test_the_stream_reads_at_most_two_seconds_ahead() -> None:
    read = 0

    def chunks() -> Iterable[np.ndarray]:
        nonlocal read
        for seed in range(100):
            read += 1_600
            yield noise(1_600, seed=seed)

    told = 0
    for piece in hear(chunks()):
        told += piece.log_mel.shape[1] * HOP_SAMPLES
        assert piece.log_mel.shape[1] == 100
        # What lies ahead is the piece that decides, 176 samples of its neighbour, and the chunk they came in.
        assert read - told <= SAMPLE_RATE + 176 + 1_600
    assert told == 160_000


def test_broken_samples_do_no_lasting_harm() -> None:
    sound = np.concatenate([noise(8_000), a_recording()])
    broken = sound.copy()
    broken[[100, 2_000, 3_000, 4_000]] = [np.nan, np.inf, -np.inf, 1e30]
    heard, unbroken = join(hear([broken])), join(hear([sound]))
    assert np.isfinite(heard.log_mel).all()
    np.testing.assert_array_equal(heard.log_mel[:, 30:], unbroken.log_mel[:, 30:])
    assert (heard.speech == unbroken.speech).mean() > 0.98


# Silence


def test_silence_is_what_lies_below_70_dbfs() -> None:
    levels = [0.0, 10 ** (-76 / 20), 10 ** (-64 / 20), 0.1]
    silent = join(hear([noise(16_000, level, seed=1) for level in levels])).silent.reshape(4, 100)[:, 3:-3]
    assert silent.all(axis=1).tolist() == [True, True, False, False]
    assert not silent[2:].any()


def test_an_offset_alone_is_silent() -> None:
    assert join(hear([np.full(16_000, 0.2, np.float32)])).silent[2:-2].all()


def test_silence_is_as_low_as_can_be() -> None:
    assert (log_mel(np.zeros(1_600, np.float32)) == SILENCE).all()


# Speech


@pytest.mark.parametrize(
    "sound",
    [np.zeros(48_000, np.float32), noise(48_000, 0.001), noise(48_000, 0.3), chords(6.0), chirp(3.0)],
    ids=["silence", "quiet noise", "loud noise", "chords", "chirp"],
)
def test_no_speech_is_heard_where_there_is_none(sound: np.ndarray) -> None:
    assert not join(hear([sound])).speech.any()


def test_speech_is_heard_where_it_is() -> None:
    sound = a_recording()  # speech from about 1.0 to 3.5 s
    speech = join(hear([sound])).speech
    assert speech[120:340].all()
    assert not speech[:80].any()
    assert not speech[-50:].any()


def test_each_column_takes_the_flag_of_the_frame_in_which_its_centre_lies() -> None:
    sound = a_recording()[:-55]
    kept = list(keep_utterances(speech_probs([sound])))
    speech = join(hear([sound])).speech
    assert speech.tolist() == [kept[(column * 160 + 80) // 512] for column in range(len(speech))]


def test_speech_is_heard_over_noise_and_after_a_long_silence() -> None:
    sound = a_recording()
    later = np.concatenate([np.zeros(20 * SAMPLE_RATE, np.float32), sound])
    noisy = sound + noise(len(sound), 10 ** (-20 / 20) * float(sound.std()))
    assert join(hear([later])).speech[2120:2340].all()
    assert join(hear([noisy])).speech[120:340].mean() > 0.9


@pytest.mark.parametrize("folder", ["ravdess_speech", "emodb"])
def test_most_acted_speech_is_heard(folder: str) -> None:
    paths = sorted((SHARED / "data" / folder).rglob("*.flac"))
    if not paths:
        pytest.skip(f"needs the shared recordings of {folder}")
    hits = total = 0
    for path in paths[:: len(paths) // 12]:
        heard = join(hear(read_sound(path)))
        level = 10 * np.log10(np.exp(heard.log_mel).sum(axis=0))
        loud = level > max(np.percentile(level, 95) - 20, -27)  # the floor of 64 mels is -32
        hits += (heard.speech & loud).sum()
        total += loud.sum()
    assert hits / total > 0.95


def test_the_sequence_of_probabilities_is_that_of_whole_frames() -> None:
    sound = a_recording()[: 512 * 60]
    whole = list(speech_probs([sound]))
    assert len(whole) == 60
    np.testing.assert_allclose(list(speech_probs(cut(sound, range(512, len(sound), 512)))), whole, atol=1e-6)
    assert len(list(speech_probs([sound[:-1]]))) == 60
    assert list(speech_probs([])) == []


# Utterances


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("", ""),
        ("......", "......"),
        ("...#....######", "..############"),  # a blip that a short pause ties to speech
        (".." + "#" * SHORTEST_SPEECH_FRAMES + "..", "." + "#" * (SHORTEST_SPEECH_FRAMES + 1) + ".."),
        (".." + "#" * (SHORTEST_SPEECH_FRAMES - 1) + "..", "." * (SHORTEST_SPEECH_FRAMES + 3)),
        ("######" + "." * LONGEST_PAUSE_FRAMES + "#", "#" * (LONGEST_PAUSE_FRAMES + 7)),
        ("######" + "." * (LONGEST_PAUSE_FRAMES + 1) + "#", "######" + "." * (LONGEST_PAUSE_FRAMES + 2)),
        ("#" + "." * (LONGEST_PAUSE_FRAMES + 1) + "#", "." * (LONGEST_PAUSE_FRAMES + 3)),
    ],
)
def test_pauses_are_filled_and_blips_dropped(frames: str, expected: str) -> None:
    assert find(frames) == expected


def test_speech_lasts_until_its_probability_falls_below_the_offset() -> None:
    kept = list(keep_utterances([0.1, 0.3, 0.45, 0.3, 0.3, 0.3, 0.3, 0.1, 0.3, 0.0]))
    assert kept == [False] + [True] * 6 + [False] * 3


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=200))
def test_every_frame_is_told_once_and_soon(speech: list[bool]) -> None:
    n_given = 0

    def probs() -> Iterable[float]:
        nonlocal n_given
        for flag in speech:
            n_given += 1
            yield float(flag)

    kept = []
    for flag in keep_utterances(probs()):
        kept.append(flag)
        assert n_given - len(kept) <= SHORTEST_SPEECH_FRAMES + LONGEST_PAUSE_FRAMES
    assert len(kept) == len(speech)
    utterances = [len(run) for run in "".join(".#"[flag] for flag in kept).split(".") if run]
    assert all(length >= SHORTEST_SPEECH_FRAMES for length in utterances)


# The detector


def test_weights_that_are_not_the_detectors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.speech, "SPEECH_SHA256", "0" * 64)
    with pytest.raises(CheckpointError, match="expected 000000000000…"):
        list(hear([noise(1_000)]))


def test_importing_loads_no_runtime() -> None:
    code = "import sys, mien.speech; assert not {'torch', 'onnxruntime', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
