"""What other programs read is read back by their own readers: the same segments, to the millisecond."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid as praat
from pympi import Eaf

from mien.datasets.affwild2 import read_annotation
from mien.expressions import EXPRESSIONS
from mien.foreign import FrameLabels, TextGrid, clock, elan, subrip_cue, textgrid, tiers_of, webvtt_cue
from mien.segments import who
from mien.spans import Span
from mien.timeline import Segment
from mien.whole import Asides
from some_rows import clip, leaning, row
from test_writers import SEGMENTS, written


@st.composite
def some_segments(draw: st.DrawFn) -> list[Segment]:
    """Segments of up to three people, a person's one after the other, in the order in which they come."""
    found = []
    for track_id in draw(st.lists(st.sampled_from([None, 1, 2, 30]), unique=True)):
        ms = 0
        for gap, length in draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 9000)), max_size=6)):
            start, ms = ms + gap, ms + gap + length
            label = draw(st.sampled_from(EXPRESSIONS))
            found.append(
                Segment(span=Span(start / 1000, ms / 1000), track_id=track_id, label=label, probability=0.5)
            )
    return sorted(found, key=lambda each: (each.span.start, each.track_id or 0))


def told(segments: list[Segment]) -> list[tuple[str, int, int, str]]:
    """Who shows what from when to when, in milliseconds."""
    return sorted(
        (who(each.track_id), round(1000 * each.span.start), round(1000 * each.span.end), each.label)
        for each in segments
    )


@settings(deadline=None)  # the machine may be busy
@given(segments=some_segments())
def test_elan_reads_the_same_segments(tmp_path_factory: pytest.TempPathFactory, segments) -> None:
    path = tmp_path_factory.mktemp("elan") / "t.eaf"
    path.write_text("".join(elan(tiers_of(segments, [1]), "a.mp4")), encoding="utf-8")
    document = Eaf(path)
    tiers = document.get_tier_names()
    assert set(tiers) == {who(each.track_id) for each in segments} | {"Person 1"}
    found = [
        (tier, begin, end, label)
        for tier in tiers
        for begin, end, label in document.get_annotation_data_for_tier(tier)
    ]
    assert sorted(found) == told(segments)


@settings(deadline=None)  # the machine may be busy
@given(segments=some_segments())
def test_praat_reads_the_same_segments(tmp_path_factory: pytest.TempPathFactory, segments) -> None:
    path = tmp_path_factory.mktemp("praat") / "t.TextGrid"
    path.write_text("".join(textgrid(tiers_of(segments, []), 3.0)), encoding="utf-8")
    document = praat.openTextgrid(path, includeEmptyIntervals=True)
    last = max([3.0, *(each.span.end for each in segments)])
    found = []
    for tier in document.tiers:
        entries = list(tier.entries)
        assert entries[0].start == 0
        assert entries[-1].end == pytest.approx(last)
        assert all(one.end == other.start for one, other in pairwise(entries))
        found += [
            (tier.name, round(1000 * each.start), round(1000 * each.end), each.label)
            for each in entries
            if each.label
        ]
    assert sorted(found) == told(segments)


@settings(deadline=None)  # the machine may be busy
@given(segments=some_segments())
def test_subtitles_read_the_same_segments(segments: list[Segment]) -> None:
    vtt = "WEBVTT\n\n" + "".join(map(webvtt_cue, segments))
    srt = "".join(subrip_cue(each, number + 1) for number, each in enumerate(segments))
    for text, kind in ((vtt, "vtt"), (srt, "srt")):
        cues = pysubs2.SSAFile.from_string(text, format_=kind) if segments else []
        found = [(cue.start, cue.end, cue.plaintext.split()[-2]) for cue in cues]
        assert sorted(found) == sorted(each[1:] for each in told(segments))


