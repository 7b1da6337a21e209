"""What it costs to know the past alone, on held-out data: the voice's accuracy, and the time of a change.

    python benchmarks/live_cost.py DATA

DATA holds `ravdess_speech` and `ferplus`. The voice: utterances of RAVDESS actors 17-20, read every 0.4 s
where they speak, with whole windows and with windows whose second half is masked; the mean decides. The face:
pairs of FER+ val pictures of different expressions, cut from one to the other, 25 frames a second; when does
the label change, with means that reach to both sides and with means that reach back?
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from mien.datasets.ferplus import read_ferplus
from mien.datasets.ravdess import read_ravdess
from mien.expressions import EXPRESSIONS
from mien.media import read_waveform
from mien.metrics import bootstrap, confusion, macro_f1, uar
from mien.predictor import FacePredictor, VoicePredictor, load_model
from mien.spans import column_at
from mien.speech import hear
from mien.timeline import TimelineSettings, rows
from mien.views import FaceReading, Reading
from mien.voice import GRID_STEP, past_window
from mien.windows import cut_window, first_column

FPS, CUT, LENGTH = 25, 2.0, 4.0
N_PICTURES = 400


def voice(data: Path) -> None:
    predict = VoicePredictor(load_model(), n_threads=2)
    clips = [clip for clip in read_ravdess(data / "ravdess_speech") if clip.split == "val"]
    labels, speakers, said = [], [], {"whole windows": [], "the past alone": []}
    for clip in clips:
        heard = list(hear([read_waveform(clip.path)]))
        mel = np.concatenate([each.log_mel for each in heard], axis=1)
        speech = np.concatenate([each.speech for each in heard])
        times = [k * GRID_STEP for k in range(1, int(len(speech) / 100 / GRID_STEP))]
        times = [time for time in times if speech[column_at(time)]]
        if not times:
            continue
        cuts = {
            "whole windows": [cut_window(mel, first_column(time)) for time in times],
            "the past alone": [past_window(mel[:, : column_at(time)]) for time in times],
        }
        labels.append(str(clip.label))
        speakers.append(clip.speaker)
        for name, windows in cuts.items():
            probs = predict(np.stack([each for each, _ in windows]), np.stack([mask for _, mask in windows]))
            said[name].append(EXPRESSIONS[int(probs.mean(0).argmax())])
    print(f"| voice, {len(labels)} utterances | UAR | macro-F1 |\n|---|---|---|")
    for name, own in said.items():
        found = confusion(labels, own, EXPRESSIONS)
        print(
            f"| {name} | {bootstrap(uar, labels, own, EXPRESSIONS, speakers):.3f} | {macro_f1(found):.3f} |"
        )


def change(first: np.ndarray, second: np.ndarray, *, causal: bool) -> float:
    """Seconds from the cut to the label's last change; negative before it."""
    box = np.zeros(4, np.float32)
    readings = []
    for frame in range(int(FPS * LENGTH)):
        face = FaceReading(track_id=1, box=box, confidence=1.0, probs=first if frame / FPS < CUT else second)
        readings.append(
            Reading(frame=frame, time=frame / FPS, faces=(face,), speech=False, voice=None, silent=True)
        )
    found = list(rows(readings, TimelineSettings(causal=causal)))
    changes = [later.time for before, later in pairwise(found) if before.label != later.label]
    return changes[-1] - CUT


def face(data: Path) -> None:
    stills = read_ferplus(data / "ferplus").part("val")
    predict = FacePredictor(load_model())
    crops = np.repeat(stills.images[:N_PICTURES, :, :, None], 3, axis=3)
    probs = predict(crops)
    pairs = [(a, b) for a, b in zip(probs[::2], probs[1::2], strict=True) if a.argmax() != b.argmax()]
    print(f"\n| face, {len(pairs)} cuts | median delay of the label | 95 % within |\n|---|---|---|")
    for name, causal in (("means to both sides", False), ("the past alone", True)):
        delays = [change(a, b, causal=causal) for a, b in pairs]
        print(f"| {name} | {np.median(delays):.2f} s | {np.quantile(np.abs(delays), 0.95):.2f} s |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    voice(given.data)
    face(given.data)


if __name__ == "__main__":
    main()
