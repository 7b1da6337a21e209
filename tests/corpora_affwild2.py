"""A small Aff-Wild2 as it lies on disk: annotations, crops with gaps, and media with sound.

write_affwild2(tmp_path, [Person("video1", [0, 4, -1]), Person("video2_left", [1], of="Validation_Set")])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from media_files import flat_frames, tone, write_still, write_video

NAMES = ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Other")


@dataclass(frozen=True, slots=True)
class Person:
    """One annotation, and the crops of it."""

    name: str
    labels: Sequence[int]
    """One for each line after the header: an index into its names, or -1."""
    of: str = "Train_Set"
    names: Sequence[str] = NAMES
    """In the header."""
    crops: Iterable[int] | None = None
    """Frames that have one; None for all that are labelled, or could be."""


def write_affwild2(
    root: Path,
    people: Iterable[Person],
    *,
    challenge: str = "EXPR_Recognition_Challenge",
    crops: str = "cropped_aligned",
    size: int = 112,
    ending: str = "\n",
) -> Path:
    """The root, which now holds people's annotations and crops; `shade` says what is to be seen on a crop."""
    for person in people:
        lines = (",".join(person.names), *map(str, person.labels), "")
        path = root / challenge / person.of / f"{person.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ending.join(lines).encode())
        folder = root / crops / person.name
        folder.mkdir(parents=True, exist_ok=True)
        for frame in range(1, len(person.labels) + 1) if person.crops is None else person.crops:
            label = person.labels[frame - 1] if frame <= len(person.labels) else -1
            grey = shade(person.names[label] if label >= 0 else None)
            write_still(folder / f"{frame:05d}.jpg", np.full((size, size, 3), grey, np.uint8))
    return root


def write_crops(root: Path, name: str, shown: Mapping[int, str], *, size: int = 112) -> Path:
    """The folder of crops of a person of the test set: which expression's `shade` each frame shows."""
    folder = root / "cropped_aligned" / name
    folder.mkdir(parents=True, exist_ok=True)
    for frame, label in shown.items():
        write_still(folder / f"{frame:05d}.jpg", np.full((size, size, 3), shade(label), np.uint8))
    return folder


def write_example(
    root: Path, *frames: tuple[str, Iterable[int]], name: str = "CVPR_6th_ABAW_Expr_test_set_example.txt"
) -> Path:
    """The challenge's list, which asks for these frames of these videos in this order."""
    path = root / "test_set_examples" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{video}/{frame:05d}.jpg," for video, numbers in frames for frame in numbers]
    path.write_text("\n".join((",".join(("image_location", *NAMES)), *lines)) + "\n")
    return path


def write_media(path: Path, *, n_frames: int = 4, fps: int = 30) -> Path:
    """The path of a video of that many frames with a tone, written there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codecs = {"codec": "mpeg4", "sound_codec": "pcm_s16le"} if path.suffix == ".avi" else {}
    return write_video(path, flat_frames(n_frames), fps=fps, waveform=tone(440.0, n_frames / fps), **codecs)


def shade(label: str | None) -> int:
    """The grey of crops with that label, apart by more than a jpg's error."""
    return 28 * (NAMES.index(label) + 1) if label in NAMES else 0


def seen(path: Path) -> int:
    """The grey of a crop, to the nearest `shade`."""
    image = cv2.imread(str(path))
    assert image is not None
    return 28 * round(float(image.mean()) / 28)
