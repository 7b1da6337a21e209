"""Predictions are read as they were written; what fusion must not be fitted to is refused in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien import heldout
from mien.errors import CheckpointError, InputError
from mien.heldout import read_held_out
from mien.predictor import SPEECH_FILES, load_model
from mien.scoresheet import table
from mien.scoring import Predictions
from mien.spans import Span
from some_predictions import planted, write_predictions

MODEL = load_model()


def test_face_voice_label_and_speaker_are_read_and_what_is_absent_is_told(tmp_path: Path) -> None:
    voice, face, labels, groups = planted(n_speakers=4, n_each=3)
    voice[1] = face[2] = voice[3] = face[3] = np.nan
    held = read_held_out([write_predictions(tmp_path, voice, face, labels, groups)], MODEL)
    assert held.name == "own.csv choose"
    assert held.labels == (*labels[:3], *labels[4:])
    assert len(set(held.groups)) == 4
    assert held.heard.tolist() == [True, False] + [True] * 9
    assert held.seen.tolist() == [True, True, False] + [True] * 8
    np.testing.assert_allclose(held.voice[0], voice[0], atol=1e-5)
    np.testing.assert_allclose(held.face[3], face[4], atol=1e-5)
    assert not held.face[2].any()
    assert held.remarks == ("1 rows have neither face nor voice: left out",)


def test_what_evaluate_writes_is_what_is_read(tmp_path: Path) -> None:
    """The table's own writer, with post-processed columns beside the raw ones."""
    voice, face, labels, groups = planted(n_speakers=2, n_each=2)
    raw = {"fused": face, "face": face, "voice": voice}
    told = Predictions(
        corpus="own.csv",
        names=("a.mp4", "a.mp4", "b.mp4", "b.mp4"),
        spans=(Span(0, 1), Span(1, 2), Span(0, 1), Span(1, np.inf)),
        labels=labels,
        groups=groups,
        group_word="speakers",
        videos=("a.mp4", "a.mp4", "b.mp4", "b.mp4"),
        notes=("",) * 4,
        raw={source: probs.astype(np.float32) for source, probs in raw.items()},
        post={source: np.full((4, 8), 1 / 8, np.float32) for source in raw},
        asked={},
        views=(),
        remarks=(),
    )
    path = write_predictions(tmp_path, voice, face, labels, groups)
    path.write_text(table(told))
    held = read_held_out([path], MODEL)
    np.testing.assert_allclose(held.face, face, atol=1e-5)
    np.testing.assert_allclose(held.voice, voice, atol=1e-5)
    assert held.labels == labels


def test_more_rows_than_are_needed_are_thinned_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heldout, "MOST_ROWS", 10)
    voice, face, labels, groups = planted(n_speakers=5, n_each=5)
    held = read_held_out([write_predictions(tmp_path, voice, face, labels, groups)], MODEL)
    assert held.labels == labels[::3]
    assert held.remarks == ("of 25 rows one in 3 is taken",)


def test_several_tables_are_one_and_speakers_of_two_corpora_are_two(tmp_path: Path) -> None:
    given = planted(n_speakers=2, n_each=2)
    paths = [
        write_predictions(tmp_path / name, *given, corpus=name, split=split)
        for name, split in (("one", "choose"), ("two", "val"))
    ]
    held = read_held_out(paths, MODEL)
    assert (held.name, len(held.labels), len(set(held.groups))) == ("one choose and two val", 8, 4)
    with pytest.raises(InputError, match="an earlier table has"):
        read_held_out([paths[0], paths[0]], MODEL)


def change(**changed: object) -> Callable[[Path], None]:
    """Alters what metrics.json says."""

    def alter(table: Path) -> None:
        path = table.with_name("metrics.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return alter


def put(old: str, new: str) -> Callable[[Path], None]:
    """Alters the table."""

    def alter(table: Path) -> None:
        text = table.read_text()
        assert old in text
        table.write_text(text.replace(old, new))

    return alter


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (change(split="train"), "split train, which networks are fitted to"),
        (change(weights_sha256=MODEL.sha256 | {SPEECH_FILES[1]: "0" * 64}), "another model than mien-b"),
        (change(weights_sha256={}), "another model"),
        (change(weights_sha256=None), "metrics.json is not one that"),
        (change(rows=11), "has 12 rows, metrics.json beside it tells of 11"),
        (lambda table: table.with_name("metrics.json").write_text("{"), "metrics.json is not one that"),
        (lambda table: table.with_name("metrics.json").unlink(), "has no metrics.json beside it"),
        (lambda table: table.unlink(), "predictions.csv cannot be read"),
        (lambda table: table.write_bytes(b"\xff\xfe\x00"), "predictions.csv cannot be read"),
        (lambda table: table.write_text(""), "is not a predictions.csv"),
        (put("voice_Fear", "p_Fear"), "does not tell face and voice apart"),
        (put(",Anger,0", ",Contempt,0"), "line [0-9]+: expected an expression as label"),
        (put(",speaker-1,", ",,"), "line [0-9]+: expected an expression as label and a speaker"),
        (put("0.5000", "1.5000"), "line [0-9]+: face_Neutral .* no probabilities"),
        (put("0.5000", "0.9000"), "no probabilities"),
        (put("0.5000", "nan"), "no probabilities"),
        (put("0.50000", ""), "no probabilities"),
    ],
)
def test_what_fusion_must_not_be_fitted_to_is_refused(
    tmp_path: Path, alter: Callable[[Path], None], message: str
) -> None:
    voice, _, labels, groups = planted(n_speakers=4, n_each=3)
    face = np.full((12, 8), 0.5 / 7)
    face[:, 0] = 0.5
    path = write_predictions(tmp_path, voice, face, labels, groups)
    alter(path)
    with pytest.raises(InputError, match=message) as caught:
        read_held_out([path], MODEL)
    assert "\n" not in str(caught.value)


def test_a_model_that_only_looks_has_nothing_to_fuse(tmp_path: Path) -> None:
    sha256 = {name: each for name, each in MODEL.sha256.items() if name not in SPEECH_FILES}
    with pytest.raises(CheckpointError, match="nothing to fuse"):
        read_held_out([tmp_path / "predictions.csv"], replace(MODEL, sha256=sha256))
