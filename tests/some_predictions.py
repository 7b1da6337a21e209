"""Predictions of a model on rows with a face and a voice, made up, as `mien evaluate` writes them."""

import csv
import json
from pathlib import Path

import numpy as np

from mien.expressions import EXPRESSIONS
from mien.predictor import load_model

KNOWN = ("Neutral", "Anger", "Fear", "Sadness")
"""Expressions that rows are labelled as: Anger is heard and only guessed at in the face, Fear is seen."""


def planted(
    n_speakers: int = 10, n_each: int = 40, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Voice, face, labels and speakers, speaker after speaker."""
    generator = np.random.default_rng(seed)
    n = n_speakers * n_each
    labels = np.array([EXPRESSIONS.index(name) for name in KNOWN])[generator.permutation(np.arange(n) % 4)]
    clear = 2.0 * np.eye(8)[labels]
    voice, face = generator.normal(0, 1, (2, n, 8))
    for probs, deaf_to in ((voice, "Fear"), (face, "Anger")):
        guessed = EXPRESSIONS.index(deaf_to)
        probs += clear
        probs[:, guessed] = generator.normal(1, 2, n)
        probs[:, [EXPRESSIONS.index(name) for name in EXPRESSIONS if name not in KNOWN]] -= 3
    voice, face = (np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (voice, face))
    speakers = tuple(f"speaker-{k // n_each}" for k in range(n))
    return voice, face, tuple(EXPRESSIONS[k] for k in labels), speakers


def write_predictions(
    folder: Path,
    voice: np.ndarray,
    face: np.ndarray,
    labels: tuple[str, ...],
    groups: tuple[str, ...],
    *,
    corpus: str = "own.csv",
    split: str = "choose",
) -> Path:
    """`predictions.csv` of the shipped model, `metrics.json` beside it; NaN: nothing there."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = [f"{kind}_{name}" for kind in ("face", "voice") for name in EXPRESSIONS]
    with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "start_s", "end_s", "group", "label", *columns])
        for k, probs in enumerate(np.concatenate([face, voice], axis=1).tolist()):
            cells = ["" if p != p else f"{p:.5f}" for p in probs]
            writer.writerow([f"{groups[k]}.mp4", k, k + 1, groups[k], labels[k], *cells])
    told = {
        "model": "mien-b",
        "weights_sha256": load_model().sha256,
        "corpus": corpus,
        "split": split,
        "rows": len(labels),
    }
    (folder / "metrics.json").write_text(json.dumps(told))
    return folder / "predictions.csv"
