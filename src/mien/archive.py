"""An archive's videos in, where each one's table stands and what became of it out.

Files are named by path or by any address that fsspec knows. Tables stand in one folder for each source, as
`source=NAME/timeline.parquet`, which polars and others read as one table with a column `source`.
Beside them, manifest.csv has a line for each source, and settings.json says how they were made.
"""

from __future__ import annotations

import csv
import io
import json
import re
import secrets
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import fsspec

from mien.errors import InputError
from mien.plain import read_json
from mien.predictor import load_model
from mien.readings import ReadingSettings
from mien.timeline import TimelineSettings
from mien.whole import ORPHAN
from mien.writing import require

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from fsspec import AbstractFileSystem


MANIFEST, SETTINGS, LOCK = "manifest.csv", "settings.json", ".running"

LISTS = (".txt", ".csv", ".parquet")
"""Endings of files that name sources: one a line, or in a column `path`."""

BETWEEN_MANIFESTS = 5.0
"""Seconds between two writings of the manifest while work goes on."""

LONGEST_NAME = 200
"""Bytes of a folder's name; a longer one is cut and ends in a checksum of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How every file of an archive is read, and how its readings become rows."""

    reading: ReadingSettings = field(default_factory=ReadingSettings)
    timeline: TimelineSettings = field(default_factory=TimelineSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What became of a source."""

    source: str
    status: Literal["done", "failed"]
    error: str = ""
    seconds: float = 0.0
    """Of work, on however many machines."""
    size_bytes: int = 0
    rows: int = 0
    frames: int = 0
    duration_s: float = 0.0
    file_sha256: str = ""
    table: str = ""
    """Where its table stands, below the archive's folder."""
    table_bytes: int = 0
    table_sha256: str = ""


def find_sources(given: str, suffixes: Container[str]) -> dict[str, str]:
    """The addresses of all videos that are meant, each with the folder for its table; sorted.

    A table is named after its video's path: below the folder that is searched, or that a pattern begins with;
    of a list, as it stands there. So what comes in later changes no name.

    Args:
        given: A folder, which is searched whole; a pattern with * or **; a list (see `LISTS`); or one file.
        suffixes: What is taken from a folder, lower case, with the dot.

    Raises:
        InputError: There is nothing, or the list lacks its column.
        MissingExtraError: It is a Parquet file, and polars is not installed.
    """
    system, path = open_address(given)
    base = path
    with _telling(given):
        if system.isdir(path):
            found = [each for each in system.find(path) if PurePosixPath(each).suffix.lower() in suffixes]
        elif not system.exists(path):
            found = [each for each in system.glob(path) if not system.isdir(each)]
            base = re.split(r"[*?\[]", path, maxsplit=1)[0].rpartition("/")[0]
        elif path.lower().endswith(LISTS):
            named = name_tables(_read_list(system, path, given))
            try:
                return dict(sorted((full_address(text), folder) for text, folder in named.items()))
            except InputError as error:
                raise InputError(f"{given}: {error}") from error
        else:
            found, base = [path], path.rpartition("/")[0]
    if not found:
        raise InputError(
            f"nothing to analyze at {given!r}; expected a folder of videos, a pattern such as "
            f"'talks/**/*.mp4', or a list of paths ({', '.join(LISTS)})"
        )
    return name_tables([_full(system, each) for each in found], _full(system, base))


def _read_list(system: AbstractFileSystem, path: str, given: str) -> list[str]:
    content = system.cat_file(path)
    if path.lower().endswith(".parquet"):
        require("polars", given, "table")
        import polars as pl

        try:
            paths = pl.read_parquet(io.BytesIO(content), columns=["path"])["path"].to_list()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise _no_list(given) from error
    else:
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise _no_list(given) from error
        if path.lower().endswith(".csv"):
            try:
                rows = list(csv.DictReader(lines))
            except csv.Error as error:
                raise _no_list(given) from error
            paths = [row.get("path") for row in rows]
        else:
            paths = lines
    kept = [text for each in paths if each and (text := str(each).strip())]
    if not kept:
        raise _no_list(given)
    return kept


def _no_list(given: str) -> InputError:
    return InputError(
        f"{given} names no videos; expected one path a line (.txt), or a column `path` (.csv, .parquet)"
    )


def open_address(address: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an address, and the path in it.

    Raises:
        InputError: There is no such kind of file system, or what it needs is not installed.
    """
    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise InputError(
            f"{address!r} cannot be opened ({error}); expected a path, or an address such as s3://bucket/folder"
        ) from error
    return system, str(path)


def full_address(address: str) -> str:
    """An address that means the same in every folder: a whole path, or one with its protocol."""
    return _full(*open_address(address))


def _full(system: AbstractFileSystem, path: str) -> str:
    return str(system.unstrip_protocol(path)) if _is_remote(system) else path


def _is_remote(system: AbstractFileSystem) -> bool:
    return not isinstance(system, fsspec.get_filesystem_class("file"))


@contextmanager
def _telling(address: str) -> Iterator[None]:
    """Says of what a file system refuses which address it is about."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{address}: {error.strerror or error}; name another, or mend this one") from error


def name_tables(sources: Iterable[str], base: str = "") -> dict[str, str]:
    """For each source, sorted, the folder of its table: its path below a base.

    >>> name_tables(["/films/b c/one.mp4", "/films/one.mp4"], "/films")
    {'/films/b c/one.mp4': 'source=b%20c%2Fone.mp4', '/films/one.mp4': 'source=one.mp4'}
    """
    return {source: _folder(source.removeprefix(base).lstrip("/")) for source in sorted(set(sources))}


def _folder(name: str) -> str:
    quoted = quote(name, safe="")
    if len(quoted) > LONGEST_NAME:
        quoted = quoted[: LONGEST_NAME - 17].rstrip("%") + "-" + sha256(name.encode()).hexdigest()[:16]
    return f"source={quoted}"


class Archive:
    """The folder of an archive's tables, while one run writes to it.

    Args:
        address: Of the folder; made if it is not there.
        settings: How its tables are made.

    Raises:
        InputError: It cannot be written to, another run writes to it, or what is there was made otherwise.
    """

    def __init__(self, address: str, settings: Settings) -> None:
        self.system, self._path = open_address(address)
        self.address = _full(self.system, self._path)
        self.entries: dict[str, Entry] = {}
        self._told = _described(settings)
        self._next_manifest = monotonic() + BETWEEN_MANIFESTS
        self._lock: io.BufferedWriter | None = None

    def __enter__(self) -> Archive:
        with _telling(self.address):
            self.system.makedirs(self._path, exist_ok=True)
        self._lock = self._locked()
        try:
            self._go_on()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()

    def _go_on(self) -> None:
        """Takes up what an earlier run left."""
        _remove_orphans(self.system, self._path)
        told, manifest = self._read(SETTINGS), self._read(MANIFEST)
        try:
            same = told is None or read_json(told) == self._told
            lines = csv.DictReader((manifest or b"").decode().splitlines(), strict=True)
            self.entries = {entry.source: entry for entry in map(_entry, lines)}
        except (ValueError, TypeError, csv.Error) as error:
            raise InputError(
                f"{SETTINGS} or {MANIFEST} in {self.address} is not what mien writes ({error}); "
                "name another folder"
            ) from error
        if not same:
            raise InputError(
                f"the tables in {self.address} were made with other settings or by another version, as its "
                f"{SETTINGS} says; name another folder"
            )
        self._write(SETTINGS, json.dumps(self._told, indent=1).encode())

    def is_whole(self, source: str, folder: str, size_bytes: int) -> bool:
        """Whether the table of a source stands there whole, and the source is as large as it was."""
        entry = self.entries.get(source)
        if entry is None or entry.status != "done" or entry.size_bytes != size_bytes:
            return False
        if not entry.table.startswith(f"{folder}/"):
            return False
        try:
            return int(self.system.size(f"{self._path}/{entry.table}") or 0) == entry.table_bytes
        except (OSError, ValueError):  # the latter of a name that no file can have
            return False

    def note(self, entry: Entry) -> None:
        """Takes down what became of a source."""
        self.entries[entry.source] = entry
        if monotonic() >= self._next_manifest:
            self.write_manifest()

    def write_manifest(self) -> None:
        """Writes manifest.csv anew, by source."""
        text = io.StringIO()
        table = csv.DictWriter(text, [each.name for each in fields(Entry)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(self.entries[source]) for source in sorted(self.entries))
        self._write(MANIFEST, text.getvalue().encode())
        self._next_manifest = monotonic() + BETWEEN_MANIFESTS

    def _locked(self) -> io.BufferedWriter | None:
        """Holds the folder for this run, where it lies on this machine; elsewhere nobody can."""
        if _is_remote(self.system):
            return None
        try:
            import fcntl
        except ImportError:  # not on Windows
            return None
        file = (Path(self._path) / LOCK).open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise InputError(
                f"another run is writing to {self.address}; wait for it, or name another folder"
            ) from error
        return file

    def _read(self, name: str) -> bytes | None:
        with _telling(self.address):
            place = f"{self._path}/{name}"
            return bytes(self.system.cat_file(place)) if self.system.exists(place) else None

    def _write(self, name: str, content: bytes) -> None:
        place = f"{self._path}/{name}"
        with _telling(self.address), _placed(self.system, place) as aside:
            self.system.pipe_file(aside, content)


def put_table(archive: str, folder: str, table: Path) -> str:
    """Moves a table to its place below an archive's folder, whole; where that is, below the folder.

    Raises:
        OSError: The file system refuses it.
    """
    system, path = open_address(archive)
    place = f"{path}/{folder}/{table.name}"
    system.makedirs(f"{path}/{folder}", exist_ok=True)
    _remove_orphans(system, f"{path}/{folder}")
    with _placed(system, place) as aside:
        system.put_file(str(table), aside)
    return f"{folder}/{table.name}"


@contextmanager
def _placed(system: AbstractFileSystem, place: str) -> Iterator[str]:
    """What `whole.Asides` does for a file, in any file system: no two writers share the name aside."""
    folder, _, name = place.rpartition("/")
    aside = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
    try:
        yield aside
        system.mv(aside, place)
    except BaseException:
        with suppress(OSError):
            system.rm(aside)
        raise


def _remove_orphans(system: AbstractFileSystem, folder: str) -> None:
    """Deletes what programs that were killed have left of `_placed` in a folder."""
    with suppress(OSError):
        for path in [each for each in system.ls(folder, detail=False) if ORPHAN.fullmatch(Path(each).name)]:
            system.rm(path)


@contextmanager
def local_copy(source: str, folder: Path) -> Iterator[Path]:
    """A source as a file on this machine: itself, or a copy in a folder, which is deleted after.

    Raises:
        InputError: There is nothing.
    """
    system, path = open_address(source)
    if not _is_remote(system):
        yield Path(path)
        return
    copy = folder / (PurePosixPath(path).name or "source")
    try:
        with _telling(source):
            system.get_file(path, str(copy))
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def size_of(source: str) -> int:
    """Bytes of a source; 0 where it is not there, or cannot be told."""
    try:
        system, path = open_address(source)
        return int(system.size(path) or 0)
    except (OSError, InputError):
        return 0


def _described(settings: Settings) -> dict[str, Any]:
    """Whatever changes a table."""
    model = load_model(settings.reading.model)
    reading = asdict(settings.reading)
    del reading["n_threads"]
    told = {
        "mien": version("mien"),
        "model": model.name,
        "weights_sha256": dict(model.sha256),
        "reading": reading,
        "timeline": asdict(settings.timeline),
    }
    return dict(json.loads(json.dumps(told)))


def _entry(line: Mapping[str, str]) -> Entry:
    kinds: dict[str, type] = {"seconds": float, "duration_s": float}
    kinds |= dict.fromkeys(("size_bytes", "rows", "frames", "table_bytes"), int)
    told: dict[str, Any] = {name: kinds.get(name, str)(text) for name, text in line.items()}
    return Entry(**told)
