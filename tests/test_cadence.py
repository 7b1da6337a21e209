"""What is due in which frame: looks and sweeps on grids of the file's clock."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.cadence import SWEEP_INTERVAL, Cadence


def test_a_film_of_25_frames_a_second() -> None:
    cadence = Cadence(12.5)
    due = [cadence.due(frame / 25) for frame in range(51)]
    assert [frame for frame, each in enumerate(due) if each == "sweep"] == [0, 10, 20, 30, 40, 50]
    assert [frame for frame, each in enumerate(due) if each is None] == list(range(1, 51, 2))


@pytest.mark.parametrize("start", [0.0, 0.13, 7200.0])
def test_every_look_at_a_slow_film_is_a_sweep(start: float) -> None:
    cadence = Cadence(12.5)
    assert [cadence.due(start + 0.5 * frame) for frame in range(20)] == ["sweep"] * 20


@given(st.lists(st.floats(0.0, 0.3), min_size=1, max_size=80), st.sampled_from([5.0, 12.5, 25.0]))
def test_no_newcomer_waits_longer_than_from_one_tick_to_the_look_after_the_next(
    steps: list[float], sample_hz: float
) -> None:
    times = np.cumsum(steps).tolist()
    cadence = Cadence(sample_hz)
    due = {time: each for time in times if (each := cadence.due(time))}  # of equal times the last
    looks, sweeps = [*due], [time for time, each in due.items() if each == "sweep"]
    for earlier, later in pairwise(sweeps):
        before = max(time for time in looks if time < later)
        assert before < earlier + SWEEP_INTERVAL + 2e-3
    if sweeps:
        assert len(sweeps) <= (times[-1] - times[0]) / SWEEP_INTERVAL + 2
