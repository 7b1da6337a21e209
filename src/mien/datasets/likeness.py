"""Pictures in, which of them show the same out: what is learnt from must not be what is scored by.

Collections of pictures from the web share some of them, cut and compressed in other ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, UInt8, UInt64

NEAR_BITS = 4
"""Two pictures whose 64-bit hashes differ in at most so many bits are taken for the same one.

Of 13,146 aligned faces of LFW 71 have such a like: up to 2 bits the same moment, at 4 some are two people.
"""


def perceptual_hashes(images: UInt8[np.ndarray, "stills height width"]) -> UInt64[np.ndarray, "stills"]:
    """A 64-bit hash of each picture's coarse shape: its 8 x 8 lowest cosine terms against their median."""
    bits = np.zeros((len(images), 64), np.uint8)
    for i, image in enumerate(images):
        small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        terms = cv2.dct(small)[:8, :8].ravel()
        bits[i] = terms > np.median(terms[1:])
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def near_any(
    hashes: UInt64[np.ndarray, "stills"], others: UInt64[np.ndarray, "others"]
) -> Bool[np.ndarray, "stills"]:
    """Which hashes lie within `NEAR_BITS` of any of the others."""
    return np.array([(np.bitwise_count(others ^ one) <= NEAR_BITS).any() for one in hashes], np.bool_)
