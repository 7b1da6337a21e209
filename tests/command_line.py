"""Running the command line in tests, and what every error of it looks like."""

from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]
"""Runs `mien` with these arguments; gives the exit code and what stood on both outputs."""


def assert_refused(result: tuple[int, str, str], folder: Path, *words: str) -> None:
    """An error of one line, exit code 2, and nothing written."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("mien: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert not folder.exists()
