"""Commands that can be killed: the input of each, made here, and what of its output is compared, and how.

A verb is a command line and its input. Trees of files come in; out come the same without what differs by
nature, or the names of those files that are not whole.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import numpy as np
import safetensors.numpy

from corpora import write_emodb, write_ferplus, write_own, write_ravdess
from corpora_affwild2 import NAMES, write_crops, write_media
from media_files import tone, write_video
from portraits import scene

Tree = dict[str, bytes]
"""Files below a folder by name, with their content; names of folders end in a slash."""

ASIDE = (".part", ".old", ".tmp")
"""Endings of names that are not final ones; others begin with a dot."""


@dataclass(frozen=True, slots=True)
class Apart:
    """Files that differ by nature between two undisturbed runs."""

    pattern: str
    reason: str
    plain: Callable[[bytes], bytes] | None = None
    """What of their content is compared; None: they are not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A command and what it leaves."""

    words: tuple[str, ...]
    """The command line, where {given} is the folder of its input; --out comes after it."""
    give: Callable[[Path], object]
    """Writes the input into a folder that is there."""
    before: Callable[[Path], object] | None = None
    """Writes what stands in the place of the output before."""
    weight: int = 0
    """How many moments it has in 200: fewer where a run takes longer."""
    apart: tuple[Apart, ...] = ()
    passing: tuple[str, ...] = ()
    """Files that say something else while the run goes on, or that are gone at its end."""


def give_film(folder: Path) -> None:
    write_video(folder / "film.mp4", [scene(60 + 3 * k) for k in range(12)], waveform=tone(300.0, 0.5))


def give_films(folder: Path) -> None:
    for k in range(2):
        frames = [scene(60 + 10 * k + j) for j in range(5)]
        write_video(folder / f"film {k}.mp4", frames, waveform=tone(300.0, 0.2))


def give_clips(folder: Path) -> None:
    write_own(folder)
    write_video(folder / "film.mp4", [scene(60 + 3 * k) for k in range(8)], waveform=tone(400.0, 0.4))


def give_faces(folder: Path) -> None:
    write_ferplus(folder / "ferplus", n_train=64)


def give_pairs(folder: Path) -> None:
    write_ferplus(folder / "ferplus", n_train=64, n_val=32)
    write_ravdess(folder / "ravdess_speech", actors=(1, 15, 17), duration=3.1)
    write_emodb(folder / "emodb", speakers=(3,))


def give_test_set(folder: Path) -> None:
    example = folder / "example"
    example.mkdir()
    for video, n_frames in {"one": 12, "two": 5}.items():
        write_crops(folder, video, {k + 1: NAMES[k % len(NAMES)] for k in range(n_frames)})
        lines = (",".join(NAMES), *["0"] * n_frames, "")
        (example / f"{video}.txt").write_text("\n".join(lines))
    write_media(folder / "one.mp4", n_frames=12)


def give_checkpoint(folder: Path) -> None:
    import torch

    from mien.models.checkpoint import build_network, save_network
    from mien.recipes import override, train_face
    from mien.train import describe

    config = override(train_face(), ["network.attention.name=none", "network.depths=[0,1,1]"])
    spec = describe(config, {"licence": "made for this test"}, 48)
    torch.manual_seed(0)
    save_network(build_network(spec), spec, folder / "face.safetensors")


def write_older_model(folder: Path) -> None:
    """A folder that `mien export` takes for a model, and replaces."""
    folder.mkdir()
    for name in ("manifest.json", "face_encoder.onnx", "speech_encoder.onnx"):
        (folder / name).write_text("of last week")


def drop_seconds(content: bytes) -> bytes:
    """JSON without what `seconds` says at its top."""
    told = json.loads(content)
    told.pop("seconds", None)
    return json.dumps(told).encode()


def drop_seconds_column(content: bytes) -> bytes:
    """A CSV table without its column `seconds`."""
    rows = list(csv.DictReader(io.StringIO(content.decode()), strict=True))
    return json.dumps([{name: row[name] for name in row if name != "seconds"} for row in rows]).encode()


def drop_last_cell(content: bytes) -> bytes:
    """Markdown without the last cell of each line of a table."""
    return re.sub(rb"(?m)^(\|.*\|)[^|\n]*\|$", rb"\1", content)


EVENTS = "TensorBoard's log: names tell time and process, content the time; each run that goes on adds a file"
STILL = ("network.input_px=16", "network.depths=[0,1,1]", "network.attention.name=none", "precision=float32")
STEPS = ("batch_size=2", "epochs=4", "mixup=0")
"""112 steps: a state is saved after 100 and at the end."""
EXPORT = ("export", "{given}/face.safetensors")

VERBS = {
    "analyze": Verb(words=("analyze", "{given}/film.mp4", "--model", "mien-s"), give=give_film, weight=60),
    "prepare": Verb(
        words=("prepare", "clips", "{given}/clips.csv", "--workers", "2"), give=give_clips, weight=50
    ),
    "train": Verb(
        words=(
            *("train", "face", "--data", "{given}", "--threads", "1"),
            *(word for setting in STILL + STEPS for word in ("--set", setting)),
        ),
        give=give_faces,
        weight=20,
        apart=(Apart("out/tensorboard/*", EVENTS),),
        passing=("out/history.json", "out/best.safetensors", "out/state.safetensors"),
    ),
    "reproduce": Verb(
        words=(
            *("reproduce", "table1", "--paired", "{given}", "--rows", "v", "--seeds", "0", "--threads", "1"),
            *("--steps", "2", "--batch-size", "4", "--epochs", "1"),
        ),
        give=give_pairs,
        weight=14,
        apart=(
            Apart("out/v/seed-0/run/tensorboard/*", EVENTS),
            Apart("out/v/seed-0/result.json", "`seconds`: of training, or null if taken up", drop_seconds),
            Apart("out/table1.md", "the last column: seconds of training", drop_last_cell),
        ),
        passing=("out/v/seed-0/run/*.safetensors",),
    ),
    "scale": Verb(
        words=("scale", "{given}", "--model", "mien-s", "--workers", "1"),
        give=give_films,
        weight=20,
        apart=(Apart("out/manifest.csv", "the column `seconds`: of work", drop_seconds_column),),
        passing=("out/manifest.csv",),
    ),
    "export": Verb(words=EXPORT, give=give_checkpoint, weight=12),
    "replace": Verb(words=EXPORT, give=give_checkpoint, before=write_older_model, weight=12),
    "submit": Verb(
        words=("submit", "--data", "{given}", "--example", "{given}/example", "--model", "mien-s"),
        give=give_test_set,
        weight=12,
    ),
}


def read_tree(place: Path) -> Tree:
    """All that lies below a folder."""
    return {
        f"{path.relative_to(place).as_posix()}{'/' if path.is_dir() else ''}": b""
        if path.is_dir()
        else path.read_bytes()
        for path in sorted(place.rglob("*"))
    }


def find_apart(verb: Verb, name: str) -> Apart | None:
    return next((each for each in verb.apart if fnmatch(name, each.pattern)), None)


def plain(verb: Verb, tree: Tree) -> Tree:
    """A tree without what differs by nature."""
    kept: Tree = {}
    for name, content in tree.items():
        apart = find_apart(verb, name)
        if apart is None:
            kept[name] = content
        elif apart.plain is not None:
            try:
                kept[name] = apart.plain(content)
            except (ValueError, KeyError, csv.Error):
                kept[name] = content  # it is damaged, and so differs
    return kept


def find_different(one: Tree, other: Tree) -> set[str]:
    """Names that are not in both, or have other content there."""
    return {name for name in {**one, **other} if one.get(name) != other.get(name)}


def is_final(name: str) -> bool:
    """Whether a file has the name that it is to keep, and so has every folder that it lies in."""
    parts = PurePosixPath(name).parts
    return not any(part.startswith(".") or part.endswith(ASIDE) for part in parts)


def is_whole(name: str, content: bytes) -> bool:
    """Whether a file can be read to its end by what reads such files."""
    try:
        match PurePosixPath(name).suffix:
            case ".json":
                json.loads(content)
            case ".csv":
                first, *rows = csv.reader(io.StringIO(content.decode()), strict=True)
                return content.endswith(b"\n") and all(len(row) == len(first) for row in rows)
            case ".safetensors":
                safetensors.numpy.load(content)
            case ".npy":
                np.load(io.BytesIO(content))
            case _:
                return False
    except (ValueError, csv.Error, safetensors.SafetensorError, EOFError):
        return False
    return True


def find_halves(verb: Verb, there: Tree, undisturbed: Tree, old: Tree) -> list[str]:
    """Names of files that are final and not whole; of what replaces something old, either all or nothing."""
    seen = plain(verb, there)
    if old:
        finals = {name: content for name, content in seen.items() if is_final(name)}
        return [] if finals in (old, undisturbed) else sorted(find_different(finals, old))
    return [
        name
        for name, content in seen.items()
        if is_final(name)
        and not name.endswith("/")
        and content != undisturbed.get(name)
        and not (any(fnmatch(name, each) for each in verb.passing) and is_whole(name, there[name]))
    ]
