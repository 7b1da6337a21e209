"""mien beside the packages that people use now: the same faces and the same frames, one run.

    python benchmarks/peers/compare.py DATA CLIPS WORK --fer PYTHON --node FOLDER [--picture FILE]

DATA holds `ferplus`, of which the val pictures are read; CLIPS the clips in which somebody acts a known
expression. PYTHON is one in whose environment `fer` works, FOLDER has the npm packages in `node_modules`
(docs/benchmarks/peers.md says how to get both). WORK is made, and takes pictures and answers.

Pictures are face crops already: each package's expression net is given the whole of them, and no detector can
miss one. Frames of clips are given whole, each package finds the face itself, and one that it does not find
counts as wrong. Of eight expressions the seven that all of them know are scored; a picture labelled Other,
which is contempt, is left out, and mien's answer is the likeliest of the seven. Milliseconds are those of the
expression net alone, one face at a time, the median over all faces, by each package's own setting of threads
(mien: one). Prints Markdown; FILE is a picture of accuracy for speed.
"""

import argparse
import csv
import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np

import mien
from mien.datasets.ferplus import read_ferplus
from mien.expressions import EXPRESSIONS
from mien.media import read_frames
from mien.metrics import Interval, accuracy, bootstrap, macro_f1, paired_bootstrap
from mien.plot import add_caption, blank_panels, write_figure
from mien.predictor import list_models
from mien.readings import ReadingSettings
from mien.scoring import Rater
from mien.terminal import progress

SEVEN = tuple(name for name in EXPRESSIONS if name != "Other")
ACTED = {"happy_256px_no_sound.mp4": "Happiness", "sad_256px.mp4": "Sadness"}
EVERY = 3
"""So many frames of a clip lie between those that are read."""

PEERS = {"fer": "fer.csv", "human": "human.csv", "face-api": "face-api.csv"}
NOBODY = "nobody"
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100)
"""Milliseconds a face, on the picture's axis."""


@dataclass(frozen=True)
class Answers:
    """What a package says of pictures, by their names."""

    said: dict[str, str]
    ms: float
    """Median over pictures."""


def pack(images: dict[str, np.ndarray], place: Path) -> None:
    """Writes pictures as bytes, RGB, one after the other, and what they are as JSON."""
    place.mkdir(parents=True, exist_ok=True)
    index, offset = [], 0
    with (place / "images.bin").open("wb") as file:
        for name, image in images.items():
            height, width = image.shape[:2]
            file.write(np.ascontiguousarray(image).tobytes())
            index.append({"name": name, "width": width, "height": height, "offset": offset})
            offset += image.nbytes
    (place / "images.json").write_text(json.dumps(index))


def ask_peers(place: Path, fer: str, node: Path, *, crops: bool) -> dict[str, Answers]:
    """What each peer says of each picture."""
    here, kind = Path(__file__).parent, "crops" if crops else "frames"
    with progress() as hook:
        for done, command in enumerate(
            (
                [fer, here / "ask_fer.py", place, kind],
                ["node", here / "ask_node.mjs", place, kind, node],
            )
        ):
            hook("asking the peers", done, 2)
            subprocess.run([str(part) for part in command], check=True, capture_output=True)
    said = {}
    for peer, name in PEERS.items():
        with (place / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        took = median(float(row["ms"]) for row in rows)
        said[peer] = Answers({row["name"]: row["said"] or NOBODY for row in rows}, took)
    return said


def ask_mien(images: Mapping[str, np.ndarray]) -> dict[str, Answers]:
    """What the face net of each model says of each crop."""
    said = {}
    for model in list_models():
        rater, words, took = Rater(model), {}, []
        rater.rate_crop(next(iter(images.values())))  # opens the network
        with progress() as hook:
            for done, (name, image) in enumerate(images.items()):
                began = time.perf_counter()
                probs = rater.rate_crop(image)
                took.append(1000 * (time.perf_counter() - began))
                words[name] = of_seven(probs)
                hook(f"asking {model.name}", done + 1, len(images))
        said[model.name] = Answers(words, median(took))
    return said


def read_clips(
    folder: Path,
) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, dict[str, str]]]:
    """Frames of the clips by name, what is acted in each, and what the timeline of each model says of it."""
    images, acted = {}, {}
    ours: dict[str, dict[str, str]] = {model.name: {} for model in list_models()}
    for name, label in (ACTED | {path.name: "Neutral" for path in folder.glob("ravdess_01-01-01-*")}).items():
        for frame in islice(read_frames(folder / name), 0, None, EVERY):
            key = f"{name} {frame.index}"
            images[key], acted[key] = frame.image, label
        for model, own in ours.items():
            timeline = mien.analyze(folder / name, ReadingSettings(model=model, voice=False))
            for row in timeline.rows:
                if (key := f"{name} {row.frame}") in images:
                    own[key] = NOBODY if row.probs is None else of_seven(row.probs)
    return images, acted, ours


