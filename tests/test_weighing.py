"""Fusion fitted to held-out predictions: what it gains is told of other speakers, and a model carries it."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import CheckpointError, InputError, MetricError
from mien.expressions import EXPRESSIONS
from mien.fusion import product
from mien.heldout import HeldOut
from mien.predictor import FacePredictor, load_model
from mien.weighing import N_FOLDS, cross_validate, deal, fit, fit_fusion, refuse_few
from some_predictions import KNOWN, planted, write_predictions

MODEL = load_model()


def silent(*_: object) -> None:
    """A hook that nobody listens to."""


def made(n_speakers: int = 10, n_each: int = 40, seed: int = 0) -> HeldOut:
    voice, face, labels, groups = planted(n_speakers, n_each, seed)
    there = np.ones(len(labels), np.bool_)
    return HeldOut(
        name="own.csv choose", labels=labels, groups=groups, voice=voice, face=face, heard=there, seen=there
    )


def macro_f1(labels: tuple[str, ...], probs: np.ndarray) -> float:
    """By hand, over the expressions that there are."""
    said, wanted = [EXPRESSIONS[k] for k in probs.argmax(1)], labels
    scores = []
    for name in sorted(set(labels)):
        right = sum(a == b == name for a, b in zip(said, wanted, strict=True))
        scores.append(2 * right / (said.count(name) + wanted.count(name)))
    return float(np.mean(scores))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The model folder and the lines of a fit to planted predictions."""
    folder = tmp_path_factory.mktemp("fit")
    return folder / "mine", fit_fusion(
        [write_predictions(folder / "figures", *planted())], "mien-b", folder / "mine", hook=silent
    )


def test_what_is_heard_and_what_is_seen_is_learnt_and_beats_any_ratio() -> None:
    held, unseen = made(), made(seed=1)
    fitted = fit(held)
    anger, fear = (EXPRESSIONS.index(name) for name in ("Anger", "Fear"))
    assert fitted.class_wise.voice[anger] > fitted.class_wise.face[anger]
    assert fitted.class_wise.face[fear] > fitted.class_wise.voice[fear]
    m, n = fitted.ratio
    ratio = macro_f1(unseen.labels, m * unseen.voice + n * unseen.face)
    assert macro_f1(unseen.labels, fitted.class_wise(unseen.voice, unseen.face)) > ratio + 0.02


def test_every_row_is_scored_by_what_was_fitted_to_other_speakers() -> None:
    held = made()
    said = cross_validate(held, MODEL, silent)
    folds = deal(held.groups, held.heard)
    for fold in range(N_FOLDS):
        inside = folds == fold
        assert not {*held.part(inside).groups} & {*held.part(~inside).groups}
        rule = fit(held.part(~inside)).class_wise
        np.testing.assert_array_equal(said["class_wise"][inside], rule(held.voice[inside], held.face[inside]))
    np.testing.assert_allclose(said["as_it_was"], product(held.voice, held.face))


def test_labels_that_say_nothing_are_not_learnt() -> None:
    """Whoever scores a rule on the speakers it was fitted to finds a gain here, too."""
    held = made()
    shuffled = tuple(np.random.default_rng(0).permutation(held.labels).tolist())
    said = cross_validate(replace(held, labels=shuffled), MODEL, silent)
    assert macro_f1(shuffled, said["class_wise"]) < 0.33


def test_folds_are_of_whole_speakers_and_equal_rows() -> None:
    sizes = [50, 30, 20, 20, 20, 10, 10, 5, 5, 30]
    groups = tuple(f"s{k}" for k, n in enumerate(sizes) for _ in range(n))
    folds = deal(groups, np.ones(200, np.bool_))
    assert all(len({*folds[[g == group for g in groups]].tolist()}) == 1 for group in set(groups))
    assert sorted(np.bincount(folds).tolist()) == [35, 35, 40, 40, 50]
    counted = np.array([group in ("s0", "s1", "s2", "s3", "s4") for group in groups])
    assert len({*deal(groups, counted)[counted].tolist()}) == N_FOLDS, "a fold without a row that counts"


def test_the_model_carries_both_rules_and_is_the_same_besides(told: tuple[Path, list[str]]) -> None:
    folder, _ = told
    model, wanted = load_model(folder), fit(made())
    assert model.name == "mine"
    assert (model.voice_weight, model.face_weight) == wanted.ratio
    assert model.class_wise is not None
    np.testing.assert_allclose(model.class_wise.face, wanted.class_wise.face, atol=1e-3)
    for name in MODEL.sha256:
        assert (folder / name).read_bytes() == (MODEL.folder / name).read_bytes()
    assert (model.sha256, model.licences) == (MODEL.sha256, MODEL.licences)
    FacePredictor(model)
    assert {path.name for path in folder.iterdir()} == {*MODEL.sha256, "manifest.json"}
    assert {path.name for path in folder.parent.iterdir()} == {"mine", "figures"}


