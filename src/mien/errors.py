"""The exceptions that mien raises.

    MienError                 catch this to catch all; the command line prints it in one line and exits 2
    ├── InputError            the file or argument given is not usable
    │   └── MediaError        it cannot be opened or decoded
    ├── CheckpointError       weights and code do not fit, or the checksum is wrong
    ├── DatasetError          a corpus is missing, incomplete, or leaks between splits
    ├── MetricError           a number was asked for that the data cannot give
    └── MissingExtraError     an optional part is not installed; the message is the pip command

Every message says what was given, what was expected and what to do, in one line; `described` brings what the
operating system says into that form, and `visible` whatever a name or a cell of a file holds.
"""

import unicodedata


class MienError(Exception):
    """What every error of this package is."""

    def __init__(self, told: str) -> None:
        super().__init__(visible(told))


class InputError(MienError):
    """The file or argument given is not usable."""


class MediaError(InputError):
    """The file cannot be opened or decoded."""


class CheckpointError(MienError):
    """Weights and code do not fit, or the checksum is wrong."""


class DatasetError(MienError):
    """A corpus is missing, incomplete, or leaks between splits."""


class MetricError(MienError):
    """A number was asked for that the data cannot give."""


class MissingExtraError(MienError):
    """An optional part is not installed."""

    def __init__(self, wanted_by: str, extra: str) -> None:
        super().__init__(f"{wanted_by} needs the extra [{extra}]: run  pip install 'mien[{extra}]'")


def described(error: Exception) -> str:
    """An error in words: of the operating system's, the place and the reason.

    >>> described(OSError(28, "No space left on device", "out/timeline.csv"))
    'out/timeline.csv: No space left on device; name another, or mend what is there'
    """
    if isinstance(error, OSError) and error.strerror:
        place = error.filename2 or error.filename
        mend = "name another, or mend what is there"
        return visible(f"{place}: {error.strerror}; {mend}" if place else error.strerror)
    return str(error)


def visible(text: str) -> str:
    r"""A text in which what ends a line, steers a terminal or is no letter is spelled out.

    >>> print(visible("a\n\x1b[2J\udce9"))
    a\n\x1b[2J\udce9
    """
    if text.isprintable():
        return text
    kept = (each.isprintable() or unicodedata.category(each) == "Zs" for each in text)
    return "".join(each if whole else repr(each)[1:-1] for each, whole in zip(text, kept, strict=True))
