"""Rows of any readings whatever, held against the definition; and rows of readings without end."""

from dataclasses import replace
from itertools import count, islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.expressions import EXPRESSIONS
from mien.timeline import FLAGS, TimelineSettings, rows
from mien.views import Reading
from some_readings import person, reading


def plain(row) -> tuple:
    """A row as something that `==` compares, to the last bit."""
    names = ("frame", "time", "track_id", "confidence", "label", "source", "flags")
    arrays = (row.box, row.probs, row.face_probs, row.voice_probs)
    return (*(getattr(row, n) for n in names), *(None if a is None else a.tobytes() for a in arrays))


# --- any readings whatever ----------------------------------------------------------------------------------

STEPS = st.sampled_from([0.0166, 0.0334, 0.04, 0.07, 0.3])
LOOKS = st.one_of(st.none(), st.sets(st.sampled_from([1, 2, 7])))
OPTIONS = st.builds(
    TimelineSettings,
    smooth=st.sampled_from([0.0, 0.1, 0.5]),
    max_gap=st.sampled_from([0.0, 0.1, 0.5]),
    speaker=st.sampled_from([None, 2]),
    voice_weight=st.sampled_from([1.0, 3.0]),
)


@st.composite
def any_readings(draw) -> list[Reading]:
    frames = draw(st.lists(st.tuples(STEPS, LOOKS, st.booleans(), st.booleans()), max_size=40))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    found, time = [], 0.0
    for frame, (step, looked, voiced, silent) in enumerate(frames):
        time += step
        drawn = {key: rng.dirichlet(np.ones(8)).astype(np.float32) for key in (1, 2, 7, "voice")}
        boxes = {key: rng.uniform(0, 99, 4).astype(np.float32) for key in (1, 2, 7)}
        faces = None if looked is None else tuple(person(k, drawn[k], boxes[k]) for k in looked)
        voice = drawn["voice"] if voiced else None
        found.append(
            Reading(frame=frame, time=time, faces=faces, speech=voice is not None, voice=voice, silent=silent)
        )
    return found


def in_view_by_definition(given: list[Reading], max_gap: float) -> list[dict[int, np.ndarray]]:
    """Face probabilities by track for each reading, from the words of the specification, with all at hand."""
    views = []
    for n, here in enumerate(given):
        view = {face.track_id: face.probs for face in here.faces or ()}
        for track in {1, 2, 7} - view.keys():
            looks = [(k, f) for k, r in enumerate(given) for f in r.faces or () if f.track_id == track]
            before = [look for look in looks if look[0] < n][-1:]
            after = [look for look in looks if look[0] > n][:1]
            if not before:
                continue
            (k0, face0), t0 = before[0], given[before[0][0]].time
            missed = after and any(r.faces is not None for r in given[k0 + 1 : after[0][0]])
            if after and (not missed or given[after[0][0]].time - t0 <= max_gap + 1e-6):
                share = (here.time - t0) / (given[after[0][0]].time - t0)
                view[track] = (1 - share) * face0.probs + share * after[0][1].probs
            elif all(r.faces is None for r in given[k0 + 1 : n + 1]):
                view[track] = face0.probs
        views.append(view)
    return views


def smoothed_by_definition(signal: list[np.ndarray | None], times: list[float], n: int, width: float):
    first, last = n, n
    while first > 0 and signal[first - 1] is not None and times[n] - times[first - 1] <= width / 2 + 1e-6:
        first -= 1
    while (
        last + 1 < len(signal)
        and signal[last + 1] is not None
        and times[last + 1] - times[n] <= width / 2 + 1e-6
    ):
        last += 1
    return np.mean(np.array(signal[first : last + 1], dtype=float), axis=0)


@given(any_readings(), OPTIONS)
@settings(max_examples=100, deadline=None)
def test_rows_are_what_the_definition_says(given, options):
    views = in_view_by_definition(given, options.max_gap)
    times = [one.time for one in given]
    expected = []
    for n, (here, view) in enumerate(zip(given, views, strict=True)):
        voice = None
        if here.voice is not None:
            voice = smoothed_by_definition([r.voice for r in given], times, n, options.smooth)
        for track in sorted(view) or [None]:
            face = None
            if track is not None:
                face = smoothed_by_definition([v.get(track) for v in views], times, n, options.smooth)
            expected.append((here.frame, here.time, track, face, voice))
    found = list(rows(given, options))
    assert [(row.frame, row.time, row.track_id) for row in found] == [one[:3] for one in expected]
    for row, (*_, face, voice) in zip(found, expected, strict=True):
        assert (row.face_probs is None) == (face is None)
        assert (row.voice_probs is None) == (voice is None)
        for got, wanted in ((row.face_probs, face), (row.voice_probs, voice)):
            if wanted is not None:
                np.testing.assert_allclose(got, wanted, atol=2e-7)


