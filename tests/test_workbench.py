"""The verbs of those who train, score and submit: the whole way, and one line for what is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from command_line import Run, assert_refused
from corpora import write_ferplus, write_ravdess
from media_files import write_video
from portraits import music, scenes
from some_extractors import write_face_onnx


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_video(path, scenes((1, (60,)), (0.4, ())), waveform=music(1.4))


def test_a_submission_is_complete_or_each_fault_is_a_line(run: Run, tmp_path: Path) -> None:
    from mien.submission import HEADER

    example, mine = tmp_path / "example.txt", tmp_path / "mine.txt"
    example.write_text(f"{HEADER}\na/00001.jpg,0\na/00002.jpg,0\n")
    mine.write_text(f"{HEADER}\na/00001.jpg,3\na/00002.jpg,7\n")
    assert run("check-submission", mine, example) == (0, f"{mine}: 2 lines, complete and in order\n", "")
    mine.write_text(f"{HEADER}\na/00001.jpg,9\n")
    code, out, err = run("check-submission", mine, example)
    assert (code, out, err.count("\n")) == (2, "", 2)
    assert "none of 0 to 7" in err
    assert "without an answer: 1 (a/00002.jpg)" in err


@pytest.mark.slow
def test_train_export_evaluate_analyze(run: Run, clip: Path, tmp_path: Path) -> None:
    """The whole way, by the commands that the documents name."""
    write_ferplus(tmp_path / "data" / "ferplus", n_train=20, n_val=8)
    tiny = ["--set", "epochs=1", "--set", "batch_size=8", "--set", "network.input_px=32", "--threads", "1"]
    tiny += ["--set", "network.attention.name=none"]
    code, out, err = run("train", "face", "--data", tmp_path / "data", "--out", tmp_path / "run", *tiny)
    assert (code, err) == (0, "")
    checkpoint = tmp_path / "run" / "face.safetensors"
    assert out == f"checkpoint: {checkpoint}\n"
    code, out, err = run(
        *("export", checkpoint, "--out", tmp_path / "mine", "--weights", "1:3"),
        *("--int8", tmp_path / "data"),
    )
    assert (code, err) == (0, "")
    assert "torch and ONNX differ by at most" in out
    assert "% of 256 training examples keep their expression" in out
    data = tmp_path / "data" / "ferplus"
    code, out, err = run(
        "evaluate", "--data", data, "--out", tmp_path / "scores", "--model", tmp_path / "mine"
    )
    assert (code, err) == (0, "")
    assert "macro-F1" in out
    model = ["--model", tmp_path / "mine"]
    code, _, err = run("analyze", clip, "--out", tmp_path / "report", *model, "--no-voice")
    assert (code, err) == (0, "")
    told = json.loads((tmp_path / "report" / "timeline.json").read_text())["provenance"]
    assert told["model"] == "mine"
    assert told["timeline"]["face_weight"] == 3.0
    assert_refused(run("analyze", clip, "--out", tmp_path / "r2", *model), tmp_path / "r2", "--no-voice")


@pytest.mark.slow
def test_ones_own_table_from_a_model_to_figures(run: Run, tmp_path: Path) -> None:
    """As docs/own-data.md goes about it."""
    rows = ["path,label,split"]
    for number, split in enumerate(["train"] * 8 + ["choose"] * 4 + ["val"] * 4):
        image = np.random.default_rng(number).integers(0, 256, (60, 48), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        rows.append(f"{number}.png,{'Anger' if number % 2 else 'Fear'},{split}")
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(rows))
    small = ["--set", "epochs=1", "--set", "batch_size=4", "--set", "heads_only=true", "--threads", "1"]
    code, out, err = run(
        "train", "face", "--data", table, "--crops", "--from", "mien-b", "--out", tmp_path / "run", *small
    )
    assert (code, err) == (0, "")
    checkpoint = tmp_path / "run" / "face.safetensors"
    lacking = "train has no row of Neutral, Disgust, Happiness, Sadness, Surprise, Other: never learnt\n"
    assert out == f"{lacking}checkpoint: {checkpoint}\n"
    code, out, err = run(
        "evaluate", "--model", checkpoint, "--data", table, "--crops", "--out", tmp_path / "after"
    )
    assert (code, err) == (0, "")
    assert "mine.csv val, all rows: 4 rows" in out
    refused = run("train", "face", "--data", tmp_path, "--crops", "--out", tmp_path / "other", *small[:-4])
    assert_refused(refused, tmp_path / "other", "--crops is for a CSV table")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["train", "faces", "--data", "."], "'faces'"),
        (["train", "face", "--data", "nowhere"], "nowhere"),
        (["train", "face", "--data", ".", "--set", "epoch=3"], "'epochs'"),
        (["train", "face", "--data", ".", "--set", "epochs=no"], "epochs"),
        (["train", "speech", "--data", "."], "Actor"),
        (["average", "nowhere.safetensors", "--data", "."], "nowhere.safetensors"),
        (["evaluate", "--data", "nowhere"], "nowhere"),
        (["reproduce", "fusion", "--votes", "nowhere"], "nowhere"),
        (["evaluate", "--data", "."], "no known corpus"),
        (["export", "nowhere.safetensors"], "nowhere.safetensors"),
        (["export", "nowhere.safetensors", "--weights", "1/2"], "1:2"),
        (["export", "nowhere.safetensors", "--figures", "nowhere.json"], "nowhere.json"),
    ],
)
def test_other_verbs_refuse_in_one_line(
    run: Run, arguments: list[str], word: str, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments, "--out", "out")
    assert (code, out) == (2, "")
    assert err.startswith("mien: ")
    assert err.count("\n") == 1
    assert word in err


def test_a_file_where_a_folder_is_wanted_is_one_line(run: Run, tmp_path: Path) -> None:
    write_ravdess(tmp_path / "data", actors=(17,), emotions=("01",))
    (tmp_path / "file").write_text("")
    code, _, err = run("evaluate", "--data", tmp_path / "data", "--out", tmp_path / "file")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"mien: {tmp_path / 'file'} is a file; name a folder")


WITHOUT_TORCH = """
import sys
from mien.cli import main

