"""Rows to segments: hysteresis, short gaps and stretches, ends, order, and timing on made-up signals."""

from dataclasses import replace
from itertools import count, islice, pairwise
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.expressions import EXPRESSIONS
from mien.segments import segments
from mien.timeline import Row, Segment, TimelineSettings, rows
from mien.views import FaceReading, Reading

BOX = np.array([10, 20, 50, 80], dtype=np.float32)
BARE = TimelineSettings(onset=0.4, offset=0.3, min_duration_on=0, min_duration_off=0)
LETTERS = {"A": "Anger", "F": "Fear", "H": "Happiness"}


def mix(**shares: float) -> np.ndarray:
    """Probabilities with these shares, the rest evenly on the others."""
    rest = (1 - sum(shares.values())) / (8 - len(shares))
    return np.array([shares.get(name, rest) for name in EXPRESSIONS], dtype=np.float32)


def row(time: float, probs: np.ndarray | None, track_id: int | None = 1) -> Row:
    return Row(
        frame=round(time * 1000),
        time=time,
        track_id=track_id,
        box=None,
        confidence=None,
        probs=probs,
        face_probs=None,
        voice_probs=None,
        label=None,
        source="none",
        flags=frozenset(),
    )


def spelled(letters: str, track_id: int | None = 1, step: float = 0.1) -> list[Row]:
    """One row for each letter: A, F, H lead clearly, `?` is uncertain, `.` is a frame without the track."""
    return [
        row(n * step, None if letter == "?" else mix(**{LETTERS[letter]: 0.65}), track_id)
        if letter != "."
        else row(n * step, None, None)
        for n, letter in enumerate(letters)
    ]


def found_in(some_rows, some_settings=BARE) -> list[tuple]:
    return [
        (s.label, round(s.span.start, 4), round(s.span.end, 4)) for s in segments(some_rows, some_settings)
    ]


def ends(segment: Segment) -> tuple[float, float]:
    return segment.span.start, segment.span.end


def test_a_segment_starts_at_onset_and_lasts_to_offset():
    levels = [0.35, 0.39, 0.4, 0.5, 0.31, 0.3, 0.29, 0.35]
    found = found_in([row(n / 10, mix(Fear=level)) for n, level in enumerate(levels)])
    assert found == [("Fear", 0.2, 0.6)]


def test_below_onset_another_that_leads_does_not_end_a_segment_and_at_onset_it_does():
    shares = [{"Fear": 0.6}, {"Fear": 0.31, "Anger": 0.39}, {"Fear": 0.35, "Anger": 0.4}, {"Anger": 0.3}]
    found = found_in([row(n / 10, mix(**share)) for n, share in enumerate(shares)])
    assert found == [("Fear", 0.0, 0.2), ("Anger", 0.2, 0.4)]


def test_the_probability_is_the_mean_over_the_segment_and_over_gaps_it_closes():
    levels = [0.9, 0.6, 0.2, 0.5]
    given_rows = [row(n / 10, mix(Fear=level)) for n, level in enumerate(levels)]
    first, second = segments(given_rows, BARE)
    assert (first.probability, second.probability) == (pytest.approx(0.75), pytest.approx(0.5))
    (joined,) = segments(given_rows, replace(BARE, min_duration_off=0.11))
    assert ends(joined) == pytest.approx((0.0, 0.4))
    assert joined.probability == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("AAAA", [("Anger", 0, 0.4)]),
        ("AAAFFF", [("Anger", 0, 0.3), ("Fear", 0.3, 0.6)]),
        ("AAA?AAA", [("Anger", 0, 0.7)]),
        ("AAA.AAA", [("Anger", 0, 0.7)]),
        ("AAA??AAA", [("Anger", 0, 0.3), ("Anger", 0.5, 0.8)]),  # as long as the limit: stays open
        ("A?A", [("Anger", 0, 0.3)]),  # short pieces join before short ones are dropped
        ("A??A", []),
        ("AA?AA?FFF", [("Anger", 0, 0.5), ("Fear", 0.6, 0.9)]),
        ("AAAFAAA", [("Anger", 0, 0.7)]),  # the flicker is dropped, then nothing stands between
        ("AAAFFAAA", [("Anger", 0, 0.3), ("Fear", 0.3, 0.5), ("Anger", 0.5, 0.8)]),
        ("AAAF?AAA", [("Anger", 0, 0.3), ("Anger", 0.5, 0.8)]),
        ("AFAFAF", []),
        ("AAFAAHAA", [("Anger", 0, 0.8)]),
        ("AAFHFAA", [("Anger", 0, 0.2), ("Anger", 0.5, 0.7)]),
        ("??", []),
        ("", []),
    ],
)
def test_short_gaps_are_closed_and_short_stretches_dropped(letters, expected):
    limits = TimelineSettings(min_duration_on=0.2, min_duration_off=0.2)
    assert found_in(spelled(letters), limits) == expected


