"""Crops and mel windows in, probabilities out: the exported networks behind ONNX Runtime, without torch.

A model is a folder: `manifest.json`, encoder and head of each modality as ONNX. Every file's sha256 is
checked before it is used, and the speech files are opened only when voice is asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from mien.classwise import ClassWise, Fusion, Rule, find_rule, read_class_wise, read_fusion
from mien.engine import open_session, refuse_altered, refusing
from mien.errors import CheckpointError, InputError
from mien.expressions import EXPRESSIONS
from mien.extractors import FaceExtractor, SpeechExtractor
from mien.fusion import check_weights
from mien.plain import read_json
from mien.spec import KEY, fits, read_spec
from mien.windows import QUIETEST

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, UInt8

WEIGHTS = Path(__file__).with_name("weights")
"""Folder of the models that come with the package, one folder each."""

DEFAULT_MODEL = "mien-b"

MANIFEST = "manifest.json"

FACE_FILES = ("face_encoder.onnx", "face_head.onnx")
SPEECH_FILES = ("speech_encoder.onnx", "speech_head.onnx")
EXTRACTORS = ("face_encoder.json", "speech_encoder.json")
"""Beside an encoder that is an extractor of the user's own: what it takes and gives."""
OPTIONAL = {"class_wise", "fusion", "voice_of"}
"""What a manifest need not hold."""
FILES = {*FACE_FILES, *SPEECH_FILES, *EXTRACTORS, "face.safetensors", "speech.safetensors"}
"""What a model is made of; a manifest names no others, and so none elsewhere."""
FORMS = {
    FACE_FILES[0]: ("face", ["crops"], "features"),
    FACE_FILES[1]: ("face", ["features"], "probs"),
    SPEECH_FILES[0]: ("speech", ["log_mel", "column_mask"], "steps"),
    SPEECH_FILES[1]: ("speech", ["steps", "column_mask"], "probs"),
}
"""Modality, inputs and output of the networks in these files."""
VOICE_FILES = (*SPEECH_FILES, "speech.safetensors", EXTRACTORS[1])
"""What a model may share with another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model folder's manifest says."""

    name: str
    folder: Path
    voice_weight: float
    """m of the proportion rule that the model was fitted with."""
    face_weight: float
    """n of the proportion rule."""
    sha256: dict[str, str]
    """Checksum of each file, by name."""
    licences: dict[str, str]
    """Terms of use of each modality's weights."""
    figures: dict[str, Any]
    """Scores on held-out data, as measured by `mien evaluate`."""
    class_wise: ClassWise | None = None
    """The rule that `mien fit-fusion` fitted; None in a model that has none."""
    fusion: Fusion = "proportion"
    """How face and voice are fused where nobody says otherwise."""
    voice_of: str | None = None
    """Name of the shipped model that holds the files of this one's voice; None: they lie in `folder`."""

    def path(self, file_name: str) -> Path:
        """Where a file of the model lies.

        >>> load_model("mien-b").path("face_head.onnx").parent.name
        'mien-b'
        """
        shared = self.voice_of is not None and file_name in VOICE_FILES
        return (WEIGHTS / str(self.voice_of) if shared else self.folder) / file_name

    def rule(self, fusion: Fusion | None = None) -> Rule:
        """A way of fusing rows of voice and face; None: the model's own.

        Raises:
            InputError: The model has no such rule.
        """
        fusion = fusion or self.fusion
        if fusion == "class_wise" and self.class_wise is None:
            raise InputError(
                f"model {self.name} has no class-wise fusion; fit it with `mien fit-fusion`, or fuse by "
                f"{self.fusion}"
            )
        return find_rule(fusion, (self.voice_weight, self.face_weight), self.class_wise)


