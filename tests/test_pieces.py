"""A film in pieces gives the table of the whole film; pieces that do not fit are found out."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mien.pieces as module
import mien.stretches as stretches
from media_files import tone, write_sound, write_still, write_video
from mien.archive import Settings
from mien.errors import MediaError
from mien.pieces import (
    TABLE,
    Ends,
    Failure,
    Mark,
    Worker,
    Written,
    fit,
    listen_to,
    look_at,
    n_stretches,
    put_together,
    write_table,
)
from mien.readings import ReadingSettings
from portraits import hear_speech, scene

SETTINGS = Settings(reading=ReadingSettings(model="mien-s", n_threads=1))


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (module, stretches):
        monkeypatch.setattr(each, "STRETCH", 2.0)
        monkeypatch.setattr(each, "LEAD_IN", 0.6)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of a face that walks, with sound; a key frame every 0.8 s."""
    pictures = [scene(60 + k) for k in range(125)]
    place = tmp_path_factory.mktemp("film") / "film.mp4"
    options = {"g": "20", "preset": "ultrafast"}
    return write_video(place, pictures, waveform=tone(300, 5.0), options=options)


def test_a_film_in_pieces_is_the_film(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hear_speech(monkeypatch)
    assert n_stretches(film) == 3
    looked = [look_at(film, SETTINGS.reading, k, k == 2) for k in (2, 0, 1)]
    looked = [looked[1], looked[2], looked[0]]
    ends = [each for _, each in looked]
    assert fit(ends)
    assert ends[0].after == ends[1].first
    assert ends[1].first is not None
    assert ends[1].first.time == pytest.approx(2.0)
    assert ends[2].after is None
    places = [tmp_path / name for name in ("pieces", "whole")]
    for place in places:
        place.mkdir()
    voice = listen_to(film, SETTINGS.reading)
    pieces = put_together(film, SETTINGS, [shown for shown, _ in looked], voice, places[0])
    whole = write_table(film, SETTINGS, places[1])
    assert pieces == whole
    assert (whole.rows, whole.frames) == (125, 125)
    assert places[0].joinpath(TABLE).read_bytes() == places[1].joinpath(TABLE).read_bytes()
    table = pl.read_parquet(places[0] / TABLE)
    assert table["frame"].to_list() == list(range(125))
    assert set(table["track_id"].to_list()) == {1}
    assert table["voice_Neutral"].is_not_null().any()


def test_each_stretch_shows_its_frames_alone(film: Path) -> None:
    for stretch, n_frames in ((0, 50), (1, 50), (2, 25)):
        shown, _ = look_at(film, SETTINGS.reading, stretch, stretch == 2)
        times = [reading.time for reading in shown if not isinstance(reading, stretches.Seam)]
        assert len(times) == n_frames
        assert all(2.0 * stretch <= time < 2.0 * (stretch + 1) for time in times)
        assert all(later > earlier for earlier, later in pairwise(times))


def test_what_has_no_stretches_is_one_piece(tmp_path: Path) -> None:
    still = write_still(tmp_path / "still.png", scene(60))
    sound = write_sound(tmp_path / "sound.wav", [(0.0, tone(300, 5.0))])
    counted = write_video(tmp_path / "film.avi", [scene(60)] * 60, codec="mpeg4")
    for path in (still, sound, counted):
        assert n_stretches(path) == 1


def test_stretches_that_were_decoded_otherwise_do_not_fit() -> None:
    mark, other = Mark(2.0, 7), Mark(2.0, 8)
    assert fit([Ends(Mark(0.0, 1), mark), Ends(mark, None)])
    assert not fit([Ends(Mark(0.0, 1), mark), Ends(other, None)])
    assert not fit([Ends(Mark(0.0, 1), mark), Ends(replace(mark, time=2.04), None)])
    assert not fit([Ends(Mark(0.0, 1), mark), Ends(None, None)])
    assert fit([Ends(None, None), Ends(None, None)])


def test_a_table_is_written_whole_or_not_at_all(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise MediaError("the film breaks off")

    monkeypatch.setattr("mien.pipeline.find_missing", broken)
    with pytest.raises(MediaError):
        write_table(film, SETTINGS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_worker_does_pieces_in_any_order(film: Path, tmp_path: Path) -> None:
    worker = Worker(SETTINGS, str(tmp_path))
    (answer, seconds), kept = worker.do("begin", str(film), "source=film.mp4")
    assert (answer, kept) == (3, None)
    assert seconds > 0
    (ends, _), shown = worker.do("look", str(film), "source=film.mp4", 1, False)
    assert isinstance(ends, Ends)
    assert isinstance(shown[0], stretches.Seam)
    (_, _), heard = worker.do("listen", str(film), "source=film.mp4")
    assert heard.at(1.0).silent is False
    (written, _), _ = worker.do("whole", str(film), "source=film.mp4")
    assert isinstance(written, Written)
    assert written.table == "source=film.mp4/timeline.parquet"
    table = tmp_path / written.table
    assert table.stat().st_size == written.table_bytes
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == [TABLE]


def test_a_short_film_is_done_at_once(tmp_path: Path) -> None:
    film = write_video(tmp_path / "short.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 10)
    (written, _), _ = Worker(SETTINGS, str(tmp_path / "out")).do("begin", str(film), "source=short.mp4")
    assert isinstance(written, Written)
    assert (written.rows, written.frames) == (10, 10)


def test_what_is_wrong_with_a_source_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no film")
    for name, told in (("bad.mp4", "cannot be opened"), ("gone.mp4", "does not exist")):
        (answer, _), kept = Worker(SETTINGS, str(tmp_path)).do("begin", str(tmp_path / name), "source=x")
        assert isinstance(answer, Failure)
        assert told in answer.message
        assert kept is None


def test_a_full_disk_is_an_answer(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "put_table", full)
    (answer, _), _ = Worker(SETTINGS, str(tmp_path)).do("whole", str(film), "source=x")
    assert answer == Failure("No space left on device")
