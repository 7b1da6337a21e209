"""Verbs that go on until they are stopped, as a shell runs them."""

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
