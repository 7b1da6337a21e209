"""The paper's Table 1 with its controls, on label-paired clips or a prepared corpus: rows in, a page out.

Each row and seed has a folder with its result, written last and whole; what is finished is kept, what was
interrupted is taken up again, and the page is made anew of whatever is there.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.datasets.entries import PrepareSettings
from mien.datasets.prepared import is_prepared
from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.metrics import score
from mien.models.checkpoint import load_network, save_network
from mien.models.counting import count
from mien.models.network import ExpressionNet
from mien.opinions import FUSED, ask, choose_weights, finish, fuse
from mien.plain import read_array
from mien.postprocess import DELTA
from mien.prepare import prepare
from mien.runs import join_processes
from mien.table1_data import read_pairs, read_recordings
from mien.table1_page import read_result, read_results, write_page
from mien.table1_rows import LENDERS, ROWS, Budget, Row, config_of, in_order, stage_of
from mien.train import describe, fit, start_or_resume
from mien.whole import written_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jaxtyping import Float32

    from mien.datasets.batches import Batches
    from mien.recipes import TrainConfig
    from mien.spans import Hook
    from mien.spec import ModelSpec
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
        Lines of the table, and of each row that the data lack something for.

    Raises:
        InputError: Not one corpus was given, there is no such row, or `out` holds another table's results,
            damaged ones, or another process at work.
        DatasetError: The data are missing or leak between splits.
    """
    folder = paired or affwild2
    if folder is None or (paired and affwild2):
        raise InputError("table 1 needs one of --paired and --aff-wild2; give the folder of one of the two")
    if len(set(seeds)) < max(len(seeds), 1):
        raise InputError(f"seeds are {list(seeds)}; expected one or more, each once")
    data = "pairs" if affwild2 is None else "Aff-Wild2"
    wanted = in_order(rows, seeds)
    table = Table(out, data, budget or Budget(), hook, n_threads)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        table.refuse_other_results()
        left = [(row, seed) for row, seed in wanted if not table.is_finished(row, seed)]
        for row, seed in {*wanted} - {*left}:
            table.clear(row, seed)  # as a run that was killed at its very end did not
        if not left:
            return write_page(out, data)
        if affwild2 and not is_prepared(folder):
            settings = PrepareSettings()
            prepare("affwild2", folder, out / "prepared", settings=settings, n_workers=n_threads, hook=hook)
            folder = out / "prepared"
        source: Source = read_pairs(folder) if paired else read_recordings(folder)
        scored = source.scored()
        left_out = []
        for done, (row, seed) in enumerate(left):
            hook("rows of table 1", done, len(left))
            if not table.run(row, seed, source, scored):
                left_out.append(f"{row.name} is left out: it needs {row.needs}")
            write_page(out, data)
        return write_page(out, data) + left_out


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a folder to this process until the context ends, or the process does, in whatever way.

    Raises:
        InputError: Another process has it.
    """
    try:
        # the one lock that every platform has and lifts from a process that was killed
        with closing(sqlite3.connect(folder / ".lock", timeout=0)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            yield
    except sqlite3.Error as error:
        raise InputError(
            f"{folder} cannot be kept to one run ({error}); end the other one there, or give another --out"
        ) from error


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
        for words in ("title", "group", "against", "paper", "needs"):
            del plain["row"][words]  # may change, and the figures stay
        if row.stage0 is None:
            del plain["row"]["stage0"]
        return plain

    def refuse_other_results(self) -> None:
        """Checks all results that would be on the page, whichever rows are asked for.

        Raises:
            InputError: One was made of other settings, or is damaged.
        """
        for name, of_seeds in read_results(self.out).items():
            for seed in of_seeds:
                self.is_finished(ROWS[name], seed)

    def is_finished(self, row: Row, seed: int) -> bool:
        """Whether its result is there.

        Raises:
            InputError: There is one, of other settings, or it is damaged.
        """
        path = self.place(row.name, seed) / "result.json"
        if not path.is_file():
            return False
        made_of = read_result(path)["made_of"]
        if made_of != self.told(row, seed):
            odd = [name for name, value in self.told(row, seed).items() if made_of.get(name) != value]
            raise InputError(f"{path.parent} is a result of another {' and '.join(odd)}; give another --out")
        return True

    def run(self, row: Row, seed: int, source: Source, scored: dict[str, Scored]) -> bool:
        """Makes a row's result, by training or of others' opinions; whether the data have what it needs."""
        place = self.place(row.name, seed)
        if row.of is None:
            told = self._train(row, seed, source, scored)
            if told is None:
                return False
            opinions = {view: load_opinions(place, view) for view in scored}
        else:
            place.mkdir(parents=True, exist_ok=True)
            told, opinions = self._borrow(row, seed, source, scored)
        views = {}
        for view, items in scored.items():
            for name, delta in _wanted(view, row.delta):
                views[name] = score_items(opinions[view], items, delta)
        result = {"made_of": self.told(row, seed), "views": views, **told}
        with written_whole(place / "result.json") as aside:
            aside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        self.clear(row, seed)
        return True

    def clear(self, row: Row, seed: int) -> None:
        """Deletes the weights of a finished row but those of its result: nothing is taken up again."""
        place = self.place(row.name, seed)
        for path in place.rglob("*.safetensors"):
            if path != place / "run" / "both.safetensors":
                path.unlink()

    def _train(self, row: Row, seed: int, source: Source, scored: dict[str, Scored]) -> dict[str, Any] | None:
        """The run of a row, whose opinions are kept; None if the data lack what it needs."""
        place = self.place(row.name, seed)
        config, hook = config_of(row, self.budget, seed), named(self.hook, f"{row.name}, seed {seed}")
        batches = source.batches(config, on_videos=row.on_videos, hook=hook)
        taken_up = any(place.rglob("state.safetensors"))
        start, seconds = None, 0.0
        if row.stage0 is not None:
            start = place / "start.safetensors"
            if not start.exists():  # a run is taken up from the very file that it started from
                found = source.faces(stage_of(row, config), hook)
                if found is None:
                    return None
                hook_face = named(hook, "face alone")
                face, seconds = self._fit(stage_of(row, config), *found, place / "stage0", hook_face)
                spec = describe(config, source.told, batches.crop_px)
                new = start_or_resume(config, spec, batches, place / "run").network
                assert isinstance(new, ExpressionNet)
                save_start(new, face, spec, start)
        best, more = self._fit(config, batches, source.told, place / "run", hook, start)
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
        history = json.loads((place / "run" / "history.json").read_text(encoding="utf-8"))
        return {**asdict(counts), "seconds": None if taken_up else seconds + more, "history": history}

    def _fit(
        self,
        config: TrainConfig,
        batches: Batches,
        told: dict[str, Any],
        out: Path,
        hook: Hook,
        start: Path | None = None,
    ) -> tuple[Path, float]:
        """The best checkpoint of a run within the budget, and its seconds."""
        batches.n_train = self.budget.steps // self.budget.epochs * self.budget.batch_size
        started = perf_counter()
        # the schedule depends on the number of steps, of which the configuration says nothing
        told = told | {"steps": self.budget.steps}
        best = fit(config, batches, told, out, hook, start, self.n_threads)
        return best, perf_counter() - started

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
        parts = [read_result(place / "result.json") for place in {*places}]
        told |= {name: sum(part[name] for part in parts) for name in ("n_parameters", "n_macs")}
        return told, opinions


def named(hook: Hook, name: str) -> Hook:
    """The hook, which is told whose work it hears of."""

    def tell(what: str, done: float, total: float) -> None:
        hook(f"{name}: {what}", done, total)

    return tell


def save_start(network: ExpressionNet, face: Path, spec: ModelSpec, path: Path) -> None:
    """Writes a network with another's weights in place of its face net's.

    Args:
        network: Has a face net.
        face: Checkpoint of the face net.
        spec: Of the network; its training is told to be that of the face net.
        path: Of the file.
    """
    assert network.face is not None
    trained, face_spec = load_network(face)
    network.face.load_state_dict(trained.state_dict())
    save_network(network, replace(spec, training={"stage0": face_spec.training}), path)


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
    del scores["reliability"], scores["abstention"]
    return scores


def save_opinions(opinions: Float32[np.ndarray, "3 items 8"], place: Path, view: str) -> None:
    """Keeps opinions, whole or not at all."""
    with written_whole(place / f"{view}.npy") as aside, aside.open("wb") as file:
        np.save(file, opinions)


def load_opinions(place: Path, view: str) -> Float32[np.ndarray, "3 items 8"]:
    """Opinions that were kept.

    Raises:
        InputError: They are damaged or gone.
    """
    path = place / f"{view}.npy"
    try:
        opinions = read_array(path)
        if opinions.dtype != np.float32 or opinions.ndim != 3 or opinions.shape[::2] != (3, len(EXPRESSIONS)):
            raise ValueError(f"{opinions.dtype} {opinions.shape}")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or gone; delete {place}, and its row is made anew") from error
    return opinions
