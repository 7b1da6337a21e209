"""Rows and segments in, one file each out: a dict of small writers, `WRITERS`.

A writer writes aside, under names that will not be kept, and at constant memory, but for the segments that
ELAN and Praat want by person and the frames' labels of Aff-Wild2, a byte each; `mien.report` feeds it and
gives its file the final name once all files are whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mien.chart import svg
from mien.errors import MissingExtraError
from mien.expressions import EXPRESSIONS
from mien.foreign import (
    OPENFACE_COLUMNS,
    FrameLabels,
    elan,
    openface_line,
    subrip_cue,
    textgrid,
    tiers_of,
    webvtt_cue,
)
from mien.htmlreport import Content, render
from mien.lanes import Lanes, Person
from mien.plot import png
from mien.table import COLUMNS, SCHEMA_VERSION, SEGMENT_COLUMNS, RowText, segment_cells
from mien.timeline import FLAGS

if TYPE_CHECKING:
    from mien.timeline import Row, Segment
    from mien.whole import Asides


class Writer(Protocol):
    """One file of a report; made with the place to open its files, named `file_name` where whole."""

    file_name: str

    def __init__(self, asides: Asides) -> None: ...

    def write_row(self, row: Row) -> None:
        """Takes a row; rows come in the order of their frames."""

    def write_segment(self, segment: Segment) -> None:
        """Takes a segment; segments come between rows, some seconds late."""

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        """Writes what is known only at the end."""


class _Quiet:
    """A writer that has no use for some of what it is given."""

    def write_row(self, row: Row) -> None:
        """Rows have a file of their own."""

    def write_segment(self, segment: Segment) -> None:
        """Segments have a file of their own."""

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        """There is no room here for what is known at the end."""


class RowsCsv(_Quiet):
    """timeline.csv: one line per frame and person."""

    file_name = "timeline.csv"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._text = RowText(absent="", quote="")
        self._file.write(",".join(COLUMNS) + "\n")

    def write_row(self, row: Row) -> None:
        self._file.write(self._text(row) + "\n")


class SegmentsCsv(_Quiet):
    """segments.csv: one line per segment, by their start."""

    file_name = "segments.csv"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._file.write(",".join(SEGMENT_COLUMNS) + "\n")

    def write_segment(self, segment: Segment) -> None:
        self._file.write(",".join(segment_cells(segment, absent="", quote="")) + "\n")


class Json:
    """timeline.json: everything; rows are lists in the order of `columns`."""

    file_name = "timeline.json"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._segments = asides.open(f"{self.file_name}.segments")
        self._text = RowText(absent="null", quote='"')
        self._before_row = self._before_segment = "\n"
        columns = [{"name": name, "meaning": meaning} for name, meaning in COLUMNS.items()]
        self._file.write(
            f'{{\n"schema_version": {_json(SCHEMA_VERSION)},\n"expressions": {_json(EXPRESSIONS)},\n'
            f'"columns": [\n{_lines(columns)}\n],\n"rows": ['
        )

    def write_row(self, row: Row) -> None:
        self._file.write(f"{self._before_row}[{self._text(row)}]")
        self._before_row = ",\n"

    def write_segment(self, segment: Segment) -> None:
        cells = segment_cells(segment, absent="null", quote='"')
        members = (f'"{name}": {cell}' for name, cell in zip(SEGMENT_COLUMNS, cells, strict=True))
        self._segments.write(f"{self._before_segment}{{{', '.join(members)}}}")
        self._before_segment = ",\n"

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        self._file.write('\n],\n"segments": [')
        self._segments.seek(0)
        shutil.copyfileobj(self._segments, self._file)
        summaries = _lines([_summary(person) for person in persons])
        self._file.write(f'\n],\n"persons": [\n{summaries}\n],\n"provenance": {_json(provenance)}\n}}\n')


class Svg:
    """timeline.svg: a chart."""

    file_name = "timeline.svg"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._lanes = Lanes()

    def write_row(self, row: Row) -> None:
        self._lanes.add(row)

    def write_segment(self, segment: Segment) -> None:
        self._lanes.add_segment(segment)

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        self._file.write(
            svg(self._lanes, persons, title=title_of(provenance), caption=caption_of(provenance))
        )


class Png:
    """timeline.png: the same chart in pixels."""

    file_name = "timeline.png"

    def __init__(self, asides: Asides) -> None:
        _require("matplotlib", self.file_name, "plot")
        self._file = asides.open(self.file_name)
        self._lanes = Lanes()

    def write_row(self, row: Row) -> None:
        self._lanes.add(row)

    def write_segment(self, segment: Segment) -> None:
        self._lanes.add_segment(segment)

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        told = {"title": title_of(provenance), "caption": caption_of(provenance)}
        self._file.buffer.write(png(self._lanes, persons, **told))


class Parquet(_Quiet):
    """timeline.parquet: the table of timeline.csv, typed, made at the end a stretch at a time.

    Its key-value metadata holds `schema_version` and, as JSON, `provenance` of timeline.json.
    """

    file_name = "timeline.parquet"

    def __init__(self, asides: Asides) -> None:
        _require("polars", self.file_name, "table")
        self._rows = asides.open(f"{self.file_name}.csv")
        self._file = asides.open(self.file_name)
        self._text = RowText(absent="", quote="")
        self._rows.write(",".join(COLUMNS) + "\n")

    def write_row(self, row: Row) -> None:
        self._rows.write(self._text(row) + "\n")

    def close(self, provenance: Mapping[str, object], _persons: Sequence[Person], /) -> None:
        import polars as pl

        kinds: dict[str, type[pl.DataType]] = dict.fromkeys(COLUMNS, pl.Float32)
        kinds |= {"frame": pl.Int64, "time_s": pl.Float64, "track_id": pl.Int64}
        kinds |= {"label": pl.String, "source": pl.String}
        kinds |= dict.fromkeys(FLAGS, pl.UInt8)
        self._rows.close()
        self._file.close()
        # In ASCII, since Parquet takes no lone surrogate of an undecodable file name.
        told = {"schema_version": SCHEMA_VERSION, "provenance": json.dumps(provenance, allow_nan=False)}
        pl.scan_csv(self._rows.name, schema=kinds).sink_parquet(self._file.name, metadata=told)


class Html(_Quiet):
    """report.html: chart, telling moments, summary, in one file that opens without a network."""

    file_name = "report.html"

    def __init__(self, asides: Asides) -> None:
        _require("bokeh", self.file_name, "report")
        self._file = asides.open(self.file_name)
        self._original = asides.original
        self._content = Content()

    def write_row(self, row: Row) -> None:
        self._content.add(row)

    def write_segment(self, segment: Segment) -> None:
        self._content.add_segment(segment)

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        self._content.illustrate(self._original, persons)
        self._file.write(render(self._content, persons, provenance, title_of(provenance)))


class WebVtt(_Quiet):
    """timeline.vtt: segments as captions of a video in a browser."""

    file_name = "timeline.vtt"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._file.write("WEBVTT\n\n")

    def write_segment(self, segment: Segment) -> None:
        self._file.write(webvtt_cue(segment))


class SubRip(_Quiet):
    """timeline.srt: segments as subtitles."""

    file_name = "timeline.srt"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._n_cues = 0

    def write_segment(self, segment: Segment) -> None:
        self._n_cues += 1
        self._file.write(subrip_cue(segment, self._n_cues))


class Elan(_Quiet):
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


class TextGrid(_Quiet):
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


class OpenFace(_Quiet):
    """openface.csv: frames under the names that OpenFace gives them; nothing of what has no picture."""

    file_name = "openface.csv"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._file.write(",".join(OPENFACE_COLUMNS) + "\n")

    def write_row(self, row: Row) -> None:
        if row.frame is not None:
            self._file.write(openface_line(row) + "\n")


class AffWild2(_Quiet):
    """affwild2.txt: a number for each frame, as Aff-Wild2's annotation has it, of the person most seen."""

    file_name = "affwild2.txt"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._labels = FrameLabels()

    def write_row(self, row: Row) -> None:
        self._labels.add(row)

    def close(self, _provenance: Mapping[str, object], _persons: Sequence[Person], /) -> None:
        self._file.writelines(self._labels.lines())


