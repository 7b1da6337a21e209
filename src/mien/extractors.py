"""An extractor of one's own in, features of faces or of sound out: a frozen network, or arrays in a folder.

    face.onnx, face.json             a network, and in a few lines of JSON what it takes and gives
    folder/features.json, *.npy      features computed elsewhere, an array [rows, D] for each recording

Which JSON is expected is what `FaceForm`, `SpeechForm` and `FolderForm` hold. Checksums of networks and
arrays stand in it and are checked before use. Preparing, training and analysis bring crops and sound into
an extractor's form by this file alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import typing
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from mien.engine import open_session, refuse_altered, refusing
from mien.errors import CheckpointError, DatasetError
from mien.faces import FERPLUS_LANDMARKS, Template, align
from mien.plain import read_array, read_json
from mien.spans import COLUMNS_PER_SECOND
from mien.spec import fits
from mien.speech import N_MELS
from mien.whole import checksum, lies_below
from mien.windows import N_COLUMNS, WINDOW, cut_window

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jaxtyping import Float, Float32, Float64, Int64, UInt8

INDEX = "features.json"
"""What a folder of features has beside its arrays."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

_ROUNDING = 1e-3
"""Seconds; containers round the times of frames, often to whole milliseconds."""

Modality = Literal["face", "speech"]
Form = TypeVar("Form", "FaceForm", "SpeechForm", "FolderForm")


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceForm:
    """What a network of faces takes, and what it gives."""

    modality: Literal["face"]
    sha256: str
    """Of the ONNX file."""
    input: str
    """Name of its input: one crop, as an array of four axes."""
    output: str
    """Name of that output which is the features of the crop."""
    n_features: int
    size_px: int
    """Side of the crop."""
    colours: Literal["RGB", "BGR", "grey"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    mean: tuple[float, ...] = (0.0,)
    """Taken from each colour, which is 0 to 255; one number, or one for each colour."""
    std: tuple[float, ...] = (1.0,)
    """Divides what is left."""
    landmarks: tuple[tuple[float, float], ...] = FERPLUS_LANDMARKS
    """Where eyes, nose and corners of the mouth lie, in units of the crop's side."""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        colours = 1 if self.colours == "grey" else 3
        if not (8 <= self.size_px <= 1024 and self.n_features >= 1):
            raise ValueError(
                f"size_px {self.size_px} is not 8-1024, or n_features {self.n_features} is below 1"
            )
        if not all(len(each) in (1, colours) for each in (self.mean, self.std)) or 0 in self.std:
            raise ValueError(f"mean or std is not 1 or {colours} numbers, or std is 0")
        if len(self.landmarks) != 5:
            raise ValueError(f"landmarks are {len(self.landmarks)} points, not 5")
        if len({*self.landmarks}) < 5:
            raise ValueError(f"landmarks are {self.landmarks}, of which two are the same point")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechForm:
    """What a network of sound takes, and what it gives."""

    modality: Literal["speech"]
    sha256: str
    """Of the ONNX file."""
    input: str
    """Name of its input: one window of 3.2 s of mien's log-mel, [1, 64, 320] float32."""
    output: str
    """Name of that output which is the features of the window's steps, [1, steps, D]."""
    n_features: int
    rate: float
    """Steps a second."""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        steps = self.rate * WINDOW
        if self.n_features < 1 or not 4 <= steps <= 1000 * WINDOW or abs(steps - 4 * round(steps / 4)) > 1e-6:
            raise ValueError(
                f"n_features {self.n_features} is below 1, or {self.rate:g} steps a second are {steps:g} in "
                "3.2 s, which is no multiple of 4"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderForm:
    """What is in a folder of features."""

    modality: Modality
    n_features: int
    rate: float
    """Rows a second; row k is of what is seen or heard from k / rate to (k + 1) / rate. A still has one."""
    recordings: dict[str, dict[str, str]]
    """`file`, in the folder, and `sha256` of the array of each recording, by the recording's name."""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        if self.n_features < 1 or not 0 < self.rate <= 1000:
            raise ValueError(f"n_features {self.n_features} or rate {self.rate:g} is out of range")
        for name, each in self.recordings.items():
            if each.keys() != {"file", "sha256"}:
                raise ValueError(f"{name!r} has not file and sha256, and nothing else")
            if not lies_below(each["file"]):
                raise ValueError(f"{name!r} has file {each['file']!r}, which is not a path below the folder")


class FaceExtractor:
    """A frozen network of faces: one crop at a time in, its features out.

    Args:
        path: The ONNX file; its JSON lies beside it.
        n_threads: Threads that share an operator.

    Raises:
        CheckpointError: File and JSON do not fit each other.
    """

    def __init__(self, path: Path, *, n_threads: int = 1) -> None:
        self.form = read_form(FaceForm, path.with_suffix(".json"))
        self.told = _plain({"from": "onnx", **asdict(self.form)})
        self.template = Template(self.form.size_px, self.form.landmarks)
        self._network = _Network(path, self.form, n_threads)
        self(np.zeros((self.form.size_px, self.form.size_px, 3), np.uint8))

    def __call__(self, crop: UInt8[np.ndarray, "side side 3"]) -> Float32[np.ndarray, "D"]:
        """Features of an RGB crop, aligned to `template`."""
        form = self.form
        seen = crop.astype(np.float32)
        if form.colours == "grey":
            seen = (seen @ LUMA)[..., None]
        elif form.colours == "BGR":
            seen = seen[..., ::-1]
        mean, std = np.array(form.mean, np.float32), np.array(form.std, np.float32)
        seen = np.divide(seen - mean, std, dtype=np.float32)
        if form.layout == "NCHW":
            seen = seen.transpose(2, 0, 1)
        if form.dtype == "uint8":
            seen = seen.round().clip(0, 255)
        features = self._network(np.ascontiguousarray(seen[None]).astype(form.dtype), 1)
        return np.asarray(features[0])

    def look(
        self, image: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "5 2"]
    ) -> Float32[np.ndarray, "D"]:
        """Features of the face whose points lie there."""
        return self(align(image, landmarks, self.template))

    def look_square(
        self, image: UInt8[np.ndarray, "height width 3"], corner: Float[np.ndarray, "2"], side: float
    ) -> Float32[np.ndarray, "D"]:
        """Features of a square of a picture, x and y of its top left corner given: a face crop as it is."""
        return self.look(image, corner + side * np.array(self.template.landmarks))


class SpeechExtractor:
    """A frozen network of sound: windows of 3.2 s in, features of their steps out.

    Args:
        path: The ONNX file; its JSON lies beside it.
        n_threads: Threads that share an operator.

    Raises:
        CheckpointError: File and JSON do not fit each other.
    """

    def __init__(self, path: Path, *, n_threads: int = 1) -> None:
        self.form = read_form(SpeechForm, path.with_suffix(".json"))
        self.told = _plain({"from": "onnx", **asdict(self.form)})
        self.n_steps = round(self.form.rate * WINDOW)
        """Of a window."""
        self._network = _Network(path, self.form, n_threads)
        self(np.zeros((N_MELS, N_COLUMNS), np.float32))

    def __call__(self, window: Float32[np.ndarray, "64 320"]) -> Float32[np.ndarray, "steps D"]:
        """Features of a window's steps; columns outside the file hold `QUIETEST`."""
        return self._network(window[None], self.n_steps)

    def hear(self, columns: Float32[np.ndarray, "columns 64"]) -> Float32[np.ndarray, "steps D"]:
        """Features of a whole recording's steps, each from the window in whose middle half it lies."""
        n_steps = round(len(columns) / COLUMNS_PER_SECOND * self.form.rate)
        quarter, kept = self.n_steps // 4, []
        for start in range(-N_COLUMNS // 4, len(columns), N_COLUMNS // 2):
            window, _ = cut_window(columns.T, start)
            kept.append(self(window)[quarter : 3 * quarter])
        nothing = np.zeros((0, self.form.n_features), np.float32)
        return np.concatenate([nothing, *kept])[:n_steps]


class FeatureFolder:
    """Features that were computed elsewhere, an array for each recording.

    Args:
        folder: Holds `features.json` and the arrays.
        modality: Which is asked for.

    Raises:
        DatasetError: It is not such a folder, or of another modality.
    """

    def __init__(self, folder: Path, modality: Modality) -> None:
        self.folder = folder
        try:
            self.form = read_form(FolderForm, folder / INDEX)
        except CheckpointError as error:
            raise DatasetError(str(error)) from None
        if self.form.modality != modality:
            raise DatasetError(f"{folder / INDEX} has features of {self.form.modality}, not of {modality}")
        told = {name: value for name, value in asdict(self.form).items() if name != "recordings"}
        sha256 = hashlib.sha256((folder / INDEX).read_bytes()).hexdigest()
        self.told = _plain({"from": "folder", "sha256": sha256, **told})

    def read(self, name: str, end: float | None) -> Float32[np.ndarray, "rows D"]:
        """The features of a recording; rows of NaN where there is nothing.

        Args:
            name: Of the recording.
            end: Seconds of its media; 0: it is a still; None: nobody knows.

        Raises:
            DatasetError: They are absent, changed, or of another form or length.
        """
        if name not in self.form.recordings:
            raise DatasetError(f"{self.folder / INDEX} has no recording {name!r}; add its features")
        told = self.form.recordings[name]
        path = self.folder / told["file"]
        try:
            content = path.read_bytes()
            rows = read_array(io.BytesIO(content))
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path} of {name!r} cannot be read ({_short(error)}); mend it") from None
        found = hashlib.sha256(content).hexdigest()
        if found != told["sha256"]:
            raise DatasetError(f"{path} has sha256 {found[:12]}…, {INDEX} says {told['sha256'][:12]}…")
        if rows.dtype.kind != "f" or rows.shape[1:] != (self.form.n_features,) or not len(rows):
            raise DatasetError(
                f"{path} is {rows.dtype} {rows.shape}; expected rows of {self.form.n_features} floats"
            )
        if end is not None:
            wanted, slack = (end * self.form.rate, 1) if end else (1.0, 0)
            if abs(len(rows) - wanted) > slack + 1e-6:
                raise DatasetError(
                    f"{path} has {len(rows)} rows; expected {wanted:.1f}, {self.form.rate:g} a second of "
                    f"{end:.2f} s, or one of a still"
                )
        return np.asarray(rows, np.float32)

    def rows_at(self, times: Float64[np.ndarray, "times"], n_rows: int) -> Int64[np.ndarray, "times"]:
        """Which row each time lies in, of so many; one row beyond the last counts as the last."""
        rows = np.floor((times + _ROUNDING) * self.form.rate).astype(np.int64)
        return np.where(rows == n_rows, n_rows - 1, rows)


class _Network:
    """An ONNX file that is what its JSON says."""

    def __init__(self, path: Path, form: FaceForm | SpeechForm, n_threads: int) -> None:
        self.path, self.form = path, form
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}; give an ONNX file") from None
        refuse_altered(
            content,
            form.sha256,
            told=f"{path} has",
            wanted=f"{path.stem}.json says",
            mend="; give the file that was meant",
        )
        with refusing(f"{path} cannot be opened", "export it again"):
            self._session = open_session(content, n_threads=n_threads)

    def __call__(self, array: np.ndarray, n_rows: int) -> Float32[np.ndarray, "rows D"]:
        told = f"{self.path} does not take {array.dtype} {array.shape} as {self.form.input!r}"
        with refusing(told, f"mend {self.path.stem}.json"):
            [given] = self._session.run([self.form.output], {self.form.input: array})
        shape = np.shape(given)
        if np.size(given) != n_rows * self.form.n_features or shape[-1] not in (1, self.form.n_features):
            raise CheckpointError(
                f"{self.path} gives {shape}; {self.path.stem}.json says {n_rows} × {self.form.n_features}"
            )
        return np.asarray(given, np.float32).reshape(n_rows, self.form.n_features)


