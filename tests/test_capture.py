"""A file that grows is read while it does: the newest frame is shown, the others are told, sound is whole."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from growing import grown
from media_files import flat_frames, grey_of, tone, write_sound, write_video
from mien import capture
from mien.capture import Capture, plain_source
from mien.errors import InputError, MediaError


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    return write_video(path, flat_frames(25), fps=25, waveform=tone(440, 1.0))


@pytest.fixture(params=["mpegts", "matroska"])
def growing(request: pytest.FixtureRequest, film: Path, tmp_path: Path) -> Iterator[Path]:
    with grown(film, tmp_path / "film.part", request.param) as path:
        yield path


def test_every_frame_is_shown_or_told_and_numbered_in_order(growing: Path) -> None:
    found: list[tuple[int, float]] = []
    with Capture(str(growing), patience=1.0) as reading:
        for arrived in reading.frames():
            time.sleep(0.15)
            found += [*arrived.dropped, (arrived.frame.index, arrived.frame.time)]
            assert arrived.frame.image.shape == (48, 64, 3)
    assert [index for index, _ in found] == list(range(25))
    assert np.allclose(np.diff([at for _, at in found]), 0.04, atol=2e-3)


def test_who_looks_quickly_sees_all(growing: Path) -> None:
    with Capture(str(growing), patience=1.0) as reading:
        shown = [arrived for arrived in reading.frames() if grey_of(arrived.frame.image) >= 0]
    assert sum(len(arrived.dropped) for arrived in shown) + len(shown) == 25
    assert len(shown) >= 5


def test_sound_is_never_dropped(growing: Path) -> None:
    with Capture(str(growing), patience=1.0) as reading:
        assert reading.has_sound
        sound = np.concatenate(list(reading.sound()))
    assert abs(len(sound) - 16_000) < 2_500
    spectrum = np.abs(np.fft.rfft(sound[4000:12000]))
    assert abs(2 * int(spectrum.argmax()) - 440) <= 2


def test_it_ends_when_told(growing: Path) -> None:
    with Capture(str(growing), patience=60.0) as reading:
        next(reading.frames())
        threading.Timer(0.1, reading.stop).start()
        began = time.monotonic()
        assert sum(1 for _ in reading.frames()) <= 25
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "source, message",
    [
        ("nowhere.ts", "'nowhere.ts' is not there; give a camera's number, an rtsp:// address, or a file"),
        ("93", "'93' does not open (No such file or directory); expected a camera"),
        ("rtsp://me:secret@127.0.0.1:1/x", "'rtsp://127.0.0.1:1/x' does not open (Connection refused)"),
    ],
)
def test_what_does_not_open_is_told_in_a_line_without_a_password(source: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        Capture(source)
    assert str(error.value).startswith(message)


def test_what_is_no_film_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "OPENING", 1.0)
    (tmp_path / "a.ts").write_text("no film")
    with pytest.raises(MediaError, match="does not open"):
        Capture(str(tmp_path / "a.ts"), patience=0.5)
    sound = write_sound(tmp_path / "a.mka", [(0.0, tone(440, 1.0))])
    with pytest.raises(MediaError, match="has no picture to look at"):
        Capture(str(sound), patience=0.5)


@pytest.mark.parametrize("source", ["/dev/video0", "rtsp://camera/live", "a@b.ts", "film.ts"])
def test_only_users_and_passwords_are_left_out(source: str) -> None:
    assert plain_source(source) == source


def test_a_source_that_has_nothing_yet_is_asked_again(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Capture(str(film), patience=1.0) as reading:
        pass
    packets, asked = iter("ab"), []

    class Hesitant:
        def demux(self, _: object) -> Iterator[str]:
            asked.append(1)
            if len(asked) in (1, 3):
                raise BlockingIOError
            yield next(packets)
            if len(asked) == 2:
                raise BlockingIOError

    monkeypatch.setattr(reading, "_container", Hesitant())
    monkeypatch.setattr(reading, "_stopped", False)
    assert list(reading._packets()) == ["a", "b"]
    assert len(asked) == 4

    class Silent:
        def demux(self, _: object) -> Iterator[str]:
            raise BlockingIOError

    monkeypatch.setattr(reading, "_container", Silent())
    monkeypatch.setattr(reading, "_patience", 0.1)
    assert list(reading._packets()) == []