@pytest.mark.parametrize("kind", ["vtt", "srt"])
def test_ffmpeg_reads_subtitles(tmp_path: Path, kind: str) -> None:
    with av.open(written(tmp_path, kind)) as container:
        assert container.streams.subtitles
        packets = [packet for packet in container.demux() if packet.size]
    times = [(float(packet.pts * packet.time_base), bytes(packet).decode()) for packet in packets]
    assert [time for time, _ in times] == [each.span.start for each in SEGMENTS]
    assert all(each.label in text for each, (_, text) in zip(SEGMENTS, times, strict=True))


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 400_000_000))
def test_a_clock_is_that_of_the_calendar(ms: int) -> None:
    hours, rest = clock(ms / 1000, ".").split(":", 1)
    passed = datetime.strptime(rest, "%M:%S.%f") - datetime.strptime("0", "%M")
    assert timedelta(hours=int(hours)) + passed == timedelta(milliseconds=ms)
    assert len(hours) >= 2


def test_cues_of_subrip_are_counted_from_one(tmp_path: Path) -> None:
    cues = written(tmp_path, "srt").read_text(encoding="utf-8").strip().split("\n\n")
    assert [cue.splitlines()[0] for cue in cues] == [str(n + 1) for n in range(len(SEGMENTS))]


def test_subtitles_of_long_films_have_more_than_two_digits_of_hours() -> None:
    segment = Segment(span=Span(360_000.0, 360_000.5), track_id=1, label="Fear", probability=0.5)
    assert webvtt_cue(segment).startswith("100:00:00.000 --> 100:00:00.500\n<v Person 1>Fear 0.50\n")


def test_elan_takes_any_name_of_a_file(tmp_path: Path) -> None:
    document = Eaf(written(tmp_path, "elan"))
    assert document.get_tier_names()
    (media,) = document.media_descriptors
    assert media["RELATIVE_MEDIA_URL"].startswith('./a <b> & "c" ')
    assert set(document.controlled_vocabularies["expressions"][1]) == set(EXPRESSIONS)
    for name in ("bell \x07.mp4", "'\"<&>.mp4", "é\ud800.mp4"):
        (tmp_path / "x.eaf").write_text("".join(elan({}, name)), encoding="utf-8")
        assert not Eaf(tmp_path / "x.eaf").get_tier_names()


def test_praat_ends_where_the_file_does_and_has_a_tier_where_nobody_is(tmp_path: Path) -> None:
    document = praat.openTextgrid(
        written(tmp_path, "praat", rows=[], segments=[]), includeEmptyIntervals=True
    )
    assert document.tierNames == ("Nobody",)
    document = praat.openTextgrid(written(tmp_path, "praat"), includeEmptyIntervals=True)
    assert document.tierNames == ("Person 1", "Person 2", "Voice")
    assert document.maxTimestamp == pytest.approx(3.96)


def test_a_stretch_that_is_shorter_than_elan_counts_lasts_a_millisecond(tmp_path: Path) -> None:
    short = Segment(span=Span(1.0001, 1.0002), track_id=1, label="Fear", probability=0.5)
    (tmp_path / "x.eaf").write_text("".join(elan(tiers_of([short], []), "a.mp4")), encoding="utf-8")
    assert Eaf(tmp_path / "x.eaf").get_annotation_data_for_tier("Person 1") == [(1000, 1001, "Fear")]


@pytest.mark.parametrize("gap, n_intervals", [(0.0, 3), (5e-7, 3), (2e-6, 4)])
def test_praat_has_no_interval_that_lasts_no_time(gap: float, n_intervals: int) -> None:
    segments = [
        Segment(span=Span(start, end), track_id=1, label="Fear", probability=0.5)
        for start, end in ((1.0, 2.0), (2.0 + gap, 3.0))
    ]
    text = "".join(textgrid(tiers_of(segments, []), 3.0))
    assert f"intervals: size = {n_intervals}\n" in text
    assert f"intervals [{n_intervals}]" in text
    longer = "".join(textgrid(tiers_of(segments, []), 3.0 + 2e-6))
    assert f"intervals: size = {n_intervals + 1}\n" in longer


def test_praat_s_document_of_a_picture_lasts_a_millisecond(tmp_path: Path) -> None:
    path = tmp_path / "t.TextGrid"
    path.write_text("".join(textgrid({}, 0.0)), encoding="utf-8")
    document = praat.openTextgrid(path, includeEmptyIntervals=True)
    assert document.maxTimestamp == pytest.approx(0.001)
    assert [(each.start, each.end) for each in document.tiers[0].entries] == [(0, 0.001)]


