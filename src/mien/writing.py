"""What every file of a report is written by: a `Writer`, and the words that several of them share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mien.lanes import Person
    from mien.timeline import Row, Segment
    from mien.whole import Asides


@runtime_checkable
class Watcher(Protocol):
    """What takes rows and segments as they come."""

    def write_row(self, row: Row) -> None:
        """Takes a row; rows come in the order of their frames."""

    def write_segment(self, segment: Segment) -> None:
        """Takes a segment; segments come between rows, some seconds late."""


class Writer(Watcher, Protocol):
    """One file of a report; made with the place to open its files, named `file_name` where whole."""

    file_name: str

    def __init__(self, asides: Asides) -> None: ...

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        """Writes what is known only at the end."""


class Quiet:
    """A writer that has no use for some of what it is given."""

    def write_row(self, row: Row) -> None:
        """Rows have a file of their own."""

    def write_segment(self, segment: Segment) -> None:
        """Segments have a file of their own."""

    def close(self, provenance: Mapping[str, object], persons: Sequence[Person], /) -> None:
        """There is no room here for what is known at the end."""


def require(package: str, wanted_by: str, extra: str) -> None:
    """Refuses to begin without a package.

    Raises:
        MissingExtraError: It is not installed; the extra that brings it is named.
    """
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
