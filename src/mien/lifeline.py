"""What a process that analyzes files tells the one that watches over it: at which one it is, and how long."""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import monotonic

BETWEEN_BEATS = 1.0
"""Seconds."""


class Lifeline:
    """The child's end of a pipe.

    Args:
        wire: to write to; None: nobody watches.
        first: number of the first file that is still to be done.
    """

    def __init__(self, wire: int | None = None, first: int = 0) -> None:
        self.first = first
        self._wire, self._next_beat = wire, 0.0

    def begin(self, number: int, path: Path, folder: Path) -> None:
        """A file is begun, whose report goes into a folder."""
        self._tell({"number": number, "path": str(path), "folder": str(folder)})

    def beat(self) -> None:
        """It goes on."""
        if self._wire is not None and monotonic() >= self._next_beat:
            self._next_beat = monotonic() + BETWEEN_BEATS
            self._tell({})

    def _tell(self, what: dict[str, int | str]) -> None:
        if self._wire is None:
            return
        try:
            os.write(self._wire, json.dumps(what).encode() + b"\n")
        except BrokenPipeError:  # who watched was killed, and this process would be nobody's
            raise SystemExit(1) from None


held = Lifeline()
"""This process's own."""


def hold(wire: int, first: int) -> None:
    """From here on this process is a child."""
    global held  # noqa: PLW0603
    held = Lifeline(wire, first)
