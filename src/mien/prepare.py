"""A corpus on disk in, a prepared corpus out: decoded, cropped and heard once, in shards, by several workers.

What is to become a recording is listed first; a shard is a run of that list, made by one worker and there
whole or not at all. So a run that was cut short goes on where it stopped, and what comes out depends neither
on that nor on the number of workers.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from itertools import chain, groupby
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING, Any

from mien.datasets.corpus import SPLITS, LabelledVideo, count_labels
from mien.datasets.entries import CORPORA, Entry, PrepareSettings
from mien.datasets.prepared import PREPARED, SHARD, SHARDS, UNFINISHED_SHARDS, read_told, write_shard
from mien.datasets.recorder import Extractors, record
from mien.errors import CheckpointError, DatasetError, InputError
from mien.spans import COLUMNS_PER_SECOND
from mien.whole import written_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mien.spans import Hook

FORMAT = 1
"""Rises when the same files would give other shards."""

SHARD_COST, FEWEST_SHARDS = 1 << 14, 16
"""Cost of a shard at most, but for one large file: 16,384 stills, minutes of work. A small corpus is cut
finer, so that several workers have something to do, and a large one not: each shard of video keeps two files
open while it is read, and a process may often have no more than 1,024."""

CLIP_COST, BYTES_PER_COST = 64, 1 << 14
"""A sound or video costs as much as so many stills, and one more for so many bytes."""


def prepare(
    corpus: str, data: Path, out: Path, *, settings: PrepareSettings, n_workers: int, hook: Hook
) -> list[str]:
    """Prepares a corpus; how much came out and what was skipped, in lines to be read.

    Finished shards of an earlier run with the same settings are kept; those whose files have changed since
    are made anew.

    Args:
        corpus: One of `CORPORA`.
        data: Folder of the corpus; for `clips`, the CSV table.
        out: Folder for the shards, of this corpus alone.
        settings: What is made.
        n_workers: Processes that work at once; 1: this one. What comes out is the same, to the byte.
        hook: Called with what is done, how far, and how much there is.

    Raises:
        DatasetError: The corpus is not of its form, nothing of it can be used, `out` has something else, or a
            folder of features does not fit the corpus.
        CheckpointError: An extractor is not what its JSON says.
        InputError: A setting is one that this corpus does not heed.
        OSError: The shards cannot be written, as on a full disk; finished ones are kept.
    """
    if n_workers < 1:
        raise InputError(f"workers are {n_workers}; expected 1 or more")
    entries, skipped = _list(corpus, data, settings)
    extractors = Extractors(settings).told
    made_with = {"format": FORMAT, "corpus": corpus, "data": str(data.resolve()), **asdict(settings)}
    for modality in ("face", "speech"):
        made_with[f"{modality}_extractor"] = _digest(extractors.get(modality))
    out.mkdir(parents=True, exist_ok=True)
    _refuse_other(out, made_with)
    common = {"made_with": made_with, **({"extractors": extractors} if extractors else {})}
    tasks = [
        (out / SHARD.format(number), shard, {**common, "made_from": _fingerprint(shard)})
        for number, shard in enumerate(_deal_out(entries))
    ]
    to_do = [task for task in tasks if not _is_made(task[0], task[2])]
    _clear(out, {shard for shard, _, _ in tasks}, keep_whole=not to_do)
    if to_do:
        _make_all(to_do, settings, n_workers, partial(hook, f"preparing {corpus}"), len(entries))
    told = _sum_up(corpus, (shard for shard, _, _ in tasks), skipped)
    with written_whole(out / PREPARED) as aside:
        whole = {"made_with": made_with, "n_shards": len(tasks), **told}
        aside.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return _lines(told)


def _list(corpus: str, data: Path, settings: PrepareSettings) -> tuple[list[Entry], Counter[str]]:
    """What is to become recordings, and what its reader skipped, by reason."""
    if corpus not in CORPORA:
        raise InputError(f"{corpus!r} is no corpus; expected one of {', '.join(CORPORA)}")
    usual = asdict(PrepareSettings())
    for name, value in asdict(settings).items():
        if value != usual[name] and name not in CORPORA[corpus].heeds:
            raise InputError(f"{name} is {value}, which {corpus} does not heed; leave it out")
    if not data.exists():
        raise DatasetError(f"{data} is not there; give the folder of {corpus}, or the table of clips")
    return CORPORA[corpus].entries(data.resolve(), settings)


def _deal_out(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """The entries in shards, in order; those of one medium stay together, so that it is heard once."""
    by_file = groupby(entries, key=lambda entry: entry.files[0] if entry.is_alone else entry.name)
    groups = [list(group) for _, group in by_file]
    costs = [sum(map(_cost, group)) for group in groups]
    most = min(SHARD_COST, sum(costs) // FEWEST_SHARDS)
    shard: list[Entry] = []
    cost = 0
    for of_file, more in zip(groups, costs, strict=True):
        if shard and cost + more > most:
            yield shard
            shard, cost = [], 0
        shard += of_file
        cost += more
    if shard:
        yield shard


def _cost(entry: Entry) -> int:
    if isinstance(entry.content, LabelledVideo):
        return CLIP_COST + len(entry.content.frames)
    if isinstance(entry.content, tuple):
        size = 0
        with suppress(OSError):
            size = entry.files[0].stat().st_size
        return CLIP_COST + size // BYTES_PER_COST
    return 1


def _fingerprint(entries: Iterable[Entry]) -> str:
    """A digest of what a shard is made from: its entries, with size and time of change of their files."""
    digest = sha256()
    for entry in entries:
        digest.update(repr(entry).encode())
        for file in entry.files:
            with suppress(OSError):  # a file that is gone is told of when it is wanted
                stat = file.stat()
                digest.update(f" {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _digest(told: dict[str, Any] | None) -> str | None:
    """A digest of what an extractor told of itself."""
    return None if told is None else sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _refuse_other(out: Path, made_with: Mapping[str, Any]) -> None:
    """Checks that what lies in a folder was made with these settings."""
    wanted = json.loads(json.dumps(made_with))
    for told in filter(None, map(_told, sorted(out.glob(SHARDS)))):
        given = told.get("made_with") or {}
        other = [f"{name} {given.get(name)!r}" for name in wanted if given.get(name) != wanted[name]]
        if other:
            raise DatasetError(
                f"{out} was prepared with {', '.join(other)}; name another folder with --out, or delete it"
            )


def _told(shard: Path) -> dict[str, Any] | None:
    """What a shard tells of itself; None where it is damaged."""
    with suppress(DatasetError):
        return read_told(shard)
    return None


def _is_made(shard: Path, wanted: Mapping[str, Any]) -> bool:
    told = _told(shard) if shard.is_dir() else None
    return told is not None and told.get("made_from") == wanted["made_from"]


def _clear(out: Path, wanted: set[Path], *, keep_whole: bool) -> None:
    """Removes what belongs to no shard, and, where anything is still to be made, that all was."""
    surplus = [shard for shard in out.glob(SHARDS) if shard not in wanted]
    if surplus or not keep_whole:
        (out / PREPARED).unlink(missing_ok=True)
    for shard in chain(surplus, out.glob(UNFINISHED_SHARDS)):
        shutil.rmtree(shard)


def _make_all(
    tasks: Sequence[tuple[Path, list[Entry], dict[str, Any]]],
    settings: PrepareSettings,
    n_workers: int,
    hook: partial[None],
    n_entries: int,
) -> None:
    """Makes shards, in this process or in several."""
    done = n_entries - sum(len(shard) for _, shard, _ in tasks)
    hook(done, n_entries)
    if n_workers == 1:
        for folder, shard, told in tasks:
            make_shard(folder, shard, settings, told)
            done += len(shard)
            hook(done, n_entries)
        return
    n_workers, spawn = min(n_workers, len(tasks)), get_context("spawn")
    with ProcessPoolExecutor(n_workers, mp_context=spawn, initializer=end_with_parent) as pool:
        size_of = {pool.submit(make_shard, f, shard, settings, told): len(shard) for f, shard, told in tasks}
        try:
            for finished in as_completed(size_of):
                finished.result()
                done += size_of[finished]
                hook(done, n_entries)
        except BrokenProcessPool:
            raise DatasetError(
                "a worker was ended from outside, as when memory is short; run again with fewer --workers: "
                "finished shards are kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """Has this process end when the one that started it does, which may be killed and tell nobody."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def make_shard(
    folder: Path, entries: Sequence[Entry], settings: PrepareSettings, told: dict[str, Any]
) -> None:
    """Makes one shard; it says beside its recordings what could not be used of each entry.

    Raises:
        OSError: It cannot be written.
        DatasetError: A folder's features do not fit a recording.
        CheckpointError: An extractor is not what it was.
    """
    notes: dict[str, list[str]] = {}
    extractors = Extractors(settings)
    if extractors.told != told.get("extractors", {}):
        raise CheckpointError("an extractor was changed while it was in use; run again")
    corpus = told["made_with"]["corpus"]

    def note(entry: Entry, reason: str) -> None:
        notes.setdefault(reason, []).append(entry.name)

    made = (
        (recording, entry.files[0] if entry.is_alone else None)
        for entry in entries
        if (recording := record(corpus, entry, settings, partial(note, entry), extractors)) is not None
    )
    write_shard(
        folder,
        made,
        settings.size_px,
        {**told, "corpus": corpus, "size_px": settings.size_px, "notes": notes},
    )


