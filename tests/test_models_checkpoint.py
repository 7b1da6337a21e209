"""Checkpoints: a network comes back as it was written, and what does not fit is refused in one line."""

import json
import pickle
import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from mien.errors import CheckpointError
from mien.expressions import EXPRESSIONS
from mien.faces import Template
from mien.models import checkpoint
from mien.models.attention import AttentionConfig, GCSAConfig
from mien.models.checkpoint import (
    build_network,
    load_network,
    load_tensors,
    read_config,
    save_network,
    save_tensors,
)
from mien.models.face import FaceNet, FaceNetConfig
from mien.models.speech import SpeechNet, SpeechNetConfig
from mien.predictor import load_model
from mien.spec import KEY, ModelSpec
from mien.windows import WINDOW
from some_networks import face_config, speech_config


def some_spec(config: FaceNetConfig | SpeechNetConfig) -> ModelSpec:
    """A specification whose network went through JSON, as on disk."""
    face = isinstance(config, FaceNetConfig)
    return ModelSpec(
        modality="face" if face else "speech",
        crop_px=48 if face else None,
        landmarks=Template(48).landmarks if face else None,
        window=None if face else WINDOW,
        network=json.loads(json.dumps(asdict(config))),
        expressions=EXPRESSIONS,
        temperature=1.25,
        licence="none",
        training={"seed": 3},
    )


@pytest.fixture(scope="module")
def face_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "face.safetensors"
    spec = some_spec(face_config())
    save_network(build_network(spec), spec, path)
    return path


def refused(path: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [face_config("mecs"), speech_config("gcsa")], ids=["face", "speech"])
def test_what_is_written_comes_back(config: FaceNetConfig | SpeechNetConfig, tmp_path: Path) -> None:
    spec, path = some_spec(config), tmp_path / "net.safetensors"
    network = build_network(spec).train()
    save_network(network, spec, path)
    loaded, told = load_network(path)
    assert told == spec
    assert type(loaded) is (FaceNet if isinstance(config, FaceNetConfig) else SpeechNet)
    assert not loaded.training
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert all(
        torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.state_dict().items()
    )
    assert [each.name for each in tmp_path.iterdir()] == ["net.safetensors"]


def test_the_specification_decides_the_network() -> None:
    config = FaceNetConfig(
        stem_strides=(1, 2), attention=AttentionConfig(gcsa=GCSAConfig(residual=True, kernel=3)), dropout=0.5
    )
    assert read_config(FaceNetConfig, some_spec(config).network) == config
    network = build_network(some_spec(config))
    assert isinstance(network, FaceNet)
    assert network.encoder.attention1.config == config.attention.gcsa
    assert isinstance(network.head[0], torch.nn.Dropout)
    assert network.head[0].p == 0.5


def test_weights_of_half_precision_are_read_as_float32(tmp_path: Path) -> None:
    spec, path = some_spec(face_config()), tmp_path / "half.safetensors"
    save_network(build_network(spec).half(), spec, path)
    network, _ = load_network(path)
    assert {each.dtype for each in network.parameters()} == {torch.float32}
    assert network(torch.rand(1, 1, 32, 32)).shape == (1, 8)


def test_a_checkpoint_is_replaced_whole(face_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"older")
    save_tensors({"a": torch.arange(6).view(2, 3).T}, {"told": "yes"}, path)
    tensors, metadata = load_tensors(path)
    assert tensors["a"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert metadata == {"told": "yes"}


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    """The library leaves the order of what is told in the head to chance."""
    told = {name: f'{name}: ä, "\\\n' for name in "zyxwv"}
    contents = set()
    for number in range(8):
        path = tmp_path / f"{number}.safetensors"
        save_tensors({"a": torch.arange(6.0)}, told, path)
        contents.add(path.read_bytes())
        assert load_tensors(path)[1] == told
    assert len(contents) == 1


@settings(deadline=None, max_examples=50)
@given(place=st.floats(0, 1), bit=st.integers(0, 7))
def test_one_flipped_bit_is_found(place: float, bit: int) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "a.safetensors"
        tensors = {"a": torch.arange(6.0), "b": torch.tensor(3), "c": torch.ones(2, 2).bfloat16()}
        save_tensors(tensors, {"told": "yes"}, path)
        content = bytearray(path.read_bytes())
        content[round(place * (len(content) - 1))] ^= 1 << bit
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.safetensors is not "):
            load_tensors(path)


def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match=r"out\.safetensors cannot be written .*No space left"):
        checkpoint.save_tensors({}, {}, tmp_path / "out.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda tensors: tensors.pop("head.1.bias"), r"1 weights do not fit .* 'head\.1\.bias'"),
        (lambda tensors: tensors.update({"head.1.bias": torch.zeros(7)}), r"1 weights do not fit"),
        (lambda tensors: tensors.update({"head.2.bias": torch.zeros(8)}), r"first 'head\.2\.bias'"),
    ],
    ids=["lacking", "of another shape", "too many"],
)
def test_weights_that_do_not_fit(
    change: Callable[[dict[str, torch.Tensor]], object], match: str, face_file: Path, tmp_path: Path
) -> None:
    tensors, metadata = load_tensors(face_file)
    change(tensors)
    save_tensors(tensors, metadata, tmp_path / "misfit.safetensors")
    refused(tmp_path / "misfit.safetensors", match)


def test_weights_of_another_network_than_described(face_file: Path, tmp_path: Path) -> None:
    tensors, _ = load_tensors(face_file)
    for config in (face_config("mecs"), speech_config()):
        save_tensors(tensors, {KEY: some_spec(config).to_text()}, tmp_path / "misfit.safetensors")
        refused(tmp_path / "misfit.safetensors", "weights do not fit the network it describes")


