"""What fusion gains on people who were seen and heard at once: 300 clips of 20 RAVDESS actors.

    python benchmarks/real_pairs.py DATA FOLDS

DATA holds `ravdess_face_scores`: of each clip, the mean probability of seven expressions by another tool's
face net. FOLDS is what `benchmarks/speech_folds.py` wrote: of each clip's sound, what our speech net says
that never heard its actor. Voice, face and both are refitted by the same rule, a softmax regression on
logarithms, in the same five folds of actors, so that no gain comes from calibration alone; what fits a rule
of fusion are refitted probabilities that are held out, too, from four folds within. Prints Markdown: macro-F1
of seven expressions, calm as Neutral, with intervals by actor.
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.calibration import expected_gap, gap_by_chance, reliability
from mien.expressions import EXPRESSIONS, RAVDESS
from mien.fusion import choose_ratio
from mien.metrics import bootstrap, confusion, macro_f1, paired_bootstrap
from mien.regression import fit_linear
from mien.reproduce import N_INNER_FOLDS, RULES, Part, fold_of, held_out

CLASSES = tuple(name for name in EXPRESSIONS if name != "Other")
OWN_WORDS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""The other tool's names of the same seven, in that order."""

FLOOR = 1e-3
"""Added to probabilities before their logarithm: the other tool's are means that reach 0."""

TOLD = ("voice", "face", "ratio_1_1", "ratio_chosen", "learned", "product", "class_wise")


def read_pairs(data: Path, folds: Path) -> dict[str, np.ndarray]:
    """Logarithms by face and voice, label, actor and fold of each clip that both are there for."""
    heard: dict[str, tuple[int, np.ndarray]] = {}
    for path in sorted(folds.glob("fold-*/said.npz")):
        said = np.load(path)
        number = int(path.parent.name.removeprefix("fold-"))
        heard |= {
            str(name): (number, logs) for name, logs in zip(said["val_files"], said["val_logs"], strict=True)
        }
    rows = []
    with (data / "ravdess_face_scores" / "face_scores.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = row["file"].removesuffix(".mp4")
            sound = "03" + name[2:]
            if sound in heard:
                fold, logs = heard[sound]
                face = np.log(np.array([float(row[f"{word}_mean"]) for word in OWN_WORDS]) + FLOOR)
                voice = np.delete(logs, EXPRESSIONS.index("Other"))
                rows.append((fold, voice, face, RAVDESS[name[6:8]], name[-2:]))
    columns = [np.array(each) for each in zip(*rows, strict=True)]
    return dict(zip(("fold", "voice", "face", "label", "actor"), columns, strict=True))


def macro(labels: Sequence[str | None], probs: np.ndarray) -> float:
    return float(macro_f1(confusion(labels, [CLASSES[k] for k in probs.argmax(1)], CLASSES)))


def judge(pairs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Probabilities of each clip by each rule, from the other folds' actors."""
    targets = np.eye(len(CLASSES))[[CLASSES.index(label) for label in pairs["label"]]]
    both = np.hstack([pairs["voice"], pairs["face"]])
    said = {"both vectors": held_out(both, targets, pairs["fold"])}
    for fold in np.unique(pairs["fold"]):
        fitted, scored = (np.flatnonzero((pairs["fold"] == fold) == here) for here in (False, True))
        inner = fold_of(pairs["actor"][fitted].tolist(), N_INNER_FOLDS)
        inside = {name: held_out(pairs[name][fitted], targets[fitted], inner) for name in ("voice", "face")}
        outside = {
            name: fit_linear(pairs[name][fitted], targets[fitted])(pairs[name][scored]) for name in inside
        }
        labels = pairs["label"][fitted].tolist()
        part = Part(
            scored=scored,
            targets=targets[fitted],
            ratio=choose_ratio(inside["voice"], inside["face"], labels, macro),
            fit_voice=inside["voice"],
            fit_face=inside["face"],
            voice=outside["voice"],
            face=outside["face"],
        )
        for rule in TOLD:
            said.setdefault(rule, np.full(targets.shape, np.nan))[scored] = RULES[rule](part)
    return said


def main(data: Path, folds: Path) -> None:
    pairs = read_pairs(data, folds)
    labels, actors = pairs["label"].tolist(), pairs["actor"].tolist()
    said = judge(pairs)
    names = {rule: [CLASSES[k] for k in probs.argmax(1)] for rule, probs in said.items()}
    single = max(("voice", "face"), key=lambda rule: macro(labels, said[rule]))
    print(f"{len(labels)} clips of {len(set(actors))} actors; the better single one is {single}\n")
    print("| | macro-F1 | minus the better single one | ECE | by chance |")
    print("|---|---|---|---|---|")
    for rule in (*TOLD, "both vectors"):
        whole = bootstrap(macro_f1, labels, names[rule], CLASSES, actors)
        gain = paired_bootstrap(macro_f1, labels, names[rule], names[single], CLASSES, actors)
        bins = reliability(said[rule], labels, CLASSES)
        gaps = f"{expected_gap(bins):.3f} | {gap_by_chance(bins):.3f}"
        told = "" if rule == single else f"{gain:+.3f}"
        print(f"| {rule.replace('_', ' ')} | {whole:.3f} | {told} | {gaps} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
