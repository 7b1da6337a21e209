"""Every verb that writes, where there is no room or it may not write: one line, and nothing half.

    python tests/no_room.py FOLDER [--tries 6] [--only VERB ...] [--seed 0] [--mount]

Each verb runs once undisturbed. Then it runs

- where no file may grow beyond a size (RLIMIT_FSIZE): 0 bytes, one less than the largest file that it leaves,
  and sizes drawn between them;
- with --mount, as root, on a disk of a size (a tmpfs) drawn between nothing and what it leaves;
- in a folder that may not be written to, where its output is to lie and, if that is a folder, in it;
- where a file stands in the place of a folder above its output;
- where a folder stands in the place of one of the files that it writes.

It must end with code 2 and one line on standard error, leave what stood there as it was, no file that is half
and none aside; and the same command, run again when the hindrance is gone, must leave what an undisturbed run
does. Prints a table; code 1 where anything failed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from verbs_that_write import VERBS_THAT_WRITE
from verbs_to_kill import Tree, find_different, find_halves, is_final, plain, read_tree

PATIENCE = 300.0
"""Seconds that a run may take."""

LOADED = (
    "av",
    "cv2",
    "matplotlib.pyplot",
    "mien.cli",
    "onnxruntime",
    "scipy.optimize",
    "torch.utils.tensorboard",
)
"""What is loaded once, in the process that those of all runs are copies of; else it takes most time."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([*LOADED])


def obey_permissions() -> None:
    """From here on this process and its children may write only where their user may, even as root."""
    if os.geteuid() == 0:
        library = ctypes.CDLL(None)
        library.prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE: none for programs that are begun
        library.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())  # and none at all here


def limit_files(size: int) -> None:
    """From here on no file of this process grows beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def run_mien(words: list[str], hindered: Callable[[], None] | None, told: Connection) -> None:
    """Runs `mien` in this process; what it says on standard error goes into a pipe."""
    with Path(os.devnull).open("r+b") as nothing:
        for number in (0, 1):
            os.dup2(nothing.fileno(), number)
    os.dup2(told.fileno(), 2)
    told.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", 1, closefd=False)
    os.environ["COLUMNS"] = "400"
    sys.argv = ["mien", *words]
    if hindered is not None:
        hindered()
    from mien.entry import main as run

    run()


class Place:
    """A verb, its input, and a folder in which it is run again and again.

    Args:
        name: Of the verb.
        folder: For all that is written.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.verb = name, VERBS_THAT_WRITE[name]
        self._given, self.folder = folder / "given", folder / "place"
        self._given.mkdir(parents=True)
        self.folder.mkdir()
        self.verb.give(self._given)
        self.old = self.begin()
        code, told = self.run()
        if code:
            raise SystemExit(f"{name} undisturbed: code {code}: {told}")
        left = read_tree(self.folder)
        self.whole = plain(self.verb, left)
        self.written = {
            name: len(left[name]) for name in left if left[name] and left[name] != self.old.get(name)
        }
        """Sizes of the files that it writes."""

    def begin(self) -> Tree:
        """Empties the folder but for what stood there before; and that."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        if self.verb.before is not None:
            self.verb.before(self.folder / "out")
        return read_tree(self.folder)

    def run(self, hindered: Callable[[], None] | None = None, out: str = "out") -> tuple[int, str]:
        """The command's exit code and what it says on standard error."""
        words = [word.format(given=self._given.resolve()) for word in self.verb.words]
        words += ["--out", str((self.folder / out).resolve())]
        ours, theirs = processes.Pipe(duplex=False)
        process = processes.Process(target=run_mien, args=(words, hindered, theirs))
        process.start()
        theirs.close()
        with ours, os.fdopen(ours.fileno(), "rb", closefd=False) as told:
            told_all = told.read().decode(errors="replace")
        process.join(PATIENCE)
        return process.exitcode or 0, told_all


def find_faults(place: Place, old: Tree, code: int, told: str) -> list[str]:
    """What is wrong with how a hindered run ended, and with what it left.

    Args:
        place: Where it ran.
        old: What stood there before.
        code: Its exit code.
        told: What it said.
    """
    left = read_tree(place.folder)
    if code == 0:  # there was room enough
        return [f"differs: {name}" for name in sorted(find_different(plain(place.verb, left), place.whole))]
    faults = [] if code == 2 else [f"code {code}"]
    if not told.startswith("mien: ") or told.count("\n") != 1:
        faults.append(f"says {told[-600:]!r}")
    faults += [f"not as it was: {name}" for name in old if left.get(name) != old[name]]
    new = {name: content for name, content in left.items() if name not in old}
    faults += [f"left aside: {name}" for name in new.keys() - place.whole.keys() if not is_final(name)]
    faults += [f"half: {name}" for name in find_halves(place.verb, new, place.whole, {})]
    return faults