def with_network(**values: Any) -> dict[str, str]:
    spec = some_spec(face_config())
    return {KEY: replace(spec, network=spec.network | values).to_text()}


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ({}, "carries no description of a mien model"),
        ({KEY: "{"}, "not JSON"),
        (with_network(width=3), "FaceNetConfig of another architecture: width"),
        (with_network(backbone="resnet34"), "FaceNetConfig of another architecture: backbone is 'resnet34'"),
        (with_network(attention=None), "AttentionConfig of another architecture: None"),
        (with_network(input_px="64"), "FaceNetConfig of another architecture: input_px is '64'"),
        (with_network(stem_strides=[1]), r"stem_strides is \[1\]"),
        (
            with_network(attention={**asdict(AttentionConfig()), "name": "gcsb"}),
            "AttentionConfig of another architecture: name is 'gcsb'",
        ),
    ],
)
def test_foreign_descriptions(metadata: dict[str, str], match: str, face_file: Path, tmp_path: Path) -> None:
    tensors, _ = load_tensors(face_file)
    save_tensors(tensors, metadata, tmp_path / "foreign.safetensors")
    refused(tmp_path / "foreign.safetensors", match)


@pytest.mark.parametrize(
    "larger",
    [
        {"widths": [16384, 16384, 16384], "depths": [64, 64, 64]},
        {"backbone": "features", "n_features": 16384},
        {"widths": [2**40, 128, 256]},
        {"depths": [0, 10**9, 2]},
        {"backbone": "features", "n_features": 2**60},
    ],
)
def test_a_description_larger_than_any_memory_is_refused(
    larger: dict[str, Any], face_file: Path, tmp_path: Path
) -> None:
    tensors, _ = load_tensors(face_file)
    save_tensors(tensors, with_network(**larger), tmp_path / "large.safetensors")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path / "large.safetensors", r"^large\.safetensors: ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kB"


def test_a_pickle_under_the_name_of_a_checkpoint_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / "trap.safetensors").write_bytes(pickle.dumps(Trap()))
    refused(tmp_path / "trap.safetensors", "not a whole safetensors file")
    torch.save({"a": Trap()}, tmp_path / "trap.pt")
    refused(tmp_path / "trap.pt", "not a whole safetensors file")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("names", [EXPRESSIONS[:7], EXPRESSIONS[::-1], ("neutral", *EXPRESSIONS[1:])])
def test_other_classes_are_refused(names: tuple[str, ...], face_file: Path, tmp_path: Path) -> None:
    tensors, _ = load_tensors(face_file)
    spec = replace(some_spec(face_config()), expressions=names)
    save_tensors(tensors, {KEY: spec.to_text()}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", rf"other\.safetensors knows {names[0]}, .*; expected Neutral, ")


def test_files_that_are_not_whole(face_file: Path, tmp_path: Path) -> None:
    content = face_file.read_bytes()
    for n_bytes in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.safetensors").write_bytes(content[:n_bytes])
        refused(tmp_path / "cut.safetensors", "not a whole safetensors file")


def test_files_that_are_something_else(tmp_path: Path) -> None:
    refused(tmp_path / "absent.safetensors", "is not there")
    refused(tmp_path, "not a whole safetensors file")
    (tmp_path / "text.safetensors").write_text("weights\n" * 100)
    refused(tmp_path / "text.safetensors", "not a whole safetensors file")
    torch.save({"a": torch.zeros(3)}, tmp_path / "pickle.safetensors")
    refused(tmp_path / "pickle.safetensors", "not a whole safetensors file")


@dataclass(frozen=True, kw_only=True)
class SomeConfig:
    """A configuration with a value that has no default, and one that itself is a configuration."""

    width: int
    depth: int = 3
    gate: GCSAConfig = field(default_factory=GCSAConfig)


def test_a_name_that_is_absent_has_its_default() -> None:
    """Files written before there was a switch stay readable."""
    assert read_config(SomeConfig, {"width": 5}) == SomeConfig(width=5)
    assert read_config(SomeConfig, {"width": 5, "gate": {"kernel": 3}}).gate == GCSAConfig(kernel=3)
    for values, odd in (
        ({"depth": 1}, "width"),
        ({"width": 5, "height": 2}, "height"),
        ({"height": 2}, "height, width"),
    ):
        with pytest.raises(
            CheckpointError, match=f"SomeConfig of another architecture: {odd} unknown or lacking"
        ):
            read_config(SomeConfig, values)


@pytest.mark.parametrize("modality", ["face", "speech"])
def test_files_written_before_there_were_backbones_load(
    modality: str, face_file: Path, tmp_path: Path
) -> None:
    config = face_config() if modality == "face" else speech_config()
    spec = some_spec(config)
    network = build_network(spec)
    assert spec.network.pop("backbone") in ("rhcnn", "mcnn")
    save_network(network, spec, tmp_path / "old.safetensors")
    loaded, told = load_network(tmp_path / "old.safetensors")
    assert told == spec, "what a file says of itself is passed on as it is"
    assert loaded.encoder.n_features == 256
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))


@pytest.mark.parametrize("backbone", ["resnet18", "r2plus1d18"])
def test_other_backbones_come_back(backbone, tmp_path: Path) -> None:
    spec = some_spec(replace(face_config(), backbone=backbone))
    network = build_network(spec)
    save_network(network, spec, tmp_path / "net.safetensors")
    loaded, _ = load_network(tmp_path / "net.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))


@pytest.mark.parametrize("modality", ["face", "speech"])
def test_shipped_weights_load_to_be_tuned_further(modality: str) -> None:
    network, spec = load_network(load_model().folder / f"{modality}.safetensors")
    assert spec.modality == modality
    assert all(weights.isfinite().all() for weights in network.state_dict().values())
