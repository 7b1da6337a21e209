"""Results of Table 1's rows in, as many as there are; the page and the picture of their curves out."""

from __future__ import annotations

from statistics import fmean, stdev
from textwrap import fill
from typing import TYPE_CHECKING, Any

from mien.errors import InputError
from mien.pictures import draw_learning_curves
from mien.plain import read_json
from mien.table1_rows import GROUPS, TABLE, Row
from mien.whole import written_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Results = dict[str, dict[int, dict[str, Any]]]
    """By name of row and seed."""

DATA = {
    "pairs": """\
**This table proves machinery, not value.** The corpus of the paper is not in it. An item is an utterance of
RAVDESS or EMO-DB with three FER+ faces of strangers that carry the same label. Face and voice therefore err
independently of each other, which those of one person do not: **label-pairing inflates what fusion gains**,
and a gain of V+A over V here says nothing about people. No speaker and no image crosses train, `choose`
(which picks the epoch and the ratios) and `val` (scored only).

*Clips*: utterances, each with its faces, over its 3.2 s windows. *Frames* and *post-processed*: the same
pairs of one speaker laid end to end to pseudo-videos, in which an expression lasts 3 to 8 s and 1.25 frames
a second are labelled; δ = 5 smooths nothing at that rate, and 15 and 25 the same. Nobody moves from one
expression to the next there, and a face stands still for a second: what smoothing gains is that neighbours
carry one label by construction. Rows trained on videos see windows of such pseudo-videos of `train`.
""",
    "Aff-Wild2": """\
*Frames*: all labelled frames of Aff-Wild2's validation videos (`val`); one in which nobody is seen or heard
takes the line between its neighbours. They are scored only; the epoch and the ratios are picked on `choose`,
videos held out of its training set. The paper picked checkpoint, ratio and δ on the validation set itself.
*Post-processed*: the same, smoothed over a video's frames, those without a label among them. Every row is
trained on videos here, so that `videos` is `va-gcsa` over again. Face nets that are first trained alone also
see what was prepared beside it; the pool (§6.3) has 8,000 faces of each expression, where there are so many.
""",
}

READING = """\
Macro-F1 in percent, pooled (Eq. 6-7), over the expressions that are labelled in `val`; all eight can be
predicted. ± is the standard deviation over seeds, where there are several. In brackets: 95 % by resampling
speakers (or videos), the mean over seeds of each seed's bounds; with few speakers they are rough. Δ is the
difference from the row named, over the seeds that both have, each with its own. Δ and accuracy are of clips,
of frames where there are no clips or the row was trained on videos, and of post-processed frames where the
row is about δ. Where a row differs from its neighbour by less than seeds differ, or was run with one, the
table says nothing of it. *post-processed*: mean over 1.7 s to either side (δ = 50 frames at 30 a second), or
over the row's δ. The paper's cells are those of one run on Aff-Wild2 that was trained for 300 epochs; they
stand beside, not against, these, which share a fixed budget.
"""

COLUMNS = ("row", "paper", "clips", "frames", "post-processed", "Δ", "accuracy", "M", "GMAC", "seeds", "s")


def write_page(out: Path, data: str) -> list[str]:
    """Writes `table1.md` and, where a row of the paper's was trained, `table1.png`; the table comes back.

    Args:
        out: Holds a folder for each row, and in it one for each seed.
        data: A key of `DATA`.
    """
    results = read_results(out)
    tables = {group: table_of(group, results) for group in GROUPS}
    lines = ["# Table 1, and the controls that it lacks", "", DATA[data], READING]
    some = next((result for seeds in results.values() for result in seeds.values()), None)
    if some is not None:
        lines += [fill(f"{_scored(some)} {_budget(some)}", 110), ""]
    for group, table in tables.items():
        if table:
            most = max(len(results.get(row.name, {})) for row in TABLE if row.group == group)
            note = ", one seed" if most == 1 else ""
            lines += [f"## {group.capitalize()}{note}", "", *table, ""]
    missing = [row for row in TABLE if row.name not in results]
    if missing:
        names = [f"{row.name} (it needs {row.needs})" if row.needs else row.name for row in missing]
        lines += [fill(f"Not run: {', '.join(names)}.", 110, break_on_hyphens=False), ""]
    if draw_curves(results, out / "table1.png"):
        lines.append("![Learning curves of the paper's rows, mean over seeds](table1.png)\n")
    with written_whole(out / "table1.md") as aside:
        aside.write_text("\n".join(lines), encoding="utf-8")
    return [line for table in tables.values() for line in table]


def _scored(result: dict[str, Any]) -> str:
    """On how much of `val` all rows are scored."""
    some = next(iter(result["views"].values()))
    n_items = [f"{each['n']:,} {view}" for view, each in result["views"].items() if view != "post"]
    return (
        f"`val`: {' and '.join(n_items) or 'frames'} of {some['n_groups']} speakers or videos, which show "
        f"{', '.join(some['averaged'])}."
    )


