"""mien beside the packages that people use now: the same faces and the same frames, one run.

    python benchmarks/peers/compare.py DATA CLIPS WORK --fer PYTHON --node FOLDER

DATA holds `ferplus`, of which the val pictures are read; CLIPS the clips in which somebody acts a known
expression. PYTHON is one in whose environment `fer` works, FOLDER has the npm packages in `node_modules`
(docs/benchmarks/peers.md says how to get both). WORK is made, and takes pictures and answers.

Pictures are face crops already: each package's expression net is given the whole of them, and no detector can
miss one. Frames of clips are given whole, each package finds the face itself, and one that it does not find
counts as wrong. Of eight expressions the seven that all of them know are scored; a picture labelled Other,
which is contempt, is left out, and mien's answer is the likeliest of the seven. Prints Markdown.
"""

import argparse
import csv
import json
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np

import mien
from mien.datasets.ferplus import read_ferplus
from mien.evaluate import predict_corpus
from mien.expressions import EXPRESSIONS
from mien.media import read_frames
from mien.metrics import Interval, accuracy, bootstrap, macro_f1, paired_bootstrap
from mien.readings import ReadingSettings
from mien.terminal import progress

SEVEN = tuple(name for name in EXPRESSIONS if name != "Other")
ACTED = {"happy_256px_no_sound.mp4": "Happiness", "sad_256px.mp4": "Sadness"}
EVERY = 3
"""So many frames of a clip lie between those that are read."""

PEERS = {"fer": "fer.csv", "human": "human.csv", "face-api": "face-api.csv"}
NOBODY = "nobody"


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


def ask_peers(place: Path, fer: str, node: Path, *, crops: bool) -> dict[str, dict[str, str]]:
    """What each peer says of each picture, by its name."""
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
            said[peer] = {row["name"]: row["said"] or NOBODY for row in csv.DictReader(file)}
    return said


def read_clips(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, str]]:
    """Frames of the clips by name, what is acted in each, and what mien's timeline says of it."""
    images, acted, ours = {}, {}, {}
    for name, label in (ACTED | {path.name: "Neutral" for path in folder.glob("ravdess_01-01-01-*")}).items():
        timeline = mien.analyze(folder / name, ReadingSettings(voice=False))
        of_frame = {row.frame: row for row in timeline.rows}
        for frame in islice(read_frames(folder / name), 0, None, EVERY):
            key = f"{name} {frame.index}"
            images[key], acted[key] = frame.image, label
            probs = of_frame[frame.index].probs
            ours[key] = NOBODY if probs is None else of_seven(probs)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("data", "clips", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--fer", required=True)
    parser.add_argument("--node", type=Path, required=True)
    given = parser.parse_args()

    stills = read_ferplus(given.data / "ferplus").part("val")
    with progress() as hook:
        predictions = predict_corpus("mien-s", given.data / "ferplus", "val", hook)
    assert predictions.labels == stills.labels
    kept = [row for row, label in enumerate(stills.labels) if label in SEVEN]
    labels = [stills.labels[row] for row in kept]
    pack({str(row): np.repeat(stills.images[row][..., None], 3, 2) for row in kept}, given.work / "stills")
    peers = ask_peers(given.work / "stills", given.fer, given.node, crops=True)
    said = {"mien-s": [of_seven(predictions.probs[row]) for row in kept]}
    said |= {peer: [found[str(row)] for row in kept] for peer, found in peers.items()}
    print(
        f"| {len(labels)} pictures of FER+ val, seven expressions | accuracy | macro-F1 | mien-s minus it |"
    )
    print("|---|---|---|---|")
    names: tuple[str, ...] = (*SEVEN, NOBODY)
    for name, own in said.items():
        right, f1 = counted(own, labels)
        gain = paired_bootstrap(accuracy, labels, said["mien-s"], own, names, list(map(str, kept)))
        print(f"| {name} | {right:.3f} | {f1:.3f} | {'' if name == 'mien-s' else f'{gain:+.3f}'} |")

    images, acted, ours = read_clips(given.clips)
    pack(images, given.work / "clips")
    of_clips = {"mien-s": ours, **ask_peers(given.work / "clips", given.fer, given.node, crops=False)}
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


if __name__ == "__main__":
    main()
