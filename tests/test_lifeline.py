"""What is told through the pipe, and what happens where nobody listens."""

import json
import os
from pathlib import Path

import pytest

from mien.lifeline import Lifeline


def test_a_file_and_beats_are_lines() -> None:
    read, write = os.pipe()
    line = Lifeline(write, first=3)
    line.begin(3, Path("a\nb.mp4"), Path("out"))
    line.beat()
    line.beat()  # too soon to be told
    os.close(write)
    told = [json.loads(each) for each in os.read(read, 1000).splitlines()]
    os.close(read)
    assert told == [{"number": 3, "path": "a\nb.mp4", "folder": "out"}, {}]


def test_nothing_is_told_where_nobody_watches() -> None:
    line = Lifeline()
    line.begin(0, Path("a.mp4"), Path("out"))
    line.beat()
    assert line.first == 0


def test_who_is_not_watched_any_more_ends() -> None:
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(SystemExit):
        Lifeline(write).beat()
    os.close(write)
