"""The speech net on speakers that it never heard: five speaker-disjoint folds of RAVDESS and EMO-DB at once.

    python benchmarks/speech_folds.py DATA OUT [--folds 0,1,2,3,4] [--threads N] [--set a.b=value]…

DATA holds `ravdess_speech` and `emodb`. Fold k holds out four actors of RAVDESS, two women among them, and
one or two speakers of EMO-DB; three of the next fold pick the epoch and fit the calibration; all others
train, with the recipe of `mien train speech` and what `--set` changes. Runs are taken up where they
were cut short, finished folds are kept: OUT/fold-K/said.npz has what a net says of each utterance of a fold.

Prints Markdown: mean and deviation over the folds that are there, intervals by speaker over all their
utterances, and RAVDESS' own eight emotions, calm apart, by a softmax regression on the same features.
"""

import argparse
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

from mien.calibration import expected_gap, gap_by_chance, reliability
from mien.datasets.augment import SpeechAugmentation
from mien.datasets.batches import SpeechBatches, listen
from mien.datasets.corpus import Clip, count_labels
from mien.datasets.emodb import read_emodb
from mien.datasets.ravdess import read_ravdess
from mien.expressions import EXPRESSIONS
from mien.metrics import bootstrap, confusion, uar
from mien.models.checkpoint import load_network
from mien.models.speech import SpeechNet, pool_steps
from mien.recipes import TrainConfig, override, train_speech
from mien.regression import fit_linear
from mien.runs import join_processes
from mien.speech import log_mel
from mien.terminal import progress
from mien.train import fit
from mien.windows import cut_clip

N_FOLDS = 5
OTHER = EXPRESSIONS.index("Other")


