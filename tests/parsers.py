"""Targets: functions of mien's that read a file which somebody else may have made.

What a target is given either is read, or is refused by an error of mien's: one line, without control
characters, that names the file. `fuzz` and `test_fuzz` hold every target to that.
"""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import MienError

KEPT = Path(__file__).with_name("kept")
"""What once failed: a folder for each target."""


class FaultError(Exception):
    """A target did what it must not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A function that reads a file, and what lies around that file."""

    file: str
    """Below a folder."""
    lay: Callable[[Path], Iterable[bytes | str]]
    """Makes everything else in a folder; gives what the file may hold to begin with."""
    parse: Callable[[Path], object]
    """Reads the file."""
    names: tuple[str, ...] = ()
    """What an error may name in the file's place."""
    is_slow: bool = False

    def begin(self, folder: Path) -> tuple[Path, list[bytes]]:
        """The file's place, made ready, and what it may hold to begin with."""
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path, [each.encode() if isinstance(each, str) else each for each in self.lay(folder)]

    def hold(self, path: Path, content: bytes) -> None:
        """Reads the file with this content.

        Raises:
            FaultError: It is neither read nor refused as it should be.
        """
        with path.open("r+b" if path.exists() else "wb") as file:  # emptied first, a disk would be waited for
            file.write(content)
            file.truncate()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                self.parse(path)
            except MienError as error:
                wrong = fault_of(str(error), (path.name, *self.names))
                if wrong:
                    raise FaultError(f"{wrong}: {str(error)[:300]!r}") from error
            except (Exception, RecursionError) as error:
                raise FaultError(f"{type(error).__name__}: {str(error)[:200]}") from error
            except BaseException as error:
                if "Panic" not in type(error).__name__:  # what Rust raises is no Exception
                    raise
                raise FaultError(f"{type(error).__name__}: {str(error)[:200]}") from error


def fault_of(told: str, names: tuple[str, ...]) -> str:
    """What is wrong with an error's message; empty where nothing is."""
    if len(told.splitlines()) != 1 or not told.strip():
        return "not one line"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in told):
        return "a control character"
    return "" if any(name in told for name in names) else "no file named"


TARGETS: dict[str, Target] = {}


def add(name: str, file: str, parse: Callable[[Path], object], *begun: bytes | str, **more: Any) -> None:
    """A target whose file stands alone, or else one that `lay` describes."""
    TARGETS[name] = Target(file=file, parse=parse, **{"lay": lambda folder: begun, **more})


def arrays(*values: Any) -> list[bytes]:
    """What `np.save` makes of them."""
    files = [io.BytesIO() for _ in values]
    for file, value in zip(files, values, strict=True):
        np.save(file, value)
    return [file.getvalue() for file in files]
