"""Batches: a function of the seed, drawn from train alone, held out in order and whole."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from corpora import write_emodb, write_ferplus, write_ravdess
from media_files import flat_frames, write_video
from mien.datasets.augment import STRONG, WEAK, FaceAugmentation, SpeechAugmentation
from mien.datasets.batches import FaceBatches, SpeechBatches, draw_weights
from mien.datasets.corpus import Clip, Stills
from mien.datasets.emodb import read_emodb
from mien.datasets.ferplus import read_ferplus
from mien.datasets.ravdess import read_ravdess
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS
from mien.media import read_waveform
from mien.speech import log_mel
from mien.windows import N_COLUMNS, QUIETEST, raised

STILL = FaceAugmentation(scale=0, rotation=0, shift=0, blur=0, contrast=0, noise=0, erase=0)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Stills:
    return read_ferplus(write_ferplus(tmp_path_factory.mktemp("ferplus")))


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("speech")
    write_ravdess(folder / "ravdess", actors=(1, 15, 17), emotions=("01", "05"), duration=0.6)
    write_ravdess(folder / "ravdess", actors=(16,), emotions=("03",), duration=5.0)
    write_emodb(folder / "emodb", speakers=(3,), letters=("L",), duration=3.0)
    return read_ravdess(folder / "ravdess") + read_emodb(folder / "emodb")


@pytest.fixture(scope="module")
def speech(utterances: list[Clip]) -> SpeechBatches:
    return SpeechBatches(utterances, SpeechAugmentation(), 0.0, lambda *_: None)


def test_rows_are_drawn_as_they_come_or_by_rarity() -> None:
    labels = ["Fear"] * 8 + ["Anger"] * 2
    assert draw_weights(labels, 0.0).tolist() == [1.0] * 10
    even = draw_weights(labels, 1.0)
    assert even[:8].sum().item() == pytest.approx(even[8:].sum().item())
    between = draw_weights(labels, 0.5)
    assert (between[9] / between[0]).item() == pytest.approx(2.0)


def test_faces_are_drawn_from_train_with_their_targets(stills: Stills) -> None:
    batches = FaceBatches(stills, STILL, 48, 0.0)
    train = stills.part("train")
    assert batches.n_train == len(train.names)
    torch.manual_seed(0)
    (faces,), targets, names = batches.draw(16)
    assert faces.shape == (16, 1, 48, 48)
    assert faces.dtype == torch.float32
    pictures = torch.from_numpy(train.images).float() / 255
    for face, target, name in zip(faces, targets, names, strict=True):
        away = [(pictures - each).abs().amax((1, 2)) for each in (face, face.flip(-1))]
        row = int(torch.minimum(*away).argmin())
        assert min(each[row] for each in away) < 1e-3
        assert torch.equal(target, torch.from_numpy(train.targets[row]))
        assert name == train.names[row]


def test_faces_are_brought_to_the_network_s_size_and_are_a_function_of_the_seed(stills: Stills) -> None:
    batches = FaceBatches(stills, FaceAugmentation(), 32, 0.3)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(batches.draw(4))
    assert drawn[0].inputs[0].shape == (4, 1, 32, 32)
    assert torch.equal(drawn[0].inputs[0], drawn[1].inputs[0])
    assert torch.equal(drawn[0].targets, drawn[1].targets)
    assert not torch.equal(drawn[0].inputs[0], drawn[2].inputs[0])


def test_balance_draws_rare_faces_more_often(stills: Stills, tmp_path: Path) -> None:
    votes = [[10 * (k == (0 if row < 36 else 4)) for k in range(10)] for row in range(56)]
    rare = read_ferplus(write_ferplus(tmp_path, votes=votes))
    torch.manual_seed(0)
    shares = [
        float(FaceBatches(rare, STILL, 8, power).draw(400).targets[:, 1].mean()) for power in (0.0, 1.0)
    ]
    assert shares[0] < 0.2
    assert 0.4 < shares[1] < 0.6


def test_teachers_words_are_a_share_of_the_target_and_all_of_it_without_a_label(stills: Stills) -> None:
    batches = FaceBatches(stills, STILL, 48, 0.5)
    train = torch.from_numpy(stills.part("train").targets)
    words = [torch.log_softmax(torch.arange(8.0), 0), torch.log_softmax(2 * torch.arange(8.0), 0)]

    class Teacher(torch.nn.Module):
        def __init__(self, word: torch.Tensor) -> None:
            super().__init__()
            self.word = word

        def forward(self, faces: torch.Tensor) -> torch.Tensor:
            return self.word.expand(len(faces), 8)

    unlabelled = np.zeros((3, 48, 48), np.uint8)
    batches.learn_from([Teacher(word) for word in words], 0.25, unlabelled, lambda *_: None)
    said = (words[0].exp() + words[1].exp()) / 2
    assert batches.n_train == len(batches.images) == len(train) + 3
    assert torch.allclose(batches.targets[:-3], 0.75 * train + 0.25 * said)
    assert torch.allclose(batches.targets[-3:], said.expand(3, 8))
    assert batches.labels == (*stills.part("train").labels, "Other", "Other", "Other")
    assert torch.equal(batches.weights, draw_weights(batches.labels, 0.5))


def test_views_are_of_the_same_faces_without_labels_and_a_function_of_the_seed(stills: Stills) -> None:
    batches = FaceBatches(stills, FaceAugmentation(), 32, 0.0)
    with pytest.raises(DatasetError, match="no faces without labels; set"):
        batches.draw_views(4, WEAK, STRONG)
    batches.unlabelled = np.repeat(np.arange(0, 250, 25, dtype=np.uint8), 48 * 48).reshape(-1, 48, 48)
    batches.unlabelled.flags.writeable = False  # as a mapped file is
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(batches.draw_views(40, WEAK, replace(STRONG, contrast=0.0, noise=0.0)))
    assert all(torch.equal(*views) for views in zip(*drawn[:2], strict=True))
    assert not torch.equal(drawn[0].strong, drawn[2].strong)
    first, second, strong = (views[:, 0].flatten(1) for views in drawn[0])
    assert first.shape == (40, 32 * 32)
    shades = (first.median(1).values * 255).round()
    assert set(shades.tolist()) == set(range(25, 250, 25)) | {0}
    for views in (second, strong):  # a shade is that of its face but where something is erased
        assert torch.equal((views.median(1).values * 255).round(), shades)
    assert batches.n_train == len(batches.images)


def test_two_weak_views_differ_and_the_strong_one_is_varied_as_it_is_asked(stills: Stills) -> None:
    batches = FaceBatches(stills, FaceAugmentation(), 48, 0.0)
    batches.unlabelled = stills.part("train").images
    torch.manual_seed(0)
    first, second, strong = batches.draw_views(8, WEAK, STILL)
    assert not torch.equal(first, second)
    pictures = torch.from_numpy(batches.unlabelled).float() / 255
    for face in strong:
        assert min((pictures - each).abs().amax((1, 2)).min() for each in (face, face.flip(-1))) < 1e-3


def test_held_out_faces_come_whole_and_in_order(stills: Stills) -> None:
    batches = FaceBatches(stills, FaceAugmentation(), 32, 0.0)
    choose = stills.part("choose")
    held = list(batches.held_out(batch_size=3))
    assert np.concatenate([each.items for each in held]).tolist() == list(range(len(choose.names)))
    faces = torch.cat([each.inputs[0] for each in held])
    assert torch.equal((faces[:, 0] * 255).round().byte(), torch.from_numpy(choose.images))
    assert batches.held_labels == choose.labels
    assert np.array_equal(batches.held_targets, choose.targets)


def test_speech_is_drawn_from_train_with_its_targets(speech: SpeechBatches, utterances: list[Clip]) -> None:
    assert speech.n_train == 3
    torch.manual_seed(0)
    (mels, mask), targets, names = speech.draw(30)
    n_columns = 240
    assert mels.shape == (30, 64, n_columns)
    assert mels.dtype == torch.float32
    assert mask.shape == (30, n_columns)
    assert mask.dtype == torch.bool
    assert mask.any(1).all()
    assert Counter(EXPRESSIONS[k] for k in targets.argmax(1)).keys() == {"Neutral", "Anger", "Other"}
    assert targets.sum(1).tolist() == [1.0] * 30
    assert len(names) == 30
    assert set(names) == {clip.path.name for clip in utterances if clip.split == "train"}


def test_balance_draws_a_small_corpus_as_often_as_a_large_one(utterances: list[Clip]) -> None:
    choose = [each for each in utterances if each.split == "choose"]
    ravdess, emodb = (
        next(each for each in utterances if each.split == "train" and each.speaker.startswith(corpus))
        for corpus in ("ravdess", "emodb")
    )
    clips = [replace(each, label="Neutral") for each in [ravdess] * 9 + [emodb]]
    for power, ratio in ((0.0, 9), (0.5, 3), (1.0, 1)):
        weights = SpeechBatches([*clips, *choose], SpeechAugmentation(), power, lambda *_: None).weights
        assert (weights[:9].sum() / weights[9]).item() == pytest.approx(ratio)


def test_the_length_of_a_training_window_is_a_setting(utterances: list[Clip]) -> None:
    batches = SpeechBatches(utterances, SpeechAugmentation(crop=0.8, mask=0), 0.0, lambda *_: None)
    (mels, mask), *_ = batches.draw(4)
    assert mels.shape == (4, 64, 80)
    outside = mels.transpose(1, 2)[~mask]
    assert outside.numel() > 0
    assert torch.equal(outside, torch.full_like(outside, QUIETEST))


def test_speech_is_a_function_of_the_seed(speech: SpeechBatches) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(speech.draw(3))
    for a, b in zip(drawn[0].inputs, drawn[1].inputs, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(drawn[0].targets, drawn[1].targets)
    assert not torch.equal(drawn[0].inputs[0], drawn[2].inputs[0])


def test_mean_and_deviation_are_those_of_train(speech: SpeechBatches, utterances: list[Clip]) -> None:
    mels = [log_mel(read_waveform(each.path)) for each in utterances if each.split == "train"]
    columns = np.concatenate(mels, axis=1).clip(QUIETEST)
    assert speech.mel_range == pytest.approx((columns.mean(), columns.std()), abs=1e-4)


def test_held_out_speech_is_whole_utterances_of_choose(speech: SpeechBatches, utterances: list[Clip]) -> None:
    choose = [each for each in utterances if each.split == "choose"]
    assert speech.held_labels == tuple(each.label for each in choose) == ("Neutral", "Anger", "Happiness")
    assert [EXPRESSIONS[k] for k in speech.held_targets.argmax(1)] == list(speech.held_labels)
    held = list(speech.held_out())
    [[(windows, mask), items]] = held
    assert items.tolist() == [0, 1, 2, 2, 2]  # 5 s: from 0, 1.6 and 1.8 s
    assert windows.shape == (5, 64, N_COLUMNS)
    assert mask.shape == (5, N_COLUMNS)
    assert mask[0].sum().item() == pytest.approx(60, abs=1)
    assert mask[2:].all()
    mel = log_mel(read_waveform(choose[2].path))
    for window, start in zip(windows[2:], (0, 160, 180), strict=True):
        assert np.array_equal(window.numpy(), raised(mel[:, start : start + N_COLUMNS]))
    parts = list(speech.held_out(2))
    assert [each.items.tolist() for each in parts] == [[0, 1], [2, 2], [2]]
    assert torch.equal(torch.cat([each.inputs[0] for each in parts]), windows)


def test_a_stretch_of_a_file_is_a_clip_of_its_own(utterances: list[Clip]) -> None:
    whole = [each for each in utterances if each.path.parent.name == "Actor_16"]  # 5 s
    parts = [replace(whole[0], split="choose", start=start, end=start + 1) for start in (0.0, 2.0)]
    train = [replace(whole[0], split="train", start=1.0, end=2.5)]
    batches = SpeechBatches([*parts, *train], SpeechAugmentation(), 0.0, lambda *_: None)
    sound = read_waveform(whole[0].path)
    assert np.array_equal(batches.sounds.samples.numpy(), sound[16_000:40_000])
    held = batches.held_mels.transpose(1, 2)[batches.held_masks].T.numpy()
    assert np.array_equal(held, np.hstack([raised(log_mel(sound[k : k + 16_000])) for k in (0, 32_000)]))


def test_clips_without_a_label_are_left_alone(speech: SpeechBatches, utterances: list[Clip]) -> None:
    unlabelled = [replace(each, label=None, path=Path("nowhere.wav")) for each in utterances]
    batches = SpeechBatches([*unlabelled, *utterances], SpeechAugmentation(), 0.0, lambda *_: None)
    assert (batches.labels, batches.held_labels) == (speech.labels, speech.held_labels)
    with pytest.raises(DatasetError, match="no labelled clip in split 'train'"):
        SpeechBatches(unlabelled, SpeechAugmentation(), 0.0, lambda *_: None)


def test_the_shortest_clips_are_heard_and_clips_without_sound_refused(
    utterances: list[Clip], tmp_path: Path
) -> None:
    choose = [each for each in utterances if each.split == "choose"]
    short = replace(utterances[0], end=0.02)
    batches = SpeechBatches([short, *choose], SpeechAugmentation(mask=0), 0.0, lambda *_: None)
    (_, mask), *_ = batches.draw(20)
    assert mask.any(1).all()
    silent = replace(short, path=write_video(tmp_path / "silent.mp4", flat_frames(5)), end=None)
    for none in (replace(short, end=0.01), silent):
        with pytest.raises(DatasetError, match="has no sound from 0 s on; train speech without it"):
            SpeechBatches([none, *choose], SpeechAugmentation(), 0.0, lambda *_: None)


def test_reading_tells_how_far_it_is(utterances: list[Clip]) -> None:
    told: list[tuple[str, int, int]] = []
    SpeechBatches(utterances, SpeechAugmentation(), 0.0, lambda *step: told.append(step))
    assert told == [("reading speech", k, 3) for k in (1, 2, 3)]
