"""Files come in, reports go out, one file after the other: the queue behind the page.

Each file has a folder of its own, which is deleted with its report when the job is forgotten: by its owner,
when nobody has looked at it for a while, or when the queue is closed.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING

from mien.apart import prepare, report_apart, watch_apart
from mien.errors import InputError, MienError
from mien.jobs import LONGEST, Cancelled, Job, State, Wishes, plain_name
from mien.logs import told_briefly
from mien.whole import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

logger = logging.getLogger(__name__)

LARGEST = 1_000_000_000
"""Bytes of a file that is taken."""

MOST_WAITING = 50
"""Files that wait at a time, of all people."""

LEFT_AFTER = 60.0
"""Seconds without a look after which a file that waits or is analyzed is given up: its page was closed."""

KEPT_FOR = 1800.0
"""Seconds without a look after which a finished report is deleted."""

PREFIX, HELD = "mien-page-", "held"
"""How the folder of a queue is called, and the file in it on which the queue holds a lock."""


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that only this user can read, deleted at the end, with those that killed queues have left."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, (Path(name) / HELD).open("w") as own:
        lock(own)
        folder = Path(name)
        for left in folder.parent.glob(f"{PREFIX}*"):
            if left.lstat().st_uid == folder.lstat().st_uid:  # another user's could lead anywhere
                with suppress(OSError), (left / HELD).open() as file:
                    lock(file)
                    shutil.rmtree(left)
        yield folder


class FullError(InputError):
    """So many files wait that no more are taken."""


class Jobs:
    """The queue. Use it as a context, so that nothing is left behind.

    Args:
        folder: Where files and reports lie meanwhile; made here, and deleted at the end.
        largest: Bytes of a file that is taken.
        longest: Seconds of a film that are taken.
        left_after: Seconds without a look after which what is not finished is given up.
        kept_for: Seconds without a look after which what is finished is deleted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        largest: int = LARGEST,
        longest: float = LONGEST,
        left_after: float = LEFT_AFTER,
        kept_for: float = KEPT_FOR,
    ) -> None:
        self.largest = largest
        self._longest = longest
        self._folder = folder
        self.kept_for = kept_for
        self._left_after = left_after
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._changed = Condition()
        self._closed = False
        self._threads = [Thread(target=run, daemon=True) for run in (self._work, self._tidy)]

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        prepare()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                job.stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def receive(self, name: str, wishes: Wishes, size: int) -> Job:
        """A job whose file is to be written to its `path`; then `enter` it, or `forget` it.

        Raises:
            FullError: Too many wait.
            InputError: The file is too large.
        """
        self.refuse_size(size)
        token = secrets.token_urlsafe(16)
        job = Job(
            token=token,
            name=plain_name(name),
            folder=self._folder / token,
            wishes=wishes,
            longest=self._longest,
        )
        with self._changed:
            if sum(each.state in ("arriving", "waiting") for each in self._jobs.values()) >= MOST_WAITING:
                raise FullError(f"{MOST_WAITING} files are waiting already; try again in some minutes")
            self._jobs[job.token] = job
        job.path.parent.mkdir(parents=True)
        return job

    def refuse_size(self, size: int) -> None:
        """Refuses what is larger than is taken, or than there is room for.

        Raises:
            InputError: It is.
        """
        if size > self.largest:
            raise InputError(
                f"the file has {size / 1e6:.0f} MB, and up to {self.largest / 1e6:.0f} MB are taken; cut it, "
                "or use  mien analyze  on the command line, which takes any size"
            )
        room = shutil.disk_usage(self._folder).free
        if size > 0.9 * room:
            raise InputError(
                f"the file has {size / 1e6:.0f} MB, and there is room for {0.9 * room / 1e6:.0f} MB; "
                "use  mien analyze  on the command line, or make room"
            )

    def watch(self, job: Job) -> None:
        """Looks at what is being filmed while its file grows; once it is over the job is entered."""
        with self._changed:
            if job.state != "arriving":
                return
            job.state = "live"
        Thread(target=self._watch, args=(job,), daemon=True).start()

    def _watch(self, job: Job) -> None:
        try:
            watch_apart(job)
        except Cancelled:
            return
        except Exception as error:  # what was filmed is analyzed in any case, and what is wrong told then
            logger.error("%s: %s", job.name, told_briefly(error))
        self.enter(job)

    def enter(self, job: Job) -> None:
        """Lines up a job whose file is whole."""
        with self._changed:
            if job.state in ("arriving", "live") and not job.stopped:
                job.state = "waiting"
                self._waiting.append(job)
                self._changed.notify_all()

    def get(self, token: str) -> Job | None:
        """The job of a token, which counts as a look at it."""
        with self._changed:
            job = self._jobs.get(token)
            if job is not None:
                job.seen = monotonic()
            return job

    def before(self, job: Job) -> int:
        """How many files come first."""
        with self._changed:
            ahead = self._waiting.index(job) if job in self._waiting else 0
            return ahead + any(each.state == "analyzing" for each in self._jobs.values())

    def stop(self, job: Job) -> None:
        """Ends a job; what is being analyzed ends at its next frame. A finished one stays as it is."""
        with self._changed:
            job.stopped = True
            if job in self._waiting:
                self._waiting.remove(job)
            if job.state in ("arriving", "live", "waiting"):
                job.state = "cancelled"
                shutil.rmtree(job.folder, ignore_errors=True)

    def forget(self, job: Job) -> None:
        """Ends a job and deletes all that there is of it."""
        self.stop(job)
        with self._changed:
            self._jobs.pop(job.token, None)
            if job.state != "analyzing":  # else whoever analyzes it deletes it
                shutil.rmtree(job.folder, ignore_errors=True)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                job = self._waiting.popleft()
                job.state = "analyzing"
            self._run(job)

    def _run(self, job: Job) -> None:
        state: State = "failed"
        try:
            report_apart(job)
            state = "done"
        except Cancelled:
            state = "cancelled"
        except (MienError, OSError) as error:
            job.message = " ".join(str(error).replace(str(job.path), job.name).split())
        except Exception as error:  # whatever it is, the next in the queue shall not suffer
            logger.error("%s: %s", job.name, told_briefly(error))
            job.message = f"mien itself failed on {job.name}; where it runs it says why"
        with self._changed:
            whole = state == "done" and job.token in self._jobs
            shutil.rmtree(job.path.parent if whole else job.folder, ignore_errors=True)
            job.state = state  # last: whoever sees it sees what is deleted gone

    def _tidy(self) -> None:
        """Deletes what nobody has looked at."""
        pause = min(5.0, self._left_after / 2, self.kept_for / 2)
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, pause):
                    return
                now = monotonic()
                left = [
                    job
                    for job in self._jobs.values()
                    if now - job.seen
                    > (self.kept_for if job.state in ("done", "failed", "cancelled") else self._left_after)
                ]
            for job in left:
                self.forget(job)
