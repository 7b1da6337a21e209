"""Checkpoints in, a model folder out: ONNX and float16 safetensors, proven equal to torch to 1e-4.

Weights are rounded to float16 once; ONNX files hold them as float16 and widen them when they are loaded, so
both forms are the same network at half the size.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.errors import CheckpointError, InputError
from mien.expressions import EXPRESSIONS, position
from mien.extractors import find_extractor
from mien.models.checkpoint import load_network, save_network
from mien.models.face import FaceNet
from mien.models.network import ExpressionNet
from mien.models.parts import FaceEncoder, FaceHead, SpeechEncoder, SpeechHead
from mien.models.speech import SpeechNet
from mien.onnxfile import write_onnx
from mien.predictor import (
    FACE_FILES,
    SPEECH_FILES,
    VOICE_FILES,
    FacePredictor,
    ModelInfo,
    VoicePredictor,
    load_model,
    read_manifest,
    shipped_names,
    write_manifest,
)
from mien.spec import ModelSpec
from mien.speech import N_MELS
from mien.whole import checksum
from mien.windows import N_COLUMNS, WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence

PARITY = 1e-4
"""Largest difference allowed between a probability by torch and by ONNX."""

FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "uar": "UAR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What `export` wrote."""

    folder: Path
    parity: dict[str, float]
    """Largest difference between a probability by torch and by ONNX, by modality."""
    size_bytes: int


