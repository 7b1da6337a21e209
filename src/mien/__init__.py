"""Who shows which of eight expressions, when: seen in the face and heard in the voice.

    import mien

    timeline = mien.analyze("clip.mp4")
    for segment in timeline.segments:
        print(segment.track_id, segment.label, segment.span)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.errors import MienError as MienError
    from mien.expressions import EXPRESSIONS as EXPRESSIONS
    from mien.pipeline import Timeline as Timeline
    from mien.pipeline import analyze as analyze
    from mien.pipeline import stream as stream
    from mien.predictor import list_models as list_models
    from mien.predictor import load_model as load_model
    from mien.readings import ReadingSettings as ReadingSettings
    from mien.spans import Span as Span
    from mien.timeline import TimelineSettings as TimelineSettings

_HOMES = {
    "EXPRESSIONS": "expressions",
    "MienError": "errors",
    "ReadingSettings": "readings",
    "Span": "spans",
    "Timeline": "pipeline",
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
    return getattr(import_module(f"mien.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
