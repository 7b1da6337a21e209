"""Evaluation on tiny corpora: whatever the shipped weights say, it is counted right and written whole."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corpora import write_emodb, write_ferplus, write_ravdess
from mien import evaluate as evaluating
from mien.errors import CheckpointError, DatasetError, InputError, MissingExtraError
from mien.evaluate import WITHOUT_OTHER, evaluate, predict_corpus
from mien.expressions import EXPRESSIONS
from mien.metrics import score
from mien.predictor import FacePredictor, load_model

VOTES = [
    *([[0, 10, 0, 0, 0, 0, 0, 0, 0, 0]] * 3),
    [4, 3, 3, 0, 0, 0, 0, 0, 0, 0],  # neutral has most, but not more than half
    [0, 0, 0, 0, 0, 0, 0, 6, 4, 0],  # contempt, which is Other
    [0, 0, 0, 0, 0, 0, 0, 0, 10, 0],  # unknown: dropped
]


def no_hook(what: str, done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpora")
    train = [[10 * (k == row % 8) for k in range(10)] for row in range(12)]
    return {
        "FER+": write_ferplus(folder / "ferplus", n_train=12, n_val=6, votes=[*train, *VOTES]),
        "RAVDESS": write_ravdess(folder / "ravdess", actors=(1, 17, 18), duration=4.0),
        "EMO-DB": write_emodb(folder / "emodb"),
    }


VIEWS = {
    "FER+": {"most votes": (5, EXPRESSIONS), "majority of votes": (4, EXPRESSIONS)},
    "RAVDESS": {"eight classes": (8, EXPRESSIONS), "without Other": (8, WITHOUT_OTHER)},
    "EMO-DB": {"eight classes": (3, EXPRESSIONS), "without Other": (2, WITHOUT_OTHER)},
}


@pytest.mark.parametrize("corpus", VIEWS)
def test_figures_predictions_and_pictures_are_written(corpora, corpus: str, tmp_path: Path) -> None:
    lines = evaluate("mien-s", corpora[corpus], tmp_path / "out", split="val", hook=no_hook)
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (told["corpus"], told["split"], told["model"]) == (corpus, "val", "mien-s")
    assert told["weights_sha256"] == load_model().sha256
    assert set(told["views"]) == set(VIEWS[corpus])
    for view, (n, classes) in VIEWS[corpus].items():
        scores = told["views"][view]
        assert scores["n"] == n
        assert scores["classes"] == list(classes)
        assert any(line.startswith(f"{corpus} val, {view}: {n} rows") for line in lines)
        for picture in ("confusion", "reliability"):
            with Image.open(tmp_path / "out" / f"{picture}-{view.replace(' ', '-')}.png") as image:
                image.verify()
    assert not [path for path in (tmp_path / "out").iterdir() if "part" in path.name]


@pytest.mark.parametrize("corpus", VIEWS)
def test_predictions_agree_with_the_figures(corpora, corpus: str, tmp_path: Path) -> None:
    evaluate("mien-s", corpora[corpus], tmp_path, split="val", hook=no_hook)
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    probs = np.array([[float(row[f"p_{name}"]) for name in EXPRESSIONS] for row in table])
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-4)
    assert [row["predicted"] for row in table] == [EXPRESSIONS[k] for k in probs.argmax(1)]
    assert len({row["name"] for row in table}) == len(table)
    view, (n, classes) = next(iter(VIEWS[corpus].items()))
    assert len(table) == n
    right = sum(row["label"] == row["predicted"] for row in table) / n
    told = json.loads((tmp_path / "metrics.json").read_text())["views"][view]
    assert told["accuracy"]["value"] == pytest.approx(right)
    again = score([row["label"] for row in table], [row["predicted"] for row in table], classes)
    assert told["macro_f1"]["value"] == pytest.approx(again.macro_f1.value)
    if corpus != "FER+":
        assert told["n_groups"] == len({row["group"] for row in table}) == (2 if corpus == "RAVDESS" else 1)


def test_every_class_is_told_with_its_bounds(corpora, tmp_path: Path) -> None:
    lines = evaluate("mien-s", corpora["RAVDESS"], tmp_path, split="val", hook=no_hook)
    told = json.loads((tmp_path / "metrics.json").read_text())["views"]["without Other"]["per_class"]
    for name, line in zip(WITHOUT_OTHER, lines[-len(WITHOUT_OTHER) :], strict=True):
        label, *numbers, n_rows = line.replace("[", "").replace("]", "").replace(",", "").split()
        assert (label, int(n_rows)) == (name, told[name]["support"])
        ratios = [told[name][ratio] for ratio in ("f1", "recall", "precision")]
        expected = [one[key] for one in ratios for key in ("value", "low", "high") if one[key] is not None]
        assert [float(number) for number in numbers] == pytest.approx(expected, abs=0.0051)


def test_majority_of_votes_is_the_stricter_rule(corpora) -> None:
    found = predict_corpus("mien-s", corpora["FER+"], "val", no_hook)
    rows, _ = found.views["majority of votes"]
    assert [found.labels[i] for i in rows] == ["Happiness", "Happiness", "Happiness", "Other"]
    assert set(found.labels) == {"Happiness", "Neutral", "Other"}


def test_without_other_it_is_neither_label_nor_prediction(corpora) -> None:
    found = predict_corpus("mien-s", corpora["EMO-DB"], "val", no_hook)
    rows, classes = found.views["without Other"]
    assert [found.labels[i] for i in rows] == ["Neutral", "Anger"]
    among = evaluating._among(found.probs[rows], classes)
    assert among.shape == (2, 7)
    np.testing.assert_allclose(among.sum(1), 1, atol=1e-6)


def test_faces_are_given_to_the_net_as_they_are(corpora) -> None:
    found = predict_corpus("mien-s", corpora["FER+"], "val", no_hook)
    from mien.datasets.ferplus import read_ferplus

    images = read_ferplus(corpora["FER+"]).part("val").images
    crops = np.repeat(images[..., None], 3, axis=3)
    np.testing.assert_array_equal(found.probs, FacePredictor(load_model())(crops))


def test_view_without_rows_is_left_out(tmp_path: Path) -> None:
    votes = [[4, 3, 3, 0, 0, 0, 0, 0, 0, 0]] * 3
    write_ferplus(tmp_path / "ferplus", n_train=0, n_val=3, votes=votes)
    lines = evaluate("mien-s", tmp_path / "ferplus", tmp_path / "faces", split="val", hook=no_hook)
    assert set(json.loads((tmp_path / "faces" / "metrics.json").read_text())["views"]) == {"most votes"}
    assert len(lines) == 3 + len(EXPRESSIONS)
    write_emodb(tmp_path / "bored", letters=("L",))
    evaluate("mien-s", tmp_path / "bored", tmp_path / "voices", split="val", hook=no_hook)
    assert set(json.loads((tmp_path / "voices" / "metrics.json").read_text())["views"]) == {"eight classes"}


def test_split_is_heeded(corpora) -> None:
    assert len(predict_corpus("mien-s", corpora["RAVDESS"], "train", no_hook).names) == 4
    with pytest.raises(DatasetError, match="choose"):
        predict_corpus("mien-s", corpora["RAVDESS"], "choose", no_hook)
    with pytest.raises(DatasetError, match="tset"):
        predict_corpus("mien-s", corpora["FER+"], "tset", no_hook)


def test_folder_of_no_corpus_is_refused_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for folder in ("nowhere", "pictures"):
        with pytest.raises(DatasetError, match=folder):
            evaluate("mien-s", tmp_path / folder, tmp_path / "out", split="val", hook=no_hook)
    assert not (tmp_path / "out").exists()


def test_unknown_model_is_refused(corpora, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model"):
        evaluate("mien-xl", corpora["FER+"], tmp_path / "out", split="val", hook=no_hook)


def test_faces_of_another_size_are_refused(corpora, monkeypatch) -> None:
    class Larger:
        def __init__(self, _) -> None:
            self.spec = type("Spec", (), {"crop_px": 112})

    monkeypatch.setattr(evaluating, "FacePredictor", Larger)
    with pytest.raises(CheckpointError, match="112 px"):
        predict_corpus("mien-s", corpora["FER+"], "val", no_hook)


def test_without_plot_the_figures_are_written_all_the_same(corpora, tmp_path: Path, monkeypatch) -> None:
    def fail(*_):
        raise MissingExtraError("a picture", "plot")

    monkeypatch.setattr(evaluating, "draw_confusion", fail)
    lines = evaluate("mien-s", corpora["EMO-DB"], tmp_path, split="val", hook=no_hook)
    assert "[plot]" in lines[-1]
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "predictions.csv"}