def _sum_up(corpus: str, shards: Iterable[Path], skipped: Counter[str]) -> dict[str, Any]:
    """What all shards have, in figures."""
    counts, labels, splits, notes = Counter[str](), Counter[str](), Counter[str](), Counter(skipped)
    first: dict[str, str] = {}
    for shard in shards:
        told = read_told(shard)
        for row in told["recordings"]:
            counts["recordings"] += 1
            counts["crops"] += row["crops"][1] - row["crops"][0]
            counts["columns"] += row["columns"][1] - row["columns"][0]
            counts["unlabelled recordings"] += not row["stretches"]
            splits[row["split"]] += 1
            labels.update(label for _, _, label in row["stretches"])
        for reason, names in told["notes"].items():
            notes[reason] += len(names)
            first.setdefault(reason, names[0])
    if not counts["recordings"]:
        why = "; ".join(f"{n} × {reason}" for reason, n in sorted(notes.items()))
        raise DatasetError(f"no recording of {corpus} can be used ({why or 'it is empty'}); mend its files")
    return {
        **counts,
        "splits": {split: splits[split] for split in SPLITS if splits[split]},
        "stretches": {name: n for name, n in count_labels(list(labels.elements())).items() if n},
        "skipped": {
            reason: {"count": n, **({"first": first[reason]} if reason in first else {})}
            for reason, n in sorted(notes.items())
            if n
        },
    }


def _lines(told: Mapping[str, Any]) -> list[str]:
    splits = ", ".join(f"{n:,} {split}" for split, n in told["splits"].items())
    labels = ", ".join(f"{name} {n:,}" for name, n in told["stretches"].items())
    minutes = told["columns"] / COLUMNS_PER_SECOND / 60
    n_recordings, n_crops = told["recordings"], told["crops"]
    return [
        f"{n_recordings:,} recordings: {splits}; {n_crops:,} crops; {minutes:,.1f} min of sound",
        f"stretches: {labels or 'none'}; {told['unlabelled recordings']:,} recordings without a label",
        *(
            f"{each['count']:,} × {reason}" + (f" (first: {each['first']})" if "first" in each else "")
            for reason, each in told["skipped"].items()
        ),
    ]
