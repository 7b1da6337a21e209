"""Lanes of time bins in, one picture out: who shows which expression when, as an SVG of a bounded size.

One lane per person and one for the voice; in each, probabilities stacked to 1 and below them the segments'
labels. The colours are told apart with the common colour blindnesses; the labels are there without colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

import numpy as np

from mien.expressions import EXPRESSIONS
from mien.segments import who

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Bool, Float

    from mien.lanes import Columns, Lanes, Person

COLOURS = {
    "Neutral": "#a6a6a6",
    "Anger": "#d55e00",
    "Disgust": "#009e73",
    "Fear": "#a34f8c",
    "Happiness": "#f0e442",
    "Sadness": "#005a9c",
    "Surprise": "#56b4e9",
    "Other": "#e6e6e6",
}
"""Okabe and Ito's palette, with purple and blue made darker and two greys, so that all eight stay apart."""

LIGHT_INK = {"Fear", "Sadness"}
"""Expressions on whose colour letters are white."""

DRAWN_PERSONS = 8
"""Persons that get a lane of their own: those longest in view."""

MAX_COLUMNS = 2400
"""Columns of all lanes together; bounds the size of the picture."""

WIDTH, LEFT, RIGHT = 1200, 152, 28
PLOT = WIDTH - LEFT - RIGHT
AREA, STRIP, GAP = 60, 18, 22
"""Heights of a lane's stacked probabilities, of its strip of labels, and between two lanes, px."""

TOP, BOTTOM = 100, 62
"""Space for title and legend above the first lane, for axis and caption below the last, px."""

STRIPE = 5
"""Side of the pattern of uncertain stretches, px; narrower ones would look like a flaw and are not drawn."""

CHARACTER = 6.4
"""Room for a character of a label at 11 px, px."""

TICKS = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
)
"""Steps between ticks, seconds."""

TEMPLATE = """<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" role="img"
width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<title>{title}</title>
<desc>{description}</desc>
<style>
text {{ font-family: Helvetica, Arial, "DejaVu Sans", sans-serif; font-size: 11px; fill: #333; }}
.title {{ font-size: 19px; font-weight: bold; fill: #111; }}
.name {{ font-size: 13px; font-weight: bold; fill: #111; }}
.faint {{ fill: #666; }}
.light {{ fill: #fff; }}
.dark {{ fill: #111; }}
.middle {{ text-anchor: middle; }}
.end {{ text-anchor: end; }}
</style>
<defs>
<pattern id="nobody" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="6" height="6" fill="#fff"/><rect width="1.2" height="6" fill="#999"/></pattern>
<pattern id="uncertain" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">
<rect width="5" height="5" fill="#fff" fill-opacity=".45"/>
<rect width="1.5" height="5" fill="#fff" fill-opacity=".5"/></pattern>
</defs>
<rect width="{width}" height="{height}" fill="#fff"/>
<text class="title" x="24" y="36">{title}</text>
{body}
<text class="faint" x="24" y="{caption_y}">{caption}</text>
</svg>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A lane on its way into the picture."""

    name: str
    notes: tuple[str, str]
    columns: Columns
    uncertain: Bool[np.ndarray, "columns"]
    """Columns marked as uncertain: of the columns' own, stretches of at least `STRIPE` px."""
    hatched: Bool[np.ndarray, "columns"]
    """Columns in which nobody is in view."""


def svg(lanes: Lanes, persons: Sequence[Person], *, title: str, caption: str) -> str:
    """The picture as one SVG document.

    Args:
        lanes: What is drawn.
        persons: Everybody in the file, with or without a lane.
        title: Shown as it is, whatever characters it holds; shortened in the middle where too long.
        caption: One line at the bottom, such as the model and its version.
    """
    shown, drawn, edges = layout(lanes, persons)
    x = LEFT + PLOT * edges / edges[-1]
    bottom = TOP + len(drawn) * (AREA + STRIP + GAP) - GAP
    body = [*_legend(drawn), *_axis(0.0 if lanes.is_still else float(edges[-1]), bottom)]
    for i, lane in enumerate(drawn):
        body += _lane(lane, x, TOP + i * (AREA + STRIP + GAP))
    height = bottom + BOTTOM
    told = [f"{lane.name}: {', '.join(filter(None, lane.notes))}." for lane in drawn]
    if rest := rest_of(persons, shown):
        told.append(f"{rest[0].upper()}{rest[1:]}.")
        body.append(f'<text x="{LEFT}" y="{bottom + 42}">{rest}</text>')
        height += 16
    return TEMPLATE.format(
        width=WIDTH,
        height=height,
        title=escape(visible(title, 90)),
        description=" ".join(("Who shows which expression when.", *told)),
        body="\n".join(body),
        caption=escape(visible(caption, 180)),
        caption_y=height - 14,
    )


