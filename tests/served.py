"""The page, served on a free port of this machine while a test lasts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import quote

import uvicorn

from mien.lineup import Jobs
from mien.web import create_app


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running server."""

    port: int
    jobs: Jobs

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"X-Mien": "1"} if headers is None else headers)
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def send(self, path: Path, name: str | None = None, wishes: str = "") -> str:
        answer = self.ask("POST", f"/jobs?name={quote(name or path.name)}{wishes}", path.read_bytes())
        assert answer.status == 201, answer.body
        token: str = answer.told["token"]
        return token

    def await_end(self, token: str) -> Any:
        for _ in range(6000):
            told = self.ask("GET", f"/jobs?job={token}").told[token]
            if told is None or told["state"] in ("done", "failed", "cancelled"):
                return told
            sleep(0.02)
        raise AssertionError(f"not over after two minutes: {told}")


@contextmanager
def served(folder: Path, host: str = "127.0.0.1", **told: Any) -> Iterator[Server]:
    """A server, as `mien serve` runs it."""
    with Jobs(folder / "jobs", **told) as jobs:
        config = uvicorn.Config(
            create_app(jobs, host), port=0, log_level="warning", access_log=False, lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            sleep(0.01)
        try:
            yield Server(server.servers[0].sockets[0].getsockname()[1], jobs)
        finally:
            server.should_exit = True
            thread.join()