class Part:
    """A checked file of a model, ready to run.

    Args:
        model: The model.
        file_name: Of one of its networks.
        n_threads: Threads that share an operator.

    Raises:
        CheckpointError: The file is absent, is not the one that the manifest names, or another network.
    """

    def __init__(self, model: ModelInfo, file_name: str, n_threads: int) -> None:
        content = read_part(model, file_name)
        self._told = f"{file_name} of model {model.name}"
        with refusing(f"{self._told} cannot be opened", "export it again"):
            self._session = open_session(content, n_threads=n_threads)
        self.spec = read_spec(self._session.get_modelmeta().custom_metadata_map.get(KEY), file_name)
        modality, inputs, output = FORMS[file_name]
        takes = [each.name for each in self._session.get_inputs()]
        gives = [each.name for each in self._session.get_outputs()]
        if (self.spec.modality, sorted(takes), gives) != (modality, sorted(inputs), [output]):
            raise CheckpointError(
                f"{self._told} is of {self.spec.modality}, takes {', '.join(takes)} and gives "
                f"{', '.join(gives)}; expected {modality}, {', '.join(inputs)} and {output}; export it again"
            )
        self._gives_probs = output == "probs"
        self._n_axes = 3 if output == "steps" else 2

    def __call__(self, **inputs: np.ndarray) -> Float32[np.ndarray, "rows ..."]:
        """What the network says of rows of its inputs, which are given by their names.

        Raises:
            CheckpointError: It does not take them, or gives no numbers of the form that it should.
        """
        with refusing(f"{self._told} does not run", "export it again"):
            [given] = self._session.run(None, inputs)
        n_rows = len(next(iter(inputs.values())))
        shape = np.shape(given)
        if (
            shape[:1] != (n_rows,)
            or len(shape) != self._n_axes
            or (self._gives_probs and shape[1] != len(EXPRESSIONS))
            or given.dtype != np.float32
            or not np.isfinite(given).all()
        ):
            raise CheckpointError(
                f"{self._told} gives {np.asarray(given).dtype} {shape}, or what is no number; export it again"
            )
        return np.asarray(given)


class FacePredictor:
    """Probabilities of the eight expressions for face crops."""

    def __init__(self, model: ModelInfo, *, n_threads: int = 1) -> None:
        self._extractor = None
        if EXTRACTORS[0] in model.sha256:
            read_part(model, EXTRACTORS[0])
            read_part(model, FACE_FILES[0])
            self._extractor = FaceExtractor(model.path(FACE_FILES[0]), n_threads=n_threads)
        else:
            self._encoder = Part(model, FACE_FILES[0], n_threads)
        self._head = Part(model, FACE_FILES[1], n_threads)
        self.spec = self._head.spec

    def __call__(self, crops: UInt8[np.ndarray, "faces side side 3"]) -> Float32[np.ndarray, "faces 8"]:
        """One row for each RGB crop, aligned by the model's own template."""
        # one face at a time: on few cores ONNX Runtime is slower per face in batches
        return np.concatenate([self._head(features=self.encode(crop[None])) for crop in crops])

    def encode(self, crops: UInt8[np.ndarray, "faces side side 3"]) -> Float32[np.ndarray, "faces features"]:
        """Feature vectors of RGB crops."""
        if self._extractor is not None:
            return np.stack([self._extractor(crop) for crop in crops])
        return self._encoder(crops=crops)


class VoicePredictor:
    """Probabilities of the eight expressions for windows of sound."""

    def __init__(self, model: ModelInfo, *, n_threads: int = 1) -> None:
        self._extractor = None
        if EXTRACTORS[1] in model.sha256:
            read_part(model, EXTRACTORS[1])
            read_part(model, SPEECH_FILES[0])
            self._extractor = SpeechExtractor(model.path(SPEECH_FILES[0]), n_threads=n_threads)
        else:
            self._encoder = Part(model, SPEECH_FILES[0], n_threads)
        self._head = Part(model, SPEECH_FILES[1], n_threads)
        self.spec = self._head.spec

    def __call__(
        self, log_mel: Float32[np.ndarray, "windows 64 320"], mask: Bool[np.ndarray, "windows 320"]
    ) -> Float32[np.ndarray, "windows 8"]:
        """One row for each window; `mask` says which columns lie inside the file."""
        steps, there = self.encode(log_mel, mask)
        return self._head(steps=steps, column_mask=there)

    def encode(
        self, log_mel: Float32[np.ndarray, "windows 64 320"], mask: Bool[np.ndarray, "windows 320"]
    ) -> tuple[Float32[np.ndarray, "windows features steps"], Bool[np.ndarray, "windows parts"]]:
        """Steps of features, and which columns, or of an extractor which steps, lie inside the file."""
        if self._extractor is None:
            return self._encoder(log_mel=log_mel, column_mask=mask), mask
        heard = np.where(mask[:, None], log_mel, np.float32(QUIETEST))
        steps = np.stack([self._extractor(window).T for window in heard])
        middles = (np.arange(steps.shape[2]) + 0.5) * mask.shape[1] / steps.shape[2]
        return steps, mask[:, middles.astype(np.int64)]


