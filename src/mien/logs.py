"""What goes wrong inside in, a line of a log out: kinds of error, places in the code, and no path but a name.

Logs of a page that serves several people are read by one of them, and sent to others when help is sought.
"""

from __future__ import annotations

import logging
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

QUOTED = re.compile(r"""(['"])(?:[^'"\n]*[\\/])([^'"\\/\n]*)\1""")
BARE = re.compile(r"""(?:[A-Za-z]:)?[\\/](?:[^\\/\s'"]+[\\/])+(?=[^\\/\s'"])""")


def without_folders(text: str) -> str:
    r"""A text in which of every path the last name is left.

    >>> without_folders("[Errno 28] No space left on device: '/films/of mine/a b.mp4'")
    "[Errno 28] No space left on device: 'a b.mp4'"
    >>> without_folders(r"cannot open /tmp/x/y.mp4 or C:\films\z.mp4")
    'cannot open y.mp4 or z.mp4'
    """
    return BARE.sub("", QUOTED.sub(r"\1\2\1", text))


def told_briefly(error: BaseException) -> str:
    """An error's kind, what it says, and through which lines of code it came, in one line."""
    places = [
        f"{Path(each.filename).name}:{each.lineno}" for each in traceback.extract_tb(error.__traceback__)
    ]
    said = " ".join(without_folders(str(error)).split())
    return f"{type(error).__name__}: {said} ({' > '.join(places)})"


class PathlessFormatter(logging.Formatter):
    """Formats records so that they hold no folders, those of tracebacks included."""

    def formatException(  # noqa: N802
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """As `logging.Formatter`, but one line."""
        return "" if ei[1] is None else told_briefly(ei[1])

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter`, without folders."""
        return without_folders(super().format(record))


def log_without_paths() -> None:
    """Sends what any library logs, warnings and worse, to the error output by this formatter."""
    handler = logging.StreamHandler()
    handler.setFormatter(PathlessFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
