"""How fast `mien analyze` is, as ratios in one run: to a bare decode of the film, and to what others take.

    python benchmarks/speed.py WORK CLIP [CLIP ...] [--repeats 5] [--fer PYTHON] [--node FOLDER] [--out DIR]

Films are made of the clips by `workload.py`. Each figure is the median over the repeats, in each of which
all jobs run once, one after the other, so that a slow minute of the machine meets all of them. A job is the
whole command, start-up, sound and writing CSV and JSON included; a bare decode is every frame and all sound
of the film, decoded by the same library in a running process and thrown away. `fer` is timed without its
imports, on every frame; `human` on frames that are decoded already, every third of them, its time for the
film three times that. Prints Markdown; writes all times as JSON, named after day and processor, and two
pictures into DIR.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
from peers.compare import pack
from workload import FPS, SECONDS, make

from mien.media import read_frames, read_sound
from mien.plot import add_caption, blank_panels, write_figure

N_FRAMES = FPS * SECONDS

MARKS = {
    "fer ÷ mien": 4.0,
    "fer ÷ mien, every frame": 1.5,
    "human ÷ mien": 8.0,
    "mien ÷ bare decode, 3 minutes": 6.0,
    "four faces ÷ one": 2.2,
}
"""What the ratios should reach: the first three at least, the others at most."""

FIRST_ROW = """
import sys, time
from mien import stream
from mien.readings import ReadingSettings
next(stream(sys.argv[1], ReadingSettings(model=sys.argv[2], end=10.0)))
"""


def processor() -> str:
    """The kind of processor, as far as it decides how fast networks in 8 bits are; Linux alone says."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return "with VNNI" if flags & {"avx512_vnni", "avx_vnni"} else "without VNNI"


def seconds(job: Callable[[], object]) -> float:
    """How long a job takes."""
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def command(*words: object) -> None:
    """Runs a command to its end, its words unread."""
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def decode(film: Path) -> None:
    """Every frame and all sound, as bare as the library gives them."""
    for _ in read_frames(film):
        pass
    for _ in read_sound(film):
        pass


def ask_fer(python: str, film: Path, work: Path) -> float:
    """Seconds that `fer` says it took."""
    script = Path(__file__).parent / "peers" / "fer_job.py"
    done = subprocess.run([python, script, film, work], check=True, capture_output=True, text=True)
    return float(next(line for line in done.stdout.splitlines() if line.startswith("fer ")).split()[2])


def ask_human(node: Path, film: Path, work: Path) -> float:
    """Seconds that `human` takes for the film's frames, from every third of them."""
    place = work / "human"
    frames = {str(frame.index): frame.image for frame in read_frames(film) if frame.index % 3 == 0}
    pack(frames, place)
    script = Path(__file__).parent / "peers" / "ask_node.mjs"
    command("node", script, place, "frames", node)
    took = np.loadtxt(place / "human.csv", delimiter=",", skiprows=1, usecols=2)
    return 3 * float(took.sum()) / 1000


