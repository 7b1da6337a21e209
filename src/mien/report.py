"""Rows and segments in, the files of a report out: row by row, at constant memory, all of them or none.

with Report(directory, formats=("csv", "json", "segments", "svg")) as report:
    report.record(rows, settings)
    report.finish(provenance)
"""

from __future__ import annotations

from contextlib import suppress
from errno import EISDIR
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mien.errors import InputError
from mien.lanes import Person, Persons
from mien.segments import segments
from mien.writers import WRITERS, Asides, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from mien.timeline import Row, Segment, TimelineSettings

DEFAULT_FORMATS = ("csv", "json", "segments", "svg")
"""What needs no extra."""


class Report:
    """The files of one report in one folder; leaves the folder as it was unless `finish` is reached.

    Raises:
        InputError: A format is unknown, or the folder cannot be written to.
        MissingExtraError: A format needs a package that is not installed.
    """

    def __init__(self, directory: Path | str, *, formats: Sequence[str] = DEFAULT_FORMATS) -> None:
        if unknown := [name for name in formats if name not in WRITERS]:
            raise InputError(f"{unknown[0]!r} is no report format; expected some of {', '.join(WRITERS)}")
        self._directory = Path(directory)
        self._formats = tuple(dict.fromkeys(formats))
        self._asides = Asides(self._directory)
        self._writers: list[Writer] = []
        self.persons: tuple[Person, ...] = ()
        """Everybody seen, once the report is finished."""
        self._persons = Persons()
        self._created: list[Path] = []
        self._finished = False

    def __enter__(self) -> Self:
        try:
            self._open()
        except OSError as error:
            self._clear()
            raise self._unwritable(error) from error
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def add(self, row: Row) -> None:
        """Writes a row; rows come in the order of their frames."""
        self._persons.add(row)
        try:
            for writer in self._writers:
                writer.write_row(row)
        except OSError as error:
            raise self._unwritable(error) from error

    def add_segment(self, segment: Segment) -> None:
        """Writes a segment."""
        try:
            for writer in self._writers:
                writer.write_segment(segment)
        except OSError as error:
            raise self._unwritable(error) from error

    def record(self, rows: Iterable[Row], settings: TimelineSettings) -> None:
        """Writes rows as they come and the segments found in them, and holds neither."""
        for segment in segments(self._passing(rows), settings):
            self.add_segment(segment)

    def finish(self, provenance: Mapping[str, object]) -> tuple[Path, ...]:
        """The files, which now stand under their final names, one per format.

        Args:
            provenance: What JSON can hold; the chart shows `file`, `model` and `mien`, its version.
        """
        assert not self._finished, "a report is finished once"
        assert {"file", "model", "mien"} <= provenance.keys(), f"provenance lacks a key: {sorted(provenance)}"
        self.persons = self._persons.close()
        names = [writer.file_name for writer in self._writers]
        try:
            for writer in self._writers:
                writer.close(provenance, self.persons)
            self._asides.keep(names)
        except OSError as error:
            raise self._unwritable(error) from error
        self._finished = True
        return tuple(self._directory / name for name in names)

    def _passing(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.add(row)
            yield row

    def _open(self) -> None:
        if self._directory.is_file():
            raise InputError(f"{self._directory} is a file; expected a folder for the report: name another")
        missing = [each for each in (self._directory, *self._directory.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir()
            self._created.insert(0, each)
        for name in self._formats:
            writer = WRITERS[name](self._asides)
            self._writers.append(writer)
            if (self._directory / writer.file_name).is_dir():
                raise IsADirectoryError(EISDIR, f"{writer.file_name} is a folder there")

    def _clear(self) -> None:
        self._asides.remove()
        if not self._finished:
            for each in self._created:
                with suppress(OSError):
                    each.rmdir()

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"cannot write the report into {self._directory}: {error.strerror or error}; "
            "name a folder that can be written to and has room"
        )