def test_a_row_lasts_until_the_next_reading_and_the_last_row_as_long_as_the_one_before():
    times = [0.0, 0.1, 0.5, 0.6, 0.85]
    fear = mix(Fear=0.9)
    assert found_in([row(t, fear) for t in times]) == [("Fear", 0.0, 1.1)]
    gone = [row(0.0, fear), row(0.1, fear), row(0.5, None, None), row(0.6, fear), row(0.85, None, None)]
    assert found_in(gone) == [("Fear", 0.0, 0.5), ("Fear", 0.6, 0.85)]  # not on to the track's next row


def test_one_frame_has_no_duration_so_no_segment():
    assert found_in([row(0.0, mix(Fear=0.9)), row(0.0, mix(Fear=0.9), 2)]) == []


def test_the_voice_alone_makes_segments_without_a_track():
    ticks = [replace(row(n / 25, mix(Anger=0.8), None), frame=None) for n in range(25)]
    (found,) = segments(ticks, TimelineSettings())
    assert (found.track_id, found.label) == (None, "Anger")
    assert ends(found) == pytest.approx((0.0, 1.0))


def test_segments_come_by_start_then_track_though_the_first_ends_last():
    by_frame = zip(spelled("AAAAAAAA", 3), spelled("FFFHHHAA", 2), spelled("HHHHHHHH", 1), strict=True)
    given_rows = [one for frame in by_frame for one in sorted(frame, key=lambda one: one.track_id)]
    order = [(round(s.span.start, 1), s.track_id) for s in segments(given_rows, BARE)]
    assert order == [(0.0, 1), (0.0, 2), (0.0, 3), (0.3, 2), (0.6, 2)]


