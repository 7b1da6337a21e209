"""AffectNet, ExpW and MS1MV2, each in the form it has on disk, small: true names, made-up faces."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Image = np.ndarray[Any, np.dtype[np.uint8]]

AFFECTNET_HEAD = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def write_affectnet_lists(
    folder: Path, *, train: Sequence[str] = "01234567", val: Sequence[str] = "0123456"
) -> Path:
    """The folder, which now holds AffectNet's earlier form: two lists and the pictures that they name.

    Args:
        folder: Made if absent.
        train: Expression code of each row of `training.csv`; row k has picture `<1 + k % 3>/train<k>.jpg`.
        val: Of each row of `validation.csv`.
    """
    for number, (name, part, codes) in enumerate((("training", "train", train), ("validation", "val", val))):
        rows = []
        for k, code in enumerate(codes):
            file = f"{1 + k % 3}/{part}{k}.jpg"
            write_jpg(folder / "Manually_Annotated_Images" / file, seed=1000 * number + k)
            rows.append(affectnet_row(file, code))
        write_affectnet_list(folder / f"{name}.csv", *rows)
    return folder


def affectnet_row(file: str, code: str = "1", box: str = "4,6,20,24") -> str:
    landmarks = ";".join(f"{10 + point / 7:.2f}" for point in range(136))
    return f"{file},{box},{landmarks},{code},-0.25,0.5"


def write_affectnet_list(path: Path, *rows: str, head: str = AFFECTNET_HEAD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((head, *rows)) + "\n", encoding="utf-8")
    return path


def write_affectnet_sets(
    folder: Path, *, train: Sequence[str | int] = "01234567", val: Sequence[str | int] = "0123456"
) -> Path:
    """The folder, which now holds AffectNet's later form: crops, and four arrays for each.

    Args:
        folder: Made if absent.
        train: What each `<id>_exp.npy` of `train_set` holds, a string or a number.
        val: Of `val_set`.
    """
    for name, codes in (("train_set", train), ("val_set", val)):
        (folder / name / "annotations").mkdir(parents=True, exist_ok=True)
        for number, code in enumerate(codes):
            write_jpg(folder / name / "images" / f"{number}.jpg", seed=number, size=224)
            for kind, value in {"exp": code, "val": "-0.25", "aro": "0.5", "lnd": np.zeros(136)}.items():
                np.save(folder / name / "annotations" / f"{number}_{kind}.npy", np.array(value))
    return folder


def write_expw(folder: Path, *, n_images: int = 20, faces: int = 2) -> Path:
    """The folder, which now holds ExpW: each picture has several faces, whose labels go round.

    Args:
        folder: Made if absent.
        n_images: Pictures.
        faces: In each picture.
    """
    lines = []
    for k in range(n_images):
        name = f"angry_actor_{k}.jpg"
        write_jpg(folder / "image" / "origin" / name, seed=k)
        lines += [
            f"{name} {face} {10 + face} {20 * face} {20 * face + 16} 30 {40 + k}.25 {(k * faces + face) % 7}"
            for face in range(faces)
        ]
    (folder / "label.lst").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_ms1mv2(folder: Path, *, identities: Sequence[int] = (3, 5, 4)) -> list[bytes]:
    """The pictures, in order, of a MS1MV2 that is written into a folder.

    As in the real one, pictures come first, then record 0, then the identities; pictures have two labels.

    Args:
        folder: Made if absent.
        identities: How many pictures each one has.
    """
    n_images = sum(identities)
    images = [jpg(seed=k, size=112) for k in range(n_images)]
    whose = [float(who) for who, count in enumerate(identities) for _ in range(count)]
    first = n_images + 1
    records = [
        (key, record([who, 1.0], image, key=key))
        for key, (who, image) in enumerate(zip(whose, images, strict=True), 1)
    ]
    records.append((0, record([float(first), float(first + len(identities))])))
    begin = 1
    for number, count in enumerate(identities):
        records.append((first + number, record([float(begin), float(begin + count)], key=first + number)))
        begin += count
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder, records)
    (folder / "property").write_text(f"{len(identities)},112,112", encoding="ascii")
    return images


def write_records(folder: Path, records: Sequence[tuple[int, bytes]]) -> None:
    """Writes `train.rec` and `train.idx`."""
    starts = np.cumsum([0, *(len(content) for _, content in records)])
    (folder / "train.rec").write_bytes(b"".join(content for _, content in records))
    lines = [f"{key}\t{start}\n" for (key, _), start in zip(records, starts, strict=False)]
    (folder / "train.idx").write_text("".join(lines), encoding="ascii")


MAGIC = struct.pack("<I", 0xCED7230A)


def record(labels: Sequence[float], content: bytes = b"", *, key: int = 0) -> bytes:
    """One record: with one label in its header, or several after it; in parts where it holds the magic."""
    several = len(labels) > 1
    head = struct.pack("<IfQQ", len(labels) if several else 0, 0.0 if several else labels[0], key, 0)
    extra = struct.pack(f"<{len(labels)}f", *labels) if several else b""
    body = head + extra + content
    cuts = [at for at in range(0, len(body) - 3, 4) if body[at : at + 4] == MAGIC]
    parts = [
        body[begin:end]
        for begin, end in zip([0, *(cut + 4 for cut in cuts)], [*cuts, len(body)], strict=True)
    ]
    if len(parts) == 1:
        return part_of_record(0, body)
    flags = [1, *[2] * (len(parts) - 2), 3]
    return b"".join(map(part_of_record, flags, parts))


def part_of_record(flag: int, content: bytes) -> bytes:
    """What stands in the file for a part of a record."""
    return MAGIC + struct.pack("<I", flag << 29 | len(content)) + content + bytes(-len(content) % 4)


def write_jpg(path: Path, *, seed: int, size: int = 48) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpg(seed=seed, size=size))
    return path


def jpg(*, seed: int, size: int) -> bytes:
    """A picture of soft blobs, another one for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    written, content = cv2.imencode(".jpg", cv2.resize(coarse, (size, size)))
    assert written
    return content.tobytes()


def blobs(seed: int) -> Image:
    """A picture whose coarse shape no other seed has."""
    coarse = np.random.default_rng(seed).normal(128, 45, (7, 7))
    smooth = cv2.resize(coarse, (48, 48), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(smooth, 0, 255), np.uint8)


def nearly(image: Image, seed: int) -> Image:
    """The same picture, a little darker and with a little noise."""
    noise = np.random.default_rng(seed).normal(-3, 1.5, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)