def test_lines_say_whether_it_pays(told: tuple[Path, list[str]]) -> None:
    folder, lines = told
    text = "\n".join(lines)
    assert lines[0] == "own.csv choose: 400 rows of 10 speakers or files, face and voice"
    assert "macro-F1 of 4 expressions on speakers not fitted to" in text
    said = cross_validate(made(), MODEL, silent)
    figures = dict(re.findall(r"^  (\S.*?) +([0-9.]+) \[", text, flags=re.MULTILINE))
    for way, name in (("class_wise", "class-wise"), ("ratio", "ratio chosen"), ("face", "face")):
        assert float(figures[name]) == pytest.approx(macro_f1(made().labels, said[way]), abs=0.006)
    gain = re.search(r"class-wise - ratio chosen: \+([0-9.]+) \[\+", text)
    assert gain is not None
    assert float(gain[1]) > 0.02
    assert "class-wise fusion against the ratio: a gain" in text
    absent = ", ".join(name for name in EXPRESSIONS if name not in KNOWN)
    assert f"no row is labelled {absent}: class-wise weights stay at the ratio there" in lines
    figure = load_model(folder).figures["fusion fitted on own.csv choose"]
    assert f"{figures['ratio chosen']} by " in figure
    assert f"{figures['class-wise']} class-wise" in figure


def test_figures_measured_at_another_ratio_say_so(told: tuple[Path, list[str]], tmp_path: Path) -> None:
    given = list(planted())
    given[0] = np.random.default_rng(5).dirichlet(np.ones(8), 400)  # a voice that knows nothing
    lines = fit_fusion([write_predictions(tmp_path / "a", *given)], "mien-b", tmp_path / "b", hook=silent)
    fitted = load_model(tmp_path / "b")
    assert fitted.face_weight > fitted.voice_weight
    names = [name for name in fitted.figures if not name.startswith("fusion")]
    assert names == [f"{name}, voice : face = 1 : 1" for name in MODEL.figures]
    assert f"voice : face = {fitted.voice_weight:g} : {fitted.face_weight:g}" in "".join(lines)
    same = load_model(told[0])
    assert same.voice_weight == same.face_weight
    assert set(MODEL.figures) <= set(same.figures)


def test_where_only_one_is_there_the_fallback_is_scored_too(tmp_path: Path) -> None:
    voice, face, labels, groups = planted()
    voice[::4] = np.nan
    table = write_predictions(tmp_path / "a", voice, face, labels, groups)
    lines = fit_fusion([table], "mien-b", tmp_path / "b", hook=silent)
    text = "\n".join(lines)
    assert "own.csv choose: 300 rows" in text
    assert "  face, 400 rows: " in text
    assert "  voice, 300 rows: " in text


@pytest.mark.parametrize(
    ("n_speakers", "n_each", "message"),
    [
        (10, 9, "^90 rows of 10 speakers have face and voice; expected 100 rows of 5"),
        (4, 40, "^160 rows of 4 speakers"),
    ],
)
def test_too_little_is_refused(n_speakers: int, n_each: int, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        refuse_few(made(n_speakers, n_each))


def test_rows_with_one_modality_do_not_count_and_one_expression_is_too_few() -> None:
    held = made()
    with pytest.raises(MetricError, match=r"^80 rows"):
        refuse_few(replace(held, heard=np.arange(400) % 5 == 0))
    with pytest.raises(MetricError, match="all rows are labelled Fear"):
        refuse_few(replace(held, labels=("Fear",) * 400))


def test_nothing_is_left_of_a_fit_that_fails(tmp_path: Path) -> None:
    shutil.copytree(MODEL.folder, tmp_path / "model")
    name = next(iter(MODEL.sha256))
    table = write_predictions(tmp_path / "figures", *planted(5, 20))
    (tmp_path / "model" / name).write_bytes(b"altered")
    for wrong in (f"{name} of model mien-b has sha256", f"mien-b lacks {name}"):
        with pytest.raises(CheckpointError, match=wrong):
            fit_fusion([table], str(tmp_path / "model"), tmp_path / "out", hook=silent)
        (tmp_path / "model" / name).unlink(missing_ok=True)
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="is there; name a folder"):
        fit_fusion([table], "mien-b", tmp_path / "there", hook=silent)
    with pytest.raises(InputError, match="no model"):
        fit_fusion([table], "mien-xl", tmp_path / "out", hook=silent)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "figures", "there"}


def test_a_fitted_model_can_be_fitted_again(told: tuple[Path, list[str]], tmp_path: Path) -> None:
    table = write_predictions(tmp_path / "figures", *planted(seed=3), corpus="other")
    fit_fusion([table], str(told[0]), tmp_path / "twice", hook=silent)
    twice = load_model(tmp_path / "twice")
    assert {"fusion fitted on other choose"} <= set(twice.figures)
    assert not any(name.count("voice : face") > 1 for name in twice.figures)


def test_fitting_needs_no_torch() -> None:
    code = "import sys, mien.weighing; assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_manifest_is_plain_numbers_by_name(told: tuple[Path, list[str]]) -> None:
    manifest = json.loads((told[0] / "manifest.json").read_text())
    assert set(manifest["class_wise"]) == set(EXPRESSIONS)
    other = manifest["class_wise"]["Other"]
    m, n = manifest["voice_weight"], manifest["face_weight"]
    assert (other["voice"], other["face"], other["bias"]) == pytest.approx(
        (2 * m / (m + n), 2 * n / (m + n), 0)
    )
