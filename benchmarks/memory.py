"""Memory of `mien analyze` over films of growing length: the most of it, and its curve over the command.

    python benchmarks/memory.py WORK CLIP [CLIP ...] [--minutes 10 60 600] [--container mkv] [--sample-hz 5]

Films are `face.mp4` of `workload.py` over and over, by copying its packets, so that ten hours are made in a
minute. The command runs as a user's, to CSV and JSON; what it holds is read from /proc twice a second (Linux
alone). Writes WORK/memory-CONTAINER.json, prints Markdown, and draws the curves where told to.
"""

import argparse
import json
import subprocess
import sys
import time
from datetime import date
from itertools import pairwise
from pathlib import Path

from workload import lengthen, make

from mien.plot import add_caption, blank_panels, write_figure

MEGABYTE = 1 << 20
PAUSE = 0.5
"""Seconds between two readings."""


def resident(process: int, name: str) -> float:
    """Megabytes of a running process and its children: now (VmRSS) or at most so far (VmHWM)."""
    place = Path(f"/proc/{process}")
    try:
        told = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        children = (place / "task" / str(process) / "children").read_text().split()
    except OSError:  # it has ended
        return 0.0
    own = int(told.get(name, "0 kB").split()[0]) * 1024 / MEGABYTE
    return own + sum(resident(int(child), name) for child in children)


def watch(film: Path, report: Path, sample_hz: float) -> dict:
    """Analyzes a film: seconds, most megabytes, and the curve of [seconds, megabytes]."""
    mien = Path(sys.executable).parent / "mien"
    words = [mien, "analyze", film, "--out", report, "--formats", "csv,json", "--sample-hz", str(sample_hz)]
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    curve, most = [], 0.0
    while process.poll() is None:
        now, so_far = resident(process.pid, "VmRSS"), resident(process.pid, "VmHWM")
        if now:
            curve.append([round(time.perf_counter() - began, 1), round(now, 1)])
        most = max(most, so_far)
        time.sleep(PAUSE)
    if process.returncode:
        sys.exit(f"{film.name}: mien analyze ended with code {process.returncode}")
    took = time.perf_counter() - began
    return {"seconds": round(took, 1), "most": round(most, 1), "curve": thinned(curve)}


def thinned(curve: list[list[float]], at_most: int = 400) -> list[list[float]]:
    """The largest reading of each of so many equal shares of the time."""
    edges = [round(k * len(curve) / at_most) for k in range(at_most + 1)]
    return [max(curve[one:other], key=lambda each: each[1]) for one, other in pairwise(edges) if one < other]


def n_rows(table: Path) -> int:
    """Rows of a CSV file, without its heading."""
    with table.open() as lines:
        return sum(1 for _ in lines) - 1


def draw(told: list[dict], path: Path) -> None:
    """Memory over the share of the film that is done, a line for each file of figures."""
    figure, axes = blank_panels(8, 3.6)
    colours = {"mkv": "#0072b2", "mp4": "#d55e00"}
    for each in told:
        for minutes, run in each["runs"].items():
            style = "-" if int(minutes) == max(map(int, each["runs"])) else ":"
            x = [100 * seconds / run["seconds"] for seconds, _ in run["curve"]]
            name = f"{each['container']}, {int(minutes) / 60:g} h" if int(minutes) >= 60 else None
            name = name or f"{each['container']}, {minutes} min"
            colour = colours.get(each["container"], "#666666")
            axes.plot(x, [megabytes for _, megabytes in run["curve"]], style, color=colour, label=name)
    axes.set(
        xlabel="% of the time that the command takes", ylabel="MB in memory", ylim=(0, 650), xlim=(0, 100)
    )
    axes.axhline(600, color="#222222", linewidth=1, linestyle="--")
    axes.annotate("what we allow ourselves", (1, 606), fontsize=8)
    axes.legend(frameon=False, ncols=2, loc="lower right")
    looks = " and ".join(f"{hz:g}" for hz in sorted({each["sample_hz"] for each in told}))
    summary = f"640×360, 25 frames a second, sound, one face, looked at {looks} times a second"
    add_caption(axes, "Memory of mien analyze, CSV and JSON", summary)
    write_figure(figure, path)


def main() -> None:
    """Makes the films, watches their analysis, writes and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--minutes", type=int, nargs="+", default=[10, 60, 600])
    parser.add_argument("--container", default="mkv")
    parser.add_argument("--sample-hz", type=float, default=12.5)
    parser.add_argument("--picture", type=Path, help="draw all WORK/memory-*.json; with no clips, only that")
    given = parser.parse_args()
    if given.clips:
        face, runs = make(given.work, given.clips)["face"], {}
        for minutes in given.minutes:
            film, report = (
                given.work / f"{minutes}min.{given.container}",
                given.work / f"memory-{given.container}",
            )
            lengthen(face, film, 60 * minutes)
            runs[str(minutes)] = watch(film, report, given.sample_hz)
            runs[str(minutes)]["rows"] = n_rows(report / "timeline.csv")
            film.unlink()
            told = {
                "date": date.today().isoformat(),
                "container": given.container,
                "sample_hz": given.sample_hz,
                "runs": runs,
            }
            place = given.work / f"memory-{given.container}.json"
            place.write_text(json.dumps(told) + "\n")
        print("| film | seconds | rows | most MB |\n|---|---|---|---|")
        for minutes, run in runs.items():
            took, most = round(run["seconds"]), round(run["most"])
            print(f"| {minutes} min, {given.container} | {took} | {run['rows']} | {most} |")
    if given.picture:
        draw(
            [json.loads(each.read_text()) for each in sorted(given.work.glob("memory-*.json"))], given.picture
        )


if __name__ == "__main__":
    main()