def folds_of(clips: list[Clip]) -> dict[str, int]:
    """The fold of each speaker: four actors in a row of RAVDESS, each fifth speaker of EMO-DB."""
    actors, speakers = (
        sorted({clip.speaker for clip in clips if clip.speaker.startswith(corpus)})
        for corpus in ("ravdess", "emodb")
    )
    of_actors = {name: number // 4 % N_FOLDS for number, name in enumerate(actors)}
    return of_actors | {name: number % N_FOLDS for number, name in enumerate(speakers)}


def split_for(fold: int, clips: list[Clip]) -> list[Clip]:
    """The clips, as `val` those of a fold, as `choose` two actors and one speaker of the next."""
    folds = folds_of(clips)
    following = [name for name in sorted(folds) if folds[name] == (fold + 1) % N_FOLDS]
    choose = [name for name in following if name.startswith("ravdess")][:2]
    choose += [name for name in following if name.startswith("emodb")][:1]
    splits = {name: "val" if folds[name] == fold else "train" for name in folds} | dict.fromkeys(
        choose, "choose"
    )
    return [replace(clip, split=splits[clip.speaker]) for clip in clips]


@torch.no_grad()
def hear(network: SpeechNet, clips: list[Clip]) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the mean probabilities of each clip's windows, and the mean of their pooled features."""
    logs, features = [], []
    for clip in clips:
        windows, masks = (torch.from_numpy(each) for each in cut_clip(log_mel(listen(clip))))
        pooled = pool_steps(network.encode(windows, masks), masks)
        logs.append(network.head(pooled).softmax(-1).mean(0).log().numpy())
        features.append(pooled.mean(0).numpy())
    return np.stack(logs), np.stack(features)


def run_fold(clips: list[Clip], config: TrainConfig, out: Path, n_threads: int) -> None:
    """Trains without a fold, and keeps what is said of it."""
    if (out / "said.npz").exists():
        return
    parts = {split: [clip for clip in clips if clip.split == split] for split in ("train", "choose", "val")}
    told = {
        "corpora": ["RAVDESS", "EMO-DB"],
        "labels": {name: count_labels([clip.label or "" for clip in parts[name]]) for name in parts},
        "speakers": {name: sorted({clip.speaker for clip in parts[name]}) for name in parts},
    }
    with progress() as hook:
        assert isinstance(config.augmentation, SpeechAugmentation)
        device = join_processes(config.n_parts).device
        batches = SpeechBatches(clips, config.augmentation, config.balance, hook, device)
        network, spec = load_network(fit(config, batches, told, out, hook, n_threads=n_threads))
    assert isinstance(network, SpeechNet)
    said = {"temperature": np.array(spec.temperature)}
    for name in ("choose", "val"):
        logs, features = hear(network, parts[name])
        said |= {
            f"{name}_logs": logs,
            f"{name}_features": features,
            f"{name}_files": np.array([clip.path.stem for clip in parts[name]]),
            f"{name}_labels": np.array([clip.label for clip in parts[name]]),
            f"{name}_speakers": np.array([clip.speaker for clip in parts[name]]),
        }
    np.savez(out / "said.npz", allow_pickle=False, **said)


def calibrated(logs: np.ndarray, temperature: float, *, masked: bool) -> np.ndarray:
    """Probabilities; masked: `Other` is not to be had."""
    logits = logs.astype(np.float64) / temperature
    if masked:
        logits[:, OTHER] = -np.inf
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def tell(out: Path) -> None:
    """The table of the folds that are there."""
    kept = [dict(np.load(path)) for path in sorted(out.glob("fold-*/said.npz"))]
    print(f"{len(kept)} of {N_FOLDS} folds\n")
    heads = "utterances | UAR, mean ± sd over folds | UAR of all | accuracy | ECE | by chance"
    print(f"| held-out speakers | {heads} |")
    print("|---|---|---|---|---|---|---|")
    views = (
        ("RAVDESS, 7 expressions, Other masked", "ravdess", True, ()),
        ("RAVDESS, 7 expressions", "ravdess", False, ()),
        ("EMO-DB, 7 expressions, boredom as Other", "emodb", False, ()),
        ("EMO-DB, 6 expressions, Other masked, boredom left out", "emodb", True, ("Other",)),
        ("EMO-DB, Other masked, boredom counted", "emodb", True, ()),
    )
    for title, corpus, masked, without in views:
        labels, names, speakers, probs, of_folds = [], [], [], [], []
        for each in kept:
            speaker, label = each["val_speakers"], each["val_labels"]
            rows = np.char.startswith(speaker, corpus) & ~np.isin(label, without)
            said = calibrated(each["val_logs"][rows], float(each["temperature"]), masked=masked)
            own = [EXPRESSIONS[k] for k in said.argmax(1)]
            of_folds.append(float(uar(confusion(label[rows].tolist(), own, EXPRESSIONS))))
            labels += label[rows].tolist()
            speakers += speaker[rows].tolist()
            names += own
            probs.append(said)
        spread = f"{mean(of_folds):.3f}" + (f" ± {stdev(of_folds):.3f}" if len(of_folds) > 1 else "")
        whole = bootstrap(uar, labels, names, EXPRESSIONS, speakers)
        right = mean(a == b for a, b in zip(labels, names, strict=True))
        bins = reliability(np.concatenate(probs), labels, EXPRESSIONS)
        gaps = f"{expected_gap(bins):.3f} | {gap_by_chance(bins):.3f}"
        print(f"| {title} | {len(labels)} | {spread} | {whole:.3f} | {right:.3f} | {gaps} |")
    print(f"\nRAVDESS' own eight emotions, calm apart, probe: UAR {probe(kept):.3f}, mean over folds")
    print("Other said of RAVDESS:", Counter(false_alarms(kept)).most_common(3))


def probe(kept: list[dict[str, np.ndarray]]) -> float:
    """UAR of RAVDESS' own eight emotions, mean over folds: a regression within each, by leaving speakers out.

    A fold's features are those of one network, so speakers of one fold teach the others of the same fold.
    """
    found = []
    for each in kept:
        rows = np.char.startswith(each["val_speakers"], "ravdess")
        features, speakers = each["val_features"][rows], each["val_speakers"][rows]
        emotions = np.array([int(name[6:8]) - 1 for name in each["val_files"][rows].tolist()])
        features = (features - features.mean(0)) / (features.std(0) + 1e-6)
        said = np.zeros(len(emotions), np.int64)
        for speaker in np.unique(speakers):
            others = speakers != speaker
            linear = fit_linear(features[others], np.eye(8)[emotions[others]], strength=30.0)
            said[~others] = linear(features[~others]).argmax(1)
        found.append(mean(float((said[emotions == k] == k).mean()) for k in range(8)))
    return mean(found)


def false_alarms(kept: list[dict[str, np.ndarray]]) -> list[str]:
    """Speakers of RAVDESS of whom Other is said, once for each utterance."""
    return [
        str(speaker)
        for each in kept
        for speaker, logs in zip(each["val_speakers"], each["val_logs"], strict=True)
        if speaker.startswith("ravdess") and logs.argmax() == OTHER
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    given = parser.parse_args()
    config = override(train_speech(), given.settings)
    clips = read_ravdess(given.data / "ravdess_speech") + read_emodb(given.data / "emodb")
    for fold in map(int, filter(None, given.folds.split(","))):
        run_fold(split_for(fold, clips), config, given.out / f"fold-{fold}", given.threads)
    tell(given.out)
    print(f"\n{asdict(config)}")


if __name__ == "__main__":
    main()
