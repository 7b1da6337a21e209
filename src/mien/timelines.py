"""The rows of one file, collected: what people ask of them, from Python.

A `Timeline` is made by `mien.analyze`, or read from the timeline.json of a report. Whatever narrows or joins
it gives another one; it is never changed itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mien.agreement import Agreement, agree
from mien.chart import svg
from mien.dataframe import table_of
from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.labels import LabelSpan, read_labels
from mien.lanes import Lanes, Person, Persons
from mien.plain import read_json
from mien.plot import png
from mien.report import DEFAULT_FORMATS, Report
from mien.segments import Transitions, who
from mien.segments import segments as cut_segments
from mien.spans import Span
from mien.spec import fits
from mien.timeline import FLAGS, Row, Segment, TimelineSettings
from mien.whole import written_whole
from mien.writing import caption_of, title_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import pandas as pd
    from jaxtyping import Float32


Tick = tuple[int | None, float]
"""Number and time of a frame; sound has no number."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """All rows of a file, and where they come from.

    >>> import mien
    >>> timeline = mien.analyze("examples/demo.mp4", mien.ReadingSettings(end=2.0))
    >>> timeline
    <Timeline of demo.mp4: 50 rows, 1 in view>
    >>> {segment.track_id for segment in timeline.segments()}
    {1}
    >>> [line["who"] for line in timeline.person(1).between(1.0, 2.0).summary()]
    ['Person 1']
    >>> len(timeline.resample(2.0)), timeline.compare(timeline).agreed
    (4, 1.0)
    """

    rows: list[Row]
    settings: TimelineSettings
    """Its thresholds cut segments."""
    provenance: dict[str, Any]
    clock: list[Tick] | None = None
    """Number and time of every frame, where rows of some were left out; None: the rows have them all."""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        seen = sum(person.track_id is not None for person in self.persons())
        return f"<Timeline of {title_of(self.provenance)}: {len(self)} rows, {seen} in view>"

    def _repr_svg_(self) -> str:
        """The chart, which notebooks show."""
        return self._drawn("svg").decode()

    @classmethod
    def read(cls, path: Path | str) -> Timeline:
        """The timeline that a report's timeline.json holds; its numbers are rounded as they stand there.

        Raises:
            InputError: It is not one, or of another version of mien.
        """
        try:
            told = read_json(Path(path).read_text(encoding="utf-8"))
            names = [column["name"] for column in told["columns"]]
            settings = TimelineSettings(**told["provenance"]["timeline"])
            with np.errstate(over="raise"):
                rows = [_read_row(dict(zip(names, cells, strict=True))) for cells in told["rows"]]
        except OSError as error:
            raise InputError(
                f"{path} cannot be read: {error.strerror}; name a report's timeline.json"
            ) from None
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (ValueError, KeyError, TypeError, ArithmeticError):
            raise InputError(f"{path} is no timeline.json of this version of mien; analyze again") from None
        return cls(rows, settings, told["provenance"])

    def segments(self) -> list[Segment]:
        """Stretches in which one person shows one expression, by their start."""
        return list(cut_segments(self._ticking(), self.settings))

    def persons(self) -> tuple[Person, ...]:
        """Everybody in view, by `track_id`; last the voice, if it was heard while nobody was."""
        found = Persons()
        for row in self._ticking():
            found.add(row)
        return found.close()

    def person(self, track_id: int | None) -> Timeline:
        """The rows of one person alone; of None those in which nobody is in view.

        Raises:
            InputError: There is no such person.
        """
        there = {row.track_id for row in self.rows}
        if track_id not in there:
            seen = ", ".join(str(each) for each in sorted(each for each in there if each is not None))
            raise InputError(
                f"there is no person {track_id} in {title_of(self.provenance)}; seen: {seen or 'nobody'}"
            )
        rows = [row for row in self.rows if row.track_id == track_id]
        return replace(self, rows=rows, clock=self._clock())

    def between(self, start: float, end: float) -> Timeline:
        """The rows from `start` until just before `end`, seconds; their times stay.

        Raises:
            InputError: `end` lies before `start`.
        """
        if end < start:
            raise InputError(f"between {start:g} and {end:g} s there is no time; give the earlier one first")
        span = Span(start, end)
        return replace(
            self,
            rows=[row for row in self.rows if row.time in span],
            clock=[tick for tick in self._clock() if tick[1] in span],
        )

    def merge(self, track_id: int, *others: int) -> Timeline:
        """A timeline in which the rows of the others are those of the first: people who are one.

        Raises:
            InputError: Two of them are in view at once, or one is not there.
        """
        for each in (track_id, *others):
            self.person(each)
        rows, merged = [], {track_id, *others}
        for _, frame in groupby(self.rows, key=lambda row: (row.frame, row.time)):
            of_frame = [replace(row, track_id=track_id) if row.track_id in merged else row for row in frame]
            if sum(row.track_id == track_id for row in of_frame) > 1:
                raise InputError(
                    f"persons {', '.join(map(str, sorted(merged)))} are in view at once at "
                    f"{of_frame[0].time:g} s; merge those who are one"
                )
            rows += sorted(of_frame, key=lambda row: row.track_id or 0)
        return replace(self, rows=rows)

    def resample(self, hz: float) -> Timeline:
        """Rows at another rate: of each person and 1 / hz seconds, the mean of the rows that lie in it.

        A row's time is where its stretch begins; it has no frame. Its flags are those of all rows in it.

        Raises:
            InputError: The rate is not above 0.
        """
        if not 0 < hz < float("inf"):
            raise InputError(f"hz is {hz}; expected rows a second, above 0")
        rows = []
        for number, stretch in groupby(self.rows, key=lambda row: floor(row.time * hz + 1e-9)):
            of_person: dict[int | None, list[Row]] = {}
            for row in stretch:
                of_person.setdefault(row.track_id, []).append(row)
            if len(of_person) > 1:
                of_person.pop(None, None)  # somebody is in view for a part of the stretch
            rows += [
                _mean_row(number / hz, track_id, of_person[track_id])
                for track_id in sorted(of_person, key=lambda each: each or 0)
            ]
        ticks = dict.fromkeys(floor(time * hz + 1e-9) for _, time in self._clock())
        return replace(self, rows=rows, clock=[(None, number / hz) for number in ticks])

    def summary(self) -> list[dict[str, Any]]:
        """A line for each person: how long in view, each expression's share of it, how often it changes."""
        transitions, lines = Transitions(), []
        for segment in self.segments():
            transitions.add(segment)
        for person in self.persons():
            shares = {f"share_{name}": round(person.share_by_label.get(name, 0.0), 4) for name in EXPRESSIONS}
            lines.append(
                {
                    "who": who(person.track_id),
                    "first_s": person.first,
                    "last_s": person.last,
                    "seconds": person.seconds,
                    "dominant": person.dominant,
                    "transitions": transitions.counts.get(person.track_id, 0),
                    **shares,
                }
            )
        return lines

    def compare(
        self,
        other: Timeline | Path | str | Sequence[LabelSpan],
        *,
        track_id: int | None = None,
        who: str | None = None,
        words: Mapping[str, str | None] | None = None,
    ) -> Agreement:
        """How far one person here agrees with one in another timeline, or with labels that people gave.

        Args:
            other: A timeline; or a file that `mien.labels.read_labels` reads, or what it gave.
            track_id: The person here, and in another timeline; None: the only one in view.
            who: The tier or subject in the labels; None: the only one there.
            words: What else the file calls an expression.

        Raises:
            InputError: It is not clear whom to compare, or the file cannot be read.
            MetricError: There is no time in which both say something.
        """
        ours = self._labels(track_id)
        if isinstance(other, Timeline):
            return agree(ours, other._labels(track_id))
        if isinstance(other, Path | str):
            other = read_labels(other, who=None if who is None else [who], words=words)
        names = sorted({each.who for each in other})
        if who is None and len(names) > 1:
            raise InputError(f"the labels are of {', '.join(names)}; say with `who` whom to compare")
        return agree(ours, [(each.span, each.label) for each in other if who in (None, each.who)])

    def to_pandas(self) -> pd.DataFrame:
        """The table of timeline.csv as a data frame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return table_of([(title_of(self.provenance), self.rows)]).drop(columns="file")

    @staticmethod
    def table(timelines: Iterable[Timeline]) -> pd.DataFrame:
        """The rows of several files in one data frame; its first column names the file.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return table_of((title_of(each.provenance), each.rows) for each in timelines)

    def plot(self, path: Path | str) -> None:
        """Writes the chart as `.svg`, or with the extra [plot] as `.png`.

        Raises:
            InputError: The path ends in neither.
            MissingExtraError: The extra is not installed.
        """
        place = Path(path)
        if place.suffix.lower() not in (".svg", ".png"):
            raise InputError(f"{place.name} is no name for a chart; expected one that ends in .svg or .png")
        picture = self._drawn(place.suffix.lower()[1:])
        with written_whole(place) as aside:
            aside.write_bytes(picture)

    def write(self, folder: Path | str, formats: Sequence[str] = DEFAULT_FORMATS) -> tuple[Path, ...]:
        """Writes a report, as `mien analyze` does.

        Raises:
            InputError: A format is unknown, or the folder cannot be written to.
            MissingExtraError: A format needs a package that is not installed.
        """
        with Report(folder, formats=formats) as report:
            report.record(self._ticking(), self.settings)
            return report.finish(self.provenance)

    def _drawn(self, kind: str) -> bytes:
        lanes = Lanes()
        for row in self._ticking():
            lanes.add(row)
        for segment in self.segments():
            lanes.add_segment(segment)
        told = {"title": title_of(self.provenance), "caption": caption_of(self.provenance)}
        if kind == "svg":
            return svg(lanes, self.persons(), **told).encode()
        return png(lanes, self.persons(), **told)

    def _labels(self, track_id: int | None) -> list[tuple[Span, str]]:
        """What one person shows from each row until the next frame."""
        seen = sorted({row.track_id for row in self.rows if row.track_id is not None})
        if track_id is None and len(seen) > 1:
            raise InputError(
                f"persons {', '.join(map(str, seen))} are in view; say with `track_id` whom to compare"
            )
        wanted = self.person(seen[0] if track_id is None and seen else track_id)
        times = [time for _, time in self._clock()]
        step = times[-1] - times[-2] if len(times) > 1 else 0.0
        ends = dict(zip(times, [*times[1:], times[-1] + step], strict=True))
        return [(Span(row.time, ends[row.time]), row.label) for row in wanted.rows if row.label is not None]

    def _clock(self) -> list[Tick]:
        if self.clock is not None:
            return self.clock
        return list(dict.fromkeys((row.frame, row.time) for row in self.rows))

    def _ticking(self) -> Iterator[Row]:
        """The rows, and of frames that have none here an empty one: a row lasts until the next frame."""
        frames = groupby(self.rows, key=lambda row: (row.frame, row.time))
        following = next(frames, None)
        for tick in self._clock():
            if following is not None and following[0] == tick:
                yield from following[1]
                following = next(frames, None)
            else:
                yield _empty_row(*tick)


