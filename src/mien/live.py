"""A source that goes on in, rows within a fraction of a second of the picture out: from the past alone.

The voice is read in windows whose second half is masked, means reach back, gaps hold what was last seen. A
frame that comes while another is looked at is dropped, and has its row all the same, flagged.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mien.capture import PATIENCE, Capture
from mien.detection import VIDEO_PX, RetinaFace
from mien.errors import InputError
from mien.faces import find_faces
from mien.media import FramePart
from mien.pipeline import fill_fusion
from mien.predictor import FacePredictor, VoicePredictor, load_model
from mien.readings import ReadingSettings, read_faces, refuse_region, template_of
from mien.spans import HOP_SAMPLES, SAMPLE_RATE
from mien.speech import (
    LONGEST_PAUSE_FRAMES,
    ONSET,
    SHORTEST_SPEECH_FRAMES,
    SILENCE_DBFS,
    SPEECH_FRAME_SAMPLES,
    log_mel,
    speech_probs,
)
from mien.timeline import TimelineSettings, rows
from mien.tracking import Tracker
from mien.views import Reading
from mien.voice import GRID_STEP, Heard, past_window
from mien.windows import WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float32

    from mien.media import Frame
    from mien.timeline import Row

LOOKS_HZ = 30.0
"""Frames a second in which faces are looked at, if there is time."""

KEPT_LATENCIES = 100_000
"""Of the latest frames, for what is told of them."""

DEAF = Heard(speech=False, probs=None, silent=True)


class Ear:
    """What is heard now, in sound that comes bit by bit; a thread of its own listens.

    Args:
        sound: Stretches of sound at 16 kHz, as they come.
        predictor: Gives the probabilities of a window; None hears only where there is sound and speech.
    """

    def __init__(
        self, sound: Iterator[Float32[np.ndarray, "samples"]], predictor: VoicePredictor | None
    ) -> None:
        self.heard = DEAF
        self._predictor = predictor
        self._recent = np.zeros(0, np.float32)
        self._speech: deque[float] = deque(maxlen=LONGEST_PAUSE_FRAMES)
        self._thread = Thread(target=self._listen, args=(sound,), daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def join(self) -> None:
        """Waits until the sound has ended."""
        self._thread.join()

    def _listen(self, sound: Iterator[Float32[np.ndarray, "samples"]]) -> None:
        """Keeps what half a window can reach, and reads it anew each time that a step of sound has come."""
        n_new = 0

        def keep() -> Iterator[Float32[np.ndarray, "samples"]]:
            nonlocal n_new
            for stretch in sound:
                self._recent = np.concatenate([self._recent, stretch])[-round(WINDOW / 2 * SAMPLE_RATE) :]
                n_new += len(stretch)
                yield stretch

        try:
            for prob in speech_probs(keep()):
                self._speech.append(prob)
                if n_new >= GRID_STEP * SAMPLE_RATE:
                    n_new = 0
                    self.heard = self._read()
        finally:
            self.heard = DEAF

    def _read(self) -> Heard:
        newest = self._recent[-LONGEST_PAUSE_FRAMES * SPEECH_FRAME_SAMPLES :]
        silent = bool(newest.std() < 10 ** (SILENCE_DBFS / 20))
        speech = sum(prob >= ONSET for prob in self._speech) >= SHORTEST_SPEECH_FRAMES
        if self._predictor is None or not speech or len(self._recent) < 4 * HOP_SAMPLES:
            return Heard(speech, None, silent)
        window, mask = past_window(log_mel(self._recent))
        return Heard(speech, self._predictor(window[None], mask[None])[0], silent)


class Live:
    """A source under analysis while it goes on; use it as a context, and walk `rows`.

    Args:
        source: As `mien.capture.Capture` takes it.
        reading: How it is read; stretches and boxes are of whole files.
        timeline: How readings become rows, which are causal whatever it says.
        patience: Seconds without anything new after which the source has ended.

    Raises:
        InputError: There is no such file or model, or the settings are of files.
        MediaError: The source does not open, or has no picture.
    """

    def __init__(
        self,
        source: str,
        reading: ReadingSettings | None = None,
        timeline: TimelineSettings | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self.reading = reading or ReadingSettings(sample_hz=LOOKS_HZ)
        if (self.reading.start, self.reading.end, self.reading.boxes) != (0.0, None, None):
            raise InputError("start, end and boxes are of whole files; leave them out of what goes on")
        self.model = load_model(self.reading.model)
        settings = replace(timeline or TimelineSettings(), causal=True)
        self.timeline = fill_fusion(settings, self.model)
        self._predict = FacePredictor(self.model)
        self._capture = Capture(source, patience=patience)
        size = self._capture.width, self._capture.height
        refuse_region(self.reading.region, *size, self._capture.source)
        listens = self.reading.voice and self._capture.has_sound
        self._ear = Ear(self._capture.sound(), VoicePredictor(self.model) if listens else None)
        self._dropped: tuple[tuple[int, float], ...] = ()
        self._arrived = 0.0
        self._began = monotonic()
        self.n_dropped = 0
        self.latencies: deque[float] = deque(maxlen=KEPT_LATENCIES)
        """Seconds between a frame's arrival and its first row, of frames that were not dropped."""

    def __enter__(self) -> Self:
        self._capture.__enter__()
        self._ear.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.__exit__()
        self._ear.join()

    def stop(self) -> None:
        """Ends it; `rows` ends with what has been looked at."""
        self._capture.stop()

    def rows(self) -> Iterator[Row]:
        """Rows of each frame, in order, as soon as it has been looked at."""
        frame = None
        for row in rows(self._readings(), self.timeline, self.model.class_wise):
            if row.frame != frame and "dropped" not in row.flags:
                self.latencies.append(monotonic() - self._arrived)
            frame = row.frame
            yield row

    def _frames(self) -> Iterator[Frame]:
        for arrived in self._capture.frames():
            self._dropped, self._arrived = arrived.dropped, arrived.at
            region = self.reading.region
            yield arrived.frame if region is None else FramePart(arrived.frame, region)

    def _readings(self) -> Iterator[Reading]:
        looks = find_faces(
            self._frames(),
            template_of(self._predict),
            detector=RetinaFace(detect_px=VIDEO_PX),
            sample_hz=self.reading.sample_hz,
            tracker=Tracker(),
            min_face_px=self.reading.min_face_px,
        )
        corner = (0, 0) if self.reading.region is None else self.reading.region[:2]
        for look in looks:
            heard = self._ear.heard
            now = replace(
                read_faces(look.moved(corner), self._predict),
                speech=heard.speech,
                voice=heard.probs,
                silent=heard.silent,
            )
            for frame, time in self._dropped:
                self.n_dropped += 1
                yield replace(now, frame=frame, time=time, faces=None, crowded=False, dropped=True)
            yield now

    def provenance(self) -> dict[str, Any]:
        """What the rows come from: versions, settings, and how quickly they came."""
        source = self._capture.source
        quantiles = np.quantile(self.latencies, [0.5, 0.95]) if self.latencies else np.zeros(2)
        return {
            "mien": version("mien"),
            "model": self.model.name,
            "weights_sha256": self.model.sha256,
            "reading": asdict(self.reading),
            "timeline": asdict(self.timeline),
            "file": source if "://" in source else Path(source).name,
            "live": True,
            "duration_s": round(monotonic() - self._began, 3),
            "width_px": self._capture.width,
            "height_px": self._capture.height,
            "frames": self._capture.n_frames,
            "dropped": self.n_dropped,
            "latency_median_s": round(float(quantiles[0]), 4),
            "latency_95_s": round(float(quantiles[1]), 4),
            "has_video": True,
            "has_sound": self._capture.has_sound,
        }
