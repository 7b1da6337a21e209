"""Thousands of videos in, a table of each out: pieces of work handed to the workers of a Ray cluster.

There is a worker for each core. It is handed one piece at a time, and loads the networks once. What is wrong
with a source is noted and the others go on; where a worker dies, its piece alone is done again by another.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import deque
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mien.archive import Archive, Entry, Settings, size_of
from mien.errors import InputError
from mien.pieces import Ends, Failure, Worker, Written, fit
from mien.writing import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mien.spans import Hook

MOST_DEATHS = 3
"""Workers that may die of one piece before its source counts as failed."""

ANSWER_WITHIN = 5.0
"""Seconds in which a cluster's address must take a connection."""

OBJECT_STORE_BYTES = 256_000_000
"""What Ray holds in memory between pieces on this machine; the rest it puts on disk."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Source:
    """A source on its way to its table."""

    address: str
    folder: str
    size_bytes: int
    seconds: float = 0.0
    n_waiting: int = 0
    """Pieces that must be done before they are put together."""
    shown: list[Any] = field(default_factory=list)
    """Where Ray keeps what each stretch shows, in order."""
    ends: list[Ends] = field(default_factory=list)
    heard: Any = None
    """Where it keeps what is heard."""


@dataclass(slots=True, eq=False)
class _Piece:
    """One call of a worker."""

    source: _Source
    method: str
    arguments: tuple[Any, ...] = ()
    n_deaths: int = 0


def analyze_archive(
    sources: Mapping[str, str],
    out: str,
    settings: Settings | None = None,
    *,
    ray_address: str | None = None,
    n_workers: int | None = None,
    hook: Hook = lambda *_: None,
) -> list[Entry]:
    """Writes the table of each source into a folder, where those that are there whole already are left alone.

    Args:
        sources: Addresses, each with the folder of its table, as `mien.archive.find_sources` gives them.
        out: Address of the folder.
        settings: Of the analysis.
        ray_address: Of a cluster; None: Ray is started on this machine, and ended after.
        n_workers: How many; None: one for each core there is.
        hook: Told how many sources are over, and of how many.

    Returns:
        What became of each source, in their order.

    Raises:
        InputError: The cluster does not answer, or the folder cannot be written to; what is done stays.
        MissingExtraError: Ray or polars is not installed.
    """
    settings = settings or Settings()
    for package in ("ray", "polars"):
        require(package, "mien scale", "scale")
    if ray_address is not None:
        _refuse_silent(ray_address)
    with Archive(out, settings) as archive:
        sizes = {source: size_of(source) for source in sources}
        left = [each for each in sources if not archive.is_whole(each, sources[each], sizes[each])]
        hook("analyzing", len(sources) - len(left), len(sources))
        try:
            if left:
                with _cluster(ray_address, n_workers) as n:
                    run = _Run(archive, settings, n)
                    for entry in run.entries(
                        [_Source(address=s, folder=sources[s], size_bytes=sizes[s]) for s in left]
                    ):
                        archive.note(entry)
                        hook("analyzing", len(sources) - len(left) + run.n_over, len(sources))
        finally:
            archive.write_manifest()
        return [archive.entries[source] for source in sources]


@contextmanager
def _cluster(address: str | None, n_workers: int | None) -> Iterator[int]:
    """Connected to a cluster, or to one of this machine alone; and for how many workers there is room."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    local: dict[str, Any] = {}
    if address is None:
        local = {
            "num_cpus": n_workers or os.cpu_count() or 1,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"no Ray cluster at {address or 'this machine'} ({told}); "
            "expected an address as `ray start` tells it"
        ) from error
    try:
        n_cores = int(ray.cluster_resources().get("CPU", 1))
        with redirect_stdout(sys.stderr):  # Ray says on the former that a worker died
            yield min(n_workers or n_cores, n_cores)
    finally:
        ray.shutdown()


