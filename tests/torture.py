"""Thousands of hostile files through the whole analysis, in children that load everything once.

    python tests/torture.py FOLDER [--cases 10000] [--workers 2] [--minutes 55]

Each case of `hostile` is analyzed by the function of `mien analyze`, to its default files. It must end within
`BUDGET` in one of two ways: a table in which every frame that FFmpeg decodes has its row, of numbers that are
numbers; or an error of mien's in one line, and no file. Where a child dies, the command itself is run on the
file and must say so in one line. What a case came to is one line in FOLDER/results.jsonl; cases that stand
there are not run again. Files that failed are kept in FOLDER/failed. Prints a table; code 1 where any failed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from math import isfinite
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from hostile import Case, make_case, write_bases
from mien import cli
from mien.errors import MienError
from mien.readings import ReadingSettings
from mien.report import DEFAULT_FORMATS
from mien.timeline import TimelineSettings
from mien.whole import Original

BUDGET = 180.0
"""Seconds of a case."""

MOST_MEMORY = 8 << 30
"""Bytes of address space of a child."""

FAILED = ("traceback", "wrong", "hang", "crash untold")


def run_case(case: Case, out: Path) -> dict[str, str]:
    """What a case came to."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cli.write_report(
                Original(path=case.path), out, DEFAULT_FORMATS, ReadingSettings(), TimelineSettings()
            )
    except (MienError, OSError) as error:
        told = str(error)
        if "\n" in told.strip() or not told.strip():
            return {"end": "wrong", "why": f"no single line: {told!r}"}
        if out.exists() and any(out.iterdir()):
            return {"end": "wrong", "why": f"an error, and files: {sorted(out.iterdir())}"}
        return {"end": "refused", "why": told}
    except BaseException:
        return {"end": "traceback", "why": traceback.format_exc()[-3000:]}
    if case.astray:
        return {"end": "wrong", "why": "it led astray: there is a table"}
    if wrong := find_fault(case.path, out):
        return {"end": "wrong", "why": wrong}
    return {"end": "table", "why": said.getvalue().splitlines()[0]}


