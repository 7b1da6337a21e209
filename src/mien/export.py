"""Checkpoints in, a model folder out: ONNX and float16 safetensors, proven equal to torch to 1e-4.

Weights are rounded to float16 once; ONNX files hold them as float16 and widen them when they are loaded, so
both forms are the same network at half the size.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from mien.errors import CheckpointError, InputError
from mien.expressions import EXPRESSIONS, position
from mien.models.checkpoint import load_network, save_network
from mien.models.face import FaceNet
from mien.models.network import ExpressionNet
from mien.models.speech import SpeechNet, pool_steps
from mien.predictor import FACE_FILES, SPEECH_FILES, FacePredictor, VoicePredictor, read_manifest
from mien.spec import KEY, ModelSpec
from mien.speech import N_MELS
from mien.whole import checksum
from mien.windows import N_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Bool, Float, UInt8
    from torch import Tensor

PARITY = 1e-4
"""Largest difference allowed between a probability by torch and by ONNX."""

FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "uar": "UAR"}

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


class FaceEncoder(nn.Module):
    """RGB bytes in, features out: brightness, then the face encoder."""

    luma: Tensor

    def __init__(self, network: FaceNet) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("luma", torch.tensor(LUMA) / 255)

    def forward(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B D"]:
        grey = (crops.float() * self.luma).sum(-1)
        return self.network.encode(grey.unsqueeze(1))


class SpeechEncoder(nn.Module):
    """Log-mel windows in, steps of features out."""

    def __init__(self, network: SpeechNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, log_mel: Float[Tensor, "B M F"], column_mask: Bool[Tensor, "B F"]
    ) -> Float[Tensor, "B D T"]:
        return self.network.encode(log_mel, column_mask)


class Probabilities(nn.Module):
    """Logits to probabilities: masked expressions get 0, the rest is tempered and renormalised."""

    offset: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        shut = torch.tensor([name in spec.masked for name in spec.expressions])
        self.register_buffer("offset", torch.zeros(len(shut)).masked_fill(shut, -torch.inf))
        self.temperature = spec.temperature

    def forward(self, logits: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        return torch.softmax(logits / self.temperature + self.offset, dim=-1)


class FaceHead(nn.Module):
    """Features in, probabilities out."""

    def __init__(self, network: FaceNet, spec: ModelSpec) -> None:
        super().__init__()
        self.head, self.probabilities = network.head, Probabilities(spec)

    def forward(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
        probs: Tensor = self.probabilities(self.head(features))
        return probs


class SpeechHead(nn.Module):
    """Steps of features in, probabilities out."""

    def __init__(self, network: SpeechNet, spec: ModelSpec) -> None:
        super().__init__()
        self.head, self.probabilities = network.head, Probabilities(spec)

    def forward(
        self, steps: Float[Tensor, "B D T"], column_mask: Bool[Tensor, "B F"]
    ) -> Float[Tensor, "B E"]:
        probs: Tensor = self.probabilities(self.head(pool_steps(steps, column_mask)))
        return probs


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
    weights: tuple[float, float] = (1.0, 1.0),
    masked: tuple[str, ...] = (),
    figures: dict[str, str] | None = None,
) -> Exported:
    """Writes a model folder from one checkpoint of each modality, or of faces alone.

    Args:
        checkpoints: Files written by `mien train`.
        folder: Where the model goes; its name is the model's. A model that is there is replaced whole.
        weights: m and n of the proportion rule: voice, face.
        masked: Expressions that the voice never gives.
        figures: Held-out scores that the manifest tells.

    Raises:
        CheckpointError: A checkpoint is damaged, two are of one modality, or parity fails.
        InputError: Something else than a model is at `folder`, or no expression would be left to the voice.
    """
    folder = folder.resolve()
    refuse_other_folder(folder)
    networks = [mask_voice(*load_single(path), masked) for path in checkpoints]
    if sorted(spec.modality for _, spec in networks) not in (["face"], ["face", "speech"]):
        raise CheckpointError("export needs one face checkpoint, and at most one speech checkpoint beside it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        made = Path(aside) / "made"
        made.mkdir()
        for network, spec in networks:
            round_to_half(network)
            write_modality(network, spec, made)
        manifest = {
            "name": folder.name,
            "voice_weight": weights[0],
            "face_weight": weights[1],
            "sha256": {path.name: checksum(path) for path in sorted(made.iterdir())},
            "licences": {spec.modality: spec.licence for _, spec in networks},
            "figures": figures or {},
        }
        (made / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        parity = {str(spec.modality): prove_parity(network, spec, made) for network, spec in networks}
        if folder.exists():
            folder.rename(Path(aside) / "replaced")
        made.rename(folder)
    return Exported(
        folder=folder, parity=parity, size_bytes=sum(path.stat().st_size for path in folder.iterdir())
    )


def load_single(path: Path) -> tuple[FaceNet | SpeechNet, ModelSpec]:
    """The network of a checkpoint of one modality.

    Raises:
        CheckpointError: It is damaged, of both modalities, or reads sequences of faces.
    """
    network, spec = load_network(path)
    if isinstance(network, ExpressionNet):
        raise CheckpointError(
            f"{path} holds both networks in one; give face.safetensors and speech.safetensors beside it"
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
    """Encoder and head as ONNX, and both together as float16 safetensors."""
    mask = torch.ones(2, N_COLUMNS, dtype=torch.bool)
    if isinstance(network, FaceNet):
        assert spec.crop_px is not None
        crops = torch.zeros(2, spec.crop_px, spec.crop_px, 3, dtype=torch.uint8)
        write_onnx(FaceEncoder(network), {"crops": crops}, "features", spec, folder / FACE_FILES[0])
        features = torch.zeros(2, network.encoder.n_features)
        write_onnx(FaceHead(network, spec), {"features": features}, "probs", spec, folder / FACE_FILES[1])
    else:
        heard = {"log_mel": torch.zeros(2, N_MELS, N_COLUMNS), "column_mask": mask}
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


def write_onnx(
    module: nn.Module, inputs: dict[str, Tensor], output: str, spec: ModelSpec, path: Path
) -> None:
    """One module as ONNX, any number of rows at once, weights as float16, the specification inside."""
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), quiet_exporter():
        warnings.simplefilter("ignore")  # torch's own, about torch's own code
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            dynamo=True,
            optimize=False,  # it would fold batch norms into convolutions, which float16 then no longer holds
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    forget_origin(model)
    halve_weights(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, spec.to_text()
    onnx.checker.check_model(model)
    onnx.save(model, path)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keeps torch's exporter from telling that torchvision, which nothing here needs, is absent."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def forget_origin(model: onnx.ModelProto) -> None:
    """Removes the source paths and code lines that torch's exporter stores with each node."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.initializer,
        *graph.value_info,
        *graph.input,
        *graph.output,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def halve_weights(model: onnx.ModelProto) -> None:
    """Stores float32 weights that float16 holds exactly as float16, with a cast in front of their use."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        small = values.astype(np.float16)
        if values.size < 64 or not np.array_equal(small.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(small, f"{name}.float16"))
        casts.append(helper.make_node("Cast", [f"{name}.float16"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)


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
        by_torch = FaceHead(network, spec)(FaceEncoder(network)(torch.from_numpy(crops)))
    else:
        log_mel = generator.normal(-6, 3, (8, N_MELS, N_COLUMNS)).astype(np.float32)
        mask = np.arange(N_COLUMNS) < generator.integers(40, N_COLUMNS + 1, (8, 1))
        by_onnx = VoicePredictor(model)(log_mel, mask)
        steps = network.encode(torch.from_numpy(log_mel), torch.from_numpy(mask))
        by_torch = SpeechHead(network, spec)(steps, torch.from_numpy(mask))
    difference = float(np.abs(by_onnx - by_torch.numpy()).max())
    if not difference <= PARITY:
        raise CheckpointError(
            f"{spec.modality}: torch and ONNX differ by {difference:.1e}, at most {PARITY:.0e} is allowed"
        )
    return difference
