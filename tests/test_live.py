"""Live rows come from the past alone, each frame has one, and those that nobody looked at say so."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from growing import grown
from media_files import flat_frames, tone, write_video
from mien import live
from mien.errors import InputError
from mien.live import Ear, Live
from mien.predictor import VoicePredictor, load_model
from mien.readings import ReadingSettings
from mien.timeline import Row
from mien.windows import N_COLUMNS

DEMO = Path(__file__).parents[1] / "examples" / "demo.mp4"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    return write_video(path, flat_frames(50), fps=25, waveform=tone(440, 2.0))


def watch(path: Path, **settings: object) -> tuple[list[Row], Live]:
    with Live(str(path), patience=1.0, **settings) as running:
        return list(running.rows()), running


def test_every_frame_has_a_row_in_order_and_dropped_ones_are_flagged(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Live._frames

    def dawdle(self: Live) -> Iterator[object]:
        for frame in real(self):
            yield frame
            time.sleep(0.2)

    monkeypatch.setattr(Live, "_frames", dawdle)
    with grown(film, tmp_path / "film.ts") as path:
        rows, running = watch(path)
    assert [row.frame for row in rows] == list(range(50))
    dropped = [row for row in rows if "dropped" in row.flags]
    assert len(dropped) == running.n_dropped >= 20
    told = running.provenance()
    assert (told["frames"], told["dropped"], told["live"]) == (50, len(dropped), True)
    assert 0 < told["latency_median_s"] <= told["latency_95_s"]
    assert len(running.latencies) == 50 - len(dropped)


@pytest.mark.slow
def test_a_face_keeps_its_number_and_its_label_where_frames_are_dropped(tmp_path: Path) -> None:
    with grown(DEMO, tmp_path / "demo.ts") as path:
        rows, _ = watch(path)
    seen = [row for row in rows if row.track_id is not None]
    assert {row.track_id for row in seen} == {1}
    assert len(seen) > 150
    assert all(row.flags >= {"interpolated"} for row in seen if "dropped" in row.flags)
    smile = [row.label for row in seen if 0.5 < row.time < 3]
    assert smile.count("Happiness") > 0.9 * len(smile)
    assert any(row.voice_probs is not None for row in rows)
    assert not [row for row in seen if 7.8 < row.time < 8.4]


def test_the_ear_hears_speech_and_reads_half_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Predictor(VoicePredictor):
        def __call__(self, windows: np.ndarray, masks: np.ndarray) -> np.ndarray:
            asked.append((windows, masks))
            return np.eye(8, dtype=np.float32)[[1]]

    monkeypatch.setattr(live, "speech_probs", lambda sound: (0.9 for part in sound for _ in part[::512]))
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    said = []

    def come() -> Iterator[np.ndarray]:
        for start in range(0, len(noise), 1600):
            said.append(ear.heard)
            yield noise[start : start + 1600]

    ear = Ear(come(), Predictor(load_model()))
    ear.start()
    ear.join()
    windows, masks = asked[-1]
    assert windows.shape == (1, 64, N_COLUMNS)
    assert masks[0].tolist() == [True] * (N_COLUMNS // 2) + [False] * (N_COLUMNS // 2)
    assert asked[0][1].sum() < N_COLUMNS // 2
    assert (said[0].speech, said[0].silent) == (False, True)
    assert (said[-1].speech, said[-1].silent) == (True, False)
    assert said[-1].probs is not None
    assert not ear.heard.speech


def test_an_ear_that_fails_says_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "speech_probs", lambda sound: iter([0.9]))
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    ear = Ear(iter([np.ones(16_000, np.float32)]), None)
    ear._read = lambda: 1 / 0  # type: ignore[assignment]
    ear.start()
    ear.join()
    assert (ear.heard.speech, ear.heard.silent) == (False, True)


def test_settings_of_whole_files_are_refused(film: Path) -> None:
    for settings in (ReadingSettings(start=1.0), ReadingSettings(end=1.0), ReadingSettings(boxes="a.csv")):
        with pytest.raises(InputError, match="start, end and boxes are of whole files"):
            Live(str(film), settings)


def test_it_is_stopped_from_elsewhere(film: Path, tmp_path: Path) -> None:
    with grown(film, tmp_path / "film.ts") as path, Live(str(path), patience=60) as running:
        threading.Timer(0.7, running.stop).start()
        assert len(list(running.rows())) < 50


def test_a_region_outside_the_picture_is_refused(film: Path) -> None:
    with pytest.raises(
        InputError, match=r"region 0,0,65,48 does not lie in the picture of .*, which is 64 x 48"
    ):
        Live(str(film), ReadingSettings(region=(0, 0, 65, 48)))


def test_a_click_is_no_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []

    def probs(sound: Iterator[np.ndarray]) -> Iterator[float]:
        for k, _ in enumerate(part for stretch in sound for part in stretch[::512]):
            yield 0.9 if k % 10 == 0 else 0.0
            heard.append(ear.heard.speech)

    monkeypatch.setattr(live, "speech_probs", probs)
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    ear = Ear(iter(np.split(noise, 20)), None)
    ear.start()
    ear.join()
    assert len(heard) > 50
    assert not any(heard)
