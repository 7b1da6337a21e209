"""Networks to files and back: safetensors with the model's own specification inside."""

from __future__ import annotations

import json
import typing
from dataclasses import MISSING, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from mien.errors import CheckpointError, InputError
from mien.models.face import FaceNet, FaceNetConfig
from mien.models.network import ExpressionNet, ExpressionNetConfig
from mien.models.speech import SpeechNet, SpeechNetConfig
from mien.spec import KEY, ModelSpec, fits, read_spec
from mien.whole import written_whole

DIGEST = "sha256"
"""Name under which the checksum stands in a file's metadata."""

Config = TypeVar("Config")


def build_network(spec: ModelSpec) -> FaceNet | SpeechNet | ExpressionNet:
    """The untrained network that a specification describes."""
    if spec.modality == "both":
        return ExpressionNet(read_config(ExpressionNetConfig, spec.network), len(spec.expressions))
    if spec.modality == "face":
        return FaceNet(read_config(FaceNetConfig, spec.network), len(spec.expressions))
    return SpeechNet(read_config(SpeechNetConfig, spec.network), len(spec.expressions))


def save_network(network: FaceNet | SpeechNet | ExpressionNet, spec: ModelSpec, path: Path) -> None:
    """Writes weights and specification as one safetensors file, whole or not at all."""
    save_tensors(network.state_dict(), {KEY: spec.to_text()}, path)


def load_network(path: Path) -> tuple[FaceNet | SpeechNet | ExpressionNet, ModelSpec]:
    """The network of a safetensors file, in evaluation mode and float32, and its specification.

    Raises:
        CheckpointError: The file is absent, damaged, or its weights do not fit its own specification.
    """
    tensors, metadata = load_tensors(path)
    spec = read_spec(metadata.get(KEY), path.name)
    try:
        with torch.device("meta"):  # shapes alone: what is described may be larger than any memory
            wanted = build_network(spec).state_dict()
    except (InputError, CheckpointError) as error:
        raise CheckpointError(f"{path.name}: {error}") from None
    misfits = sorted(
        name
        for name in wanted.keys() | tensors.keys()
        if name not in tensors or name not in wanted or tensors[name].shape != wanted[name].shape
    )
    if misfits:
        raise CheckpointError(
            f"{path.name}: {len(misfits)} weights do not fit the network it describes, first {misfits[0]!r}"
        )
    network = build_network(spec)
    network.load_state_dict(tensors)
    return network.float().eval(), spec


def save_tensors(tensors: dict[str, torch.Tensor], metadata: dict[str, str], path: Path) -> None:
    """Writes named tensors and text as one safetensors file, with their checksum, whole or not at all.

    Raises:
        OSError: There is no room for it, or it may not be written there.
    """
    with written_whole(path) as aside:
        try:
            whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(whole, aside, metadata | {DIGEST: digest_of(tensors, metadata)})
            _sort_head(aside)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written ({error})") from error


def _sort_head(path: Path) -> None:
    """Orders the text in the head of a safetensors file by name, which the library leaves to chance."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(size))
        head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
        told = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
        if len(told) <= size:
            file.seek(8)
            file.write(told.ljust(size))


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Named tensors and text of a safetensors file.

    Raises:
        CheckpointError: The file is absent, not whole, or not what was written.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = dict(handle.metadata() or {})
        tensors = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there; give a checkpoint written by `mien train`") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from None
    written = metadata.pop(DIGEST, None)
    is_older = written is None and metadata.keys() <= {
        KEY
    }  # as those that ship, whose manifests hold checksums
    if not is_older and written != digest_of(tensors, metadata):
        raise CheckpointError(
            f"{path} is not what was written: it was damaged or altered; train or export again"
        )
    return tensors, metadata


def digest_of(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> str:
    """The sha256 of named tensors and text, in whichever order they are."""
    digest = sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {[*tensor.shape]}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_config(kind: type[Config], values: Any) -> Config:
    """A frozen configuration from plain values, nested ones too.

    A name that is absent has its default, so that files written before there was such a switch still load. A
    new switch's default must therefore be what networks did before it.

    Raises:
        CheckpointError: A name or value is unknown, or one without default is lacking: the file belongs to
            another architecture.
    """
    hints = typing.get_type_hints(kind)
    known = fields(kind)  # type: ignore[arg-type]
    needed = {each.name for each in known if each.default is MISSING and each.default_factory is MISSING}
    if not isinstance(values, dict):
        raise CheckpointError(f"{kind.__name__} of another architecture: {values!r} unknown or lacking")
    odd = (values.keys() - {each.name for each in known}) | (needed - values.keys())
    if odd:
        raise CheckpointError(
            f"{kind.__name__} of another architecture: {', '.join(sorted(odd))} unknown or lacking"
        )
    read = {}
    for name, value in values.items():
        if is_dataclass(hints[name]):
            value = read_config(hints[name], value)
        elif not fits(value, hints[name]):
            raise CheckpointError(f"{kind.__name__} of another architecture: {name} is {value!r}")
        read[name] = tuple(value) if isinstance(value, list) else value
    return kind(**read)