def find_fault(path: Path, out: Path) -> str:
    """What is wrong with a report; empty where nothing is."""
    with (out / "timeline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return "no rows"
    times = [float(row["time_s"]) for row in rows]
    if not all(map(isfinite, times)) or times != sorted(times):
        return "times are no numbers, or not in order"
    for row in rows:
        probs = [float(row[name]) for name in row if name.startswith("p_") and row[name]]
        if probs and not (all(0 <= each <= 1 for each in probs) and abs(sum(probs) - 1) < 1e-3):
            return f"probabilities {probs}"
    json.loads((out / "timeline.json").read_text())
    seen = sorted({int(row["frame"]) for row in rows if row["frame"]})
    if seen != list(range(len(seen))):
        return f"frames are not 0, 1, 2, …: {seen[:20]}"
    n_frames = count_frames(path)
    return "" if len(seen) == n_frames else f"{n_frames} frames are decoded, {len(seen)} have rows"


def count_frames(path: Path) -> int:
    """Frames of the first picture stream that FFmpeg decodes, without mien."""
    n_frames = 0
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        streams = [
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
            and stream.codec_context is not None
            and stream.width
        ]
        if not streams:
            return 0
        streams[0].thread_type = "NONE"  # several threads lose frames of damaged packets
        packets = container.demux(streams[0])
        while True:
            try:
                packet = next(packets)
            except BlockingIOError:
                packets = container.demux(streams[0])
                continue
            except (StopIteration, av.FFmpegError):
                break
            with contextlib.suppress(av.FFmpegError):
                n_frames += len(streams[0].decode(packet))
        with contextlib.suppress(av.FFmpegError):
            n_frames += len(streams[0].decode(None))
    return n_frames


def work(numbers: list[int], bases: list[Path], pipe: Connection) -> None:
    """A child: cases, one after the other; tells each before and after."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    av.logging.set_level(None)
    for number in numbers:
        pipe.send((number, None))
        with tempfile.TemporaryDirectory(prefix="torture-") as name:
            case = make_case(number, bases, Path(name))
            began = time.monotonic()
            told = run_case(case, Path(name) / "out")
        seconds = round(time.monotonic() - began, 3)
        pipe.send((number, {"base": case.base, "change": case.change, "seconds": seconds, **told}))
    pipe.close()


@dataclass
class Child:
    """One that works, on what, and since when."""

    process: Any
    pipe: Connection
    left: list[int]
    at: int | None = None
    since: float = 0.0


class Torture:
    """Hands out cases, takes down what they came to, and makes new children for those that die."""

    def __init__(self, folder: Path, bases: list[Path], results: Path) -> None:
        self._folder, self._bases, self._results = folder, bases, results
        self._context = get_context("fork")
        self.told: dict[int, dict[str, Any]] = {}
        if results.exists():
            for line in results.read_text().splitlines():
                entry = json.loads(line)
                self.told[entry["number"]] = entry

    def run(self, numbers: list[int], n_workers: int, until: float) -> None:
        """All cases that are not told yet, or as many as there is time for."""
        left = [number for number in numbers if number not in self.told]
        children = [self._start(left[k::n_workers]) for k in range(n_workers) if left[k::n_workers]]
        while children and time.monotonic() < until:
            ready = wait([child.pipe for child in children], timeout=1.0)
            for child in list(children):
                if child.pipe in ready and self._hear(child):
                    continue
                late = child.at is not None and time.monotonic() - child.since > BUDGET
                if child.pipe not in ready and not late:
                    continue
                children.remove(child)
                if again := self._bury(child, late=late):
                    children.append(again)
            if sys.stderr.isatty():
                print(f"\r{len(self.told)} cases", end="", file=sys.stderr)
        for child in children:
            child.process.kill()

    def _start(self, numbers: list[int]) -> Child:
        pipe, other = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(numbers, self._bases, other), daemon=True)
        process.start()
        other.close()
        return Child(process, pipe, numbers)

    def _hear(self, child: Child) -> bool:
        """Takes what a child says; False: it says nothing any more."""
        try:
            number, entry = child.pipe.recv()
        except (EOFError, OSError):
            return False
        if entry is None:
            child.at, child.since = number, time.monotonic()
        else:
            child.at = None
            child.left = child.left[child.left.index(number) + 1 :]
            self._note(number, entry)
        return True

    def _bury(self, child: Child, *, late: bool) -> Child | None:
        if late:
            child.process.kill()
        child.process.join()
        if child.at is None:
            return self._start(child.left) if child.left else None
        with tempfile.TemporaryDirectory(prefix="torture-") as name:
            case = make_case(child.at, self._bases, Path(name))
            why = f"code {child.process.exitcode}"
            end = "hang" if late else self._ask_command(case)
        self._note(child.at, {"base": case.base, "change": case.change, "end": end, "why": why})
        rest = child.left[child.left.index(child.at) + 1 :]
        return self._start(rest) if rest else None

    def _ask_command(self, case: Case) -> str:
        """Whether the command says in one line that its child died."""
        words = [sys.executable, "-m", "mien", "analyze", case.path, "--out", case.path.parent / "out"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=2 * BUDGET, check=False)
        one_line = done.returncode == 2 and done.stderr.count("\n") == 1
        return "crash told" if one_line or done.returncode == 0 else "crash untold"

    def _note(self, number: int, entry: dict[str, Any]) -> None:
        entry = {"number": number, **entry}
        self.told[number] = entry
        with self._results.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if entry["end"] in FAILED:
            kept = self._folder / "failed"
            kept.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory() as name:
                case = make_case(number, self._bases, Path(name))
                shutil.copy(case.path, kept / f"{number}{case.path.suffix}")


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=55.0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    bases = write_bases(given.folder / "bases")
    began = time.monotonic()
    torture = Torture(given.folder, bases, given.folder / "results.jsonl")
    torture.run(list(range(given.cases)), given.workers, began + 60 * given.minutes)
    ends = Counter(entry["end"] for entry in torture.told.values())
    print(
        f"{len(torture.told)} of {given.cases} cases, {given.workers} children, "
        f"{time.monotonic() - began:.0f} s now"
    )
    print("| what came of it | cases |\n|---|---|")
    for end, count in ends.most_common():
        print(f"| {end} | {count} |")
    sys.exit(any(end in FAILED for end in ends))


if __name__ == "__main__":
    main()
