"""A module as an ONNX file: any number of rows, halves where they are exact, and no trace of its origin."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mien.onnxfile import halve_weights, write_onnx
from mien.recipes import train_face
from mien.spec import KEY, read_spec
from mien.train import describe

SPEC = describe(train_face(), {}, 48)


@pytest.fixture(scope="module")
def layer() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(16, 8).half().float()


@pytest.fixture(scope="module")
def file(layer: torch.nn.Linear, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "layer.onnx"
    write_onnx(layer, {"x": torch.zeros(2, 16)}, "y", SPEC, path)
    return path


@pytest.mark.parametrize("n_rows", [1, 2, 5])
def test_any_number_of_rows_is_read_as_torch_reads_it(
    file: Path, layer: torch.nn.Linear, n_rows: int
) -> None:
    x = torch.randn(n_rows, 16)
    (found,) = onnxruntime.InferenceSession(file).run(["y"], {"x": x.numpy()})
    np.testing.assert_allclose(found, layer(x).detach().numpy(), atol=1e-6)


def test_the_file_says_what_it_is_and_not_where_it_was_made(file: Path) -> None:
    model = onnx.load(file)
    (entry,) = model.metadata_props
    assert (entry.key, read_spec(entry.value, "file")) == (KEY, SPEC)
    assert all(not node.metadata_props and not node.doc_string for node in model.graph.node)
    assert b"site-packages" not in file.read_bytes()


def test_only_weights_that_a_half_holds_are_halved() -> None:
    exact, other = np.arange(100, dtype=np.float32), np.full(100, 0.1, np.float32)
    tensors = [numpy_helper.from_array(each, name) for each, name in ((exact, "exact"), (other, "other"))]
    node = helper.make_node("Add", ["exact", "other"], ["sum"])
    value = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [100])
    model = helper.make_model(helper.make_graph([node], "g", [], [value], tensors))
    halve_weights(model)
    kinds = {each.name: each.data_type for each in model.graph.initializer}
    assert kinds == {"exact.float16": TensorProto.FLOAT16, "other": TensorProto.FLOAT}
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(["sum"], {})
    np.testing.assert_array_equal(found, exact + other)
