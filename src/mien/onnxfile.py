"""A torch module in, an ONNX file out: weights as float16 where that holds them, a specification inside."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from tempfile import gettempdir
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from mien.spec import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor, nn

    from mien.spec import ModelSpec


def write_onnx(
    module: nn.Module,
    inputs: dict[str, Tensor],
    output: str,
    spec: ModelSpec,
    path: Path,
    *,
    folded: bool = False,
) -> None:
    """One module as ONNX, any number of rows at once, weights as float16, the specification inside.

    Args:
        module: The network.
        inputs: Of two rows, by name, in the order in which it takes them.
        output: Name of what it gives.
        spec: What the file says of itself.
        path: Of the file.
        folded: Weights stay float32, and batch norms become part of the convolutions before them.

    Raises:
        OSError: There is no room, or no folder for temporary files.
    """
    gettempdir()  # torch asks for one, and wraps what is said of none into a page of advice
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
            optimize=folded,  # what folds batch norms makes weights that float16 no longer holds
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    forget_origin(model)
    if not folded:
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
