"""Rows and segments in, the files of a report out: row by row, at constant memory, all of them or none.

with Report(directory, formats=("csv", "json", "segments", "svg")) as report:
    report.record(rows, settings)
    report.finish(provenance)
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mien.errors import InputError
from mien.lanes import Person, Persons
from mien.segments import segments
from mien.whole import Asides, Original, remove_orphans
from mien.writers import FILE_NAMES, WRITERS
from mien.writing import Watcher, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from mien.timeline import Row, TimelineSettings

DEFAULT_FORMATS = ("csv", "json", "segments", "svg")
"""What needs no extra."""


class Report:
    """The files of one report in one folder, which stays as it was unless `finish` is reached.

    timeline.json is always among them: tables and charts alone do not say where they come from. Files of an
    earlier report there are replaced or removed, so that all that stand there are of one run.

    Args:
        directory: The folder; made if it is not there.
        formats: Names of `WRITERS`.
        original: The file that the report is of; None: nothing of it is shown.
        watcher: Takes rows and segments as the files do, for who wants to see the report grow.

    Raises:
        InputError: A format is unknown, or the folder cannot be written to.
        MissingExtraError: A format needs a package that is not installed.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        formats: Sequence[str] = DEFAULT_FORMATS,
        original: Original | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        if unknown := [name for name in formats if name not in WRITERS]:
            raise InputError(f"{unknown[0]!r} is no report format; expected some of {', '.join(WRITERS)}")
        self._directory = Path(directory)
        self._formats = tuple(dict.fromkeys((*formats, "json")))
        self._asides = Asides(self._directory, original)
        self._writers: list[Writer] = []
        self._watchers = () if watcher is None else (watcher,)
        self.persons: tuple[Person, ...] = ()
        """Everybody seen, once the report is finished."""
        self._persons = Persons()
        self._created: list[Path] = []
        self._finished = False

    def __enter__(self) -> Self:
        try:
            with self._telling_where():
                self._open()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def record(self, rows: Iterable[Row], settings: TimelineSettings) -> None:
        """Writes rows as they come, in the order of their frames, and the segments in them; holds neither."""
        for segment in segments(self._writing(rows), settings):
            with self._telling_where():
                for each in (*self._writers, *self._watchers):
                    each.write_segment(segment)

    def finish(self, provenance: Mapping[str, object]) -> tuple[Path, ...]:
        """The files, which now stand under their final names, one per format.

        Args:
            provenance: What JSON can hold; the chart shows `file`, `model` and `mien`, its version.
        """
        assert not self._finished, "a report is finished once"
        assert {"file", "model", "mien"} <= provenance.keys(), f"provenance lacks a key: {sorted(provenance)}"
        self.persons = self._persons.close()
        names = [writer.file_name for writer in self._writers]
        with self._telling_where():
            for writer in self._writers:
                writer.close(provenance, self.persons)
            self._asides.keep(names, FILE_NAMES)
        self._finished = True
        return tuple(self._directory / name for name in names)

    def _writing(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self._persons.add(row)
            with self._telling_where():
                for each in (*self._writers, *self._watchers):
                    each.write_row(row)
            yield row

    def _open(self) -> None:
        if self._directory.is_file():
            raise InputError(f"{self._directory} is a file; expected a folder for the report: name another")
        missing = [each for each in (self._directory, *self._directory.parents) if not each.exists()]
        for each in reversed(missing):
            self._created.insert(0, each)  # before it is there: a signal may end the program in between
            each.mkdir()
        remove_orphans(self._directory)
        for name in self._formats:
            writer = WRITERS[name](self._asides)
            self._writers.append(writer)
            if (place := self._directory / writer.file_name).is_dir():
                raise InputError(
                    f"{place} is a folder; expected a file or nothing there: name another folder"
                )

    def _clear(self) -> None:
        self._asides.remove()
        if not self._finished:
            for each in self._created:
                with suppress(OSError):
                    each.rmdir()

    @contextmanager
    def _telling_where(self) -> Iterator[None]:
        """Says of what the system refuses which folder it is about, and what to do."""
        try:
            yield
        except OSError as error:
            raise InputError(
                f"cannot write the report into {self._directory}: {error.strerror or error}; "
                "name a folder that can be written to and has room"
            ) from error
