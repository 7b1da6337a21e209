"""Verbs that go on until they are stopped, as a shell runs them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from growing import grown
from media_files import flat_frames, tone, write_video


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "mien", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_served_until_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, "serve", "--port", "0") as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert address is not None, said
        with urlopen(address[0]) as page:
            assert b"<h1>mien</h1>" in page.read()
        running.send_signal(number)
        _, errors = running.communicate(timeout=30)
    assert errors == ""
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_told_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(tmp_path, "serve", "--port", str(port)) as running:
            _, errors = running.communicate(timeout=30)
    assert running.returncode == 2
    assert errors == (
        f"mien: cannot listen on 127.0.0.1, port {port}: Address already in use; "
        "name another with --port or --host\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None])
def test_live_prints_rows_and_leaves_a_report_however_it_ends(
    tmp_path: Path, number: signal.Signals | None
) -> None:
    film = write_video(tmp_path / "film.mkv", flat_frames(50), fps=25, waveform=tone(440, 2.0))
    with grown(film, tmp_path / "film.ts") as path:
        out = tmp_path / "report"
        with started(tmp_path, "live", str(path), "--out", str(out), "--patience", "1.5") as running:
            assert running.stdout is not None
            assert running.stderr is not None
            first = running.stdout.readline()
            if number is not None:
                running.send_signal(number)
            printed, errors = running.stdout.read(), running.stderr.read()
            running.wait(60)
    assert running.returncode == 0
    assert re.fullmatch(r"\d\.\d{3}\t\t\t\t[a-z_,]*no_face[a-z_,]*\n", first)
    n_rows = 1 + len(printed.splitlines())
    assert re.match(r"\d+ frames, \d+ of them dropped; rows came \d+ ms after their picture, 95 % ", errors)
    table = (out / "timeline.csv").read_text().splitlines()
    assert len(table) == 1 + n_rows
    assert (n_rows == 50) == (number is None)
    assert json.loads((out / "timeline.json").read_text())["provenance"]["live"] is True
    assert not list(out.glob(".*"))


def test_live_of_what_is_not_there_is_told_in_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path, "live", "nowhere.ts", "--out", str(tmp_path / "report")) as running:
        printed, errors = running.communicate(timeout=60)
    assert running.returncode == 2
    assert printed == ""
    assert errors.startswith("mien: 'nowhere.ts' is not there; give a camera's number")
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_live_rows_are_saved_as_they_are_printed(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mkv", flat_frames(50), fps=25)
    out = tmp_path / "report"
    with (
        grown(film, tmp_path / "film.ts") as path,
        started(tmp_path, "live", str(path), "--out", str(out), "--patience", "1") as running,
    ):
        assert running.stdout is not None
        printed = [running.stdout.readline() for _ in range(20)]
        (aside,) = out.glob(".timeline.csv.*.part")
        saved = aside.read_text().splitlines()
    assert len(saved) >= 1 + len(printed) - 1  # each is printed before it is written
