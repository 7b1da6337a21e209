"""Small extractors of one's own for the tests: networks written by hand as ONNX, and folders of features."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FACE_WIDTH, SPEECH_WIDTH = 5, 6
SIZE = 32


def write_onnx(
    path: Path, nodes: list[Any], weights: dict[str, np.ndarray], taken: list[Any], given: list[Any]
) -> str:
    """Checksum of a network of one float input `x` and one output `y` of these axes, written there."""
    graph = helper.make_graph(
        nodes,
        "extractor",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, taken)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, given)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return sha256(path.read_bytes()).hexdigest()


def write_face_onnx(folder: Path, **changes: Any) -> Path:
    """A network that pools a crop of 32 px to 2 × 2 of each colour and mixes these; its JSON beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"w": np.random.default_rng(0).normal(size=(12, FACE_WIDTH)).astype(np.float32)}
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    digest = write_onnx(folder / "face.onnx", nodes, weights, ["n", 3, SIZE, SIZE], ["n", FACE_WIDTH])
    told = {
        "modality": "face",
        "sha256": digest,
        "input": "x",
        "output": "y",
        "n_features": FACE_WIDTH,
        "size_px": SIZE,
        "mean": [120.0, 110.0, 100.0],
        "std": [60.0],
        "licence": "of the tests",
    }
    (folder / "face.json").write_text(json.dumps(told | changes))
    return folder / "face.onnx"


def write_speech_onnx(folder: Path, **changes: Any) -> Path:
    """A network that pools log-mel to 40 steps of 8 bands and mixes these; its JSON beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"w": np.random.default_rng(1).normal(size=(8, SPEECH_WIDTH)).astype(np.float32) / 8}
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[8], strides=[8]),
        helper.make_node("Transpose", ["p"], ["t"], perm=[0, 2, 1]),
        helper.make_node("AveragePool", ["t"], ["q"], kernel_shape=[8], strides=[8]),
        helper.make_node("MatMul", ["q", "w"], ["y"]),
    ]
    digest = write_onnx(folder / "speech.onnx", nodes, weights, ["n", 64, 320], ["n", 40, SPEECH_WIDTH])
    told = {
        "modality": "speech",
        "sha256": digest,
        "input": "x",
        "output": "y",
        "n_features": SPEECH_WIDTH,
        "rate": 12.5,
    }
    (folder / "speech.json").write_text(json.dumps(told | changes))
    return folder / "speech.onnx"


def write_folder(
    folder: Path, modality: str, rate: float, arrays: Mapping[str, np.ndarray], /, **changes: Any
) -> Path:
    """A folder of features, an array for each recording by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    recordings = {}
    for number, (name, array) in enumerate(arrays.items()):
        path = folder / f"{number}.npy"
        np.save(path, array)
        recordings[name] = {"file": path.name, "sha256": sha256(path.read_bytes()).hexdigest()}
    width = next(iter(arrays.values())).shape[1]
    told = {"modality": modality, "n_features": width, "rate": rate, "recordings": recordings}
    (folder / "features.json").write_text(json.dumps(told | changes))
    return folder
