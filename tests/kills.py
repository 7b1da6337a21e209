"""Commands killed at random moments and run again: what comes out must be that of a run nobody disturbed.

    python tests/kills.py FOLDER [--moments 200] [--only VERB ...] [--seed 0]

Each verb runs twice undisturbed, which shows what differs by nature and how long it takes. Then, moment after
moment: it is begun in an empty folder, in a session of its own; its whole process group is killed (SIGKILL);
what stands there under a final name must be whole; the same command is run to its end, and the folder must be
that of the undisturbed run, byte for byte and name by name. Of six moments three are drawn from all of the
run's time, two from its last 15 %, and one follows within 20 ms on a file's having got its final name.

What a moment came to is one line in FOLDER/results.jsonl; moments that stand there are not run again. Folders
of moments that failed are kept. Prints a table; code 1 where any failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from verbs_to_kill import (
    VERBS,
    Tree,
    Verb,
    find_apart,
    find_different,
    find_halves,
    is_final,
    plain,
    read_tree,
)

LAST = 0.85
"""Share of a run's time from which on its last instants are counted."""

SOON = 0.02
"""Seconds after a file has got its name, in which the run is killed where that is what is waited for."""

PATIENCE = 300.0
"""Seconds that a run may take."""

TRIES = 4
"""How often a run is begun that is over before its moment: a busy machine is not always equally slow."""

SURVIVAL = 40.0
"""Seconds in which what a killed process began must end, too.

A worker of Ray that is just starting when its cluster is killed asks for it five times, for 5 s each, and
ends. It is in a group of its own, has loaded nothing of mien yet and writes nothing.
"""


def processes_of(session: int) -> list[int]:
    """Processes of a session that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(number) == session and state not in "ZX":
            found.append(int(path.parent.name))
    return found


class Commands:
    """Runs a verb on its input, in processes that have a temporary folder of their own."""

    def __init__(self, verb: Verb, given: Path) -> None:
        self._words = [word.format(given=given) for word in verb.words]

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A folder for what processes leave in the system's; its name is short, as Ray's sockets need."""
        with tempfile.TemporaryDirectory(prefix="k-", ignore_cleanup_errors=True) as name:
            yield Path(name)

    def start(self, place: Path, temporary: Path) -> subprocess.Popen[bytes]:
        """The command, begun, which writes to `out` in a folder."""
        surroundings = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
        surroundings |= {"TMPDIR": str(temporary), "RAY_TMPDIR": str(temporary)}
        words = [sys.executable, "-m", "mien", *self._words, "--out", str(place / "out")]
        with place.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=surroundings,
                start_new_session=True,
            )

    def run(self, place: Path, temporary: Path) -> tuple[int, float]:
        """The exit code of the whole command, and its seconds."""
        began = time.monotonic()
        process = self.start(place, temporary)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            seconds = time.monotonic() - began
            end(process)
        return code, seconds


def end(process: subprocess.Popen[bytes]) -> list[str]:
    """Kills a process and its group; command lines of what outlived them, and is killed late."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + SURVIVAL
    while left := processes_of(process.pid):
        if time.monotonic() > until:
            told = []
            for number in left:
                with suppress(OSError):
                    words = Path(f"/proc/{number}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                    told.append(b" ".join(words).decode(errors="replace")[-200:])
                    os.kill(number, signal.SIGKILL)
            return told
        time.sleep(0.02)
    return []


def inode(path: Path) -> int | None:
    """Which file has a name now; None: none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