def export(
    checkpoints: Sequence[Path],
    folder: Path,
    *,
    weights: tuple[float, float] | None = None,
    masked: tuple[str, ...] = (),
    figures: dict[str, str] | None = None,
    extractors: Sequence[Path] = (),
    voice_of: str | None = None,
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

    Raises:
        CheckpointError: A checkpoint is damaged, two are of one modality, parity fails, or an extractor is
            not there or was a folder.
        InputError: Something else than a model is at `folder`, no expression would be left to the voice, an
            extractor is of no checkpoint, or there is no such voice to share, or one beside it.
    """
    folder = folder.resolve()
    refuse_other_folder(folder)
    networks = [mask_voice(*load_single(path), masked) for path in checkpoints]
    modalities = [spec.modality for _, spec in networks]
    if not modalities or len(set(modalities)) < len(modalities):
        raise CheckpointError("export needs a face checkpoint, a speech checkpoint, or one of each")
    voice = None if voice_of is None else find_voice(voice_of, modalities)
    given = match_extractors(networks, extractors)
    networks = [(each, as_extracted(spec) if spec.modality in given else spec) for each, spec in networks]
    weights = weights or joint_weights([spec for _, spec in networks])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        made = copy_extractors(given, Path(aside) / "made")
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
        if folder.exists():
            folder.rename(Path(aside) / "replaced")
        made.rename(folder)
    size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    return Exported(folder=folder, parity=parity, size_bytes=size_bytes)


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


def told_extractor(spec: ModelSpec) -> dict[str, Any]:
    """What the extractor told of itself on whose features a network was trained.

    Raises:
        CheckpointError: It was a folder, or nothing is told.
    """
    told: dict[str, Any] | None = spec.training.get("data", {}).get("extractors", {}).get(spec.modality)
    if told is None:
        raise CheckpointError(
            f"the {spec.modality} checkpoint does not say whose features it takes; train anew"
        )
    if told["from"] == "folder":
        raise CheckpointError(
            f"the {spec.modality} checkpoint takes features from a folder, which no other file has; score it "
            "with  mien evaluate --data  on what was prepared"
        )
    return told


def as_extracted(spec: ModelSpec) -> ModelSpec:
    """The specification of a network that takes features: crops and licence are its extractor's."""
    told = told_extractor(spec)
    licence = f"{spec.licence}; its extractor: {told['licence']}"
    if spec.modality != "face":
        return replace(spec, licence=licence)
    landmarks = tuple((x, y) for x, y in told["landmarks"])
    return replace(spec, licence=licence, crop_px=told["size_px"], landmarks=landmarks)


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
            told = json.loads(file.read_text(encoding="utf-8"))
            for view, scores in told["views"].items():
                parts = [f"{name} {scores[key]['value']:.3f}" for key, name in FIGURES.items()]
                figures[f"{told['corpus']} {told['split']}, {view}"] = ", ".join(parts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{file} is not a metrics.json that `mien evaluate` wrote; give one") from None
    return figures


def write_modality(network: FaceNet | SpeechNet, spec: ModelSpec, folder: Path) -> None:
    """Encoder, if it is not an extractor, and head as ONNX, and both together as float16 safetensors."""
    given = network.config.given is not None
    if isinstance(network, FaceNet):
        assert spec.crop_px is not None
        crops = torch.zeros(2, spec.crop_px, spec.crop_px, 3, dtype=torch.uint8)
        if not given:
            write_onnx(FaceEncoder(network), {"crops": crops}, "features", spec, folder / FACE_FILES[0])
        features = torch.zeros(2, network.encoder.n_features)
        write_onnx(FaceHead(network, spec), {"features": features}, "probs", spec, folder / FACE_FILES[1])
    else:
        mask = torch.ones(2, N_COLUMNS, dtype=torch.bool)
        heard = {"log_mel": torch.zeros(2, N_MELS, N_COLUMNS), "column_mask": mask}
        if given:
            n_steps = round(told_extractor(spec)["rate"] * WINDOW)
            steps, mask = torch.zeros(2, network.encoder.n_features, n_steps), mask[:, :n_steps]
        else:
            write_onnx(SpeechEncoder(network), heard, "steps", spec, folder / SPEECH_FILES[0])
            with torch.no_grad():
                steps = network.encode(heard["log_mel"], mask)
        write_onnx(
            SpeechHead(network, spec),
            {"steps": steps, "column_mask": mask},
            "probs",
            spec,
            folder / SPEECH_FILES[1],
        )
    save_network(network.half(), spec, folder / f"{spec.modality}.safetensors")
    network.float()


def round_to_half(network: FaceNet | SpeechNet) -> None:
    """Rounds every weight in place to the nearest float16; arithmetic stays float32."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())


@torch.no_grad()
def prove_parity(network: FaceNet | SpeechNet, spec: ModelSpec, folder: Path) -> float:
    """Largest difference between probabilities by torch and by the ONNX files, on random input.

    Raises:
        CheckpointError: It is above `PARITY`.
    """
    generator = np.random.default_rng(0)
    network.eval()
    model = read_manifest(folder)
    if isinstance(network, FaceNet):
        assert spec.crop_px is not None
        crops = generator.integers(0, 256, (16, spec.crop_px, spec.crop_px, 3), np.uint8)
        by_onnx = FacePredictor(model)(crops)
        if network.config.given is not None:
            features = torch.from_numpy(FacePredictor(model).encode(crops))
        else:
            features = FaceEncoder(network)(torch.from_numpy(crops))
        by_torch = FaceHead(network, spec)(features)
    else:
        log_mel = generator.normal(-6, 3, (8, N_MELS, N_COLUMNS)).astype(np.float32)
        mask = np.arange(N_COLUMNS) < generator.integers(40, N_COLUMNS + 1, (8, 1))
        by_onnx = VoicePredictor(model)(log_mel, mask)
        if network.config.given is not None:
            steps, there = map(torch.from_numpy, VoicePredictor(model).encode(log_mel, mask))
        else:
            there = torch.from_numpy(mask)
            steps = network.encode(torch.from_numpy(log_mel), there)
        by_torch = SpeechHead(network, spec)(steps, there)
    difference = float(np.abs(by_onnx - by_torch.numpy()).max())
    if not difference <= PARITY:
        raise CheckpointError(
            f"{spec.modality}: torch and ONNX differ by {difference:.1e}, at most {PARITY:.0e} is allowed"
        )
    return difference