_KINDS: dict[str, Any] = {
    "frame": int | None,
    "time_s": float,
    "track_id": int | None,
    "confidence": float | None,
    "label": Literal[None, *EXPRESSIONS],
    "source": Literal["face", "voice", "both", "none"],
}
"""What a row's cells are, its probabilities, box and flags apart."""


def _read_row(cells: dict[str, Any]) -> Row:
    def eight(kind: str) -> Float32[np.ndarray, "8"] | None:
        probs = [cells[f"{kind}_{name}"] for name in EXPRESSIONS]
        return None if None in probs else np.array(probs, np.float32)

    if not all(fits(cells[name], kind) for name, kind in _KINDS.items()):
        raise ValueError("a cell of another type")
    box = [cells[name] for name in ("x1", "y1", "x2", "y2")]
    return Row(
        frame=cells["frame"],
        time=float(cells["time_s"]),
        track_id=cells["track_id"],
        box=None if None in box else np.array(box, np.float32),
        confidence=cells["confidence"],
        probs=eight("p"),
        face_probs=eight("face"),
        voice_probs=eight("voice"),
        label=cells["label"],
        source=cells["source"],
        flags=frozenset(flag for flag in FLAGS if cells[flag]),
    )


def _empty_row(frame: int | None, time: float) -> Row:
    return Row(
        frame=frame,
        time=time,
        track_id=None,
        box=None,
        confidence=None,
        probs=None,
        face_probs=None,
        voice_probs=None,
        label=None,
        source="none",
        flags=frozenset({"no_face"}),
    )


def _mean_row(time: float, track_id: int | None, rows: Sequence[Row]) -> Row:
    def mean(arrays: Collection[Float32[np.ndarray, "_"] | None]) -> Float32[np.ndarray, "_"] | None:
        there = [each for each in arrays if each is not None]
        return np.stack(there).mean(axis=0, dtype=np.float64).astype(np.float32) if there else None

    probs = mean([row.probs for row in rows])
    confidences = [row.confidence for row in rows if row.confidence is not None]
    sources = {row.source for row in rows if row.probs is not None}
    return Row(
        frame=None,
        time=time,
        track_id=track_id,
        box=mean([row.box for row in rows]),
        confidence=float(np.mean(confidences)) if confidences else None,
        probs=probs,
        face_probs=mean([row.face_probs for row in rows]),
        voice_probs=mean([row.voice_probs for row in rows]),
        label=None if probs is None else EXPRESSIONS[int(probs.argmax())],
        source="none" if not sources else sources.pop() if len(sources) == 1 else "both",
        flags=frozenset.intersection(*(row.flags for row in rows)),
    )
