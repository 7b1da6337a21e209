"""Sums over rows: seconds of people, bins that double, memory that stays."""

import tracemalloc
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.lanes import FIRST_BIN, MAX_BINS, MAX_TRACKS, Lanes, Persons
from mien.spans import Span
from mien.timeline import Segment
from some_rows import clip, leaning, row


def persons_of(rows):
    persons = Persons()
    for each in rows:
        persons.add(each)
    return {person.track_id: person for person in persons.close()}


def lanes_of(rows, segments=()):
    lanes = Lanes()
    for each in rows:
        lanes.add(each)
    for each in segments:
        lanes.add_segment(each)
    return lanes


def segment(start, end, label="Fear", track_id=1):
    return Segment(span=Span(start, end), track_id=track_id, label=label, probability=0.7)


def test_seconds_and_shares_of_a_clip():
    people = persons_of(clip(4.0))
    assert list(people) == [1, 2]
    first, second = people.values()
    assert (first.first, first.last, first.frames) == (0.0, 3.56, 90)
    assert first.seconds == pytest.approx(3.6)
    assert first.seconds_by_label == pytest.approx({"Happiness": 2.0, "Sadness": 1.6})
    assert first.share_by_label == pytest.approx({"Happiness": 2.0 / 3.6, "Sadness": 1.6 / 3.6})
    assert first.dominant == "Happiness"
    assert second.seconds == pytest.approx(2.6)


def test_a_row_lasts_until_the_next_frame():
    rows = [
        row(time, 1, leaning(label), frame=i)
        for i, (time, label) in enumerate([(0, "Fear"), (3, "Anger"), (4, "Fear")])
    ]
    assert persons_of(rows)[1].seconds_by_label == pytest.approx({"Anger": 1.0, "Fear": 4.0})


def test_frames_at_one_time_are_not_counted_twice():
    rows = [row(time, 1, leaning("Fear"), frame=i) for i, time in enumerate([0.0, 0.0, 0.04, 0.08])]
    assert persons_of(rows)[1].seconds == pytest.approx(0.12)


def test_a_single_frame_has_a_share_but_no_seconds():
    person = persons_of([row(0.0, 1, leaning("Fear"))])[1]
    assert (person.seconds, person.share_by_label, person.dominant) == (0.0, {"Fear": 1.0}, "Fear")


def test_the_voice_while_nobody_is_in_view_comes_last():
    rows = [row(i / 10, None, voice=leaning("Anger"), frame=None) for i in range(20)]
    people = persons_of(chain(rows, [row(2.0, 5, leaning("Fear"))]))
    assert list(people) == [5, None]
    assert people[None].seconds_by_label == pytest.approx({"Anger": 2.0})


def test_nobody_and_no_voice_is_no_person():
    assert persons_of([row(0.0, None), row(0.1, None, frame=1)]) == {}


@given(st.lists(st.floats(0.001, 40), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_doubling_bins_loses_no_frame_and_no_probability(steps, seed):
    times = np.cumsum(steps)
    probs = np.random.default_rng(seed).dirichlet(np.ones(8), len(times)).astype(np.float32)
    lanes = lanes_of(
        row(time, 1, each, frame=i) for i, (time, each) in enumerate(zip(times, probs, strict=True))
    )
    lane = lanes.tracks[1]
    assert lane.counted.sum() == len(times)
    np.testing.assert_allclose(lane.probs.sum(0), probs.sum(0), rtol=1e-4)
    assert times[-1] / lanes.bin_width < MAX_BINS
    assert lanes.bin_width == FIRST_BIN or times[-1] / lanes.bin_width >= MAX_BINS / 2 - 1
    assert lanes.edges(1)[-1] == lanes.end
    assert (np.diff(lanes.edges(3)) > 0).all()


@given(st.floats(0, 500), st.floats(0.01, 500))
def test_a_segment_is_spread_over_its_bins(start, length):
    lanes = lanes_of([row(1000.0, 1, leaning("Fear"))], [segment(start, start + length)])
    assert lanes.tracks[1].segments.sum() == pytest.approx(length, rel=1e-3, abs=1e-4)


def test_columns_say_who_is_there_and_what_is_shown():
    rows = list(clip(4.0))
    lanes = lanes_of(rows, [segment(0.0, 2.0, "Happiness"), segment(2.0, 3.6, "Sadness")])
    columns, edges = lanes.columns(lanes.tracks[1], 1), lanes.edges(1)[:-1]
    assert columns.present[edges < 3.58].all()
    assert not columns.present[edges >= 3.6].any()
    np.testing.assert_array_equal(lanes.nobody(1)[edges >= 3.6], True)
    np.testing.assert_allclose(columns.probs[columns.present].sum(1), 1, atol=1e-5)
    assert {label for label, time in zip(columns.labels, edges, strict=True) if 2.02 < time < 3.58} == {
        "Sadness"
    }
    voice = lanes.columns(lanes.voice, 2)
    assert set(voice.labels) == {None, "Anger"}


def test_a_column_without_a_frame_shows_what_the_one_before_it_does():
    lanes = lanes_of(
        [row(0.0, 1, leaning("Fear")), row(1.0, None, frame=1), row(2.0, 1, leaning("Fear"), frame=2)]
    )
    columns, edges = lanes.columns(lanes.tracks[1], 1), lanes.edges(1)[:-1]
    np.testing.assert_array_equal(columns.present, (edges < 1) | (edges >= 2))
    np.testing.assert_array_equal(lanes.nobody(1), (edges >= 1) & (edges < 2))


def test_the_voice_is_counted_once_a_frame():
    lanes = lanes_of(row(0.0, track, leaning("Fear"), voice=leaning("Anger")) for track in (1, 2, 3))
    assert lanes.voice.counted.sum() == 1


def test_uncertain_where_most_rows_are():
    rows = [
        row(i / 25, 1, leaning("Fear", 0.3), frame=i, flags=("low_confidence",) if i < 50 else ())
        for i in range(100)
    ]
    lanes = lanes_of(rows)
    columns, edges = lanes.columns(lanes.tracks[1], 1), lanes.edges(1)[:-1]
    np.testing.assert_array_equal(columns.uncertain, edges < 2.0 - FIRST_BIN / 2)


def test_passers_by_do_not_push_out_who_stays():
    rows = (
        row(i / 5, track, leaning("Fear"), frame=i)
        for i in range(2000)
        for track in (0, 1000 + i // 3, 5000 + i // 3)
    )
    lanes = lanes_of(rows)
    assert len(lanes.tracks) == MAX_TRACKS
    assert lanes.tracks[0].n_frames == 2000


def test_newcomers_grow_while_as_many_as_can_be_kept_are_gone():
    passers = (row(i / 5, 1000 + i, leaning("Fear"), frame=i) for i in range(MAX_TRACKS))
    couple = (row(20 + i / 5, track, leaning("Fear"), frame=1000 + i) for i in range(50) for track in (1, 2))
    lanes = lanes_of(chain(passers, couple))
    assert lanes.tracks[1].n_frames == lanes.tracks[2].n_frames == 50


def test_memory_does_not_grow_with_length():
    def peak(n_frames):
        tracemalloc.start()
        probs = leaning("Fear")
        lanes = lanes_of(row(i * 3.0, i // 10, probs, frame=i, voice=probs) for i in range(n_frames))
        assert lanes.end > n_frames
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(4000) < 1.1 * peak(1000)
