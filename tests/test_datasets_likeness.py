"""Pictures that show the same, by a hash of their coarse shape."""

import cv2
import numpy as np
import pytest
from scipy.fft import dctn

from corpora_pictures import blobs, nearly
from mien.datasets.likeness import NEAR_BITS, near_any, perceptual_hashes


def test_near_pictures_have_near_hashes() -> None:
    pictures = np.stack([blobs(k) for k in range(30)])
    hashes = perceptual_hashes(pictures)
    again = perceptual_hashes(np.stack([nearly(image, k) for k, image in enumerate(pictures)]))
    distances = np.bitwise_count(hashes[:, None] ^ again[None])
    assert hashes.dtype == np.uint64
    assert distances.diagonal().max() <= NEAR_BITS
    assert distances[~np.eye(30, dtype=bool)].min() > NEAR_BITS


@pytest.mark.parametrize("size_px", [32, 96, 112])
def test_the_same_picture_of_another_size_is_near(size_px: int) -> None:
    pictures = [blobs(k) for k in range(20)]
    resized = [cv2.resize(each, (size_px, size_px), interpolation=cv2.INTER_AREA) for each in pictures]
    hashes, others = (perceptual_hashes(np.stack(each)) for each in (pictures, resized))
    assert near_any(hashes, others).all()
    assert not near_any(hashes[:10], others[10:]).any()


def test_a_hash_is_of_the_lowest_cosine_terms_of_means() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (20, 128, 96), np.uint8)
    for picture, found in zip(pictures, perceptual_hashes(pictures), strict=True):
        means = picture.reshape(32, 4, 32, 3).mean(axis=(1, 3))
        terms = dctn(means, norm="ortho")[:8, :8].ravel()
        clear = np.abs(terms - np.median(terms[1:])) > 1  # means are rounded to whole greys
        bits = np.unpackbits(np.array([found]).view(np.uint8)).astype(bool)
        assert (bits == (terms > np.median(terms[1:])))[clear].all()
        assert bits[1:].sum() == 31, "half of them, but for the median itself"


def test_nothing_is_near_to_none() -> None:
    hashes = np.arange(3, dtype=np.uint64)
    assert near_any(hashes, hashes[:0]).tolist() == [False] * 3
    assert near_any(hashes[:0], hashes).shape == (0,)


def test_few_bits_more_are_too_far() -> None:
    one = np.array([2**NEAR_BITS - 1, 2 ** (NEAR_BITS + 1) - 1], np.uint64)
    assert near_any(one, np.zeros(1, np.uint64)).tolist() == [True, False]
