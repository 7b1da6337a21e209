"""Checkpoints in, a model folder out: ONNX and float16 safetensors, proven equal to torch to 1e-4.

Weights are rounded to float16 once; ONNX files hold them as float16 and widen them when they are loaded, so
both forms are the same network at half the size. Where examples are given, encoders are made 8-bit after the
proof, and what that changes is told.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import CheckpointError, InputError
from mien.expressions import EXPRESSIONS, position
from mien.extractors import find_extractor
from mien.modelfiles import (
    ask_model,
    prove_parity,
    quantize_encoder,
    round_to_half,
    told_extractor,
    write_modality,
)
from mien.models.checkpoint import load_network
from mien.models.face import FaceNet
from mien.models.network import ExpressionNet
from mien.plain import read_json
from mien.predictor import (
    VOICE_FILES,
    ModelInfo,
    load_model,
    read_manifest,
    shipped_names,
    write_manifest,
)
from mien.whole import checksum, folder_aside, move_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mien.models.speech import SpeechNet
    from mien.spec import ModelSpec

FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "uar": "UAR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What 8-bit numbers change of what an encoder says of its examples."""

    n_examples: int
    same: float
    """Share of them that keep their expression."""
    difference: float
    """Of probabilities, the largest of each example's eight, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What `export` wrote."""

    folder: Path
    parity: dict[str, float]
    """Largest difference between a probability by torch and by ONNX, by modality."""
    size_bytes: int
    drift: dict[str, Drift] = field(default_factory=dict)
    """Of the modalities that were made 8-bit."""


