"""Table 1 run small: order, what is shared, kept and taken up again, and that `val` never chooses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpora import write_emodb, write_ferplus, write_ravdess
from corpora_affwild2 import Person, write_affwild2, write_media
from mien import sources, table1
from mien import train as training
from mien.datasets.ferplus import FILE
from mien.datasets.pairs import HeldPairs
from mien.errors import CheckpointError, InputError
from mien.expressions import EXPRESSIONS
from mien.fusion import RATIOS
from mien.metrics import confusion, macro_f1
from mien.models.checkpoint import build_network, load_network, load_tensors
from mien.opinions import FACE, FUSED, VOICE, choose_weights, finish
from mien.table1 import Table, load_opinions, locked, reproduce_table1
from mien.table1_data import read_pairs
from mien.table1_rows import LENDERS, ROWS, Budget, in_order

BUDGET = Budget(steps=2, batch_size=4, epochs=1, crop=0.8)


class InterruptionError(Exception):
    """The machine goes down."""


def no_hook(what: str, done: float, total: float) -> None:
    assert 0 <= done <= total


def write_paired(folder: Path, *, first_scored: int = 17) -> Path:
    """A folder laid out as the pairs' corpora are; utterances are long enough for runs of their own."""
    write_ferplus(folder / "ferplus", n_train=64, n_val=32)
    write_ravdess(folder / "ravdess_speech", actors=(1, 15, first_scored), duration=3.1)
    write_emodb(folder / "emodb", speakers=(3,))
    return folder


@pytest.fixture(scope="module", autouse=True)
def keep_number_of_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_paired(tmp_path_factory.mktemp("paired"))


def run(paired: Path, out: Path, rows: list[str], **settings: Any) -> list[str]:
    settings = {"budget": BUDGET, "seeds": (0,), "hook": no_hook, "n_threads": 1} | settings
    return reproduce_table1(paired=paired, out=out, rows=rows, **settings)


def result_of(out: Path, row: str, seed: int = 0) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((out / row / f"seed-{seed}" / "result.json").read_text("utf-8"))
    return result


