"""FER+: FER2013's 48 x 48 grey faces with ten crowd votes each, from one Parquet file, as `Stills`.

Rows whose most-voted column is `unknown` or `NF` are dropped. The target is the share of the eight expression
votes; the label the largest of them, ties to the earlier column. Train rows that repeat a row of val or of
choose are dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mien.datasets.corpus import CHOOSE_SHARE, Stills, read_parquet
from mien.datasets.likeness import NEAR_BITS, near_any, perceptual_hashes
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS, FERPLUS, position

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import UInt8, UInt64

FILE = "ferplus48.parquet"
NOT_EXPRESSIONS = ("unknown", "NF")
COLUMNS = (*FERPLUS, *NOT_EXPRESSIONS)
"""The ten vote columns in the file's order."""


def read_ferplus(folder: Path, *, seed: int = 0) -> Stills:
    """The faces of FER+ with vote shares and splits.

    Args:
        folder: Holds `ferplus48.parquet`.
        seed: Decides which tenth of train is held out as `choose`.

    Raises:
        DatasetError: The file is absent or not of FER+'s form.
    """
    table = _read_table(folder / FILE)
    votes = np.array(table["votes"], dtype=np.int64)
    images = np.stack([_decode(data, i) for i, data in enumerate(table["webp"])])
    splits = np.array(table["split"], dtype="<U6")
    unusable = votes.argmax(1) >= len(FERPLUS)
    hashes = perceptual_hashes(images)
    repeats = (splits == "train") & near_any(hashes, hashes[splits == "val"])
    _hold_out(splits, hashes, seed)
    parted = (splits == "train") & ~repeats & near_any(hashes, hashes[splits == "choose"])
    kept = np.flatnonzero(~unusable & ~repeats & ~parted)
    eight = votes[kept, : len(FERPLUS)]
    targets = np.zeros((len(kept), len(EXPRESSIONS)), np.float32)
    targets[:, [position(name) for name in FERPLUS.values()]] = eight / eight.sum(1, keepdims=True)
    names_in_order = list(FERPLUS.values())
    return Stills(
        names=tuple(f"fer{table['fer_index'][i]}" for i in kept),
        images=images[kept],
        targets=targets,
        labels=tuple(names_in_order[i] for i in eight.argmax(1)),
        majority=2 * eight.max(1) > votes[kept].sum(1),
        splits=splits[kept],
        dropped={
            "most votes unknown or no face": int(unusable.sum()),
            "train row repeats a val row": int((repeats & ~unusable).sum()),
            "train row repeats a choose row": int((parted & ~unusable).sum()),
        },
    )


def _hold_out(splits: np.ndarray, hashes: UInt64[np.ndarray, "stills"], seed: int) -> None:
    """Turns a tenth of train into `choose`, in place, the repeats of a picture together as far as they go."""
    train = np.flatnonzero(splits == "train")
    groups: dict[int, list[int]] = {}
    for i in train.tolist():
        groups.setdefault(_group(hashes[i], hashes[train]), []).append(i)
    keys = sorted(groups)
    wanted = CHOOSE_SHARE * len(train)
    taken = 0
    for k in np.random.default_rng(seed).permutation(len(keys)):
        if taken >= wanted:
            break
        splits[groups[keys[k]]] = "choose"
        taken += len(groups[keys[k]])


def _group(one: np.uint64, hashes: UInt64[np.ndarray, "stills"]) -> int:
    """The smallest hash among those near to `one`: the same for repeats that are all near to each other."""
    return int(hashes[np.bitwise_count(hashes ^ one) <= NEAR_BITS].min())


def _decode(data: object, row: int) -> UInt8[np.ndarray, "48 48"]:
    image = None
    if isinstance(data, bytes) and data:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None or image.shape != (48, 48):
        raise DatasetError(f"{FILE} row {row}: expected a 48 x 48 grey WebP image")
    return image


def _read_table(path: Path) -> dict[str, list[Any]]:
    rows = read_parquet(path, {"webp", "votes", "split", "fer_index"})
    if not rows["webp"]:
        raise DatasetError(f"{path.name} has no rows; fetch it again")
    for row, (votes, split) in enumerate(zip(rows["votes"], rows["split"], strict=True)):
        counts = isinstance(votes, list) and all(isinstance(each, int) and each >= 0 for each in votes)
        if not counts or len(votes) != len(COLUMNS) or sum(votes) == 0:
            raise DatasetError(
                f"{path.name} row {row}: votes are {votes}; expected {len(COLUMNS)} counts, not all 0"
            )
        if split not in ("train", "val"):
            raise DatasetError(f"{path.name} row {row}: split is {split!r}; expected 'train' or 'val'")
    return rows
