"""A report is whole or not there."""

import csv
import json
import locale
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mien.errors import InputError, MissingExtraError
from mien.report import DEFAULT_FORMATS, Report
from mien.timeline import TimelineSettings
from mien.writers import WRITERS
from some_rows import clip

PROVENANCE = {"file": "clip.mp4", "model": "mien-av 1.0", "mien": "0.1.0"}
SETTINGS = TimelineSettings()

WITHOUT_FILM = tuple(name for name in WRITERS if name != "video")
"""Formats that a few rows can be written in."""


class StopError(Exception):
    """What interrupts a report in these tests."""


def breaking(n_rows):
    """The rows of a clip, and an exception after some of them."""
    for i, row in enumerate(clip(4.0)):
        if i == n_rows:
            raise StopError
        yield row


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_clip_becomes_four_files(tmp_path):
    with Report(tmp_path / "new" / "report") as report:
        report.record(clip(4.0), SETTINGS)
        files = report.finish(PROVENANCE)
    assert [path.name for path in files] == ["timeline.csv", "timeline.json", "segments.csv", "timeline.svg"]
    assert set(contents(tmp_path / "new" / "report")) == {path.name for path in files}
    timeline = json.loads(files[1].read_bytes())
    rows = list(clip(4.0))
    assert len(timeline["rows"]) == len(rows)
    with files[2].open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(each["track_id"], each["label"]) for each in table] == [
        ("1", "Happiness"),
        ("2", "Neutral"),
        ("1", "Sadness"),
    ]
    assert [each["label"] for each in timeline["segments"]] == [each["label"] for each in table]
    assert b">Happiness</text>" in files[3].read_bytes()


def test_a_row_is_written_before_the_next_is_made(tmp_path):
    folder = tmp_path / "report"
    with Report(folder, formats=("csv",)) as report:

        def watched():
            for i, row in enumerate(clip(400.0, 5.0)):
                if i == 3000:
                    assert sum(path.stat().st_size for path in folder.iterdir()) > 100 * 2500
                    assert not (folder / "timeline.csv").exists()
                yield row

        report.record(watched(), SETTINGS)
        report.finish(PROVENANCE)


