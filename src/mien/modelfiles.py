"""A network in, its files in a model folder out, proven to say what torch says.

ONNX files hold weights as float16 and widen them when they are loaded, or the encoder's as 8-bit numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.errors import CheckpointError
from mien.models.checkpoint import save_network
from mien.models.face import FaceNet
from mien.models.parts import FaceEncoder, FaceHead, SpeechEncoder, SpeechHead
from mien.onnxfile import write_onnx
from mien.predictor import FACE_FILES, SPEECH_FILES, FacePredictor, VoicePredictor, read_manifest
from mien.quantization import quantize
from mien.speech import N_MELS
from mien.windows import N_COLUMNS, WINDOW

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jaxtyping import Float32
    from torch import Tensor, nn

    from mien.models.speech import SpeechNet
    from mien.predictor import ModelInfo
    from mien.spec import ModelSpec

PARITY = 1e-4
"""Largest difference allowed between a probability by torch and by ONNX."""


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


def write_modality(network: FaceNet | SpeechNet, spec: ModelSpec, folder: Path) -> None:
    """Encoder, if it is not an extractor, and head as ONNX, and both together as float16 safetensors."""
    given = network.config.given is not None
    if not given:
        write_encoder(network, spec, folder)
    if isinstance(network, FaceNet):
        features = torch.zeros(2, network.encoder.n_features)
        write_onnx(FaceHead(network, spec), {"features": features}, "probs", spec, folder / FACE_FILES[1])
    else:
        mask = torch.ones(2, N_COLUMNS, dtype=torch.bool)
        if given:
            n_steps = round(told_extractor(spec)["rate"] * WINDOW)
            steps, mask = torch.zeros(2, network.encoder.n_features, n_steps), mask[:, :n_steps]
        else:
            with torch.no_grad():
                steps = network.encode(torch.zeros(2, N_MELS, N_COLUMNS), mask)
        write_onnx(
            SpeechHead(network, spec),
            {"steps": steps, "column_mask": mask},
            "probs",
            spec,
            folder / SPEECH_FILES[1],
        )
    save_network(network.half(), spec, folder / f"{spec.modality}.safetensors")
    network.float()


def write_encoder(
    network: FaceNet | SpeechNet, spec: ModelSpec, folder: Path, *, folded: bool = False
) -> Path:
    """The encoder as ONNX, weights as float16; `folded`: as float32, ready to be quantized."""
    module: nn.Module
    inputs: dict[str, Tensor]
    if isinstance(network, FaceNet):
        assert spec.crop_px is not None
        name, output, module = FACE_FILES[0], "features", FaceEncoder(network)
        inputs = {"crops": torch.zeros(2, spec.crop_px, spec.crop_px, 3, dtype=torch.uint8)}
    else:
        name, output, module = SPEECH_FILES[0], "steps", SpeechEncoder(network)
        mask = torch.ones(2, N_COLUMNS, dtype=torch.bool)
        inputs = {"log_mel": torch.zeros(2, N_MELS, N_COLUMNS), "column_mask": mask}
    write_onnx(module, inputs, output, spec, folder / name, folded=folded)
    return folder / name


def quantize_encoder(
    network: FaceNet | SpeechNet, spec: ModelSpec, folder: Path, inputs: Mapping[str, np.ndarray]
) -> None:
    """Replaces the encoder in a model folder by one of 8-bit numbers.

    Args:
        network: Of one modality, whose encoder is its own.
        spec: What it says of itself.
        folder: Of the model.
        inputs: Examples by the names of the encoder's inputs, a row each.
    """
    quantize(write_encoder(network, spec, folder, folded=True), inputs)


def ask_model(
    model: ModelInfo, modality: str, inputs: Mapping[str, np.ndarray]
) -> Float32[np.ndarray, "rows 8"]:
    """What a model says of examples, which are named as its encoder's inputs."""
    if modality == "face":
        return FacePredictor(model)(inputs["crops"])
    predict = VoicePredictor(model)
    rows = zip(inputs["log_mel"], inputs["column_mask"], strict=True)
    return np.concatenate([predict(log_mel[None], mask[None]) for log_mel, mask in rows])


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
