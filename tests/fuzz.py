"""A fuzzer that is guided by coverage, on every parser.

    python tests/fuzz.py FOLDER [--seconds 60] [--only NAME ...]

Targets are those of `parsers`; each runs in a process of its own, one after the other, for so many seconds.
Atheris (libFuzzer), which FOLDER/site or the environment holds, watches which lines of mien an input reaches.
What reached new ones is kept in FOLDER/NAME/corpus, so the next run goes on from there; inputs that failed,
one of each kind, in FOLDER/NAME/failed. Of memory 2 GiB are allowed, of time 5 s an input. Prints a table
over all runs so far; code 1 where anything failed in this one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
import traceback
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parsers import Target

LONGEST = 5
"""Seconds of one input."""

MOST_MEMORY = 2048
"""MiB of a process."""

ARTIFACT = re.compile("crash|oom|timeout|slow")
"""How names of what libFuzzer itself keeps begin."""

LARGEST = 400_000
"""Bytes of an input."""


def targets() -> dict[str, Target]:
    """All targets by name."""
    import parsers_of_corpora  # noqa: F401
    import parsers_of_models  # noqa: F401
    from parsers import TARGETS

    return TARGETS


def watched_targets(site: Path) -> dict[str, Target]:
    """All targets, of whose modules Atheris, in a folder or installed, sees which lines are reached."""
    sys.path.append(str(site))
    import atheris

    with atheris.instrument_imports(include=["mien"]):
        return targets()


def kind_of(error: BaseException) -> str:
    """What tells a fault from others: the error's type, and the last line of mien's on the way to it."""
    cause = error.__cause__ or error
    ours = [each for each in traceback.extract_tb(cause.__traceback__) if "/mien/" in each.filename]
    where = f"{Path(ours[-1].filename).stem}-{ours[-1].lineno}" if ours else "nowhere"
    return f"{type(cause).__name__}-{where}"


def fuzz_one(name: str, target: Target, place: Path, folder: Path, seconds: int) -> None:
    """Fuzzes one target, whose files lie in a folder, in this process, which it ends."""
    import atheris

    with atheris.instrument_imports(include=["mien"]):
        path, seeds = target.begin(folder)
        for seed in seeds:
            target.hold(path, seed)
    from changes import change
    from parsers import KEPT, FaultError

    seeds += [each.read_bytes() for each in sorted(KEPT.glob(f"{name}/*"))]
    for inner in ("corpus", "failed"):
        (place / inner).mkdir(parents=True, exist_ok=True)
    for failed in [each for each in (place / "failed").iterdir() if not ARTIFACT.match(each.name)]:
        content = failed.read_bytes()
        failed.unlink()  # it comes back where it still fails
        if failed.suffix != ".txt":
            seeds.append(content)
    for seed in seeds:
        (place / "corpus" / sha256(seed).hexdigest()[:20]).write_bytes(seed)

    def one(content: bytes) -> None:
        try:
            target.hold(path, content)
        except FaultError as fault:
            kept = place / "failed" / kind_of(fault)
            if not kept.exists() or len(content) < kept.stat().st_size:
                kept.write_bytes(content)
                kept.with_suffix(".txt").write_text(f"{fault}\n", errors="backslashreplace")

    def mutate(content: bytes, largest: int, seed: int) -> bytes:
        if seed % 2:
            return atheris.Mutate(content, largest)
        return change(content, seeds, Random(seed))[:largest]

    options = {
        "max_total_time": seconds,
        "max_len": LARGEST,
        "timeout": LONGEST,
        "rss_limit_mb": MOST_MEMORY,
        "artifact_prefix": f"{place / 'failed'}/",
        "print_final_stats": 1,
    }
    words = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(place / "corpus")]
    atheris.Setup(words, one, custom_mutator=mutate)
    atheris.Fuzz()


def run(name: str, target: Target, place: Path, seconds: int) -> dict[str, Any]:
    """What one target came to in a process of its own."""
    place.mkdir(parents=True, exist_ok=True)
    memory = Path("/dev/shm")
    began = time.monotonic()
    with (
        (place / "log").open("w") as log,
        tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None) as files,
    ):
        child = os.fork()  # what all need is loaded once
        if not child:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                fuzz_one(name, target, place, Path(files), seconds)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = (place / "log").read_text(errors="replace")
    executed = re.findall(r"number_of_executed_units: (\d+)", said)
    covered = re.findall(r"cov: (\d+)", said)
    failed = sorted({each.name for each in place.glob("failed/*") if each.suffix != ".txt"})
    return {
        "name": name,
        "seconds": round(time.monotonic() - began),
        "inputs": int(executed[-1]) if executed else 0,
        "edges": int(covered[-1]) if covered else 0,
        "failed": failed,
        "code": code,
    }


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--only", nargs="*", metavar="NAME")
    given = parser.parse_args()
    folder = given.folder.resolve()
    known = watched_targets(folder / "site")
    names = list(known)
    if strange := {*(given.only or ())} - {*names}:
        parser.error(f"no target {', '.join(sorted(strange))}; there are {', '.join(names)}")
    folder.mkdir(parents=True, exist_ok=True)
    results, is_wrong = folder / "results.jsonl", False
    for name in given.only or names:
        told = run(name, known[name], folder / name, given.seconds)
        is_wrong |= bool(told["failed"] or told["code"])
        with results.open("a") as file:
            file.write(json.dumps(told) + "\n")
        failed = ", ".join(told["failed"]) or (f"the run, code {told['code']}" if told["code"] else "none")
        print(f"{name}: {told['inputs']} inputs, failed: {failed}", file=sys.stderr)
    print_table([json.loads(line) for line in results.read_text().splitlines()])
    sys.exit(is_wrong)


def print_table(runs: list[dict[str, Any]]) -> None:
    """One row for each target over all its runs."""
    print("| target | seconds | executions | edges covered | crashes now |\n|---|---|---|---|---|")
    for name in dict.fromkeys(str(each["name"]) for each in runs):
        own = [each for each in runs if each["name"] == name]
        seconds, inputs = (sum(each[key] for each in own) for key in ("seconds", "inputs"))
        last = own[-1]
        print(f"| {name} | {seconds} | {inputs:,} | {last['edges']} | {len(last['failed'])} |")


if __name__ == "__main__":
    main()
