"""A decoded picture in, the picture as it is to be shown out: RGB, and upright.

A file says how its pictures are to be turned and mirrored: a video by its display matrix, a still by EXIF,
which FFmpeg turns into such a matrix.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter

if TYPE_CHECKING:
    from av.buffer import Buffer
    from av.video.frame import VideoFrame
    from jaxtyping import Float32, Shaped, UInt8

_UNKNOWN_TYPES = range(len(Type), len(Type) + 8)
"""FFmpeg's numbers of kinds of side data that PyAV 18 has no name for; EXIF is 31."""


class _Converter(threading.local):
    """swscale's state: kept, it converts a frame in half the time, but two threads cannot share it."""

    def __init__(self) -> None:
        self.rgb = VideoReformatter()


_converter = _Converter()


def upright_rgb(picture: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    """A decoded picture as RGB, turned and mirrored as its file says it is to be shown."""
    # By swscale, which heeds the frame's colour matrix and range; cv2's I420 conversion heeds neither and is
    # slower. On one thread: splitting a frame costs more processor time than it saves.
    image: Shaped[np.ndarray, "rows columns 3"]
    image = _converter.rgb.reformat(picture, format="rgb24", threads=1).to_ndarray()
    transposed, mirrored, upside_down = _orientation(picture)
    if transposed:
        image = cv2.transpose(image)
    if mirrored or upside_down:
        image = cv2.flip(image, -1 if mirrored and upside_down else int(mirrored))
    return np.ascontiguousarray(image, np.uint8)  # rows may come padded


def upright_size(picture: VideoFrame) -> tuple[int, int]:
    """Width and height of a decoded picture in pixels, as it is to be shown."""
    transposed, _, _ = _orientation(picture)
    return (picture.height, picture.width) if transposed else (picture.width, picture.height)


def thumbnail(
    image: UInt8[np.ndarray, "height width 3"], box: Float32[np.ndarray, "4"], height_px: int
) -> bytes:
    """An RGB picture made small, the face in the box framed, as JPEG.

    Args:
        image: Upright.
        box: x1, y1, x2, y2 in its pixels.
        height_px: Of what leaves.
    """
    scale = height_px / image.shape[0]
    size = max(1, round(image.shape[1] * scale)), height_px
    small = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1])
    x1, y1, x2, y2 = (round(float(edge) * scale) for edge in box)
    cv2.rectangle(small, (x1, y1), (x2, y2), (255, 255, 255), 2)
    cv2.rectangle(small, (x1 - 1, y1 - 1), (x2 + 1, y2 + 1), (0, 0, 0), 1)
    encoded: bytes = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return encoded


def _orientation(picture: VideoFrame) -> tuple[bool, bool, bool]:
    """Whether a picture is to be transposed, then mirrored left to right, then turned upside down."""
    matrix = _display_matrix(picture)
    if matrix is None:
        return False, False, False
    # A stored point (x, y) is shown at (a·x + c·y, b·x + d·y); what is no quarter turn counts as the nearest.
    (a, b, _), (c, d, _), _ = np.frombuffer(bytes(matrix), np.int32).reshape(3, 3).tolist()
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    return (True, c < 0, b < 0) if transposed else (False, a < 0, d < 0)


def _display_matrix(picture: VideoFrame) -> Buffer | None:
    """Nine numbers that say where a picture's points are to be shown; None where they stay."""
    carried: Any
    try:
        carried = picture.side_data
    except ValueError:  # PyAV gives nothing at all where it has no name for one thing
        carried = _without_unknown(picture).side_data
    matrix: Buffer | None = carried.get("DISPLAYMATRIX")
    return matrix


def _without_unknown(picture: VideoFrame) -> VideoFrame:
    """The picture without the side data that PyAV has no name for."""
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
        ),
        *(graph.add("sidedata", f"mode=delete:type={number}") for number in _UNKNOWN_TYPES),
        graph.add("buffersink"),
    ).configure()
    graph.vpush(picture)
    return graph.vpull()