def test_a_segment_leaves_once_nothing_can_change_it():
    n_pulled = [0]

    def endless():
        for n in count():
            n_pulled[0] = n + 1
            yield row(n / 25, mix(Fear=0.9) if n % 50 < 25 else None, n // 50)

    for n, segment in enumerate(islice(segments(endless(), TimelineSettings()), 50)):
        assert ends(segment) == pytest.approx((2.0 * n, 2.0 * n + 1))
        assert (n_pulled[0] - 1) / 25 - segment.span.end <= 0.25 + 2 / 25 + 1e-6


# --- any rows whatever --------------------------------------------------------------------------------------


@st.composite
def any_rows(draw) -> list[Row]:
    letters = st.sampled_from("AAAFFH?.")
    frames = draw(st.lists(st.tuples(letters, letters, st.sampled_from([0.04, 0.1, 0.3])), max_size=60))
    found, time = [], 0.0
    for *both, step in frames:
        time += step
        here = [
            row(time, None if letter == "?" else mix(**{LETTERS[letter]: 0.65}), track)
            for track, letter in enumerate(both)
            if letter != "."
        ]
        found += here or [row(time, mix(Sadness=0.9), None)]
    return found


LIMITS = st.builds(
    TimelineSettings,
    min_duration_on=st.sampled_from([0.0, 0.1, 0.25]),
    min_duration_off=st.sampled_from([0.0, 0.1, 0.25]),
)


@given(any_rows(), LIMITS)
@settings(max_examples=100, deadline=None)
def test_segments_keep_every_limit(given_rows, limits):
    found = list(segments(given_rows, limits))
    places = [(s.span.start, -1 if s.track_id is None else s.track_id) for s in found]
    assert places == sorted(set(places))
    for segment in found:
        assert segment.span.duration >= max(limits.min_duration_on - 1e-5, 1e-5)
        assert 0 < segment.probability <= 0.9 + 1e-6
    for track in {s.track_id for s in found}:
        for before, after in pairwise([s for s in found if s.track_id == track]):
            assert before.span.end <= after.span.start
            if before.label == after.label:
                assert after.span.start - before.span.end >= limits.min_duration_off - 1e-5


@given(any_rows())
@settings(max_examples=60, deadline=None)
def test_without_limits_a_time_lies_in_a_segment_where_a_row_says_so(given_rows):
    found = list(segments(given_rows, BARE))
    last = given_rows[-1].time if given_rows else None
    for one in given_rows:
        here = [s.label for s in found if s.track_id == one.track_id and one.time in s.span]
        if len(given_rows) > 1 or one.time != last:
            certain = one.probs is not None and given_rows[0].time != last
            assert here == ([EXPRESSIONS[one.probs.argmax()]] if certain else [])


@given(any_rows(), LIMITS)
@settings(max_examples=60, deadline=None)
def test_other_people_do_not_matter(given_rows, limits):
    def of(track, some_rows):
        return [s for s in segments(some_rows, limits) if s.track_id == track]

    changed = [one if one.track_id != 1 else replace(one, probs=mix(Surprise=0.9)) for one in given_rows]
    assert of(0, given_rows) == of(0, changed)


# --- timing on made-up signals ------------------------------------------------------------------------------

CYCLE = ("Neutral", "Happiness", "Anger", "Sadness", "Surprise")


def frame_times(fps: int | str, duration: float) -> list[float]:
    if isinstance(fps, int):
        return [n / fps for n in range(round(duration * fps))]
    steps = np.random.default_rng(5).choice([1 / 60, 1 / 30, 1 / 24, 1 / 12], 10_000)
    return [float(t) for t in np.cumsum(steps) if t < duration]


def noisy_face(
    fps: int | str, period: float, duration: float, seed: int, noise: float = 0.7
) -> list[Reading]:
    """One person, looked at 12.5 times a second, whose expression moves on at every multiple of `period`."""
    rng = np.random.default_rng(seed)
    found, next_look = [], 0.0
    for frame, time in enumerate(frame_times(fps, duration)):
        faces = None
        if time >= next_look - 1e-9:
            next_look = max(next_look + 0.08, time + 0.04)
            logits = rng.normal(0, noise, 8)
            logits[EXPRESSIONS.index(CYCLE[int(time / period + 1e-9) % len(CYCLE)])] += 2.5
            probs = (np.exp(logits) / np.exp(logits).sum()).astype(np.float32)
            faces = (FaceReading(track_id=1, box=BOX, confidence=0.9, probs=probs),)
        found.append(Reading(frame=frame, time=time, faces=faces, speech=False, voice=None, silent=True))
    return found


def onset_errors(fps: int | str, period: float) -> tuple[float, list[float]]:
    """Share of the changes that a segment tells, and by how many seconds each of those is off."""
    n_changes, errors = 0, []
    for seed in range(2):
        duration = 13 * period
        found = list(
            segments(rows(noisy_face(fps, period, duration, seed), TimelineSettings()), TimelineSettings())
        )
        for k in range(1, 13):
            n_changes += 1
            label = CYCLE[k % len(CYCLE)]
            near = [abs(s.span.start - k * period) for s in found if s.label == label]
            near = [error for error in near if error <= 0.4 * min(period, 1)]
            errors += [min(near)] if near else []
    return len(errors) / n_changes, errors


@pytest.mark.parametrize("fps", [25, 30, 60, "variable"])
@pytest.mark.parametrize(("period", "least_found"), [(0.5, 0.8), (1.0, 0.9), (2.0, 0.9)])
def test_changes_are_found_when_they_happen(fps, period, least_found):
    share, errors = onset_errors(fps, period)
    assert share >= least_found
    assert median(errors) <= 0.15


@pytest.mark.parametrize("fps", [25, 30, 60, "variable"])
def test_a_face_that_stays_the_same_does_not_flicker(fps):
    for seed in range(3):
        still = noisy_face(fps, period=1e9, duration=10, seed=seed, noise=1.0)
        labels = [s.label for s in segments(rows(still, TimelineSettings()), TimelineSettings())]
        assert labels
        assert sum(a != b for a, b in pairwise(labels)) <= 1
