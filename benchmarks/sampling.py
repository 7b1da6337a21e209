"""What looking at fewer frames costs: labels beside those of every frame looked at, and the time saved.

    python benchmarks/sampling.py CLIPS WORK [--picture FILE]

CLIPS is a folder of videos. Each is analyzed at several rates, the face alone, other settings as they come;
a row is compared with the row of the same frame whose face lies over its own. Told for each rate: rows that
keep their label, how far probabilities move, rows that find their like, and, in clips in which somebody acts
one expression (`framing.ACTED`), rows that are read as what is acted. Writes WORK/sampling.json and prints
Markdown. The time is that of all clips one after the other, in a running process.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
from framing import ACTED

from mien import Timeline, analyze
from mien.detection import box_overlaps
from mien.plot import add_caption, blank_panels, write_figure
from mien.readings import ReadingSettings
from mien.timeline import Row

RATES = (1000.0, 12.5, 6.25, 5.0, 2.5)
"""Frames a second that are looked at; the first means every frame."""

SAME_PLACE = 0.3
"""Overlap (IoU) from which on two boxes of one frame are one face."""


def seen(timeline: Timeline) -> dict[int, list[Row]]:
    """Rows that have a face, by frame."""
    found: dict[int, list[Row]] = defaultdict(list)
    for row in timeline.rows:
        if row.frame is not None and row.box is not None and row.probs is not None:
            found[row.frame].append(row)
    return found


def pairs(every: dict[int, list[Row]], few: dict[int, list[Row]]) -> Iterator[tuple[Row, Row | None]]:
    """Each row of a frame with the row of the other reading that lies over it, if one does."""
    for frame, rows in every.items():
        others = few.get(frame, [])
        for row in rows:
            overlaps = [float(box_overlaps(row.box[None], other.box[None])[0, 0]) for other in others]
            best = int(np.argmax(overlaps)) if overlaps else -1
            yield row, others[best] if overlaps and overlaps[best] >= SAME_PLACE else None


def measure(clips: list[Path]) -> dict[str, dict[str, float]]:
    """Figures of each rate over all clips."""
    acted = ACTED | {clip.name: "Neutral" for clip in clips if clip.name.startswith("ravdess_01-01-01-")}
    every: dict[Path, dict[int, list[Row]]] = {}
    told = {}
    for rate in RATES:
        took, found = 0.0, {}
        for clip in clips:
            began = time.perf_counter()
            found[clip] = seen(analyze(clip, ReadingSettings(sample_hz=rate, voice=False)))
            took += time.perf_counter() - began
        every = every or found
        matched = [pair for clip in clips for pair in pairs(every[clip], found[clip])]
        both = [(one, other) for one, other in matched if other is not None]
        moved = np.array([np.abs(one.probs - other.probs).max() for one, other in both])
        right = [
            row.label == acted[clip.name]
            for clip in clips
            if clip.name in acted
            for rows in found[clip].values()
            for row in rows
        ]
        told["every frame" if rate == RATES[0] else f"{rate:g}"] = {
            "rows": len(matched),
            "matched": len(both) / len(matched),
            "same label": float(np.mean([one.label == other.label for one, other in both])),
            "moved, mean": float(moved.mean()),
            "moved, 95 % below": float(np.quantile(moved, 0.95)),
            "as acted": float(np.mean(right)),
            "acted rows": len(right),
            "seconds": took,
        }
    return told


def draw(told: dict[str, dict[str, float]], path: Path) -> None:
    """Labels kept over the share of the time that is needed."""
    figure, axes = blank_panels(6.5, 3.6)
    whole = told["every frame"]["seconds"]
    x = [100 * each["seconds"] / whole for each in told.values()]
    y = [100 * each["same label"] for each in told.values()]
    axes.plot(x, y, "-o", color="#0072b2")
    for name, each_x, each_y in zip(told, x, y, strict=True):
        text = name if name == "every frame" else f"{name} a second"
        axes.annotate(text, (each_x, each_y), (6, -12), textcoords="offset points", fontsize=8)
    axes.set(xlabel="time, % of that for every frame", ylabel="% of rows with the same label", xlim=(0, 115))
    axes.set_ylim(top=101)
    add_caption(
        axes, "Looking at fewer frames", f"{told['every frame']['rows']} rows of real clips, face alone"
    )
    write_figure(figure, path)


def main() -> None:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    clips = sorted(each for each in given.clips.iterdir() if each.suffix in {".mp4", ".mpg"})
    told = measure(clips)
    given.work.mkdir(parents=True, exist_ok=True)
    words = {"date": date.today().isoformat(), "clips": [clip.name for clip in clips], "rates": told}
    (given.work / "sampling.json").write_text(json.dumps(words, indent=1, ensure_ascii=False) + "\n")
    print("| looked at a second | same label | moved, mean | 95 % below | matched | as acted | time |")
    print("|---|---|---|---|---|---|---|")
    for name, each in told.items():
        share = each["seconds"] / told["every frame"]["seconds"]
        cells = [
            f"{each['same label']:.1%}",
            f"{each['moved, mean']:.3f}",
            f"{each['moved, 95 % below']:.3f}",
        ]
        cells += [f"{each['matched']:.1%}", f"{each['as acted']:.1%}", f"{share:.0%}"]
        print(f"| {name} | {' | '.join(cells)} |")
    if given.picture:
        draw(told, given.picture)


if __name__ == "__main__":
    main()
