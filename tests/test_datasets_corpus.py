"""What corpora return: parts by split, labels by name, and no speaker on two sides."""

from collections import Counter
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets.corpus import (
    SPLITS,
    Clip,
    Stills,
    count_labels,
    deal,
    find_recordings,
    hold_out,
    labelled,
    refuse_shared_speakers,
)
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS


def some_stills() -> Stills:
    splits = ["train", "val", "train", "choose"]
    return Stills(
        names=("a", "b", "c", "d"),
        images=np.arange(4, dtype=np.uint8).repeat(4).reshape(4, 2, 2),
        targets=np.eye(8, dtype=np.float32)[:4],
        labels=EXPRESSIONS[:4],
        majority=np.array([True, False, False, True]),
        splits=np.array(splits),
        dropped={"odd": 2},
    )


def clip(speaker: str, split: str, label: str | None = "Fear", *, name: str = "") -> Clip:
    return Clip(path=Path(f"{name or speaker}.wav"), label=label, speaker=speaker, split=split)


def test_a_part_keeps_what_belongs_together() -> None:
    part = some_stills().part("train")
    assert part.names == ("a", "c")
    assert part.images[:, 0, 0].tolist() == [0, 2]
    assert part.targets.argmax(1).tolist() == [0, 2]
    assert part.labels == ("Neutral", "Disgust")
    assert part.majority.tolist() == [True, False]
    assert part.splits.tolist() == ["train", "train"]
    assert part.dropped == {"odd": 2}


def test_a_part_that_is_empty() -> None:
    with pytest.raises(DatasetError, match="no still in split 'test'; this corpus has choose, train, val"):
        some_stills().part("test")


def test_names_that_no_split_or_expression_has() -> None:
    with pytest.raises(DatasetError, match=r"a\.wav: label 'happy' is none of Neutral"):
        clip("a", "train", "happy")
    with pytest.raises(DatasetError, match=r"a\.wav: split 'test' is none of train, choose, val"):
        clip("a", "test")
    assert clip("a", "train", None).label is None


@pytest.mark.parametrize(
    ("start", "end"), [(-0.1, None), (1.0, 1.0), (2.0, 1.0), (nan, None), (inf, None), (0.0, nan), (0, -1)]
)
def test_a_stretch_that_is_none(start: float, end: float | None) -> None:
    with pytest.raises(DatasetError, match=r"a\.wav: stretch from .*; expected 0 <= start < end"):
        Clip(path=Path("a.wav"), label=None, speaker="a", split="val", start=start, end=end)


def test_labelled_clips_of_a_split_come_with_their_labels_in_order() -> None:
    clips = [
        clip("a", "train"),
        clip("b", "val", "Anger"),
        clip("c", "train", None),
        clip("d", "train", "Other"),
    ]
    assert labelled(clips, "train") == [(clips[0], "Fear"), (clips[3], "Other")]
    with pytest.raises(DatasetError, match="no labelled clip in split 'choose'; these have train, val"):
        labelled(clips, "choose")
    with pytest.raises(DatasetError, match="these have none at all"):
        labelled(clips[2:3], "train")


def test_shared_speakers_are_refused_and_named() -> None:
    apart = [clip("a", "train"), clip("a", "train"), clip("b", "choose"), clip("c", "val")]
    refuse_shared_speakers(apart)
    refuse_shared_speakers([])
    with pytest.raises(DatasetError, match="speaker 'b' is in split 'choose' and in 'val'"):
        refuse_shared_speakers([*apart, clip("b", "val", name="other")])


def test_shared_files_are_refused_and_named() -> None:
    talk = [clip("a", "train", name="talk"), clip("b", "train", name="talk")]
    refuse_shared_speakers(talk)
    with pytest.raises(DatasetError, match=r"file '.*talk\.wav' is in split 'train' and in 'val'"):
        refuse_shared_speakers([*talk, clip("c", "val", name="talk")])
    with pytest.raises(DatasetError, match=r"talk\.wav' is in split 'train' and in 'val'"):
        refuse_shared_speakers([*talk, clip("c", "val", name="elsewhere/../talk")])


@given(st.sets(st.text(), min_size=3, max_size=40), st.integers(0, 3))
def test_groups_are_dealt_out_whatever_their_order_and_none_is_left_empty(
    groups: set[str], seed: int
) -> None:
    dealt = deal(sorted(groups), choose=0.1, val=0.2, seed=seed)
    assert dealt == deal(sorted(groups, reverse=True), choose=0.1, val=0.2, seed=seed)
    assert dealt.keys() == groups
    counts = Counter(dealt.values())
    assert counts["choose"] == max(1, round(0.1 * len(groups)))
    assert counts["val"] == max(1, round(0.2 * len(groups)))
    assert counts["train"] > 0


def test_another_seed_deals_otherwise_and_the_same_one_for_ever() -> None:
    groups = [f"speaker {n}" for n in range(10)]
    assert deal(groups, choose=0.1, val=0.1) != deal(groups, choose=0.1, val=0.1, seed=1)
    held_out = {name: split for name, split in deal(groups, choose=0.1, val=0.1).items() if split != "train"}
    assert held_out == {"speaker 2": "choose", "speaker 0": "val"}


def test_too_few_to_deal_out() -> None:
    with pytest.raises(DatasetError, match="2 speakers or files cannot be dealt out to train, choose, val"):
        deal(["a", "b", "a"], choose=0.1, val=0.1)
    assert sorted(deal("abc", choose=0.1, val=0.1).values()) == sorted(SPLITS)


def test_recordings_come_in_order_and_in_one_format(tmp_path: Path) -> None:
    for name in ("b.wav", "a.flac", "c.txt", "a.b.wav"):
        (tmp_path / name).touch()
    found = find_recordings(tmp_path, "*", (".flac", ".wav"))
    assert [path.name for path in found] == ["a.b.wav", "a.flac", "b.wav"]
    (tmp_path / "a.wav").touch()
    with pytest.raises(DatasetError, match=r"a\.flac is there as \.wav too; keep one of the two"):
        find_recordings(tmp_path, "*", (".flac", ".wav"))


def test_a_tenth_is_held_out_whatever_the_order() -> None:
    names = [f"video{k}" for k in range(40)]
    held = hold_out(names, 3)
    assert len(held) == 4
    assert held < set(names)
    assert hold_out([*reversed(names), *names], 3) == held != hold_out(names, 4)
    assert [len(hold_out(names[:n])) for n in (1, 2, 5, 15)] == [0, 1, 1, 2]


def test_labels_are_counted_in_the_order_of_the_expressions() -> None:
    counts = count_labels(["Other", "Fear", "Fear"])
    assert tuple(counts) == EXPRESSIONS
    assert {name: n for name, n in counts.items() if n} == {"Fear": 2, "Other": 1}