def export(
    checkpoints: Sequence[Path],
    folder: Path,
    *,
    weights: tuple[float, float] | None = None,
    masked: tuple[str, ...] = (),
    figures: dict[str, str] | None = None,
    extractors: Sequence[Path] = (),
    voice_of: str | None = None,
    examples: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> Exported:
    """Writes a model folder from one checkpoint of each modality, or of one alone.

    Args:
        checkpoints: Files written by `mien train`.
        folder: Where the model goes; its name is the model's. A model that is there is replaced whole.
        weights: m and n of the proportion rule; None: those of the run that made both, else their product.
        masked: Expressions that the voice never gives.
        figures: Held-out scores that the manifest tells.
        extractors: ONNX files whose features the checkpoints were trained on; they become their encoders.
        voice_of: Name of a shipped model whose voice the new one has; its files stay where they are.
        examples: Of what encoders are given in training, by modality and input; these become 8-bit.

    Raises:
        CheckpointError: A checkpoint is damaged, two are of one modality, parity fails, or an extractor is
            not there or was a folder.
        InputError: Something else than a model is at `folder`, no expression would be left to the voice, an
            extractor is of no checkpoint, or there is no such voice to share, or one beside it.
    """
    folder = folder.resolve()
    refuse_other_folder(folder)
    networks = load_each(checkpoints, masked)
    voice = None if voice_of is None else find_voice(voice_of, [spec.modality for _, spec in networks])
    given = match_extractors(networks, extractors)
    networks = [(each, as_extracted(spec) if spec.modality in given else spec) for each, spec in networks]
    weights = weights or joint_weights([spec for _, spec in networks])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_aside(folder) as aside:
        made = copy_extractors(given, aside / "made")
        for network, spec in networks:
            round_to_half(network)
            write_modality(network, spec, made)
        info = ModelInfo(
            name=folder.name,
            folder=made,
            voice_weight=weights[0] if weights else 1.0,
            face_weight=weights[1] if weights else 1.0,
            sha256={path.name: checksum(path) for path in sorted(made.iterdir())},
            licences={spec.modality: spec.licence for _, spec in networks},
            figures=dict(figures or {}),
            fusion="product" if weights is None else "proportion",
        )
        write_manifest(info if voice is None else share_voice(info, voice))
        parity = {str(spec.modality): prove_parity(network, spec, made) for network, spec in networks}
        drift = shorten(networks, made, examples or {})
        move_in(made, folder)
    size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    return Exported(folder=folder, parity=parity, size_bytes=size_bytes, drift=drift)


def shorten(
    networks: Sequence[tuple[FaceNet | SpeechNet, ModelSpec]],
    folder: Path,
    examples: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, Drift]:
    """Makes the encoders of which there are examples 8-bit, in a model folder; what that changes."""
    drift: dict[str, Drift] = {}
    for network, spec in networks:
        inputs = examples.get(spec.modality)
        if inputs is None:
            continue
        model, name = read_manifest(folder), f"{spec.modality}_encoder.onnx"
        before = ask_model(model, spec.modality, inputs)
        quantize_encoder(network, spec, folder, inputs)
        model = replace(model, sha256=model.sha256 | {name: checksum(folder / name)})
        write_manifest(model)
        after = ask_model(model, spec.modality, inputs)
        drift[spec.modality] = Drift(
            n_examples=len(before),
            same=float((before.argmax(axis=1) == after.argmax(axis=1)).mean()),
            difference=float(np.abs(before - after).max(axis=1).mean()),
        )
    return drift


def find_voice(name: str, modalities: Sequence[str]) -> ModelInfo:
    """The shipped model whose voice an exported one is to have.

    Raises:
        InputError: None of this name has one, or a checkpoint brings one.
    """
    if "speech" in modalities:
        raise InputError(
            "a speech checkpoint and the voice of another model are two voices; give one of them"
        )
    names = [each for each in shipped_names() if load_model(each).voice_of is None]
    if name not in names:
        raise InputError(f"there is no voice of {name!r} to share; expected {', '.join(names)}")
    return load_model(name)


def share_voice(info: ModelInfo, voice: ModelInfo) -> ModelInfo:
    """A model with another's voice, whose files stay where they are."""
    shared = {name: sha256 for name, sha256 in voice.sha256.items() if name in VOICE_FILES}
    licences = info.licences | {"speech": voice.licences["speech"]}
    return replace(info, sha256=info.sha256 | shared, licences=licences, voice_of=voice.name)


def copy_extractors(extractors: dict[str, Path], folder: Path) -> Path:
    """A new folder with extractors, by modality, in the encoders' place, and what they say of themselves."""
    folder.mkdir()
    for modality, path in extractors.items():
        shutil.copyfile(path, folder / f"{modality}_encoder.onnx")
        shutil.copyfile(path.with_suffix(".json"), folder / f"{modality}_encoder.json")
    return folder


def joint_weights(specs: Sequence[ModelSpec]) -> tuple[float, float] | None:
    """The m:n by which the run that made both fused them, 1:1 if it learned none; None of two runs."""
    first, *others = [spec.training for spec in specs]
    if not others or any(each != first for each in others):
        return None
    voice, face = first.get("ratio", (1.0, 1.0))
    return float(voice), float(face)


def match_extractors(
    networks: Sequence[tuple[FaceNet | SpeechNet, ModelSpec]], extractors: Sequence[Path]
) -> dict[str, Path]:
    """The extractor of each network that takes features, by modality.

    Raises:
        CheckpointError: One is not there or was a folder.
        InputError: One is of no network.
    """
    given: dict[str, Path] = {
        spec.modality: find_extractor(told_extractor(spec), extractors)
        for network, spec in networks
        if network.config.given is not None
    }
    if unused := set(extractors) - set(given.values()):
        raise InputError(f"{min(unused)} is the extractor of none of these checkpoints; leave it out")
    return given


def as_extracted(spec: ModelSpec) -> ModelSpec:
    """The specification of a network that takes features: crops and licence are its extractor's."""
    told = told_extractor(spec)
    licence = f"{spec.licence}; its extractor: {told['licence']}"
    if spec.modality != "face":
        return replace(spec, licence=licence)
    landmarks = tuple((x, y) for x, y in told["landmarks"])
    return replace(spec, licence=licence, crop_px=told["size_px"], landmarks=landmarks)


def load_each(
    checkpoints: Sequence[Path], masked: tuple[str, ...]
) -> list[tuple[FaceNet | SpeechNet, ModelSpec]]:
    """The networks of checkpoints, what the voice never gives masked.

    Raises:
        CheckpointError: One is none that can be exported, or two are of one modality.
        InputError: No expression would be left to the voice.
    """
    networks = [mask_voice(*load_single(path), masked) for path in checkpoints]
    modalities = [spec.modality for _, spec in networks]
    if not modalities or len(set(modalities)) < len(modalities):
        raise CheckpointError("export needs a face checkpoint, a speech checkpoint, or one of each")
    return networks


def load_single(path: Path) -> tuple[FaceNet | SpeechNet, ModelSpec]:
    """The network of a checkpoint of one modality.

    Raises:
        CheckpointError: It is damaged, of both modalities, or reads sequences of faces.
    """
    network, spec = load_network(path)
    if isinstance(network, ExpressionNet):
        if network.config.alignment != "none":
            raise CheckpointError(
                f"{path} aligns voice and face, so that neither speaks for itself, as export wants them; "
                "score it with  mien evaluate --data  on what was prepared"
            )
        raise CheckpointError(
            f"{path} holds both networks in one;  mien export  takes face.safetensors and speech.safetensors "
            "beside it, and the folder that it writes is a model"
        )
    if isinstance(network, FaceNet) and network.config.reads_sequences:
        raise CheckpointError(
            f"{path} holds {network.config.backbone}, which reads sequences of faces; export takes rhcnn or "
            "resnet18, which read one face at a time"
        )
    return network, spec


def refuse_other_folder(folder: Path) -> None:
    """Refuses to replace a folder that holds something else than a model.

    Raises:
        InputError: It holds something else.
    """
    if folder.is_dir() and ((folder / "manifest.json").is_file() or not any(folder.iterdir())):
        return
    if folder.exists():
        raise InputError(f"{folder} is there and is no model; what is there is replaced whole: name another")


def mask_voice(
    network: FaceNet | SpeechNet, spec: ModelSpec, masked: tuple[str, ...]
) -> tuple[FaceNet | SpeechNet, ModelSpec]:
    """The network with its specification; a speech net's says which expressions are masked."""
    if len({position(name) for name in masked}) == len(EXPRESSIONS):
        raise InputError("every expression is masked; leave the voice one at least")
    return network, replace(spec, masked=masked) if spec.modality == "speech" else spec


def read_weights(text: str) -> tuple[float, float]:
    """M and n of `m:n`.

    Raises:
        InputError: It is not of that form, or a number is not finite and above 0.

    >>> read_weights("1:2")
    (1.0, 2.0)
    """
    try:
        voice, face = (float(part) for part in text.split(":"))
    except ValueError:
        raise InputError(f"weights {text!r} are not of the form m:n, such as 1:2") from None
    if not (0 < voice < inf and 0 < face < inf):
        raise InputError(f"weights {text!r} must both be finite and above 0")
    return voice, face


def read_figures(files: Sequence[Path]) -> dict[str, str]:
    """One line for each view in files that `mien evaluate` wrote, for `mien models` to tell.

    Raises:
        InputError: A file is not one that `mien evaluate` wrote.
    """
    figures = {}
    for file in files:
        try:
            told = read_json(file.read_text(encoding="utf-8"))
            for view, scores in told["views"].items():
                parts = [f"{name} {scores[key]['value']:.3f}" for key, name in FIGURES.items()]
                figures[f"{told['corpus']} {told['split']}, {view}"] = ", ".join(parts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise InputError(f"{file} is not a metrics.json that `mien evaluate` wrote; give one") from None
    return figures
