"""The paper's Table 1 with its controls, on label-paired clips or a prepared corpus: rows in, a page out.

Each row and seed has a folder with its result, written last and whole; what is finished is kept, what was
interrupted is taken up again, and the page is made anew of whatever is there.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.datasets.entries import PrepareSettings
from mien.datasets.prepared import is_prepared
from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.metrics import score
from mien.models.checkpoint import load_network
from mien.models.counting import count
from mien.models.network import ExpressionNet
from mien.opinions import FUSED, ask, choose_weights, finish, fuse
from mien.postprocess import DELTA
from mien.prepare import prepare
from mien.runs import join_processes
from mien.table1_data import read_pairs, read_recordings
from mien.table1_page import write_page
from mien.table1_rows import LENDERS, ROWS, Budget, Row, config_of, in_order
from mien.train import fit
from mien.whole import written_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Float32

    from mien.spans import Hook
    from mien.table1_data import Scored, Source

FRAMES_PER_SECOND = 30
"""Of the videos in whose frames the protocol counts its δ."""


def reproduce_table1(
    *,
    paired: Path | None = None,
    affwild2: Path | None = None,
    out: Path,
    budget: Budget | None = None,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    hook: Hook,
    n_threads: int = 2,
) -> list[str]:
    """Runs what is not finished of the table, and writes the page of all that is.

    Args:
        paired: Folder that holds `ferplus`, `ravdess_speech` and `emodb`; this or `affwild2`.
        affwild2: Folder of Aff-Wild2; one that `mien prepare` has not seen is prepared in `out` first.
        out: Folder for `table1.md`, its curves, and a folder for each row and seed.
        budget: What each training run may use; None: the default.
        rows: Names of rows, which run with those that they take opinions from; None: all.
        seeds: Of the table and its controls; the rest takes the first.
        hook: Called with what is done, how far, and how much there is.
        n_threads: Processor threads.

    Returns:
        Lines of the table.

    Raises:
        InputError: Not one corpus was given, there is no such row, or `out` holds another table's results.
        DatasetError: The data are missing or leak between splits.
    """
    folder = paired or affwild2
    if folder is None or (paired and affwild2):
        raise InputError("table 1 needs one of --paired and --aff-wild2; give the folder of one of the two")
    if len(set(seeds)) < max(len(seeds), 1):
        raise InputError(f"seeds are {list(seeds)}; expected one or more, each once")
    data = "pairs" if affwild2 is None else "Aff-Wild2"
    table = Table(out, data, budget or Budget(), hook, n_threads)
    left = [(row, seed) for row, seed in in_order(rows, seeds) if not table.is_finished(row, seed)]
    if left:
        if affwild2 and not is_prepared(folder):
            settings = PrepareSettings()
            prepare("affwild2", folder, out / "prepared", settings=settings, n_workers=n_threads, hook=hook)
            folder = out / "prepared"
        source: Source = read_pairs(folder) if paired else read_recordings(folder)
        scored = source.scored()
        for done, (row, seed) in enumerate(left):
            hook("rows of table 1", done, len(left))
            table.run(row, seed, source, scored)
            write_page(out, data)
    return write_page(out, data)


class Table:
    """A folder of results, and what they have in common."""

    def __init__(self, out: Path, data: str, budget: Budget, hook: Hook, n_threads: int) -> None:
        self.out, self.data, self.budget, self.hook, self.n_threads = out, data, budget, hook, n_threads

    def place(self, row: str, seed: int) -> Path:
        """Folder of a row and seed."""
        return self.out / row / f"seed-{seed}"

    def told(self, row: Row, seed: int) -> dict[str, Any]:
        """What a result must have been made of to be kept."""
        told = {"row": asdict(row), "seed": seed, "data": self.data, "budget": asdict(self.budget)}
        plain: dict[str, Any] = json.loads(json.dumps(told))
        for words in ("title", "group", "against", "paper"):
            del plain["row"][words]  # may change, and the figures stay
        return plain

    def is_finished(self, row: Row, seed: int) -> bool:
        """Whether its result is there.

        Raises:
            InputError: There is one, of other settings.
        """
        path = self.place(row.name, seed) / "result.json"
        if not path.is_file():
            return False
        made_of = json.loads(path.read_text(encoding="utf-8"))["made_of"]
        if made_of != self.told(row, seed):
            odd = [name for name, value in self.told(row, seed).items() if made_of.get(name) != value]
            raise InputError(f"{path.parent} is a result of another {' and '.join(odd)}; give another --out")
        return True

    def run(self, row: Row, seed: int, source: Source, scored: dict[str, Scored]) -> None:
        """Makes a row's result, by a training run or of other rows' opinions."""
        place = self.place(row.name, seed)
        place.mkdir(parents=True, exist_ok=True)
        if row.of is None:
            told = self._train(row, seed, source, scored)
            opinions = {view: load_opinions(place, view) for view in scored}
        else:
            told, opinions = self._borrow(row, seed, source, scored)
        views = {}
        for view, items in scored.items():
            for name, delta in _wanted(view, row.delta):
                views[name] = score_items(opinions[view], items, delta)
        result = {"made_of": self.told(row, seed), "views": views, **told}
        with written_whole(place / "result.json") as aside:
            aside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    def _train(self, row: Row, seed: int, source: Source, scored: dict[str, Scored]) -> dict[str, Any]:
        """The run of a row; its opinions are kept, and of its weights the best."""
        place = self.place(row.name, seed)
        config = config_of(row, self.budget, seed)

        def hook(what: str, done: float, total: float) -> None:
            self.hook(f"{row.name}, seed {seed}: {what}", done, total)

        batches = source.batches(config, on_videos=row.on_videos, hook=hook)
        batches.n_train = self.budget.steps // self.budget.epochs * self.budget.batch_size
        resumed = (place / "run" / "state.safetensors").exists()
        started = perf_counter()
        best = fit(config, batches, source.told, place / "run", hook, n_threads=self.n_threads)
        seconds = None if resumed else perf_counter() - started
        network, _ = load_network(best)
        assert isinstance(network, ExpressionNet)
        first = next(batches.held_out()).inputs
        counts = count(network, [each[:1] for each in first])
        network.to(join_processes(1).device)
        held: dict[str, Any] = {view: (items.windows(), len(items.labels)) for view, items in scored.items()}
        if row.name in LENDERS:
            held["choose"] = batches.held_out(), len(batches.held_labels)
        for done, (view, (windows, n_items)) in enumerate(held.items(), 1):
            save_opinions(ask(network, windows, n_items), place, view)
            hook("scoring", done, len(held))
        for path in (place / "run").glob("*.safetensors"):
            if path != best:
                path.unlink()  # of a finished run nothing is taken up again
        history = json.loads((place / "run" / "history.json").read_text(encoding="utf-8"))
        return {**asdict(counts), "seconds": seconds, "history": history}

    def _borrow(
        self, row: Row, seed: int, source: Source, scored: dict[str, Scored]
    ) -> tuple[dict[str, Any], dict[str, Float32[np.ndarray, "3 items 8"]]]:
        """What a row makes of the opinions of voice and face that other rows have kept."""
        assert row.of is not None
        places = [self.place(part, seed) for part in row.of]
        config = config_of(ROWS[row.of[0]], self.budget, seed)
        labels = source.batches(config, on_videos=False, hook=self.hook).held_labels
        opinions = {}
        for view in ("choose", *scored):
            voice, face = (load_opinions(place, view) for place in places)
            opinions[view] = np.stack([voice[0], face[1], voice[FUSED]])
        told: dict[str, Any] = {}
        if row.rule != "own":
            told["weights"] = choose_weights(row.rule, opinions["choose"], labels)
            opinions = {view: fuse(each, told["weights"]) for view, each in opinions.items()}
        parts = [json.loads((place / "result.json").read_text(encoding="utf-8")) for place in {*places}]
        told |= {name: sum(part[name] for part in parts) for name in ("n_parameters", "n_macs")}
        return told, opinions


def _wanted(view: str, delta: int | None) -> list[tuple[str, int]]:
    """Under what names, and how smoothed, a view is scored."""
    if view == "clips":
        return [] if delta is not None else [("clips", 0)]
    return [("post", delta)] if delta is not None else [("frames", 0), ("post", DELTA)]


def score_items(opinions: Float32[np.ndarray, "3 items 8"], items: Scored, delta: int) -> dict[str, Any]:
    """All scores of fused opinions; the mean F1 runs over the expressions that are there.

    Args:
        opinions: Of the items.
        items: Of `val`.
        delta: Half-width of smoothing, frames at 30 a second.
    """
    n_aside = 0 if items.frame_step is None else round(delta / FRAMES_PER_SECOND / items.frame_step)
    probs = finish(opinions[FUSED], items.tracks, n_aside)
    there = tuple(name for name in EXPRESSIONS if name in items.labels)
    scores = score(items.labels, probs, EXPRESSIONS, items.speakers, averaged=there).as_dict()
    del scores["reliability"]
    return scores


def save_opinions(opinions: Float32[np.ndarray, "3 items 8"], place: Path, view: str) -> None:
    """Keeps opinions, whole or not at all."""
    with written_whole(place / f"{view}.npy") as aside, aside.open("wb") as file:
        np.save(file, opinions)


def load_opinions(place: Path, view: str) -> Float32[np.ndarray, "3 items 8"]:
    """Opinions that were kept."""
    opinions: Float32[np.ndarray, "3 items 8"] = np.load(place / f"{view}.npy")
    return opinions
