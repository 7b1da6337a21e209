"""The main flow: a file in, the rows of its expression timeline out.

`stream` yields rows as they become final and holds only a few seconds; `analyze` collects them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.media import MediaInfo, probe, read_packets
from mien.predictor import FACE_FILES, SPEECH_FILES, ModelInfo, load_model
from mien.readings import ReadingSettings, read_file
from mien.segments import segments
from mien.spans import Hook
from mien.timeline import Row, Segment, TimelineSettings, rows
from mien.waveform import JITTER, Clock
from mien.whole import checksum

SHORTEST_LACK = 0.5
"""Seconds without a frame, between two or before the announced end, that are nobody's fault."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All rows of a file, its segments, and where they come from.

    >>> Timeline(rows=[], segments=[], provenance={"file": "clip.mp4"}).provenance["file"]
    'clip.mp4'
    """

    rows: list[Row]
    segments: list[Segment]
    provenance: dict[str, Any]


class Analysis:
    """One file under analysis: walk `rows` to their end, then ask for `provenance`.

    Args:
        path: A video, a sound file or a picture.
        reading: How the file is read.
        timeline: How readings become rows; fusion weights that it leaves open are the model's own.
        hook: Told how far the analysis is.

    Raises:
        MediaError: The file cannot be opened.
        InputError: There is no such file or model.
    """

    def __init__(
        self,
        path: Path | str,
        reading: ReadingSettings | None = None,
        timeline: TimelineSettings | None = None,
        hook: Hook | None = None,
    ) -> None:
        self.path = Path(path)
        self.reading = reading or ReadingSettings()
        self.model = load_model(self.reading.model)
        self.timeline = fill_weights(timeline or TimelineSettings(), self.model)
        self.media = probe(self.path)
        self.n_frames = 0
        self.last_time = 0.0
        self.missing = 0.0
        """Seconds of picture that the file announces and does not have: it is cut short or damaged."""
        self.hook = hook

    def rows(self) -> Iterator[Row]:
        """Rows as they become final, frame by frame.

        Raises:
            InputError: At the end, if the person that the settings name as the speaker was never seen.
        """
        seen: set[int] = set()
        holes: list[tuple[float, float]] = []
        for row in rows(read_file(self.media, self.model, self.reading), self.timeline):
            if row.track_id is not None:
                seen.add(row.track_id)
            if row.frame is not None:
                if row.time - self.last_time > SHORTEST_LACK:
                    holes.append((self.last_time, row.time))
                self.n_frames, self.last_time = row.frame + 1, row.time
            if self.hook:
                self.hook("analyzing", row.time, self.media.duration)
            yield row
        if self.n_frames:
            self.missing = round(find_missing(self.media, holes, self.last_time), 3)
        if self.timeline.speaker not in {None, *seen}:
            there = ", ".join(map(str, sorted(seen))) or "nobody"
            raise InputError(
                f"person {self.timeline.speaker} is named as the speaker of {self.path.name}, "
                f"but is never seen; seen: {there}"
            )

    def provenance(self) -> dict[str, Any]:
        """What the rows come from: versions, checksums, settings, and the input's own figures."""
        looked_at = FACE_FILES if self.media.has_video else ()
        listened_to = SPEECH_FILES if self.reading.voice and self.media.has_sound else ()
        return {
            "mien": version("mien"),
            "model": self.model.name,
            "weights_sha256": {name: self.model.sha256[name] for name in (*looked_at, *listened_to)},
            "reading": asdict(self.reading),
            "timeline": asdict(self.timeline),
            "file": self.path.name,
            "file_sha256": checksum(self.path),
            "duration_s": round(self.media.duration, 6),
            "width_px": self.media.width,
            "height_px": self.media.height,
            "fps": round(self.media.fps, 6),
            "frames": self.n_frames,
            "missing_s": self.missing,
            "has_video": self.media.has_video,
            "has_sound": self.media.has_sound,
        }


def find_missing(media: MediaInfo, holes: list[tuple[float, float]], last_time: float) -> float:
    """Seconds of picture that a file announces and does not have.

    The headers announce an end. A hole in the middle was announced if the file has packets that belong there,
    or a broken one beside it; else the picture stood still. Packets are walked, not decoded, only where there
    is a hole.

    Args:
        media: The file.
        holes: Where a frame comes long after the one before: times of both, in order.
        last_time: When the last frame comes.
    """
    lost: set[int] = set()
    if media.picture_end - last_time > SHORTEST_LACK:
        lost.add(len(holes))
        holes = [*holes, (last_time, media.picture_end)]
    if not holes:
        return 0.0
    begins = [begin for begin, _ in holes]
    durations = [1 / media.fps if media.fps else 0.0] * len(holes)  # of the frame before each hole
    expected = 0.0
    clock = Clock((time, (length, broken)) for time, length, broken in read_packets(media.path))
    for stamp, (length, is_broken) in clock:
        time = clock.place(stamp, expected)
        expected = max(expected, time + length)
        n = bisect_right(begins, time + JITTER) - 1
        if n >= 0 and time < begins[n] + JITTER:
            durations[n] = length or durations[n]
        elif n >= 0 and time < holes[n][1] - JITTER:
            lost.add(n)
        if is_broken:
            lost.update(
                k
                for k, (begin, end) in enumerate(holes)
                if begin - SHORTEST_LACK <= time <= end + SHORTEST_LACK
            )
    lacks = [holes[n][1] - begins[n] - durations[n] for n in lost]
    return sum(lack for lack in lacks if lack > SHORTEST_LACK)


def fill_weights(settings: TimelineSettings, model: ModelInfo) -> TimelineSettings:
    """The settings, with the model's own weights of voice and face where they name none."""
    m, n = settings.voice_weight, settings.face_weight
    return replace(
        settings,
        voice_weight=model.voice_weight if m is None else m,
        face_weight=model.face_weight if n is None else n,
    )


def stream(
    path: Path | str,
    reading: ReadingSettings | None = None,
    timeline: TimelineSettings | None = None,
    hook: Hook | None = None,
) -> Iterator[Row]:
    """Rows of a file's expression timeline as they become final.

    >>> rows = stream("examples/demo.mp4")
    >>> first = next(rows)
    >>> first.frame, first.time, first.track_id
    (0, 0.0, 1)
    """
    return Analysis(path, reading, timeline, hook).rows()


def analyze(
    path: Path | str,
    reading: ReadingSettings | None = None,
    timeline: TimelineSettings | None = None,
    hook: Hook | None = None,
) -> Timeline:
    """The whole expression timeline of a file, in memory; `stream` is for long ones.

    >>> timeline = analyze("examples/demo.mp4")
    >>> timeline.provenance["frames"], timeline.rows[-1].frame
    (250, 249)
    """
    analysis = Analysis(path, reading, timeline, hook)
    found = list(analysis.rows())
    return Timeline(found, list(segments(found, analysis.timeline)), analysis.provenance())
