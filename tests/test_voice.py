"""The voice at any time: exact on the grid, a line between its times, and never more than seconds held."""

from collections.abc import Iterator
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.predictor import VoicePredictor
from mien.speech import SoundColumns
from mien.voice import GRID_STEP, Voice
from mien.windows import N_COLUMNS, QUIETEST, first_column

LOUDNESS = 3.5
"""Log-mel value of column j is this plus j / 1000, so that a window says where it was cut."""


class FakePredictor(VoicePredictor):
    """Reads off the window which file columns it holds; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, log_mel: np.ndarray, mask: np.ndarray) -> np.ndarray:
        assert log_mel.shape == (1, 64, N_COLUMNS)
        assert mask.shape == (1, N_COLUMNS)
        assert (log_mel[0][:, ~mask[0]] == np.float32(QUIETEST)).all()
        inside = np.flatnonzero(mask[0])
        assert (np.diff(inside) == 1).all(), "a window lies in the file in one piece"
        columns = np.rint((log_mel[0, 0, inside] - LOUDNESS) * 1000).astype(int)
        assert (np.diff(columns) == 1).all(), "columns are in order and none is missing"
        start = int(columns[0] - inside[0])
        self.asked.append((start, len(columns)))
        return probs_of(start)[None]


class UndecidedPredictor(VoicePredictor):
    """Finds all expressions equally likely, without a model."""

    def __init__(self) -> None:
        pass

    def __call__(self, log_mel: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.full((1, 8), 0.125, np.float32)


def probs_of(start: int) -> np.ndarray:
    """Probabilities that differ from window to window."""
    raw = 1 + np.sin(np.arange(8) * 1.7 + start / 40)
    return (raw / raw.sum()).astype(np.float32)


def grid_probs(k: int) -> np.ndarray:
    return probs_of(first_column(k * GRID_STEP))


def sound(
    n_columns: int, *, speech: slice = slice(None), silent: slice = slice(0), step: int = 100
) -> Iterator[SoundColumns]:
    for start in range(0, n_columns, step):
        columns = np.arange(start, min(start + step, n_columns))
        spoken, quiet = np.zeros(n_columns, np.bool_), np.zeros(n_columns, np.bool_)
        spoken[speech], quiet[silent] = True, True
        yield SoundColumns(
            start_column=start,
            log_mel=np.repeat((LOUDNESS + columns / 1000).astype(np.float32)[None], 64, axis=0),
            speech=spoken[columns],
            silent=quiet[columns],
        )


def test_grid_time_is_its_window_bit_for_bit() -> None:
    predictor = FakePredictor()
    voice = Voice(sound(1000), predictor)
    for k in range(25):  # 3 * 0.4 is a little more than 1.2, and 1.2 / 0.4 a little less than 3
        for time in {k * GRID_STEP, round(k * GRID_STEP, 1), k * 2 / 5}:
            heard = voice.at(time)
            assert heard.probs is not None
            np.testing.assert_array_equal(heard.probs, grid_probs(k))
    assert len(predictor.asked) == 25, "each window is read once, and none that is not needed"


def test_windows_are_centred_on_grid_times_and_masked_at_the_ends() -> None:
    predictor = FakePredictor()
    voice = Voice(sound(400), predictor)
    for time in np.arange(0, 4, 0.04):
        voice.at(float(time))
    starts = [start for start, _ in predictor.asked]
    assert starts == [40 * k - 160 for k in range(11)]
    assert predictor.asked[0] == (-160, 160)
    assert predictor.asked[5] == (40, 320)
    assert predictor.asked[10] == (240, 160)


@given(st.lists(st.floats(0, 9.99), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_between_grid_times_probabilities_go_in_a_line(times: list[float]) -> None:
    voice = Voice(sound(1000), FakePredictor())
    for time in sorted(times):
        heard = voice.at(time)
        before = floor(time / GRID_STEP)
        share = time / GRID_STEP - before
        expected = (1 - share) * grid_probs(before) + share * grid_probs(before + 1)
        assert heard.probs is not None
        assert heard.probs.dtype == np.float32
        np.testing.assert_allclose(heard.probs, expected, atol=2e-6)
        assert not heard.silent


@given(st.lists(st.floats(0, 30), min_size=1, max_size=30), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_answers_depend_neither_on_pieces_nor_on_what_was_asked(times: list[float], step: int) -> None:
    """Also after long leaps, over which everything held is given up."""
    together = Voice(sound(2500, speech=slice(100, 2000), step=step), FakePredictor())
    for time in sorted(times):
        alone = Voice(sound(2500, speech=slice(100, 2000)), FakePredictor()).at(time)
        heard = together.at(time)
        assert heard.silent == alone.silent
        assert (heard.probs is None) == (alone.probs is None)
        if heard.probs is not None and alone.probs is not None:
            np.testing.assert_array_equal(heard.probs, alone.probs)


@pytest.mark.slow
@given(st.lists(st.floats(0, 30), max_size=30), st.integers(0, 1900), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_record_says_what_was_heard(times: list[float], start: int, reads: bool) -> None:
    def heard() -> Voice:
        columns = sound(2000, speech=slice(start, start + 150), silent=slice(0, start // 2))
        return Voice(columns, FakePredictor() if reads else None)

    recorded, voice = heard().record(), heard()
    grid = [0.4 * k for k in range(60)] + [29 / 25, 7.29, 19.99, 20.0]
    for time in sorted([*times, *grid]):
        one, other = voice.at(time), recorded.at(time)
        assert (one.speech, one.silent, voice.reaches(time)) == (
            other.speech,
            other.silent,
            recorded.reaches(time),
        )
        assert (one.probs is None) == (other.probs is None)
        if one.probs is not None and other.probs is not None:
            np.testing.assert_array_equal(one.probs, other.probs)


def test_where_nobody_speaks_nothing_is_read() -> None:
    predictor = FakePredictor()
    voice = Voice(sound(1000, speech=slice(300, 500), silent=slice(700, 1000)), predictor)
    heard = [voice.at(column / 100) for column in range(1000)]
    assert [i for i, each in enumerate(heard) if each.probs is not None] == list(range(300, 500))
    assert [i for i, each in enumerate(heard) if each.silent] == list(range(700, 1000))
    assert {start for start, _ in predictor.asked} <= {40 * k - 160 for k in range(7, 14)}


def test_past_the_end_there_is_silence() -> None:
    voice = Voice(sound(150), FakePredictor())
    assert voice.reaches(0.0)
    assert voice.reaches(1.49)
    assert not voice.reaches(1.5)
    assert voice.at(1.49).probs is not None
    for time in (1.5, 1.6, 100.0):
        assert voice.at(time).probs is None
        assert voice.at(time).silent


def test_no_sound_at_all_is_silence() -> None:
    voice = Voice((), FakePredictor())
    assert not voice.reaches(0.0)
    assert voice.at(0.0).silent
    assert voice.at(0.0).probs is None


def test_without_predictor_only_silence_is_told() -> None:
    voice = Voice(sound(200, silent=slice(100, 200)), None)
    assert [voice.at(time).silent for time in (0.0, 0.99, 1.0, 1.99, 2.0)] == [False, False, True, True, True]
    assert voice.at(2.0).probs is None


def test_frame_times_a_hair_before_a_column_belong_to_it() -> None:
    """29 / 25 is 1.16, which in binary may lie below the edge of column 116."""
    voice = Voice(sound(300, speech=slice(116, 117)), FakePredictor())
    assert voice.at(29 / 25).probs is not None


@pytest.mark.parametrize("hertz", [25, 60])
def test_only_seconds_are_held_and_read_ahead(hertz: int) -> None:
    read_until = 0

    def long_sound() -> Iterator[SoundColumns]:
        nonlocal read_until
        for piece in sound_of_hours():
            read_until = piece.start_column + 100
            yield piece

    def sound_of_hours() -> Iterator[SoundColumns]:
        silence = np.zeros(100, np.bool_)
        for start in range(0, 60_000, 100):
            columns = np.arange(start, start + 100)
            log_mel = np.repeat((LOUDNESS + columns / 1000).astype(np.float32)[None], 64, axis=0)
            yield SoundColumns(start_column=start, log_mel=log_mel, speech=~silence, silent=silence)

    voice = Voice(long_sound(), UndecidedPredictor())
    for tick in range(600 * hertz // 2):
        time = tick / hertz
        voice.at(time)
        assert voice._mel.shape[1] <= 2 * N_COLUMNS + 100
        assert len(voice._readings) <= 2
        assert read_until <= 100 * time + 320 + 100