def _refuse_silent(address: str) -> None:
    """Returns if something takes connections at an address, which Ray would wait for for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto" or not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_WITHIN).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Ray cluster answers at {address} ({error}); expected host:port or ray://host:port, as "
            "`ray start --head` tells it"
        ) from error


class _Run:
    """Workers, the pieces that they are at, and those that wait."""

    def __init__(self, archive: Archive, settings: Settings, n_workers: int) -> None:
        self._ray: Any = import_module("ray")
        actor: Any = self._ray.remote(Worker).options(num_cpus=1)
        self._new_worker = partial(actor.remote, settings, archive.address)
        self._idle = [self._new_worker() for _ in range(n_workers)]
        self._waiting: deque[_Piece] = deque()
        self._at_work: dict[Any, tuple[Any, Any, _Piece]] = {}
        """By the reference of a piece's answer: that of what it keeps, its worker, and the piece."""
        self._over: set[_Source] = set()
        self.n_over = 0

    def entries(self, sources: Sequence[_Source]) -> Iterator[Entry]:
        """What becomes of each source, as soon as it is known."""
        unbegun = deque(sources)
        while unbegun or self._waiting or self._at_work:
            while self._idle and (self._waiting or unbegun):
                piece = self._waiting.popleft() if self._waiting else _Piece(unbegun.popleft(), "begin")
                if piece.source not in self._over:
                    self._hand(piece, self._idle.pop())
            if self._at_work:
                ready, _ = self._ray.wait([*self._at_work], timeout=None)
                for answer in ready:
                    if (entry := self._take(answer)) is not None:
                        self.n_over += 1
                        yield entry

    def _hand(self, piece: _Piece, worker: Any) -> None:
        source = piece.source
        do = worker.do.options(num_returns=2)
        answer, kept = do.remote(piece.method, source.address, source.folder, *piece.arguments)
        self._at_work[answer] = kept, worker, piece

    def _take(self, answer: Any) -> Entry | None:
        """Goes on from a piece that is done, or that its worker died of."""
        kept, worker, piece = self._at_work.pop(answer)
        errors = self._ray.exceptions
        try:
            result, seconds = self._ray.get(answer)
        except errors.RayTaskError as error:  # a fault of ours, or an object that was lost with its machine
            self._idle.append(worker)
            return self._fail(piece.source, str(error).strip().splitlines()[-1])
        except errors.RayError as error:
            self._idle.append(self._new_worker())
            piece.n_deaths += 1
            if piece.n_deaths < MOST_DEATHS:
                self._waiting.appendleft(piece)
                return None
            return self._fail(piece.source, f"{piece.n_deaths} workers died of it: {type(error).__name__}")
        self._idle.append(worker)
        piece.source.seconds += seconds
        if piece.source in self._over:
            return None
        if isinstance(result, Failure):
            return self._fail(piece.source, result.message)
        if isinstance(result, Written):
            return self._finish(piece.source, result)
        self._go_on(piece, result, kept)
        return None

    def _go_on(self, piece: _Piece, result: Any, kept: Any) -> None:
        source = piece.source
        if piece.method == "begin":
            source.n_waiting = result + 1
            source.shown, source.ends = [None] * result, [Ends(None, None)] * result
            looks = [_Piece(source, "look", (k, k == result - 1)) for k in range(result)]
            self._waiting.extend([_Piece(source, "listen"), *looks])
            return
        if piece.method == "look":
            stretch = piece.arguments[0]
            source.shown[stretch], source.ends[stretch] = kept, result
        else:
            source.heard = kept
        source.n_waiting -= 1
        if source.n_waiting == 0:
            last = _Piece(source, "whole")
            if fit(source.ends):
                last = _Piece(source, "join", (source.shown, [source.heard]))
            self._waiting.appendleft(last)

    def _finish(self, source: _Source, written: Written) -> Entry:
        self._over.add(source)
        source.shown, source.heard = [], None
        return Entry(
            source=source.address,
            status="done",
            seconds=round(source.seconds, 3),
            size_bytes=source.size_bytes,
            rows=written.rows,
            frames=written.frames,
            duration_s=written.duration_s,
            file_sha256=written.file_sha256,
            table=written.table,
            table_bytes=written.table_bytes,
            table_sha256=written.table_sha256,
        )

    def _fail(self, source: _Source, message: str) -> Entry | None:
        if source in self._over:
            return None
        self._over.add(source)
        source.shown, source.heard = [], None
        return Entry(
            source=source.address,
            status="failed",
            error=" ".join(message.split()),
            seconds=round(source.seconds, 3),
            size_bytes=source.size_bytes,
        )