@given(any_readings(), OPTIONS)
@settings(max_examples=60, deadline=None)
def test_every_row_is_whole(given, options):
    found = list(rows(given, options))
    assert {row.frame for row in found} == {one.frame for one in given}
    for before, after in pairwise(found):
        assert before.frame <= after.frame
        if before.frame == after.frame:
            assert before.track_id < after.track_id
    for row in found:
        assert row.time == given[row.frame].time
        assert row.source in {"face", "voice", "both", "none"}
        assert row.flags <= set(FLAGS)
        assert ("no_face" in row.flags) == (row.track_id is None)
        assert ("no_speech" in row.flags) == (given[row.frame].voice is None)
        assert ("silent" in row.flags) == given[row.frame].silent
        assert (row.probs is None) == (row.source == "none")
        if row.probs is not None:
            assert row.probs.dtype == np.float32
            assert row.probs.sum() == pytest.approx(1, abs=1e-5)
            assert row.label == EXPRESSIONS[row.probs.argmax()]


@given(any_readings(), OPTIONS)
@settings(max_examples=60, deadline=None)
def test_nothing_leaks_from_one_person_to_another(given, options):
    changed = [
        one
        if one.faces is None
        else replace(
            one,
            faces=tuple(replace(f, probs=f.probs[::-1].copy()) if f.track_id == 1 else f for f in one.faces),
        )
        for one in given
    ]
    kept = [plain(row) for row in rows(given, options) if row.track_id != 1]
    assert kept == [plain(row) for row in rows(changed, options) if row.track_id != 1]


@given(any_readings(), OPTIONS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_rows_come_in_time_and_the_same_however_readings_arrive(given, options, random):
    whole = [plain(row) for row in rows(given, options)]
    pulled = []

    def arriving():
        for one in given:
            pulled.append(one)
            yield one

    found, stream = [], rows(arriving(), options)
    longest_step = max((b.time - a.time for a, b in pairwise(given)), default=0)
    looks = [one.time for one in given if one.faces is not None]
    unlooked = max(
        (b - a for a, b in pairwise(sorted([*looks, *(one.time for one in given[:1] + given[-1:])]))),
        default=0,
    )
    lag = options.max_gap + options.smooth / 2 + unlooked + 2 * longest_step + 1e-5
    while chunk := list(islice(stream, random.randint(1, 5))):
        found += chunk
        assert pulled[-1].time - chunk[-1].time <= lag
    assert [plain(row) for row in found] == whole


# --- without end --------------------------------------------------------------------------------------------


def endless(fps: int, every: int, n_pulled: list[int], vanishing: bool):
    drawn = np.random.default_rng(3).dirichlet(np.ones(8), 64).astype(np.float32)
    for n in count():
        n_pulled[0] = n + 1
        track = n // (9 * every)  # a new person every nine looks
        looked = n % every == 0
        here = () if vanishing and n // every % 9 > 5 else (person(track, drawn[n % 64]),)
        yield reading(n / fps, here if looked else None, drawn[-n % 64])


@pytest.mark.parametrize("vanishing", [False, True])
@pytest.mark.parametrize(("fps", "every"), [(25, 2), (60, 5)])
def test_an_endless_stream_is_answered_within_seconds(fps, every, vanishing):
    n_pulled = [0]
    options = TimelineSettings()
    longest = 0.0
    for row in islice(rows(endless(fps, every, n_pulled, vanishing), options), 1000):
        longest = max(longest, (n_pulled[0] - 1) / fps - row.time)
    assert longest <= options.max_gap + options.smooth / 2 + 2 / fps + 1e-6
    assert longest > options.smooth / 2  # a centred mean cannot know sooner


def test_where_nothing_can_change_a_row_it_leaves_at_once():
    n_pulled = [0]

    def empty():
        for n in count():
            n_pulled[0] = n + 1
            yield reading(n / 25, () if n % 2 else None)

    for n, _ in enumerate(islice(rows(empty(), TimelineSettings()), 100)):
        assert n_pulled[0] == n + 1