@pytest.mark.parametrize(
    "n_rows, told, wanted",
    [(100, {"duration_s": 9.5}, 9.5), (100, {"duration_s": 1.0}, 3.96), (100, {}, 3.96), (0, {}, 0.001)],
)
def test_a_document_of_praat_is_as_long_as_the_file_or_its_last_row(
    tmp_path: Path, n_rows: int, told: dict[str, float], wanted: float
) -> None:
    asides = Asides(tmp_path)
    writer = TextGrid(asides)
    for each in islice(clip(4.0), n_rows * 2):
        writer.write_row(each)
    writer.close(told, [])
    asides.keep([writer.file_name], [])
    asides.remove()
    document = praat.openTextgrid(tmp_path / writer.file_name, includeEmptyIntervals=True)
    assert document.maxTimestamp == pytest.approx(wanted)


def test_openface_has_its_names_and_a_row_for_every_frame(tmp_path: Path) -> None:
    table = pd.read_csv(written(tmp_path, "openface"))
    rows = list(clip(4.0))
    assert list(table.columns[:5]) == ["frame", "face_id", "timestamp", "confidence", "success"]
    assert table["frame"].tolist() == [each.frame + 1 for each in rows]
    assert table["success"].tolist() == [int(each.track_id is not None) for each in rows]
    assert table["face_id"].tolist() == [each.track_id or 0 for each in rows]
    np.testing.assert_allclose(table["timestamp"], [each.time for each in rows], atol=5e-4)
    np.testing.assert_allclose(table["confidence"], [each.confidence or 0 for each in rows], atol=5e-3)
    seen = [each for each in rows if each.probs is not None]
    probs = table.loc[[each.probs is not None for each in rows], [f"p_{name}" for name in EXPRESSIONS]]
    np.testing.assert_allclose(probs, np.stack([each.probs for each in seen]), atol=1e-5)


def test_sound_has_no_frames_for_openface_and_affwild2(tmp_path: Path) -> None:
    rows = [row(time, None, frame=None, voice=leaning("Anger")) for time in (0.0, 0.04)]
    assert len(pd.read_csv(written(tmp_path, "openface", rows=rows))) == 0
    (tmp_path / "timeline.openface.csv").unlink()
    assert written(tmp_path, "affwild2", rows=rows).read_text() == ",".join(EXPRESSIONS) + "\n"


def test_affwild2_s_reader_reads_the_person_most_seen(tmp_path: Path) -> None:
    path = written(tmp_path, "affwild2")
    rows = [each for each in clip(4.0) if each.track_id == 1]
    labels = [each.label for each in rows] + [None] * (100 - len(rows))
    assert list(read_annotation(path)) == labels


def test_the_person_most_seen_is_the_one_of_most_labelled_frames() -> None:
    labels = FrameLabels()
    for frame in range(12):
        if frame in (0, 11):  # from first to last, and hardly ever
            labels.add(row(frame / 10, 1, leaning("Anger"), frame=frame))
        if 4 <= frame < 7:
            labels.add(row(frame / 10, 2, leaning("Fear"), frame=frame))
            labels.add(row(frame / 10, 3, leaning("Sadness"), frame=frame))  # as often, but later
    lines = [line.strip() for line in labels.lines()]
    assert lines == [",".join(EXPRESSIONS), *["-1"] * 4, *["3"] * 3, *["-1"] * 5]
    nobody = FrameLabels()
    nobody.add(row(0.0, None, frame=0))
    nobody.add(row(0.1, 1, None, frame=1))
    assert [line.strip() for line in nobody.lines()][1:] == ["-1", "-1"]


def test_frames_in_which_a_person_is_away_have_no_label() -> None:
    labels = FrameLabels()
    for frame in range(10):
        if 2 <= frame < 5 or frame == 7:
            labels.add(row(frame / 10, 4, leaning("Fear"), frame=frame))
        else:
            labels.add(row(frame / 10, None, frame=frame))
    fear = str(EXPRESSIONS.index("Fear"))
    assert [line.strip() for line in labels.lines()][1:] == [
        *["-1"] * 2,
        *[fear] * 3,
        *["-1"] * 2,
        fear,
        *["-1"] * 2,
    ]
