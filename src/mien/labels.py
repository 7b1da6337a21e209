"""Files in which people said who shows what, in; stretches with the names of expressions out.

Read are ELAN's documents, Praat's TextGrids, BORIS' exports of events, and tables with a line for each
stretch: `start`, `end`, `label`, and if there are several people `who`; mien's own segments.csv is one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree as ET

from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.segments import who as name_of
from mien.spans import Span

WORDS: Mapping[str, str] = MappingProxyType(
    {name.lower(): name for name in EXPRESSIONS}
    | dict.fromkeys(("happy", "joy"), "Happiness")
    | dict.fromkeys(("sad",), "Sadness")
    | dict.fromkeys(("angry",), "Anger")
    | dict.fromkeys(("afraid", "fearful", "scared"), "Fear")
    | dict.fromkeys(("disgusted",), "Disgust")
    | dict.fromkeys(("surprised",), "Surprise")
)
"""What people call an expression, in small letters."""

MOST_DIGITS = 15
"""Of a whole number."""

SEPARATORS = (",", ";", "\t")

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "start": ("start", "start_s", "start (s)"),
        "end": ("end", "end_s", "stop (s)"),
        "label": ("label", "behavior"),
        "who": ("who", "person", "subject"),
        "track": ("track_id",),
        "time": ("time",),
        "kind": ("behavior type", "status"),
    }
)
"""Names of columns in small letters, mien's and BORIS', by what they hold."""

INTERVAL = re.compile(
    r'xmin\s*=\s*(?P<start>[-\d.eE+]+)\s*xmax\s*=\s*(?P<end>[-\d.eE+]+)\s*text\s*=\s*"(?P<text>(?:[^"]|"")*)"'
)
TIER = re.compile(r'class\s*=\s*"(?P<kind>\w+)"\s*name\s*=\s*"(?P<name>(?:[^"]|"")*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSpan:
    """A stretch in which a person was said to show one expression."""

    span: Span
    who: str
    """Tier, subject or cell of the file; empty where it names nobody."""
    label: str
    """One of `EXPRESSIONS`."""


def read_labels(
    path: Path | str, *, who: Collection[str] | None = None, words: Mapping[str, str | None] | None = None
) -> list[LabelSpan]:
    """The stretches of a file, by their start.

    Args:
        path: `.eaf` (ELAN), `.TextGrid` (Praat), or a table (`.csv`, `.tsv`, `.txt`).
        who: Tiers or subjects that are read; None: all.
        words: What else the file calls an expression; None leaves a word out.

    Raises:
        InputError: The file cannot be read, or uses a word that is no expression.
    """
    place = Path(path)
    own = {word.lower(): name for word, name in (words or {}).items()}
    if strange := sorted({str(name) for name in own.values() if name is not None} - {*EXPRESSIONS}):
        raise InputError(f"{strange[0]!r} is not an expression; expected one of {', '.join(EXPRESSIONS)}")
    known: dict[str, str | None] = {**WORDS, **own}
    found, unknown, names = [], set(), set()
    for label, name, start, end in _stretches(place):
        names.add(name)
        if who is not None and name not in who:
            continue
        word = label.strip().lower()
        if word not in known:
            unknown.add(label.strip())
        elif (expression := known[word]) is not None and end > start:
            found.append(LabelSpan(span=Span(start, end), who=name, label=expression))
    if who is not None and (lacking := sorted(set(who) - names)):
        raise InputError(f"{place.name} has nobody called {lacking[0]!r}; it has {', '.join(sorted(names))}")
    if unknown:
        raise InputError(
            f"{place.name} uses {', '.join(map(repr, sorted(unknown)[:5]))}, no name of an expression; say "
            "with `words` what it means, None to leave it out, or with `who` which tiers to read"
        )
    return sorted(found, key=lambda each: (each.span.start, each.who))


def read_words(texts: Collection[str]) -> dict[str, str | None]:
    """Words and what they mean, from `word=Expression`; with nothing after the sign a word is left out.

    Raises:
        InputError: One is not of that form.

    >>> read_words(["smile=Happiness", "blank="])
    {'smile': 'Happiness', 'blank': None}
    """
    if wrong := [text for text in texts if "=" not in text]:
        raise InputError(f"--word {wrong[0]!r} has no '='; expected word=Expression, such as smile=Happiness")
    return {word: name or None for word, _, name in (text.partition("=") for text in texts)}


def _stretches(path: Path) -> Iterator[tuple[str, str, float, float]]:
    """Word, name, start and end of each stretch."""
    if path.suffix.lower() == ".eaf":
        return _elan(path)
    text = _text(path)
    if path.suffix.lower() == ".textgrid":
        return _praat(text, path.name)
    return _table(text, path.name)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; name a file of labels") from None
    for encoding in ("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "latin-1"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("every byte is a letter in latin-1")


def _elan(path: Path) -> Iterator[tuple[str, str, float, float]]:
    try:
        root = ET.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; name an ELAN document") from None
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two of its encoding
        raise InputError(f"{path.name} is no whole ELAN document ({error}); save it again in ELAN") from None
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE", "") for slot in root.iter("TIME_SLOT")}
    for tier in root.iter("TIER"):
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            begin, end = (slots.get(annotation.get(f"TIME_SLOT_REF{end}"), "") for end in (1, 2))
            label, name = annotation.findtext("ANNOTATION_VALUE") or "", tier.get("TIER_ID", "")
            if not all(time.isdecimal() and len(time) <= MOST_DIGITS for time in (begin, end)):
                raise InputError(
                    f"{path.name}: {label!r} in tier {name!r} is not aligned to time; align it in ELAN, or "
                    "read other tiers"
                )
            if label.strip():
                yield label, name, int(begin) / 1000, int(end) / 1000


def _praat(text: str, name: str) -> Iterator[tuple[str, str, float, float]]:
    tiers = list(TIER.finditer(text))
    if not tiers:
        raise InputError(f"{name} is no TextGrid in Praat's long form; save it as a text file in Praat")
    for tier, following in zip(tiers, [*tiers[1:], None], strict=True):
        if tier["kind"] == "IntervalTier":
            for each in INTERVAL.finditer(text, tier.end(), following.start() if following else len(text)):
                if each["text"].strip():
                    yield (
                        each["text"].replace('""', '"'),
                        tier["name"].replace('""', '"'),
                        _seconds(each["start"], name),
                        _seconds(each["end"], name),
                    )


def _table(text: str, name: str) -> Iterator[tuple[str, str, float, float]]:
    """BORIS writes lines about the observation above the names of the columns."""
    for separator in SEPARATORS:
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
        except csv.Error as error:
            raise InputError(f"{name} cannot be read as a table ({error}); give a CSV file") from None
        for number, line in enumerate(lines):
            places = _places(line)
            spans = {"start", "end"} <= places.keys()
            if "label" in places and (spans or {"time", "kind"} <= places.keys()):
                rows = [
                    (f"{name} line {number + 2 + row}", {key: cells[at] for key, at in places.items()})
                    for row, cells in enumerate(lines[number + 1 :])
                    if len(cells) > max(places.values())
                ]
                return _spans(rows) if spans else _events(rows)
    raise InputError(
        f"{name} has no line with the columns start, end and label (and who), nor those of a BORIS export; "
        "give one of these, an ELAN document or a TextGrid"
    )


def _places(line: list[str]) -> dict[str, int]:
    """Where each of `COLUMNS` stands in a line of names."""
    names = [cell.strip().lower() for cell in line]
    return {
        key: names.index(name) for key, options in COLUMNS.items() for name in options[::-1] if name in names
    }


def _spans(rows: list[tuple[str, dict[str, str]]]) -> Iterator[tuple[str, str, float, float]]:
    for where, cells in rows:
        if cells["label"].strip():
            track = cells.get("track")
            yield (
                cells["label"],
                cells.get("who", "") if track is None else name_of(_track(track, where)),
                _seconds(cells["start"], where),
                _seconds(cells["end"], where),
            )


def _events(rows: list[tuple[str, dict[str, str]]]) -> Iterator[tuple[str, str, float, float]]:
    """Of each person and behaviour, a START and the STOP that follows it; a POINT lasts no time."""
    begun: dict[tuple[str, str], tuple[float, str]] = {}
    for where, cells in rows:
        key = cells["label"], cells.get("who", "")
        kind, time = cells["kind"].strip().upper(), _seconds(cells["time"], where)
        if kind == "START":
            begun[key] = time, where
        elif kind == "STOP":
            if key not in begun:
                raise InputError(f"{where}: {key[0]!r} stops and never started; mend it in BORIS")
            yield *key, begun.pop(key)[0], time
    for (label, _), (time, where) in begun.items():
        raise InputError(f"{where}: {label!r} starts at {time:g} s and never stops; mend it in BORIS")


def _track(cell: str, where: str) -> int | None:
    if cell.strip() and not (cell.strip().isdecimal() and len(cell) <= MOST_DIGITS):
        raise InputError(
            f"{where}: {cell[:40]!r} is no track_id; expected a whole number, or nothing for the voice"
        )
    return int(cell) if cell.strip() else None


def _seconds(cell: str, where: str) -> float:
    try:
        time = float(cell.strip().replace(",", "."))
    except ValueError:
        time = -1.0
    if not 0 <= time < float("inf"):
        raise InputError(f"{where}: {cell[:40]!r} is no time; expected seconds, 0 or more")
    return time
