"""A timeline is narrowed, joined and asked without losing track of time."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.errors import InputError, MetricError
from mien.expressions import EXPRESSIONS
from mien.table import COLUMNS
from mien.timeline import Row, TimelineSettings
from mien.timelines import Timeline
from some_rows import clip, leaning, row

BOX = ("x1", "y1", "x2", "y2")
PROVENANCE = {"file": "clip.mp4", "model": "mien-b", "mien": "0.1.0", "timeline": {}}


def timeline_of(rows: list[Row] | None = None) -> Timeline:
    return Timeline(list(clip(4.0)) if rows is None else rows, TimelineSettings(), PROVENANCE)


def away() -> Timeline:
    """Person 1 is happy, away for a second, and happy again; person 2 is there all the time."""
    rows = []
    for frame in range(75):
        if not 25 <= frame < 50:
            rows.append(row(frame / 25, 1, leaning("Happiness"), frame=frame))
        rows.append(row(frame / 25, 2, leaning("Fear"), frame=frame))
    return timeline_of(rows)


def test_a_person_by_themselves_is_away_as_before():
    whole, alone = away(), away().person(1)
    assert {each.track_id for each in alone.rows} == {1}
    assert alone.segments() == [each for each in whole.segments() if each.track_id == 1]
    assert len(alone.segments()) == 2
    assert alone.persons() == whole.persons()[:1]
    assert alone.persons()[0].seconds == pytest.approx(2.0)
    with pytest.raises(InputError, match=r"no person 7 in clip\.mp4; seen: 1, 2"):
        whole.person(7)
    with pytest.raises(InputError, match="seen: nobody"):
        timeline_of([]).person(1)


def test_who_was_away_is_away_at_another_rate_and_in_what_is_written(tmp_path: Path):
    alone = away().person(1)
    assert len(alone.resample(5.0).segments()) == 2
    alone.write(tmp_path, ["csv", "segments"])
    with (tmp_path / "segments.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 2
    with (tmp_path / "timeline.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["frame"] for line in lines] == list(map(str, range(75))), "every frame has a row"
    assert [line["no_face"] for line in lines] == ["0"] * 25 + ["1"] * 25 + ["0"] * 25


def test_a_stretch_keeps_its_times():
    part = timeline_of().between(1.0, 2.5)
    assert (part.rows[0].time, part.rows[-1].time) == (1.0, 2.48)
    # the last frame lasts as long as the one before it
    assert [(each.track_id, each.span.start, round(each.span.end, 6)) for each in part.segments()] == [
        (1, 1.0, 2.0),
        (2, 1.0, 2.52),
        (1, 2.0, 2.52),
    ]
    assert timeline_of().between(0.9, 1.9).person(2).between(1.2, 1.4).rows[0].time == 1.2
    assert len(timeline_of().between(100, 200)) == 0
    assert timeline_of().between(100, 200).segments() == []
    with pytest.raises(InputError, match="earlier one first"):
        timeline_of().between(2, 1)


def test_people_who_are_one_are_joined():
    rows = [row(t / 25, 1 if t < 25 else 4, leaning("Fear"), frame=t) for t in range(50)]
    joined = timeline_of(rows).merge(1, 4)
    assert {each.track_id for each in joined.rows} == {1}
    assert [(each.span.start, each.span.end) for each in joined.segments()] == [(0.0, 2.0)]
    with pytest.raises(InputError, match="persons 1, 2 are in view at once at 1 s"):
        timeline_of().merge(1, 2)
    with pytest.raises(InputError, match="no person 9"):
        timeline_of().merge(1, 9)


def test_rows_at_another_rate_are_means():
    slow = timeline_of().resample(5.0)
    of_first = slow.person(1).rows
    assert [each.time for each in of_first] == pytest.approx(np.arange(18) / 5)
    assert {each.frame for each in slow.rows} == {None}
    np.testing.assert_allclose([each.probs.sum() for each in of_first], 1, atol=1e-5)
    assert (of_first[0].label, of_first[-1].label) == ("Happiness", "Sadness")
    assert slow.rows[-1].track_id is None, "the last tenth shows nobody"
    mixed = timeline_of(
        [
            row(0.0, 1, leaning("Fear", 0.6), frame=0, flags=("low_confidence",)),
            row(0.1, 1, leaning("Anger", 0.9), frame=1),
            row(0.2, None, frame=2),
        ]
    ).resample(2.0)
    (only,) = mixed.rows
    assert only.label == "Anger"
    assert only.probs is not None
    np.testing.assert_allclose(only.probs, (leaning("Fear", 0.6) + leaning("Anger", 0.9)) / 2, atol=1e-6)
    assert only.flags == frozenset({"no_speech"})
    for hz in (0, -1, float("inf"), float("nan")):
        with pytest.raises(InputError, match="above 0"):
            mixed.resample(hz)


def test_a_summary_has_a_line_for_each_person():
    first, second = timeline_of().summary()
    assert (first["who"], first["seconds"], first["transitions"]) == ("Person 1", pytest.approx(3.6), 1)
    assert (second["who"], second["dominant"], second["transitions"]) == ("Person 2", "Neutral", 0)
    assert sum(first[f"share_{name}"] for name in EXPRESSIONS) == pytest.approx(1, abs=1e-3)


def test_it_is_the_table_that_is_written(tmp_path: Path):
    timeline = timeline_of()
    frame = timeline.to_pandas()
    (path,) = (each for each in timeline.write(tmp_path, ["csv"]) if each.suffix == ".csv")
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == len(lines)
    for name in COLUMNS:
        for cell, text in zip(frame[name], (line[name] for line in lines), strict=True):
            if text == "":
                assert pd.isna(cell)
            elif name in ("label", "source"):
                assert cell == text
            else:
                assert float(cell) == pytest.approx(float(text), abs=0.051 if name in BOX else 6e-5)
    both = Timeline.table([timeline, timeline])
    assert both["file"].tolist() == ["clip.mp4"] * (2 * len(frame))
    assert (frame["frame"].dtype, both["track_id"].dtype) == ("Int64", "Int64")


def test_it_is_read_back_from_a_report(tmp_path: Path):
    timeline = timeline_of()
    timeline.write(tmp_path, ["csv"])
    again = Timeline.read(tmp_path / "timeline.json")
    assert again.provenance == timeline.provenance
    assert again.settings == timeline.settings
    assert [(each.track_id, each.span, each.label) for each in again.segments()] == [
        (each.track_id, each.span, each.label) for each in timeline.segments()
    ]
    again.write(tmp_path / "again", ["csv"])
    assert (tmp_path / "again" / "timeline.csv").read_bytes() == (tmp_path / "timeline.csv").read_bytes()
    for text in ("{", "[]", json.dumps({"columns": []}), "é".encode("latin-1")):
        path = tmp_path / "spoilt.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(InputError, match=r"no timeline\.json of this version"):
            Timeline.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        Timeline.read(tmp_path / "nowhere.json")


def test_charts_are_drawn_for_files_and_notebooks(tmp_path: Path):
    timeline = timeline_of()
    for name in ("a.svg", "a.png"):
        timeline.plot(tmp_path / name)
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == timeline._repr_svg_()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"ends in \.svg or \.png"):
        timeline.plot(tmp_path / "a.gif")
    assert repr(timeline) == f"<Timeline of clip.mp4: {len(timeline)} rows, 2 in view>"


def test_it_is_compared_with_itself_and_with_people(tmp_path: Path):
    timeline = timeline_of()
    with pytest.raises(InputError, match="say with `track_id`"):
        timeline.compare(timeline)
    assert timeline.compare(timeline, track_id=1).kappa == pytest.approx(1)
    timeline.write(tmp_path, ["elan", "segments"])
    found = timeline.compare(tmp_path / "timeline.eaf", track_id=1, who="Person 1")
    assert found.agreed == pytest.approx(1)
    assert found.seconds == pytest.approx(3.6)
    with pytest.raises(InputError, match="the labels are of Person 1, Person 2"):
        timeline.compare(tmp_path / "segments.csv", track_id=1)
    (tmp_path / "mine.csv").write_text("start,end,label\n0,1,sad\n1,2,happy\n", encoding="utf-8")
    found = timeline.person(1).compare(tmp_path / "mine.csv")
    assert (found.agreed, found.second_alone) == (pytest.approx(0.5), 0)
    assert found.confusion == {"Happiness": {"Sadness": pytest.approx(1), "Happiness": pytest.approx(1)}}
    with pytest.raises(MetricError, match="no time in which both"):
        timeline.between(0, 1).person(1).compare(timeline.between(2, 3).person(1))
