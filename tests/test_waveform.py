"""Blocks of sound end up where their timestamps say, however they are cut, torn or stamped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.waveform import JITTER, LONGEST_GAP, MOST_IN_DOUBT, SHORTEST_STEP, Clock, lay_out, mix

RATE = 1000
JITTER_SAMPLES = round(JITTER * RATE)

Block = tuple[float | None, np.ndarray]


def ones(n_samples: int) -> np.ndarray:
    return np.ones(n_samples, np.float32)


def joined(blocks: list[Block], start: float = 0.0) -> np.ndarray:
    return np.concatenate([*lay_out(blocks, RATE, start), np.zeros(0, np.float32)])


@st.composite
def pieces_apart(draw: st.DrawFn) -> list[tuple[int, np.ndarray]]:
    """Blocks at sample positions, in order, touching or further apart than jitter."""
    position, pieces = draw(st.integers(0, 3 * RATE)), []
    for n_samples, gap in draw(
        st.lists(
            st.tuples(st.integers(1, 700), st.just(0) | st.integers(JITTER_SAMPLES + 1, 2500)),
            min_size=1,
            max_size=8,
        )
    ):
        pieces.append((position, np.arange(1, n_samples + 1, dtype=np.float32) + position))
        position += n_samples + gap
    return pieces


@given(pieces_apart())
def test_blocks_lie_at_their_times_and_holes_are_zeros(pieces: list[tuple[int, np.ndarray]]) -> None:
    expected = np.zeros(pieces[-1][0] + pieces[-1][1].size, np.float32)
    for position, samples in pieces:
        expected[position : position + samples.size] = samples
    assert np.array_equal(joined([(position / RATE, samples) for position, samples in pieces]), expected)


@given(pieces_apart(), st.data())
def test_waveform_does_not_depend_on_how_it_was_cut(
    pieces: list[tuple[int, np.ndarray]], data: st.DataObject
) -> None:
    cut: list[Block] = []
    for position, samples in pieces:
        inner = data.draw(st.lists(st.integers(0, samples.size), max_size=3))
        for begin, end in pairwise(sorted({0, *inner, samples.size})):
            stamp = (
                data.draw(st.sampled_from([(position + begin) / RATE, None])) if begin else position / RATE
            )
            cut.append((stamp, samples[begin:end]))
    whole: list[Block] = [(position / RATE, samples) for position, samples in pieces]
    assert np.array_equal(joined(cut), joined(whole))


@given(st.lists(st.tuples(st.none() | st.floats(-40, 40), st.integers(0, 3000)), max_size=12))
def test_any_timestamps_give_a_bounded_contiguous_waveform(stamped: list[tuple[float | None, int]]) -> None:
    stretches = list(lay_out([(stamp, ones(n_samples)) for stamp, n_samples in stamped], RATE))
    assert all(stretch.size == RATE for stretch in stretches[:-1])
    assert all(0 < stretch.size <= RATE for stretch in stretches)
    waveform = np.concatenate([*stretches, np.zeros(0, np.float32)])
    assert waveform.sum() <= sum(n_samples for _, n_samples in stamped)
    assert set(np.unique(waveform)) <= {0.0, 1.0}


@pytest.mark.parametrize("off", [-JITTER_SAMPLES, -1, 1, JITTER_SAMPLES])
def test_jitter_leaves_the_waveform_whole(off: int) -> None:
    blocks: list[Block] = [(0.0, ones(300)), (0.3 + off / RATE, ones(300))]
    assert np.array_equal(joined(blocks), ones(600))


def test_jitter_does_not_add_up_to_drift() -> None:
    """Each block comes 5 ms later than the samples before it account for."""
    blocks: list[Block] = [(index * 0.105, ones(100)) for index in range(50)]
    waveform = joined(blocks)
    assert abs(waveform.size - (49 * 105 + 100)) <= JITTER_SAMPLES
    assert waveform.sum() == 5000


def test_the_first_block_is_placed_to_the_sample() -> None:
    assert joined([(0.007, ones(3))]).tolist() == [0.0] * 7 + [1.0] * 3


def test_overlap_is_cut_from_the_later_block() -> None:
    blocks: list[Block] = [(0.0, ones(300)), (0.2, 2 * ones(300))]
    assert np.array_equal(joined(blocks), np.concatenate([ones(300), 2 * ones(200)]))


def test_sound_before_the_start_is_cut() -> None:
    assert joined([(-0.1, np.arange(300, dtype=np.float32))])[0] == 100
    assert joined([(2.1, np.arange(300, dtype=np.float32))], start=2.2)[0] == 100


def test_sound_that_starts_anew_follows_on() -> None:
    blocks: list[Block] = [(5.0, ones(500)), (0.0, 2 * ones(500)), (0.5, 3 * ones(500))]
    waveform = joined(blocks)
    assert waveform.size == 6500
    assert waveform[5500::500].tolist() == [2.0, 3.0]


def test_an_absurd_timestamp_makes_no_silence() -> None:
    blocks: list[Block] = [(0.0, ones(500)), (1e7, ones(500)), (1.0, ones(500))]
    assert np.array_equal(joined(blocks), ones(1500))


def test_a_long_gap_comes_a_second_at_a_time() -> None:
    stretches = list(lay_out([(0.0, ones(10)), (1800.0, ones(10))], RATE))
    assert max(stretch.size for stretch in stretches) == RATE
    assert sum(stretch.size for stretch in stretches) == 1800 * RATE + 10


def test_clock_believes_what_can_be_a_gap_and_continues_what_cannot() -> None:
    blocks = [(LONGEST_GAP - 1, 0), (None, 1), (2 * LONGEST_GAP + 1, 2), (2 * LONGEST_GAP + 3, 3)]
    expected = [0.0, 17.0, LONGEST_GAP, LONGEST_GAP + 1]
    clock = Clock(blocks)
    placed = [clock.place(stamp, when) for (stamp, _), when in zip(clock, expected, strict=True)]
    assert placed == [LONGEST_GAP - 1, 17.0, LONGEST_GAP, LONGEST_GAP + 2]


STEP = 0.04


def placed(stamps: list[float]) -> list[float]:
    """Times of frames that are each expected a step after the one before, and never stand before it."""
    clock, times = Clock((stamp, n) for n, stamp in enumerate(stamps)), [-STEP]
    for n, (stamp, index) in enumerate(clock):
        assert index == n, "every block comes, in order"
        times.append(max(times[-1] + SHORTEST_STEP, clock.place(stamp, times[-1] + STEP)))
    return times[1:]


@given(
    st.lists(st.just(STEP) | st.floats(STEP, 100), min_size=2, max_size=40), st.floats(1.1, 1e5), st.data()
)
def test_one_late_stamp_moves_no_other(steps: list[float], late: float, data: st.DataObject) -> None:
    stamps = np.cumsum([0.0, *steps]).tolist()
    at = data.draw(st.integers(1, len(stamps)))
    shown = placed([*stamps[:at], stamps[at - 1] - late, *stamps[at:]])
    assert shown.pop(at) == pytest.approx(stamps[at - 1] + SHORTEST_STEP)
    assert shown == pytest.approx(stamps)


@given(st.lists(st.tuples(st.integers(2, 30), st.floats(1.1, 1e5)), min_size=2, max_size=6))
def test_clocks_that_start_anew_follow_on(runs: list[tuple[int, float]]) -> None:
    stamps: list[float] = []
    for n_frames, back in runs:
        first = stamps[-1] + STEP - back if stamps else 0.0
        stamps.extend(first + STEP * n for n in range(n_frames))
    assert placed(stamps) == pytest.approx([STEP * n for n in range(len(stamps))], abs=1e-6)


def test_clock_reads_ahead_only_in_doubt_and_then_a_few_blocks() -> None:
    n_read = 0

    def blocks() -> Iterator[tuple[float, int]]:
        nonlocal n_read
        for n in range(100):
            n_read += 1
            yield (n * STEP if n < 50 else n * STEP - 1.5), n

    clock = Clock(blocks())
    for n, (stamp, _) in enumerate(clock):
        clock.place(stamp, n * STEP)
        assert n_read <= (n + 1 if n < 50 else max(n + 1, 51 + MOST_IN_DOUBT))


@pytest.mark.parametrize(
    "dtype, full_scale", [(np.int16, 2**15), (np.int32, 2**31), (np.float32, 1), (np.float64, 1)]
)
def test_mix_averages_channels_at_full_scale(dtype: type, full_scale: int) -> None:
    half = full_scale / 2
    mixed = mix(np.asarray([[half, -half, 0], [half, half, half]], dtype))
    assert mixed.dtype == np.float32
    assert mixed.tolist() == [0.5, 0.0, 0.25]


def test_mix_centres_unsigned_bytes() -> None:
    assert mix(np.array([[0, 128, 192]], np.uint8)).tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 1e30])
def test_mix_turns_broken_samples_into_silence(broken: float) -> None:
    assert mix(np.array([[broken, 0.5], [0.5, 0.5]], np.float32)).tolist() == [0.25, 0.5]
