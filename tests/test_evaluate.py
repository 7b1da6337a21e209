"""Evaluation on tiny corpora: whatever the shipped weights say, it is counted right and written whole."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corpora import write_emodb, write_ferplus, write_own, write_ravdess, write_utterance
from corpora_affwild2 import Person, write_affwild2
from media_files import flat_frames, tone, write_still, write_video
from mien import evaluate as evaluating
from mien.errors import DatasetError, InputError, MissingExtraError
from mien.evaluate import evaluate, predict_corpus, score_views
from mien.expressions import EXPRESSIONS
from mien.metrics import score
from mien.predictor import FacePredictor, load_model
from mien.samples import WITHOUT_OTHER
from portraits import PORTRAIT, scenes

VOTES = [
    *([[0, 10, 0, 0, 0, 0, 0, 0, 0, 0]] * 3),
    [4, 3, 3, 0, 0, 0, 0, 0, 0, 0],  # neutral has most, but not more than half
    [0, 0, 0, 0, 0, 0, 0, 6, 4, 0],  # contempt, which is Other
    [0, 0, 0, 0, 0, 0, 0, 0, 10, 0],  # unknown: dropped
]


def no_hook(what: str, done: float, total: float) -> None:
    assert 0 <= done <= total


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
    "RAVDESS": {
        "eight classes": (8, EXPRESSIONS),
        "without Other": (8, WITHOUT_OTHER),
        "without Other, men": (4, WITHOUT_OTHER),
        "without Other, women": (4, WITHOUT_OTHER),
    },
    "EMO-DB": {
        "eight classes": (3, EXPRESSIONS),
        "without Other": (2, WITHOUT_OTHER),
        "without Other, men": (2, WITHOUT_OTHER),
    },
}


@pytest.mark.parametrize("corpus", VIEWS)
def test_figures_predictions_and_pictures_are_written(corpora, corpus: str, tmp_path: Path) -> None:
    lines = evaluate("mien-b", corpora[corpus], tmp_path / "out", split="val", hook=no_hook)
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (told["corpus"], told["split"], told["model"]) == (corpus, "val", "mien-b")
    assert told["weights_sha256"] == load_model().sha256
    assert set(told["views"]) == set(VIEWS[corpus])
    for view, (n, classes) in VIEWS[corpus].items():
        scores = told["views"][view]
        assert scores["n"] == n
        assert scores["classes"] == list(classes)
        assert any(line.startswith(f"{corpus} val, {view}: {n} rows") for line in lines)
        assert scores["post"]["accuracy"] == scores["accuracy"]
        pictures = {"abstention", "confusion", "quadrants", "reliability"}
        if not any(n for row in scores["quadrants"].values() for n in row.values()):
            pictures.remove("quadrants")  # all is Other, which has none
        for picture in () if "men" in view else pictures:
            with Image.open(tmp_path / "out" / f"{picture}-{view.replace(' ', '-')}.png") as image:
                image.verify()
    for table in ("per_video.csv", "per_speaker.csv"):
        assert (tmp_path / "out" / table).exists() == (corpus != "FER+")
    assert not told["post_processed"]
    assert any("one reading" in line for line in lines)
    assert not [path for path in (tmp_path / "out").iterdir() if "part" in path.name]


@pytest.mark.parametrize("corpus", VIEWS)
def test_predictions_agree_with_the_figures(corpora, corpus: str, tmp_path: Path) -> None:
    evaluate("mien-b", corpora[corpus], tmp_path, split="val", hook=no_hook)
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
    labels = {row["label"] for row in table}
    averaged = classes if view == "eight classes" else tuple(name for name in classes if name in labels)
    guesses = [row["predicted"] for row in table]
    again = score([row["label"] for row in table], guesses, classes, averaged=averaged)
    assert told["lacking"] == [name for name in classes if name not in labels]
    assert told["macro_f1"]["value"] == pytest.approx(again.macro_f1.value)
    if corpus != "FER+":
        assert told["n_groups"] == len({row["group"] for row in table}) == (2 if corpus == "RAVDESS" else 1)


def own(folder: Path, *rows: str, head: str = "path,label") -> Path:
    (folder / "own.csv").write_text("\n".join((head, *rows)) + "\n", encoding="utf-8")
    return folder / "own.csv"


@pytest.mark.slow
def test_stills_sound_and_video_are_rows_alike(tmp_path: Path) -> None:
    write_still(tmp_path / "face.png", PORTRAIT)
    write_still(tmp_path / "grey.png", next(flat_frames(1)))
    write_utterance(tmp_path / "voice.flac", pitch=200, duration=1.0, seed=0)
    write_video(tmp_path / "film.mp4", scenes((0.8, (100,))), waveform=tone(300.0, 0.8))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    table = own(
        tmp_path,
        "face.png,Happiness,,",
        "grey.png,Happiness,,",
        "voice.flac,Anger,0.2,0.9",
        "film.mp4,Happiness,0,0.4",
        "film.mp4,Neutral,0.4,",
        "broken.mp4,Anger,,",
        head="path,label,start,end",
    )
    lines = evaluate("mien-b", table, tmp_path / "out", split="val", hook=no_hook)
    with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [
        *("face.png", "grey.png", "voice.flac", "film.mp4", "film.mp4", "broken.mp4")
    ]
    assert [bool(row["predicted"]) for row in rows] == [True, False, True, True, True, False]
    assert [row["note"].partition(":")[0] for row in rows if row["note"]] == ["no face", "cannot be read"]
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (told["rows"], told["not_found"]) == (6, {"no face": 1, "cannot be read": 1})
    assert told["post_processed"]
    counts = {name: (view["n"], sum(view["missed"].values())) for name, view in told["views"].items()}
    assert counts == {
        "all rows": (6, 2),
        "all rows, found only": (4, 0),
        "face only": (4, 1),
        "face only, found only": (3, 0),
        "voice only": (3, 2),  # a tone is no speech in a film; a clip of sound is listened to as it is
        "voice only, found only": (1, 0),
    }
    assert set(told["views"]["all rows"]["averaged"]) == {"Neutral", "Anger", "Happiness"}
    assert "own.csv val, all rows: 6 rows of 5 files" in lines
    with (tmp_path / "out" / "per_video.csv").open(newline="", encoding="utf-8") as file:
        assert [(row["video"], row["rows"]) for row in csv.DictReader(file)] == [
            *(
                ("face.png", "1"),
                ("grey.png", "1"),
                ("voice.flac", "1"),
                ("film.mp4", "2"),
                ("broken.mp4", "1"),
            )
        ]


def test_crops_are_scored_without_a_search(tmp_path: Path) -> None:
    write_still(tmp_path / "grey.png", next(flat_frames(1)))
    table = own(tmp_path, "grey.png,Happiness")
    with pytest.raises(DatasetError, match=r"nothing was found in any of 1 rows \(no face: 1\).*--crops"):
        evaluate("mien-b", table, tmp_path / "out", split="val", hook=no_hook)
    assert not (tmp_path / "out").exists()
    lines = evaluate("mien-b", table, tmp_path / "out", split="val", hook=no_hook, crops=True)
    assert any("all rows: 1 rows of 1 files" in line for line in lines)


def test_of_affwild2_frames_are_scored_both_ways(tmp_path: Path) -> None:
    people = (
        *(Person("video1", [0]), Person("video2", [1])),
        Person("video3", [0, 4, -1, 4], of="Validation_Set", crops=(1, 3)),
        Person("video4", [2], of="Validation_Set"),
    )
    root = write_affwild2(tmp_path / "root", people)
    lines = evaluate("mien-b", root, tmp_path / "out", split="val", hook=no_hook)
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {name: view["n"] for name, view in told["views"].items()} == {
        "all labelled frames": 4,
        "frames with a face": 2,
    }
    assert told["views"]["all labelled frames"]["averaged"] == list(EXPRESSIONS)
    assert (told["post_processed"], told["views"]["frames with a face"]["n_groups"]) == (True, 2)
    assert "Aff-Wild2 val, all labelled frames: 4 rows of 2 videos" in lines
    with (tmp_path / "out" / "per_video.csv").open(newline="", encoding="utf-8") as file:
        assert [row["video"] for row in csv.DictReader(file)] == ["video3", "video4"]


def test_a_file_is_no_place_for_figures(corpora, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="out is a file"):
        evaluate("mien-b", corpora["EMO-DB"], tmp_path / "out", split="val", hook=no_hook)


def test_every_class_is_told_with_its_bounds(corpora, tmp_path: Path) -> None:
    lines = evaluate("mien-b", corpora["RAVDESS"], tmp_path, split="val", hook=no_hook)
    told = json.loads((tmp_path / "metrics.json").read_text())["views"]["without Other"]["per_class"]
    head = next(i for i in reversed(range(len(lines))) if lines[i].split()[0] == "F1")
    last = next(i for i, line in enumerate(lines) if line.startswith("RAVDESS val, without Other, men"))
    of_class = {line.split()[0]: line for line in lines[head + 1 : last]}
    assert {name for name, one in told.items() if one["support"]} <= set(of_class) <= set(WITHOUT_OTHER)
    for name, line in of_class.items():
        label, *numbers, n_rows = line.replace("[", "").replace("]", "").replace(",", "").split()
        assert (label, int(n_rows)) == (name, told[name]["support"])
        ratios = [told[name][ratio] for ratio in ("f1", "recall", "precision")]
        expected = [one[key] for one in ratios for key in ("value", "low", "high") if one[key] is not None]
        assert [float(number) for number in numbers] == pytest.approx(expected, abs=0.0051)


def test_speakers_have_a_row_each(corpora, tmp_path: Path) -> None:
    evaluate("mien-b", corpora["RAVDESS"], tmp_path, split="val", hook=no_hook)
    with (tmp_path / "per_speaker.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        predictions = list(csv.DictReader(file))
    assert [(row["speaker"], row["rows"]) for row in rows] == [("ravdess-17", "4"), ("ravdess-18", "4")]
    for row in rows:
        right = [
            each["predicted"] == each["label"] for each in predictions if each["group"] == row["speaker"]
        ]
        assert float(row["accuracy_raw"]) == pytest.approx(sum(right) / 4)
    views = json.loads((tmp_path / "metrics.json").read_text())["views"]
    assert [views[f"without Other, {sex}"]["n"] for sex in ("women", "men")] == [4, 4]


def test_figures_of_an_earlier_evaluation_do_not_stay(corpora, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    earlier = [
        "per_video.csv",
        "per_speaker.csv",
        "confusion-face-only.png",
        "quadrants-all-rows.png",
        "abstention-voice-only.png",
    ]
    for name in (*earlier, "mine.txt"):
        (out / name).write_text("earlier")
    evaluate("mien-b", corpora["FER+"], out, split="val", hook=no_hook)
    assert {each.name for each in out.iterdir()}.isdisjoint(earlier)
    assert (out / "mine.txt").read_text() == "earlier"


def test_rows_that_end_after_their_file_are_told(tmp_path: Path) -> None:
    table = write_own(tmp_path)
    table.write_text(
        'path,label,start,end\nfilm.mp4,Fear,0,9\n"talks/Zoë, 1.wav",Fear,0,9\nfilm.mp4,Anger,,\n'
    )
    found = predict_corpus("mien-b", table, "val", no_hook)
    assert "clips.csv: rows that end after their files, scored to there: 2" in found.remarks


def test_majority_of_votes_is_the_stricter_rule(corpora) -> None:
    found = predict_corpus("mien-b", corpora["FER+"], "val", no_hook)
    most, majority = score_views(found)
    assert {name: n for name, n in supports(most.raw).items() if n} == {
        "Neutral": 1,
        "Happiness": 3,
        "Other": 1,
    }
    assert {name: n for name, n in supports(majority.raw).items() if n} == {"Happiness": 3, "Other": 1}


def supports(scores) -> dict[str, int]:
    return {name: one.support for name, one in scores.per_class.items()}


def test_without_other_it_is_neither_label_nor_prediction(corpora) -> None:
    _, without, men = score_views(predict_corpus("mien-b", corpora["EMO-DB"], "val", no_hook))
    assert without.raw.classes == WITHOUT_OTHER
    assert men.raw.confusion.tolist() == without.raw.confusion.tolist()
    assert {name for name, n in supports(without.raw).items() if n} == {"Neutral", "Anger"}
    among = evaluating._among(np.full((1, 8), 0.125, np.float32), WITHOUT_OTHER)
    np.testing.assert_allclose(among, np.full((1, 7), 1 / 7), atol=1e-6)


def test_faces_are_given_to_the_net_as_they_are(corpora) -> None:
    found = predict_corpus("mien-b", corpora["FER+"], "val", no_hook)
    from mien.datasets.ferplus import read_ferplus

    images = read_ferplus(corpora["FER+"]).part("val").images
    crops = np.repeat(images[..., None], 3, axis=3)
    np.testing.assert_array_equal(found.probs, FacePredictor(load_model())(crops))


def test_view_without_rows_is_left_out(tmp_path: Path) -> None:
    votes = [[4, 3, 3, 0, 0, 0, 0, 0, 0, 0]] * 3
    write_ferplus(tmp_path / "ferplus", n_train=0, n_val=3, votes=votes)
    evaluate("mien-b", tmp_path / "ferplus", tmp_path / "faces", split="val", hook=no_hook)
    assert set(json.loads((tmp_path / "faces" / "metrics.json").read_text())["views"]) == {"most votes"}
    write_emodb(tmp_path / "bored", letters=("L",))
    evaluate("mien-b", tmp_path / "bored", tmp_path / "voices", split="val", hook=no_hook)
    assert set(json.loads((tmp_path / "voices" / "metrics.json").read_text())["views"]) == {"eight classes"}


def test_split_is_heeded(corpora) -> None:
    assert len(predict_corpus("mien-b", corpora["RAVDESS"], "train", no_hook).names) == 4
    with pytest.raises(DatasetError, match="choose"):
        predict_corpus("mien-b", corpora["RAVDESS"], "choose", no_hook)
    with pytest.raises(DatasetError, match="split is 'tset'; expected one of train, choose, val"):
        predict_corpus("mien-b", corpora["FER+"], "tset", no_hook)


def test_folder_of_no_corpus_is_refused_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for folder in ("nowhere", "pictures"):
        with pytest.raises(DatasetError, match=folder):
            evaluate("mien-b", tmp_path / folder, tmp_path / "out", split="val", hook=no_hook)
    assert not (tmp_path / "out").exists()


def test_unknown_model_is_refused(corpora, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model"):
        evaluate("mien-xl", corpora["FER+"], tmp_path / "out", split="val", hook=no_hook)


def test_without_plot_the_figures_are_written_all_the_same(corpora, tmp_path: Path, monkeypatch) -> None:
    def fail(*_):
        raise MissingExtraError("a picture", "plot")

    monkeypatch.setattr(evaluating, "draw", fail)
    lines = evaluate("mien-b", corpora["EMO-DB"], tmp_path, split="val", hook=no_hook)
    assert "[plot]" in lines[-1]
    written = {"metrics.json", "per_speaker.csv", "per_video.csv", "predictions.csv"}
    assert {path.name for path in tmp_path.iterdir()} == written
