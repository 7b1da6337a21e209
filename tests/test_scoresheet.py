"""Text and tables say what the predictions are, and never drop a row."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.evaluate import score_views
from mien.expressions import EXPRESSIONS
from mien.samples import View
from mien.scoresheet import as_dict, count_notes, draw, group_table, table, tell
from mien.scoring import Predictions
from mien.spans import Span

NOTHING = np.full(8, np.nan, np.float32)


def sure(name: str, share: float = 0.8) -> np.ndarray:
    probs = np.full(8, (1 - share) / 7, np.float32)
    probs[EXPRESSIONS.index(name)] = share
    return probs


RAW = np.stack([sure("Fear"), sure("Anger"), sure("Disgust"), NOTHING, sure("Sadness"), sure("Fear")])
POST = np.stack([sure("Fear"), sure("Fear"), sure("Anger"), NOTHING, sure("Anger"), sure("Fear", 0.6)])


def predictions(*, post: np.ndarray | None = POST, sources: tuple[str, ...] = ("fused",)) -> Predictions:
    raw = dict.fromkeys(sources, RAW)
    return Predictions(
        corpus="own.csv",
        names=("a.mp4", "a.mp4", "b.mp4", "c.mp4", "b.mp4", "d.wav"),
        spans=(Span(0, 2.5), Span(2.5, np.inf), *[Span(0, np.inf)] * 4),
        labels=("Fear", "Fear", "Anger", "Anger", "Sadness", "Fear"),
        groups=("x", "x", "y", "y", "y", "z"),
        group_word="speakers",
        videos=("a.mp4", "a.mp4", "b.mp4", "c.mp4", "b.mp4", "d.wav"),
        notes=("", "", "", "no face", "", ""),
        raw=raw,
        post=raw if post is None else dict.fromkeys(sources, post),
        asked={source: np.array([True] * 5 + [source == "voice"]) for source in sources[1:]},
        views=(View(name="all rows"),),
        remarks=("own.csv: rows without a label, left out: 2",),
    )


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_has_every_row_and_both_predictions() -> None:
    rows = rows_of(table(predictions()))
    assert [row["predicted"] for row in rows] == ["Fear", "Anger", "Disgust", "", "Sadness", "Fear"]
    assert [row["predicted_post"] for row in rows] == ["Fear", "Fear", "Anger", "", "Anger", "Fear"]
    assert [(row["start_s"], row["end_s"]) for row in rows[:2]] == [("0", "2.5"), ("2.5", "")]
    assert (rows[3]["note"], rows[3]["p_Fear"], rows[3]["post_Fear"]) == ("no face", "", "")
    assert (rows[5]["p_Fear"], rows[5]["post_Fear"]) == ("0.80000", "0.60000")
    three = rows_of(table(predictions(sources=("fused", "face", "voice"))))
    assert {"face_Fear", "face_post_Fear", "voice_Fear", "voice_post_Fear"} <= set(three[0])


def test_where_a_row_is_one_reading_it_is_told_once() -> None:
    one = predictions(post=None)
    assert not any("post" in column for column in rows_of(table(one))[0])
    lines = tell(one, "val", score_views(one))
    assert "each row is one reading: raw and post-processed are the same figures" in lines
    assert not any(line.startswith("  post") for line in lines)


def test_videos_are_scored_by_the_classes_they_have() -> None:
    rows = {
        row["video"]: row for row in rows_of(group_table(predictions(), "video", predictions().videos or ()))
    }
    assert list(rows) == ["a.mp4", "b.mp4", "c.mp4", "d.wav"]
    assert (rows["a.mp4"]["rows"], rows["a.mp4"]["labels"], rows["a.mp4"]["group"]) == ("2", "Fear", "x")
    assert (rows["a.mp4"]["accuracy_raw"], rows["a.mp4"]["accuracy_post"]) == ("0.5000", "1.0000")
    assert (rows["a.mp4"]["macro_f1_raw"], rows["a.mp4"]["macro_f1_post"]) == ("0.6667", "1.0000")
    assert (rows["b.mp4"]["macro_f1_raw"], rows["b.mp4"]["macro_f1_post"]) == ("0.5000", "0.3333")
    assert (rows["c.mp4"]["missed_raw"], rows["c.mp4"]["accuracy_raw"]) == ("1", "0.0000")


def test_lines_say_what_was_left_out_what_is_missing_and_both_figures() -> None:
    mine = predictions()
    lines = tell(mine, "val", score_views(mine))
    assert lines[:2] == [
        "own.csv: rows without a label, left out: 2",
        "own.csv: 1 without a prediction, which counts as wrong: no face",
    ]
    assert "own.csv val, all rows: 6 rows of 3 speakers" in lines
    assert "own.csv val, all rows, found only: 5 rows of 3 speakers" in lines
    lacking = (
        "  no row is labelled Neutral, Disgust, Happiness, Surprise, Other: left out of the mean of macro-F1"
    )
    assert lacking in lines
    assert "  without a prediction: raw 1, post 1" in lines
    raw, post = (next(line for line in lines if line.startswith(f"  {kind} ")) for kind in ("raw", "post"))
    assert raw.startswith("  raw   accuracy 0.5000")
    assert post.startswith("  post  accuracy 0.6667")
    sure = [line for line in lines if "sure enough" in line]
    assert sure[0].startswith(
        "  raw   sure enough (0.4 or more): 83.3% of the rows; 0.600 of these are right"
    )
    classes = [line.split()[0] for line in lines[lines.index(post) + 4 :][:4]]
    assert classes == ["Anger", "Disgust", "Fear", "Sadness"]  # Disgust: predicted, never labelled


def test_classes_that_a_protocol_names_add_nothing_and_that_is_said() -> None:
    (figures, *_) = score_views(predictions())
    assert figures.raw.averaged == ("Anger", "Fear", "Sadness")
    eight = predictions()
    object.__setattr__(eight, "views", (View(name="eight classes", averages_all=True),))
    (all_eight, *_) = score_views(eight)
    ratio = all_eight.raw.macro_f1.value / figures.raw.macro_f1.value
    assert ratio == pytest.approx(3 / 8)
    assert any(line.endswith("Other: adds 0 to macro-F1") for line in tell(eight, "val", [all_eight]))


def test_post_stands_beside_raw_in_json() -> None:
    told = as_dict(score_views(predictions())[0])
    assert (told["accuracy"]["value"], told["post"]["accuracy"]["value"]) == pytest.approx((3 / 6, 4 / 6))
    assert told["lacking"] == ["Neutral", "Disgust", "Happiness", "Surprise", "Other"]
    assert told["missed"] == told["post"]["missed"] == {"Anger": 1}


def test_notes_are_counted_by_kind() -> None:
    assert count_notes(["", "cannot be read: a", "cannot be read: b", "no face"]) == {
        "cannot be read": 2,
        "no face": 1,
    }


@pytest.mark.slow
def test_pictures_are_written_wider_where_there_are_two(tmp_path: Path) -> None:
    widths = {}
    for name, mine in {"one": predictions(post=None), "two": predictions()}.items():
        folder = tmp_path / name
        draw(score_views(mine)[0], folder, "title")
        assert {path.name for path in folder.iterdir()} == {
            "abstention-all-rows.png",
            "confusion-all-rows.png",
            "quadrants-all-rows.png",
            "reliability-all-rows.png",
        }
        with Image.open(folder / "confusion-all-rows.png") as image:
            widths[name] = image.width
    assert widths["two"] > 1.8 * widths["one"]
