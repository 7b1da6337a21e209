"""Windows: centred on their time, nothing of the file lost, nothing from outside let in."""

from fractions import Fraction
from itertools import pairwise
from math import log

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from media_files import FILM_FPS, NTSC_FPS
from mien.spans import COLUMNS_PER_SECOND
from mien.windows import (
    FACE_STEP,
    N_COLUMNS,
    N_FACES,
    QUIETEST,
    QUIETEST_SPEECH,
    WINDOW,
    clip_windows,
    cut_clip,
    cut_window,
    face_times,
    first_column,
)

times = st.floats(0, 100_000)


def centre(start: int) -> float:
    """Time of the middle of a window of columns."""
    return (start + N_COLUMNS / 2) / COLUMNS_PER_SECOND


def test_a_window_is_320_columns_and_nine_faces() -> None:
    assert N_COLUMNS == 320
    assert N_FACES == 9
    assert N_COLUMNS == WINDOW * COLUMNS_PER_SECOND
    assert pytest.approx(WINDOW) == (N_FACES - 1) * FACE_STEP
    assert pytest.approx(log(1e-5)) == QUIETEST


@pytest.mark.parametrize("fps", [FILM_FPS, Fraction(25), NTSC_FPS, Fraction(30)], ids=str)
def test_windows_are_centred_on_the_frames_to_5_ms(fps: Fraction) -> None:
    for frame in range(0, 20_000, 7):
        time = float(frame / fps)
        assert abs(centre(first_column(time)) - time) <= 0.005 + 1e-9


@settings(deadline=None)
@given(times)
def test_windows_are_centred_on_any_time_to_5_ms(time: float) -> None:
    assert abs(centre(first_column(time)) - time) <= 0.005 + 1e-6


@settings(deadline=None)
@given(times, times)
def test_later_times_have_later_windows(one: float, other: float) -> None:
    assert first_column(min(one, other)) <= first_column(max(one, other))


