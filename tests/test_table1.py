"""Table 1 run small: order, what is shared, kept and taken up again, and that `val` never chooses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpora import write_emodb, write_ferplus, write_ravdess
from mien import table1
from mien import train as training
from mien.datasets.ferplus import FILE
from mien.datasets.pairs import HeldPairs
from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.fusion import RATIOS
from mien.metrics import confusion, macro_f1
from mien.models.checkpoint import load_tensors
from mien.opinions import FACE, FUSED, VOICE, choose_weights, finish
from mien.table1 import load_opinions, reproduce_table1
from mien.table1_data import read_pairs
from mien.table1_rows import LENDERS, Budget, in_order

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


@pytest.mark.parametrize("budget", [Budget(steps=3, batch_size=4, epochs=1, crop=0.8), Budget()])
def test_another_table_s_results_are_not_mixed_in(paired: Path, made: Path, budget: Budget) -> None:
    with pytest.raises(InputError, match="seed-0 is a result of another budget; give another --out"):
        run(paired, made, ["v"], budget=budget)


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
        runs.append((out.parent.parent.name, config.seed))
        out.mkdir(parents=True, exist_ok=True)
        history = [{"epoch": 1.0, "train_loss": 2.0, "choose_macro_f1": 0.3}]
        (out / "history.json").write_text(json.dumps(history), encoding="utf-8")
        spec = training.describe(config, told, 48)
        training.save_network(training.build_network(spec), spec, out / "both.safetensors")
        return out / "both.safetensors"

    def ask(network: Any, windows: Any, n_items: int) -> np.ndarray:
        generator = np.random.default_rng(len(runs))
        return generator.dirichlet(np.ones(8), (3, n_items)).astype(np.float32)

    monkeypatch.setattr(table1, "fit", fit)
    monkeypatch.setattr(table1, "ask", ask)
    return runs


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
