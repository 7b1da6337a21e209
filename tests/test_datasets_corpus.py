"""What corpora return: parts by split, labels by name, and no speaker on two sides."""

from pathlib import Path

import numpy as np
import pytest

from mien.datasets.corpus import Stills, Utterance, count_labels, refuse_shared_speakers
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


def utterance(speaker: str, split: str, label: str = "Fear") -> Utterance:
    return Utterance(path=Path(f"{speaker}.wav"), label=label, speaker=speaker, split=split)


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
        utterance("a", "train", "happy")
    with pytest.raises(DatasetError, match=r"a\.wav: split 'test' is none of train, choose, val"):
        utterance("a", "test")


def test_shared_speakers_are_refused_and_named() -> None:
    apart = [
        utterance("a", "train"),
        utterance("a", "train"),
        utterance("b", "choose"),
        utterance("c", "val"),
    ]
    refuse_shared_speakers(apart)
    refuse_shared_speakers([])
    with pytest.raises(DatasetError, match="speaker 'b' is in split 'choose' and in 'val'"):
        refuse_shared_speakers([*apart, utterance("b", "val")])


def test_labels_are_counted_in_the_order_of_the_expressions() -> None:
    counts = count_labels(["Other", "Fear", "Fear"])
    assert tuple(counts) == EXPRESSIONS
    assert {name: n for name, n in counts.items() if n} == {"Fear": 2, "Other": 1}
