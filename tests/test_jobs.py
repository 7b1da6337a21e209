"""A file that came over the page: its chart grows, and its report holds every export."""

import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from growing import grown
from media_files import flat_frames, tone, write_sound, write_video
from mien import jobs
from mien.errors import InputError
from mien.jobs import LONGEST_NAME, Cancelled, Job, Wishes, make_report, plain_name, watch_live
from mien.writers import FILE_NAMES


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, flat_frames(50), fps=25, waveform=tone(440, 2.0))


def come(path: Path, folder: Path, wishes: Wishes | None = None) -> Job:
    job = Job(token="t", name=path.name, folder=folder, wishes=wishes or Wishes())
    job.path.parent.mkdir(parents=True)
    shutil.copyfile(path, job.path)
    return job


def test_a_report_has_every_export_and_all_of_them_in_one(film: Path, tmp_path: Path) -> None:
    job = come(film, tmp_path / "job", Wishes(video=True))
    make_report(job)
    assert set(job.files) == {*FILE_NAMES, "timeline.zip"}
    assert {name: (job.report / name).stat().st_size for name in job.files} == job.files
    with ZipFile(job.report / "timeline.zip") as archive:
        assert set(archive.namelist()) == set(FILE_NAMES)
        assert archive.testzip() is None
    assert job.chart == (job.report / "timeline.svg").read_bytes()


def test_a_chart_grows_before_the_report_is_there(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(jobs, "BETWEEN_CHARTS", 0.0)
    monkeypatch.setattr(jobs, "svg", lambda *_, title, **told: drawn.append((title, told)) or "<svg/>")
    job = come(film, tmp_path / "job")
    make_report(job)
    assert drawn[0] == ("film.mp4", {"caption": "model mien-b · so far"})
    assert job.n_charts == len(drawn) + 1
    assert job.latest.endswith("nobody is seen or heard")


def test_sound_alone_has_a_report_without_a_film(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", [(0.0, tone(440, 1.0))])
    job = come(sound, tmp_path / "job", Wishes(video=True))
    make_report(job)
    assert set(job.files) == {*FILE_NAMES, "timeline.zip"} - {"timeline.mp4"}


def test_what_is_stopped_ends_from_within(film: Path, tmp_path: Path) -> None:
    job = come(film, tmp_path / "job")
    job.stopped = True
    with pytest.raises(Cancelled):
        make_report(job)
    assert not job.report.exists()


@pytest.mark.slow
def test_what_is_filmed_shows_while_it_grows_and_until_it_is_over(film: Path, tmp_path: Path) -> None:
    job = Job(token="t", name="film.ts", folder=tmp_path / "job", wishes=Wishes(voice=False))
    job.path.parent.mkdir(parents=True)
    with grown(film, job.path):
        watch_live(job)
    assert job.what == "live"
    assert abs(job.done - 1.96) < 0.1
    assert job.n_charts >= 1
    assert not job.report.exists()


def test_the_film_and_blurred_faces_do_not_go_together() -> None:
    with pytest.raises(InputError, match="not both"):
        Wishes(film=True, blur=True)


@given(st.text(max_size=400))
def test_any_name_becomes_one_that_a_file_can_have(name: str) -> None:
    plain = plain_name(name)
    assert plain
    assert plain not in (".", "..")
    assert not set("/\\\0") & set(plain)
    assert len(f"{plain}.timeline.affwild2.txt".encode()) <= 255
    assert len(plain.rpartition(".")[0].encode()) <= LONGEST_NAME
    assert plain_name(plain) == plain