@pytest.mark.parametrize("n_rows", [0, 1, 60])
def test_an_exception_leaves_no_trace(tmp_path, n_rows):
    with pytest.raises(StopError), Report(tmp_path / "new" / "report", formats=WITHOUT_FILM) as report:
        report.record(breaking(n_rows), SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_older_files_as_they_were(tmp_path):
    with Report(tmp_path) as report:
        report.record(clip(1.0), SETTINGS)
        report.finish(PROVENANCE)
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(StopError), Report(tmp_path) as report:
        report.record(breaking(60), SETTINGS)
    assert contents(tmp_path) == before


def test_what_cannot_be_said_in_json_leaves_no_trace(tmp_path):
    def report_nan():
        with Report(tmp_path) as report:
            report.record(clip(1.0), SETTINGS)
            report.finish(PROVENANCE | {"threshold": float("nan")})

    with pytest.raises(ValueError, match="JSON"):
        report_nan()
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_is_not_finished_is_none(tmp_path):
    with Report(tmp_path) as report:
        report.record(clip(1.0), SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_second_report_replaces_the_first(tmp_path):
    for duration in (2.0, 1.0):
        with Report(tmp_path) as report:
            report.record(clip(duration), SETTINGS)
            report.finish(PROVENANCE)
    rows = list(clip(1.0))
    assert len((tmp_path / "timeline.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(rows)
    assert len(list(tmp_path.iterdir())) == len(DEFAULT_FORMATS)


@pytest.mark.parametrize("name", sorted({*WITHOUT_FILM} - {"parquet", "png"}))
def test_every_report_says_where_it_comes_from(tmp_path, name):
    with Report(tmp_path, formats=(name,)) as report:
        report.record(clip(1.0), SETTINGS)
        files = report.finish(PROVENANCE)
    assert (
        set(contents(tmp_path))
        == {path.name for path in files}
        == {
            WRITERS[name].file_name,
            "timeline.json",
        }
    )
    assert json.loads((tmp_path / "timeline.json").read_bytes())["provenance"] == PROVENANCE


def test_what_an_earlier_report_left_goes_away_and_nothing_else(tmp_path):
    mine = {"notes.txt": b"mine", "timeline.txt": b"mine", "more/timeline.csv": b"mine"}
    (tmp_path / "more").mkdir()
    (tmp_path / "timeline.svg").mkdir()
    for name, content in {**mine, "timeline.png": b"old", "segments.csv": b"old"}.items():
        (tmp_path / name).write_bytes(content)
    with Report(tmp_path, formats=("csv",)) as report:
        report.record(clip(1.0), SETTINGS)
        report.finish(PROVENANCE)
    assert set(contents(tmp_path)) == {*mine, "timeline.csv", "timeline.json"}
    assert (tmp_path / "timeline.svg").is_dir()


@pytest.fixture
def commas(tmp_path, monkeypatch):
    """A place where people write 0,5 for a half."""
    if not shutil.which("localedef") or not Path("/usr/share/i18n/locales/de_DE").exists():
        pytest.skip("no locale with decimal commas can be made here")
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"], check=True)
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    before = locale.setlocale(locale.LC_ALL)
    yield lambda: locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.slow
def test_decimal_commas_of_a_place_change_no_file(tmp_path, commas):
    for name in ("points", "commas"):
        if name == "commas":
            commas()
        with Report(tmp_path / name, formats=WITHOUT_FILM) as report:
            report.record(clip(4.0), SETTINGS)
            report.finish(PROVENANCE)
    assert f"{0.5:n}" == "0,5"
    points, decimal = ({**contents(tmp_path / name)} for name in ("points", "commas"))
    pages = [re.sub(rb'"p\d+"', b'"p"', each.pop("timeline.html")) for each in (points, decimal)]
    assert pages[0] == pages[1], "but for the numbers that Bokeh gives within a process"
    assert decimal == points


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), SystemExit(143)])
@pytest.mark.parametrize("n_moved", range(6))
def test_files_take_their_places_together_or_not_at_all(tmp_path, monkeypatch, error, n_moved):
    earlier = {name: name.encode() for name in ("timeline.csv", "timeline.json", "timeline.png")}
    for name, content in earlier.items():
        (tmp_path / name).write_bytes(content)
    rename, countdown = Path.rename, iter(range(n_moved, -1, -1))

    def stumble(path, target):
        if next(countdown, None) == 0:
            raise error
        return rename(path, target)

    def report_once():
        with Report(tmp_path, formats=("csv", "json", "segments")) as report:
            report.record(clip(1.0), SETTINGS)
            report.finish(PROVENANCE)

    monkeypatch.setattr(Path, "rename", stumble)
    with pytest.raises(InputError if isinstance(error, OSError) else SystemExit):
        report_once()
    assert contents(tmp_path) == earlier
    report_once()
    assert set(contents(tmp_path)) == {"timeline.csv", "timeline.json", "segments.csv"}


def refused(folder, formats=DEFAULT_FORMATS):
    with pytest.raises(InputError) as refusal, Report(folder, formats=formats):
        pass
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "report").write_text("mine")
    assert "is a file; expected a folder" in refused(tmp_path / "report")
    assert "cannot write the report into" in refused(tmp_path / "report" / "below")
    assert contents(tmp_path) == {"report": b"mine"}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    assert "cannot write the report into" in refused(tmp_path / "new" / ("x" * 1000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    assert "cannot write the report into" in refused(tmp_path)


def test_a_folder_where_a_file_should_be_is_refused(tmp_path):
    (tmp_path / "timeline.json").mkdir()
    assert "timeline.json is a folder" in refused(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["timeline.json"]


@pytest.mark.parametrize("at", ["write", "keep"])
def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch, at):
    def full(*_):
        raise OSError(28, "No space left on device")

    def fill():
        with Report(tmp_path, formats=("csv", "json")) as report:
            if at == "write":
                monkeypatch.setattr(report._writers[1], "write_row", full)
            else:
                monkeypatch.setattr(report._asides, "keep", full)
            report.record(clip(1.0), SETTINGS)
            report.finish(PROVENANCE)

    with pytest.raises(InputError, match=r"cannot write the report into .*: No space left on device; name"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_what_is_read_stays_what_it_is(tmp_path):
    def rows():
        yield from clip(0.2)
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="the camera is gone"), Report(tmp_path) as report:
        report.record(rows(), SETTINGS)


def test_an_unknown_format_is_refused():
    with pytest.raises(InputError, match="'xlsx' is no report format; expected some of csv, json"):
        Report("anywhere", formats=("csv", "xlsx"))


def test_a_missing_extra_leaves_no_trace(tmp_path, monkeypatch):
    monkeypatch.setattr("mien.writing.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError), Report(tmp_path / "report", formats=("csv", "parquet")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_provenance_must_name_file_model_and_version(tmp_path):
    with pytest.raises(AssertionError, match="provenance lacks"), Report(tmp_path) as report:
        report.finish({"file": "clip.mp4"})
