"""What reads lists of videos, archives, models, extractors, scores and timelines."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import some_predictions
from mien import archive, export, extractors, heldout, predictor, spec, timelines
from mien import table1_page as page
from mien.expressions import EXPRESSIONS
from mien.spans import MEDIA_SUFFIXES
from mien.timeline import TimelineSettings
from mien.windows import WINDOW
from parsers import add, arrays
from parsers_of_corpora import lay_parquet
from some_rows import clip
from some_rules import leaning_rule
from test_writers import written

# archives: lists of videos, and what an earlier run left

ENTRY = archive.Entry(
    source="a.mp4", status="done", seconds=1.5, rows=3, table="source=a.mp4/timeline.parquet"
)


def take_up(path: Path) -> None:
    with archive.Archive(str(path.parent), archive.Settings()) as taken:
        taken.is_whole("a.mp4", "source=a.mp4", 0)


def lay_archive(file: str) -> Callable[[Path], list[bytes]]:
    def lay(folder: Path) -> list[bytes]:
        with archive.Archive(str(folder), archive.Settings()) as made:
            for source in ("a.mp4", "s3://b/c d.mp4"):
                made.note(replace(ENTRY, source=source))
            made.write_manifest()
        return [(folder / file).read_bytes()]

    return lay


def videos(path: Path) -> object:
    return archive.find_sources(str(path), MEDIA_SUFFIXES)


add("list txt", "videos.txt", videos, "a.mp4\nsub/b c.mp4\n\n/x/d.mp4\n", "memory://a.mp4\n")
add("list csv", "videos.csv", videos, "path,who\na.mp4,Ann\n'b, c.mp4',\n".replace("'", '"'))
add("list parquet", "videos.parquet", videos, lay=lay_parquet("path", "webp"), is_slow=True)
for _file in ("settings.json", "manifest.csv"):
    add(f"archive {_file}", _file, take_up, lay=lay_archive(_file))


# models: what they say of themselves, extractors, checkpoints

FACE = {
    "crop_px": 48,
    "landmarks": [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]],
    "window": None,
}
SPEECH = {"crop_px": None, "landmarks": None, "window": WINDOW}


def spec_of(modality: Any, **changes: Any) -> str:
    said: dict[str, Any] = (
        FACE if modality == "face" else SPEECH if modality == "speech" else {**FACE, "window": 3.2}
    )
    told = {
        "expressions": EXPRESSIONS,
        "licence": "none",
        "training": {"seed": 3},
        "network": {},
        **said,
        **changes,
    }
    return spec.ModelSpec(modality=modality, **told).to_text()


def networks() -> list[str]:
    from mien.models.network import ExpressionNetConfig
    from some_networks import face_config, speech_config

    return [
        spec_of("face", network=asdict(face_config("gcsa"))),
        spec_of("speech", network=asdict(speech_config())),
        spec_of("both", network=asdict(ExpressionNetConfig())),
    ]


def build(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from mien.models.checkpoint import load_network

    with suppress(UnicodeDecodeError):
        told = {spec.KEY: path.read_text("utf-8")}
        save_file({"a": torch.ones(1)}, path.with_suffix(".safetensors"), told)
        load_network(path.with_suffix(".safetensors"))


def lay_checkpoint(_: Path) -> list[bytes]:
    import torch
    from safetensors.torch import save

    return [save({"a": torch.ones(2), "b": torch.ones(1, 2).half()}, {spec.KEY: text}) for text in networks()]


def load(path: Path) -> None:
    from mien.models.checkpoint import load_network, load_tensors

    load_tensors(path)
    load_network(path)


def lay_manifest(folder: Path) -> list[str]:
    plain = (predictor.WEIGHTS / "mien-b" / predictor.MANIFEST).read_text()
    rule = {"fusion": "class_wise", "class_wise": leaning_rule().as_dict(EXPRESSIONS), "voice_of": "mien-b"}
    return [plain, json.dumps({**json.loads(plain), **rule})]


NETWORK = {"sha256": "00", "input": "x", "output": "y", "n_features": 5}
COLOURS = {"mean": [120.0, 110, 100], "std": [60.0], "colours": "RGB", "landmarks": FACE["landmarks"]}
FACE_FORM = {"modality": "face", "size_px": 32, **NETWORK, **COLOURS}
SPEECH_FORM = {
    "modality": "speech",
    "sha256": "00",
    "input": "x",
    "output": "y",
    "n_features": 6,
    "rate": 12.5,
}
FOLDER_FORM = {
    "modality": "face",
    "n_features": 2,
    "rate": 1.0,
    "recordings": {"a": {"file": "a.npy", "sha256": ""}},
}


def form(kind: Any) -> Callable[[Path], object]:
    return lambda path: extractors.read_form(kind, path)


def features(path: Path) -> None:
    of_file = {"file": path.name, "sha256": sha256(path.read_bytes()).hexdigest()}
    (path.parent / extractors.INDEX).write_text(json.dumps({**FOLDER_FORM, "recordings": {"a": of_file}}))
    extractors.FeatureFolder(path.parent, "face").read("a", 3.0)


add("spec", "face.onnx", lambda path: spec.read_spec(path.read_text("utf-8", "surrogateescape"), path.name),
    spec_of("face"), spec_of("speech"), spec_of("both"))  # fmt: skip
add("network", "face.json", build, lay=lambda folder: networks(), names=("face.safetensors",), is_slow=True)
add("checkpoint", "face.safetensors", load, lay=lay_checkpoint, is_slow=True)
add("manifest", "own/manifest.json", lambda path: predictor.read_manifest(path.parent), lay=lay_manifest)
add("face extractor", "face.json", form(extractors.FaceForm), json.dumps(FACE_FORM))
add("speech extractor", "speech.json", form(extractors.SpeechForm), json.dumps(SPEECH_FORM))
add("folder of features", "features.json", form(extractors.FolderForm), json.dumps(FOLDER_FORM))
add(
    "features",
    "a.npy",
    features,
    *arrays(np.ones((3, 2), np.float32), np.ones((3, 2), np.float16), np.ones(3)),
)


# what mien wrote of scores and of videos


def lay_scores(file: str) -> Callable[[Path], list[bytes]]:
    def lay(folder: Path) -> list[bytes]:
        said = some_predictions.planted(n_speakers=2, n_each=3)
        some_predictions.write_predictions(folder, *said)
        return [(folder / file).read_bytes()]

    return lay


def held_out(path: Path) -> None:
    heldout.read_held_out([path.with_name("predictions.csv")], predictor.load_model())


def lay_timeline(folder: Path) -> list[bytes]:
    place = folder / "written"
    place.mkdir()
    rows = [*clip(0.4)]
    told = json.loads(written(place, "json", rows).read_bytes())
    told["provenance"]["timeline"] = asdict(TimelineSettings())
    return [json.dumps(told).encode()]


def look_through(path: Path) -> None:
    read = timelines.Timeline.read(path)
    read.segments()
    read.persons()


def opinions(path: Path) -> object:
    from mien.table1 import load_opinions

    return load_opinions(path.parent, path.stem)


VIEWS = {"all": {name: {"value": 0.5} for name in export.FIGURES}}
RESULT = {
    "made_of": {"budget": {"steps": 4}},
    "views": VIEWS,
    "n_parameters": 5,
    "n_macs": 6,
    "seconds": None,
}
for _file in ("predictions.csv", "metrics.json"):
    add(
        f"held out {_file}", _file, held_out, lay=lay_scores(_file), names=("predictions.csv", "metrics.json")
    )
add("figures", "metrics.json", lambda path: export.read_figures([path]),
    json.dumps({"corpus": "own.csv", "split": "val", "views": VIEWS}))  # fmt: skip
add("timeline", "timeline.json", look_through, lay=lay_timeline)
add("result", "result.json", page.read_result, json.dumps(RESULT))
add("opinions", "val.npy", opinions, *arrays(np.ones((3, 2, 8), np.float32)))
