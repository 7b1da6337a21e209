"""The tables' columns, what they mean, and their cells as text: what CSV, JSON and Parquet have in common.

Enters a `Row` or a `Segment` of the timeline, leaves its cells. Changing a name, an order or a meaning here
makes a new `SCHEMA_VERSION`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.expressions import EXPRESSIONS
from mien.timeline import FLAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.timeline import Row, Segment

SCHEMA_VERSION = "1.4"
"""Of the tables' columns and of the keys in timeline.json; CHANGELOG.md says what a new one changes."""

FLAG_MEANINGS = {
    "no_face": "1: nobody is seen in this frame",
    "no_speech": "1: no speech is heard here",
    "silent": "1: no sound track, or digital silence, here",
    "interpolated": "1: the face was not looked at here, or not found; filled in from its neighbours",
    "voice_unassigned": "1: speech is heard, but not known to be this person's",
    "low_confidence": "1: the largest fused probability is small",
    "dropped": "1: live, this frame came too fast and was not looked at; never in a file",
    "crowded": "1: more faces are found here than the 16 that are followed",
}

COLUMNS: Mapping[str, str] = {
    "frame": "0-based number of the video frame, as presented; empty where there is no picture",
    "time_s": "presentation time in seconds from the start of the file",
    "track_id": "the person; empty where nobody is seen",
    "x1": "left edge of the face's box in pixels of the upright frame",
    "y1": "top edge",
    "x2": "right edge",
    "y2": "bottom edge",
    "confidence": "the face detector's, 0 to 1",
    **{f"p_{name}": f"probability of {name}, face and voice fused" for name in EXPRESSIONS},
    **{f"face_{name}": f"probability of {name} in the face" for name in EXPRESSIONS},
    **{f"voice_{name}": f"probability of {name} in the voice" for name in EXPRESSIONS},
    "label": "the expression with the largest fused probability",
    "source": "what was fused: face, voice, both or none",
    **{flag: FLAG_MEANINGS[flag] for flag in FLAGS},
}
"""The columns of the table of rows, in order, and what they mean; an empty cell means absent."""

SEGMENT_COLUMNS: Mapping[str, str] = {
    "track_id": "the person; empty where the voice is heard and nobody seen",
    "start_s": "seconds; the segment begins here",
    "end_s": "seconds; the segment ends just before",
    "duration_s": "seconds",
    "label": "the expression shown",
    "probability": "mean fused probability of the label over the segment",
}

FOUR = ",".join(["%.1f"] * 4)
"""A box, to a tenth of a pixel."""

EIGHT = ",".join(["%.5f"] * len(EXPRESSIONS))
"""Five decimals: the eight still sum to 1 within 0.00004."""


class RowText:
    """Rows as comma-separated text, in the order of `COLUMNS`."""

    def __init__(self, *, absent: str, quote: str) -> None:
        self._absent = absent
        self._absent_four = ",".join([absent] * 4)
        self._absent_eight = ",".join([absent] * len(EXPRESSIONS))
        self._quote = quote
        self._flags: dict[frozenset[str], str] = {}

    def __call__(self, row: Row) -> str:
        """One row, without the end of the line."""
        absent, eight, quote = self._absent, self._absent_eight, self._quote
        flags = self._flags.get(row.flags)
        if flags is None:
            flags = self._flags[row.flags] = ",".join(str(int(flag in row.flags)) for flag in FLAGS)
        numbers = ",".join(
            (
                absent if row.frame is None else str(row.frame),
                f"{row.time:.6f}",
                absent if row.track_id is None else str(row.track_id),
                self._absent_four if row.box is None else FOUR % tuple(row.box.tolist()),
                absent if row.confidence is None else f"{row.confidence:.4f}",
                eight if row.probs is None else EIGHT % tuple(row.probs.tolist()),
                eight if row.face_probs is None else EIGHT % tuple(row.face_probs.tolist()),
                eight if row.voice_probs is None else EIGHT % tuple(row.voice_probs.tolist()),
            )
        )
        assert "nan" not in numbers, f"not a number in {row}"
        assert "inf" not in numbers, f"infinite number in {row}"
        label = absent if row.label is None else f"{quote}{row.label}{quote}"
        return f"{numbers},{label},{quote}{row.source}{quote},{flags}"


def segment_cells(segment: Segment, *, absent: str, quote: str) -> tuple[str, ...]:
    """One segment, in the order of `SEGMENT_COLUMNS`."""
    return (
        absent if segment.track_id is None else str(segment.track_id),
        f"{segment.span.start:.6f}",
        f"{segment.span.end:.6f}",
        f"{segment.span.duration:.6f}",
        f"{quote}{segment.label}{quote}",
        f"{segment.probability:.5f}",
    )
