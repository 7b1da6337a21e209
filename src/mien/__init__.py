"""Who shows which of eight expressions, when: seen in the face and heard in the voice.

>>> import mien
>>> timeline = mien.analyze("examples/demo.mp4")
>>> for segment in timeline.segments():
...     who_what_when = segment.track_id, segment.label, segment.span

>>> looked_at = mien.ReadingSettings(voice=False, sample_hz=5)
>>> row = next(mien.stream("examples/demo.mp4", looked_at, mien.TimelineSettings(smooth=0.2)))
>>> row.label in mien.EXPRESSIONS, row.source
(True, 'face')

>>> try:
...     mien.analyze("nowhere.mp4")
... except mien.MienError as error:
...     print(error)
'nowhere.mp4' does not exist; give the path of one video, sound or picture file on this machine
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.errors import MienError as MienError
    from mien.expressions import EXPRESSIONS as EXPRESSIONS
    from mien.pipeline import analyze as analyze
    from mien.pipeline import stream as stream
    from mien.predictor import list_models as list_models
    from mien.predictor import load_model as load_model
    from mien.readings import ReadingSettings as ReadingSettings
    from mien.spans import Span as Span
    from mien.timeline import TimelineSettings as TimelineSettings
    from mien.timelines import Timeline as Timeline

# ONNX Runtime tells its makers that it is used, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "EXPRESSIONS": "expressions",
    "MienError": "errors",
    "ReadingSettings": "readings",
    "Span": "spans",
    "Timeline": "timelines",
    "TimelineSettings": "timeline",
    "analyze": "pipeline",
    "list_models": "predictor",
    "load_model": "predictor",
    "stream": "pipeline",
}
"""Where each name of the root lives; it is imported when it is asked for."""

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    try:
        return getattr(import_module(f"mien.{_HOMES[name]}"), name)
    except ImportError as error:
        from mien.doctor import explain_import_error

        explained = explain_import_error(error)
        if explained is None:
            raise
        raise ImportError(explained) from error


def __dir__() -> list[str]:
    return list(__all__)
