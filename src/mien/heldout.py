"""Tables of predictions that `mien evaluate` wrote in, what one model said of labelled rows out.

Of each row, what the face says and what the voice says, apart: fusion is fitted to these. Taken are only
predictions of the model that is asked about, on rows that its networks were not trained on.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import CheckpointError, InputError
from mien.expressions import EXPRESSIONS
from mien.plain import read_json
from mien.predictor import FACE_FILES, SPEECH_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Bool, Float64

    from mien.predictor import ModelInfo

METRICS = "metrics.json"
"""What `mien evaluate` writes beside its predictions: of which model, corpus and split they are."""

MOST_ROWS = 20_000
"""More are thinned evenly: frames of one video are nearly copies of each other."""

ROUNDING = 1e-3
"""By how much eight written probabilities may miss 1 together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Labelled rows, each with a face or a voice or both."""

    name: str
    """The corpora and splits that they are from."""
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    """Speaker of each row; file or video where the data name no speaker."""
    voice: Float64[np.ndarray, "rows 8"]
    """P_a; 0 where there is none."""
    face: Float64[np.ndarray, "rows 8"]
    """P_v; 0 where there is none."""
    heard: Bool[np.ndarray, "rows"]
    seen: Bool[np.ndarray, "rows"]
    remarks: tuple[str, ...] = ()
    """What was left out, a line each."""

    def part(self, kept: Bool[np.ndarray, "rows"]) -> HeldOut:
        """Some of the rows."""
        places = np.flatnonzero(kept).tolist()
        return HeldOut(
            name=self.name,
            labels=tuple(self.labels[i] for i in places),
            groups=tuple(self.groups[i] for i in places),
            voice=self.voice[kept],
            face=self.face[kept],
            heard=self.heard[kept],
            seen=self.seen[kept],
            remarks=self.remarks,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One line of a table."""

    key: tuple[str, ...]
    """What tells it from others: corpus, name and times."""
    label: str
    group: str
    face: list[float]
    """Empty where nobody is seen."""
    voice: list[float]


def read_held_out(tables: Sequence[Path], model: ModelInfo) -> HeldOut:
    """What a model says of the rows of one or more tables.

    Args:
        tables: `predictions.csv` as `mien evaluate` wrote it of videos, with its `metrics.json` beside it.
        model: Whose predictions these must be.

    Raises:
        InputError: A table is not of this form, of another model, of rows that the networks were trained on,
            without separate faces and voices, or has rows that another one has, too.
        CheckpointError: The model has no speech network.
    """
    if any(name not in model.sha256 for name in (*FACE_FILES, *SPEECH_FILES)):
        raise CheckpointError(f"model {model.name} has no speech network, so there is nothing to fuse")
    names: list[str] = []
    rows: list[_Row] = []
    for table in tables:
        corpus, split, n_rows = _read_metrics(table, model)
        found = _read_rows(table, corpus)
        if len(found) != n_rows:
            raise InputError(
                f"{table} has {len(found)} rows, {METRICS} beside it tells of {n_rows}; evaluate again"
            )
        if {row.key for row in rows} & {row.key for row in found}:
            raise InputError(f"{table} has rows that an earlier table has, too; give each row once")
        names.append(f"{corpus} {split}")
        rows += found
    answered = [row for row in rows if row.face or row.voice]
    step = max(1, -(-len(answered) // MOST_ROWS))
    remarks = {
        f"{len(rows) - len(answered)} rows have neither face nor voice: left out": len(rows) > len(answered),
        f"of {len(answered)} rows one in {step} is taken": step > 1,
    }
    kept = answered[::step]
    return HeldOut(
        name=" and ".join(names),
        labels=tuple(row.label for row in kept),
        groups=tuple(row.group for row in kept),
        voice=_stack([row.voice for row in kept]),
        face=_stack([row.face for row in kept]),
        heard=np.array([bool(row.voice) for row in kept], np.bool_),
        seen=np.array([bool(row.face) for row in kept], np.bool_),
        remarks=tuple(remark for remark, applies in remarks.items() if applies),
    )


def _stack(probs: Sequence[list[float]]) -> Float64[np.ndarray, "rows 8"]:
    """One row for each; 0 where there is none."""
    stacked = np.zeros((len(probs), len(EXPRESSIONS)))
    for row, each in zip(stacked, probs, strict=True):
        row[:] = each or 0.0
    return stacked


def _read_metrics(table: Path, model: ModelInfo) -> tuple[str, str, int]:
    """Corpus, split and number of rows of a table, which is found to be the model's."""
    path = table.with_name(METRICS)
    if not path.is_file():
        raise InputError(f"{table} has no {METRICS} beside it; give it where `mien evaluate` wrote it")
    try:
        told = read_json(path.read_text(encoding="utf-8"))
        sha256, corpus, split, n_rows = (told[key] for key in ("weights_sha256", "corpus", "split", "rows"))
        theirs = {name: sha256[name] for name in (*FACE_FILES, *SPEECH_FILES) if name in sha256}
        n_rows = index(n_rows)
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not one that `mien evaluate` wrote; evaluate again") from None
    for name in (*FACE_FILES, *SPEECH_FILES):
        if theirs.get(name) != model.sha256[name]:
            raise InputError(
                f"{table} holds predictions of another model than {model.name}: their {name} differ; "
                "evaluate this model, and give what that wrote"
            )
    if split == "train":
        raise InputError(
            f"{table} holds predictions of split train, which networks are fitted to; give those of choose, "
            "which are held out"
        )
    return str(corpus), str(split), n_rows


def _read_rows(table: Path, corpus: str) -> list[_Row]:
    """The lines of a table."""
    face, voice = ([f"{kind}_{name}" for name in EXPRESSIONS] for kind in ("face", "voice"))
    rows = []
    try:
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            there = set(reader.fieldnames or ())
            if not {"name", "group", "label"} <= there:
                raise InputError(f"{table} is not a predictions.csv that `mien evaluate` wrote; give one")
            if not {*face, *voice} <= there:
                raise InputError(
                    f"{table} does not tell face and voice apart: it lacks {face[0]}, … or {voice[0]}, …, "
                    "which `mien evaluate` writes where rows have both; evaluate on videos with sound"
                )
            for cells in reader:
                where = f"{table} line {reader.line_num}"
                if cells["label"] not in EXPRESSIONS or not cells["group"]:
                    raise InputError(f"{where}: expected an expression as label and a speaker as group")
                rows.append(
                    _Row(
                        key=(corpus, *(cells.get(name, "") for name in ("name", "start_s", "end_s"))),
                        label=cells["label"],
                        group=f"{corpus} {cells['group']}",
                        face=_read_probs([cells[column] for column in face], f"{where}: {face[0]}"),
                        voice=_read_probs([cells[column] for column in voice], f"{where}: {voice[0]}"),
                    )
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read ({error}); give one that `mien evaluate` wrote") from None
    return rows


def _read_probs(cells: Sequence[str], where: str) -> list[float]:
    """Eight probabilities; none where all cells are empty."""
    if not any(cells):
        return []
    try:
        probs = [float(cell) for cell in cells]
    except ValueError:
        probs = []
    if not (all(0 <= p <= 1 for p in probs) and abs(sum(probs) - 1) <= ROUNDING):
        raise InputError(f"{where} and so on are no probabilities that sum to 1; evaluate again")
    return probs
