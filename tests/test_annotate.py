"""The annotated film is the film: its frames, its times, its sound, and what was found in it."""

from pathlib import Path

import av
import numpy as np
import pytest

from media_files import flat_frames, tone, write_sound, write_still, write_video
from mien.annotate import Mark, annotate
from mien.chart import COLOURS
from mien.errors import InputError
from mien.media import read_frames, read_waveform
from mien.report import Report
from mien.timeline import TimelineSettings
from mien.whole import Original
from portraits import scenes
from some_rows import clip

BOX = (60.0, 40.0, 160.0, 150.0)


def mark(track_id: int = 1, label: str | None = "Happiness", box=BOX) -> Mark:
    return Mark(track_id=track_id, box=box, label=label, probability=0.87, uncertain=False)


def drawn(path: Path, out: Path, marks, *, blur: bool = False) -> list[np.ndarray]:
    annotate(path, marks, out, blur=blur)
    return [frame.image for frame in read_frames(out)]


@pytest.mark.parametrize("codec, kept", [("aac", "aac"), ("libmp3lame", "mp3float"), ("pcm_s16le", "aac")])
def test_frames_times_and_sound_are_the_film_s_own(tmp_path: Path, codec: str, kept: str) -> None:
    film = tmp_path / "film.mkv"
    write_video(film, flat_frames(50), fps=25, waveform=tone(440, 2.0), sound_codec=codec)
    before = [frame.time for frame in read_frames(film)]
    annotate(film, [(3, [mark()])], tmp_path / "out.mp4", blur=False)
    after = [frame.time for frame in read_frames(tmp_path / "out.mp4")]
    np.testing.assert_allclose(after, before, atol=1e-3)
    heard, as_before = read_waveform(tmp_path / "out.mp4"), read_waveform(film)
    assert len(heard) == pytest.approx(len(as_before), abs=1600)
    middle = slice(4000, 24_000)
    level = [float(np.sqrt(np.mean(sound[middle] ** 2))) for sound in (heard, as_before)]
    assert level[0] == pytest.approx(level[1], rel=0.1)
    with av.open(tmp_path / "out.mp4") as container:
        assert container.streams.audio[0].codec_context.name == kept
        assert float(container.streams.video[0].average_rate) == pytest.approx(25, rel=0.01)


def test_marks_are_drawn_where_they_are_and_nowhere_else(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", flat_frames(20, width=320, height=240), fps=10)
    plain = drawn(film, tmp_path / "plain.mp4", [])
    marked = drawn(film, tmp_path / "marked.mp4", [(5, [mark()])])
    differences = [np.abs(one.astype(int) - other) > 40 for one, other in zip(plain, marked, strict=True)]
    changed = [int(each.any(axis=2).sum()) for each in differences]
    assert changed[4] == 0
    assert changed[5] > 300
    colour = [int(COLOURS["Happiness"][k : k + 2], 16) for k in (1, 3, 5)]
    tag = np.median(marked[5][24:36, 62:120].reshape(-1, 3), axis=0)
    assert np.abs(tag - colour).max() < 70, "the tag has the colour of its label"


def test_the_running_chart_holds_the_last_seconds(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", flat_frames(120, width=320, height=240), fps=10)
    marks = [(frame, [mark(label="Anger" if frame < 20 else "Sadness")]) for frame in range(120)]
    images = drawn(film, tmp_path / "out.mp4", marks)
    names = {}
    for frame in (15, 60, 119):
        row = images[frame][-4, 100:].astype(int)
        names[frame] = {
            name
            for name, code in COLOURS.items()
            if (np.abs(row - [int(code[k : k + 2], 16) for k in (1, 3, 5)]).max(axis=1) < 40).any()
        }
    assert "Sadness" not in names[15]
    assert {"Anger", "Sadness"} <= names[60]
    assert "Anger" not in names[119], "twelve seconds ago is over"


def test_faces_are_made_unrecognisable(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", scenes((0.4, (60,))), fps=25)
    marks = [(frame, [mark(box=(100.0, 60.0, 220.0, 220.0))]) for frame in range(10)]
    clear, hidden = (drawn(film, tmp_path / f"{blur}.mp4", marks, blur=blur)[5] for blur in (False, True))
    inside = slice(80, 200), slice(120, 200)
    steps = [np.abs(np.diff(image[inside].astype(int), axis=1)).mean() for image in (clear, hidden)]
    assert steps[1] < 0.5 * steps[0]


@pytest.mark.parametrize("size", [(33, 47), (64, 48)])
def test_odd_sizes_and_rotations_keep_their_picture(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = flat_frames(6, width=size[0], height=size[1])
    film = write_video(tmp_path / "film.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    images = drawn(film, tmp_path / "out.mp4", [])
    assert len(images) == 6
    assert images[0].shape[:2] == (size[1] + size[1] % 2, size[0] + size[0] % 2)


def test_a_report_writes_it_beside_the_others(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", flat_frames(100), fps=25)
    with Report(tmp_path / "out", formats=["video", "csv"], original=Original(path=film)) as report:
        report.record(clip(4.0), TimelineSettings())
        report.finish({"file": "film.mp4", "model": "m", "mien": "0"})
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {"timeline.mp4", "timeline.csv", "timeline.json"}
    assert len(list(read_frames(tmp_path / "out" / "timeline.mp4"))) == 100


def test_what_has_no_picture_is_refused_and_a_picture_is_a_film_of_one(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "sound.wav", [(0.0, tone(440, 1.0))])
    with pytest.raises(InputError, match=r"sound\.wav has no picture to be annotated"):
        annotate(sound, [], tmp_path / "out.mp4", blur=False)
    still = write_still(tmp_path / "still.png", np.full((48, 64, 3), 99, np.uint8))
    assert len(drawn(still, tmp_path / "still.mp4", [])) == 1
    with pytest.raises(InputError, match="needs the film"), Report(tmp_path / "out", formats=["video"]):
        pass
    with pytest.raises(InputError, match="with blur leave it out"):
        Original(path=still, film=True, blur=True)
