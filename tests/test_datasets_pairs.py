"""Label-paired windows: one expression in face and voice, splits kept apart, one modality dropped at most."""

from pathlib import Path

import numpy as np
import pytest
import torch

from corpora import write_emodb, write_ferplus, write_ravdess
from mien.datasets.augment import FaceAugmentation, SpeechAugmentation
from mien.datasets.corpus import Stills
from mien.datasets.emodb import read_emodb
from mien.datasets.ferplus import read_ferplus
from mien.datasets.pairs import (
    HeldPairs,
    PairAugmentation,
    PairBatches,
    pair_faces,
    refuse_unpaired,
    rows_by_label,
    spread,
)
from mien.datasets.ravdess import read_ravdess
from mien.errors import DatasetError, InputError
from mien.expressions import EXPRESSIONS

STILL = FaceAugmentation(scale=0, rotation=0, shift=0, blur=0, contrast=0, noise=0, erase=0)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Stills:
    """Enough rows for every expression in `choose` too."""
    return read_ferplus(write_ferplus(tmp_path_factory.mktemp("ferplus"), n_train=400))


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> list:
    folder = tmp_path_factory.mktemp("speech")
    write_ravdess(folder / "ravdess", actors=(1, 15), emotions=("01", "03"), duration=0.6)
    write_ravdess(folder / "ravdess", actors=(16,), emotions=("05",), duration=5.0)
    write_emodb(folder / "emodb", speakers=(3,), letters=("W",), duration=3.0)
    return read_ravdess(folder / "ravdess") + read_emodb(folder / "emodb")


def batches(stills: Stills, speech: list, **settings: float) -> PairBatches:
    augmentation = PairAugmentation(face=STILL, speech=SpeechAugmentation(), **settings)
    return PairBatches(stills, speech, augmentation, 48, lambda *_: None)


def test_faces_are_train_rows_of_the_voice_s_expression(stills: Stills, speech: list) -> None:
    pairs = batches(stills, speech)
    torch.manual_seed(0)
    (faces, face_mask, mels, column_mask, places), targets, names = pairs.draw(12)
    assert faces.shape == (12, 3, 48, 48)
    assert face_mask.all()
    assert mels.shape[:2] == (12, 64)
    assert column_mask.any(1).all()
    assert places.shape == (12, 3)
    assert len(names) == 12
    assert set(names) <= {clip.path.name for clip in speech if clip.split == "train"}
    train = stills.part("train")
    pictures = torch.from_numpy(train.images).float() / 255
    for clip, target in zip(faces, targets, strict=True):
        for face in clip:
            away = torch.minimum(
                (pictures - face).abs().amax((1, 2)), (pictures - face.flip(-1)).abs().amax((1, 2))
            )
            assert float(away.min()) < 1e-3
            assert train.labels[int(away.argmin())] == EXPRESSIONS[int(target.argmax())]


def test_a_batch_is_a_function_of_the_seed(stills: Stills, speech: list) -> None:
    pairs = batches(stills, speech, drop_voice=0.3, drop_face=0.3)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(pairs.draw(6))
    assert all(torch.equal(a, b) for a, b in zip(drawn[0].inputs, drawn[1].inputs, strict=True))
    assert not torch.equal(drawn[0].inputs[0], drawn[2].inputs[0])


def test_one_modality_is_dropped_at_most(stills: Stills, speech: list) -> None:
    pairs = batches(stills, speech, drop_voice=0.4, drop_face=0.6)
    torch.manual_seed(0)
    (_, face_mask, _, column_mask, _), *_ = pairs.draw(200)
    blind, deaf = ~face_mask.any(1), ~column_mask.any(1)
    assert not (blind & deaf).any()
    assert (blind | deaf).all(), "the chances sum to 1"
    assert 0.3 < deaf.float().mean() < 0.5


def test_held_out_pairs_are_fixed_whole_and_of_choose(stills: Stills, speech: list) -> None:
    pairs = batches(stills, speech)
    choose = stills.part("choose")
    items = []
    for (faces, _, mels, column_mask, places), item in pairs.held_out():
        items += item.tolist()
        assert len(faces) == len(mels) == len(column_mask) == len(places)
        for clip, k in zip((faces * 255).round().byte().numpy(), item, strict=True):
            for face in clip:
                rows = [r for r, each in enumerate(choose.images) if np.array_equal(each, face)]
                assert pairs.held_labels[k] in {choose.labels[r] for r in rows}
    assert sorted(set(items)) == list(range(len(pairs.held_labels)))
    assert len(items) > len(set(items)), "a long utterance has several windows"
    again = batches(stills, speech)
    assert np.array_equal(again.held.faces, pairs.held.faces)


def test_each_split_is_held_with_its_own_voices_and_faces(stills: Stills, speech: list) -> None:
    held = HeldPairs(stills, speech, "choose", 2)
    assert held.labels == tuple(clip.label for clip in speech if clip.split == "choose")
    assert set(held.speakers) == {"ravdess-15", "ravdess-16"}
    assert held.faces.shape[:2] == (len(held.labels), 2)
    with pytest.raises(DatasetError, match="no labelled clip in split 'val'"):
        HeldPairs(stills, speech, "val", 2)


def test_no_picture_twice_in_a_clip_unless_there_are_too_few() -> None:
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1)
    labels = ["Fear"] * 4 + ["Anger"] * 2
    clips = pair_faces(images, labels, ["Fear"] * 20 + ["Anger"] * 20, 3)
    for clip in clips[:20]:
        assert len(set(clip.ravel().tolist())) == 3
        assert clip.max() < 4
    assert (clips[20:] >= 4).all()


def test_faces_are_spread_over_what_is_heard() -> None:
    mask = torch.zeros(2, 240, dtype=torch.bool)
    mask[0] = True
    mask[1, 80:160] = True
    places = spread(mask, 3)
    # 240 columns are 30 steps; thirds' middles lie at columns 40, 120, 200
    assert places[0].tolist() == pytest.approx([4.5, 14.5, 24.5])
    assert places[1].tolist() == pytest.approx([(80 + 80 / 6) / 8 - 0.5, 14.5, (160 - 80 / 6) / 8 - 0.5])


def test_an_expression_that_is_spoken_and_never_shown_is_refused() -> None:
    with pytest.raises(DatasetError, match="utterances of Fear but no faces"):
        refuse_unpaired(["Anger", "Fear"], rows_by_label(["Anger", "Sadness"]))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n_faces": 0}, "n_faces is 0"),
        ({"drop_voice": 0.6, "drop_face": 0.6}, "sum to 1"),
        ({"drop_face": -0.1}, "sum"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, float], match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match):
        PairAugmentation(**settings)
