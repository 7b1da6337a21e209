"""Paths in, files that are whole out: written aside and renamed, and told apart by their checksums."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path


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


def checksum(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal, read at constant memory."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
