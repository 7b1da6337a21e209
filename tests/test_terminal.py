"""The terminal: an error is one line, whatever it was, and progress says nothing where nobody looks."""

import errno

import pytest

from mien.errors import InputError
from mien.terminal import progress, tell_error


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell_error(InputError("first line\nsecond   line"))
    tell_error(OSError(errno.ENOSPC, "No space left on device", "out/timeline.csv"))
    assert capsys.readouterr().err.splitlines() == [
        r"mien: first line\nsecond line",
        "mien: out/timeline.csv: No space left on device; name another, or mend what is there",
    ]


def test_a_bar_is_drawn_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as hook:
        hook("reading", 1, 2)
    assert capsys.readouterr() == ("", "")
