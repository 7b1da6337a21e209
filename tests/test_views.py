"""Views from the past alone: each leaves with its reading, and nothing that follows changes it."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mien.views import FaceReading, Reading, follow


def look(time: float, *seen: int, leading: int = 0, looked: bool = True, voice: bool = False) -> Reading:
    """A frame in which some persons show one expression, or one that nobody looked at."""
    probs = np.eye(8, dtype=np.float32)[leading]
    faces = tuple(
        FaceReading(track_id=each, box=np.full(4, time, np.float32), confidence=0.9, probs=probs)
        for each in seen
    )
    return Reading(
        frame=round(time * 25),
        time=time,
        faces=faces if looked else None,
        speech=voice,
        voice=probs if voice else None,
        silent=not voice,
    )


def test_each_view_leaves_with_its_reading() -> None:
    taken = []

    def readings():
        for k in range(10):
            taken.append(k)
            yield look(k / 25, 1)

    for n, _ in enumerate(follow(readings(), 0.5, 0.5), start=1):
        assert len(taken) == n


def test_means_reach_back_and_no_further() -> None:
    readings = [look(k / 25, 1, leading=int(k >= 25)) for k in range(50)]
    shares = [float(view.probs[1][1]) for view in follow(readings, 0.5, 0.4)]
    assert shares[:25] == [0.0] * 25
    assert all(before < after for before, after in pairwise(shares[24:36]))
    assert shares[35:] == [1.0] * 15  # eleven frames lie in 0.4 s and its two ends


def test_without_smoothing_probabilities_are_as_read() -> None:
    reading = look(0.0, 1, leading=3, voice=True)
    (view,) = follow([reading], 0.5, 0.0)
    assert view.probs[1] is reading.faces[0].probs
    assert view.probs[None] is reading.voice


def test_who_was_seen_is_held_for_a_while_and_then_let_go() -> None:
    times = [0.0, 0.2, 0.4, 0.5, 0.52, 0.6]
    readings = [look(0.0, 1), *(look(time, looked=time < 0.3) for time in times[1:])]
    views = list(follow(readings, 0.5, 0.0))
    assert [set(view.faces) for view in views] == [{1}, {1}, {1}, {1}, set(), set()]
    assert [view.filled for view in views] == [set(), {1}, {1}, {1}, set(), set()]
    assert views[3].faces[1].box[0] == 0.0


def test_a_run_ends_where_somebody_goes() -> None:
    readings = [look(0.0, 1, leading=0), look(1.0), look(2.0, 1, leading=1)]
    *_, last = follow(readings, 0.5, 10.0)
    assert last.probs[1].argmax() == 1
    assert last.probs[1][0] == 0.0


@given(
    st.lists(st.tuples(st.sets(st.integers(1, 3)), st.booleans(), st.integers(0, 7)), max_size=40),
    st.integers(0, 40),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_nothing_that_follows_changes_a_view(steps, n, max_gap, width) -> None:
    readings = [
        look(k / 25, *seen, looked=looked, leading=leading, voice=looked)
        for k, (seen, looked, leading) in enumerate(steps)
    ]
    whole, part = (list(follow(each, max_gap, width)) for each in (readings, readings[:n]))
    assert len(whole) == len(readings)
    for one, other in zip(whole, part, strict=False):
        assert one.faces == other.faces or one.faces.keys() == other.faces.keys()
        assert one.filled == other.filled
        assert one.probs.keys() == other.probs.keys()
        assert all(np.array_equal(one.probs[key], other.probs[key]) for key in one.probs)
        assert all(abs(probs.sum() - 1) < 1e-5 for probs in one.probs.values())
