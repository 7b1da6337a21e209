"""Prints where the detector's five points lie on FER+'s training faces, and how far single faces stray.

    python benchmarks/template.py FERPLUS48.parquet [--count 2000]

The template of the mean of four is `mien.faces.FERPLUS_LANDMARKS`; the spreads say how wide the jitter of
training must be to cover FER+'s loose framing. Nothing is written.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl

from mien.detection import RetinaFace, look_near
from mien.faces import similarity

if TYPE_CHECKING:
    from jaxtyping import Float64, UInt8

POINTS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")
MIRRORED = [1, 0, 2, 4, 3]


def read_faces(path: Path, count: int, seed: int) -> list[UInt8[np.ndarray, "48 48"]]:
    """Grey training faces that no voter called 'not a face', drawn without replacement."""
    table = pl.read_parquet(path).filter((pl.col("split") == "train") & (pl.col("votes").list.get(9) == 0))
    drawn = table.sample(min(count, len(table)), seed=seed)["webp"]
    return [cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_GRAYSCALE) for webp in drawn]


def find_landmarks(
    faces: list[UInt8[np.ndarray, "48 48"]], enlarged_px: int, border: float, near: bool
) -> Float64[np.ndarray, "faces 5 2"]:
    """Landmarks, in units of the image side, of the face nearest to each picture's middle; else NaN."""
    detect = RetinaFace(detect_px=4096)
    border_px = round(enlarged_px * border)
    found = np.full((len(faces), 5, 2), np.nan)
    for i, face in enumerate(faces):
        large = cv2.resize(face, (enlarged_px, enlarged_px), interpolation=cv2.INTER_CUBIC)
        large = cv2.copyMakeBorder(large, *[border_px] * 4, cv2.BORDER_CONSTANT, value=117)
        colour = cv2.cvtColor(large, cv2.COLOR_GRAY2RGB)
        detections = detect(colour)
        if detections:
            if near:
                detections = [look_near(detect, colour, d.box) or d for d in detections]
            places = np.stack([(d.landmarks - border_px) / enlarged_px for d in detections])
            found[i] = places[np.argmin(np.abs(places.mean(axis=1) - 0.5).sum(axis=1))]
    return found


def symmetrise(landmarks: Float64[np.ndarray, "5 2"]) -> Float64[np.ndarray, "5 2"]:
    """The landmarks averaged with their mirror image."""
    return (landmarks + (landmarks * [-1, 1] + [1, 0])[MIRRORED]) / 2


def describe(found: Float64[np.ndarray, "faces 5 2"]) -> None:
    """Prints the mean, the symmetric template, and the spread of single faces about it."""
    seen = found[~np.isnan(found[:, 0, 0])]
    template = symmetrise(seen.mean(axis=0))
    print("  template " + ", ".join(f"({x:.4f}, {y:.4f})" for x, y in template))
    for name, mean, deviation in zip(POINTS, seen.mean(axis=0), seen.std(axis=0), strict=True):
        print(f"  {name:18s} mean {mean[0]:.4f} {mean[1]:.4f}   sd {deviation[0]:.4f} {deviation[1]:.4f}")
    fits = np.stack([similarity(template, face) for face in seen])
    scale = np.hypot(fits[:, 0, 0], fits[:, 1, 0])
    degrees = np.degrees(np.arctan2(fits[:, 1, 0], fits[:, 0, 0]))
    shift = fits[:, :, :2] @ np.array([0.5, 0.5]) + fits[:, :, 2] - 0.5
    residual = np.stack(
        [(f - fit[:, 2]) @ np.linalg.inv(fit[:, :2]).T for f, fit in zip(seen, fits, strict=True)]
    )
    rows = {
        "scale": scale,
        "rotation (degrees)": degrees,
        "x shift of centre": shift[:, 0],
        "y shift of centre": shift[:, 1],
    }
    for name, values in rows.items():
        low, *quartiles, high = np.percentile(values, [5, 25, 50, 75, 95])
        print(
            f"  {name:18s} mean {values.mean():+.4f} sd {values.std():.4f}"
            f"   5% {low:+.4f}  quartiles " + " ".join(f"{q:+.4f}" for q in quartiles) + f"  95% {high:+.4f}"
        )
    print(
        "  sd of each point after similarity (x y): "
        + "  ".join(f"{x:.4f} {y:.4f}" for x, y in (residual - template).std(axis=0))
    )


def main() -> None:
    """Prints the figures for several enlargements, so that what hangs on the enlargement shows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parquet", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    faces = read_faces(given.parquet, given.count, given.seed)
    pooled = []
    for enlarged_px, border in [(192, 0.0), (192, 0.25), (256, 0.0), (256, 0.25)]:
        found = find_landmarks(faces, enlarged_px, border, near=False)
        rate = np.mean(~np.isnan(found[:, 0, 0]))
        print(f"enlarged to {enlarged_px} px, grey border of {border:.2f} sides: found {rate:.1%}")
        describe(found)
        pooled.append(found)
    print("mean of the four for every face found in all of them")
    describe(np.mean(pooled, axis=0))
    print("check, not in the mean: 256 px, border of 0.25 sides, looked near again as find_faces does")
    describe(find_landmarks(faces, 256, 0.25, near=True))


if __name__ == "__main__":
    main()
