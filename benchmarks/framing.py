"""How much the framing of video crops matters: clips whose expression is known, read under three templates.

    python benchmarks/framing.py CLIPS

CLIPS holds `happy_256px_no_sound.mp4`, `sad_256px.mp4` and a RAVDESS clip that acts Neutral. For each
template (the measured one, and the same drawn tighter or wider about its centre) the share of sampled faces
that get the acted expression, its mean probability, and the share that is read as Neutral.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.detection import RetinaFace
from mien.expressions import EXPRESSIONS, position
from mien.faces import Template, find_faces
from mien.media import read_frames
from mien.predictor import FacePredictor, load_model

ACTED = {"happy_256px_no_sound.mp4": "Happiness", "sad_256px.mp4": "Sadness"}
SCALES = {
    "tighter (face 1.2 times as large)": 1.2,
    "as measured on FER+": 1.0,
    "wider (face 0.83 times)": 1 / 1.2,
}


def scaled(template: Template, scale: float) -> Template:
    """The template with its points drawn away from, or to, the centre of the crop."""
    return Template(
        template.size_px,
        tuple((0.5 + (x - 0.5) * scale, 0.5 + (y - 0.5) * scale) for x, y in template.landmarks),
    )


def read_faces(path: Path, template: Template, predict: FacePredictor) -> Iterator[np.ndarray]:
    """Probabilities of each sampled face of a clip."""
    for frame in find_faces(read_frames(path), template, detector=RetinaFace()):
        for face in frame.faces or ():
            yield predict(face.crop[None])[0]


def main(folder: Path) -> None:
    """Prints the table."""
    predict = FacePredictor(load_model())
    assert predict.spec.crop_px is not None
    assert predict.spec.landmarks is not None
    template = Template(predict.spec.crop_px, predict.spec.landmarks)
    acted = ACTED | {path.name: "Neutral" for path in folder.glob("ravdess_01-01-01-*.mp4")}
    print(
        "| framing | clip | acted | right | its mean probability | read as Neutral |\n"
        "|---|---|---|---|---|---|"
    )
    for name, scale in SCALES.items():
        for clip, expression in acted.items():
            probs = np.stack(list(read_faces(folder / clip, scaled(template, scale), predict)))
            labels = np.array(EXPRESSIONS)[probs.argmax(1)]
            mean = probs[:, position(expression)].mean()
            print(
                f"| {name} | {clip} | {expression} | {(labels == expression).mean():.0%} | {mean:.2f}"
                f" | {(labels == 'Neutral').mean():.0%} |"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
