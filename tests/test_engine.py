"""Networks are opened in one way, and content that is not what it should be is refused."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from media_files import flat_frames, write_video
from mien.engine import InferenceSession, open_session, refuse_altered, refusing
from mien.errors import CheckpointError

CONTENT = b"weights"


def doubling() -> bytes:
    """A network that doubles two numbers and calls itself so."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(
        helper.make_graph([node], "doubling", [x], [y]), opset_imports=[opset], ir_version=8
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = "name", "doubling"
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.mark.parametrize("n_threads", [0, 1, 2])
def test_what_is_opened_runs_on_as_many_threads_as_told(n_threads: int) -> None:
    session = open_session(doubling(), n_threads=n_threads)
    assert isinstance(session, InferenceSession)
    (doubled,) = session.run(None, {"x": np.array([1, 2], np.float32)})
    assert doubled.tolist() == [2, 4]
    assert session.get_modelmeta().custom_metadata_map == {"name": "doubling"}
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (n_threads, 1)
    assert options.log_severity_level == 4, "what fails is raised, and told once"
    assert session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
        (["AzureExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
    ],
)
def test_a_graphics_card_is_taken_where_it_is_offered(
    offered: list[str], taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    class Opened:
        def __init__(self, _content: bytes, _options: object, providers: list[str]) -> None:
            asked.append(providers)

        def run(self, *_: object) -> None:
            raise AssertionError("nothing is run")

        get_modelmeta = get_inputs = get_outputs = run

    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: offered)
    monkeypatch.setattr("onnxruntime.InferenceSession", Opened)
    open_session(b"")
    assert asked == [taken]


@pytest.mark.parametrize("location", ["beside.bin", "../beside.bin", "{here}/beside.bin"])
def test_weights_that_lie_in_another_file_are_not_read(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    for folder in (tmp_path, tmp_path / "below"):
        (folder / "beside.bin").write_bytes(np.ones(2, np.float32).tobytes())
    monkeypatch.chdir(tmp_path / "below")
    model = onnx.load_from_string(doubling())
    model.graph.node[0].input[1] = "w"
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2], bytes(8), raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location.format(here=tmp_path))
    model.graph.initializer.append(tensor)
    told = r"^it cannot be opened \(.*\); mend it$"
    with pytest.raises(CheckpointError, match=told) as caught, refusing("it cannot be opened", "mend it"):
        open_session(model.SerializeToString())
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_one_thread_unless_told() -> None:
    options = open_session(doubling()).get_session_options()
    assert options.intra_op_num_threads == 1


def test_content_that_is_as_it_should_be_passes() -> None:
    refuse_altered(CONTENT, sha256(CONTENT).hexdigest(), told="the weights have", mend=": copy them again")


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"\0"])
def test_altered_content_is_refused_in_one_line_with_both_sums(content: bytes) -> None:
    wanted, found = sha256(CONTENT).hexdigest(), sha256(content).hexdigest()
    with pytest.raises(CheckpointError) as caught:
        refuse_altered(content, wanted, told="the weights have", mend=": copy them again")
    assert (
        str(caught.value)
        == f"the weights have sha256 {found[:12]}…, expected {wanted[:12]}…: copy them again"
    )


def test_importing_loads_no_runtime() -> None:
    code = "import sys, mien.engine; assert not {'onnxruntime', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("code", ["mien.load_model()", "mien.analyze(CLIP)", "doctor.examine()"])
def test_the_engine_tells_its_makers_nothing(tmp_path: Path, code: str) -> None:
    clip = write_video(tmp_path / "clip.mp4", flat_frames(5), fps=25)
    (tmp_path / "tmp").mkdir()
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import mien; from mien import doctor; {code.replace('CLIP', repr(str(clip)))}",
        ],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
        | {"TMPDIR": str(tmp_path / "tmp")},
    )
    assert list((tmp_path / "tmp").iterdir()) == []  # else the number of a session of its telemetry


def test_whatever_the_runtime_raises_is_told_in_one_line_but_for_its_absence() -> None:
    with (
        pytest.raises(CheckpointError, match=r"^it fails \(1 2\); mend it$"),
        refusing("it fails", "mend it"),
    ):
        raise RuntimeError("1\n 2")
    with pytest.raises(ImportError, match="initialization failed"), refusing("it fails", "mend it"):
        raise ImportError("initialization failed")