def _budget(result: dict[str, Any]) -> str:
    """What every row's training run was allowed, and how it is told."""
    budget = result["made_of"]["budget"]
    n_steps = budget["steps"] // budget["epochs"]
    return (
        f"One budget for every run: {n_steps * budget['epochs']} steps of {budget['batch_size']}, AdamW, "
        f"bfloat16, faces of 48 px, three a window, {budget['crop']:g} s of sound in training; `choose` is "
        f"looked at after each {n_steps} steps. A face net that is first trained alone is so for as many. "
        "M: million parameters; GMAC: billion multiply-accumulates of a window; s: seconds of training, mean "
        "over the seeds whose runs were not taken up again, — where there are none or no run was needed."
    )


def read_results(out: Path) -> Results:
    """The finished results of the rows that there are.

    Raises:
        InputError: One is damaged.
    """
    results: Results = {}
    for row in TABLE:
        for path in sorted((out / row.name).glob("seed-*/result.json")):
            seed = path.parent.name.removeprefix("seed-")
            if seed.isdecimal():
                results.setdefault(row.name, {})[int(seed)] = read_result(path)
    return results


def read_result(path: Path) -> dict[str, Any]:
    """One result.

    Raises:
        InputError: It is damaged.
    """
    try:
        result = read_json(path.read_text(encoding="utf-8"))
    except ValueError:
        result = None
    if not isinstance(result, dict) or not {"made_of", "views", "n_parameters", "n_macs"} <= result.keys():
        raise InputError(f"{path} is damaged; delete it, and its row is made anew")
    return result


def table_of(group: str, results: Results) -> list[str]:
    """The rows of one group as a table, headed; empty if none was run."""
    rows = [row for row in TABLE if row.group == group and row.name in results]
    if not rows:
        return []
    head = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    return head + ["| " + " | ".join(cells_of(row, results)) + " |" for row in rows]


def cells_of(row: Row, results: Results) -> list[str]:
    """One row's cells."""
    own = list(results[row.name].values())
    view = headline(row, own[0])
    seconds = [result["seconds"] for result in own if result.get("seconds") is not None]
    return [
        row.title + _ratios(own),
        "—" if row.paper is None else f"{row.paper:.2f}",
        *(_scores(own, each) for each in ("clips", "frames", "post")),
        _difference(row, results, view),
        f"{100 * fmean(result['views'][view]['accuracy']['value'] for result in own):.1f}",
        f"{own[0]['n_parameters'] / 1e6:.2f}",
        f"{own[0]['n_macs'] / 1e9:.2f}",
        str(len(own)),
        f"{fmean(seconds):.0f}" if seconds else "—",
    ]


def _ratios(own: Sequence[dict[str, Any]]) -> str:
    """The m:n that a row's fusion took in each seed, voice to face, where it took any."""
    taken = ["{:.3g}:{:.3g}".format(*result["weights"]) for result in own if "weights" in result]
    return f" ({', '.join(taken)})" if taken and {*taken} != {"1:1"} else ""


def headline(row: Row, result: dict[str, Any]) -> str:
    """The view in which a row is compared with others."""
    if row.delta is not None:
        return "post"
    return "frames" if row.on_videos or "clips" not in result["views"] else "clips"


def _scores(own: Sequence[dict[str, Any]], view: str) -> str:
    """Mean, deviation over seeds, and bounds; empty where a row has no such view."""
    found = [result["views"][view]["macro_f1"] for result in own if view in result["views"]]
    if not found:
        return ""
    text = _mean([100 * each["value"] for each in found])
    if any(each["low"] is None for each in found):
        return text
    low, high = (100 * fmean(each[bound] for each in found) for bound in ("low", "high"))
    return f"{text} [{low:.1f}, {high:.1f}]"


def _difference(row: Row, results: Results, view: str) -> str:
    """How much higher a row scores than the one it is held against, over the seeds that both have."""
    if row.against is None or row.against not in results:
        return ""
    ours, theirs = results[row.name], results[row.against]
    gains = [
        100
        * (ours[seed]["views"][view]["macro_f1"]["value"] - theirs[seed]["views"][view]["macro_f1"]["value"])
        for seed in sorted(ours.keys() & theirs.keys())
        if view in theirs[seed]["views"]
    ]
    return f"{_mean(gains, '+')} ({row.against})" if gains else ""


def _mean(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation; one value has none."""
    deviation = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):{sign}.1f}{deviation}"


def draw_curves(results: Results, path: Path) -> bool:
    """Draws how macro-F1 on `choose` and the loss went in the paper's rows; whether there was any."""
    history: dict[int, dict[str, float | None]] = {}
    for row in TABLE:
        if row.group != GROUPS[0] or row.of is not None:
            continue
        runs = [result["history"] for result in results.get(row.name, {}).values()]
        for epoch, entries in enumerate(zip(*runs, strict=True), 1):
            point = history.setdefault(epoch, {"epoch": float(epoch)})
            point[f"{row.name}_loss"] = fmean(entry["train_loss"] for entry in entries)
            point[f"{row.name}_macro_f1"] = fmean(entry["choose_macro_f1"] for entry in entries)
    if history:
        title = "The paper's rows, mean over seeds"
        draw_learning_curves([history[epoch] for epoch in sorted(history)], path, title)
    return bool(history)
