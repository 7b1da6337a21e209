"""A job in, its work done in a process of its own, what it tells of itself, and its death in words."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from copy import copy
from multiprocessing import get_all_start_methods, get_context
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from mien.errors import InputError, MediaError, MienError
from mien.jobs import Cancelled, make_report, watch_live
from mien.logs import told_briefly

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from mien.jobs import Job

    Work = Callable[[Job], None]

TOLD = ("what", "done", "total", "latest", "dropped", "files", "n_charts", "chart")
"""What a process tells of its job; the chart last, and only where it is a new one."""

BETWEEN = 0.2
"""Seconds between two tellings."""

PATIENCE = 600.0
"""Seconds without anything new after which the process is ended."""

LOADED = ("av", "bokeh.embed", "bokeh.plotting", "cv2", "matplotlib.backends.backend_agg", "onnxruntime")
"""What is loaded before: not polars, whose threads a fork would lose."""

_FORKS = "forkserver" in get_all_start_methods()
_processes: Any = get_context("forkserver" if _FORKS else "spawn")


def prepare() -> None:
    """Has a process load what the work needs, of which those of the jobs are copies."""
    if _FORKS:
        from multiprocessing.forkserver import ensure_running

        _processes.set_forkserver_preload([__name__, *LOADED])
        ensure_running()


def report_apart(job: Job) -> None:
    """As `mien.jobs.make_report`, which see.

    Raises:
        Cancelled: The job was stopped.
        MienError: The file cannot be analyzed; or it brought the process down, or nothing went on any more.
    """
    _do_apart(job, make_report)


def watch_apart(job: Job) -> None:
    """As `mien.jobs.watch_live`, which see.

    Raises:
        MienError: It cannot be read; or it brought the process down, or nothing went on any more.
    """
    _do_apart(job, watch_live)


def _do_apart(job: Job, work: Work, patience: float = PATIENCE) -> None:
    ours, theirs = _processes.Pipe()
    process = _processes.Process(target=_work, args=(work, copy(job), theirs), daemon=True)
    process.start()
    theirs.close()
    silent, filmed, ended = 0.0, False, False
    try:
        while not ended:
            if job.stopped:
                raise Cancelled
            if job.filmed and not filmed:
                filmed = True
                with suppress(OSError):  # it has ended already, and has told how
                    ours.send(None)
            if not ours.poll(BETWEEN):
                silent += BETWEEN
                if silent > patience:
                    raise MediaError(f"{job.name}: nothing went on for {patience:.0f} s; convert it to .mp4")
                continue
            silent = 0.0
            try:
                told = ours.recv()
            except EOFError:
                process.join()
                raise _death(job.name, process.exitcode or 0) from None
            ended = _take(job, told)
    finally:
        process.kill()
        process.join()
        ours.close()


def _take(job: Job, told: dict[str, Any] | BaseException | None) -> bool:
    """Takes what is told; whether it was the last.

    Raises:
        BaseException: What ended the work.
    """
    if isinstance(told, BaseException):
        raise told
    for name, value in (told or {}).items():
        setattr(job, name, value)
    return told is None


def _death(name: str, code: int) -> Exception:
    if code >= 0:
        return RuntimeError(f"the process ended with code {code}")
    return MediaError(
        f"{name} brought its analysis down ({signal.Signals(-code).name}); expected a file that a player "
        "plays: convert it to .mp4"
    )


def _work(work: Work, job: Job, pipe: Connection) -> None:
    """The process: does the work, and tells of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent ends this one
    over = Event()
    telling = Thread(target=_tell, args=(job, pipe, over))
    telling.start()
    ended: BaseException | None = None
    try:
        work(job)
    except MienError as error:
        ended = InputError(str(error))  # of each kind not all can be sent
    except (OSError, Cancelled) as error:
        ended = error
    except Exception as error:
        ended = RuntimeError(told_briefly(error))
    finally:
        over.set()
        telling.join()
    pipe.send(ended)


def _tell(job: Job, pipe: Connection, over: Event) -> None:
    before: dict[str, Any] = {}
    last = False
    try:
        while not last:
            last = over.wait(BETWEEN)
            if pipe.poll():
                pipe.recv()
                job.filmed = True
            now = {name: getattr(job, name) for name in TOLD}
            new = {name: value for name, value in now.items() if before.get(name) != value}
            if new:
                pipe.send(new)
            before = now
    except (EOFError, OSError):  # nobody listens any more
        os._exit(1)
