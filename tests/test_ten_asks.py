"""What people ask most of tools that read expressions, one test each: mien does it from end to end."""

import csv
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

import mien
from growing import grown
from media_files import flat_frames, write_video
from mien.doctor import BASE, EXTRAS, examine
from mien.segments import segments
from portraits import scene, scenes

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "examples" / "demo.mp4"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people for 1.6 s, the left one away for 0.8 s in between, without sound."""
    path = tmp_path_factory.mktemp("two") / "two.mp4"
    return write_video(path, scenes((0.8, (0, 260)), (0.8, (260,)), (0.8, (0, 260))), fps=25)


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "timeline.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_ask_1_a_recorded_video_in_a_table_out(two: Path, tmp_path: Path, run: Run) -> None:
    assert run("analyze", two, "--out", tmp_path)[0] == 0
    rows = table_of(tmp_path)
    assert {int(row["frame"]) for row in rows} == set(range(60))
    assert all(row["label"] in {"", *mien.EXPRESSIONS} for row in rows)
    shares = [[float(row[f"p_{name}"]) for name in mien.EXPRESSIONS] for row in rows if row["label"]]
    assert np.allclose(np.sum(shares, axis=1), 1, atol=1e-4)


def test_ask_2_who_is_who(two: Path) -> None:
    timeline = mien.analyze(two)
    middles = {
        track_id: [float(row.box[0] + row.box[2]) / 2 for row in timeline.rows if row.track_id == track_id]
        for track_id in {row.track_id for row in timeline.rows}
    }
    assert sorted(middles) == [1, 2]  # who comes back keeps the number
    assert {key: round(np.ptp(each) / 20) for key, each in middles.items()} == {1: 0, 2: 0}
    assert abs(np.mean(middles[1]) - np.mean(middles[2])) > 200


@pytest.mark.slow
def test_ask_3_an_install_that_works(two: Path, tmp_path: Path) -> None:
    """The wheel, unpacked beside what the base installation needs and nothing else, analyzes a film.

    Which packages an extra needs is what `mien doctor` looks for; here all of them are installed.
    """
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    declared = {
        re.split(r"[\[>=<;! ]", line.split(":", 1)[1].strip())[0]: line
        for line in next((tmp_path / "installed").glob("*.dist-info/METADATA")).read_text().splitlines()
        if line.startswith("Requires-Dist:")
    }
    assert {name for name, line in declared.items() if "extra ==" not in line} == BASE.keys()
    others = sorted({name for extra in EXTRAS.values() for name in extra.values()} - set(BASE.values()))
    alone = f"import sys; sys.modules.update(dict.fromkeys({others!r}))\nfrom mien.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", alone, "analyze", str(two), "--out", str(tmp_path / "report")],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "60 frames" in done.stdout
    assert {each.part: each.state for each in examine() if each.part.startswith("[")} == {
        f"[{extra}]": "ok" for extra in EXTRAS
    }


@pytest.mark.slow
def test_ask_4_memory_is_flat(tmp_path: Path) -> None:
    """Of a film four times as long no more is held: its peak is that of the short one, to 5 %."""
    code = (
        "import resource, sys, mien\n"
        "for path in sys.argv[1:]:\n"
        "    n = sum(1 for _ in mien.stream(path, mien.ReadingSettings(voice=False)))\n"
        "    print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    short, long = (
        write_video(tmp_path / f"{n}.mp4", (scene(k % 40) for k in range(n)), fps=25) for n in (250, 1000)
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(short), str(long)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert (told[0], told[2]) == ("250", "1000")
    assert int(told[3]) <= 1.05 * int(told[1])


def test_ask_5_what_accuracy_on_what_data(run: Run) -> None:
    code, said, _ = run("models")
    assert code == 0
    for model in mien.list_models():
        assert model.name in said
        assert model.figures
        for data, figures in model.figures.items():
            assert f"{data}: {figures}" in said
            assert re.search(r"accuracy 0\.\d{3}.*macro-F1 0\.\d{3}", figures)


@pytest.mark.slow
def test_ask_6_train_on_my_data(tmp_path: Path, run: Run) -> None:
    """A table of one's own pictures, a fine-tuned head, a model, a report."""
    import cv2

    lines = ["path,label,split,speaker"]
    for k in range(24):
        dimmed = np.clip(scene(0)[:, :260] * ((60 + 8 * k) / 150), 0, 255).astype(np.uint8)
        picture = cv2.cvtColor(dimmed, cv2.COLOR_RGB2BGR)
        split = ("train", "train", "choose")[k % 3]
        if split == "choose":  # another picture, or what is learnt were what is chosen by
            picture = np.ascontiguousarray(picture[:, ::-1])
        cv2.imwrite(str(tmp_path / f"{k}.png"), picture)
        lines.append(f"{k}.png,{('Happiness', 'Neutral')[k % 2]},{split},{split}{k % 4}")
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    settings = ("--set", "epochs=1", "--set", "batch_size=8", "--set", "heads_only=true")
    learnt = ("train", "face", "--data", tmp_path / "mine.csv", "--from", "mien-b", "--out", tmp_path / "run")
    code, _, err = run(*learnt, "--threads", "1", *settings)
    assert code == 0, err
    assert run("export", tmp_path / "run" / "face.safetensors", "--out", tmp_path / "mine")[0] == 0
    assert (
        run("analyze", tmp_path / "0.png", "--model", tmp_path / "mine", "--out", tmp_path / "report")[0] == 0
    )
    assert json.loads((tmp_path / "report" / "timeline.json").read_text())["provenance"]["model"] == "mine"