def list_models() -> list[ModelInfo]:
    """The models that come with the package.

    >>> [model.name for model in list_models()]
    ['mien-b', 'mien-s']
    """
    return [read_manifest(WEIGHTS / name) for name in shipped_names()]


def shipped_names() -> list[str]:
    """Names of the models that come with the package."""
    return [path.parent.name for path in sorted(WEIGHTS.glob(f"*/{MANIFEST}"))]


def load_model(name_or_path: str | Path = DEFAULT_MODEL) -> ModelInfo:
    """A model by the name under which it ships, or by the folder that `mien export` wrote.

    Raises:
        InputError: There is no such model.
        CheckpointError: The folder's manifest is damaged.

    >>> load_model("mien-b").name
    'mien-b'
    """
    for folder in (WEIGHTS / str(name_or_path), Path(name_or_path)):
        if (folder / MANIFEST).is_file():
            return read_manifest(folder)
    names = ", ".join(model.name for model in list_models())
    raise InputError(
        f"there is no model {str(name_or_path)!r}; expected {names}, or a folder from `mien export`"
    )


def read_manifest(folder: Path) -> ModelInfo:
    """What `manifest.json` in a model folder says.

    Raises:
        CheckpointError: It is not a manifest.
    """
    source = f"{folder.name}/{MANIFEST}"
    try:
        told = read_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{source} is damaged ({error}); export the model again") from None
    kinds = get_type_hints(ModelInfo)
    for name in ("folder", *OPTIONAL):
        del kinds[name]
    if not isinstance(told, dict) or told.keys() - OPTIONAL != kinds.keys():
        raise CheckpointError(f"{source} does not hold {', '.join(kinds)}; export the model again")
    for name, kind in kinds.items():
        if not fits(told[name], kind):
            raise CheckpointError(f"{source}: its {name} is {told[name]!r}; export the model again")
    if strange := told["sha256"].keys() - FILES:
        raise CheckpointError(
            f"{source} names {min(strange)!r}, which is no file of a model; export it again"
        )
    if "class_wise" in told:
        told["class_wise"] = read_class_wise(told["class_wise"], EXPRESSIONS, source)
    try:
        check_weights(told["voice_weight"], told["face_weight"])
        if "fusion" in told:
            told["fusion"] = read_fusion(told["fusion"])
    except InputError as error:
        raise CheckpointError(f"{source}: its {error}; export the model again") from None
    if told.get("fusion") == "class_wise" and "class_wise" not in told:
        raise CheckpointError(f"{source} fuses class_wise but has no such rule; export the model again")
    if "voice_of" in told and told["voice_of"] not in shipped_names():
        raise CheckpointError(
            f"{source} shares the voice of {told['voice_of']!r}, which does not come with this version; "
            "export the model again"
        )
    return ModelInfo(folder=folder, **told)


def write_manifest(model: ModelInfo) -> None:
    """Writes what `read_manifest` reads into the model's folder."""
    told = {field.name: getattr(model, field.name) for field in fields(model)}
    del told["folder"]
    rule = told.pop("class_wise")
    if model.fusion == "proportion":
        del told["fusion"]
    if model.voice_of is None:
        del told["voice_of"]
    if rule is not None:
        told["class_wise"] = rule.as_dict(EXPRESSIONS)
    (model.folder / MANIFEST).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def read_part(model: ModelInfo, file_name: str) -> bytes:
    """The content of a file of a model, once it is seen to be the one that the manifest names.

    Raises:
        CheckpointError: It is absent or another.
    """
    path = model.path(file_name)
    if file_name not in model.sha256:
        raise CheckpointError(
            f"model {model.name} was exported without {file_name}; analyze with --no-voice"
            if file_name in SPEECH_FILES
            else f"model {model.name} was exported without {file_name}; analyze files of sound alone with it"
        )
    if not path.is_file():
        raise CheckpointError(f"model {model.name} lacks {file_name}; export it again, or reinstall mien")
    content = path.read_bytes()
    refuse_altered(
        content,
        model.sha256[file_name],
        told=f"{file_name} of model {model.name} has",
        wanted="its manifest says",
        mend="; export it again, or reinstall mien",
    )
    return content
