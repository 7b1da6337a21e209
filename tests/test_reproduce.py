"""Fusion on votes: folds part actors, held-out means held-out, and the known figures come back."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mien import reproduce
from mien.datasets.cremad import CLASSES, Votes, read_votes
from mien.errors import DatasetError
from mien.expressions import CREMAD
from mien.reproduce import (
    N_FOLDS,
    RULES,
    fold_of,
    held_out,
    judge,
    one_hot,
    raw_part,
    recalibrated_part,
    reproduce_fusion,
)

SHARED = Path(__file__).parents[2] / "shared" / "data" / "cremad_votes"


def no_hook(what: str, done: float, total: float) -> None:
    assert 0 < done <= total


@pytest.fixture(scope="module")
def votes() -> Votes:
    """40 actors with 12 clips each; raters of faces are right more often than those of voices."""
    generator = np.random.default_rng(0)
    codes = list(CREMAD) * 2
    clips = [
        f"{actor}_{'IEO' if k < 6 else 'TIE'}_{code}_XX"
        for actor in range(1001, 1041)
        for k, code in enumerate(codes)
    ]
    labels = tuple(CREMAD[clip[9:12]] for clip in clips)
    shares = []
    for clearness in (1.0, 2.0, 2.5):
        odds = np.exp(clearness * one_hot(labels) + generator.normal(0, 0.7, (len(clips), 6)))
        counts = generator.multinomial(10, odds / odds.sum(1, keepdims=True))
        shares.append(counts / 10)
    return Votes(
        clips=tuple(clips),
        actors=tuple(clip[:4] for clip in clips),
        labels=labels,
        voice=shares[0],
        face=shares[1],
        both=shares[2],
    )


def write(votes: Votes, folder: Path) -> Path:
    rows = [["", *(code[0] for code in CREMAD), "fileName"]]
    for mode, shares in ((1, votes.voice), (2, votes.face), (3, votes.both)):
        rows += [
            [f"{mode}{i:05d}", *(round(10 * share) for share in shares[i]), clip]
            for i, clip in enumerate(votes.clips)
        ]
    with (folder / "tabulatedVotes.csv").open("w", newline="", encoding="utf-8") as text:
        csv.writer(text).writerows(rows)
    return folder


def test_folds_part_actors_and_not_clips(votes: Votes) -> None:
    folds = fold_of(votes.actors, N_FOLDS)
    for actor in set(votes.actors):
        assert (
            len({fold for fold, other in zip(folds.tolist(), votes.actors, strict=True) if other == actor})
            == 1
        )
    assert np.bincount(folds).tolist() == [96] * N_FOLDS


def test_a_held_out_row_does_not_know_its_own_label(votes: Votes) -> None:
    folds = fold_of(votes.actors, N_FOLDS)
    targets = one_hot(votes.labels)
    before = held_out(votes.face, targets, folds)
    wrong = targets.copy()
    wrong[folds == 2] = np.roll(wrong[folds == 2], 1, axis=1)
    after = held_out(votes.face, wrong, folds)
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.allclose(before[folds != 2], after[folds != 2])


@pytest.mark.parametrize("make", [raw_part, recalibrated_part])
def test_a_fold_is_fitted_without_its_own_labels(votes: Votes, make) -> None:
    folds = fold_of(votes.actors, N_FOLDS)
    part = make(votes, folds, 1)
    labels = tuple(
        CLASSES[(CLASSES.index(label) + (fold == 1)) % 6]
        for label, fold in zip(votes.labels, folds, strict=True)
    )
    lied_to = make(
        Votes(
            clips=votes.clips,
            actors=votes.actors,
            labels=labels,
            voice=votes.voice,
            face=votes.face,
            both=votes.both,
        ),
        folds,
        1,
    )
    for rule, fuse in RULES.items():
        fused = fuse(part)
        assert fused.shape == (96, 6)
        assert fused.sum(1) == pytest.approx(np.ones(96)), rule
        assert np.array_equal(fused, fuse(lied_to)), rule
    assert part.fit_voice.shape == part.targets.shape == (len(votes.clips) - 96, 6)
    assert np.isfinite(part.fit_face).all()


@pytest.mark.slow
def test_every_clip_is_judged_by_every_rule(votes: Votes) -> None:
    said = judge(votes, no_hook)
    assert {len(names) for names in said.values()} == {len(votes.clips)}
    right = {
        name: np.mean([a == b for a, b in zip(names, votes.labels, strict=True)])
        for name, names in said.items()
    }
    assert right["recalibrated_face"] > right["recalibrated_voice"] > 1 / 6
    assert right["class_wise"] > right["recalibrated_voice"]
    assert {
        "raw_face",
        "raw_ratio_1_5",
        "raw_humans",
        "recalibrated_both_vectors",
        "class_wise",
    } < said.keys()


def test_figures_are_written_one_a_row_and_told(votes: Votes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = reproduce_fusion(write(votes, tmp_path), out, no_hook)
    figures = json.loads((out / "fusion.json").read_text(encoding="utf-8"))
    assert all(isinstance(figure, float) and 0 <= figure <= 1 for figure in figures.values())
    assert any(
        line.split()[:1] == ["class_wise"] and f"{figures['class_wise']:.3f}" in line for line in lines
    )
    with (out / "fusion.csv").open(encoding="utf-8") as text:
        table = {row["name"]: row for row in csv.DictReader(text)}
    assert float(table["class_wise"]["macro_f1"]) == pytest.approx(figures["class_wise"], abs=1e-5)
    gain = table["class_wise - ratio_chosen"]
    assert float(gain["low"]) <= float(gain["macro_f1"]) <= float(gain["high"])
    assert float(gain["macro_f1"]) == pytest.approx(
        figures["class_wise"] - figures["recalibrated_ratio_chosen"], abs=2e-5
    )


def test_contrasts_are_of_rules_that_are_judged(votes: Votes) -> None:
    judged = {*RULES, "humans", "both_vectors"}
    assert {name for pair in reproduce.CONTRASTS for name in pair} <= judged


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="CREMA-D's votes are not on this machine")
def test_too_few_actors_for_folds_are_refused(votes: Votes, tmp_path: Path) -> None:
    few = [row for row, actor in enumerate(votes.actors) if actor < "1004"]
    no_fear = [row for row, label in enumerate(votes.labels) if label != "Fear"]
    for rows, match in ((few[:12], "1 actors are too few: .* Anger, Disgust"), (no_fear, "nobody acts Fear")):
        part = Votes(
            clips=tuple(votes.clips[row] for row in rows),
            actors=tuple(votes.actors[row] for row in rows),
            labels=tuple(votes.labels[row] for row in rows),
            voice=votes.voice[rows],
            face=votes.face[rows],
            both=votes.both[rows],
        )
        with pytest.raises(DatasetError, match=match):
            reproduce_fusion(write(part, tmp_path), None, no_hook)


@pytest.mark.slow
def test_known_figures_of_the_real_votes() -> None:
    real = read_votes(SHARED)
    said = judge(real, no_hook)
    from sklearn.metrics import f1_score

    known = {
        "raw_face": 0.684,
        "raw_ratio_1_5": 0.690,
        "raw_humans": 0.739,
        "recalibrated_face": 0.722,
        "recalibrated_ratio_1_1": 0.764,
        "recalibrated_both_vectors": 0.775,
        "recalibrated_humans": 0.790,
    }
    found = {name: f1_score(real.labels, said[name], average="macro") for name in (*known, "class_wise")}
    assert found.pop("class_wise") >= 0.77
    assert found == pytest.approx(known, abs=0.01)
