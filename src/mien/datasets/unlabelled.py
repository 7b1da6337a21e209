"""Face photographs without labels, from one Parquet file, as the grey crops that a face net is given.

They are found and aligned as faces of a video are, so a net that learns from them sees what it will read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien.datasets.corpus import read_parquet
from mien.detection import RetinaFace, look_near
from mien.errors import DatasetError
from mien.faces import align

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import UInt8

    from mien.faces import Template
    from mien.spans import Hook

FILE = "faces128.parquet"


def read_unlabelled(folder: Path, template: Template, hook: Hook) -> UInt8[np.ndarray, "faces size size"]:
    """One grey crop of each photograph in which a face is found: the most certain one.

    Args:
        folder: Holds `faces128.parquet`, whose column `webp` has one encoded picture a row.
        template: Of the crops.
        hook: Called with what is done, how far, and how much there is.

    Raises:
        DatasetError: The file is absent or not of that form, or no face is found.
    """
    rows = read_parquet(folder / FILE, {"webp"})["webp"]
    detector = RetinaFace()
    crops = []
    for done, data in enumerate(rows):
        image = None
        if isinstance(data, bytes) and data:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise DatasetError(f"{FILE} row {done}: expected an encoded picture")
        found = detector(image)
        nearer = look_near(detector, image, found[0].box) if found else None
        if nearer is not None:
            crop = align(image, nearer.landmarks, template)
            crops.append(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY))
        hook("finding unlabelled faces", done + 1, len(rows))
    if not crops:
        raise DatasetError(f"{folder / FILE}: no face is found in its {len(rows)} pictures")
    return np.stack(crops)
