"""A job's work in a process of its own: what it tells, how it is stopped, and what its death is called."""

import os
import signal
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from media_files import flat_frames, write_video
from mien import apart
from mien.apart import report_apart
from mien.errors import InputError, MediaError
from mien.jobs import Cancelled, Job, Wishes
from portraits import music


def make_job(folder: Path, n_frames: int = 25) -> Job:
    """A job whose file is there: nobody, and music."""
    job = Job(token="t", name="film.mp4", folder=folder, wishes=Wishes(voice=False))
    job.path.parent.mkdir(parents=True)
    write_video(job.path, flat_frames(n_frames), waveform=music(n_frames / 25))
    return job


def chatty(job: Job) -> None:
    for k in range(3):
        job.what, job.done, job.chart, job.n_charts = f"step {k}", float(k), bytes(k), k
        time.sleep(2 * apart.BETWEEN)
    job.files = {"a": 1}


def crashing(_: Job) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def failing(_: Job) -> None:
    raise InputError("it is not right")


def faulty(_: Job) -> None:
    raise ZeroDivisionError


def hanging(_: Job) -> None:
    time.sleep(60)


def filming(job: Job) -> None:
    while not job.filmed:
        time.sleep(0.01)
    job.what = "over"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(token="t", name="film.mp4", folder=tmp_path, wishes=Wishes())


def test_a_report_is_made_and_the_job_knows_its_files(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    report_apart(job)
    assert {path.name: path.stat().st_size for path in job.report.iterdir()} == job.files
    assert job.chart == (job.report / "timeline.svg").read_bytes()
    assert job.n_charts >= 1


@pytest.mark.slow
def test_what_it_tells_arrives_in_order(job: Job) -> None:
    seen, over = [], Event()

    def watch() -> None:
        while not over.wait(0.02):
            seen.append(job.what)

    watcher = Thread(target=watch)
    watcher.start()
    apart._do_apart(job, chatty)
    over.set()
    watcher.join()
    assert [each for each in dict.fromkeys(seen) if each] == ["step 0", "step 1", "step 2"]
    assert (job.done, job.chart, job.n_charts, job.files) == (2.0, b"\0\0", 2, {"a": 1})


def test_a_crash_is_an_error_in_one_line(job: Job) -> None:
    with pytest.raises(MediaError, match=r"^film\.mp4 brought its analysis down \(SIGSEGV\); expected"):
        apart._do_apart(job, crashing)


def test_an_error_keeps_its_words(job: Job) -> None:
    with pytest.raises(InputError, match=r"^it is not right$"):
        apart._do_apart(job, failing)


@pytest.mark.slow
def test_a_fault_of_ours_is_no_fault_of_the_file(job: Job) -> None:
    with pytest.raises(RuntimeError, match=r"^ZeroDivisionError: +\(apart\.py:\d+ > test_apart\.py:\d+\)$"):
        apart._do_apart(job, faulty)


@pytest.mark.slow
def test_a_job_that_hangs_is_ended(job: Job) -> None:
    with pytest.raises(MediaError, match="nothing went on"):
        apart._do_apart(job, hanging, patience=1.0)


@pytest.mark.slow
def test_a_job_that_is_stopped_ends_at_once(job: Job) -> None:
    began = time.monotonic()
    Thread(target=lambda: (time.sleep(0.5), setattr(job, "stopped", True))).start()
    with pytest.raises(Cancelled):
        apart._do_apart(job, hanging)
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_the_end_of_filming_is_told(job: Job) -> None:
    Thread(target=lambda: (time.sleep(0.5), setattr(job, "filmed", True))).start()
    apart._do_apart(job, filming)
    assert job.what == "over"
