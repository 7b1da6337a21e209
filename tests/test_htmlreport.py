"""The report is one file that opens anywhere, escapes what it is given, and stays small."""

import re
from pathlib import Path

import numpy as np
import pytest

from browsers import opened
from media_files import flat_frames, tone, write_video
from mien.errors import InputError
from mien.htmlreport import LISTED_SEGMENTS, SHOWN_PERSONS, Content, render
from mien.report import Report
from mien.spans import Span
from mien.timeline import Row, Segment, TimelineSettings
from mien.whole import Original
from some_rows import clip, leaning, row

PROVENANCE = {
    "file": "<img src=x onerror=alert(1)>.mp4",
    "model": "mien-b",
    "mien": "0.1.0",
    "duration_s": 4.0,
    "has_video": True,
    "width_px": 64,
    "height_px": 48,
}


def report(
    folder: Path, rows: list[Row] | None = None, original: Original | None = None, provenance=PROVENANCE
) -> Path:
    with Report(folder, formats=["html"], original=original) as made:
        made.record(clip(4.0) if rows is None else rows, TimelineSettings())
        made.finish(provenance)
    return folder / "timeline.html"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, flat_frames(100), fps=25, waveform=tone(440, 4.0))


def test_nothing_is_fetched_and_what_is_given_is_escaped(tmp_path: Path) -> None:
    text = report(tmp_path).read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;.mp4" in text
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//", text)
    assert "default-src 'none'" in text


def test_it_says_who_shows_what(tmp_path: Path) -> None:
    text = report(tmp_path).read_text(encoding="utf-8")
    sentence = "Person 1, longest in view (3.6 s), shows mostly Happiness (56% of the time)."
    assert f"2 persons are seen. {sentence}" in text
    assert "Happiness 56%, Sadness 44%" in text
    assert "pleasant and aroused 56%<br>unpleasant and calm 44%" in text
    assert "An expression shown is not an emotion felt" in text


NOBODY = "Nobody is seen, and no speech is heard."
HEARD = [row(t / 25, None, frame=None, voice=leaning("Fear")) for t in range(50)]


@pytest.mark.parametrize(
    "rows, words",
    [
        ([], NOBODY),
        ([row(0.0, None, frame=0), row(0.04, None, frame=1)], NOBODY),
        (HEARD, "Nobody is seen; a voice is heard."),
        (
            [row(0.0, 1, leaning("Fear"))],
            "One person is seen, and shown: Person 1 Fear.",
        ),
    ],
)
def test_whatever_there_is_makes_a_report(tmp_path: Path, rows: list[Row], words: str) -> None:
    assert words in report(tmp_path, rows).read_text(encoding="utf-8")


@pytest.mark.slow
def test_ten_minutes_of_many_people_stay_below_three_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def crowd():
        for frame in range(0, 15_000, 5):
            for track_id in range(1, SHOWN_PERSONS + 5):
                probs = rng.dirichlet(np.ones(8)).astype(np.float32)
                yield row(frame / 25, track_id, probs, frame=frame)

    path = report(tmp_path, crowd())
    assert path.stat().st_size < 3_000_000
    text = path.read_text(encoding="utf-8")
    assert "4 more persons, in view for less time, are in the summary alone." in text


def test_long_lists_of_segments_say_what_they_leave_out() -> None:
    content = Content()
    for number in range(LISTED_SEGMENTS + 7):
        span = Span(number, number + 0.5)
        content.add_segment(Segment(span=span, track_id=1, label="Fear", probability=0.5))
    text = render(content, [], PROVENANCE, "clip.mp4")
    assert text.count("<tr><td>Person 1") == LISTED_SEGMENTS
    assert "7 more are in segments.csv" in text


@pytest.mark.slow
def test_pictures_and_film_are_shown_only_if_wanted(tmp_path: Path, film: Path) -> None:
    none = report(tmp_path / "a").read_text(encoding="utf-8")
    shown = report(tmp_path / "b", original=Original(path=film)).read_text(encoding="utf-8")
    hidden = report(tmp_path / "c", original=Original(path=film, pictures=False)).read_text(encoding="utf-8")
    whole = report(tmp_path / "d", original=Original(path=film, film=True)).read_text(encoding="utf-8")
    assert [text.count("data:image/jpeg") for text in (none, shown, hidden)] == [0, 3, 0]
    assert [text.count("<video") for text in (none, shown, hidden, whole)] == [0, 0, 0, 1]


def test_a_film_too_large_for_a_page_is_refused_before_the_work(
    tmp_path: Path, film: Path, monkeypatch
) -> None:
    monkeypatch.setattr("mien.writers.LARGEST_FILM", 1000)
    with pytest.raises(InputError, match=r"film\.mp4 has 0 MB, and a page holds films of up to 0 MB"):
        report(tmp_path / "out", original=Original(path=film, film=True))
    assert not (tmp_path / "out").exists()


def test_a_file_that_went_away_gives_a_report_without_pictures(tmp_path: Path, film: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no longer a film")
    text = report(tmp_path / "a", original=Original(path=broken)).read_text(encoding="utf-8")
    assert "Telling moments" not in text


def test_people_at_one_moment_have_a_picture_each(tmp_path: Path, film: Path) -> None:
    rows = [row(0.0, track_id, leaning("Fear"), frame=0) for track_id in (1, 2, 3)]
    text = report(tmp_path, rows, original=Original(path=film)).read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == 3
    gone = Original(path=tmp_path / "gone.mp4")
    assert "Telling moments" not in report(tmp_path / "b", rows, original=gone).read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_works_in_a_browser_without_a_network(tmp_path: Path, film: Path) -> None:
    path = report(tmp_path, original=Original(path=film, film=True))
    with opened(path) as found:
        page = found.page
        page.wait_for_function("window.Bokeh?.documents[0]?.is_idle", timeout=20_000)
        assert page.title() == PROVENANCE["file"]

        def visible(kind: str) -> list[bool]:
            return page.evaluate(f"models(ids.{kind}).map((one) => one.visible)")

        assert all(visible("stacked"))
        assert not any(visible("lines"))
        page.get_by_role("button", name="Lines").press("Enter")
        assert all(visible("lines"))
        assert not any(visible("stacked"))
        assert page.get_by_role("button", name="Lines").get_attribute("aria-pressed") == "true"
        first = page.locator("[data-time]").first
        time = float(first.get_attribute("data-time"))
        first.click()
        assert set(page.evaluate("models(ids.heads).map((one) => one.location)")) == {time}
        assert page.evaluate("document.getElementById('film').currentTime") == pytest.approx(time, abs=0.05)
        assert found.errors == []
        assert found.asked == []
