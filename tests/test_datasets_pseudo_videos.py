"""Pairs laid end to end: runs of 3 to 8 s, faces and sound of the right moment, one split alone."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from corpora import write_ferplus, write_ravdess
from mien.datasets.corpus import Stills
from mien.datasets.ferplus import read_ferplus
from mien.datasets.moments import moments
from mien.datasets.pseudo_videos import FRAME_STEP, RUN, deal_runs, pseudo_videos
from mien.datasets.ravdess import read_ravdess
from mien.errors import DatasetError
from mien.media import read_waveform
from mien.speech import log_mel


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Stills:
    return read_ferplus(write_ferplus(tmp_path_factory.mktemp("ferplus"), n_train=64, n_val=32))


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> list:
    folder = tmp_path_factory.mktemp("speech")
    write_ravdess(folder, actors=(1, 15), duration=3.1)
    write_ravdess(folder, actors=(17, 18), emotions=("01", "02", "05", "06"), duration=3.4)
    return read_ravdess(folder)


@pytest.fixture(scope="module")
def videos(stills: Stills, speech: list) -> list:
    return pseudo_videos(stills, speech, "val", 3)


def test_one_recording_for_each_speaker_of_the_split(videos: list, stills: Stills) -> None:
    assert [each.speaker for each in videos] == ["ravdess-17", "ravdess-18"]
    val = {image.tobytes() for image in stills.part("val").images}
    for each in videos:
        assert each.split == "val"
        assert each.frame_step == FRAME_STEP
        assert {crop.tobytes() for crop in each.crops} <= val


def test_stretches_follow_each_other_and_last_3_to_8_seconds(videos: list) -> None:
    for each in videos:
        spans = [stretch.span for stretch in each.stretches]
        assert spans[0].start == 0
        assert all(RUN[0] <= span.duration <= RUN[1] for span in spans)
        assert all(a.end == b.start for a, b in pairwise(spans))
        labels = [stretch.label for stretch in each.stretches]
        assert all(a != b for a, b in pairwise(labels))
        assert abs(len(each.columns) / 100 - spans[-1].end) < 0.02


def test_faces_and_sound_show_the_label_of_their_moment(videos: list, stills: Stills, speech: list) -> None:
    val = stills.part("val")
    label_of = {image.tobytes(): label for image, label in zip(val.images, val.labels, strict=True)}
    for each in videos:
        heard = {
            clip.label: log_mel(read_waveform(clip.path)).mean(1)
            for clip in speech
            if clip.speaker == each.speaker
        }
        for stretch in each.stretches:
            inside = [time in stretch.span for time in each.crop_times.tolist()]
            assert {label_of[crop.tobytes()] for crop in each.crops[np.array(inside)]} == {stretch.label}
            columns = each.columns[round(stretch.span.start * 100) + 10 : round(stretch.span.end * 100) - 10]
            if stretch.label != "Neutral":  # 01 and 02, calm, are two tones of one label
                assert np.allclose(columns.mean(0), heard[stretch.label], atol=0.3)


def test_each_face_of_an_utterance_is_shown_for_a_third_of_it(videos: list) -> None:
    for each in videos:
        for stretch in each.stretches:
            if stretch.label == "Neutral":
                continue
            shown = [
                crop.tobytes()
                for crop, time in zip(each.crops, each.crop_times.tolist(), strict=True)
                if time in stretch.span
            ]
            changes = sum(a != b for a, b in pairwise(shown))
            assert len(set(shown)) == 3
            assert changes == 2


def test_every_labelled_moment_has_a_face(videos: list) -> None:
    for each in videos:
        for times in moments(each.stretches, FRAME_STEP):
            assert np.abs(each.crop_times[None] - times[:, None]).min(1).max() <= 0.2 + 1e-9


def test_the_same_seed_lays_the_same_and_another_another(stills: Stills, speech: list, videos: list) -> None:
    again, other = (pseudo_videos(stills, speech, "val", 3, seed) for seed in (0, 1))
    assert all(np.array_equal(a.columns, b.columns) for a, b in zip(again, videos, strict=True))
    assert all(np.array_equal(a.crops, b.crops) for a, b in zip(again, videos, strict=True))
    assert not all(np.array_equal(a.crops, b.crops) for a, b in zip(other, videos, strict=True))


def test_other_splits_make_no_difference(stills: Stills, speech: list, videos: list) -> None:
    alone = pseudo_videos(stills.part("val"), [clip for clip in speech if clip.split == "val"], "val", 3)
    assert all(np.array_equal(a.crops, b.crops) for a, b in zip(alone, videos, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_runs_keep_to_their_lengths_whatever_the_utterances(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = [["Fear", "Anger", "Sadness"][k] for k in generator.integers(0, 3, 30)]
    durations = generator.uniform(1.0, 5.0, 30).tolist()
    runs = deal_runs(labels, durations, generator)
    used = [row for run in runs for row in run]
    assert len(used) == len(set(used))
    for run in runs:
        assert len({labels[row] for row in run}) == 1
        assert RUN[0] <= sum(durations[row] for row in run) <= RUN[1]
    assert all(labels[a[0]] != labels[b[0]] for a, b in pairwise(runs))
    assert len(used) >= 15, "most of what there is must be used"


def test_what_is_too_short_for_a_run_gives_no_recording(stills: Stills, tmp_path: Path) -> None:
    short = read_ravdess(write_ravdess(tmp_path, actors=(17,), duration=0.8))
    assert pseudo_videos(stills, short, "val", 3) == []


def test_an_expression_that_is_never_shown_is_refused(stills: Stills, speech: list) -> None:
    angry = tuple("Anger" if label == "Fear" else label for label in stills.labels)
    with pytest.raises(DatasetError, match="utterances of Fear but no faces"):
        pseudo_videos(replace(stills, labels=angry), speech, "val", 3)
