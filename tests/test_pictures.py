"""Pictures are written whole, say what they should, and fail in words."""

from __future__ import annotations

import builtins
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.calibration import abstentions, reliability
from mien.errors import InputError, MissingExtraError
from mien.expressions import EXPRESSIONS
from mien.pictures import (
    draw_abstention,
    draw_confusion,
    draw_confusions,
    draw_learning_curves,
    draw_reliabilities,
    draw_reliability,
)
from mien.plot import FORMATS

COUNTS = np.random.default_rng(0).integers(0, 90, (8, 8)) + 200 * np.eye(8, dtype=int)
BINS = reliability(np.array([[0.9, 0.1], [0.6, 0.4]]), ["a", "b"], ("a", "b"), n_bins=2)
ABSTENTIONS = abstentions(np.array([[0.9, 0.1], [0.6, 0.4]]), ["a", "b"], ("a", "b"))
HISTORY = [
    {"epoch": 1, "train_loss": 2.0, "val_loss": 2.1, "val_macro_f1": 0.2, "seconds": 12.0},
    {"epoch": 2, "train_loss": 1.5, "val_loss": None, "val_macro_f1": 0.4, "seconds": 12.0},
    {"epoch": 3, "train_loss": 1.2, "val_loss": 1.9, "val_macro_f1": 0.3, "seconds": 12.0},
]


def words(path: Path, monkeypatch: pytest.MonkeyPatch, draw: object, *arguments: object) -> str:
    """The text of a drawing, written as SVG with its letters left as letters."""
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
    draw(*arguments, path)  # type: ignore[operator]
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("ending", FORMATS)
def test_each_format_is_written_whole_and_nothing_else(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "new" / "folder"
    draw_confusion(COUNTS, EXPRESSIONS, folder / f"confusion{ending}", "title")
    draw_reliability(BINS, folder / f"reliability{ending}")
    draw_abstention([(ABSTENTIONS, "")], folder / f"abstention{ending}")
    draw_learning_curves(HISTORY, folder / f"curves{ending}")
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert sorted(one.stem for one in folder.iterdir()) == [
        "abstention",
        "confusion",
        "curves",
        "reliability",
    ]
    assert all(one.read_bytes().startswith(starts[ending]) for one in folder.iterdir())


def test_confusion_names_classes_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.array([[1234, 1], [0, 5]])
    text = words(tmp_path / "c.svg", monkeypatch, draw_confusion, counts, ("Anger", "Fear"))
    for expected in ("Anger", "Fear", "1,234", "&lt;1%", "100%", "1,240 rows", "accuracy 0.999"):
        assert expected in text


def test_confusion_is_darker_where_more_rows_are(tmp_path: Path) -> None:
    draw_confusion(np.array([[9, 1], [1, 9]]), ("Anger", "Fear"), tmp_path / "c.png")
    image = cv2.imread(str(tmp_path / "c.png"))
    assert image is not None
    blue, _, red = (image[..., channel].astype(int) for channel in range(3))
    down, across = np.nonzero(blue - red > 90)
    cells = across < image.shape[1] * 0.75  # right of that stands the colour bar
    down, across = down[cells], across[cells]
    slope = np.corrcoef(down, across)[0, 1]
    assert slope > 0.5  # dark cells lie on the falling diagonal


def test_reliability_says_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = words(tmp_path / "r.svg", monkeypatch, draw_reliability, BINS)
    assert "expected calibration error 0.350 · 2 bins · 2 rows" in text


def test_abstention_names_thresholds_and_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = [(ABSTENTIONS, "raw"), (ABSTENTIONS, "post")]
    text = words(tmp_path / "a.svg", monkeypatch, draw_abstention, curves)
    for expected in (">raw<", ">post<", ">0.4<", ">0.6<", ">0.8<", "coverage", "risk"):
        assert expected in text
    with pytest.raises(InputError, match="no point to draw"):
        draw_abstention([((), "")], tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()


def test_curves_mark_the_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = words(tmp_path / "l.svg", monkeypatch, draw_learning_curves, HISTORY)
    for expected in ("train loss", "val loss", "val macro-F1, best 0.400 in epoch 2", "3 epochs"):
        assert expected in text
    assert "seconds" not in text


def test_curves_of_losses_alone_and_of_one_epoch(tmp_path: Path) -> None:
    draw_learning_curves([{"epoch": 1, "train_loss": 2.0}], tmp_path / "l.png")
    assert (tmp_path / "l.png").stat().st_size > 1000


def test_a_picture_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def fail(self: Figure, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    (tmp_path / "r.png").write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="no space left"):
        draw_reliability(BINS, tmp_path / "r.png")
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"old"]


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"c.jpeg2 is no name for a picture; expected one that ends in .png"):
        draw_confusion(COUNTS, EXPRESSIONS, tmp_path / "c.jpeg2")
    with pytest.raises(InputError, match="expected 2 classes"):
        draw_confusion(COUNTS, ("Anger", "Fear"), tmp_path / "c.png")
    with pytest.raises(InputError, match="no bin"):
        draw_reliability((), tmp_path / "r.png")
    with pytest.raises(InputError, match="neither a loss nor a score"):
        draw_learning_curves([{"epoch": 1, "seconds": 3.0}], tmp_path / "l.png")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_matplotlib(name: str, *arguments: object, **options: object) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[plot\]'"):
        draw_reliability(BINS, tmp_path / "r.png")


def test_two_matrices_stand_side_by_side_with_what_was_missed(tmp_path: Path, monkeypatch) -> None:
    def both(path: Path) -> None:
        before, after = np.array([[6, 0, 2], [3, 4, 0]]), np.array([[8, 0, 0], [1, 6, 0]])
        draw_confusions([(before, "raw · 15"), (after, "post · 15")], ("Anger", "Fear"), path, "a title")

    text = words(tmp_path / "c.svg", monkeypatch, both)
    for expected in ("raw · 15", "post · 15", "nothing", "25%", "86%"):
        assert expected in text
    assert (text.count("a title"), text.count(">predicted<")) == (1, 2)


def test_two_reliabilities_stand_side_by_side(tmp_path: Path, monkeypatch) -> None:
    def both(path: Path) -> None:
        draw_reliabilities([(BINS, "raw"), (BINS, "post")], path, "a title")

    text = words(tmp_path / "r.svg", monkeypatch, both)
    for expected in ("raw · expected calibration error", "post · expected calibration error"):
        assert expected in text
    assert text.count("a title") == 1
    with pytest.raises(InputError, match="no bin"):
        draw_reliabilities([(BINS, "raw"), ([], "post")], tmp_path / "r.png")


@pytest.mark.parametrize("shape", [(3, 2), (2, 4), (3, 4)])
def test_matrices_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="2 classes"):
        draw_confusions([(np.ones(shape, np.int64), "")], ("Anger", "Fear"), tmp_path / "c.png")
