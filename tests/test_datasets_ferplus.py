"""FER+: columns become expressions by name, unusable rows and repeats are dropped, repeats stay together."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

from corpora_pictures import Image, blobs, nearly
from mien.datasets.corpus import SPLITS, Stills
from mien.datasets.ferplus import FILE, read_ferplus
from mien.datasets.likeness import NEAR_BITS, perceptual_hashes
from mien.errors import DatasetError, MissingExtraError
from mien.expressions import EXPRESSIONS

NAMES = {
    "neutral": "Neutral",
    "happiness": "Happiness",
    "surprise": "Surprise",
    "sadness": "Sadness",
    "anger": "Anger",
    "disgust": "Disgust",
    "fear": "Fear",
    "contempt": "Other",
}
COLUMNS = (*NAMES, "unknown", "NF")
SHARED = Path(__file__).parents[2] / "shared" / "data" / "ferplus"
with_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="FER+ is not on this machine")


def webp(image: Image) -> bytes:
    encoded, content = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])  # above 100: lossless
    assert encoded
    return bytes(content)


def votes(**counts: int) -> list[int]:
    assert counts.keys() <= set(COLUMNS)
    return [counts.get(name, 0) for name in COLUMNS]


def write(folder: Path, rows: list[tuple[Image, list[int], str]], **columns: list[Any]) -> Path:
    """The folder, which now holds rows (picture, votes, split) in FER+'s form, numbered from 100."""
    table = {
        "webp": [webp(image) for image, _, _ in rows],
        "votes": [counts for _, counts, _ in rows],
        "split": [split for _, _, split in rows],
        "fer_index": list(range(100, 100 + len(rows))),
        "fer2013_hard": [0] * len(rows),
    }
    pl.DataFrame(table | columns).write_parquet(folder / FILE)
    return folder


def read_votes(folder: Path, *counts: list[int], split: str = "val") -> Stills:
    return read_ferplus(write(folder, [(blobs(k), each, split) for k, each in enumerate(counts)]))


def test_every_column_becomes_its_expression_by_name(tmp_path: Path) -> None:
    stills = read_votes(tmp_path, *(votes(**{name: 10}) for name in COLUMNS))
    assert stills.labels == tuple(NAMES.values())
    assert stills.targets.dtype == np.float32
    assert [EXPRESSIONS[k] for k in stills.targets.argmax(1)] == list(NAMES.values())
    assert stills.targets.max(1).tolist() == [1.0] * 8
    assert stills.names == tuple(f"fer{k}" for k in range(100, 108))
    assert stills.dropped["most votes unknown or no face"] == 2


def test_pictures_come_back_to_the_pixel(tmp_path: Path) -> None:
    stills = read_votes(tmp_path, votes(NF=10), votes(fear=10), votes(anger=10))
    assert stills.images.shape == (2, 48, 48)
    assert np.array_equal(stills.images, np.stack([blobs(1), blobs(2)]))


def test_targets_are_shares_of_the_expression_votes(tmp_path: Path) -> None:
    stills = read_votes(tmp_path, votes(neutral=3, contempt=1, unknown=2, NF=2))
    shares = dict(zip(EXPRESSIONS, stills.targets[0].tolist(), strict=True))
    assert {name: share for name, share in shares.items() if share} == {"Neutral": 0.75, "Other": 0.25}


@pytest.mark.parametrize("column", ["unknown", "NF"])
def test_rows_that_most_call_unknown_or_no_face_are_dropped(column: str, tmp_path: Path) -> None:
    stills = read_votes(
        tmp_path,
        votes(neutral=4, happiness=1, **{column: 5}),
        votes(neutral=4, **{column: 4}),  # a tie goes to the expression
        votes(fear=6, **{column: 1}),
    )
    assert stills.names == ("fer101", "fer102")
    assert stills.dropped["most votes unknown or no face"] == 1


def test_ties_go_to_the_earlier_column_of_the_file(tmp_path: Path) -> None:
    stills = read_votes(
        tmp_path,
        votes(sadness=5, surprise=5),  # Surprise stands later among the expressions
        votes(contempt=3, fear=3, anger=3),
        votes(disgust=4, happiness=4, unknown=2),
    )
    assert stills.labels == ("Surprise", "Anger", "Happiness")


def test_a_majority_is_more_than_half_of_all_votes(tmp_path: Path) -> None:
    stills = read_votes(
        tmp_path,
        votes(fear=5, unknown=4, NF=1),
        votes(fear=6, NF=4),
        votes(anger=4, fear=3),
        votes(anger=4, NF=3),
    )
    assert stills.majority.tolist() == [False, True, True, True]


def test_train_rows_that_repeat_a_val_row_are_dropped(tmp_path: Path) -> None:
    fear = votes(fear=10)
    rows = [
        (blobs(0), fear, "train"),
        (nearly(blobs(9), 1), fear, "train"),
        (blobs(9), votes(neutral=10), "train"),  # whatever its label
        (nearly(blobs(9), 2), votes(NF=10), "train"),
        (blobs(9), fear, "val"),
        (nearly(blobs(9), 3), fear, "val"),
    ]
    stills = read_ferplus(write(tmp_path, rows))
    assert stills.names == ("fer100", "fer104", "fer105")
    assert stills.dropped == {
        "most votes unknown or no face": 1,
        "train row repeats a val row": 2,
        "train row repeats a choose row": 0,
    }


def repeated(folder: Path) -> Path:
    """Forty pictures of train, each three times, and five of val."""
    fear = votes(fear=10)
    rows = [
        (blobs(k) if copy == 0 else nearly(blobs(k), 40 * copy + k), fear, "train")
        for copy in range(3)
        for k in range(40)
    ]
    return write(folder, rows + [(blobs(100 + k), fear, "val") for k in range(5)])


