"""A network as ONNX and examples of what it is given in, the same network in 8-bit whole numbers out.

Weights and what flows between convolutions become bytes, by the range that the examples take. Weights use
seven of their eight bits, for processors without VNNI add two products in 16 bits, which eight overflow.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

KINDS = ("Conv", "Gemm", "MatMul", "AveragePool", "Concat", "Relu")
"""Operators that become whole-numbered."""

FEWEST_CHANNELS = 4
"""A convolution that reads fewer stays as it is: at one channel bytes took four times as long."""


class Examples:
    """Rows of some inputs, one after the other, as ONNX Runtime asks for them."""

    def __init__(self, inputs: Mapping[str, np.ndarray]) -> None:
        n_rows = len(next(iter(inputs.values())))
        self._rows = ({name: each[row : row + 1] for name, each in inputs.items()} for row in range(n_rows))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next row; None after the last."""
        return next(self._rows, None)


def quantize(path: Path, inputs: Mapping[str, np.ndarray]) -> None:
    """Replaces an ONNX file, its weights in float32, by the same network in 8 bits.

    Args:
        path: Of the file; what it says of itself is kept.
        inputs: Examples by the names of the network's inputs, a row each.
    """
    told = list(onnx.load(path).metadata_props)
    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory() as aside:
        folded, quantized = Path(aside) / "folded.onnx", Path(aside) / "quantized.onnx"
        quant_pre_process(path, folded, skip_symbolic_shape=True)
        logger.setLevel(logging.ERROR)  # it warns of its own calls
        try:
            quantize_static(
                folded,
                quantized,
                Examples(inputs),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(KINDS),
                nodes_to_exclude=narrow(onnx.load(folded)),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logger.setLevel(level)
        model = onnx.load(quantized)
    del model.metadata_props[:]
    model.metadata_props.extend(told)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def narrow(model: onnx.ModelProto) -> Sequence[str]:
    """Names of the convolutions that read fewer than `FEWEST_CHANNELS`."""
    shapes = {each.name: tuple(each.dims) for each in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and shapes[node.input[1]][1] < FEWEST_CHANNELS and not _grouped(node)
    ]


def _grouped(node: onnx.NodeProto) -> bool:
    return any(each.name == "group" and each.i > 1 for each in node.attribute)
