"""A file that came over the page in, its growing chart and then its report with every export out."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from mien.chart import clock, svg
from mien.errors import InputError
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

    from mien.timeline import Row, Segment

BETWEEN_CHARTS = 1.0
"""Seconds between two drawings of a chart that grows."""

LONGEST_NAME = 120
"""Bytes of a name that are kept, its suffix apart."""

OUT_OF_SIGHT = 3.0
"""Seconds without anything new after which what is being filmed counts as over."""

LONGEST = 7200.0
"""Seconds of a film that are taken: those who come after it wait as long as it takes."""

State = Literal["arriving", "live", "waiting", "analyzing", "done", "failed", "cancelled"]


class Cancelled(Exception):  # noqa: N818
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
    longest: float = LONGEST
    """Seconds of it that are taken."""
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
                if job.stopped or job.filmed or row.time > job.longest:
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
            raise Cancelled
        if max(done, total) > job.longest:
            raise InputError(
                f"{job.name} is {clock(max(done, total))} long, and up to {clock(job.longest)} are taken; "
                "cut it, or use  mien analyze  on the command line, which takes any length"
            )
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
