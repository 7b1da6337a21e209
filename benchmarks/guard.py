"""Refuses a change that makes analysis slower: its time over that of a bare decode, beside the one committed.

    python benchmarks/guard.py [--write]

The film is the bundled clip over and over, three minutes of it, by copying its packets. The whole command and
the bare decode run in turns, five times; the ratio is the median of the five, so that a slow minute of the
machine meets both. Networks in 8 bits take twice as long on a processor without VNNI, so guard.json has a
ratio for either kind. Ends with code 1 where it is more than 30 % above; `--write` commits it anew.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from speed import command, decode, processor, seconds
from workload import lengthen

HERE = Path(__file__).parent
CLIP, COMMITTED = HERE.parent / "examples" / "demo.mp4", HERE / "guard.json"
REPEATS, SECONDS, MOST = 5, 180, 1.3


def measure() -> float:
    """Time of the command over that of a bare decode of the same film."""
    mien = Path(sys.executable).parent / "mien"
    with tempfile.TemporaryDirectory() as name:
        film, report = Path(name) / "film.mp4", Path(name) / "report"
        lengthen(CLIP, film, SECONDS)
        ratios = []
        for _ in range(REPEATS):
            bare = seconds(lambda: decode(film))
            whole = seconds(lambda: command(mien, "analyze", film, "--out", report, "--formats", "csv,json"))
            ratios.append(whole / bare)
            print(f"{whole:.2f} s / {bare:.2f} s = {ratios[-1]:.2f}", file=sys.stderr)
    return median(ratios)


def main() -> None:
    """Measures, and compares or writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    committed, kind, ratio = json.loads(COMMITTED.read_text()), processor(), measure()
    if given.write:
        COMMITTED.write_text(json.dumps(committed | {kind: round(ratio, 2)}, indent=1) + "\n")
        return
    most = MOST * committed[kind]
    print(f"{ratio:.2f} {kind}, committed is {committed[kind]:.2f}, at most {most:.2f} is let through")
    sys.exit(ratio > most)


if __name__ == "__main__":
    main()
