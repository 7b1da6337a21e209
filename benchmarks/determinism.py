"""Whether the same film gives the same table: again, on more threads, and on other processors.

    python benchmarks/determinism.py WORK CLIP [CLIP ...] [--emulate COMMAND ...]

Each clip is analyzed in a process of its own, twice as it comes, and with 1, 2 and 4 threads: for the
networks, for OpenCV, for numpy's libraries, and for what is looked at ahead. Then without the wide vector
instructions of numpy and OpenCV; and by each COMMAND that runs a program on an emulated processor, such as
`qemu-x86_64 -cpu Nehalem`. Told for each: tables equal byte by byte; rows; how far a probability moves at
most; labels that are others, and those of them that are clear, their two best further apart than 0.001.
Tables stay in WORK, one folder a variant; a folder from another machine, put there, is compared as well.
"""

import argparse
import csv
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

CLOSE = 1e-3
"""Further apart than this, the likelier of two expressions must be the same everywhere."""

USUAL = "as it comes"

NARROW = {
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    "OPENCV_CPU_DISABLE": "AVX,AVX2,FMA3,FP16,AVX512F,AVX512-SKX",
    "OPENCV_IPP": "disabled",
}
"""Wide vector instructions switched off where libraries let one choose."""

LIBRARY_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def analyze_here(clip: Path, out: Path, n_threads: int) -> None:
    """Analyzes a clip in this process; 0 threads: as it comes."""
    from mien import engine
    from mien.report import DEFAULT_FORMATS, Report

    if n_threads:
        import cv2

        cv2.setNumThreads(n_threads)
        usual = engine.open_session

        def open_session(content: bytes, **_: int) -> engine.InferenceSession:
            return usual(content, n_threads=n_threads)

        engine.open_session = open_session  # before anybody else imports it
    from mien.pipeline import Analysis
    from mien.readings import ReadingSettings

    reading = ReadingSettings(n_threads=n_threads) if n_threads else ReadingSettings()
    analysis = Analysis(clip, reading)
    with Report(out, formats=DEFAULT_FORMATS) as report:
        report.record(analysis.rows(), analysis.timeline)
        report.finish(analysis.provenance())


def run(clip: Path, out: Path, *, before: str = "", n_threads: int = 0, **surroundings: str) -> None:
    """Analyzes a clip in a process of its own, unless its table is there."""
    if (out / "timeline.csv").exists():
        return
    if n_threads:
        surroundings |= dict.fromkeys(LIBRARY_THREADS, str(n_threads))
    python = (
        Path(sys.executable).resolve() if before else sys.executable
    )  # an emulator starts no links' targets
    words = [*shlex.split(before), str(python), __file__, "--here", str(n_threads), str(out), str(clip)]
    places = {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)} if before else {}
    subprocess.run(words, check=True, env=os.environ | surroundings | places)


def read_table(path: Path) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """Frame, time and person of each row, and its eight probabilities; NaN where it has none."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith("p_")]
    places = [(row["frame"], row["time_s"], row["track_id"]) for row in rows]
    return places, np.array([[float(row[name] or "nan") for name in names] for row in rows])


def compare(ours: Path, theirs: Path) -> tuple[bool, int, float, int, int]:
    """Whether two tables are equal; rows; largest difference; other labels, all and those that are clear."""
    places, probs = read_table(ours)
    their_places, their_probs = read_table(theirs)
    equal = ours.read_bytes() == theirs.read_bytes()
    if places != their_places or (np.isnan(probs) != np.isnan(their_probs)).any():
        raise SystemExit(f"{theirs}: its rows are others than those of {ours}")
    told = ~np.isnan(probs).any(axis=1)
    probs, their_probs = probs[told], their_probs[told]
    best = np.sort(probs, axis=1)
    other = probs.argmax(axis=1) != their_probs.argmax(axis=1)
    clear = other & (best[:, -1] - best[:, -2] > CLOSE)
    return (
        equal,
        len(places),
        float(np.abs(probs - their_probs).max(initial=0)),
        int(other.sum()),
        int(clear.sum()),
    )


def main() -> None:
    """Runs what is not there yet, and prints the table."""
    if sys.argv[1:2] == ["--here"]:
        return analyze_here(Path(sys.argv[4]), Path(sys.argv[3]), int(sys.argv[2]))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--emulate", action="append", default=[], metavar="COMMAND")
    given = parser.parse_args()
    for clip in given.clips:
        run(clip, given.work / USUAL / clip.stem)
        run(clip, given.work / "again" / clip.stem)
        for n_threads in (1, 2, 4):
            run(clip, given.work / f"threads {n_threads}" / clip.stem, n_threads=n_threads)
        run(clip, given.work / "narrow vectors" / clip.stem, **NARROW)
        for command in given.emulate:
            run(clip, given.work / command.replace("/", " ") / clip.stem, before=command)
    print(f"{platform.machine()}, {os.cpu_count()} processors; {len(given.clips)} clips\n")
    print(
        "| variant | tables | equal to the byte | rows | largest difference | other labels | of these clear |"
    )
    print("|---|---|---|---|---|---|---|")
    for folder in sorted(given.work.iterdir(), key=lambda each: each.stat().st_mtime):
        if folder.name == USUAL or not folder.is_dir():
            continue
        found = [
            compare(given.work / USUAL / path.parent.name / path.name, path)
            for path in sorted(folder.glob("*/timeline.csv"))
            if (given.work / USUAL / path.parent.name / path.name).exists()
        ]
        if found:
            equal, rows, difference, other, clear = zip(*found, strict=True)
            print(
                f"| {folder.name} | {len(found)} | {sum(equal)} | {sum(rows):,} | {max(difference):.1e} | "
                f"{sum(other)} | {sum(clear)} |"
            )
    return None


if __name__ == "__main__":
    main()