sys.modules["torch"] = None
sys.argv = ["mien", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [["train", "speech", "--data", ".", "--out", "out"], ["export", "a.safetensors", "--out", "out"]],
)
def test_missing_extra_is_one_line_with_the_command(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments],
        check=False,
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "pip install 'mien[train]'" in done.stderr


@pytest.mark.slow
def test_a_network_of_ones_own_from_preparing_to_analysis(run: Run, tmp_path: Path) -> None:
    """Its features are taken once, a head is trained on them, and both travel as one model."""
    lines = ["path,label,split"]
    splits = [(split, label) for split in ("train", "choose", "val") for label in ("Fear", "Anger")]
    for k, (split, label) in enumerate(splits):
        write_video(tmp_path / f"{k}.mp4", scenes((1.0, (40 * k,)), fps=25), waveform=music(1.0))
        lines.append(f"{k}.mp4,{label},{split}")
    (tmp_path / "own.csv").write_text("\n".join(lines))
    mine = write_face_onnx(tmp_path / "extractor")
    prepared, model = tmp_path / "prepared", tmp_path / "model"
    done = run(
        *("prepare", "clips", tmp_path / "own.csv", "--out", prepared),
        *("--workers", 1, "--face-extractor", mine),
    )
    assert done[0] == 0, done
    settings = ["network.backbone=features", "network.n_features=5", "epochs=1", "batch_size=2"]
    settings += ["mixup=0", "balance=0", "network.mirrored=false"]
    options = [word for setting in settings for word in ("--set", setting)]
    done = run("train", "face", "--data", prepared, "--out", tmp_path / "run", *options, "--threads", 1)
    assert done[0] == 0, done
    checkpoint = tmp_path / "run" / "face.safetensors"
    scores = "evaluate", "--model", checkpoint, "--data", prepared, "--out", tmp_path / "scores"
    assert_refused(run(*scores, "--crops"), tmp_path / "scores", "--crops")
    assert_refused(run(*scores, "--fusion", "class_wise"), tmp_path / "scores", "--fusion")
    code, out, _ = run(*scores)
    assert (code, "macro-F1" in out) == (0, True)
    assert_refused(run("export", checkpoint, "--out", model), model, "--extractor")
    assert run("export", checkpoint, "--extractor", mine, "--out", model)[0] == 0
    code, _, err = run(
        "analyze", tmp_path / "4.mp4", "--model", model, "--no-voice", "--out", tmp_path / "report"
    )
    assert (code, err) == (0, "")
    code, out, _ = run("evaluate", "--model", model, "--data", tmp_path / "own.csv", "--out", tmp_path / "s2")
    assert (code, "macro-F1" in out) == (0, True)
