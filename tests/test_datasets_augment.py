"""Augmentation: a function of the seed, of the right size and range, and nothing where everything is 0."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mien.datasets.augment import (
    STRONG,
    WEAK,
    FaceAugmentation,
    SpeechAugmentation,
    mask_log_mel,
    vary_faces,
)

STILL = FaceAugmentation(scale=0, rotation=0, shift=0, blur=0, contrast=0, noise=0, erase=0)


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
