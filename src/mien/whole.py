"""Paths in, files that are whole out: written aside and renamed, and told apart by their checksums."""

import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import EISDIR
from hashlib import file_digest
from pathlib import Path, PurePath
from typing import TextIO

from mien.errors import InputError

ORPHAN = re.compile(r"\..+\.[0-9a-f]{8}\.(part|old)")
"""Names that `Asides` gives."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place if the context ends without an exception.

    Otherwise what stood at `path` stays as it was. Either way nothing is left at the path given, which begins
    with a dot and ends in `.part`. The folder must be there.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, to make in it what is to take its place; gone when the context ends.

    What programs that were killed have left of such folders for `path` is deleted first, where a folder that
    another one is writing to can be told from it. The folder that `path` lies in must be there.
    """
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.part")
    for orphan in [each for each in path.parent.iterdir() if name.fullmatch(each.name)]:
        if os.name == "posix":
            with suppress(OSError), _held(orphan):
                shutil.rmtree(orphan)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    aside.mkdir()
    try:
        with ExitStack() as kept:
            with suppress(OSError):  # as for `Asides`
                kept.enter_context(_held(aside))
            yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def files_aside(folder: Path, instead_of: Sequence[str]) -> Iterator[Path]:
    """A new folder for files that go into `folder` if the context ends without an exception: all, or none.

    Args:
        folder: Made if it is not there.
        instead_of: Patterns of the names of files there that are deleted then.

    Raises:
        OSError: One of them cannot take its place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with folder_aside(folder / "files") as aside:
        yield aside
        made = sorted(aside.iterdir())
        for place in (folder / path.name for path in made):
            if place.is_dir():
                raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(place))
        for path in made:
            path.replace(folder / path.name)
        for old in {old for pattern in instead_of for old in folder.glob(pattern)}:
            if old.name not in {path.name for path in made}:
                old.unlink()


def move_in(made: Path, place: Path) -> None:
    """Gives what was made the name `place`; a folder that stood there is left where it was made.

    Both folders change their names in one step where the system can, as Linux does on most file systems, and
    there is always one at `place`. Elsewhere there is none for a moment, and the old one's name is `.old`.
    """
    if not place.is_dir():
        made.replace(place)
    elif not _exchanged(made, place):
        replaced = made.with_name(f"{made.name}.old")
        place.rename(replaced)
        try:
            made.rename(place)
        except BaseException:
            replaced.rename(place)
            raise


def _exchanged(one: Path, other: Path) -> bool:
    """Whether each of two paths has the other's name now; if not, nothing has changed."""
    if sys.platform != "linux":
        return False
    import ctypes

    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    with suppress(AttributeError):  # a C library without it
        rename = ctypes.CDLL(None).renameat2
        return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)
    return False


def checksum(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal, read at constant memory."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def lies_below(name: str) -> bool:
    """Whether a path that a file tells stays inside the folder that it is relative to.

    >>> lies_below("a/b.npy"), lies_below("../b.npy"), lies_below("/b.npy"), lies_below("")
    (True, False, False, False)
    """
    path = PurePath(name)
    return bool(path.parts) and not path.anchor and ".." not in path.parts and "\0" not in name


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The file that a report is of, for what shows pictures of it."""

    path: Path
    pictures: bool = True
    """Frames of it may be shown."""
    film: bool = False
    """The file itself is to be shown."""
    blur: bool = False
    """Faces are to be made unrecognisable wherever they are shown; frames of a report are left out then."""
    hook: Callable[[str, float, float], None] | None = None
    """Told how far what takes long is."""

    def __post_init__(self) -> None:
        if self.film and self.blur:
            raise InputError("the film itself shows faces; with blur leave it out")


class Asides:
    """Files of a folder under names they will not keep, until `keep` gives them theirs.

    Args:
        directory: The folder.
        original: What is reported on; None: nothing of it is shown.
    """

    def __init__(self, directory: Path, original: Original | None = None) -> None:
        self.original = original
        self._directory = directory
        self._token = secrets.token_hex(4)
        self._files: dict[str, TextIO] = {}
        self._to_remove: list[Path] = []

    def open(self, name: str) -> TextIO:
        """A new file to write and read again, which `remove` closes and deletes."""
        path = self._directory / f".{name}.{self._token}.part"
        self._to_remove.append(path)  # before it is there: a signal may end the program in between
        # A lone surrogate of an undecodable file name is written \udc80, which JSON reads back.
        # By lines, so that what was written is there whatever ends the program.
        file = path.open("x+", buffering=1, encoding="utf-8", newline="\n", errors="backslashreplace")
        self._files[name] = file
        with suppress(OSError):  # a file system without locks; then nothing of it is taken for an orphan
            lock(file)
        return file

    def keep(self, names: Sequence[str], instead_of: Sequence[str]) -> None:
        """Gives the files named their names, and takes away what stands under the names `instead_of`.

        If one cannot be moved, or the program is ended meanwhile, all go back to where they were.
        """
        for name in names:
            self._files[name].close()
        moves = {
            place: place.with_name(f".{name}.{self._token}.old")
            for name in instead_of
            if (place := self._directory / name).is_file()
        }
        replaced = list(moves.values())
        moves |= {Path(self._files[name].name): self._directory / name for name in names}
        try:
            for source, target in moves.items():
                source.rename(target)
        except BaseException:
            for source, target in reversed(moves.items()):
                if not source.exists():
                    with suppress(OSError):
                        target.rename(source)
            raise
        self._to_remove += replaced

    def remove(self) -> None:
        """Closes what is open and deletes what was not kept or was replaced."""
        for file in self._files.values():
            with suppress(OSError):
                file.close()
        for path in self._to_remove:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def remove_orphans(directory: Path) -> None:
    """Deletes what programs that were killed have left of `Asides` in a folder; not what one is writing."""
    for path in directory.iterdir():
        if ORPHAN.fullmatch(path.name):
            with suppress(OSError), path.open() as file:
                lock(file)
                path.unlink()


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Holds a folder, where folders can be opened, until the context ends.

    Raises:
        OSError: Another process holds it.
    """
    if os.name != "posix":
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        lock(number)
        yield
    finally:
        os.close(number)


def lock(file: TextIO | int) -> None:
    """Holds a file, or what its number stands for, until it is closed.

    Raises:
        OSError: Another process holds it.
    """
    if os.name == "posix":  # elsewhere a file that is open cannot be deleted
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
