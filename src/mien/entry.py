"""The command `mien`: analysis in a child process, so that a file that brings down a decoder is one line.

The parent has loaded nothing but this, and never sees a frame. A child that dies, or from which nothing is
heard for `PATIENCE`, costs the file that it was at; another goes on with the next.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien import lifeline

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 600
"""Seconds without a word from the child; only those count in which this process itself was running."""

LARGE, SPARE = 4 << 20, 32 << 20
"""Bytes from which on a piece of memory is given back once it is free; and of smaller ones that are kept."""

ENDINGS = ("SIGTERM", "SIGHUP", "SIGINT")
"""Signals that are the child's to answer."""


def main() -> None:
    """Runs the command line; `mien analyze` in a child process where the system can fork."""
    if sys.argv[1:2] == ["analyze"] and hasattr(os, "fork"):
        sys.exit(supervise(run_analysis))
    run_command_line()


def run_command_line() -> None:
    """The command line itself, in this process."""
    from mien.cli import main as run

    run()


def run_analysis() -> None:
    """The command line of `mien analyze`: other verbs, such as training, use large pieces again and again."""
    give_memory_back()
    run_command_line()


def give_memory_back() -> None:
    """Has the C library return large pieces of memory at once; glibc, left alone, learns to keep them.

    An MP4 of ten hours is opened three times, and its table of samples takes 150 MB each time: with what was
    kept of it analysis took 632 MB, so it takes 442 MB. Without `SPARE` glibc would fetch and return small
    pieces all the time, which takes a seventh longer.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError):  # another C library
            adjust = ctypes.CDLL(None).mallopt
            adjust(-3, LARGE)  # M_MMAP_THRESHOLD
            adjust(-1, SPARE)  # M_TRIM_THRESHOLD


@dataclass
class _Child:
    """A process that works, and what it has told."""

    process: int
    wire: int
    at: dict[str, Any] = field(default_factory=dict)
    """The file that it has begun."""
    silent: int = 0
    """Seconds since it said something."""
    _heard: bytes = b""

    def pass_on(self, number: int, _: object) -> None:
        """Hands a signal to the process, which answers it."""
        with suppress(ProcessLookupError):
            os.kill(self.process, number)

    def listen(self) -> bool:
        """Waits for a second at most; False: it has closed the pipe, and so ends."""
        if not select.select([self.wire], [], [], 1.0)[0]:
            self.silent += 1
            return True
        told = os.read(self.wire, 65536)
        *lines, self._heard = (self._heard + told).split(b"\n")
        for line in lines:
            self.at = json.loads(line) or self.at
        self.silent = 0
        return bool(told)


def supervise(work: Callable[[], None], patience: int = PATIENCE) -> int:
    """Does the work in children until one of them ends by itself; the exit code.

    Args:
        work: exits, and tells by `mien.lifeline` which file it is at; begins with the first that is left.
        patience: as `PATIENCE`.
    """
    code, first = 0, 0
    while True:
        with ExitStack() as kept:
            child = _begin(work, first, kept)
            while child.listen() and child.silent < patience:
                pass
            if child.silent >= patience:
                os.kill(child.process, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child.process, 0)[1])
        if status >= 0:
            return status or code
        hung = f"nothing went on for {patience} s" if child.silent >= patience else ""
        _tell_death(child.at, hung or signal.Signals(-status).name)
        if not child.at:
            return 2
        code, first = 2, child.at["number"] + 1


def _begin(work: Callable[[], None], first: int, kept: ExitStack) -> _Child:
    read, write = os.pipe()
    child = _Child(0, read)
    usual = (signal.SIG_DFL, signal.default_int_handler)  # `nohup` has it ignored
    numbers = [getattr(signal, name) for name in ENDINGS]
    # Until the child is there, and while it is being made, they wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    child.process = os.fork()
    if child.process == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        os.close(read)
        lifeline.hold(write, first)
        work()
        sys.exit(0)
    os.close(write)
    kept.callback(os.close, read)
    for number in numbers:
        if signal.getsignal(number) in usual:
            kept.callback(signal.signal, number, signal.signal(number, child.pass_on))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return child


def _tell_death(at: dict[str, Any], reason: str) -> None:
    from mien.terminal import tell_error
    from mien.whole import remove_orphans

    if not at:
        tell_error(
            f"the analysis was brought down before it had begun ({reason}); run it again, or run  mien doctor"
        )
        return
    folder = Path(at["folder"])
    with suppress(OSError):  # it may not be there yet, and what is not empty stays
        remove_orphans(folder)
        folder.rmdir()
    tell_error(
        f"{at['path']!r} brought its analysis down ({reason}) and has no report; expected a file "
        "that a player plays: convert it to .mp4; after SIGKILL see whether memory is short"
    )
