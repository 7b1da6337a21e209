"""Stretches apart and end to end give the same looks; people keep their numbers where stretches meet."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mien.stretches as module
from mien.faces import FaceFinder, SampledFrame, Template
from mien.media import Frame
from mien.readings import ReadingSettings, read_file
from mien.stretches import Seam, Sighting, join, look_in_stretches, same_people, stretch_of
from mien.views import FaceReading, Reading
from test_faces import SpotDetector, draw

CLIPS = Path(__file__).parents[2] / "shared" / "clips"


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH", 4.0)
    monkeypatch.setattr(module, "LEAD_IN", 1.0)


def finder() -> FaceFinder:
    return FaceFinder(Template(48), detector=SpotDetector())


def box(x: float) -> np.ndarray:
    return np.array([x, 0, x + 60, 60], np.float32)


def told(looks: Iterator[SampledFrame | Seam]) -> list[object]:
    """What can be compared of some looks."""

    def of_face(track_id: int, where: np.ndarray) -> tuple[int, bytes]:
        return track_id, where.tobytes()

    return [
        [(seen.time, [of_face(*each) for each in seen.boxes.items()]) for seen in look.lead_in]
        if isinstance(look, Seam)
        else (
            look.time,
            None if look.faces is None else [of_face(face.track_id, face.box) for face in look.faces],
        )
        for look in looks
    ]


def film(times: list[float]) -> list[Frame]:
    """Two people: one walks, the other comes and goes."""
    return [
        Frame(
            i,
            time,
            draw(
                (100 + 20 * (time % 20), 100, 0), *([(400, 200, 2)] if time % 7 < 5 else []), size=(360, 640)
            ),
        )
        for i, time in enumerate(times)
    ]


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.sampled_from([0.04, 0.04, 0.04, 0.2, 0.5, 3.0, 9.0]), min_size=1, max_size=80),
    st.floats(0, 9),
)
def test_stretches_apart_are_those_of_the_whole(steps: list[float], start: float) -> None:
    frames = film((start + np.cumsum(steps)).tolist())
    whole = told(look_in_stretches(frames, finder))
    first, last = stretch_of(frames[0].time), stretch_of(frames[-1].time)
    parts = [
        look_in_stretches(
            [f for f in frames if 4.0 * k - 1.0 <= f.time < 4.0 * (k + 1)] if k else
            [f for f in frames if f.time < 4.0],
            finder,
            k,
        )
        for k in range(last + 1)
    ]  # fmt: skip
    looks = told(chain.from_iterable(parts))
    assert [look for look in looks if look] == [look for look in whole if look]
    seams = [look for look in whole if isinstance(look, list)]
    assert len(seams) == len({stretch_of(f.time) for f in frames}) - (first == 0)


def test_a_part_of_the_picture_is_moved_to_its_place() -> None:
    frames = film([3.5, 3.6, 4.0])
    here, moved = (list(look_in_stretches(frames, finder, 0, corner)) for corner in ((0, 0), (30, 7)))
    for one, other in zip(here, moved, strict=True):
        if isinstance(one, Seam):
            assert isinstance(other, Seam)
            pairs = [
                (a.boxes[k], b.boxes[k])
                for a, b in zip(one.lead_in, other.lead_in, strict=True)
                for k in a.boxes
            ]
        else:
            assert isinstance(other, SampledFrame)
            pairs = [(a.box, b.box) for a, b in zip(one.faces or (), other.faces or (), strict=True)]
        assert pairs
        for a, b in pairs:
            assert np.array_equal(a + np.array([30, 7, 30, 7], np.float32), b)


def reading(time: float, **people: float) -> Reading:
    """Person `p1` at x = 10: `p1=10`."""
    faces = tuple(
        FaceReading(track_id=int(name[1:]), box=box(x), confidence=0.9, probs=np.full(8, 0.125, np.float32))
        for name, x in people.items()
    )
    return Reading(frame=None, time=time, faces=faces, speech=False, voice=None, silent=True)


def sighting(time: float, **people: float) -> Sighting:
    return Sighting(time, {int(name[1:]): box(x) for name, x in people.items()})


def numbers(*items: Reading | Seam) -> list[dict[int, float]]:
    return [{face.track_id: float(face.box[0]) for face in read.faces or ()} for read in join(items)]


def test_people_keep_their_number_where_stretches_meet() -> None:
    found = numbers(
        reading(3.0, p1=0, p2=200),
        reading(3.5, p1=10, p2=200),
        Seam((sighting(3.0, p1=201), sighting(3.5, p1=199, p2=11))),
        reading(4.0, p1=200, p2=15),
        reading(4.1, p1=200, p3=400),
    )
    assert found == [{1: 0, 2: 200}, {1: 10, 2: 200}, {1: 15, 2: 200}, {2: 200, 3: 400}]


def test_newcomers_never_get_the_number_of_who_left() -> None:
    found = numbers(
        reading(3.0, p1=0, p2=200),
        Seam((sighting(3.0, p1=200),)),
        reading(4.0, p1=200, p2=0),
        Seam(()),
        reading(8.0, p1=200),
    )
    assert found == [{1: 0, 2: 200}, {2: 200, 3: 0}, {4: 200}]


def test_a_seam_looks_no_further_back_than_its_lead_in() -> None:
    lead_in = (sighting(2.0, p1=0), sighting(3.5, p1=300))
    found = numbers(reading(2.0, p1=0), reading(3.5, p2=300), Seam(lead_in), reading(4.0, p1=300))
    assert found[-1] == {2: 300}


def test_who_is_together_most_often_is_one_person() -> None:
    before = [sighting(0.1 * k, p1=0, p2=300) for k in range(10)]
    after = [
        sighting(0.1 * k, **({"p1": 300, "p2": 0} if k < 3 else {"p1": 0, "p2": 300})) for k in range(10)
    ]
    assert same_people(before, after) == {1: 1, 2: 2}
    assert same_people(before[:3], after) == {1: 2, 2: 1}
    assert same_people(before, [sighting(0.0, p4=100), sighting(5.0, p5=0)]) == {}
    assert same_people([], []) == {}


@settings(deadline=None)
@given(st.data())
def test_no_two_people_become_one(data: st.DataObject) -> None:
    def people() -> list[Sighting]:
        places = st.dictionaries(st.integers(1, 4), st.sampled_from([0.0, 20.0, 40.0, 90.0]), max_size=4)
        drawn = data.draw(st.lists(places, max_size=4))
        return [Sighting(float(k), {n: box(x) for n, x in each.items()}) for k, each in enumerate(drawn)]

    same = same_people(people(), people())
    assert len(set(same.values())) == len(same)


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"needs the clips in {CLIPS}")
@pytest.mark.parametrize("name", ["two_people_interview.mp4", "single_face.mp4"])
def test_a_film_in_short_stretches_shows_whom_it_shows_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.media import probe
    from mien.predictor import load_model

    def people() -> list[tuple[int, ...]]:
        readings = read_file(probe(CLIPS / name), load_model("mien-s"), ReadingSettings(voice=False))
        return [tuple(face.track_id for face in read.faces) for read in readings if read.faces is not None]

    cut = people()
    monkeypatch.setattr(module, "STRETCH", 600.0)
    whole = people()
    assert {number for seen in cut for number in seen} == {number for seen in whole for number in seen}
    assert np.mean([one == other for one, other in zip(cut, whole, strict=True)]) > 0.95
