"""A hundred clients at once: those who send films, those who send rubbish, and those who are in no hurry.

    python tests/clients.py [--clients 100] [--port PORT]

Starts `mien serve` on this machine. Every client does its part in a thread: six of ten send a short film and
wait for its report, two send something else and want an error in words, one sends a byte every second and one
hangs up in the middle. A film that finds the queue full is sent again, as it is told. Prints what became of
them, how long answers took, and the server's memory before, at most and after. Code 1 where a film has no
report, rubbish has one, or anything is left in the server's folder.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from media_files import flat_frames, tone, write_video

KINDS = ("film",) * 6 + ("rubbish",) * 2 + ("slow", "hangs up")


class Client(threading.Thread):
    """One of them."""

    def __init__(self, kind: str, port: int, film: bytes, over: threading.Event) -> None:
        super().__init__()
        self.kind, self.end = kind, "nothing"
        self._port, self._film, self._over = port, film, over
        self.answers: list[float] = []
        """Seconds that each answer took."""
        self.seconds = 0.0

    def run(self) -> None:
        began = time.monotonic()
        try:
            self.end = {
                "film": self._send,
                "rubbish": self._send,
                "slow": self._drip,
                "hangs up": self._leave,
            }[self.kind]()
        except OSError as error:
            self.end = f"no answer: {error}"
        self.seconds = time.monotonic() - began

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        began = time.monotonic()
        connection = HTTPConnection("127.0.0.1", self._port, timeout=120)
        connection.request(method, path, body, {"X-Mien": "1"})
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        self.answers.append(time.monotonic() - began)
        return answer.status, json.loads(told) if told.startswith(b"{") else told

    def _send(self) -> str:
        body = self._film if self.kind == "film" else b"this is no film" * 1000
        while True:
            status, told = self._ask("POST", "/jobs?name=a.mp4&voice=false", body)
            if status == 201:
                break
            if "waiting already" not in str(told):
                return f"{status}: {told}"
            time.sleep(0.5)
        while True:
            state = self._ask("GET", f"/jobs?job={told['token']}")[1][told["token"]]
            if state is None or state["state"] in ("done", "failed", "cancelled"):
                break
            time.sleep(0.3)
        end = "gone" if state is None else state["state"]
        if end == "done":
            status, table = self._ask("GET", f"/jobs/{told['token']}/files/timeline.csv")
            end = "a table" if table.count(b"\n") == 26 else f"a wrong table ({status})"
        self._ask("DELETE", f"/jobs/{told['token']}")
        return end

    def _open(self) -> socket.socket:
        line = socket.create_connection(("127.0.0.1", self._port), timeout=120)
        head = "POST /jobs?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Mien: 1"
        line.sendall(f"{head}\r\nContent-Length: {len(self._film)}\r\n\r\n".encode())
        return line

    def _drip(self) -> str:
        with self._open() as line:
            for byte in self._film:
                line.sendall(bytes([byte]))
                if self._over.wait(1.0):
                    break
        return "was still sending"

    def _leave(self) -> str:
        with self._open() as line:
            line.sendall(self._film[: len(self._film) // 2])
        return "left"


def resident(process: int) -> float:
    """Megabytes of a process and its children."""
    place = Path(f"/proc/{process}")
    try:
        own = int((place / "statm").read_text().split()[1]) * 4096 / 1e6
        children = (place / "task" / str(process) / "children").read_text().split()
    except OSError:
        return 0.0
    return own + sum(resident(int(child)) for child in children)


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        film = write_video(place / "film.mp4", flat_frames(25), waveform=tone(440, 1.0)).read_bytes()
        server = subprocess.Popen(
            [sys.executable, "-m", "mien", "serve", "--port", str(given.port)],
            env={**os.environ, "TMPDIR": name},
            stdout=subprocess.DEVNULL,
        )
        over = threading.Event()
        first = Client("film", given.port, film, over)
        while first.end != "a table":  # until it is up
            time.sleep(0.5)
            first = Client("film", given.port, film, over)
            first.start()
            first.join()
        before, most = resident(server.pid), 0.0
        clients = [Client(KINDS[k % len(KINDS)], given.port, film, over) for k in range(given.clients)]
        for client in clients:
            client.start()
        while any(each.is_alive() for each in clients if each.kind in ("film", "rubbish")):
            most = max(most, resident(server.pid))
            time.sleep(0.2)
        over.set()
        for client in clients:
            client.join()
        time.sleep(2)
        after = resident(server.pid)
        left = [*place.glob("mien-page-*/jobs/*")]
        server.terminate()
        server.wait()
    report(clients, (before, most, after), left)


def report(clients: list[Client], memory: tuple[float, float, float], left: list[Path]) -> None:
    """Prints, and ends with a code."""
    print("| client | what became of it | how many | seconds, median and longest |\n|---|---|---|---|")
    for (kind, end), count in sorted(Counter((each.kind, each.end) for each in clients).items()):
        took = [each.seconds for each in clients if (each.kind, each.end) == (kind, end)]
        print(f"| {kind} | {end} | {count} | {np.median(took):.1f}, {max(took):.1f} |")
    answers = np.concatenate([each.answers for each in clients])
    told = ", ".join(
        f"{share} %: {1000 * np.percentile(answers, share):.0f} ms" for share in (50, 90, 99, 100)
    )
    print(f"\n{len(answers)} answers; {told}")
    print("memory {:.0f} MB before, {:.0f} at most, {:.0f} after".format(*memory))
    good = all(each.end == "a table" for each in clients if each.kind == "film")
    bad = all(each.end == "failed" for each in clients if each.kind == "rubbish")
    print(f"{len(left)} things left in the server's folder")
    sys.exit(not (good and bad and not left))


if __name__ == "__main__":
    main()
