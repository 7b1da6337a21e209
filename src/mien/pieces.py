"""One video of an archive as pieces of work, each done wherever there is room.

A short video is one piece. A long one is a piece for each stretch of its pictures, one for its voice, and
one that puts them together. Where it cannot be told that the stretches fit, the whole is done in one piece.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from zlib import crc32

from mien.archive import Settings, local_copy, put_table
from mien.container import open_source
from mien.errors import MienError, described
from mien.media import Frame, probe, read_frames, read_frames_from
from mien.pipeline import Analysis
from mien.predictor import load_model
from mien.readings import add_voice, listen, look
from mien.stretches import LEAD_IN, STRETCH, Seam, join, stretch_of
from mien.whole import Asides, checksum
from mien.writers import Parquet

if TYPE_CHECKING:
    from mien.readings import ReadingSettings
    from mien.views import Reading
    from mien.voice import RecordedVoice

TABLE = Parquet.file_name


@dataclass(frozen=True, slots=True)
class Failure:
    """What is wrong with a source, in one line."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A table that is whole."""

    table: str
    """Its name, or where it stands below the archive's folder."""
    rows: int
    frames: int
    duration_s: float
    file_sha256: str
    table_sha256: str
    table_bytes: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A frame by which two stretches are fitted together: they must have decoded it alike."""

    time: float
    crc: int


@dataclass(frozen=True, slots=True)
class Ends:
    """By which a stretch is fitted to those beside it."""

    first: Mark | None
    """The first frame that is not before its beginning."""
    after: Mark | None
    """The first frame that is not before its end; None also of the last stretch."""


def n_stretches(path: Path) -> int:
    """Into how many stretches the pictures of a file can be cut; 1: it is read in one piece.

    Raises:
        InputError: There is no such file.
        MediaError: It is no media file.
    """
    media = probe(path)
    if not media.has_video or media.duration < STRETCH:
        return 1
    with open_source(path) as source:
        return 1 if source.only_counts else stretch_of(media.duration) + 1


def look_at(
    path: Path, settings: ReadingSettings, stretch: int, last: bool
) -> tuple[tuple[Reading | Seam, ...], Ends]:
    """What the pictures of one stretch show, of the last one to the file's end; and where it begins and ends.

    Raises:
        MienError: As `mien.analyze` does.
    """
    media, model = probe(path), load_model(settings.model)
    begin, end = stretch * STRETCH, inf if last else (stretch + 1) * STRETCH
    marks: dict[float, Mark] = {}

    def marked(frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            for bound in (begin, end):
                if frame.time >= bound and bound not in marks:
                    marks[bound] = Mark(frame.time, crc32(frame.image.tobytes()))
            if frame.time >= end:
                return
            yield frame

    frames = read_frames_from(path, begin - LEAD_IN) if stretch else read_frames(path)
    readings = tuple(look(marked(frames), media, model, settings, stretch))
    return readings, Ends(marks.get(begin), marks.get(end))


def listen_to(path: Path, settings: ReadingSettings) -> RecordedVoice:
    """All that is heard in a file.

    Raises:
        MienError: As `mien.analyze` does.
    """
    return listen(probe(path), load_model(settings.model), settings).record()


def fit(stretches: Sequence[Ends]) -> bool:
    """Whether each stretch begins with the very frame with which the one before it ended.

    If not, the file cannot be searched reliably: sought frames have other times or pictures than read ones.
    """
    return all(before.after == after.first for before, after in pairwise(stretches))


def put_together(
    path: Path,
    settings: Settings,
    stretches: Iterable[Iterable[Reading | Seam]],
    voice: RecordedVoice,
    folder: Path,
) -> Written:
    """Writes the table of a file from what its stretches show and what is heard in it.

    Raises:
        MienError: As `mien.analyze` does.
    """
    joined = enumerate(join(chain.from_iterable(stretches)))
    return write_table(
        path, settings, folder, add_voice((replace(reading, frame=n) for n, reading in joined), voice)
    )


def write_table(
    path: Path, settings: Settings, folder: Path, readings: Iterator[Reading] | None = None
) -> Written:
    """Writes the table of a file into a folder that is there: all of it or nothing.

    Args:
        path: The file.
        settings: Of its analysis.
        folder: Where the table is to stand.
        readings: Those of the whole file; None: it is read.

    Raises:
        MienError: As `mien.analyze` does.
    """
    analysis = Analysis(path, settings.reading, settings.timeline)
    asides = Asides(folder)
    n_rows = 0
    try:
        table = Parquet(asides)
        for row in analysis.rows(readings):
            table.write_row(row)
            n_rows += 1
        provenance = analysis.provenance()
        table.close(provenance, ())
        asides.keep([TABLE], [TABLE])
    finally:
        asides.remove()
    place = folder / TABLE
    return Written(
        table=TABLE,
        rows=n_rows,
        frames=provenance["frames"],
        duration_s=provenance["duration_s"],
        file_sha256=provenance["file_sha256"],
        table_sha256=checksum(place),
        table_bytes=place.stat().st_size,
    )


class Worker:
    """Does the pieces that it is handed, in a process of its own, on any machine.

    Args:
        settings: Of the analysis.
        archive: Address of the folder of tables.
    """

    def __init__(self, settings: Settings, archive: str) -> None:
        self._settings = replace(settings, reading=replace(settings.reading, n_threads=1))
        self._archive = archive

    def do(self, method: str, source: str, folder: str, *arguments: Any) -> tuple[tuple[Any, float], Any]:
        """A piece's answer and the seconds it took; and what is kept of it until the source is put together.

        Args:
            method: What is to be done: `begin`, `whole`, `look`, `listen` or `join`.
            source: Its address.
            folder: Of its table, below the archive's.
            *arguments: Of the method.
        """
        began, kept = monotonic(), None
        with tempfile.TemporaryDirectory(prefix="mien-") as name:
            aside = Path(name)
            try:
                with local_copy(source, aside) as path:
                    answer, kept = self._do(method, path, aside, *arguments)
                if isinstance(answer, Written):
                    answer = replace(answer, table=put_table(self._archive, folder, aside / TABLE))
            except (MienError, OSError) as error:
                answer = Failure(described(error))
        return (answer, monotonic() - began), kept

    def _do(self, method: str, path: Path, aside: Path, *arguments: Any) -> tuple[Any, Any]:
        settings = self._settings
        if method == "begin":
            n = n_stretches(path)
            return (n if n > 1 else write_table(path, settings, aside)), None
        if method == "look":
            shown, ends = look_at(path, settings.reading, *arguments)
            return ends, shown
        if method == "listen":
            return None, listen_to(path, settings.reading)
        if method == "join":
            import ray

            shown, (heard,) = arguments
            return put_together(path, settings, map(ray.get, shown), ray.get(heard), aside), None
        assert method == "whole", method
        return write_table(path, settings, aside), None
