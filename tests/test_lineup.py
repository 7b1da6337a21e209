"""The queue: one file after the other, cancelled at once, forgotten with all that there is of it."""

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media_files import flat_frames, tone, write_video
from mien import lineup
from mien.errors import InputError
from mien.jobs import Job, Wishes
from mien.lineup import Jobs


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, flat_frames(50), fps=25, waveform=tone(440, 2.0))


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    with Jobs(tmp_path / "jobs") as made:
        yield made


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.01)


def enter(jobs: Jobs, path: Path, wishes: Wishes | None = None, name: str | None = None) -> Job:
    job = jobs.receive(name or path.name, wishes or Wishes(), path.stat().st_size)
    shutil.copyfile(path, job.path)
    jobs.enter(job)
    return job


def is_over(job: Job) -> bool:
    return job.state in ("done", "failed", "cancelled")


def test_a_file_leaves_itself_once_its_report_is_there(jobs: Jobs, film: Path) -> None:
    job = enter(jobs, film)
    until(lambda: is_over(job))
    assert (job.state, job.message) == ("done", "")
    assert job.report.is_dir()
    assert not job.path.exists()


def test_what_is_no_media_fails_in_a_line_that_names_no_folder_of_the_server(
    jobs: Jobs, film: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("no film")
    job, following = enter(jobs, tmp_path / "a.txt"), enter(jobs, film)
    until(lambda: is_over(job))
    assert job.state == "failed"
    assert job.message.startswith("'a.txt' cannot be opened as video, sound or picture")
    assert str(tmp_path) not in job.message
    assert not job.folder.exists()
    until(lambda: is_over(following))
    assert following.state == "done"


def test_a_mistake_of_mien_itself_does_not_stop_the_queue(
    jobs: Jobs, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(lineup, "report_apart", lambda _: 1 / 0)
        job = enter(jobs, film)
        until(lambda: is_over(job))
    assert (job.state, job.message) == ("failed", "mien itself failed on film.mp4; where it runs it says why")
    following = enter(jobs, film)
    until(lambda: is_over(following))
    assert following.state == "done"


def test_what_is_logged_holds_no_path_but_the_name(
    jobs: Jobs, film: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(job: Job) -> None:
        raise RuntimeError(f"cannot open {job.path}")

    monkeypatch.setattr(lineup, "report_apart", fail)
    job = enter(jobs, film)
    until(lambda: is_over(job))
    [record] = caplog.records
    assert record.getMessage().startswith("film.mp4: RuntimeError: cannot open film.mp4 (lineup.py:")
    assert "/" not in record.getMessage()


def test_a_film_longer_than_is_taken_is_refused(tmp_path: Path, film: Path) -> None:
    with Jobs(tmp_path / "jobs", longest=1.0) as jobs:
        job = enter(jobs, film)
        until(lambda: is_over(job))
    assert job.state == "failed"
    assert job.message.startswith(
        "film.mp4 is 0:02 long, and up to 0:01 are taken; cut it, or use mien analyze"
    )


def test_cancelling_ends_what_runs_and_what_waits(jobs: Jobs, film: Path) -> None:
    running, waiting, last = (enter(jobs, film, name=f"{n}.mp4") for n in range(3))
    until(lambda: running.state == "analyzing" and running.done > 0)
    assert (jobs.before(waiting), jobs.before(last)) == (1, 2)
    jobs.stop(waiting)
    assert waiting.state == "cancelled"
    assert not waiting.folder.exists()
    assert jobs.before(last) == 1
    jobs.stop(running)
    until(lambda: is_over(running))
    assert running.state == "cancelled"
    assert not running.folder.exists()
    until(lambda: is_over(last))
    assert last.state == "done"


@pytest.mark.slow
def test_what_nobody_looks_at_is_deleted(tmp_path: Path, film: Path) -> None:
    long = write_video(tmp_path / "long.mp4", flat_frames(3000), waveform=tone(440, 120.0))
    with Jobs(tmp_path / "jobs", left_after=2.0, kept_for=3.0) as jobs:
        left, looked_at = enter(jobs, long), enter(jobs, film)
        until(lambda: jobs.get(looked_at.token) is looked_at and is_over(left))
        assert left.state == "cancelled"
        assert jobs.get(left.token) is None
        until(lambda: jobs.get(looked_at.token) is looked_at and is_over(looked_at))
        assert looked_at.state == "done"
        until(lambda: not looked_at.folder.exists())
        assert jobs.get(looked_at.token) is None
    assert not (tmp_path / "jobs").exists()


def test_closing_ends_what_runs_and_leaves_nothing(tmp_path: Path, film: Path) -> None:
    with Jobs(tmp_path / "jobs") as jobs:
        job = enter(jobs, film)
        enter(jobs, film)
        until(lambda: job.state == "analyzing")
    assert not (tmp_path / "jobs").exists()


def test_forgetting_deletes_the_report(jobs: Jobs, film: Path) -> None:
    job = enter(jobs, film)
    until(lambda: is_over(job))
    jobs.forget(job)
    assert not job.folder.exists()
    assert jobs.get(job.token) is None


def test_too_large_too_many_and_no_room_are_refused_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Jobs(tmp_path / "jobs", largest=5_000_000) as jobs:
        with pytest.raises(InputError, match=re.escape("has 2000 MB, and up to 5 MB are taken; cut it")):
            jobs.receive("a.mp4", Wishes(), 2_000_000_000)
        monkeypatch.setattr(lineup, "MOST_WAITING", 2)
        jobs.receive("a.mp4", Wishes(), 1)
        jobs.receive("a.mp4", Wishes(), 1)
        with pytest.raises(InputError, match="2 files are waiting already"):
            jobs.receive("a.mp4", Wishes(), 1)
        usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(InputError, match="there is room for 1 MB"):
            jobs.refuse_size(2_000_000)


def test_what_a_killed_queue_has_left_is_deleted_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, other = tmp_path / f"{lineup.PREFIX}left", tmp_path / "mien-other"
    for folder in (left, other):
        (folder / "jobs").mkdir(parents=True)
        (folder / lineup.HELD).touch()
    with lineup.own_folder() as first, lineup.own_folder() as second:
        assert first.is_dir()  # the second leaves the first alone
        assert second.stat().st_mode & 0o077 == 0
        assert (left.exists(), other.exists()) == (False, True)
    assert not first.exists()
    assert not second.exists()
