"""Rows, segments and a few pictures in, one HTML file out that opens without a network.

The file holds everything: the code that draws the chart, its data, small pictures, and the film itself if
that is asked for. What comes from outside, such as the name of the file, is escaped.
"""

from __future__ import annotations

import json
import mimetypes
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.chart import COLOURS, Drawn, clock, layout
from mien.errors import InputError
from mien.expressions import QUADRANTS
from mien.lanes import Lanes
from mien.media import read_glimpses
from mien.panels import embed
from mien.segments import Transitions, who
from mien.upright import thumbnail

if TYPE_CHECKING:
    from jaxtyping import Float32, UInt8

    from mien.lanes import Person
    from mien.timeline import Row, Segment
    from mien.whole import Original

SHOWN_PERSONS = 12
"""Persons that get a lane: those longest in view."""

SHOWN_COLUMNS = 12_288
"""Columns of all lanes together; about 90 bytes of the file each."""

LISTED_SEGMENTS = 2000
"""Segments in the table."""

STILLS_PER_PERSON, MOST_STILLS = 6, 12
"""Pictures in the filmstrip."""

PICTURE_PX = 180
"""Height of a picture of the filmstrip."""

QUADRANT_WORDS = (
    "pleasant and aroused",
    "unpleasant and aroused",
    "unpleasant and calm",
    "pleasant and calm",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """A frame of the filmstrip."""

    time: float
    track_id: int
    label: str
    probability: float
    box: Float32[np.ndarray, "4"]


class Content:
    """What a report shows, collected row by row at bounded memory."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.segments: list[Segment] = []
        self.n_segments = 0
        """Of all, of which `segments` are the first."""
        self.transitions = Transitions()
        self.stills: list[tuple[Still, UInt8[np.ndarray, "height width 3"]]] = []
        self.film: tuple[str, bytes] | None = None
        """Kind, such as video/mp4, and content of the file itself."""
        self._best: dict[tuple[int, str], Still] = {}

    def add(self, row: Row) -> None:
        """Takes the next row; rows come in the order of their frames."""
        self.lanes.add(row)
        if row.track_id is None or row.label is None or row.box is None or row.probs is None:
            return
        probability = float(row.probs.max())
        known = self._best.get((row.track_id, row.label))
        if "interpolated" not in row.flags and (known is None or probability > known.probability):
            self._best[row.track_id, row.label] = Still(
                time=row.time, track_id=row.track_id, label=row.label, probability=probability, box=row.box
            )

    def add_segment(self, segment: Segment) -> None:
        """Takes the next segment."""
        self.lanes.add_segment(segment)
        self.n_segments += 1
        if len(self.segments) < LISTED_SEGMENTS:
            self.segments.append(segment)
        self.transitions.add(segment)

    def illustrate(self, original: Original | None, persons: Sequence[Person]) -> None:
        """Reads the most telling frames, and the film if it is asked for."""
        if original is None:
            return
        if original.film:
            kind = mimetypes.guess_type(original.path.name)[0] or "video/mp4"
            self.film = kind, original.path.read_bytes()
        if not original.pictures or original.blur:
            return
        ranked = sorted(persons, key=lambda person: -person.seconds)
        wanted = [
            still
            for person in ranked
            if person.track_id is not None
            for still in sorted(
                (each for each in self._best.values() if each.track_id == person.track_id),
                key=lambda each: -each.probability,
            )[:STILLS_PER_PERSON]
        ][:MOST_STILLS]
        times = sorted({still.time for still in wanted})
        with suppress(InputError):  # rows were read of it: who changed or took it meanwhile gets no pictures
            for time, image in read_glimpses(original.path, times):
                self.stills += [(still, image) for still in wanted if still.time == time]


def render(content: Content, persons: Sequence[Person], provenance: Mapping[str, Any], title: str) -> str:
    """The report as one HTML document.

    Args:
        content: Of all rows and segments.
        persons: Everybody in the file.
        provenance: What the rows come from.
        title: Shown as it is, whatever characters it holds.
    """
    _, lanes, edges = layout(content.lanes, persons, n_persons=SHOWN_PERSONS, n_columns=SHOWN_COLUMNS)
    plot = embed(lanes, edges, is_still=content.lanes.is_still)
    parts = {
        "title": escape(title),
        "origin": escape(_origin(provenance)),
        "sentence": escape(_sentence(persons)),
        "plot_code": plot.code,
        "plot": plot.place,
        "plot_data": plot.data,
        "ids": json.dumps(plot.ids),
        "hint": " Click it to go to that moment of the film." if content.film else "",
        "has_video": " has-video" if content.film else "",
        "video": _film(content.film),
        "left_out": _left_out(persons, lanes),
        "film": _filmstrip(content.stills),
        "summary": _summary(persons, content.transitions.counts),
        "segments": _segments(content),
        "provenance": escape(json.dumps(dict(provenance), indent=1, ensure_ascii=False)),
    }
    page = files("mien").joinpath("pages", "report.html").read_text(encoding="utf-8")
    return Template(page).substitute(parts)


def _origin(told: Mapping[str, Any]) -> str:
    size = f", {told['width_px']} × {told['height_px']}" if told.get("has_video") else ""
    length = f"{clock(told['duration_s'])} long{size} · " if told.get("duration_s") else ""
    return f"{length}mien {told['mien']}, model {told['model']}"


def _sentence(persons: Sequence[Person]) -> str:
    """What there is to see, in a line."""
    seen = [person for person in persons if person.track_id is not None]
    if not seen:
        heard = any(person.track_id is None and person.dominant for person in persons)
        return "Nobody is seen; a voice is heard." if heard else "Nobody is seen, and no speech is heard."
    longest = max(seen, key=lambda person: person.seconds)
    people = "One person is" if len(seen) == 1 else f"{len(seen)} persons are"
    if not longest.seconds:
        told = ", ".join(f"{who(person.track_id)} {person.dominant or 'nothing'}" for person in seen)
        return f"{people} seen, and shown: {told}."
    shows = "nothing that can be read"
    if longest.dominant:
        shows = f"mostly {longest.dominant} ({longest.share_by_label[longest.dominant]:.0%} of the time)"
    view = f"longest in view ({longest.seconds:.1f} s)"
    return f"{people} seen. {who(longest.track_id)}, {view}, shows {shows}."


def _left_out(persons: Sequence[Person], lanes: Sequence[Drawn]) -> str:
    n_left = sum(person.track_id is not None for person in persons) - sum(
        lane.name.startswith("Person") for lane in lanes
    )
    return f"{n_left} more persons, in view for less time, are in the summary alone." if n_left > 0 else ""


def _film(film: tuple[str, bytes] | None) -> str:
    if film is None:
        return ""
    kind, content = film
    data = b64encode(content).decode()
    return f'<video id="film" controls preload="metadata" src="data:{kind};base64,{data}"></video>'


def _filmstrip(stills: Sequence[tuple[Still, UInt8[np.ndarray, "height width 3"]]]) -> str:
    if not stills:
        return ""
    shown = []
    for still, image in stills:
        words = f"{who(still.track_id)}, {still.label} {still.probability:.2f}, at {clock(still.time)}"
        picture = b64encode(thumbnail(image, still.box, PICTURE_PX)).decode()
        shown.append(
            f'<li><button data-time="{still.time:.3f}">'
            f'<img alt="{words}" src="data:image/jpeg;base64,{picture}">{words}</button></li>'
        )
    return (
        "<section><h2>Telling moments</h2>"
        '<p class="faint">Where each person shows an expression most surely.</p>'
        f'<ul class="film">{"".join(shown)}</ul></section>'
    )


def _summary(persons: Sequence[Person], transitions: Mapping[int | None, int]) -> str:
    lines = []
    for person in persons:
        shares = person.share_by_label
        bar = "".join(
            f'<span style="width:{100 * share:.2f}%;background:{COLOURS[name]}"></span>'
            for name, share in shares.items()
        )
        listed = ", ".join(
            f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda each: -each[1])
        )
        lines.append(
            f"<tr><th scope=row>{who(person.track_id)}</th><td class=number>{person.seconds:.1f}</td>"
            f'<td><div class="bar" aria-hidden="true">{bar}</div>{listed or "—"}</td>'
            f"<td class=number>{transitions.get(person.track_id, 0)}</td><td>{_quadrants(shares)}</td></tr>"
        )
    if not lines:
        return "<p>Nobody.</p>"
    return (
        "<div class=scroll><table><thead><tr><th scope=col>Who</th><th scope=col class=number>Seconds</th>"
        "<th scope=col>Share of the time that is labelled</th><th scope=col class=number>Changes</th>"
        "<th scope=col>Side of Russell's circle</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        '<p class="faint">Seconds: in view, or for the voice, heard while nobody is. Changes: from one '
        "segment's expression to another. Neutral counts as pleasant and calm, Other on no side.</p>"
    )


def _quadrants(shares: Mapping[str, float]) -> str:
    totals = [0.0] * 4
    for name, share in shares.items():
        if QUADRANTS[name]:
            totals[QUADRANTS[name] - 1] += share
    found = sorted(zip(totals, QUADRANT_WORDS, strict=True), reverse=True)
    return "<br>".join(f"{words} {share:.0%}" for share, words in found if share >= 0.005) or "—"


def _segments(content: Content) -> str:
    if not content.segments:
        return "<p>None.</p>"
    lines = "".join(
        f"<tr><td>{who(each.track_id)}</td><td>{each.label}</td><td class=number>{each.span.start:.2f}</td>"
        f"<td class=number>{each.span.end:.2f}</td><td class=number>{each.probability:.2f}</td></tr>"
        for each in content.segments
    )
    rest = content.n_segments - len(content.segments)
    more = f'<p class="faint">{rest} more are in segments.csv.</p>' if rest else ""
    return (
        "<div class=scroll><table><thead><tr><th scope=col>Who</th><th scope=col>Expression</th>"
        "<th scope=col class=number>From, s</th><th scope=col class=number>To, s</th>"
        f"<th scope=col class=number>Probability</th></tr></thead><tbody>{lines}</tbody></table></div>{more}"
    )