@settings(deadline=None)
@given(times, st.integers(1, 20))
def test_faces_are_evenly_spaced_about_the_label_time(time: float, n_faces: int) -> None:
    found = face_times(time, n_faces)
    assert len(found) == n_faces
    assert found[n_faces // 2] == time
    np.testing.assert_allclose(np.diff(found), FACE_STEP, atol=1e-9)


@pytest.mark.parametrize("fps", [FILM_FPS, Fraction(25), NTSC_FPS, Fraction(30)], ids=str)
def test_the_frames_nearest_to_the_face_times_lie_half_a_frame_off_at_most(fps: Fraction) -> None:
    for frame in range(100, 3000, 37):
        nearest = [round(time * float(fps)) for time in face_times(float(frame / fps))]
        assert nearest[4] == frame
        for k, index in enumerate(nearest):
            offset = float((index - frame) / fps)
            assert abs(offset - (k - 4) * FACE_STEP) <= 0.5 / float(fps) + 1e-9


@settings(deadline=None)
@given(n_columns=st.integers(0, 60), start=st.integers(-80, 80), n_window=st.integers(1, 60))
def test_a_window_holds_its_columns_and_silence_elsewhere(n_columns: int, start: int, n_window: int) -> None:
    log_mel = np.arange(3 * n_columns, dtype=np.float32).reshape(3, n_columns)
    window, mask = cut_window(log_mel, start, n_window)
    assert window.shape == (3, n_window)
    assert window.dtype == np.float32
    for k in range(n_window):
        inside = 0 <= start + k < n_columns
        assert mask[k] == inside
        wanted = log_mel[:, start + k] if inside else np.full(3, QUIETEST, np.float32)
        assert np.array_equal(window[:, k], wanted)


@settings(deadline=None)
@given(st.floats(-40, 0), st.integers(-60, 60), st.integers(0, 2**32))
def test_how_loud_quiet_sound_was_is_not_heard(decibel: float, start: int, seed: int) -> None:
    log_mel = np.random.default_rng(seed).normal(-4.0, 0.2, (64, 120)).astype(np.float32)
    by = decibel / 20 * log(10)  # up to 20 dB of power below what is raised by 5 to 15 dB already
    window, mask = cut_window(log_mel, start, 120)
    found, found_mask = cut_window(log_mel + np.float32(by), start, 120)
    assert np.array_equal(mask, found_mask)
    assert (found[:, ~mask] == np.float32(QUIETEST)).all()
    np.testing.assert_allclose(found, window, atol=1e-4)
    if mask.any():
        assert np.percentile(found[:, mask].max(axis=0), 95) == pytest.approx(QUIETEST_SPEECH, abs=1e-4)


def test_loud_windows_and_silence_are_left_as_they_are() -> None:
    loud = np.random.default_rng(0).normal(1.0, 3.0, (64, 320)).astype(np.float32)
    assert np.array_equal(cut_window(loud, 0)[0], np.maximum(loud, np.float32(QUIETEST)))
    silence = np.full((64, 320), -23.0, np.float32)  # raised by 40 dB it would still be below
    assert (cut_window(silence, 0)[0] == np.float32(QUIETEST)).all()


@pytest.mark.parametrize("decibel", [39, 40, 41, 60])
def test_nothing_is_raised_by_more_than_40_db(decibel: float) -> None:
    hiss = QUIETEST_SPEECH - decibel / 10 * log(10)
    quiet = np.full((64, 320), hiss, np.float32)
    by = min(decibel, 40) / 10 * log(10)
    np.testing.assert_allclose(cut_window(quiet, 0)[0], max(hiss + by, QUIETEST), atol=1e-5)


def test_the_loudest_twentieth_of_the_columns_does_not_say_how_loud_it_is() -> None:
    sound = np.random.default_rng(0).uniform(-9, -8, (64, 320)).astype(np.float32)
    knocked = sound.copy()
    knocked[:, ::25] = 3.0  # 13 of 320, less than 5 %
    kept = np.arange(320) % 25 != 0
    loud = np.percentile(knocked.max(axis=0), 95)
    assert loud < -7.9
    np.testing.assert_allclose(
        cut_window(knocked, 0)[0][:, kept], sound[:, kept] + (QUIETEST_SPEECH - loud), atol=1e-5
    )


def test_a_window_is_a_copy() -> None:
    log_mel = np.zeros((64, 400), np.float32)
    window, mask = cut_window(log_mel, 10)
    assert window.shape == (64, N_COLUMNS)
    assert mask.all()
    assert not np.shares_memory(window, log_mel)


@settings(deadline=None)
@given(st.integers(0, 5000))
@example(N_COLUMNS)
@example(N_COLUMNS + 1)
def test_windows_cover_a_clip_and_leave_it_only_where_it_is_short(n_columns: int) -> None:
    starts = clip_windows(n_columns)
    heard = np.zeros(max(n_columns, N_COLUMNS) + N_COLUMNS, bool)
    for start in starts:
        heard[max(start, 0) : start + N_COLUMNS] = True
        assert n_columns < N_COLUMNS or 0 <= start <= n_columns - N_COLUMNS
    assert heard[:n_columns].all()
    assert all(0 < later - earlier <= 160 for earlier, later in pairwise(starts))


@settings(deadline=None)
@given(st.integers(0, N_COLUMNS))
def test_a_short_clip_stands_in_the_middle_of_its_one_window(n_columns: int) -> None:
    (start,) = clip_windows(n_columns)
    before, after = -start, start + N_COLUMNS - n_columns
    assert before >= 0
    assert after >= 0
    assert abs(before - after) <= 1


@pytest.mark.parametrize("n_columns", [0, 7, 200, N_COLUMNS, 500, 1000])
def test_a_clip_is_cut_into_its_windows(n_columns: int) -> None:
    log_mel = np.arange(3 * n_columns, dtype=np.float32).reshape(3, n_columns)
    starts = clip_windows(n_columns)
    windows, masks = cut_clip(log_mel)
    assert windows.shape == (len(starts), 3, N_COLUMNS)
    assert masks.shape == (len(starts), N_COLUMNS)
    for window, mask, start in zip(windows, masks, starts, strict=True):
        wanted, inside = cut_window(log_mel, start)
        assert np.array_equal(window, wanted)
        assert np.array_equal(mask, inside)
