"""Augmentation: a function of the seed, of the right size and range, and nothing where everything is 0."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mien.datasets.augment import (
    STRONG,
    WEAK,
    FaceAugmentation,
    SpeechAugmentation,
    keep_past,
    mask_log_mel,
    vary_faces,
    vary_waveform,
)
from mien.spans import SAMPLE_RATE
from mien.windows import QUIETEST

STILL = FaceAugmentation(scale=0, rotation=0, shift=0, blur=0, contrast=0, noise=0, erase=0)
PLAIN = SpeechAugmentation(
    speed=0, gain_db=0, noise_db=(200, 200), band=0, frequency_mask=0, time_mask=0, mask=0
)
TONE = (0.1 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.float32)


def some_faces(n: int = 6, side: int = 24) -> Tensor:
    return 0.05 + 0.9 * torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(5))


def varied_faces(config: FaceAugmentation, seed: int = 0, size_px: int = 24) -> Tensor:
    torch.manual_seed(seed)
    return vary_faces(some_faces(), size_px, config)


def unmoved(varied: Tensor) -> Tensor:
    """Largest difference of each varied face from itself, mirrored or not."""
    faces = some_faces()
    straight, mirrored = ((varied - each).abs().amax((1, 2, 3)) for each in (faces, faces.flip(-1)))
    return torch.minimum(straight, mirrored)


def unlike(varied: Tensor, faces: Tensor) -> float:
    """Mean difference of varied faces from the faces, mirrored or not."""
    straight, mirrored = ((varied - each).abs().mean((1, 2, 3)) for each in (faces, faces.flip(-1)))
    return float(torch.minimum(straight, mirrored).mean())


def varied_tone(config: SpeechAugmentation, seed: int = 0) -> np.ndarray:
    torch.manual_seed(seed)
    return vary_waveform(TONE, config)


@pytest.mark.parametrize("size_px", [24, 16, 40])
def test_varied_faces_have_the_size_asked_for_and_about_the_range_of_faces(size_px: int) -> None:
    varied = varied_faces(FaceAugmentation(), size_px=size_px)
    assert varied.shape == (6, 1, size_px, size_px)
    assert varied.isfinite().all()
    assert varied.min() > -0.3
    assert varied.max() < 1.3
    noiseless = varied_faces(replace(FaceAugmentation(), noise=0))
    assert noiseless.min() >= 0
    assert noiseless.max() <= 1


def test_faces_are_only_mirrored_where_everything_is_0() -> None:
    varied = varied_faces(STILL)
    assert unmoved(varied).max() < 1e-4
    mirrored = (varied - some_faces()).abs().amax((1, 2, 3)) > 0.1
    assert 0 < mirrored.sum() < 6


@pytest.mark.parametrize(
    "config",
    [
        replace(STILL, scale=0.25),
        replace(STILL, rotation=18.0),
        replace(STILL, shift=0.1),
        replace(STILL, blur=1.0),
        replace(STILL, contrast=0.3),
        replace(STILL, noise=0.03),
        replace(STILL, erase=1.0),
    ],
    ids=str,
)
def test_every_setting_of_faces_does_something(config: FaceAugmentation) -> None:
    assert unmoved(varied_faces(config)).max() > 5e-3


def test_a_weak_view_is_nearer_to_the_face_than_training_s_and_a_strong_one_farther() -> None:
    smooth = torch.nn.functional.interpolate(some_faces(16, side=4), (24, 24), mode="bilinear")
    away = []
    for config in (WEAK, FaceAugmentation(), STRONG):
        torch.manual_seed(0)
        away.append(unlike(vary_faces(smooth, 24, config), smooth))
    assert 0 < 2 * away[0] < away[1] < away[2] / 1.2


def test_faces_are_a_function_of_the_seed() -> None:
    first, again = varied_faces(FaceAugmentation(), 3), varied_faces(FaceAugmentation(), 3)
    assert torch.equal(first, again)
    assert not torch.equal(first, varied_faces(FaceAugmentation(), 4))


def test_an_erased_rectangle_is_a_rectangle() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        varied = vary_faces(torch.full((1, 1, 40, 40), 0.5), 40, replace(STILL, erase=1.0))
        rows, columns = ((varied[0, 0] - 0.5).abs() > 1e-5).nonzero().unbind(1)
        height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
        assert min(height, width) >= 4
        assert max(height, width) <= 21
        assert len(rows) > 0.95 * height * width


def test_a_varied_waveform_stays_in_range_and_its_length_follows_its_speed() -> None:
    lengths = []
    for seed in range(20):
        varied = varied_tone(SpeechAugmentation(), seed)
        assert varied.dtype == np.float32
        assert np.abs(varied).max() <= 1
        lengths.append(varied.size / TONE.size)
    assert 1 / 1.12 - 1e-3 <= min(lengths) < 0.97
    assert 1.03 < max(lengths) <= 1.12 + 1e-3


def test_a_waveform_is_left_alone_where_everything_is_0() -> None:
    np.testing.assert_allclose(varied_tone(PLAIN), TONE[:-1], atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        replace(PLAIN, gain_db=10.0),
        replace(PLAIN, noise_db=(10.0, 10.0)),
        replace(PLAIN, band=1.0),
    ],
    ids=str,
)
def test_every_setting_of_speech_does_something(config: SpeechAugmentation) -> None:
    assert np.abs(varied_tone(config) - TONE[:-1]).max() > 1e-3


@pytest.mark.parametrize("ratio_db", [8.0, 20.0, 45.0])
def test_noise_is_as_loud_as_it_says(ratio_db: float) -> None:
    for seed in range(4):  # white and pink
        noise = varied_tone(replace(PLAIN, noise_db=(ratio_db, ratio_db)), seed) - TONE[:-1]
        found = 10 * np.log10(np.mean(TONE**2) / np.mean(noise**2))
        assert found == pytest.approx(ratio_db, abs=0.1)


def test_level_changes_by_no_more_than_it_says() -> None:
    changes = [
        20 * np.log10(np.std(varied_tone(replace(PLAIN, gain_db=6.0), seed)) / np.std(TONE))
        for seed in range(20)
    ]
    assert -6.01 <= min(changes) < -2
    assert 2 < max(changes) <= 6.01


def test_waveforms_are_a_function_of_the_seed() -> None:
    first, again = varied_tone(SpeechAugmentation(), 3), varied_tone(SpeechAugmentation(), 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:1000], varied_tone(SpeechAugmentation(), 4)[:1000])


def masked(config: SpeechAugmentation, n: int = 40) -> Tensor:
    """Which cells of windows of ones are filled with -7."""
    torch.manual_seed(0)
    windows = torch.ones(n, 64, 240)
    out = mask_log_mel(windows, -7.0, config)
    assert (windows == 1).all()
    assert ((out == 1) | (out == -7)).all()
    return out == -7


def test_no_masks_where_there_is_no_chance_or_no_width() -> None:
    assert not masked(replace(SpeechAugmentation(), mask=0)).any()
    assert not masked(replace(SpeechAugmentation(), frequency_mask=0, time_mask=0)).any()


def test_bands_are_whole_rows_and_no_wider_than_they_say() -> None:
    bands = masked(replace(SpeechAugmentation(), time_mask=0, mask=1))
    assert torch.equal(bands.any(2), bands.all(2))
    widths = bands.any(2).sum(1)
    assert 8 < widths.max() <= 2 * 8


def test_stretches_are_whole_columns_and_no_wider_than_they_say() -> None:
    stretches = masked(replace(SpeechAugmentation(), frequency_mask=0, mask=1))
    assert torch.equal(stretches.any(1), stretches.all(1))
    widths = stretches.any(1).sum(1)
    assert 32 < widths.max() <= 2 * 32


def test_the_chance_of_masks_is_that_of_windows() -> None:
    share = masked(replace(SpeechAugmentation(), mask=0.5), 200).any(2).any(1).float().mean()
    assert 0.35 < share < 0.65


def test_of_what_is_heard_only_a_beginning_is_kept() -> None:
    torch.manual_seed(0)
    window = np.random.default_rng(0).normal(0, 1, (64, 240)).astype(np.float32)
    mask = (np.arange(240) >= 40) & (np.arange(240) < 220)
    kept = [keep_past(window, mask, 1.0) for _ in range(200)]
    lengths = [int(there.sum()) for _, there in kept]
    assert min(lengths) >= 180 // 4
    assert 110 < max(lengths) <= 121
    for part, there in kept:
        assert there[40]
        assert not there[:40].any()
        last = int(np.flatnonzero(there)[-1])
        assert np.array_equal(part[:, : last + 1], window[:, : last + 1])
        assert (part[:, last + 1 :] == np.float32(QUIETEST)).all()


def test_without_a_chance_nothing_is_drawn() -> None:
    state = torch.get_rng_state()
    window, mask = np.ones((64, 240), np.float32), np.ones(240, np.bool_)
    assert keep_past(window, mask, 0.0) == (window, mask)
    assert torch.equal(torch.get_rng_state(), state)