def open_extractor(path: Path, modality: Modality) -> FaceExtractor | SpeechExtractor | FeatureFolder:
    """The extractor that lies at a path, a file or a folder.

    Raises:
        CheckpointError: A file and its JSON do not fit each other.
        DatasetError: It is no folder of features of this modality.
    """
    if path.is_dir():
        return FeatureFolder(path, modality)
    return FaceExtractor(path) if modality == "face" else SpeechExtractor(path)


def find_extractor(told: dict[str, Any], candidates: Iterable[Path]) -> Path:
    """The ONNX file among candidates that told this of itself.

    Raises:
        CheckpointError: None did.
    """
    for path in candidates:
        if path.is_file() and checksum(path) == told["sha256"]:
            if open_extractor(path, told["modality"]).told != told:
                raise CheckpointError(
                    f"{path.with_suffix('.json')} says something else than in training; mend it"
                )
            return path
    raise CheckpointError(
        f"the {told['modality']} network takes features by an ONNX file of sha256 {told['sha256'][:12]}…; "
        "name that file with --extractor"
    )


def read_form(kind: type[Form], path: Path) -> Form:
    """What a JSON file says, with names and values of this kind.

    Raises:
        CheckpointError: It is absent, no JSON, or says something else.
    """
    known = {each.name for each in fields(kind)}
    needed = {each.name for each in fields(kind) if each.default is MISSING}
    try:
        told = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({_short(error)}); write one with {', '.join(sorted(needed))}"
        ) from None
    odd = set(told) ^ known if isinstance(told, dict) else known
    if odd - (known - needed):
        raise CheckpointError(f"{path}: {', '.join(sorted(odd - (known - needed)))} unknown or lacking")
    for name, hint in typing.get_type_hints(kind).items():
        if name in told and not fits(told[name], hint):
            raise CheckpointError(f"{path}: {name} is {str(told[name])[:60]!r}, which is of another form")
    try:
        return kind(**{name: _frozen(value) for name, value in told.items()})
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}; mend it") from None


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _plain(told: dict[str, Any]) -> dict[str, Any]:
    """The same as JSON gives it back, so that what was read again compares equal."""
    plain: dict[str, Any] = json.loads(json.dumps(told))
    return plain


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:99]
