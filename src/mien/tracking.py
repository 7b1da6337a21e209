"""Detections of one picture after another in, the same person's number on each of them out.

A track moves on at its last speed, slowing down while nobody sees it. Detections go to tracks by the cheapest
assignment, where a pair costs its distance, change of size and unlikeness of looks. Looks alone can forbid
a pair, so that whoever appears after a cut is not taken for the person before it; the more so, the longer
that person was away.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Float32, Float64, Int

    from mien.detection import Detection

MAX_MISSING = 1.2
"""Seconds out of sight during which a person is searched for near by, among faces that are like enough."""

MAX_ABSENCE = 5.0
"""Seconds out of sight after which a person is forgotten. Before, a face that would be a new person's but is
very like theirs takes over their number: two people shown in turns, 2 to 4 s each, get 1.9 numbers on
average, and would get 5.5 if `MAX_MISSING` were the end (`benchmarks/tracking.py`)."""

MAX_TENTATIVE = 0.3
"""Seconds within which a doubtful face must be seen again to count."""

MIN_LIKENESS = 0.6
"""Correlation of looks below which two faces are two people.

Looks are coarse colours of the face and what surrounds it, as `mien.faces` takes them: of 13 people in 12
clips, the same one a second later reaches this in 99 of 100 pairs, two different ones in 11 of 100.
"""

MIN_LIKENESS_LATE = 0.88
"""The same for who was given up already, when another person may be there instead: the same person 1.2 to 5 s
later reaches this in 79 of 100 pairs, two different people in 5 of 1,000."""

_SLOWING = 1.0
"""Seconds in which a track that is not seen loses all but 1/e of its speed."""
_POSITION_GAIN, _SPEED_GAIN = 0.9, 0.6
_NEAR, _NEAR_GROWTH, _NEAR_AT_MOST = 1.2, 3.0, 3.0
"""How far from where it is expected a face may be: face sides, more per second since it was seen, at most.
For one that is very like there is no most."""
_SHORTEST_STEP = 0.02
"""Seconds; two frames may carry one time, and the detector's noise is no speed."""
_SIZE_CHANGE = np.log(2.0)
_UNMATCHED = 4.0
"""What a track without a detection costs; a pair costs its distance in sides plus two terms of 0 to 1."""
_FORBIDDEN = 1e3


@dataclass(slots=True, kw_only=True, eq=False)
class _Track:
    track_id: int | None
    """None until the face is certain."""
    seen: float
    centre: Float64[np.ndarray, "2"]
    speed: Float64[np.ndarray, "2"]
    """Pixels per second."""
    half: Float64[np.ndarray, "2"]
    """Half the box's width and height."""
    looks: Float64[np.ndarray, "2 features"]
    """The latest, and a slow mean that a turned head or a passing hand does not carry away."""

    def centre_at(self, time: float) -> Float64[np.ndarray, "2"]:
        return self.centre + self.speed * _SLOWING * (1 - exp(-(time - self.seen) / _SLOWING))


class Tracker:
    """Numbers people from 1 in the order in which they are certain; holds one video's tracks.

    A face at or above `start_confidence` counts at once, a weaker one when it is seen again within
    `MAX_TENTATIVE` seconds. For a still picture, which nothing follows, give 0.
    """

    def __init__(self, *, start_confidence: float = 0.9) -> None:
        self.start_confidence = start_confidence
        self._tracks: list[_Track] = []
        self._n_numbered = 0
        self._time = -inf

    def expected(self, time: float) -> list[Float32[np.ndarray, "4"]] | None:
        """Where every face in view should now be (xyxy); None where none is, or one is searched for."""
        recent = self._recent(time)
        if not recent or any(track.seen < self._time for track in recent):
            return None
        centres = [track.centre_at(time) for track in recent]
        return [
            np.concatenate([centre - track.half, centre + track.half]).astype(np.float32)
            for centre, track in zip(centres, recent, strict=True)
        ]

    def update(
        self, time: float, detections: Sequence[Detection], looks: Float[np.ndarray, "faces features"]
    ) -> list[int | None]:
        """The number of the person in each detection; None for a face that is not certain yet.

        Args:
            time: of the picture, seconds; never before that of the update before.
            detections: all faces of that picture.
            looks: one row for each detection, of length 1; the product of two says how alike the faces look.
        """
        if time < self._time:
            raise InputError(
                f"a picture at {time:.3f} s came after one at {self._time:.3f} s: give them in order"
            )
        self._time = time
        self._tracks = [
            track
            for track in self._tracks
            if time - track.seen <= (MAX_TENTATIVE if track.track_id is None else MAX_ABSENCE)
        ]
        owners: list[_Track | None] = [None] * len(detections)
        looks = np.asarray(looks, np.float64)
        recent = self._recent(time)
        if recent and detections:
            costs = _costs(recent, time, detections, looks, _NEAR_AT_MOST, MIN_LIKENESS)
            alone = np.full((len(recent), len(recent)), _UNMATCHED)
            columns = cheapest(np.concatenate([costs, alone], axis=1))
            for track, column in zip(recent, columns, strict=True):
                if column < len(detections):
                    owners[column] = track
        followed = [
            self._follow(owner, time, detection, look)
            for owner, detection, look in zip(owners, detections, looks, strict=True)
        ]
        for owner, track, detection, look in zip(owners, followed, detections, looks, strict=True):
            if track.track_id is None and (owner or detection.confidence >= self.start_confidence):
                track.track_id = self._number(time, detection, look)
        return [track.track_id for track in followed]

    def _recent(self, time: float) -> list[_Track]:
        return [track for track in self._tracks if time - track.seen <= MAX_MISSING]

    def _follow(
        self, track: _Track | None, time: float, detection: Detection, look: Float64[np.ndarray, " features"]
    ) -> _Track:
        low, high = detection.box[:2].astype(np.float64), detection.box[2:].astype(np.float64)
        centre, half = (low + high) / 2, np.maximum((high - low) / 2, 0.5)
        if track is None:
            track = _Track(
                track_id=None,
                seen=time,
                centre=centre,
                speed=np.zeros(2),
                half=half,
                looks=np.stack([look, look]),
            )
            self._tracks.append(track)
        else:
            surprise = centre - track.centre_at(time)
            track.centre = centre - (1 - _POSITION_GAIN) * surprise
            track.speed = track.speed + _SPEED_GAIN * surprise / max(time - track.seen, _SHORTEST_STEP)
            track.half, track.seen = half, time
            mean = 0.8 * track.looks[1] + 0.2 * look
            track.looks = np.stack([look, mean / max(float(np.linalg.norm(mean)), 1e-9)])
        return track

    def _number(self, time: float, detection: Detection, look: Float64[np.ndarray, " features"]) -> int:
        """The number of the person out of sight whose face this very likely is; else the next one."""
        away = [track for track in self._tracks if track.track_id is not None and track.seen < time]
        if away:
            costs = _costs(away, time, [detection], look[None], inf, MIN_LIKENESS_LATE)[:, 0]
            back = away[int(np.argmin(costs))]
            if costs.min() < _FORBIDDEN and back.track_id is not None:
                self._tracks.remove(back)
                return back.track_id
        self._n_numbered += 1
        return self._n_numbered


