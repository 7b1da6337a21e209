"""Moments: the middles of frames, inside what is labelled; the nearest crop; the centred window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets.moments import (
    NEAR,
    drawable_times,
    equally_spaced,
    every_frame,
    frame_edges,
    look,
    moments,
    nearest_crops,
    scored_times,
    take_crops,
    witnessed,
)
from mien.spans import Span
from mien.windows import N_COLUMNS, QUIETEST, cut_clip
from some_recordings import frames, make_recording


def test_a_stretch_of_frames_has_the_middle_of_each() -> None:
    recording = make_recording((1.0, 1.2, "Fear"), (2.0, 2.04, "Anger"), frame_step=0.04)
    times = moments(recording.stretches, 0.04)
    assert times[0] == pytest.approx([1.02, 1.06, 1.10, 1.14, 1.18])
    assert times[1] == pytest.approx([2.02])


def test_frames_between_stretches_are_of_none() -> None:
    recording = make_recording((1, 1.2, "Fear"), (1.2, 1.3, "Other"), (1.4, 1.5, "Anger"), frame_step=0.05)
    times, of_stretch = every_frame(recording.stretches, 0.05)
    assert times == pytest.approx(np.arange(1.025, 1.5, 0.05))
    assert of_stretch.tolist() == [0, 0, 0, 0, 1, 1, -1, -1, 2, 2]


def test_a_still_has_one_moment_however_short_it_lasts() -> None:
    assert frame_edges(Span(0.0, 0.001), 0.04).tolist() == [0.0, 0.001]
    assert frame_edges(Span(3.0, 3.0), 0.04).tolist() == [3.0, 3.0]


@given(
    start=st.floats(0, 100),
    duration=st.floats(0.01, 30),
    reach=st.sampled_from([1.2, 1.6]),
    step=st.sampled_from([None, 1 / 30, 0.04]),
)
def test_moments_are_in_the_stretch_and_the_window_in_it_or_it_in_the_window(
    start: float, duration: float, reach: float, step: float | None
) -> None:
    recording = make_recording((start, start + duration, "Fear"), frame_step=step)
    (times,) = drawable_times(recording, round(reach * 200))
    assert len(times)
    assert ((times >= start) & (times < start + duration)).all()
    if step is None:
        slack = 0.03  # half a step, of a stretch that is no whole number of steps
        first, last = times.min() - reach, times.max() + reach
        if duration >= 2 * reach:
            assert first >= start - slack
            assert last <= start + duration + slack
        else:
            assert times.min() + reach >= start + duration - slack
            assert times.max() - reach <= start + slack
    else:
        assert abs(len(times) - duration / step) <= 0.5 + 1e-6 or len(times) == 1


@pytest.mark.parametrize(("seconds", "n"), [(3.2, 1), (3.3, 3), (1.0, 25), (2.0, 31)])
def test_how_many_windows_may_be_drawn_of_a_stretch(seconds: float, n: int) -> None:
    (times,) = drawable_times(make_recording((1.0, 1.0 + seconds, "Fear")), N_COLUMNS)
    assert abs(len(times) - n) <= 1


def test_without_sound_the_faces_of_a_stretch_are_drawn_and_no_others() -> None:
    recording = make_recording(
        (0, 1, "Fear"), (1, 1, "Anger"), (2, 3, "Other"), crop_times=[0.0, 0.9, 1.0, 1.95, 3.0]
    )
    assert [each.tolist() for each in drawable_times(recording, 0)] == [[0.0, 0.9], [1.0], []]


def test_the_nearest_crop_counts_within_a_fifth_of_a_second() -> None:
    crop_times = np.array([1.0, 1.4, 5.0])
    asked = np.array([[0.79, 0.8, 1.0], [1.2, 1.21, 3.0], [4.9, 5.2, 5.21]])
    assert nearest_crops(crop_times, asked).tolist() == [[-1, 0, 0], [0, 1, -1], [2, 2, -1]]
    assert nearest_crops(crop_times[:0], asked[0]).tolist() == [-1, -1, -1]


@given(st.lists(st.floats(0, 10), max_size=20, unique=True), st.lists(st.floats(-1, 11), max_size=10))
def test_the_nearest_crop_is_the_nearest(crop_times: list[float], times: list[float]) -> None:
    crop_times.sort()
    rows = nearest_crops(np.array(crop_times), np.array(times))
    for time, row in zip(times, rows, strict=True):
        away = [abs(each - time) for each in crop_times]
        if row < 0:
            assert not away or min(away) > NEAR
        else:
            assert away[row] == min(away) <= NEAR + 1e-9


def test_faces_and_sound_around_a_time() -> None:
    recording = make_recording((0, 10, "Fear"), crop_times=[1.6, 2.05, 2.39], seconds=10)
    window = look(recording, 2.0, 3, N_COLUMNS)
    assert window.crop_rows.tolist() == [0, 1, 2]
    assert window.mel[:, 0].tolist() == pytest.approx([0.4] * 64), "column 40 is the first of 320 around 200"
    assert window.mel[0, -1] == pytest.approx(3.59)
    assert window.column_mask.all()
    assert window.seen_at == pytest.approx([120, 165, 199], abs=1e-3), "from column 40, when they were seen"
    assert look(recording, 2.0, 1, 240).mel[0, 0] == pytest.approx(0.8), "shorter, and still centred"


def test_what_is_not_there_is_masked() -> None:
    recording = make_recording((0, 1, "Fear"), crop_times=[0.1], seconds=1)
    window = look(recording, 0.5, 3, N_COLUMNS)
    assert window.crop_rows.tolist() == [0, -1, -1]
    assert window.seen_at[1:] == pytest.approx([160, 200], abs=1e-3), "where a face would have been"
    assert window.column_mask.sum() == 100
    assert (window.mel[:, ~window.column_mask] == QUIETEST).all()
    crops = take_crops(recording.crops + np.uint8(9), window.crop_rows, 8)
    assert crops.reshape(3, -1).max(1).tolist() == [9, 0, 0]


def test_nothing_asked_for_is_nothing_found() -> None:
    window = look(make_recording((0, 1, "Fear")), 0.5, 0, 0)
    assert (window.crop_rows.size, window.mel.shape) == (0, (64, 0))


def test_only_times_with_a_face_or_sound_count() -> None:
    recording = make_recording((0, 9, "Fear"), crop_times=[5.0], seconds=1)
    times = np.array([0.5, 2.5, 2.7, 4.7, 5.3, 5.5, 5.7])
    assert witnessed(recording, times, 3, 0).tolist() == [4.7, 5.3, 5.5], "0.4 s before, at or after"
    assert witnessed(recording, times, 0, N_COLUMNS).tolist() == [0.5, 2.5]
    assert witnessed(recording, times, 1, N_COLUMNS).tolist() == [0.5, 2.5]


@pytest.mark.parametrize("seconds", [0.7, 2.9, 3.2, 5.0, 6.4])
def test_a_whole_clip_is_scored_by_the_windows_that_cut_it(seconds: float) -> None:
    recording = make_recording((0, seconds, "Fear"), seconds=seconds)
    ((label, times),) = scored_times(recording, heard=True)
    windows, masks = cut_clip(recording.columns.T)
    assert label == "Fear"
    assert len(times) == len(windows)
    for time, mel, mask in zip(times, windows, masks, strict=True):
        window = look(recording, float(time), 0, N_COLUMNS)
        assert np.array_equal(window.mel, mel)
        assert np.array_equal(window.column_mask, mask)


def test_a_stretch_further_on_is_scored_where_it_is() -> None:
    recording = make_recording((2.0, 7.0, "Fear"), (8.0, 9.0, "Anger"), seconds=12)
    items = scored_times(recording, heard=True)
    assert [label for label, _ in items] == ["Fear", "Anger"]
    assert items[0][1] == pytest.approx([3.6, 5.2, 5.4])
    assert items[1][1] == pytest.approx([8.5])


def test_faces_of_a_clip_are_nine_at_most_and_none_twice() -> None:
    recording = make_recording(
        (0, 4, "Fear"), (4, 5, "Anger"), (7, 8, "Other"), crop_times=[*frames(0, 4, 0.1), 4.5]
    )
    fear, anger, other = scored_times(recording, heard=False)
    assert len(fear[1]) == 9
    assert np.diff(fear[1]).min() > 0.3, "spread over the stretch"
    assert anger[1].tolist() == [4.5]
    assert not len(other[1])


def test_labelled_frames_are_scored_0_4_s_apart() -> None:
    recording = make_recording((0.0, 2.0, "Fear"), (3.0, 4.0, "Anger"), frame_step=0.04)
    for heard in (True, False):
        items = scored_times(recording, heard=heard)
        assert [label for label, _ in items] == ["Fear"] * 5 + ["Anger"] * 3
        assert np.concatenate([times for _, times in items]) == pytest.approx(
            [0.02, 0.42, 0.82, 1.22, 1.62, 3.02, 3.42, 3.82]
        )


@given(st.integers(0, 50), st.integers(-1, 60))
def test_equally_spaced_rows_are_in_order_and_none_twice(n_there: int, n_wanted: int) -> None:
    rows = equally_spaced(n_there, n_wanted)
    assert len(rows) == min(n_there, max(n_wanted, 0))
    assert (np.diff(rows) > 0).all()
    if len(rows) > 1:
        assert np.ptp(np.diff(rows)) <= 1
        assert rows[0] >= 0
        assert rows[-1] < n_there