WRITERS: Mapping[str, type[Writer]] = {
    "csv": RowsCsv,
    "json": Json,
    "segments": SegmentsCsv,
    "svg": Svg,
    "png": Png,
    "parquet": Parquet,
    "html": Html,
    "vtt": WebVtt,
    "srt": SubRip,
    "elan": Elan,
    "praat": TextGrid,
    "openface": OpenFace,
    "affwild2": AffWild2,
}
"""Formats by name."""

FILE_NAMES = tuple(writer.file_name for writer in WRITERS.values())
"""What a report can consist of."""


def _require(package: str, wanted_by: str, extra: str) -> None:
    if find_spec(package) is None:
        raise MissingExtraError(wanted_by, extra)


def title_of(provenance: Mapping[str, object]) -> str:
    """The name of the file that was analyzed."""
    return Path(str(provenance["file"])).name


def caption_of(provenance: Mapping[str, object]) -> str:
    """What stands below a chart: where it comes from and how it is read."""
    return (
        f"mien {provenance['mien']} · model {provenance['model']} · "
        "height: probability, stacked to 1, a person's of face and voice fused · "
        "strips: segments; for the voice, its likeliest expression"
    )


def _summary(person: Person) -> dict[str, object]:
    return {
        "track_id": person.track_id,
        "first_s": round(person.first, 6),
        "last_s": round(person.last, 6),
        "frames": person.frames,
        "seconds": round(person.seconds, 6),
        "labels": {
            label: {"seconds": round(seconds, 6), "share": round(person.share_by_label[label], 5)}
            for label, seconds in person.seconds_by_label.items()
        },
        "dominant": person.dominant,
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _lines(values: Iterable[object]) -> str:
    return ",\n".join(_json(value) for value in values)
