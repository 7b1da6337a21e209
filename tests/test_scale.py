"""Pieces are handed out, done again where a worker dies, and put together; with a made-up engine, and Ray."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

import mien.scale as module
from command_line import Run
from media_files import flat_frames, tone, write_sound, write_video
from mien.archive import Archive, Entry, Settings, find_sources
from mien.errors import InputError
from mien.pieces import Ends, Failure, Mark, Written, write_table
from mien.readings import ReadingSettings
from mien.scale import MOST_DEATHS, analyze_archive
from portraits import scene

SETTINGS = Settings(reading=ReadingSettings(model="mien-s", n_threads=1))
WRITTEN = Written(
    table="t", rows=1, frames=1, duration_s=1.0, file_sha256="a", table_sha256="b", table_bytes=1
)

Do = Callable[..., tuple[Any, Any]]


class RayError(Exception):
    """Of Ray: a worker that died."""


class RayTaskError(RayError):
    """Of Ray: what a worker raised."""


class Engine:
    """Stands in for Ray: a piece is done when its answer is waited for, the latest first."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, do: Do) -> None:
        self.do, self.n_workers = do, 0
        self.calls: list[tuple[Any, ...]] = []
        self._answers: dict[int, Any] = {}

    def remote(self, _: object) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._start))

    def _start(self, *_: object) -> Any:
        self.n_workers += 1
        return SimpleNamespace(do=SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._call)))

    def _call(self, *arguments: Any) -> tuple[int, str]:
        self.calls.append(arguments)
        return len(self.calls) - 1, f"kept {arguments[0]}"

    def wait(self, refs: list[int], **_: object) -> tuple[list[int], list[int]]:
        return refs[-1:], refs[:-1]

    def get(self, ref: int) -> Any:
        method, source, _, *rest = self.calls[ref]
        return self.do(method, source, *rest), 0.5


@pytest.fixture
def run_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(do: Do, *sources: str) -> tuple[Engine, dict[str, Entry]]:
        engine = Engine(do)
        monkeypatch.setattr(module, "import_module", lambda _: engine)
        with Archive(str(tmp_path / "out"), SETTINGS) as archive:
            made = module._Run(archive, SETTINGS, 2)
            waiting = [
                module._Source(address=each, folder=f"source={each}", size_bytes=1) for each in sources
            ]
            entries = [*made.entries(waiting)]
            assert made.n_over == len(entries)
        return engine, {entry.source: entry for entry in entries}

    return run


def mark(time: float) -> Mark:
    return Mark(time, round(time))


def long_film(method: str, _: str, *arguments: Any) -> Any:
    """A film of three stretches that fit."""
    if method == "begin":
        return 3
    if method == "look":
        stretch, last = arguments
        return Ends(mark(600.0 * stretch), None if last else mark(600.0 * stretch + 600))
    return WRITTEN if method in {"join", "whole"} else None


def test_a_short_source_is_one_piece(run_with: Callable[..., Any]) -> None:
    engine, entries = run_with(lambda *_: WRITTEN, "a", "b", "c")
    assert [call[:3] for call in engine.calls] == [("begin", each, f"source={each}") for each in "abc"]
    assert {entry.status for entry in entries.values()} == {"done"}
    assert entries["b"].seconds == 0.5
    assert engine.n_workers == 2


def test_a_long_source_is_looked_at_in_stretches_and_put_together(run_with: Callable[..., Any]) -> None:
    engine, entries = run_with(long_film, "a")
    methods = [call[0] for call in engine.calls]
    assert sorted(methods) == ["begin", "join", "listen", "look", "look", "look"]
    assert (methods[0], methods[-1]) == ("begin", "join")
    assert {call[3:] for call in engine.calls if call[0] == "look"} == {(0, False), (1, False), (2, True)}
    assert engine.calls[-1][3:] == (["kept look"] * 3, ["kept listen"])
    assert (entries["a"].status, entries["a"].seconds) == ("done", 3.0)


def test_stretches_that_do_not_fit_are_done_in_one_piece(run_with: Callable[..., Any]) -> None:
    def shifted(method: str, source: str, *arguments: Any) -> Any:
        if method == "look" and arguments[0] == 1:
            return Ends(mark(601.0), mark(1200.0))
        return long_film(method, source, *arguments)

    engine, entries = run_with(shifted, "a")
    assert [call[0] for call in engine.calls][-1] == "whole"
    assert entries["a"].status == "done"


@pytest.mark.parametrize("dies_of", ["begin", "look", "listen", "join"])
def test_only_the_piece_that_a_worker_died_of_is_done_again(
    dies_of: str, run_with: Callable[..., Any]
) -> None:
    deaths = iter([RayError("dead")])

    def mortal(method: str, source: str, *arguments: Any) -> Any:
        if method == dies_of and (death := next(deaths, None)):
            raise death
        return long_film(method, source, *arguments)

    engine, entries = run_with(mortal, "a")
    assert len(engine.calls) == 6 + 1
    assert engine.n_workers == 2 + 1
    assert entries["a"].status == "done"