def _costs(
    tracks: Sequence[_Track],
    time: float,
    detections: Sequence[Detection],
    looks: Float64[np.ndarray, "faces features"],
    near_at_most: float,
    min_likeness: float,
) -> Float64[np.ndarray, "tracks faces"]:
    boxes = np.stack([detection.box for detection in detections]).astype(np.float64)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, _side((boxes[:, 2:] - boxes[:, :2]) / 2)
    expected = np.stack([track.centre_at(time) for track in tracks])
    own_sides = _side(np.stack([track.half for track in tracks]))
    unseen = np.array([time - track.seen for track in tracks])
    reach = np.minimum(_NEAR + _NEAR_GROWTH * unseen, near_at_most)[:, None]
    mean_sides = (own_sides[:, None] + sides[None]) / 2
    distance = np.linalg.norm(expected[:, None] - centres[None], axis=-1) / mean_sides
    growth = np.abs(np.log(sides[None] / own_sides[:, None])) / _SIZE_CHANGE
    likeness = np.max(np.stack([track.looks for track in tracks]) @ looks.T, axis=1)
    unlikeness = (1 - likeness) / (1 - min_likeness)
    possible = (distance <= reach) & (growth <= 1) & (unlikeness <= 1)
    return np.where(possible, distance + growth + unlikeness, _FORBIDDEN)


def _side(half: Float64[np.ndarray, "boxes 2"]) -> Float64[np.ndarray, " boxes"]:
    """Side in pixels of the square as large as each box."""
    sides: Float64[np.ndarray, " boxes"] = 2 * np.sqrt(np.maximum(half[:, 0] * half[:, 1], 0.25))
    return sides


def cheapest(costs: Float64[np.ndarray, "rows columns"]) -> Int[np.ndarray, " rows"]:
    """The column for each row, no column twice, that make the smallest sum; needs no fewer columns than rows.

    Exact, by shortest augmenting paths (Crouse 2016): where people cross, greed gives the first track the
    detection that the second one needed.

    >>> cheapest(np.array([[1.0, 2.0], [1.5, 9.0]])).tolist()
    [1, 0]
    """
    n_rows, n_columns = costs.shape
    assert n_rows <= n_columns, "each row needs a column of its own"
    own_cheapest: Int[np.ndarray, " rows"] = costs.argmin(axis=1)
    if len(np.unique(own_cheapest)) == n_rows:  # nobody is in another's way
        return own_cheapest
    row_price, column_price = np.zeros(n_rows), np.zeros(n_columns)
    holder = np.full(n_columns, -1)
    for row in range(n_rows):
        reach, before = np.full(n_columns, np.inf), np.full(n_columns, -1)
        done = np.zeros(n_columns, bool)
        current, column, lowest = row, -1, 0.0
        while current >= 0:
            through = lowest + costs[current] - row_price[current] - column_price
            better = ~done & (through < reach)
            reach[better], before[better] = through[better], column
            column = int(np.argmin(np.where(done, np.inf, reach)))
            lowest, done[column] = float(reach[column]), True
            current = int(holder[column])
        row_price[row] += lowest
        passed = np.flatnonzero(done & (holder >= 0))
        row_price[holder[passed]] += lowest - reach[passed]
        column_price[passed] -= lowest - reach[passed]
        while column >= 0:
            holder[column] = holder[before[column]] if before[column] >= 0 else row
            column = int(before[column])
    chosen = np.zeros(n_rows, np.int64)
    chosen[holder[holder >= 0]] = np.flatnonzero(holder >= 0)
    return chosen