def of_seven(probs: np.ndarray) -> str:
    """The likeliest of the expressions that all know."""
    return max(SEVEN, key=lambda name: float(probs[EXPRESSIONS.index(name)]))


def counted(said: list[str], labels: list[str]) -> tuple[Interval, Interval]:
    """Accuracy and macro-F1 with their intervals; nobody found is wrong."""
    names: tuple[str, ...] = (*SEVEN, NOBODY)
    return (
        bootstrap(accuracy, labels, said, names),
        bootstrap(lambda counts: macro_f1(counts, range(len(SEVEN))), labels, said, names),
    )


def draw_speed(answers: Mapping[str, Answers], right: Mapping[str, Interval], path: Path) -> None:
    """Accuracy for milliseconds a face, with its interval."""
    figure, axes = blank_panels(7.0, 4.0)
    ours = {model.name for model in list_models()}
    for name, own in answers.items():
        at, colour = right[name], "#0072b2" if name in ours else "#d55e00"
        bounds = [[at.value - at.low], [at.high - at.value]]
        axes.errorbar(own.ms, at.value, bounds, marker="o" if name in ours else "s", color=colour, capsize=3)
        near = [other for other in answers if abs(right[other].value - at.value) < 0.05]
        crowded = any(1 < answers[other].ms / own.ms < 2 for other in near)  # on its right
        away, side = ((-8, 6), "right") if crowded else ((8, 6), "left")
        axes.annotate(name, (own.ms, at.value), away, textcoords="offset points", color=colour, ha=side)
    axes.set_xscale("log")
    axes.set_xticks(TICKS, list(map(str, TICKS)))
    axes.minorticks_off()
    axes.set_xlim(TICKS[0], TICKS[-1])
    axes.margins(y=0.1)
    axes.set_xlabel("milliseconds a face, expression net alone")
    axes.set_ylabel("accuracy, seven expressions")
    add_caption(axes, "Accuracy for speed", "FER+ val, mien's home ground; 95 % by resampling pictures")
    write_figure(figure, path)


def compare_stills(given: argparse.Namespace) -> None:
    """The first table, and the picture."""
    stills = read_ferplus(given.data / "ferplus").part("val")
    labels = {str(row): label for row, label in enumerate(stills.labels) if label in SEVEN}
    images = {row: np.repeat(stills.images[int(row)][..., None], 3, 2) for row in labels}
    pack(images, given.work / "stills")
    answers = ask_mien(images) | ask_peers(given.work / "stills", given.fer, given.node, crops=True)
    said = {name: [own.said[row] for row in labels] for name, own in answers.items()}
    models, truth = [model.name for model in list_models()], list(labels.values())
    heads = " | ".join(f"{model} minus it" for model in models)
    print(f"| {len(labels)} pictures of FER+ val | accuracy | macro-F1 | ms a face | {heads} |")
    print(f"|---|---|---|---|{'---|' * len(models)}")
    names: tuple[str, ...] = (*SEVEN, NOBODY)
    right = {}
    for name, own in said.items():
        right[name], f1 = counted(own, truth)
        gains = (
            f"{paired_bootstrap(accuracy, truth, said[model], own, names, list(labels)):+.3f}"
            if name not in models
            else ""
            for model in models
        )
        print(f"| {name} | {right[name]:.3f} | {f1:.3f} | {answers[name].ms:.2f} | {' | '.join(gains)} |")
    if given.picture:
        draw_speed(answers, right, given.picture)


def compare_clips(given: argparse.Namespace) -> None:
    """The second table."""
    images, acted, ours = read_clips(given.clips)
    pack(images, given.work / "clips")
    peers = ask_peers(given.work / "clips", given.fer, given.node, crops=False)
    of_clips = ours | {name: own.said for name, own in peers.items()}
    clips = sorted({key.split()[0] for key in acted})
    heads = [f"{clip}: {acted[next(key for key in acted if key.startswith(clip))]}" for clip in clips]
    print(f"\n| frames that are read as what is acted | {' | '.join(heads)} |\n|---|{'---|' * len(clips)}")
    for name, found in of_clips.items():
        cells = []
        for clip in clips:
            keys = [key for key in acted if key.startswith(clip)]
            right_ones = sum(found[key] == acted[key] for key in keys)
            nobody = sum(found[key] == NOBODY for key in keys)
            cells.append(f"{right_ones} of {len(keys)}" + (f", {nobody} without a face" if nobody else ""))
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("data", "clips", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--fer", required=True)
    parser.add_argument("--node", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    compare_stills(given)
    compare_clips(given)


if __name__ == "__main__":
    main()