@pytest.fixture(scope="module")
def made(paired: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a face alone, run to its end."""
    out = tmp_path_factory.mktemp("made")
    run(paired, out, ["v"])
    return out


def test_a_row_leaves_its_result_opinions_and_weights(paired: Path, made: Path) -> None:
    place = made / "v" / "seed-0"
    assert sorted(path.name for path in place.glob("*.npy")) == ["choose.npy", "clips.npy", "frames.npy"]
    assert [path.name for path in (place / "run").glob("*.safetensors")] == ["both.safetensors"]
    result = result_of(made, "v")
    assert set(result["views"]) == {"clips", "frames", "post"}
    assert result["n_parameters"] == 756_392  # RHCNN of 754,336 and a head
    assert result["n_macs"] > 10_000_000
    assert result["seconds"] > 0
    assert len(result["history"]) == 1


def test_scores_are_those_of_the_kept_opinions(paired: Path, made: Path) -> None:
    items = read_pairs(paired).scored()["clips"]
    opinions = load_opinions(made / "v" / "seed-0", "clips")
    assert np.isnan(opinions[VOICE]).all()
    assert np.array_equal(opinions[FUSED], opinions[FACE])
    said = [EXPRESSIONS[k] for k in opinions[FUSED].argmax(1)]
    there = len(set(items.labels))
    expected = float(macro_f1(confusion(items.labels, said, EXPRESSIONS))) * 8 / there
    view = result_of(made, "v")["views"]["clips"]
    assert view["macro_f1"]["value"] == pytest.approx(expected)
    assert view["averaged"] == [name for name in EXPRESSIONS if name in items.labels]
    assert view["n_groups"] == 1


def test_finished_rows_are_kept_and_the_table_is_made_anew(paired: Path, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(made, out)
    page = (out / "table1.md").read_text(encoding="utf-8")
    (out / "table1.md").unlink()
    before = {path: path.stat().st_mtime_ns for path in (out / "v").rglob("*") if path.is_file()}

    def refuse(what: str, done: float, total: float) -> None:
        pytest.fail(f"nothing is left to do, but: {what}")

    lines = run(tmp_path / "data-are-not-even-read", out, ["v"], hook=refuse)
    assert (out / "table1.md").read_text(encoding="utf-8") == page
    assert any(line.startswith("| V: base |") for line in lines)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "v").rglob("*") if path.is_file()}


def test_weights_that_a_killed_run_left_of_a_finished_row_are_deleted(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(made, out)
    before = {path for path in out.rglob("*") if path.suffix != ".md"}
    for name in ("start.safetensors", "run/state.safetensors", "stage0/best.safetensors"):
        (out / "v" / "seed-0" / name).parent.mkdir(exist_ok=True)
        (out / "v" / "seed-0" / name).touch()
    run(tmp_path / "data-are-not-even-read", out, ["v"])
    after = {path for path in out.rglob("*") if path.suffix != ".md" and path.name != "stage0"}
    assert after == before


@pytest.mark.parametrize("budget", [Budget(steps=3, batch_size=4, epochs=1, crop=0.8), Budget()])
def test_another_table_s_results_are_not_mixed_in(paired: Path, made: Path, budget: Budget) -> None:
    for row in ("v", "a"):  # the page would show both
        with pytest.raises(InputError, match="seed-0 is a result of another budget; give another --out"):
            run(paired, made, [row], budget=budget)
    assert not (made / "a").exists()


def test_a_result_tells_of_a_stage_only_where_there_is_one(tmp_path: Path) -> None:
    """Results that were made before there were such rows stay what they are."""
    table = Table(tmp_path, "pairs", BUDGET, no_hook, 1)
    told = table.told(ROWS["va-gcsa"], 0)["row"]
    assert list(told) == ["name", "settings", "of", "rule", "delta", "on_videos"]
    assert table.told(ROWS["stage0"], 0)["row"]["stage0"] == []


@pytest.mark.parametrize("content", ["{", '{"made_of": {}}', "[]", "\0\0"])
def test_a_damaged_result_is_named(paired: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "v" / "seed-0" / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"result.json is damaged; delete it, and its row is made anew"):
        run(paired, tmp_path, ["a"])


def test_damaged_opinions_are_named(tmp_path: Path) -> None:
    for content in (None, b"", b"\x93NUMPY"):
        if content is not None:
            (tmp_path / "clips.npy").write_bytes(content)
        with pytest.raises(InputError, match=r"clips.npy is damaged or gone; delete "):
            load_opinions(tmp_path, "clips")


def test_one_folder_is_one_process_s(paired: Path, tmp_path: Path) -> None:
    """Until that ends, even by a signal that it cannot answer."""
    code = (
        "import sys, time; from pathlib import Path; from mien.table1 import locked\n"
        "with locked(Path(sys.argv[1])): print('here', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"here\n"
        with pytest.raises(InputError, match="end the other one there, or give another --out"):
            run(paired, tmp_path, ["v"])
    finally:
        other.kill()
        other.communicate()
    with locked(tmp_path):
        pass


@pytest.mark.slow
def test_an_interrupted_row_is_taken_up_where_it_stopped(
    paired: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 1)
    steps: list[float] = []

    def interrupt(what: str, done: float, total: float) -> None:
        if what == "v, seed 0: training":
            steps.append(done)
            if len(steps) == 1:
                raise InterruptionError

    with pytest.raises(InterruptionError):
        run(paired, tmp_path, ["v"], hook=interrupt)
    assert not (tmp_path / "v" / "seed-0" / "result.json").exists()
    run(paired, tmp_path, ["v"], hook=interrupt)
    assert steps == [1, 2]
    again, whole = result_of(tmp_path, "v"), result_of(made, "v")
    assert again["views"] == whole["views"]
    assert again["seconds"] is None, "only a part of the run was timed"


def test_an_interrupted_row_keeps_its_budget(
    paired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 1)

    def interrupt(what: str, done: float, total: float) -> None:
        if what == "v, seed 0: training":
            raise InterruptionError

    with pytest.raises(InterruptionError):
        run(paired, tmp_path, ["v"], hook=interrupt)
    with pytest.raises(CheckpointError, match="a run of another configuration or data; give another --out"):
        run(paired, tmp_path, ["v"], budget=Budget(steps=3, batch_size=4, epochs=1, crop=0.8))


@pytest.mark.slow
def test_a_run_starts_from_the_face_net_of_its_stage(
    paired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the stage and after it, it ends in the same scores; the rest of the network is new."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(paired, whole, ["stage0"])
    result = result_of(whole, "stage0")
    assert result["made_of"]["row"]["stage0"] == []
    assert [path.name for path in whole.rglob("*.safetensors")] == ["both.safetensors"]
    both = whole / "stage0" / "seed-0" / "run" / "both.safetensors"
    begun = load_network(both)[1].training["data"]["start"]["stage0"]
    assert (begun["recipe"]["modality"], begun["data"]["corpora"]) == ("face", ["FER+"])

    monkeypatch.setattr(training, "SAVE_EVERY", 1)
    place = cut / "stage0" / "seed-0"
    steps: list[str] = []

    def interrupt(what: str, done: float, total: float) -> None:
        if what.endswith("training"):
            steps.append(f"{what.removeprefix('stage0, seed 0: ')} {done}")
            if len(steps) in (1, 3):
                raise InterruptionError

    for _ in range(2):
        with pytest.raises(InterruptionError):
            run(paired, cut, ["stage0"], hook=interrupt)
    start, face = (load_tensors(place / name)[0] for name in ("start.safetensors", "stage0/face.safetensors"))
    assert all(torch.equal(start[f"face.{name}"], tensor) for name, tensor in face.items())
    spec = load_network(place / "start.safetensors")[1]
    torch.manual_seed(0)
    new = build_network(spec).state_dict()
    assert not torch.equal(start["face.head.1.weight"], new["face.head.1.weight"])
    assert torch.equal(start["speech.head.1.weight"], new["speech.head.1.weight"])
    run(paired, cut, ["stage0"], hook=interrupt)
    assert steps == ["face alone: training 1", "face alone: training 2", "training 1", "training 2"]
    assert result_of(cut, "stage0")["views"] == result["views"]
    assert result["seconds"] > 0
    assert result_of(cut, "stage0")["seconds"] is None


def test_rows_that_the_data_lack_something_for_are_left_out(
    paired: Path, tmp_path: Path, pretended: list[tuple[str, int]]
) -> None:
    rows = ["v", "stage0-semi", "stage0-pool", "stage0-both", "resnet-a"]
    lines = run(paired, tmp_path, rows)
    assert pretended == [("v", 0), ("resnet-a", 0)]
    told = [line for line in lines if "left out" in line]
    assert len(told) == 3
    assert (
        told[1]
        == "stage0-pool is left out: it needs prepared corpora to draw the pool from, with --aff-wild2"
    )
    assert "stage0-pool (it needs prepared corpora to draw" in (tmp_path / "table1.md").read_text("utf-8")
    assert not list(tmp_path.glob("stage0*"))


def test_faces_without_labels_teach_where_they_are(
    tmp_path: Path, pretended: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_paired(tmp_path / "data")
    (data / "faces_unlabelled").mkdir()
    crops = np.zeros((5, 48, 48), np.uint8)
    monkeypatch.setattr(sources, "read_unlabelled", lambda *_: crops)
    assert not any("left out" in line for line in run(data, tmp_path / "out", ["stage0", "stage0-semi"]))
    assert pretended == [("stage0", 0), ("stage0", 0), ("stage0-semi", 0), ("stage0-semi", 0)], "face first"


def test_val_never_chooses(made: Path, tmp_path: Path) -> None:
    """With other voices and other faces to score on, the same weights come out."""
    other = write_paired(tmp_path / "other", first_scored=18)
    table = other / "ferplus" / FILE
    import polars as pl

    rows = pl.read_parquet(table)
    kept = rows.filter(pl.col("split") == "train")
    swapped = rows.filter(pl.col("split") == "val").with_columns(
        pl.col("webp").shift(5).fill_null(strategy="backward")
    )
    pl.concat([kept, swapped]).write_parquet(table)
    run(other, tmp_path / "out", ["v"])
    places = [out / "v" / "seed-0" for out in (made, tmp_path / "out")]
    (ours, told), (theirs, told_too) = (load_tensors(each / "run" / "both.safetensors") for each in places)
    assert told == told_too, "nor the temperature"
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    histories = [result_of(out, "v")["history"] for out in (made, tmp_path / "out")]
    assert histories[0] == histories[1]
    assert np.array_equal(*(load_opinions(each, "choose")[FACE] for each in places))
    assert not np.array_equal(*(load_opinions(each, "clips")[FACE] for each in places))


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Runs and scores are made up; which runs there were comes back, in order."""
    runs: list[tuple[str, int]] = []

    def fit(config: Any, batches: Any, told: Any, out: Path, *rest: Any, **settings: Any) -> Path:
        assert batches.n_train == BUDGET.steps // BUDGET.epochs * BUDGET.batch_size
        runs.append((out.parent.parent.name, config.seed))
        out.mkdir(parents=True, exist_ok=True)
        history = [{"epoch": 1.0, "train_loss": 2.0, "choose_macro_f1": 0.3}]
        (out / "history.json").write_text(json.dumps(history), encoding="utf-8")
        spec = training.describe(config, told, 48)
        training.save_network(training.build_network(spec), spec, out / f"{spec.modality}.safetensors")
        return out / f"{spec.modality}.safetensors"

    def ask(network: Any, windows: Any, n_items: int) -> np.ndarray:
        generator = np.random.default_rng(len(runs))
        return generator.dirichlet(np.ones(8), (3, n_items)).astype(np.float32)

    monkeypatch.setattr(table1, "fit", fit)
    monkeypatch.setattr(table1, "ask", ask)
    return runs


@pytest.mark.slow
def test_the_whole_table_runs_in_order_and_each_run_serves_all_who_need_it(
    paired: Path, tmp_path: Path, pretended: list[tuple[str, int]]
) -> None:
    kept = [*LENDERS, "separate", "fusion-grid", "post", "eq3", "align"]
    run(paired, tmp_path, kept, seeds=(0, 1))
    assert pretended == [(row.name, seed) for row, seed in in_order(kept, (0, 1)) if row.of is None], (
        "each run once"
    )
    for row, seed in in_order(kept, (0, 1)):
        assert result_of(tmp_path, row.name, seed)["made_of"]["seed"] == seed
    assert not (tmp_path / "eq3" / "seed-1").exists()


@pytest.mark.slow
def test_rows_without_a_run_are_made_of_kept_opinions(
    paired: Path, tmp_path: Path, pretended: list[tuple[str, int]]
) -> None:
    run(paired, tmp_path, ["separate", "separate-grid", "post", "delta-100", "delta-0", "fusion-learned"])
    voice, face, both = (tmp_path / row / "seed-0" for row in ("a", "v", "va-gcsa-cf"))
    frames = read_pairs(paired).scored()["frames"]

    def score(probs: np.ndarray) -> float:
        said = [EXPRESSIONS[k] for k in probs.argmax(1)]
        return float(macro_f1(confusion(frames.labels, said, EXPRESSIONS))) * 8 / len(set(frames.labels))

    def told(row: str, view: str) -> float:
        value: float = result_of(tmp_path, row)["views"][view]["macro_f1"]["value"]
        return value

    apart = (load_opinions(voice, "frames")[VOICE] + load_opinions(face, "frames")[FACE]) / 2
    assert told("separate", "frames") == pytest.approx(score(apart))
    fused = load_opinions(both, "frames")[FUSED]
    assert told("delta-0", "post") == pytest.approx(score(fused))
    assert told("delta-100", "post") == pytest.approx(score(finish(fused, frames.tracks, 4)))  # 3.3 s of 0.8
    assert (
        told("post", "post")
        == told("va-gcsa-cf", "post")
        == pytest.approx(score(finish(fused, frames.tracks, 2)))
    )
    choose = np.stack([load_opinions(voice, "choose")[VOICE], load_opinions(face, "choose")[FACE]] * 2)[:3]
    labels = HeldPairs(read_pairs(paired).stills, read_pairs(paired).utterances, "choose", 3).labels
    weights = tuple(result_of(tmp_path, "separate-grid")["weights"])
    assert weights == choose_weights("grid", choose, labels), "chosen on choose"
    assert weights in RATIOS
    sizes = {
        row: result_of(tmp_path, row)["n_parameters"] for row in ("a", "v", "separate", "va-gcsa-cf", "post")
    }
    assert sizes["separate"] == sizes["a"] + sizes["v"]
    assert sizes["post"] == sizes["va-gcsa-cf"]


def write_wild(folder: Path) -> Path:
    """Aff-Wild2 of three videos with sound, as it lies on disk."""
    people = [Person(name, [n % 8 for n in range(24)]) for name in ("video1", "video2")]
    write_affwild2(folder, [*people, Person("video3", [n // 4 for n in range(24)], of="Validation_Set")])
    for name in ("video1", "video2", "video3"):
        write_media(folder / "videos" / f"{name}.mp4", n_frames=24)
    return folder


@pytest.mark.slow
def test_aff_wild2_is_prepared_and_scored_by_frames(tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings: dict[str, Any] = {"affwild2": write_wild(tmp_path / "wild"), "out": out, "seeds": (0,)}
    settings |= {"budget": BUDGET, "hook": no_hook, "n_threads": 1}
    lines = reproduce_table1(rows=["v", "stage0-semi", "stage0-both", "delta-0"], **settings)
    assert [line.partition(" is left out")[0] for line in lines[-2:]] == ["stage0-semi", "stage0-both"]
    assert set(result_of(out, "v")["views"]) == {"frames", "post"}
    result = result_of(out, "delta-0")
    assert result["made_of"]["data"] == "Aff-Wild2"
    assert result["views"]["post"]["n"] == 24
    assert result["views"]["post"]["averaged"] == list(EXPRESSIONS[:6])
    with pytest.raises(InputError, match="is a result of another data; give another --out"):
        run(tmp_path, out, ["a"])
    assert any(
        line.startswith("| V+A: face net") for line in reproduce_table1(rows=["stage0-pool"], **settings)
    )


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rows": ["gcsa"]}, "there is no row 'gcsa'"),
        ({"seeds": ()}, r"seeds are \[\]"),
        ({"seeds": (1, 1)}, r"seeds are \[1, 1\]"),
        ({"affwild2": Path("aff-wild2")}, "one of --paired and --aff-wild2"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, settings: dict[str, Any], match: str) -> None:
    asked: dict[str, Any] = {"paired": tmp_path, "out": tmp_path / "out", "hook": no_hook} | settings
    with pytest.raises(InputError, match=match):
        reproduce_table1(**asked)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_rows_of_all_kinds_train(paired: Path, tmp_path: Path) -> None:
    rows = [
        "va-gcsa-cf",
        "a",
        "abstract",
        "align-dilated",
        "mu-confusion",
        "rule-trained",
        "r2plus1d-v",
        "resnet-a",
    ]
    lines = run(paired, tmp_path, rows)
    assert len([line for line in lines if line.count("|") > 5]) == len(rows) + 2 * 3
    for row in rows:
        result = result_of(tmp_path, row)
        assert 0 <= result["views"]["post"]["macro_f1"]["value"] <= 1
        assert np.isfinite(load_opinions(tmp_path / row / "seed-0", "frames")[FUSED]).all()
    sizes = {row: result_of(tmp_path, row)["n_parameters"] for row in rows}
    assert sizes["align-dilated"] - sizes["va-gcsa-cf"] == 33_282 + 477_312
    assert sizes["rule-trained"] == sizes["va-gcsa-cf"] + 2