def clock(time: float) -> str:
    """A time as people write it, to the second.

    >>> clock(75.0), clock(3725.0)
    ('1:15', '1:02:05')
    """
    minutes, seconds = divmod(round(time), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def layout(
    lanes: Lanes, persons: Sequence[Person], *, n_persons: int = DRAWN_PERSONS, n_columns: int = MAX_COLUMNS
) -> tuple[list[Person], list[Drawn], Float[np.ndarray, "edges"]]:
    """The persons drawn, the lanes from top to bottom, and the times between their columns.

    Args:
        lanes: What is drawn.
        persons: Everybody in the file.
        n_persons: At most so many get a lane: those longest in view.
        n_columns: At most so many columns have all lanes together.
    """
    shown = _most_present(lanes, persons, n_persons)
    n_lanes = max(1, len(shown) + lanes.has_sound)
    group = -(-n_lanes * lanes.n_bins // n_columns)
    return shown, list(_lanes(lanes, shown, group)), lanes.edges(group)


def _most_present(lanes: Lanes, persons: Sequence[Person], n_persons: int) -> list[Person]:
    """The persons to draw, by `track_id`."""
    ranked = sorted(
        (each for each in persons if each.track_id in lanes.tracks), key=lambda each: -each.frames
    )
    return sorted(ranked[:n_persons], key=lambda each: each.track_id or 0)


def _lanes(lanes: Lanes, shown: Sequence[Person], group: int) -> Iterator[Drawn]:
    nobody = lanes.nobody(group)
    for person in shown:
        assert person.track_id is not None
        columns = lanes.columns(lanes.tracks[person.track_id], group)
        yield Drawn(
            name=who(person.track_id),
            notes=_notes(person),
            columns=columns,
            uncertain=_wide(columns.uncertain, lanes.edges(group)),
            hatched=nobody,
        )
    voice = lanes.columns(lanes.voice, group)
    never = np.zeros_like(voice.present)
    if lanes.has_picture and not shown:
        notes = ("no face is seen", "")
        empty = type(voice)(
            present=never, uncertain=never, probs=0 * voice.probs, labels=(None,) * len(voice.labels)
        )
        yield Drawn(name="Face", notes=notes, columns=empty, uncertain=never, hatched=nobody)
    if lanes.has_sound or not lanes.has_picture:
        heard = np.diff(lanes.edges(group))[voice.present].sum()
        absent_note = "no speech" if lanes.has_sound else "no sound"
        note = f"speech {_duration(float(heard))}" if heard else absent_note
        yield Drawn(name=who(None), notes=(note, ""), columns=voice, uncertain=never, hatched=never)


def _wide(
    where: Bool[np.ndarray, "columns"], edges: Float[np.ndarray, "edges"]
) -> Bool[np.ndarray, "columns"]:
    wide = where.copy()
    for start, stop in runs(where):
        wide[start:stop] = PLOT * (edges[stop] - edges[start]) >= STRIPE * edges[-1]
    return wide


def _lane(lane: Drawn, x: Float[np.ndarray, "edges"], top: int) -> Iterator[str]:
    columns = lane.columns
    yield f'<text class="name" x="24" y="{top + 20}">{lane.name}</text>'
    for i, note in enumerate(lane.notes):
        yield f'<text class="faint" x="24" y="{top + 36 + 15 * i}">{note}</text>'
    yield f'<rect x="{LEFT}" y="{top}" width="{PLOT}" height="{AREA}" fill="#f5f5f3"/>'
    yield _blocks(lane.hatched, x, top, AREA, 'fill="url(#nobody)"')
    for start, stop in runs(columns.present):
        yield from _stack(columns.probs[start:stop], x[start : stop + 1], top)
    yield _blocks(lane.uncertain, x, top, AREA, 'fill="url(#uncertain)"')
    if len(columns.present) == 1:
        yield from _names(columns.probs[0], lane.uncertain[0], top)
    else:
        half = top + AREA / 2
        yield f'<path d="M{LEFT} {half:g}h{PLOT}" stroke="#000" stroke-opacity=".25" stroke-dasharray="2 4"/>'
        for share in ("1", "0.5", "0"):
            y = top + AREA * (1 - float(share)) + 4
            yield f'<text class="faint end" x="{LEFT - 6}" y="{y:g}">{share}</text>'
    yield f'<rect x="{LEFT}" y="{top}" width="{PLOT}" height="{AREA}" fill="none" stroke="#bbb"/>'
    yield from _strip(columns.labels, x, top + AREA + 2)


def _stack(probs: Float[np.ndarray, "columns 8"], x: Float[np.ndarray, "edges"], top: int) -> Iterator[str]:
    """Stacked areas over a stretch without holes, from the last expression down to the first.

    Each area reaches down to the floor and the next one covers its lower part. Coordinates are whole
    tenths of a pixel, relative to the point before, which keeps the picture small.
    """
    heights = np.cumsum(probs, axis=1)
    heights /= heights[:, -1:]
    ys = np.rint(10 * (top + AREA * (1 - heights))).astype(int)
    xs = np.rint(10 * np.concatenate(([x[0]], (x[:-1] + x[1:]) / 2, [x[-1]]))).astype(int)
    floor = 10 * (top + AREA)
    yield '<g transform="scale(.1)" stroke="#fff" stroke-width="5" stroke-linejoin="round">'
    for layer in reversed(range(len(EXPRESSIONS))):
        if probs[:, layer].max() < 0.003:
            continue
        line = np.concatenate((ys[:1, layer], ys[:, layer], ys[-1:, layer]))
        steps = "".join(
            f"l{dx} {dy}" if dy else f"h{dx}" for dx, dy in zip(np.diff(xs), np.diff(line), strict=True)
        )
        yield f'<path fill="{COLOURS[EXPRESSIONS[layer]]}" d="M{xs[0]} {floor}V{line[0]}{steps}V{floor}z"/>'
    yield "</g>"


def labelled(labels: Sequence[str | None]) -> Iterator[tuple[str, Bool[np.ndarray, "columns"]]]:
    """Each expression, and the columns that wear its label."""
    names = np.array([label or "" for label in labels])
    for label in EXPRESSIONS:
        yield label, names == label


def _names(probs: Float[np.ndarray, "8"], uncertain: np.bool, top: int) -> Iterator[str]:
    """What the layers are, where a single frame makes them as wide as the lane."""
    middles = top + AREA * (1 - np.cumsum(probs) + probs / 2)
    for name, prob, middle in zip(EXPRESSIONS, probs, middles, strict=True):
        if AREA * prob >= 12:
            ink = "light" if name in LIGHT_INK and not uncertain else "dark"
            at = f'x="{LEFT + PLOT / 2:g}" y="{middle + 4:.1f}"'
            yield f'<text class="middle {ink}" {at}>{name} {prob:.2f}</text>'


def _strip(labels: Sequence[str | None], x: Float[np.ndarray, "edges"], top: int) -> Iterator[str]:
    """Labelled stretches as coloured blocks; with as much of the name as there is room for."""
    for label, where in labelled(labels):
        yield _blocks(where, x, top, STRIP, f'fill="{COLOURS[label]}" stroke="#fff" stroke-width=".6"')
    for start, stop, text, ink in texts(labels, x):
        middle = (x[start] + x[stop]) / 2
        yield f'<text class="middle {ink}" x="{middle:.1f}" y="{top + 13}">{text}</text>'


def texts(labels: Sequence[str | None], x: Float[np.ndarray, "edges"]) -> Iterator[tuple[int, int, str, str]]:
    """Columns [start, stop) of a label, what of its name has room in them, and the ink: dark or light."""
    column = 0
    for name, same in groupby(labels):
        start, column = column, column + len(list(same))
        room = (x[column] - x[start]) / CHARACTER
        text = "" if name is None else next((name[:n] for n in (len(name), 3, 2) if n + 1 <= room), "")
        if text:
            yield start, column, text, "light" if name in LIGHT_INK else "dark"


def _blocks(
    where: Bool[np.ndarray, "columns"], x: Float[np.ndarray, "edges"], top: int, height: int, style: str
) -> str:
    d = "".join(
        f"M{x[start]:.1f} {top}h{x[stop] - x[start]:.1f}v{height}H{x[start]:.1f}z"
        for start, stop in runs(where)
    )
    return f'<path {style} d="{d}"/>' if d else ""


def runs(where: Bool[np.ndarray, "columns"]) -> Iterator[tuple[int, int]]:
    """Stretches [start, stop) of columns that are true."""
    turns = np.flatnonzero(np.diff(np.concatenate(([False], where, [False])).astype(np.int8)))
    return zip(turns[0::2].tolist(), turns[1::2].tolist(), strict=True)


def _legend(drawn: Sequence[Drawn]) -> Iterator[str]:
    x = 24.0
    entries = [(name, f'fill="{COLOURS[name]}"') for name in EXPRESSIONS]
    if any(lane.uncertain.any() for lane in drawn):
        entries.append(("uncertain", 'fill="url(#uncertain)"'))
    if any(lane.hatched.any() for lane in drawn):
        entries.append(("nobody in view", 'fill="url(#nobody)"'))
    for name, style in entries:
        if name == "uncertain":
            yield f'<rect x="{x:g}" y="58" width="16" height="12" fill="#555"/>'
        yield f'<rect x="{x:g}" y="58" width="16" height="12" stroke="#999" stroke-width=".6" {style}/>'
        yield f'<text x="{x + 22:g}" y="68">{name}</text>'
        x += 44 + CHARACTER * len(name)


def _axis(end: float, bottom: int) -> Iterator[str]:
    if not end:
        return
    step = next((step for step in TICKS if end / step <= 11), TICKS[-1])
    while end / step > 11:
        step *= 2
    for i in range(int(end / step + 1e-6) + 1):
        x = LEFT + PLOT * i * step / end
        yield f'<path d="M{x:.1f} {TOP}V{bottom + 5}" stroke="#ddd"/>'
        yield f'<text class="middle" x="{x:.1f}" y="{bottom + 19}">{tick(float(i * step), end)}</text>'


def tick(time: float, end: float) -> str:
    """The text at a tick of an axis that ends at `end`."""
    return f"{time:g} s" if end < 60 else clock(time)


def rest_of(persons: Sequence[Person], shown: Sequence[Person]) -> str:
    """A line on the persons that got no lane; empty where there are none."""
    drawn = {person.track_id for person in shown}
    rest = [person for person in persons if person.track_id is not None and person.track_id not in drawn]
    seconds = _duration(sum((person.seconds for person in rest), 0.0))
    return f"and {len(rest)} more, seen for {seconds} in all" if rest else ""


def _notes(person: Person) -> tuple[str, str]:
    label = person.dominant or ""
    if person.frames == 1:
        return "one frame", label
    share = f"{100 * person.share_by_label[label]:.0f} % " if label else ""
    return f"in view {_duration(person.seconds)}", share + label


def _duration(seconds: float) -> str:
    return f"{round(seconds, 1):g} s" if seconds < 60 else clock(seconds)


def visible(text: str, room: int) -> str:
    """Text of at most `room` characters; the middle gives way, and what cannot be shown becomes U+FFFD."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    room = room * len(shown) // max(1, sum(2 if east_asian_width(each) in "WF" else 1 for each in shown))
    return shown if len(shown) <= room else f"{shown[: room // 2]}…{shown[len(shown) - room // 2 :]}"
