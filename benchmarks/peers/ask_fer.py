"""What `fer` says of pictures; runs in an environment of its own, see `compare.py`."""

import csv
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np

cv2.waitKey = cv2.destroyAllWindows = lambda *_: None  # not in the headless build, and called all the same

from fer.fer import FER  # noqa: E402

NAMES = {
    "angry": "Anger",
    "disgust": "Disgust",
    "fear": "Fear",
    "happy": "Happiness",
    "sad": "Sadness",
    "surprise": "Surprise",
    "neutral": "Neutral",
}


def main(place: Path, kind: str) -> None:
    """Writes `fer.csv`: of a crop its whole square, of a frame the largest face that its detector finds.

    And the milliseconds that each picture took, which for crops are those of the expression net alone.
    """
    detector = FER()
    memory = np.memmap(place / "images.bin", np.uint8, "r")
    with (place / "fer.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "said", "ms"])
        for one in json.loads((place / "images.json").read_text()):
            size = one["width"] * one["height"] * 3
            image = np.array(memory[one["offset"] :][:size]).reshape(one["height"], one["width"], 3)
            whole = [(0, 0, one["width"], one["height"])] if kind == "crops" else None
            swapped = image[..., ::-1].copy()
            began = time.perf_counter()
            faces = detector.detect_emotions(swapped, face_rectangles=whole)
            took = 1000 * (time.perf_counter() - began)
            said = ""
            if faces:
                largest = max(faces, key=lambda face: face["box"][2] * face["box"][3])
                said = NAMES[max(largest["emotions"], key=largest["emotions"].get)]
            writer.writerow([one["name"], said, f"{took:.3f}"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