def go_on(place: Place, old: Tree) -> list[str]:
    """What is wrong when the command is run again without the hindrance; nothing if it had left no trace."""
    if read_tree(place.folder) == old:
        return []
    code, told = place.run()
    if code:
        return [f"again: code {code}: {told[-300:]!r}"]
    odd = find_different(plain(place.verb, read_tree(place.folder)), place.whole)
    return [f"again differs: {name}" for name in sorted(odd)]


def try_size(place: Place, size: int) -> list[str]:
    """Faults where no file may grow beyond a size."""
    old = place.begin()
    return find_faults(place, old, *place.run(partial(limit_files, size))) + go_on(place, old)


def try_disk(place: Place, size: int) -> list[str]:
    """Faults on a disk of a size."""
    with mounted(place.folder, f"size={max(size, 1)}"):
        try:
            old = place.begin()
        except OSError:  # not even what stood there before fits
            return []
        faults = find_faults(place, old, *place.run())
        subprocess.run(["mount", "-o", "remount,size=1g", place.folder], check=True)
        return faults + go_on(place, old)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A disk in memory at a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def try_closed(place: Place, name: str) -> list[str]:
    """Faults where a folder may not be written to: that of the output, or the output."""
    old = place.begin()
    closed = place.folder / name
    closed.chmod(0o555)
    try:
        faults = find_faults(place, old, *place.run(obey_permissions))
    finally:
        closed.chmod(0o755)
    return faults + go_on(place, old)


def try_file_above(place: Place) -> list[str]:
    """Faults where a file stands in the place of the folder that the output is to lie in."""
    place.begin()
    (place.folder / "file").write_text("mine")
    old = read_tree(place.folder)
    code, told = place.run(out="file/out")
    return find_faults(place, old, code, told) + ([] if code else ["code 0"])


def try_folder_instead(place: Place, name: str) -> list[str]:
    """Faults where a folder stands in the place of a file; a part of a run that is not whole is made anew."""
    place.begin()
    with suppress(FileNotFoundError):
        (place.folder / name).unlink()
    (place.folder / name / "more").mkdir(parents=True)
    return find_faults(place, read_tree(place.folder), *place.run())


def hindrances(
    place: Place, n_tries: int, seed: int, *, mount: bool
) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """What a verb is tried by, in words, and how."""
    chance = random.Random(f"{seed} {place.name}")
    sizes = place.written.values()
    largest, total = max(sizes), sum(-size // 4096 * -4096 for size in sizes)
    if place.name != "scale":  # Ray's own processes would end
        drawn = sorted(chance.randrange(1, largest) for _ in range(n_tries - 2))
        for size in (0, *drawn, largest - 1)[:n_tries]:
            yield f"files of {size} bytes", partial(try_size, place, size)
    if mount:
        for size in sorted(chance.randrange(0, total) for _ in range(n_tries)):
            yield f"a disk of {size} bytes", partial(try_disk, place, size)
    yield "a closed folder above", partial(try_closed, place, ".")
    if "out/" in place.old:
        yield "a closed folder", partial(try_closed, place, "out")
    yield "a file above", partial(try_file_above, place)
    name = chance.choice(sorted(filter(is_final, place.written)))
    yield f"a folder at {name}", partial(try_folder_instead, place, name)


def try_all(name: str, folder: Path, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What each hindrance of a verb came to."""
    shutil.rmtree(folder, ignore_errors=True)
    place = Place(name, folder)
    for words, attempt in hindrances(place, given.tries, given.seed, mount=given.mount):
        began = time.monotonic()
        yield {
            "verb": name,
            "where": words,
            "faults": attempt(),
            "seconds": round(time.monotonic() - began, 1),
        }


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tries", type=int, default=6)
    parser.add_argument("--only", nargs="+", choices=list(VERBS_THAT_WRITE), default=list(VERBS_THAT_WRITE))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mount", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    told = []
    with (given.folder / "results.jsonl").open("a", buffering=1) as file:
        for name in given.only:
            for each in try_all(name, given.folder / name.replace(" ", "-"), given):
                told.append(each)
                file.write(json.dumps(each) + "\n")
    for name in given.only:
        mine = [each for each in told if each["verb"] == name]
        print(f"{name}: {len(mine)} tried, {sum(bool(each['faults']) for each in mine)} failed")
    for each in told:
        if each["faults"]:
            print(f"FAILED {each['verb']}, {each['where']}: {'; '.join(each['faults'])}")
    sys.exit(any(each["faults"] for each in told))


if __name__ == "__main__":
    main()