class Trial:
    """A verb, killed at moments.

    Args:
        name: Of the verb.
        folder: For all that is written.
        seed: Of what is drawn by chance.
    """

    def __init__(self, name: str, folder: Path, seed: int) -> None:
        self.verb, self._name, self._folder, self._seed = VERBS[name], name, folder / name, seed
        given = self._folder / "given"
        shutil.rmtree(given, ignore_errors=True)
        given.mkdir(parents=True)
        self.verb.give(given)
        self._commands = Commands(self.verb, given.resolve())
        self._seconds: list[float] = []
        self.by_nature: set[str] = set()
        """Patterns of files that differed between two undisturbed runs."""
        self._old = read_tree(self._fresh("old"))
        self.undisturbed = self._run_undisturbed()

    def _run_undisturbed(self) -> Tree:
        trees = []
        for number in range(2):
            place = self._fresh(f"whole-{number}")
            with self._commands.temporary() as temporary:
                code, seconds = self._commands.run(place, temporary)
            if code:
                raise SystemExit(f"{self._name} undisturbed: code {code}, see {place}.log")
            self._seconds.append(seconds)
            trees.append(read_tree(place))
        plains = [plain(self.verb, tree) for tree in trees]
        if odd := find_different(*plains):
            raise SystemExit(
                f"two undisturbed runs of {self._name} differ in {sorted(odd)}: tell why in VERBS"
            )
        aparts = map(partial(find_apart, self.verb), find_different(*trees))
        self.by_nature = {each.pattern for each in aparts if each}
        return plains[0]

    def _fresh(self, name: str) -> Path:
        place = self._folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.with_suffix(".log").unlink(missing_ok=True)
        place.mkdir()
        if self.verb.before is not None:
            self.verb.before(place / "out")
        return place

    def run(self, number: int) -> dict[str, Any]:
        """What one moment came to."""
        for left in reversed(range(TRIES)):
            place = self._fresh(f"moment-{number}")
            with self._commands.temporary() as temporary:
                told, survived = self._kill(number, place, temporary)
                if told["phase"] != "ended" or not left:
                    return self._go_on(number, place, temporary, told, survived)
            self._seconds.append(told["seconds"])  # it was quicker than expected; again, with that in mind
        raise AssertionError

    def _go_on(
        self, number: int, place: Path, temporary: Path, told: dict[str, Any], survived: list[str]
    ) -> dict[str, Any]:
        """Looks at what a killed run has left, runs the command again, and looks at what that leaves."""
        there = read_tree(place)
        told["half"] = find_halves(self.verb, there, self.undisturbed, self._old)
        told["temporary"] = sorted(path.name for path in temporary.iterdir())
        code, seconds = self._commands.run(place, temporary)
        if told["phase"] == "before" and code == 0:
            self._seconds.append(seconds)  # as good as undisturbed, and tells how busy the machine is now
        after = plain(self.verb, read_tree(place))
        told |= {
            "code": code,
            "differ": sorted(name for name in self.undisturbed if after.get(name) != self.undisturbed[name]),
            "left": sorted(after.keys() - self.undisturbed.keys()),
            "survived": survived,
        }
        told["failed"] = bool(code or told["half"] or told["differ"] or told["left"] or survived)
        if not told["failed"]:
            shutil.rmtree(place)
            place.with_suffix(".log").unlink()
        return {"verb": self._name, "number": number, **told}

    def _kill(self, number: int, place: Path, temporary: Path) -> tuple[dict[str, Any], list[str]]:
        """Begins the command and kills it at its moment; and what outlived that."""
        chance = random.Random(f"{self._seed} {self._name} {number}")
        duration = statistics.median(self._seconds[-3:])
        kind = ("all", "all", "last", "all", "name", "last")[number % 6]
        share = chance.uniform(LAST if kind == "last" else 0.0, 1.0)
        names = [name for name in self.undisturbed if is_final(name) and not name.endswith("/")]
        awaited = place / chance.choice(sorted(names))
        delay = chance.uniform(0.0, SOON)
        before, began = inode(awaited), time.monotonic()
        process = self._commands.start(place, temporary)
        until = began + (PATIENCE if kind == "name" else share * duration)
        try:
            while process.poll() is None and time.monotonic() < until:
                if kind == "name" and inode(awaited) not in (None, before):
                    time.sleep(delay)
                    break
                time.sleep(0.001)
            seconds, ended = time.monotonic() - began, process.poll() is not None
        finally:
            survived = end(process)
        outlived = round(time.monotonic() - began - seconds, 2)
        phase = "ended" if ended else "within" if read_tree(place) != self._old else "before"
        told = {"kind": kind, "phase": phase, "seconds": round(seconds, 3), "duration": round(duration, 3)}
        told["outlived"] = outlived
        if kind == "name":
            told["awaited"] = awaited.relative_to(place).as_posix()
        return told, survived


def deal_out(n_moments: int, names: list[str]) -> list[tuple[str, int]]:
    """Moments by verb and number, verb after verb: as many for each as its weight says, one at least."""
    total = sum(VERBS[name].weight for name in names)
    counts = {name: max(1, round(n_moments * VERBS[name].weight / total)) for name in names}
    return [(name, number) for name in names for number in range(counts[name])]


def write_report(told: list[dict[str, Any]]) -> Iterator[str]:
    """A table of what all moments came to, and what each failed one did."""
    yield "| verb | moments | killed with files there | rerun equal | half files | left over | gone after |"
    yield "|---|---|---|---|---|---|---|"
    for name in (*VERBS, "all"):
        mine = [each for each in told if name in {each["verb"], "all"}]
        if mine:
            counts = [
                len(mine),
                sum(each["phase"] == "within" for each in mine),
                sum(not each["code"] and not each["differ"] for each in mine),
                *(sum(bool(each[fault]) for each in mine) for fault in ("half", "left")),
            ]
            slowest = max(each.get("outlived", 0.0) for each in mine)
            yield f"| {name} | {' | '.join(map(str, counts))} | {slowest:.1f} s |"
    for each in told:
        if each["failed"]:
            yield f"FAILED {json.dumps(each)}"


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=list(VERBS), default=list(VERBS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing runs on
    given.folder.mkdir(parents=True, exist_ok=True)
    results, began = given.folder / "results.jsonl", time.monotonic()
    told = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    over = {(each["verb"], each["number"]) for each in told}
    trial: tuple[str, Trial] | None = None
    for name, number in deal_out(given.moments, given.only):
        if (name, number) in over:
            continue
        if trial is None or trial[0] != name:
            trial = name, Trial(name, given.folder, given.seed)
            print(f"{name}: differing by nature: {sorted(trial[1].by_nature) or 'nothing'}", flush=True)
        told.append(trial[1].run(number))
        with results.open("a") as file:
            file.write(json.dumps(told[-1]) + "\n")
        if sys.stderr.isatty():
            print(f"\r{name} {number}", end="", file=sys.stderr)
    print(f"{len(told)} moments, {time.monotonic() - began:.0f} s now, {os.cpu_count()} cores")
    print(*write_report(told), sep="\n")
    for name in given.only:
        for apart in VERBS[name].apart:
            print(f"not compared in {name}: {apart.pattern}: {apart.reason}")
    sys.exit(any(each["failed"] for each in told))


if __name__ == "__main__":
    main()