def test_a_piece_of_which_workers_keep_dying_fails_its_source_alone(run_with: Callable[..., Any]) -> None:
    def deadly(method: str, source: str, *arguments: Any) -> Any:
        if (method, source) == ("look", "a"):
            raise RayError("dead")
        return long_film(method, source, *arguments)

    engine, entries = run_with(deadly, "a", "b")
    assert entries["b"].status == "done"
    assert entries["a"].status == "failed"
    assert f"{MOST_DEATHS} workers died" in entries["a"].error
    assert "join" not in {call[0] for call in engine.calls if call[1] == "a"}


def test_what_is_wrong_is_noted_once_and_the_others_go_on(run_with: Callable[..., Any]) -> None:
    def broken(method: str, source: str, *arguments: Any) -> Any:
        if source == "a" and method in {"look", "listen"}:
            return Failure("the film\nbreaks off")
        if source == "b":
            raise RayTaskError("Traceback ...\nValueError: a fault")
        return long_film(method, source, *arguments)

    engine, entries = run_with(broken, "a", "b", "c")
    assert entries["a"].error == "the film breaks off"
    assert entries["b"].error == "ValueError: a fault"
    assert entries["c"].status == "done"
    assert engine.n_workers == 2


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere.invalid:10001", "host:port"]
)
def test_a_cluster_that_does_not_answer_is_told(address: str, tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", flat_frames(5))
    with pytest.raises(InputError, match="no Ray cluster answers"):
        analyze_archive({str(film): "source=a"}, str(tmp_path / "out"), SETTINGS, ray_address=address)
    assert not (tmp_path / "out").exists()


def test_the_command_refuses_nothing_to_do(run: Run, tmp_path: Path) -> None:
    code, out, err = run("scale", tmp_path, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "nothing to analyze" in err
    assert not (tmp_path / "out").exists()


def plain(path: str, folder: Path) -> pl.DataFrame:
    folder.mkdir()
    write_table(Path(path), SETTINGS, folder)
    return pl.read_parquet(folder / "timeline.parquet")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Short films, one of 25 minutes, a sound and two that are none."""
    place = tmp_path / "films"
    place.mkdir()
    for k in range(3):
        write_video(
            place / f"short {k}.mp4", [scene(60 + 10 * k + j) for j in range(15)], waveform=tone(300, 0.6)
        )
    pictures = (
        scene(60 + k % 40) if k % 50 < 30 else np.full((270, 480, 3), 40, np.uint8) for k in range(1500)
    )
    write_video(place / "long.mkv", pictures, fps=1, options={"g": "30", "preset": "ultrafast"})
    write_sound(place / "sound.wav", [(0.0, tone(300, 2.0))])
    (place / "bad.mp4").write_text("no film")
    (place / "empty.mp4").touch()
    return place


def kill_one_worker(stop: threading.Event) -> None:
    """Kills the first worker that is at work for half a second."""
    while not stop.wait(0.05):
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if b"ray::Worker.do" in (process / "cmdline").read_bytes():
                    time.sleep(0.5)
                    os.kill(int(process.name), signal.SIGKILL)
                    return
            except OSError:
                continue


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="workers are found in /proc")
def test_an_archive_has_the_tables_of_one_process_though_a_worker_is_killed(
    films: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out, told = tmp_path / "out", []
    sources = find_sources(str(films), {".mp4", ".mkv", ".wav"})
    ended = threading.Event()
    killer = threading.Thread(target=kill_one_worker, args=(ended,))
    killer.start()
    entries = analyze_archive(
        sources, str(out), SETTINGS, n_workers=2, hook=lambda _, done, total: told.append((done, total))
    )
    assert killer.is_alive() is False, "no worker was killed"
    ended.set()
    killer.join()
    assert capfd.readouterr().out == ""
    assert [entry.source for entry in entries] == [*sources]
    assert told[-1] == (7, 7)
    failed = {Path(entry.source).name: entry.error for entry in entries if entry.status == "failed"}
    assert failed.keys() == {"bad.mp4", "empty.mp4"}
    assert "cannot be opened" in failed["bad.mp4"]
    for k, entry in enumerate(entries):
        if entry.status == "done":
            table = pl.read_parquet(out / entry.table, hive_partitioning=False)
            assert table.equals(plain(entry.source, tmp_path / f"plain {k}"))
            assert table.height == entry.rows
    together = pl.scan_parquet(out / "*" / "*.parquet", hive_partitioning=True).select("source").collect()
    assert together.height == sum(entry.rows for entry in entries)

    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    for name in ("bad.mp4", "empty.mp4"):
        (films / name).unlink()
    monkeypatch.setattr(module, "_cluster", None)  # nothing is left to do, so that no engine is started
    code, said, err = run("scale", films, "--out", out, "--model", "mien-s")
    assert (code, err) == (0, "")
    assert said.startswith("5 of 5 tables, 0.42 h of video")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == kept
