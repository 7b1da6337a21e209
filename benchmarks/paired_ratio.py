"""The proportion rule's ratio on label-paired faces and voices of the `choose` splits.

    python benchmarks/paired_ratio.py DATA [MODEL]

DATA holds `ferplus` and `ravdess_speech`. Each utterance of RAVDESS' actors 15-16 is paired with ten faces of
FER+'s choose split that bear the same label (seed 0), as AV-MNIST pairs digits. Pairs that nobody ever showed
together check the machinery and choose a ratio; they do not measure what fusion is worth on real people.
"""

import sys
from pathlib import Path

import numpy as np

from mien.evaluate import predict_corpus
from mien.expressions import EXPRESSIONS
from mien.fusion import RATIOS, choose_ratio, proportion
from mien.metrics import confusion, macro_f1

FACES_PER_UTTERANCE = 10
CLASSES = tuple(name for name in EXPRESSIONS if name != "Other")


def macro(labels: list[str], probs: np.ndarray) -> float:
    """Macro-F1 over the seven expressions that RAVDESS acts."""
    seven = probs[:, [EXPRESSIONS.index(name) for name in CLASSES]]
    return float(macro_f1(confusion(labels, [CLASSES[k] for k in seven.argmax(1)], CLASSES)))


def main(data: Path, model: str = "mien-b") -> None:
    """Prints macro-F1 of voice, face, each ratio, and the ratio chosen."""
    faces = predict_corpus(model, data / "ferplus", "choose", lambda *_: None)
    voices = predict_corpus(model, data / "ravdess_speech", "choose", lambda *_: None)
    generator = np.random.default_rng(0)
    pairs = [
        (utterance, face)
        for utterance, label in enumerate(voices.labels)
        for face in generator.choice(
            np.flatnonzero(np.array(faces.labels) == label), FACES_PER_UTTERANCE, replace=True
        )
    ]
    voice, face = (np.array(each) for each in zip(*pairs, strict=True))
    labels = [voices.labels[i] for i in voice]
    voice_probs, face_probs = voices.probs[voice], faces.probs[face]
    alone = f"voice {macro(labels, voice_probs):.3f}, face {macro(labels, face_probs):.3f}"
    print(f"{len(labels)} pairs; macro-F1 of {alone}")
    for m, n in RATIOS:
        fused = proportion(voice_probs, face_probs, voice_weight=m, face_weight=n)
        print(f"  {m}:{n} {macro(labels, fused):.3f}")
    m, n = choose_ratio(voice_probs, face_probs, labels, macro)
    print(f"chosen, voice : face = {m}:{n}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
