"""Batches of recordings: labelled moments alone, what is seen and heard there, long videos held back."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mien.datasets.recordings as module
from mien.datasets.augment import FaceAugmentation, SpeechAugmentation
from mien.datasets.batches import Batches, draw_weights
from mien.datasets.moments import NEAR
from mien.datasets.pairs import PairAugmentation
from mien.datasets.prepared import Recording
from mien.datasets.recordings import RecordingBatches
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS
from mien.windows import N_COLUMNS, cut_clip
from some_recordings import frames, make_recording, with_features

STILL = FaceAugmentation(scale=0, rotation=0, shift=0, blur=0, contrast=0, noise=0, erase=0)
CLEAR = SpeechAugmentation(crop=3.2, mask=0)
PLAIN = PairAugmentation(face=STILL, speech=CLEAR)
AUGMENTATIONS = {"face": STILL, "speech": CLEAR, "both": PLAIN}


def batches(
    *recordings: Recording,
    augmentation: FaceAugmentation | SpeechAugmentation | PairAugmentation = PLAIN,
    balance: float = 0.0,
    per_class: int = 8000,
) -> RecordingBatches:
    """Over these recordings, and one of `choose` with face and sound if none of them is."""
    if not any(each.split == "choose" for each in recordings):
        recordings += (clip("Other", split="choose"),)
    return RecordingBatches(recordings, augmentation, 8, balance, lambda *_: None, per_class)


def clip(label: str, seconds: float = 2.0, *, split: str = "train", name: str = "clip") -> Recording:
    """A file of one label, with a face every 0.2 s."""
    return make_recording(
        (0.0, seconds, label),
        name=f"{name} {label}",
        split=split,
        crop_times=frames(0, seconds, 0.2),
        seconds=seconds,
    )


def video(*stretches: tuple[float, float, str], name: str = "video", split: str = "train") -> Recording:
    """25 labelled frames a second, each with a face, and sound."""
    end = stretches[-1][1]
    return make_recording(
        *stretches, name=name, split=split, frame_step=0.04, crop_times=frames(0, end, 0.04), seconds=end
    )


@st.composite
def some_recordings(draw: st.DrawFn) -> list[Recording]:
    """Of both kinds, with gaps between stretches, and faces and sound that are there or not."""
    recordings = []
    for number in range(draw(st.integers(1, 4))):
        step = draw(st.sampled_from([None, 1 / 30, 0.04]))
        edges = sorted(draw(st.lists(st.integers(0, 60), max_size=6, unique=True)))
        unit = (step or 0.04) * 5
        recordings.append(
            make_recording(
                *(
                    (a * unit, b * unit, draw(st.sampled_from(EXPRESSIONS)))
                    for a, b in zip(edges[::2], edges[1::2], strict=False)
                ),
                name=f"r{number}",
                split=draw(st.sampled_from(["train", "train", "choose", "val"])),
                frame_step=step,
                crop_times=sorted(draw(st.sets(st.integers(0, 120).map(lambda k: k / 10), max_size=12))),
                seconds=draw(st.sampled_from([0.0, 0.5, 7.0])),
            )
        )
    return recordings


@settings(max_examples=60, deadline=None)
@given(some_recordings(), st.sampled_from(["face", "speech", "both"]), st.integers(0, 99))
def test_no_moment_without_label_face_or_sound_is_ever_drawn_or_scored(
    recordings: list[Recording], modality: str, seed: int
) -> None:
    try:
        made = RecordingBatches(recordings, AUGMENTATIONS[modality], 8, 0.3, lambda *_: None)
    except DatasetError:
        return
    torch.manual_seed(seed)
    rows, drawn = made.draw_moments(20)
    torch.manual_seed(seed)
    batch = made.draw(20)
    assert batch.names == tuple(map(str, drawn))
    for (recording, time), row, target in zip(drawn, rows.tolist(), batch.targets, strict=True):
        assert recording.split == "train"
        (stretch,) = [each for each in recording.stretches if time in each.span]
        assert stretch.label == EXPRESSIONS[int(target.argmax())] == made.labels[row]
        near = np.abs(recording.crop_times[:, None] - time - (np.arange(3) - 1) * 0.4).min(0, initial=9)
        seen = near <= NEAR + 1e-9
        heard = len(recording.columns) > 0 and time - 1.6 < len(recording.columns) / 100 + 0.01
        assert {"face": seen[1], "speech": heard, "both": seen.any() or heard}[modality]
    for moment, item in made.held:
        assert moment.recording.split == "choose"
        inside = [each for each in moment.recording.stretches if moment.time in each.span]
        assert [each.label for each in inside] == [made.held_labels[item]]


def test_it_is_what_training_asks_for() -> None:
    for modality, augmentation in AUGMENTATIONS.items():
        made = batches(clip("Fear"), augmentation=augmentation)
        assert isinstance(made, Batches)
        assert (made.crop_px is None, made.mel_range is None) == (modality == "speech", modality == "face")
        batch = made.draw(2)
        assert len(batch.inputs) == {"face": 1, "speech": 2, "both": 5}[modality]
        assert [each.inputs[0].shape[1:] for each in made.held_out()] == [batch.inputs[0].shape[1:]]
        assert batch.names[0].startswith("corpus clip Fear at ")


def test_faces_are_of_their_label_and_sized() -> None:
    recording = video((0, 2, "Fear"), (2, 4, "Anger"))
    made = batches(recording, augmentation=STILL)
    (faces,), targets, _ = made.draw(50)
    assert faces.shape == (50, 1, 8, 8)
    rows = (faces[:, 0, 4, 4] * 255).round().long()
    labels = [EXPRESSIONS[k] for k in targets.argmax(1)]
    assert ["Fear" if row < 50 else "Anger" for row in rows.tolist()] == labels
    assert len(set(rows.tolist())) > 20, "all frames may be drawn"
    larger = RecordingBatches([recording, clip("Other", split="choose")], STILL, 12, 0.0, lambda *_: None)
    assert larger.draw(2).inputs[0].shape == (2, 1, 12, 12)
    assert next(larger.held_out()).inputs[0].shape[2:] == (8, 8), "what is scored is left as it is"


@pytest.mark.parametrize("crop", [2.4, 3.2])
def test_sound_is_the_window_centred_on_the_moment(crop: float) -> None:
    made = batches(clip("Fear", 9.0), augmentation=SpeechAugmentation(crop=crop, mask=0))
    torch.manual_seed(0)
    _, drawn = made.draw_moments(20)
    torch.manual_seed(0)
    (mels, mask), _, _ = made.draw(20)
    assert mels.shape == (20, 64, round(crop * 100))
    assert mask.float().mean() > 0.98, "inside the clip, to half a step"
    for moment, mel, heard in zip(drawn, mels, mask, strict=True):
        middle = mel[0, mel.shape[1] // 2 - 1 : mel.shape[1] // 2 + 1].mean() + 0.005
        assert float(middle) == pytest.approx(moment.time, abs=0.0051)
        assert heard[5:-5].all()


def test_a_window_of_both_has_faces_0_4_s_apart_and_when_they_are_seen() -> None:
    made = batches(video((0, 8, "Fear")), augmentation=replace(PLAIN, n_faces=5))
    torch.manual_seed(3)
    _, drawn = made.draw_moments(30)
    torch.manual_seed(3)
    (faces, face_mask, mels, _, places), _, _ = made.draw(30)
    assert faces.shape == (30, 5, 8, 8)
    assert mels.shape == (30, 64, N_COLUMNS)
    seen = ((faces[:, :, 0, 0] * 255).round().double() + 0.5) * 0.04
    for k, moment in enumerate(drawn):
        asked = moment.time + (np.arange(5) - 2) * 0.4
        assert face_mask[k].tolist() == [-0.2 < time < 8.2 for time in asked]
        there = face_mask[k].numpy()
        assert seen[k][face_mask[k]].numpy() == pytest.approx(asked[there].clip(0, 7.98), abs=0.021)
        # column 160 begins at the moment, and 8 columns are a step
        assert places[k, 2] == pytest.approx(160 / 8 - 0.5, abs=0.1)
        steps = (seen[k][face_mask[k]].numpy() - moment.time) / 0.08 + 19.5
        assert places[k][face_mask[k]].numpy() == pytest.approx(steps, abs=0.07)
    assert faces[~face_mask].max() < 1e-3, "black"


def test_faces_of_a_window_are_varied_alike_and_windows_are_not() -> None:
    recording = replace(video((0, 8, "Fear")), crops=np.full((200, 8, 8), 99, np.uint8))
    varied = PairAugmentation(n_faces=3, face=FaceAugmentation(erase=1.0, contrast=0.5), speech=CLEAR)
    faces, face_mask, *_ = batches(recording, augmentation=varied).draw(12).inputs
    whole = faces[face_mask.all(1)]
    assert len(whole) > 5
    assert torch.equal(whole[:, 0], whole[:, 1])
    assert torch.equal(whole[:, 0], whole[:, 2])
    assert not torch.allclose(whole[0], whole[1], atol=0.05)


def test_one_modality_is_dropped_at_most_and_never_the_only_one() -> None:
    dropping = replace(PLAIN, drop_voice=0.4, drop_face=0.6)
    _, face_mask, _, column_mask, _ = batches(video((0, 8, "Fear")), augmentation=dropping).draw(200).inputs
    blind, deaf = ~face_mask.any(1), ~column_mask.any(1)
    assert (blind ^ deaf).all(), "the chances sum to 1"
    assert 0.3 < deaf.float().mean() < 0.5
    silent = make_recording((0, 2, "Fear"), crop_times=frames(0, 2, 0.2), name="silent")
    unseen = make_recording((0, 2, "Fear"), seconds=2, name="unseen")
    _, face_mask, _, column_mask, _ = batches(silent, unseen, augmentation=dropping).draw(100).inputs
    assert (face_mask.any(1) ^ column_mask.any(1)).all()


def test_sound_is_masked_in_training_alone() -> None:
    masking = SpeechAugmentation(crop=3.2, mask=1.0)
    long = clip("Fear", 9.0), clip("Other", 9.0, split="choose")
    made = batches(*long, augmentation=masking)
    assert made.mel_range is not None
    (mels, _), _, _ = made.draw(20)
    assert (mels == made.mel_range[0]).float().mean() > 0.05
    for held in made.held_out():
        assert not (held.inputs[0] == made.mel_range[0]).any()


def test_a_batch_is_a_function_of_the_seed() -> None:
    varied = PairAugmentation(drop_voice=0.2, drop_face=0.2)
    made = batches(video((0, 5, "Fear"), (5, 9, "Anger")), clip("Other"), augmentation=varied)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(made.draw(6))
    assert all(torch.equal(a, b) for a, b in zip(drawn[0].inputs, drawn[1].inputs, strict=True))
    assert drawn[0].names == drawn[1].names
    assert drawn[0].names != drawn[2].names


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_clips_are_drawn_as_stills_and_utterances_are(balance: float) -> None:
    clips = [clip("Fear", name=f"{k}") for k in range(8)] + [clip("Anger", name=f"{k}") for k in range(2)]
    made = batches(*clips, balance=balance)
    assert torch.allclose(made.weights, draw_weights(made.labels, balance))
    assert made.n_train == 10


def test_a_frame_weighs_as_much_as_a_clip_and_a_long_video_is_capped() -> None:
    short = [video((0, 1, "Fear"), name=f"{k}") for k in range(3)]
    long = video((0, 10, "Fear"), (10, 30, "Anger"), (30, 40, "Fear"), name="long")
    made = batches(*short, long, clip("Fear"), per_class=200)
    items = Counter[tuple[str, str]]()
    for stretch, weight in zip(made.stretches, made.weights.tolist(), strict=True):
        items[stretch.recording.name, stretch.label] += weight
    assert items == pytest.approx(
        {
            **{(f"{k}", "Fear"): 25 for k in range(3)},
            ("long", "Fear"): 100,  # of 500: 2 · 200 / 4 videos with Fear
            ("long", "Anger"): 400,  # of 500: 2 · 200 / 1 video
            ("clip Fear", "Fear"): 1,
        }
    )
    assert made.n_train == 576


def test_mean_and_deviation_are_those_of_what_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COLUMNS_AT_ONCE", 70)
    noise = np.random.default_rng(0).normal(-4, 1, (500, 64)).astype(np.float32)
    one = replace(clip("Fear", name="one"), columns=noise[:200])
    two = replace(video((0, 2, "Anger")), columns=noise[200:])
    unlabelled = replace(clip("Fear", name="two"), stretches=())
    made = batches(one, two, unlabelled, augmentation=CLEAR)
    assert made.mel_range == pytest.approx((noise.mean(), noise.std()), abs=1e-5)


def test_a_held_out_clip_is_its_windows_and_a_held_out_video_its_frames() -> None:
    choose = [
        clip("Fear", 5.0, split="choose"),
        clip("Anger", 1.0, split="choose"),
        video((0, 1.0, "Other"), (2.0, 2.4, "Sadness"), split="choose"),
    ]
    made = batches(clip("Fear"), *choose)
    assert made.held_labels == ("Fear", "Anger", "Other", "Other", "Other", "Sadness")
    assert [EXPRESSIONS[k] for k in made.held_targets.argmax(1)] == list(made.held_labels)
    held = list(made.held_out())
    assert np.concatenate([each.items for each in held]).tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    faces, face_mask, mels, column_mask, _ = (
        torch.cat(each) for each in zip(*(each.inputs for each in held), strict=True)
    )
    windows, masks = cut_clip(choose[0].columns.T)
    assert np.array_equal(mels[:3].numpy(), windows)
    assert np.array_equal(column_mask[:3].numpy(), masks)
    assert face_mask[:3].all()
    seen = ((faces[0, :, 0, 0] * 255).round() + 0.5) * 0.2
    assert seen.tolist() == pytest.approx([1.2, 1.6, 2.0], abs=0.101)
    assert [moment.time for moment, _ in made.held[4:]] == pytest.approx([0.02, 0.42, 0.82, 2.22])


def test_held_out_faces_of_a_clip_are_nine_at_most() -> None:
    choose = [clip("Fear", 5.0, split="choose"), clip("Anger", 0.6, split="choose")]
    made = batches(clip("Fear"), *choose, augmentation=STILL)
    assert Counter(item for _, item in made.held) == {0: 9, 1: 3}
    (held,) = made.held_out()
    rows = (held.inputs[0][:, 0, 0, 0] * 255).round().long()
    assert rows[9:].tolist() == [0, 1, 2]
    assert rows[:9].tolist() == [1, 4, 6, 9, 12, 15, 18, 20, 23]


def test_held_out_batches_are_bounded() -> None:
    made = batches(clip("Fear"), video((0, 40, "Fear"), split="choose"), augmentation=STILL)
    assert [len(each.items) for each in made.held_out()] == [64, 36]


@pytest.mark.parametrize(
    ("recordings", "augmentation", "match"),
    [
        ([clip("Fear"), clip("Fear", split="val")], PLAIN, "moment of split 'choose' has a face or sound"),
        ([clip("Fear", split="choose")], CLEAR, "no labelled moment of split 'train' has a sound"),
        ([make_recording((0, 1, "Fear"), seconds=1)], STILL, "no recording has a face"),
        ([make_recording((0, 1, "Fear"), seconds=1)], PLAIN, "no recording has a face"),
        ([make_recording((0, 1, "Fear"), crop_times=[0.5])], CLEAR, "no labelled moment of split 'train'"),
        ([make_recording((0, 1, "Fear"), crop_times=[0.5])], PLAIN, "split 'train' has sound"),
        (
            [clip("Fear"), make_recording((0, 1, "Fear"), crop_times=[0.5], size_px=9)],
            STILL,
            "crops are 8 px in corpus clip Fear and 9 px in corpus one; expected one size",
        ),
    ],
)
def test_what_is_not_there_is_refused(
    recordings: list[Recording],
    augmentation: FaceAugmentation | SpeechAugmentation | PairAugmentation,
    match: str,
) -> None:
    if match.startswith("split 'train' has sound"):
        recordings = [*recordings, make_recording((0, 1, "Fear"), crop_times=[0.5], split="choose")]
    with pytest.raises(DatasetError, match=match):
        RecordingBatches(recordings, augmentation, 8, 0.0, lambda *_: None)


def featured(
    *recordings: Recording, face: int = 4, speech: int = 3, augmentation: PairAugmentation | None = None
) -> RecordingBatches:
    return RecordingBatches(
        [*recordings, with_features(clip("Other", split="choose"), face, speech)],
        augmentation or replace(PLAIN, face=FaceAugmentation(), speech=SpeechAugmentation(crop=2.4)),
        8,
        0.0,
        lambda *_: None,
        features={"face": face, "speech": speech},
    )


def test_features_stand_where_crops_and_columns_did_and_are_left_as_they_are() -> None:
    recording = with_features(video((0, 9, "Fear")), 4, 3)
    made = featured(recording)
    plain = batches(recording, augmentation=replace(PLAIN, speech=SpeechAugmentation(crop=2.4, mask=0)))
    torch.manual_seed(0)
    _, drawn = made.draw_moments(30)
    torch.manual_seed(0)
    (faces, face_mask, steps, step_mask, _), _, _ = made.draw(30)
    rows = faces[..., 0, 0]
    assert faces.shape == (30, 3, 1, 4)
    assert steps.shape == (30, 3, 24)
    assert (faces[~face_mask] == 0).all()
    asked = np.array([moment.time for moment in drawn])[:, None] + [-0.4, 0.0, 0.4]
    seen_at = (rows.double().numpy() - 1000 + 0.5) * 0.04
    assert (np.abs(seen_at - asked.clip(0.02, 8.98))[face_mask] < 0.0201).all()
    torch.manual_seed(0)
    assert torch.equal(plain.draw(30).inputs[1], face_mask)
    for moment, window, mask in zip(drawn, steps, step_mask, strict=True):
        wanted = moment.time + (np.arange(24) - 11.5) / 10
        assert (np.abs(window[0].numpy() - wanted)[mask] < 0.0501).all()
        assert mask.tolist() == [value > 0 for value in window[0].tolist()]
    assert next(made.held_out()).inputs[2].shape[1:] == (3, 32)
    assert made.extractors == recording.extractors
    assert made.mel_range is not None
    assert made.mel_range[0] == pytest.approx(4.5, abs=0.01)


def test_one_modality_may_be_features_and_one_not() -> None:
    recording = with_features(video((0, 9, "Fear")), 4, 3)
    others = with_features(clip("Other", split="choose"), 4, 3)
    for widths, shapes in (({"face": 4}, ((1, 4), (64, 320))), ({"speech": 3}, ((8, 8), (3, 32)))):
        made = RecordingBatches([recording, others], PLAIN, 8, 0.0, lambda *_: None, features=widths)
        faces, _, sound, *_ = made.draw(2).inputs
        assert (tuple(faces.shape[2:]), tuple(sound.shape[1:])) == shapes


def test_who_is_not_heard_needs_no_features_of_speech() -> None:
    silent = make_recording((0, 2, "Fear"), crop_times=frames(0, 2, 0.2), name="silent")
    unseen = make_recording((0, 2, "Fear"), seconds=2, name="unseen")
    made = featured(with_features(silent, face=4), with_features(unseen, speech=3))
    inputs = made.draw(20).inputs
    assert (inputs[1].any(1) ^ inputs[3].any(1)).all()


def test_recordings_without_the_features_that_are_asked_for_are_named() -> None:
    for recording, told in (
        (clip("Fear"), "corpus clip Fear has no features of face; prepare it with --face-extractor"),
        (with_features(clip("Fear"), 5, 3), "corpus clip Fear has 5 features of face, the network takes 4"),
        (with_features(clip("Fear"), 4), "corpus clip Fear has no features of speech"),
        (with_features(clip("Fear"), 4, 3, rate=20.0), "have features of speech by two extractors"),
    ):
        with pytest.raises(DatasetError, match=told):
            featured(recording)
