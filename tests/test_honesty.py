"""From files to what training is given: every row keeps its own label, and its own split.

Four corpora, each with another order of classes, are prepared and read as one. What an item should be called
is told here once more, from the name of its file or from what it shows, and from no table of mien's.
"""

import re
from itertools import combinations

import numpy as np
import pytest
import torch

from corpora import write_emodb, write_ferplus, write_ravdess
from corpora_affwild2 import NAMES, Person, shade, write_affwild2
from mien.datasets.augment import FaceAugmentation, SpeechAugmentation
from mien.datasets.entries import PrepareSettings
from mien.datasets.likeness import NEAR_BITS, perceptual_hashes
from mien.datasets.pool import without_repeats
from mien.datasets.prepared import Recording, read_prepared
from mien.datasets.recordings import RecordingBatches
from mien.expressions import EXPRESSIONS
from mien.prepare import prepare

BY_CODE = {
    "ravdess": (r"/03-01-0(\d)", "12345678", "Neutral Neutral Happiness Sadness Anger Fear Disgust Surprise"),
    "emodb": (r"\d\da01(.)a", "WLEAFTN", "Anger Other Disgust Fear Happiness Sadness Neutral"),
    "ferplus": (r"fer(\d+)", "01234567", "Neutral Happiness Surprise Sadness Anger Disgust Fear Other"),
}
"""How each corpus writes its codes, the codes, and what they stand for."""

pytestmark = pytest.mark.slow

STILL = FaceAugmentation(scale=0, rotation=0, shift=0, blur=0, contrast=0, noise=0, erase=0)


def wanted(corpus: str, name: str) -> str:
    """The expression that the name of a recording stands for; FER+'s go round, row by row."""
    pattern, codes, labels = BY_CODE[corpus]
    found = re.search(pattern, name)
    assert found, name
    code = str(int(found[1]) % 8) if corpus == "ferplus" else found[1]
    return dict(zip(codes, labels.split(), strict=True))[code]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    """All four; a ninth of Aff-Wild2's frames has no label, and such frames are black."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out")
    write_ravdess(data / "ravdess", emotions=[f"0{code}" for code in "12345678"])
    write_emodb(data / "emodb", letters="WLEAFTN", speakers=(3, 9, 15))
    write_ferplus(data / "ferplus", n_train=80)
    people = [
        Person(f"v{k}", [(k + line) % 9 - 1 for line in range(18)], crops=range(1, 19)) for k in range(20)
    ]
    write_affwild2(data / "affwild2", [*people, Person("w", [0, 1, 2, -1], of="Validation_Set")], size=48)
    for folder in data.iterdir():
        prepare(
            folder.name,
            folder,
            out / folder.name,
            settings=PrepareSettings(),
            n_workers=1,
            hook=lambda *_: None,
        )
    return without_repeats(read_prepared(out))


def test_a_label_is_that_of_its_file_in_every_corpus(recordings: list[Recording]) -> None:
    named = [each for each in recordings if each.corpus in BY_CODE]
    assert {each.corpus for each in named} == {*BY_CODE}
    for each in named:
        assert [stretch.label for stretch in each.stretches] == [wanted(each.corpus, each.name)]
    assert {stretch.label for each in recordings for stretch in each.stretches} == {*EXPRESSIONS}


def test_what_training_is_given_is_called_what_it_shows(recordings: list[Recording]) -> None:
    faces = RecordingBatches(recordings, STILL, 48, 0.5, lambda *_: None)
    sounds = RecordingBatches(recordings, SpeechAugmentation(crop=3.2, mask=0), 0, 0.5, lambda *_: None)
    torch.manual_seed(0)
    drawn, heard = faces.draw(500), sounds.draw(200)
    by_corpus: dict[str, set[str]] = {}
    for name, target, face in zip(drawn.names, drawn.targets, drawn.inputs[0], strict=True):
        label, corpus = EXPRESSIONS[int(target.argmax())], name.split()[0]
        if corpus == "affwild2":
            assert float(face.mean()) * 255 == pytest.approx(shade(label), abs=3), name
        else:
            assert label == wanted(corpus, name)
        by_corpus.setdefault(corpus, set()).add(label)
    for name, target in zip(heard.names, heard.targets, strict=True):
        label, corpus = EXPRESSIONS[int(target.argmax())], name.split()[0]
        assert label == wanted(corpus, name)
        by_corpus.setdefault(corpus, set()).add(label)
    assert {corpus: len(labels) for corpus, labels in by_corpus.items()} == {
        "affwild2": 8,
        "ferplus": 8,
        "ravdess": 7,
        "emodb": 7,
    }, "all that each corpus has was seen"


def test_frames_without_a_label_are_never_drawn_nor_scored(recordings: list[Recording]) -> None:
    """Their crops are black; a row of theirs would be dark, whatever it is called."""
    video = [each for each in recordings if each.corpus == "affwild2"]
    assert any((each.crops.max((1, 2)) < 5).any() for each in video), "there are such crops"
    batches = RecordingBatches(video, STILL, 48, 0.0, lambda *_: None)
    torch.manual_seed(1)
    assert batches.draw(600).inputs[0].amax((1, 2, 3)).min() > shade(NAMES[0]) / 255 / 2
    for batch in batches.held_out():
        assert batch.inputs[0].amax((-1, -2, -3)).min() > shade(NAMES[0]) / 255 / 2


def test_no_two_splits_share_a_speaker_a_recording_or_a_picture(recordings: list[Recording]) -> None:
    parts = {name: [each for each in recordings if each.split == name] for name in ("train", "choose", "val")}
    assert all(parts.values())
    for one, other in combinations(parts.values(), 2):
        assert not {each.speaker for each in one} & {each.speaker for each in other}
        assert not {(each.corpus, each.name) for each in one} & {(each.corpus, each.name) for each in other}
        stills = [[each for each in part if each.corpus == "ferplus"] for part in (one, other)]
        hashes = [np.array([perceptual_hashes(each.crops)[0] for each in part], np.uint64) for part in stills]
        assert np.bitwise_count(hashes[0][:, None] ^ hashes[1]).min() > NEAR_BITS
