"""Every verb that writes, with its input, and what stood before in the place of its output."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from corpora import write_ferplus
from corpora_affwild2 import write_crops, write_example
from media_files import flat_frames, tone, write_video
from mien.datasets.cremad import CREMAD
from mien.expressions import EXPRESSIONS
from mien.writers import WRITERS
from some_predictions import planted, write_predictions
from verbs_to_kill import STILL, VERBS, Apart, Verb, give_checkpoint

OLD = "of last week"

TIMES = "rows tell how late they came"

ONE_EPOCH = (*STILL, "batch_size=2", "epochs=1", "mixup=0")


def write_old_file(out: Path) -> None:
    """A file of an earlier run."""
    out.write_text(OLD)


def write_old_report(out: Path) -> None:
    """Some files of an earlier report, and one that is none of its."""
    out.mkdir()
    for name in ("timeline.csv", "timeline.json", "segments.csv", "notes.txt"):
        (out / name).write_text(OLD)


def write_old_figures(out: Path) -> None:
    """Some of what `mien evaluate` left of another model."""
    out.mkdir()
    for name in ("metrics.json", "predictions.csv", "per_video.csv", "confusion-face.png", "notes.txt"):
        (out / name).write_text(OLD)


def write_old_votes(out: Path) -> None:
    """What `mien reproduce fusion` left."""
    out.mkdir()
    for name in ("fusion.json", "fusion.csv"):
        (out / name).write_text(OLD)


def give_stream(folder: Path) -> None:
    write_video(folder / "film.mkv", flat_frames(25), fps=25, waveform=tone(440, 1.0))


def give_runs(folder: Path) -> None:
    write_ferplus(folder / "ferplus")
    give_checkpoint(folder)
    (folder / "face.safetensors").rename(folder / "one.safetensors")
    give_checkpoint(folder)


def give_stills(folder: Path) -> None:
    write_ferplus(folder / "ferplus", n_train=16, n_val=16)
    give_checkpoint(folder)


def give_predictions(folder: Path) -> None:
    write_predictions(folder / "figures", *planted())


def give_list(folder: Path) -> None:
    write_crops(folder, "a", {k + 1: EXPRESSIONS[k % 8] for k in range(40)})
    write_example(folder, ("a", range(1, 41)))


def give_votes(folder: Path) -> None:
    """Tables as CREMA-D's, of 40 actors with 12 clips each."""
    generator, codes = np.random.default_rng(0), list(CREMAD)
    with (folder / "tabulatedVotes.csv").open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(["", *(code[0] for code in codes), "fileName"])
        for mode in (1, 2, 3):
            for number in range(480):
                code = codes[number % 6]
                odds = np.exp([1.0 * mode * (code == each) for each in codes])
                counts = generator.multinomial(10, odds / odds.sum())
                sentence = "IEO" if number % 12 < 6 else "TIE"
                clip = f"{1001 + number // 12}_{sentence}_{code}_XX"
                writer.writerow([f"{mode}{number:05d}", *counts, clip])


def give_crops(folder: Path) -> None:
    rows = ["path,label,split"]
    for number, split in enumerate(["train"] * 8 + ["choose"] * 4 + ["val"] * 4):
        image = np.random.default_rng(number).integers(0, 256, (60, 48), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        rows.append(f"{number}.png,{'Anger' if number % 2 else 'Fear'},{split}")
    (folder / "mine.csv").write_text("\n".join(rows))


VERBS_THAT_WRITE = {
    **VERBS,
    "analyze": replace(VERBS["analyze"], before=write_old_report),
    "every format": replace(
        VERBS["analyze"],
        words=(*VERBS["analyze"].words, "--formats", ",".join(WRITERS)),
        before=write_old_report,
    ),
    "live": Verb(
        words=("live", "{given}/film.mkv", "--patience", "0.5", "--model", "mien-s"),
        give=give_stream,
        before=write_old_report,
        apart=(Apart("out/timeline*", TIMES), Apart("out/segments.csv", TIMES)),
    ),
    "train clips": Verb(
        words=(
            *("train", "face", "--data", "{given}/mine.csv", "--crops", "--threads", "1"),
            *(word for setting in ONE_EPOCH for word in ("--set", setting)),
        ),
        give=give_crops,
        apart=VERBS["train"].apart,
        passing=VERBS["train"].passing,
    ),
    "average": Verb(
        words=(
            *("average", "{given}/one.safetensors", "{given}/face.safetensors", "--data", "{given}"),
            *("--threads", "1"),
        ),
        give=give_runs,
        before=write_old_file,
    ),
    "evaluate": Verb(
        words=("evaluate", "--data", "{given}/ferplus", "--model", "mien-s"),
        give=give_stills,
        before=write_old_figures,
    ),
    "evaluate a checkpoint": Verb(
        words=("evaluate", "--data", "{given}/ferplus", "--model", "{given}/face.safetensors"),
        give=give_stills,
        before=write_old_figures,
    ),
    "submit a list": Verb(
        words=("submit", "--data", "{given}", "--model", "mien-s"), give=give_list, before=write_old_file
    ),
    "fit-fusion": Verb(
        words=("fit-fusion", "{given}/figures/predictions.csv", "--model", "mien-b"), give=give_predictions
    ),
    "reproduce fusion": Verb(
        words=("reproduce", "fusion", "--votes", "{given}"), give=give_votes, before=write_old_votes
    ),
}
"""All of them but `mien serve`, which keeps what it writes in a folder of its own until it ends."""
