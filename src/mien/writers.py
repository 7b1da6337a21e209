"""Rows and segments in, one file each out: a dict of small writers, `WRITERS`.

A writer writes aside, under names that will not be kept, and at constant memory, but for the segments that
ELAN and Praat want by person and the frames' labels of Aff-Wild2, a byte each; `mien.report` feeds it and
gives its file the final name once all files are whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.annotate import Mark, annotate
from mien.chart import svg
from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.foreign import AffWild2, Elan, OpenFace, SubRip, TextGrid, WebVtt
from mien.htmlreport import Content, render
from mien.lanes import Lanes, Person
from mien.plot import png
from mien.table import COLUMNS, SCHEMA_VERSION, SEGMENT_COLUMNS, RowText, segment_cells
from mien.timeline import FLAGS
from mien.writing import Quiet, Writer, caption_of, require, title_of

if TYPE_CHECKING:
    from mien.timeline import Row, Segment
    from mien.whole import Asides


LARGEST_FILM = 200_000_000
"""Bytes; browsers do not open pages of any size."""


class RowsCsv(Quiet):
    """timeline.csv: one line per frame and person."""

    file_name = "timeline.csv"

    def __init__(self, asides: Asides) -> None:
        self._file = asides.open(self.file_name)
        self._text = RowText(absent="", quote="")
        self._file.write(",".join(COLUMNS) + "\n")

    def write_row(self, row: Row) -> None:
        self._file.write(self._text(row) + "\n")


class SegmentsCsv(Quiet):
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
        require("matplotlib", self.file_name, "plot")
        self._file = asides.open(self.file_name)
        self._lanes = Lanes()

    def write_row(self, row: Row) -> None:
        self._lanes.add(row)

    def write_segment(self, segment: Segment) -> None:
        self._lanes.add_segment(segment)

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        told = {"title": title_of(provenance), "caption": caption_of(provenance)}
        self._file.buffer.write(png(self._lanes, persons, **told))


class Parquet(Quiet):
    """timeline.parquet: the table of timeline.csv, typed, made at the end a stretch at a time.

    Its key-value metadata holds `schema_version` and, as JSON, `provenance` of timeline.json.
    """

    file_name = "timeline.parquet"

    def __init__(self, asides: Asides) -> None:
        require("polars", self.file_name, "table")
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


class Html(Quiet):
    """timeline.html: chart, telling moments, summary, in one file that opens without a network."""

    file_name = "timeline.html"

    def __init__(self, asides: Asides) -> None:
        require("bokeh", self.file_name, "report")
        self._original = asides.original
        if self._original is not None and self._original.film:
            size = self._original.path.stat().st_size
            if size > LARGEST_FILM:
                raise InputError(
                    f"{self._original.path.name} has {size / 1e6:.0f} MB, and a page holds films of up to "
                    f"{LARGEST_FILM / 1e6:.0f} MB; leave --film out, or cut the film"
                )
        self._file = asides.open(self.file_name)
        self._content = Content()

    def write_row(self, row: Row) -> None:
        self._content.add(row)

    def write_segment(self, segment: Segment) -> None:
        self._content.add_segment(segment)

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        self._content.illustrate(self._original, persons)
        self._file.write(render(self._content, persons, provenance, title_of(provenance)))


class Video(Quiet):
    """timeline.mp4: the film with boxes, labels and a running chart, and with its sound."""

    file_name = "timeline.mp4"

    def __init__(self, asides: Asides) -> None:
        if asides.original is None:
            raise InputError("an annotated film needs the film: write it with `mien analyze`")
        self._original = asides.original
        self._file = asides.open(self.file_name)
        self._marks = asides.open(f"{self.file_name}.marks")

    def write_row(self, row: Row) -> None:
        if row.frame is not None and row.track_id is not None and row.box is not None:
            probability = 0.0 if row.probs is None else float(row.probs.max())
            uncertain = "low_confidence" in row.flags
            told = [row.frame, row.track_id, row.box.tolist(), row.label, probability, uncertain]
            self._marks.write(json.dumps(told) + "\n")

    def close(self, _provenance: Mapping[str, object], _persons: Sequence[Person], /) -> None:
        self._marks.seek(0)
        self._file.close()
        marks = (
            (frame, [_read_mark(line) for _, line in lines])
            for frame, lines in groupby(
                ((told[0], told) for told in map(json.loads, self._marks)), key=itemgetter(0)
            )
        )
        original = self._original
        annotate(original.path, marks, Path(self._file.name), blur=original.blur, hook=original.hook)


def _read_mark(told: list[Any]) -> Mark:
    _, track_id, box, label, probability, uncertain = told
    return Mark(track_id=track_id, box=tuple(box), label=label, probability=probability, uncertain=uncertain)


WRITERS: Mapping[str, type[Writer]] = {
    "csv": RowsCsv,
    "json": Json,
    "segments": SegmentsCsv,
    "svg": Svg,
    "png": Png,
    "parquet": Parquet,
    "html": Html,
    "video": Video,
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