@pytest.mark.slow
def test_ask_7_in_real_time_and_with_numbers(two: Path, tmp_path: Path, run: Run) -> None:
    with grown(two, tmp_path / "two.ts") as path:
        code, said, err = run("live", path, "--out", tmp_path / "report", "--patience", "1")
    assert code == 0
    assert re.search(r"60 frames, \d+ of them dropped; rows came \d+ ms after their picture", err)
    assert {line.split("\t")[1] for line in said.splitlines()} >= {"1", "2"}
    assert {int(row["frame"]) for row in table_of(tmp_path / "report")} == set(range(60))


def test_ask_8_seconds_in_the_table(tmp_path: Path, run: Run) -> None:
    """Of a film whose frames do not come evenly, true times, not a frame number by a rate."""
    times = [0.0, 0.04, 0.08, 0.5, 0.54, 1.3]
    film = write_video(tmp_path / "uneven.mp4", flat_frames(6), times=times)
    assert run("analyze", film, "--out", tmp_path / "report")[0] == 0
    assert [float(row["time_s"]) for row in table_of(tmp_path / "report")] == pytest.approx(times, abs=1e-3)


def test_ask_9_weights_are_there_without_a_network(two: Path, tmp_path: Path) -> None:
    """With every connection refused and an empty home, what ships is found and used."""
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise OSError('there is no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import mien\n"
        "print(mien.analyze(sys.argv[1]).summary())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(two)],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ask_10_labels_are_steady_and_gaps_are_honest(two: Path) -> None:
    timeline = mien.analyze(two, mien.ReadingSettings(voice=False))
    away = [row for row in timeline.rows if 0.9 < row.time < 1.5]
    assert len(away) == 15  # no stale box of who left
    assert all(row.box is not None and row.box[0] > 240 for row in away)
    empty = mien.analyze(write_video(two.with_name("nobody.mp4"), flat_frames(10), fps=25))
    assert all(row.flags >= {"no_face", "silent"} and row.label is None for row in empty.rows)
    demo = mien.analyze(DEMO, mien.ReadingSettings(voice=False, end=7.0))
    labels = [row.label for row in demo.rows if row.track_id == 1]
    runs = [len(list(same)) / 25 for _, same in groupby(labels)]
    assert min(runs) >= 0.08
    found = list(segments(demo.rows, mien.TimelineSettings()))
    assert all(each.span.duration >= 0.25 for each in found)