def test_a_tenth_of_train_is_held_out_and_repeats_stay_together(tmp_path: Path) -> None:
    stills = read_ferplus(repeated(tmp_path))
    assert len(stills.names) == 125
    splits = stills.splits[:120].reshape(3, 40)
    assert (splits == splits[0]).all()
    assert set(splits[0]) == {"train", "choose"}
    assert 0.1 * 120 <= (splits == "choose").sum() <= 0.1 * 120 + 2
    assert (stills.splits[120:] == "val").all()


def fading(n: int) -> list[Image]:
    """A picture that turns into another one, in steps so small that neighbours are repeats."""
    first, last = blobs(7).astype(np.float64), blobs(8).astype(np.float64)
    return [np.asarray(first + (last - first) * k / (n - 1), np.uint8) for k in range(n)]


@pytest.mark.parametrize("seed", range(4))
def test_no_train_row_is_near_a_choose_row_even_in_a_chain_of_likeness(seed: int, tmp_path: Path) -> None:
    chain = fading(60)
    rows = [(image, votes(fear=10), "train") for image in (*chain, *(blobs(20 + k) for k in range(20)))]
    stills = read_ferplus(write(tmp_path, rows), seed=seed)
    hashes = perceptual_hashes(stills.images)
    train, choose = hashes[stills.splits == "train"], hashes[stills.splits == "choose"]
    assert len(train)
    assert len(choose) >= 8
    assert np.bitwise_count(train[:, None] ^ choose).min() > NEAR_BITS
    assert len(stills.names) + stills.dropped["train row repeats a choose row"] == 80


def test_the_seed_alone_decides_what_is_held_out(tmp_path: Path) -> None:
    folder = repeated(tmp_path)
    first, again, other = read_ferplus(folder), read_ferplus(folder), read_ferplus(folder, seed=1)
    assert np.array_equal(first.splits, again.splits)
    assert not np.array_equal(first.splits, other.splits)
    assert np.array_equal(first.splits == "val", other.splits == "val")


ROW = (blobs(0), votes(fear=10), "train")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"votes": [[1] * 9]}, r"row 0: votes are \[1, .*; expected 10"),
        ({"votes": [[0] * 10]}, "expected 10 counts, not all 0"),
        ({"votes": [[0.5, 0.5, *[0.0] * 8]]}, "expected 10 counts, not all 0"),
        ({"votes": [[-1, 9, *[0] * 8]]}, "expected 10 counts, not all 0"),
        ({"votes": [None]}, "expected 10 counts, not all 0"),
        ({"split": ["test"]}, "row 0: split is 'test'; expected 'train' or 'val'"),
        ({"webp": [webp(blobs(0)[:40])]}, "row 0: expected a 48 x 48 grey WebP image"),
        ({"webp": [b""]}, "row 0: expected a 48 x 48 grey WebP image"),
        ({"webp": [None]}, "row 0: expected a 48 x 48 grey WebP image"),
        ({"webp": ["face.webp"]}, "row 0: expected a 48 x 48 grey WebP image"),
        ({"webp": [b"RIFF"]}, "row 0: expected a 48 x 48 grey WebP image"),
    ],
)
def test_rows_of_another_form(columns: dict[str, list[Any]], match: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=match):
        read_ferplus(write(tmp_path, [ROW], **columns))


def test_a_file_without_rows(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no rows; fetch it again"):
        read_ferplus(write(tmp_path, []))


def test_files_of_another_form(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"ferplus48\.parquet is not in"):
        read_ferplus(tmp_path)
    (tmp_path / FILE).write_bytes(b"emotion,pixels\n" * 20)
    with pytest.raises(DatasetError, match="not a whole Parquet file") as caught:
        read_ferplus(tmp_path)
    assert "\n" not in str(caught.value)
    pl.DataFrame({"votes": [votes(fear=1)], "split": ["val"]}).write_parquet(tmp_path / FILE)
    with pytest.raises(DatasetError, match="lacks the columns fer_index, webp"):
        read_ferplus(tmp_path)


def test_without_polars_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match=r"mien\[table\]"):
        read_ferplus(tmp_path)


@with_shared
def test_val_of_the_real_corpus(tmp_path: Path) -> None:
    table = pl.read_parquet(SHARED / FILE)
    table.filter(pl.col("split") == "val").write_parquet(tmp_path / FILE)
    stills = read_ferplus(tmp_path)
    assert len(stills.labels) == 3_553
    assert set(stills.labels) == set(EXPRESSIONS)
    assert stills.dropped["most votes unknown or no face"] == 26
    np.testing.assert_allclose(stills.targets.sum(1), 1, atol=1e-6)
    assert np.isfinite(stills.targets).all()


@with_shared
@pytest.mark.slow
def test_the_whole_of_the_real_corpus() -> None:
    stills = read_ferplus(SHARED)
    parts = {split: stills.part(split) for split in SPLITS}
    assert len(parts["val"].labels) == 3_553
    assert len(stills.names) + sum(stills.dropped.values()) == 32_140
    assert 0.08 < len(parts["choose"].names) / (len(parts["choose"].names) + len(parts["train"].names)) < 0.12
    held = set(parts["val"].images.reshape(3_553, -1).view("V2304").ravel().tolist())
    for split in ("train", "choose"):
        pictures = parts[split].images
        assert held.isdisjoint(pictures.reshape(len(pictures), -1).view("V2304").ravel().tolist())
