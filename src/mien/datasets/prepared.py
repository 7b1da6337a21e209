"""A prepared corpus on disk: what `mien prepare` writes and training reads, decoded once.

    <folder>/prepared.json                          settings, counts and what was skipped; written last
    <folder>/shard-00000/recordings.json            the recordings of this shard, in order
    <folder>/shard-00000/crops.npy                  [crops, size, size] uint8, grey
    <folder>/shard-00000/crop_times.npy             [crops] float64, seconds on each file's own clock
    <folder>/shard-00000/columns.npy                [columns, 64] float32, log-mel, 100 columns a second
    <folder>/shard-00000/face_features.npy          [crops, D] float32, if there was an extractor of one's own
    <folder>/shard-00000/speech_features.npy        [steps, D] float32, the same of sound

Arrays are mapped, not read, so that a corpus may be larger than memory. A shard appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.datasets.corpus import check_told
from mien.errors import DatasetError
from mien.plain import read_array, read_json
from mien.spans import Span
from mien.speech import N_MELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from jaxtyping import Float32, Float64, Shaped, UInt8

PREPARED, RECORDINGS = "prepared.json", "recordings.json"
CROPS, CROP_TIMES, COLUMNS = "crops.npy", "crop_times.npy", "columns.npy"
FACE_FEATURES, SPEECH_FEATURES = "face_features.npy", "speech_features.npy"
SHARD = "shard-{:05d}"
SHARDS = "shard-[0-9]*"
UNFINISHED_SHARDS = ".shard-*.part"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSpan:
    """A stretch of a recording that shows one expression."""

    span: Span
    label: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """One person in one file: faces, sound, and when which expression is shown."""

    name: str
    """Unique in its corpus."""
    corpus: str
    speaker: str
    """Who is seen or heard, unique over corpora; the video or file where nobody says who."""
    split: str
    stretches: tuple[LabelledSpan, ...]
    """In order of time, none over another; empty: not labelled."""
    frame_step: float | None
    """Seconds between frames where every frame was labelled by itself; None: a label is a stretch's."""
    crops: UInt8[np.ndarray, "crops size size"]
    """Grey faces; none where nobody is seen."""
    crop_times: Float64[np.ndarray, "crops"]
    """Rising."""
    columns: Float32[np.ndarray, "columns 64"]
    """Log-mel; column j is centred on (j + 0.5) / 100 s; none without sound."""
    face_features: Float32[np.ndarray, "crops D"] | None = None
    """Of each crop, by the extractor of faces; None where there was no such extractor."""
    speech_features: Float32[np.ndarray, "steps D"] | None = None
    """By the extractor of speech; step k is of the sound from k / rate to (k + 1) / rate."""
    shares: Mapping[str, float] | None = None
    """Of votes, by expression, where people voted on a still; None: the label is all that is known."""
    extractors: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each extractor told of itself, by modality: `face` and `speech`."""


def write_shard(
    folder: Path, made: Iterable[tuple[Recording, Path | None]], size_px: int, told: dict[str, Any]
) -> None:
    """Writes recordings as one shard, in the place of what was there, as they come: one at a time is held.

    Columns that follow each other as one array, as of two people in one video, are written once.

    Args:
        folder: Of the shard.
        made: Each recording with the file that it is of; None where others are in that file too.
        size_px: Side of all crops.
        told: What else `recordings.json` says, `extractors` among it; looked at last but for those, when all
            recordings were taken.

    Raises:
        OSError: It cannot be written; nothing of it is left.
    """
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        rows = _write_arrays(aside, made, size_px, told.get("extractors", {}))
        text = json.dumps({**told, "recordings": rows}, ensure_ascii=False, separators=(",", ":"))
        (aside / RECORDINGS).write_text(text, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def read_prepared(folder: Path) -> list[Recording]:
    """The recordings of a prepared corpus, or of all prepared corpora that lie side by side in a folder.

    Raises:
        DatasetError: There is none, one was not finished or is damaged, a recording is there twice, or a
            speaker or a file stands in two splits.
    """
    folders = [folder] if (folder / PREPARED).is_file() else _prepared_in(folder)
    recordings: list[Recording] = []
    where: dict[tuple[str, str], Path] = {}
    split_of: dict[tuple[str, str], str] = {}
    for each in folders:
        for recording, file in _read_corpus(each):
            key = (recording.corpus, recording.name)
            if key in where:
                raise DatasetError(f"{' '.join(key)} is in {where[key]} and in {each}; keep one of them")
            where[key] = each
            for kind, shared in (("speaker", recording.speaker), ("file", file)):
                if shared is None:
                    continue
                split = split_of.setdefault((kind, shared), recording.split)
                if split != recording.split:
                    raise DatasetError(
                        f"{kind} {shared!r} is in split {split!r} and, in {each.name}, in "
                        f"{recording.split!r}; splits must share neither speakers nor files"
                    )
            recordings.append(recording)
    return recordings


def has_part(recording: Recording, modality: str) -> bool:
    """Whether a recording has anything of what a network of that modality looks at or listens to."""
    seen, heard = len(recording.crops) > 0, len(recording.columns) > 0
    return {"face": seen, "speech": heard, "both": seen or heard}[modality]


def with_features(recordings: Iterable[Recording], widths: Mapping[str, int]) -> list[Recording]:
    """The recordings, all of which have features: those that are not seen, or not heard, an empty array.

    Args:
        recordings: Of any corpora.
        widths: How wide features are expected to be, by modality: `face` and `speech`.

    Raises:
        DatasetError: A recording lacks features, or they are of another width or another extractor.
    """
    featured = list(recordings)
    for modality, width in widths.items():
        told = _one_extractor(featured, modality, width)
        empty: dict[str, Any] = {f"{modality}_features": np.zeros((0, width), np.float32)}
        featured = [
            each
            if modality in each.extractors
            else replace(each, **empty, extractors={**each.extractors, modality: told})
            for each in featured
        ]
    return featured


def _one_extractor(recordings: Iterable[Recording], modality: str, width: int) -> dict[str, Any]:
    """What the extractor told of itself whose features all recordings have that are seen, or heard."""
    first: Recording | None = None
    for recording in recordings:
        if not len(recording.crops if modality == "face" else recording.columns):
            continue
        told, where = recording.extractors.get(modality), f"{recording.corpus} {recording.name}"
        if told is None:
            mend = f"prepare it with --{modality}-extractor"
            raise DatasetError(f"{where} has no features of {modality}; {mend}")
        if told["n_features"] != width:
            raise DatasetError(
                f"{where} has {told['n_features']} features of {modality}, the network takes {width}; "
                "set its n_features to theirs"
            )
        first = first or recording
        if told != first.extractors[modality]:
            other = f"{first.corpus} {first.name}"
            raise DatasetError(
                f"{where} and {other} have features of {modality} by two extractors; prepare all with one"
            )
    if first is None:
        raise DatasetError(f"no recording has anything that features of {modality} could be of")
    return first.extractors[modality]


def is_prepared(folder: Path) -> bool:
    """Whether a folder is, or holds, a corpus that `mien prepare` wrote or began to write."""
    names = (PREPARED, SHARDS, UNFINISHED_SHARDS)
    return any(any(folder.glob(f"{depth}{name}")) for name in names for depth in ("", "*/"))


def read_told(shard: Path) -> dict[str, Any]:
    """All that a shard's `recordings.json` says.

    Raises:
        DatasetError: It is absent or damaged.
    """
    try:
        told = read_json((shard / RECORDINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise _damaged(shard, failure) from None
    if not isinstance(told, dict) or not isinstance(told.get("recordings"), list):
        raise _damaged(shard, f"{RECORDINGS} has no recordings")
    return told


def _prepared_in(folder: Path) -> list[Path]:
    """The prepared corpora that lie in a folder."""
    if _is_begun(folder):
        raise _unfinished(folder)
    found = []
    for each in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (each / PREPARED).is_file():
            found.append(each)
        elif _is_begun(each):
            raise _unfinished(each)
    if not found:
        raise DatasetError(f"{folder} is no prepared corpus and holds none; run  mien prepare  first")
    return found


def _is_begun(folder: Path) -> bool:
    return any(folder.glob(SHARDS)) or any(folder.glob(UNFINISHED_SHARDS))


def _read_corpus(folder: Path) -> Iterator[tuple[Recording, str | None]]:
    """The recordings of one prepared corpus, each with the file that it is of."""
    try:
        n_shards = index(read_json((folder / PREPARED).read_text(encoding="utf-8"))["n_shards"])
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise _damaged(folder / PREPARED, failure) from None
    for number in range(n_shards):
        shard = folder / SHARD.format(number)
        try:
            yield from _read_shard(shard)
        except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AssertionError) as failure:
            raise _damaged(shard, failure) from None


def _read_shard(shard: Path) -> Iterator[tuple[Recording, str | None]]:
    told = read_told(shard)
    check_told(told)
    crops = _mapped(shard / CROPS, np.uint8, (told["size_px"], told["size_px"]))
    times = read_array(shard / CROP_TIMES)
    columns = _mapped(shard / COLUMNS, np.float32, (N_MELS,))
    if times.dtype != np.float64 or times.shape != crops.shape[:1]:
        raise ValueError(f"{CROP_TIMES} does not fit {CROPS}")
    nothing = columns[:0]
    extractors = told.get("extractors", {})
    features = {
        modality: _mapped(shard / file, np.float32, (extractors[modality]["n_features"],))
        for modality, file in (("face", FACE_FEATURES), ("speech", SPEECH_FEATURES))
        if modality in extractors
    }
    if len(features.get("face", crops)) != len(crops):
        raise ValueError(f"{FACE_FEATURES} does not fit {CROPS}")
    for row in told["recordings"]:
        (first, last), (begin, end), steps = row["crops"], row["columns"], row.get("steps", [0, 0])
        n_steps = len(features["speech"]) if "speech" in features else 0
        if not (0 <= first <= last <= len(crops) and 0 <= begin <= end <= len(columns)):
            raise ValueError(f"{row['name']} goes beyond the arrays")
        if not 0 <= steps[0] <= steps[1] <= n_steps:
            raise ValueError(f"{row['name']} goes beyond {SPEECH_FEATURES}")
        recording = Recording(
            name=row["name"],
            corpus=told["corpus"],
            speaker=row["speaker"],
            split=row["split"],
            stretches=tuple(
                LabelledSpan(span=Span(since, until), label=label) for since, until, label in row["stretches"]
            ),
            frame_step=row["frame_step"],
            crops=crops[first:last],
            crop_times=times[first:last],
            columns=columns[begin:end] if begin < end else nothing,
            face_features=features["face"][first:last] if "face" in features else None,
            speech_features=features["speech"][slice(*steps)] if "speech" in features else None,
            shares=row.get("shares"),
            extractors=extractors,
        )
        yield recording, row["file"]


def _mapped(path: Path, kind: type, row: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    """An array on disk, mapped; where it has no rows, as files that stay open are few, not even that."""
    array = read_array(path, mapped=True)
    if array.dtype != kind or array.shape[1:] != row:
        raise ValueError(f"{path.name} is {array.dtype} {array.shape}")
    return np.asarray(array) if len(array) else np.zeros(array.shape, kind)


def _write_arrays(
    folder: Path,
    made: Iterable[tuple[Recording, Path | None]],
    size_px: int,
    extractors: dict[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """The recordings as `recordings.json` has them; their arrays are written."""
    rows = []
    last: list[np.ndarray | None] = [None, None]
    with ExitStack() as files:
        crops = files.enter_context(_GrowingFile(folder / CROPS, np.uint8, (size_px, size_px)))
        times = files.enter_context(_GrowingFile(folder / CROP_TIMES, np.float64, ()))
        columns = files.enter_context(_GrowingFile(folder / COLUMNS, np.float32, (N_MELS,)))
        features = {
            modality: files.enter_context(
                _GrowingFile(folder / file, np.float32, (extractors[modality]["n_features"],))
            )
            for modality, file in (("face", FACE_FEATURES), ("speech", SPEECH_FEATURES))
            if modality in extractors
        }
        heard = steps = [0, 0]
        for recording, file in made:
            if recording.columns is not last[0]:
                last[0], heard = recording.columns, columns.append(recording.columns)
            times.append(recording.crop_times)
            row: dict[str, Any] = {
                "name": recording.name,
                "speaker": recording.speaker,
                "split": recording.split,
                "file": None if file is None else str(file),
                "stretches": [[s.span.start, s.span.end, s.label] for s in recording.stretches],
                "frame_step": recording.frame_step,
                "crops": crops.append(recording.crops),
                "columns": heard,
            }
            if recording.shares is not None:
                row["shares"] = dict(recording.shares)
            if "face" in features:
                assert recording.face_features is not None
                assert len(recording.face_features) == len(recording.crops)
                features["face"].append(recording.face_features)
            if "speech" in features:
                assert recording.speech_features is not None
                if recording.speech_features is not last[1]:
                    last[1] = recording.speech_features
                    steps = features["speech"].append(recording.speech_features)
                row["steps"] = steps
            rows.append(row)
    return rows


class _GrowingFile:
    """A .npy file to which rows are appended; how many there are is written into its head at the end."""

    def __init__(self, path: Path, kind: type, row: tuple[int, ...]) -> None:
        self.path, self.kind, self.row = path, np.dtype(kind), row
        self.n_rows = 0

    def __enter__(self) -> Self:
        self.file = self.path.open("wb")
        self._write_head()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.file:
            if error is None:
                self.file.seek(0)
                self._write_head()

    def append(self, rows: Shaped[np.ndarray, "..."]) -> list[int]:
        """Number of the first of these rows in the file, and of the one after them."""
        assert rows.dtype == self.kind, f"{self.path.name} cannot take {rows.dtype}"
        assert rows.shape[1:] == self.row, f"{self.path.name} cannot take {rows.shape}"
        self.file.write(np.ascontiguousarray(rows).data)
        first, self.n_rows = self.n_rows, self.n_rows + len(rows)
        return [first, self.n_rows]

    def _write_head(self) -> None:
        """In the head numpy leaves room for as many rows as there may be: its length stays as it is."""
        shape = (self.n_rows, *self.row)
        told = {"descr": np.lib.format.dtype_to_descr(self.kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, told)


def _unfinished(folder: Path) -> DatasetError:
    return DatasetError(f"{folder} was not prepared to its end; run the same  mien prepare  again")


def _damaged(place: Path, failure: object) -> DatasetError:
    reason = " ".join(str(failure).split())[:99]
    return DatasetError(f"{place} is damaged ({reason}); delete it and run the same  mien prepare  again")
