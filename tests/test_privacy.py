"""No face is left where none is wanted: the detector looks for some in whatever a report consists of."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from media_files import write_video
from mien.detection import STILL_PX, RetinaFace
from mien.media import read_frames
from mien.report import WRITERS
from portraits import PORTRAIT, scene

PICTURES = re.compile(rb"data:image/[a-z]+;base64,([A-Za-z0-9+/=\s]+)")
FORMATS = ",".join(name for name in WRITERS if name != "parquet")

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]


def crowd(k: int) -> np.ndarray:
    """A picture of 24 faces, more than are followed, which all move."""
    image = np.full((720, 1280, 3), 120, np.uint8)
    face = cv2.resize(PORTRAIT[20:180, 20:180], (120, 120), interpolation=cv2.INTER_AREA)
    for row in range(4):
        for column in range(6):
            top, left = 20 + 170 * row, 60 + 200 * column + 4 * k
            image[top : top + 120, left : left + 120] = face if (row + column) % 2 else face[:, ::-1]
    return image


def passing() -> Iterator[np.ndarray]:
    """Two people; one walks out of the picture, and quickly in again."""
    for k in range(24):
        yield scene(20, 260 + 24 * min(k, 20 - k), width=700)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {
        "crowd": write_video(folder / "crowd.mp4", (crowd(k) for k in range(6)), fps=12),
        "passing": write_video(folder / "passing.mp4", passing(), fps=12),
    }


def pictures_of(folder: Path) -> Iterator[np.ndarray]:
    """Every picture in every file of a report, as RGB."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".mp4":
            yield from (frame.image for frame in read_frames(path))
        elif path.suffix == ".png":
            yield np.asarray(Image.open(path).convert("RGB"))
        else:
            assert path.suffix not in (".zip", ".jpg", ".gif", ".parquet"), (
                "something that is not looked into"
            )
            for encoded in PICTURES.findall(path.read_bytes()):
                picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
                yield np.asarray(picture.convert("RGB"))


def count_faces(pictures: Iterator[np.ndarray]) -> int:
    detect = RetinaFace(detect_px=STILL_PX)
    return sum(len(detect(np.ascontiguousarray(picture))) for picture in pictures)


@pytest.mark.parametrize(
    ("film", "options"),
    [
        ("passing", ()),
        ("passing", ("--start", 0.5, "--end", 1.0)),
        ("passing", ("--region", "0,0,240,270")),
        ("passing", ("--min-face", 400)),
        ("crowd", ()),
    ],
)
def test_blur_leaves_no_face(
    film: str, options: tuple[object, ...], films: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    """Those that have no row are hidden as well."""
    out = tmp_path / "out"
    code, _, err = run("analyze", films[film], "--out", out, "--formats", FORMATS, "--blur", *options)
    assert code == 0, err
    first = next(read_frames(films[film])).image
    assert count_faces(iter([first])) == (24 if film == "crowd" else 2), "there is something to hide"
    assert count_faces(pictures_of(out)) == 0


def test_no_pictures_leaves_no_face_in_a_report(films: dict[str, Path], tmp_path: Path, run: Run) -> None:
    formats = FORMATS.replace(",video", "")
    for options in ((), ("--no-pictures",)):
        code, _, err = run(
            "analyze",
            films["passing"],
            "--out",
            tmp_path / f"out{len(options)}",
            "--formats",
            formats,
            *options,
        )
        assert code == 0, err
    shown, hidden = (count_faces(pictures_of(tmp_path / f"out{n}")) for n in (0, 1))
    assert shown > 0
    assert hidden == 0
