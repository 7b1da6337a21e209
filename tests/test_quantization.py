"""A network in 8 bits says nearly the same, overflows nowhere, and is still the file that it was."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from mien.onnxfile import write_onnx
from mien.quantization import FEWEST_CHANNELS, narrow, quantize
from mien.recipes import train_face
from mien.spec import KEY, read_spec
from mien.train import describe

SPEC = describe(train_face(), {}, 48)


class Pyramid(nn.Module):
    """A narrow convolution, a wide one and a grouped one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, groups=8),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).mean((2, 3))


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(40, 1, 16, 16)).astype(np.float32)}


def write_pyramid(path: Path) -> Path:
    torch.manual_seed(0)
    write_onnx(Pyramid(), {"x": torch.zeros(2, 1, 16, 16)}, "y", SPEC, path, folded=True)
    return path


@pytest.fixture(scope="module")
def files(inputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("onnx")
    before, after = write_pyramid(folder / "before.onnx"), write_pyramid(folder / "after.onnx")
    quantize(after, inputs)
    return before, after


def run(path: Path, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(None, {"x": x})[0]


def test_it_says_nearly_the_same_and_not_quite(files: tuple[Path, Path], inputs) -> None:
    fresh = np.random.default_rng(1).normal(size=(7, 1, 16, 16)).astype(np.float32)
    before, after = (run(path, fresh) for path in files)
    assert before.shape == after.shape == (7, 16)
    assert 0 < np.abs(before - after).max() < 0.05 * np.abs(before).max()


def test_no_sum_of_two_products_leaves_sixteen_bits(files: tuple[Path, Path]) -> None:
    """Processors without VNNI add two products of a byte and a weight in 16 bits."""
    model = onnx.load(files[1])
    whole = [numpy_helper.to_array(each) for each in model.graph.initializer]
    weights = [each for each in whole if each.dtype == np.int8 and each.ndim == 4]
    assert len(weights) == 2
    for each in weights:
        assert 2 * 255 * np.abs(each.astype(int)).max() < 2**15
        assert np.abs(each).max() > 50, "and they use what they have"


def test_a_convolution_of_one_channel_stays_as_it_is(files: tuple[Path, Path]) -> None:
    floats = [
        each.dims[:2]
        for each in onnx.load(files[1]).graph.initializer
        if each.data_type == TensorProto.FLOAT and len(each.dims) == 4
    ]
    assert [list(each) for each in floats] == [[8, 1]]
    assert len(narrow(onnx.load(files[0]))) == 1
    assert FEWEST_CHANNELS > 1


def test_batch_norms_are_part_of_the_convolutions_before_them(files: tuple[Path, Path]) -> None:
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(files[0]).graph.node}


def test_what_the_file_says_of_itself_is_kept(files: tuple[Path, Path]) -> None:
    told = onnxruntime.InferenceSession(files[1]).get_modelmeta().custom_metadata_map
    assert read_spec(told[KEY], "after") == SPEC


def test_the_same_examples_give_the_same_bytes(files: tuple[Path, Path], inputs, tmp_path: Path) -> None:
    again = write_pyramid(tmp_path / "again.onnx")
    quantize(again, inputs)
    assert again.read_bytes() == files[1].read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]
