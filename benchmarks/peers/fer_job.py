"""`fer` on a whole film, its table written: prints the seconds that took, its imports apart."""

import sys
import time
from pathlib import Path

import cv2

cv2.waitKey = cv2.destroyAllWindows = lambda *_: -1  # not in the headless build, and called all the same

from fer.classes import Video  # noqa: E402
from fer.fer import FER  # noqa: E402


def main(film: Path, work: Path) -> None:
    """Every frame, as its own `Video.analyze` does it, to a CSV."""
    began = time.perf_counter()
    video = Video(str(film), outdir=str(work), first_face_only=True)
    quiet = dict.fromkeys(("display", "save_frames", "save_video", "annotate_frames", "zip_images"), False)
    rows = video.to_pandas(video.analyze(FER(), **quiet))
    rows.to_csv(work / "fer.csv")
    print(f"fer {len(rows)} {time.perf_counter() - began:.3f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
