"""Rows and segments in, files that other programs read out: ELAN, Praat, subtitles, OpenFace, Aff-Wild2.

Each kind of text is one function, or one small class where rows pass through, and has a writer of its own. A
person's stretches form one tier, which is called by `who`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from mien.expressions import EXPRESSIONS, position
from mien.segments import who
from mien.writing import Quiet, title_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.lanes import Person
    from mien.timeline import Row, Segment
    from mien.whole import Asides

OPENFACE_COLUMNS = (
    *("frame", "face_id", "timestamp", "confidence", "success"),
    *(f"p_{name}" for name in EXPRESSIONS),
)
"""OpenFace's names, as its `FeatureExtraction` writes them, and behind them the fused probabilities."""

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML file may hold, not even escaped."""


def clock(time: float, mark: str) -> str:
    """Hours, minutes, seconds and thousandths, as subtitles have them; `mark` stands before these.

    >>> clock(3723.0456, "."), clock(0.25, ",")
    ('01:02:03.046', '00:00:00,250')
    """
    ms = round(1000 * time)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def webvtt_cue(segment: Segment) -> str:
    """A segment as a cue of WebVTT, its person as the voice that speaks it."""
    begin, end = (clock(time, ".") for time in (segment.span.start, segment.span.end))
    return f"{begin} --> {end}\n<v {who(segment.track_id)}>{segment.label} {segment.probability:.2f}\n\n"


def subrip_cue(segment: Segment, number: int) -> str:
    """A segment as a subtitle of SubRip, counted from 1."""
    begin, end = (clock(time, ",") for time in (segment.span.start, segment.span.end))
    words = f"{who(segment.track_id)}: {segment.label} {segment.probability:.2f}"
    return f"{number}\n{begin} --> {end}\n{words}\n\n"


def tiers_of(segments: Sequence[Segment], track_ids: Sequence[int | None]) -> dict[str, list[Segment]]:
    """The segments of each person, whether there are any or not, by the name of their tier."""
    tiers: dict[str, list[Segment]] = {who(track_id): [] for track_id in track_ids}
    for segment in segments:
        tiers.setdefault(who(segment.track_id), []).append(segment)
    return tiers


def elan(tiers: Mapping[str, Sequence[Segment]], media: str) -> Iterator[str]:
    """An ELAN document (EAF 3.0) in pieces: a tier for each person, the expressions as their vocabulary.

    Args:
        tiers: The segments of each person, by the name of their tier.
        media: Name of the media file, which ELAN looks for beside its document.
    """
    name = quoteattr(f"./{_NOT_IN_XML.sub('_', media)}")
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        # a fixed date: the same input gives the same file
        '<ANNOTATION_DOCUMENT AUTHOR="mien" DATE="1970-01-01T00:00:00Z" FORMAT="3.0" VERSION="3.0"\n'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\n'
        ' xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">\n'
        '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
        f'<MEDIA_DESCRIPTOR MEDIA_URL={name} MIME_TYPE="unknown" RELATIVE_MEDIA_URL={name}/>\n'
        "</HEADER>\n<TIME_ORDER>\n"
    )
    flat = [segment for segments in tiers.values() for segment in segments]
    for number, segment in enumerate(flat):
        begin, end = round(1000 * segment.span.start), round(1000 * segment.span.end)
        yield f'<TIME_SLOT TIME_SLOT_ID="ts{2 * number + 1}" TIME_VALUE="{begin}"/>\n'
        yield f'<TIME_SLOT TIME_SLOT_ID="ts{2 * number + 2}" TIME_VALUE="{max(end, begin + 1)}"/>\n'
    yield "</TIME_ORDER>\n"
    number = 0
    for tier, segments in tiers.items():
        yield f'<TIER LINGUISTIC_TYPE_REF="expression" PARTICIPANT="{tier}" TIER_ID="{tier}">\n'
        for segment in segments:
            yield (
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number + 1}"'
                f' TIME_SLOT_REF1="ts{2 * number + 1}" TIME_SLOT_REF2="ts{2 * number + 2}">'
                f"<ANNOTATION_VALUE>{segment.label}</ANNOTATION_VALUE>"
                "</ALIGNABLE_ANNOTATION></ANNOTATION>\n"
            )
            number += 1
        yield "</TIER>\n"
    yield (
        '<LINGUISTIC_TYPE CONTROLLED_VOCABULARY_REF="expressions" GRAPHIC_REFERENCES="false"'
        ' LINGUISTIC_TYPE_ID="expression" TIME_ALIGNABLE="true"/>\n'
        '<LANGUAGE LANG_DEF="http://cdb.iso.org/lg/CDB-00138502-001" LANG_ID="eng"'
        ' LANG_LABEL="English (eng)"/>\n'
        '<CONTROLLED_VOCABULARY CV_ID="expressions">\n<DESCRIPTION LANG_REF="eng"/>\n'
    )
    for expression in EXPRESSIONS:
        yield (
            f'<CV_ENTRY_ML CVE_ID="{expression}"><CVE_VALUE DESCRIPTION="" LANG_REF="eng">{expression}'
            "</CVE_VALUE></CV_ENTRY_ML>\n"
        )
    yield "</CONTROLLED_VOCABULARY>\n</ANNOTATION_DOCUMENT>\n"


def textgrid(tiers: Mapping[str, Sequence[Segment]], duration: float) -> Iterator[str]:
    """A Praat TextGrid in pieces: an interval tier for each person, empty between segments.

    Args:
        tiers: The segments of each person, by the name of their tier; no tiers become one without segments.
        duration: Seconds; where a segment ends later, the document does. A picture lasts a millisecond, since
            Praat opens nothing that lasts no time.
    """
    ends = [segment.span.end for segments in tiers.values() for segment in segments]
    last = max([duration, 0.001, *ends])
    tiers = tiers or {"Nobody": []}
    yield (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
        f"xmin = 0\nxmax = {last:.6f}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    )
    for number, (tier, segments) in enumerate(tiers.items()):
        intervals = list(_with_gaps(segments, last))
        yield (
            f'    item [{number + 1}]:\n        class = "IntervalTier"\n        name = "{tier}"\n'
            f"        xmin = 0\n        xmax = {last:.6f}\n        intervals: size = {len(intervals)}\n"
        )
        for place, (begin, end, label) in enumerate(intervals):
            yield (
                f"        intervals [{place + 1}]:\n            xmin = {begin:.6f}\n"
                f'            xmax = {end:.6f}\n            text = "{label}"\n'
            )


def _with_gaps(segments: Sequence[Segment], last: float) -> Iterator[tuple[float, float, str]]:
    """Intervals that follow one upon the other from 0 to the end."""
    at = 0.0
    for segment in segments:
        if segment.span.start - at > 1e-6:
            yield at, segment.span.start, ""
        yield segment.span.start, segment.span.end, segment.label
        at = segment.span.end
    if last - at > 1e-6 or not segments:
        yield at, last, ""


def openface_line(row: Row) -> str:
    """A row of a video frame under OpenFace's names; a frame in which nobody is seen has face_id 0.

    OpenFace counts frames from 1. Its `face_id` is mien's `track_id`.
    """
    assert row.frame is not None, "sound has no frames"
    numbers = (
        str(row.frame + 1),
        str(row.track_id or 0),
        f"{row.time:.3f}",
        f"{row.confidence or 0:.2f}",
        "0" if row.track_id is None else "1",
    )
    probs = [""] * len(EXPRESSIONS) if row.probs is None else [f"{p:.5f}" for p in row.probs.tolist()]
    return ",".join((*numbers, *probs))


class FrameLabels:
    """Aff-Wild2's text of one person: the expressions' names, then a number for each frame, -1 for none.

    The person is the one of most labelled frames. A class is counted from 0 in the order of `EXPRESSIONS`,
    because that form demands it.
    """

    def __init__(self) -> None:
        self._tracks: dict[int, tuple[int, array[int]]] = {}
        self._n_frames = 0

    def add(self, row: Row) -> None:
        """Takes the next row; rows come in the order of their frames."""
        if row.frame is None:
            return
        self._n_frames = row.frame + 1
        if row.track_id is None or row.label is None:
            return
        first, labels = self._tracks.setdefault(row.track_id, (row.frame, array("b")))
        labels.extend([-1] * (row.frame - first - len(labels)))
        labels.append(position(row.label))

    def lines(self) -> Iterator[str]:
        """The text, line by line."""
        yield ",".join(EXPRESSIONS) + "\n"
        empty = 0, array("b")
        first, labels = max(
            self._tracks.values(), key=lambda each: len(each[1]) - each[1].count(-1), default=empty
        )
        after = self._n_frames - first - len(labels)
        for label in (*[-1] * first, *labels, *[-1] * after):
            yield f"{label}\n"


class WebVtt(Quiet):
    """timeline.vtt: segments as captions of a video in a browser."""

    file_name = "timeline.vtt"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._file.write("WEBVTT\n\n")

    def write_segment(self, segment: Segment) -> None:
        self._file.write(webvtt_cue(segment))


class SubRip(Quiet):
    """timeline.srt: segments as subtitles."""

    file_name = "timeline.srt"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._n_cues = 0

    def write_segment(self, segment: Segment) -> None:
        self._n_cues += 1
        self._file.write(subrip_cue(segment, self._n_cues))


class Elan(Quiet):
    """timeline.eaf: a tier for each person, to be opened, listened to and corrected in ELAN."""

    file_name = "timeline.eaf"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._segments: list[Segment] = []

    def write_segment(self, segment: Segment) -> None:
        self._segments.append(segment)

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        tiers = tiers_of(self._segments, [person.track_id for person in persons])
        self._file.writelines(elan(tiers, title_of(provenance)))


class TextGrid(Quiet):
    """timeline.TextGrid: a tier for each person, for Praat."""

    file_name = "timeline.TextGrid"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._segments: list[Segment] = []
        self._last_time = 0.0

    def write_row(self, row: Row) -> None:
        self._last_time = row.time

    def write_segment(self, segment: Segment) -> None:
        self._segments.append(segment)

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        tiers = tiers_of(self._segments, [person.track_id for person in persons])
        duration = max(float(str(provenance.get("duration_s", 0.0))), self._last_time)
        self._file.writelines(textgrid(tiers, duration))


class OpenFace(Quiet):
    """timeline.openface.csv: frames under OpenFace's names; nothing of what has no picture."""

    file_name = "timeline.openface.csv"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._file.write(",".join(OPENFACE_COLUMNS) + "\n")

    def write_row(self, row: Row) -> None:
        if row.frame is not None:
            self._file.write(openface_line(row) + "\n")


class AffWild2(Quiet):
    """timeline.affwild2.txt: a number for each frame, as Aff-Wild2 has it, of the person most seen."""

    file_name = "timeline.affwild2.txt"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._labels = FrameLabels()

    def write_row(self, row: Row) -> None:
        self._labels.add(row)

    def close(self, _provenance: Mapping[str, object], _persons: Sequence[Person], /) -> None:
        self._file.writelines(self._labels.lines())
