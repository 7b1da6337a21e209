"""What a model file says of itself: the text that travels inside every checkpoint and ONNX file.

Nothing that inference needs to know about a network stands anywhere else: class names, crop and template,
window, temperature, licence.
"""

from __future__ import annotations

import json
import math
import sys
import types
import typing
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from mien.errors import CheckpointError
from mien.expressions import EXPRESSIONS
from mien.plain import read_json

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "mien"
"""Name under which the text stands in the metadata of safetensors and ONNX files."""

LARGEST_FLOAT = sys.float_info.max
"""JSON has larger whole numbers, which no float can hold."""

FORMAT = 1
"""Version of this text; files of another version are refused."""


RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "masked": (lambda names: {*names} < {*EXPRESSIONS}, "names of some of the expressions"),
    "temperature": (lambda divisor: 0 < divisor < math.inf, "a number above 0"),
    "crop_px": (lambda side: 8 <= side <= 1024, "8 to 1024 pixels"),
    "landmarks": (
        lambda points: (
            len({*map(tuple, points)}) == 5 == len(points)
            and all(abs(each) < 10 for point in points for each in point)
        ),
        "five different points, in units of the crop's side",
    ),
    "window": (lambda seconds: 0 < seconds <= 60, "seconds above 0, at most 60"),
}
"""What values must be, beyond their types, wherever they are not None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One trained network: of the face, of speech, or of both."""

    modality: Literal["face", "speech", "both"]
    network: dict[str, Any]
    """The network's configuration, as plain values."""
    expressions: tuple[str, ...]
    """Names, in the order of the network's outputs."""
    masked: tuple[str, ...] = ()
    """Expressions whose probability is held at 0, the others renormalised."""
    temperature: float = 1.0
    """Divides the logits; fitted on data that fitted nothing else."""
    crop_px: int | None = None
    """Side of a face crop; None for speech, and only there."""
    landmarks: tuple[tuple[float, float], ...] | None = None
    """Where the five points go in a crop, in units of its side; None for speech, and only there."""
    window: float | None = None
    """Seconds of sound in one window; None for faces, and only there."""
    licence: str
    """Under which terms the weights may be used."""
    training: dict[str, Any]
    """Recipe, seed, steps and counts of data: what `mien train` was told."""
    format: int = FORMAT

    def to_text(self) -> str:
        """The specification as JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def read_spec(text: str | None, source: str) -> ModelSpec:
    """The specification that a model file carries.

    Args:
        text: JSON from the file's metadata; None where there is none.
        source: The file's name, for messages.

    Raises:
        CheckpointError: There is no such text, or it is not of this version of mien.
    """
    if text is None:
        raise CheckpointError(
            f"{source} carries no description of a mien model; export one with `mien export`"
        )
    try:
        values = read_json(text)
    except ValueError:
        raise CheckpointError(f"{source}: its description is not JSON; the file is damaged") from None
    known = {field.name for field in fields(ModelSpec)}
    if not isinstance(values, dict) or values.get("format") != FORMAT or set(values) != known:
        raise CheckpointError(f"{source} was written by another version of mien; export it again")
    for name, kind in typing.get_type_hints(ModelSpec).items():
        if not fits(values[name], kind):
            raise CheckpointError(f"{source}: its {name} is {values[name]!r}; the file is damaged")
    wanted = {"face": ("crop_px", "landmarks"), "speech": ("window",)}.get(
        values["modality"], ("crop_px", "landmarks", "window")
    )
    lacking = [name for name in wanted if values[name] is None]
    if lacking:
        raise CheckpointError(
            f"{source} describes a {values['modality']} model without {' and '.join(lacking)}; "
            "export it again"
        )
    values["expressions"] = tuple(values["expressions"])
    values["masked"] = tuple(values["masked"])
    if values["expressions"] != EXPRESSIONS:
        raise CheckpointError(
            f"{source} knows {', '.join(values['expressions'])}; expected {', '.join(EXPRESSIONS)}"
        )
    for name, (holds, expected) in RANGES.items():
        if values[name] is not None and not holds(values[name]):
            raise CheckpointError(
                f"{source}: its {name} is {values[name]!r}; expected {expected}; export it again"
            )
    if values["landmarks"] is not None:
        values["landmarks"] = tuple((float(x), float(y)) for x, y in values["landmarks"])
    return ModelSpec(**values)


def fits(value: object, kind: Any) -> bool:
    """Whether a plain value, as JSON gives it, is of a declared type; an int will do for a float.

    >>> fits([2, 2], tuple[int, int]), fits(True, float), fits("gcsb", Literal["none", "gcsa"])
    (True, False, False)
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        wanted = (parts[0],) * len(value) if parts[-1] is ... else parts
        return len(value) == len(wanted) and all(map(fits, value, wanted))
    if origin is dict:
        return isinstance(value, dict) and all(fits(each, parts[1]) for each in value.values())
    if kind is float:
        return type(value) is float or (type(value) is int and abs(value) <= LARGEST_FLOAT)
    return kind is Any or type(value) is (origin or kind)
