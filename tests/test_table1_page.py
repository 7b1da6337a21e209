"""The page: of whatever results are there, means over seeds, differences seed by seed, and its caveats."""

import json
from pathlib import Path

import pytest

from mien.errors import InputError
from mien.table1_page import COLUMNS, read_results, write_page
from mien.table1_rows import Budget


def write_result(out: Path, row: str, seed: int, *, clips: float | None, post: float | None = None) -> None:
    """A result with given macro-F1s; bounds lie a tenth to either side."""
    views = {}
    for name, value in (("clips", clips), ("frames", clips and clips - 0.05), ("post", post)):
        if value is not None:
            bounds = {"low": value - 0.1, "value": value, "high": value + 0.1}
            views[name] = {
                "macro_f1": bounds,
                "accuracy": {"low": None, "value": 0.5, "high": None},
                "n": 1200,
                "n_groups": 4,
                "averaged": ["Fear", "Anger"],
            }
    budget = {"steps": Budget().steps, "batch_size": 32, "epochs": 3, "crop": 1.6}
    history = [{"epoch": 1.0, "train_loss": 2.0, "choose_macro_f1": 0.1 * (seed + 1)}]
    result = {
        "made_of": {"budget": budget},
        "views": views,
        "n_parameters": 1_500_000,
        "n_macs": 250_000_000,
        "seconds": 100 + 10 * seed,
        "history": history,
    }
    place = out / row / f"seed-{seed}"
    place.mkdir(parents=True)
    (place / "result.json").write_text(json.dumps(result), encoding="utf-8")


def cells(lines: list[str], title: str) -> dict[str, str]:
    (line,) = [line for line in lines if line.startswith(f"| {title} |")]
    return dict(zip(COLUMNS, (cell.strip() for cell in line.strip("|").split("|")), strict=True))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for seed, (v, gcsa) in enumerate([(0.30, 0.31), (0.32, 0.35), (0.34, 0.39)]):
        write_result(tmp_path, "v", seed, clips=v, post=v + 0.1)
        if seed < 2:
            write_result(tmp_path, "v-gcsa", seed, clips=gcsa, post=gcsa)
    write_result(tmp_path, "post", 0, clips=None, post=0.4)
    write_result(tmp_path, "eq3", 0, clips=0.25)
    return tmp_path


def test_cells_are_means_over_seeds_with_deviation_and_bounds(out: Path) -> None:
    row = cells(write_page(out, "pairs"), "V: base")
    assert row["paper"] == "31.89"
    assert row["clips"] == "32.0 ± 2.0 [22.0, 42.0]"
    assert row["frames"] == "27.0 ± 2.0 [17.0, 37.0]"
    assert row["post-processed"] == "42.0 ± 2.0 [32.0, 52.0]"
    assert (row["M"], row["GMAC"], row["seeds"], row["s"], row["accuracy"]) == (
        "1.50",
        "0.25",
        "3",
        "110",
        "50.0",
    )


def test_a_row_says_at_what_ratio_it_fused(out: Path) -> None:
    for seed, weights in enumerate([(2, 1), (1, 1.257)]):
        write_result(out, "fusion-grid", seed, clips=0.3, post=0.3)
        path = out / "fusion-grid" / f"seed-{seed}" / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": weights}))
    write_result(out, "fusion-equal", 0, clips=0.3, post=0.3)
    lines = write_page(out, "pairs")
    assert cells(lines, "fusion by grid of the 19 ratios (2:1, 1:1.26)")["seeds"] == "2"
    assert cells(lines, "fusion 1:1")


def test_differences_are_taken_seed_by_seed_over_those_both_have(out: Path) -> None:
    row = cells(write_page(out, "pairs"), "V: base + GCSA")
    assert row["Δ"] == "+2.0 ± 1.4 (v)"
    assert row["seeds"] == "2"


def test_a_row_about_smoothing_has_only_smoothed_scores(out: Path) -> None:
    row = cells(write_page(out, "pairs"), "the same, post-processed")
    assert (row["clips"], row["frames"], row["paper"]) == ("", "", "47.43")
    assert row["post-processed"] == "40.0 [30.0, 50.0]"


def test_the_rest_is_marked_and_what_is_not_there_is_named(out: Path) -> None:
    lines = write_page(out, "pairs")
    page = (out / "table1.md").read_text(encoding="utf-8")
    assert "## The rest, one seed" in page
    assert "## Controls" not in page
    assert all(line in page for line in lines)
    assert "Not run: v-gcsa-cf, va, " in page
    assert cells(lines, "V: GCSA in the order of Eq. 3")["Δ"] == "-6.0 (v-gcsa)"


def test_the_page_says_what_pairs_prove(out: Path) -> None:
    write_page(out, "pairs")
    page = " ".join((out / "table1.md").read_text(encoding="utf-8").split())
    assert "proves machinery, not value" in page
    assert "label-pairing inflates what fusion gains" in page
    assert "`val`: 1,200 clips and 1,200 frames of 4 speakers or videos, which show Fear, Anger." in page
    assert "One budget for every run: 198 steps of 32" in page, "3 epochs of 66"


def test_the_page_of_aff_wild2_says_nothing_of_pairs(out: Path) -> None:
    write_page(out, "Aff-Wild2")
    page = (out / "table1.md").read_text(encoding="utf-8")
    assert "labelled frames of Aff-Wild2" in page
    for word in ("label-pairing", "FER+", "RAVDESS", "pseudo", "another corpus"):
        assert word not in page


def test_a_group_of_several_seeds_is_not_marked_as_one_of_one(out: Path) -> None:
    write_result(out, "eq3", 1, clips=0.25)
    write_result(out, "a", 5, clips=0.25)
    write_page(out, "pairs")
    page = (out / "table1.md").read_text(encoding="utf-8")
    for heading in ("## Table 1", "## Controls, one seed", "## The rest"):
        assert f"{heading}\n" in page


def test_folders_that_are_no_seeds_are_left_alone_and_damage_is_told(out: Path) -> None:
    before = read_results(out)
    write_result(out, "v", 7, clips=0.25)
    (out / "v" / "seed-7").rename(out / "v" / "seed-7 (copy)")
    assert read_results(out) == before
    (out / "v" / "seed-0" / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"result.json is damaged"):
        write_page(out, "pairs")


def test_curves_are_drawn_of_the_paper_s_rows(out: Path) -> None:
    write_page(out, "pairs")
    assert (out / "table1.png").stat().st_size > 10_000
    assert "](table1.png)" in (out / "table1.md").read_text(encoding="utf-8")


def test_a_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    assert write_page(tmp_path, "pairs") == []
    assert read_results(tmp_path) == {}
    assert "Not run: v, " in (tmp_path / "table1.md").read_text(encoding="utf-8")
    assert not (tmp_path / "table1.png").exists()
