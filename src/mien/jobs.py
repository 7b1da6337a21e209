"""Files come in, reports go out, one file after the other: the queue behind the page.

Each file has a folder of its own, which is deleted with its report when the job is forgotten: by its owner,
when nobody has looked at it for a while, or when the queue is closed.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections import deque
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from mien.chart import clock, svg
from mien.errors import InputError, MienError
from mien.lanes import Lanes, Persons
from mien.live import LOOKS_HZ, Live
from mien.pipeline import Analysis
from mien.readings import ReadingSettings
from mien.report import Report
from mien.segments import segments, who
from mien.whole import Original
from mien.writers import WRITERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from mien.timeline import Row, Segment

logger = logging.getLogger(__name__)

LARGEST = 1_000_000_000
"""Bytes of a file that is taken."""

MOST_WAITING = 50
"""Files that wait at a time, of all people."""

LEFT_AFTER = 60.0
"""Seconds without a look after which a file that waits or is analyzed is given up: its page was closed."""

KEPT_FOR = 1800.0
"""Seconds without a look after which a finished report is deleted."""

BETWEEN_CHARTS = 1.0
"""Seconds between two drawings of a chart that grows."""

LONGEST_NAME = 120
"""Bytes of a name that are kept, its suffix apart."""

OUT_OF_SIGHT = 3.0
"""Seconds without anything new after which what is being filmed counts as over."""

State = Literal["arriving", "live", "waiting", "analyzing", "done", "failed", "cancelled"]


class _Cancelled(Exception):  # noqa: N818
    """Ends an analysis from within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What somebody wants of a file."""

    voice: bool = True
    """It is listened to, with weights that are for research."""
    film: bool = False
    """The film beside the chart, inside the report."""
    video: bool = False
    """The film with what was found drawn into it."""
    blur: bool = False
    """Faces are made unrecognisable in it, and the report shows no pictures."""

    def __post_init__(self) -> None:
        if self.film and self.blur:
            raise InputError("the film itself shows faces; ask for it or for blurred faces, not both")


@dataclass(eq=False, slots=True, kw_only=True)
class Job:
    """One file on its way to a report. Read by the page while the queue writes."""

    token: str
    """By which its owner knows it; nobody can guess it."""
    name: str
    folder: Path
    wishes: Wishes
    state: State = "arriving"
    what: str = ""
    """What is being done."""
    done: float = 0.0
    total: float = 0.0
    """How far it is, and how much there is: seconds; 0 where unknown."""
    message: str = ""
    """What went wrong."""
    latest: str = ""
    """What the latest frame shows, in words."""
    chart: bytes = b""
    """The chart so far, as SVG."""
    n_charts: int = 0
    dropped: int = 0
    """Frames that came too fast to be looked at live."""
    files: dict[str, int] = field(default_factory=dict)
    """Names of the files of the report, and their sizes in bytes."""
    seen: float = field(default_factory=monotonic)
    """When somebody last looked."""
    stopped: bool = False
    """It is to end."""
    filmed: bool = False
    """Nothing more comes of what is being filmed."""

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.folder / "film" / self.name

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.folder / "report"


class Jobs:
    """The queue. Use it as a context, so that nothing is left behind.

    Args:
        folder: Where files and reports lie meanwhile; made here, and deleted at the end.
        largest: Bytes of a file that is taken.
        left_after: Seconds without a look after which what is not finished is given up.
        kept_for: Seconds without a look after which what is finished is deleted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        largest: int = LARGEST,
        left_after: float = LEFT_AFTER,
        kept_for: float = KEPT_FOR,
    ) -> None:
        self.largest = largest
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
            InputError: The file is too large, or too many wait.
        """
        self.refuse_size(size)
        job = Job(token=secrets.token_urlsafe(16), name=plain_name(name), folder=Path(), wishes=wishes)
        job.folder = self._folder / job.token
        with self._changed:
            if sum(each.state in ("arriving", "waiting") for each in self._jobs.values()) >= MOST_WAITING:
                raise InputError(f"{MOST_WAITING} files are waiting already; try again in some minutes")
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
            watch_live(job)
        except Exception:  # what was filmed is analyzed in any case, and what is wrong with it told then
            logger.exception("%s", job.name)
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
            make_report(job)
            state = "done"
        except _Cancelled:
            state = "cancelled"
        except (MienError, OSError) as error:
            job.message = " ".join(str(error).replace(str(job.path), job.name).split())
        except Exception:  # whatever it is, the next in the queue shall not suffer
            logger.exception("%s", job.name)
            job.message = f"mien itself failed on {job.name}; where it runs it says why"
        with self._changed:
            job.state = state
            shutil.rmtree(job.path.parent, ignore_errors=True)
            if state != "done" or job.token not in self._jobs:
                shutil.rmtree(job.folder, ignore_errors=True)

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


def watch_live(job: Job) -> None:
    """Draws what a growing file shows, from the past alone, until it is over.

    Raises:
        MienError: It cannot be read.
    """
    reading = ReadingSettings(voice=job.wishes.voice, sample_hz=LOOKS_HZ)
    with Live(str(job.path), reading, patience=OUT_OF_SIGHT) as running:
        growing = _Growing(job, running.model.name)

        def shown() -> Iterator[Row]:
            for row in running.rows():
                job.what, job.done, job.dropped = "live", row.time, running.n_dropped
                growing.write_row(row)
                yield row
                if job.stopped or job.filmed:
                    return

        for segment in segments(shown(), running.timeline):
            growing.write_segment(segment)


def make_report(job: Job) -> None:
    """Analyzes a job's file, and leaves its report and a ZIP of all its files.

    Raises:
        MienError: The file cannot be analyzed.
    """

    def drive(what: str, done: float, total: float) -> None:
        if job.stopped:
            raise _Cancelled
        job.what, job.done, job.total = what, done, total

    drive("opening", 0, 0)
    analysis = Analysis(job.path, ReadingSettings(voice=job.wishes.voice), hook=drive)
    wishes, media = job.wishes, analysis.media
    formats = [name for name in WRITERS if name != "video" or (wishes.video and media.has_video)]
    original = Original(path=job.path, film=wishes.film, blur=wishes.blur, hook=drive)
    with Report(
        job.report, formats=formats, original=original, watcher=_Growing(job, analysis.model.name)
    ) as report:
        report.record(analysis.rows(), analysis.timeline)
        drive("writing the report", media.duration, media.duration)
        files = report.finish(analysis.provenance())
    packed = job.report / "timeline.zip"
    with ZipFile(packed, "w") as archive:
        for file in files:
            kind = ZIP_STORED if file.suffix in (".mp4", ".parquet", ".png") else ZIP_DEFLATED
            archive.write(file, file.name, kind)
    job.files = {file.name: file.stat().st_size for file in (*files, packed)}
    job.chart = (job.report / "timeline.svg").read_bytes()
    job.n_charts += 1


class _Growing:
    """Draws a job's chart while its rows come, and says what the latest frame shows."""

    def __init__(self, job: Job, model: str) -> None:
        self._job, self._model = job, model
        self._lanes, self._persons = Lanes(), Persons()
        self._frame: tuple[int | None, float] | None = None
        self._words: list[str] = []
        self._next_chart = 0.0

    def write_row(self, row: Row) -> None:
        if (row.frame, row.time) != self._frame:
            self._tell()
            self._frame, self._words = (row.frame, row.time), []
        self._lanes.add(row)
        self._persons.add(row)
        if row.probs is not None:
            doubt = "perhaps " if "low_confidence" in row.flags else ""
            self._words.append(f"{who(row.track_id)} {doubt}{row.label} {row.probs.max():.2f}")

    def write_segment(self, segment: Segment) -> None:
        self._lanes.add_segment(segment)

    def _tell(self) -> None:
        if self._frame is None:
            return
        shown = "; ".join(self._words[:4]) or "nobody is seen or heard"
        self._job.latest = f"{clock(self._frame[1])}: {shown}"
        began = monotonic()
        if began < self._next_chart:
            return
        persons = deepcopy(self._persons).close()
        caption = f"model {self._model} · so far"
        self._job.chart = svg(self._lanes, persons, title=self._job.name, caption=caption).encode()
        self._job.n_charts += 1
        took = monotonic() - began
        self._next_chart = monotonic() + max(BETWEEN_CHARTS, 20 * took)  # drawing takes a twentieth at most


def plain_name(name: str) -> str:
    r"""The name of a file without its folders, and without what file systems do not take.

    >>> plain_name("C:\\clips\\a\x00b.mp4"), plain_name("../.."), plain_name("😀" * 90 + ".mp4")[-5:]
    ('ab.mp4', 'film', '😀.mp4')
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(each for each in last if each.isprintable()).strip(". ")
    stem, dot, suffix = kept.rpartition(".")
    if not dot or len(suffix) > 8:
        stem, dot, suffix = kept, "", ""
    short = stem.encode()[:LONGEST_NAME].decode(errors="ignore").strip()
    return f"{short or 'film'}{dot}{suffix}"