def main() -> None:
    """Runs every job as often as told and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fer")
    parser.add_argument("--node", type=Path)
    parser.add_argument("--model", default="mien-b")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    films = make(given.work, given.clips)
    mien = Path(sys.executable).parent / "mien"

    def analyze(name: str, *more: object) -> float:
        report = given.work / "report"
        options = ["--out", report, "--formats", "csv,json", "--model", given.model, *more]
        return seconds(lambda: command(mien, "analyze", films[name], *options))

    jobs: dict[str, Callable[[], float]] = {
        "mien, 10 s": lambda: analyze("face", "--end", 10),
        "mien, 640×360, 30 s": lambda: analyze("face"),
        "mien, every frame looked at": lambda: analyze("face", "--sample-hz", 25),
        "mien, 1280×720": lambda: analyze("large"),
        "mien, two faces": lambda: analyze("two"),
        "mien, four faces": lambda: analyze("four"),
        "mien, 3 minutes": lambda: analyze("long"),
        "bare decode, 30 s": lambda: seconds(lambda: decode(films["face"])),
        "bare decode, 3 minutes": lambda: seconds(lambda: decode(films["long"])),
        "mien --help": lambda: seconds(lambda: command(mien, "--help")),
        "first row": lambda: seconds(
            lambda: command(sys.executable, "-c", FIRST_ROW, films["face"], given.model)
        ),
    }
    if given.fer:
        jobs["fer, 30 s"] = lambda: ask_fer(given.fer, films["face"], given.work)
    if given.node:
        jobs["human, 30 s"] = lambda: ask_human(given.node, films["face"], given.work)
    took: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in range(given.repeats):
        for name, job in jobs.items():
            if name.startswith("human") and repeat >= 2:
                continue  # it takes minutes, and varies little
            took[name].append(job())
            print(f"{repeat + 1} of {given.repeats}: {name} {took[name][-1]:.2f} s", file=sys.stderr)
    told = report(took)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        name = f"speed {told['date']} {told['processor']}.json".replace(" ", "-")
        (given.out / name).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        draw(took, given.out / "speed.png")
        draw_cost(took, given.out / "cost.png")


def draw(took: dict[str, list[float]], path: Path) -> None:
    """Frames a second of every job on the film with one face, as bars."""
    names = {
        "mien, 640×360, 30 s": "mien, face and voice",
        "mien, every frame looked at": "mien, every frame looked at",
        "fer, 30 s": "fer, face alone",
        "human, 30 s": "human, face alone, decoded before",
    }
    speeds = {names[name]: N_FRAMES / median(took[name]) for name in names if took.get(name)}
    figure, axes = blank_panels(8, 1.2 + 0.45 * len(speeds))
    colours = ["#0072b2" if name.startswith("mien") else "#999999" for name in speeds]
    bars = axes.barh(list(speeds), list(speeds.values()), color=colours)
    axes.bar_label(bars, [f"{value:.0f}" for value in speeds.values()], padding=4)
    axes.invert_yaxis()
    axes.axvline(25, color="#222222", linewidth=1, linestyle="--")
    axes.annotate(
        "as fast as it plays", (25, -0.5), (4, 0), textcoords="offset points", fontsize=8, va="bottom"
    )
    axes.set_xlabel("frames a second, the whole job, two cores")
    add_caption(
        axes, "A film of 30 seconds, 640×360, one face, with sound", "median of one run; more is faster"
    )
    write_figure(figure, path)


def draw_cost(took: dict[str, list[float]], path: Path) -> None:
    """Seconds over the film's length, and over the faces in it."""
    figure, _ = blank_panels(8, 3.2, 2)
    panels = (
        (
            "Length",
            "seconds of film",
            {"mien, 10 s": 10, "mien, 640×360, 30 s": SECONDS, "mien, 3 minutes": 180},
        ),
        (
            "Faces",
            "faces in 30 seconds",
            {"mien, 640×360, 30 s": 1, "mien, two faces": 2, "mien, four faces": 4},
        ),
    )
    for axes, (title, below, jobs) in zip(figure.axes, panels, strict=True):
        x, times = list(jobs.values()), [took[name] for name in jobs]
        y = [median(each) for each in times]
        spread = [
            [middle - min(each) for middle, each in zip(y, times, strict=True)],
            [max(each) - middle for middle, each in zip(y, times, strict=True)],
        ]
        axes.errorbar(x, y, spread, fmt="-o", color="#0072b2", capsize=3)
        slope, start = np.polyfit(x, y, 1)
        axes.set(xlabel=below, ylabel="seconds, the whole command", xlim=(0, None), ylim=(0, None))
        add_caption(axes, title, f"{start:.2g} s, and {slope:.2g} s for each more")
    write_figure(figure, path)


def report(took: dict[str, list[float]]) -> dict:
    """All times with the ratios of their medians; printed too."""

    def ratio(one: str, other: str) -> float | None:
        if not (took.get(one) and took.get(other)):
            return None
        pairs = zip(took[one], took[other], strict=False)
        return median(each / against for each, against in pairs)

    ratios = {
        "fer ÷ mien": ratio("fer, 30 s", "mien, 640×360, 30 s"),
        "fer ÷ mien, every frame": ratio("fer, 30 s", "mien, every frame looked at"),
        "human ÷ mien": ratio("human, 30 s", "mien, 640×360, 30 s"),
        "mien ÷ bare decode, 3 minutes": ratio("mien, 3 minutes", "bare decode, 3 minutes"),
        "two faces ÷ one": ratio("mien, two faces", "mien, 640×360, 30 s"),
        "four faces ÷ one": ratio("mien, four faces", "mien, 640×360, 30 s"),
        "1280×720 ÷ 640×360": ratio("mien, 1280×720", "mien, 640×360, 30 s"),
    }
    print("| job | median, s | lowest | highest |\n|---|---|---|---|")
    for name, each in took.items():
        print(f"| {name} | {median(each):.2f} | {min(each):.2f} | {max(each):.2f} |")
    print("\n| ratio | median | mark |\n|---|---|---|")
    for name, value in ratios.items():
        if value is not None:
            print(f"| {name} | {value:.2f} | {MARKS.get(name, '')} |")
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "seconds": {name: [round(each, 3) for each in several] for name, several in took.items()},
        "ratios": {name: value and round(value, 3) for name, value in ratios.items()},
    }


if __name__ == "__main__":
    main()
