"""Labels of people are read from the files in which they make them."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from praatio import textgrid as praat
from pympi import Eaf

from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.foreign import elan, textgrid, tiers_of
from mien.labels import MOST_DIGITS, WORDS, LabelSpan, read_labels, read_words
from mien.spans import Span
from test_foreign import some_segments, told
from test_writers import SEGMENTS, written


def read(path: Path, text: str, **options) -> list[tuple[float, float, str, str]]:
    path.write_text(text, encoding="utf-8")
    return [(each.span.start, each.span.end, each.who, each.label) for each in read_labels(path, **options)]


@pytest.mark.parametrize("kind", ["elan", "praat", "segments"])
def test_what_mien_writes_is_read_back(tmp_path: Path, kind: str) -> None:
    found = read_labels(written(tmp_path, kind))
    assert [(each.label, each.who) for each in found] == [
        ("Happiness", "Person 1"),
        ("Anger", "Voice"),
    ]
    for each, segment in zip(found, SEGMENTS, strict=True):
        assert each.span.start == pytest.approx(segment.span.start, abs=6e-4)
        assert each.span.end == pytest.approx(segment.span.end, abs=6e-4)


@settings(deadline=None)  # the machine may be busy
@given(segments=some_segments())
def test_round_trips_lose_nothing(tmp_path_factory: pytest.TempPathFactory, segments) -> None:
    folder = tmp_path_factory.mktemp("trip")
    texts = {
        "a.eaf": elan(tiers_of(segments, []), "a.mp4"),
        "a.TextGrid": textgrid(tiers_of(segments, []), 9.0),
    }
    for name, text in texts.items():
        (folder / name).write_text("".join(text), encoding="utf-8")
        found = [
            (each.who, round(1000 * each.span.start), round(1000 * each.span.end), each.label)
            for each in read_labels(folder / name)
        ]
        assert sorted(found) == told(segments)


def test_documents_of_elan_and_praat_themselves_are_read(tmp_path: Path) -> None:
    document = Eaf()
    document.add_tier("Anna")
    document.add_annotation("Anna", 500, 1500, "happy")
    document.add_annotation("Anna", 1500, 2500, "Sadness")
    document.to_file(tmp_path / "a.eaf")
    grid = praat.Textgrid()
    grid.addTier(praat.IntervalTier("Anna", [(0.5, 1.5, "happy"), (1.5, 2.5, "Sadness")], 0, 3))
    grid.addTier(praat.PointTier("clicks", [(0.7, "click")], 0, 3))
    grid.save(str(tmp_path / "a.TextGrid"), format="long_textgrid", includeBlankSpaces=True)
    expected = [
        LabelSpan(span=Span(0.5, 1.5), who="Anna", label="Happiness"),
        LabelSpan(span=Span(1.5, 2.5), who="Anna", label="Sadness"),
    ]
    assert read_labels(tmp_path / "a.eaf") == read_labels(tmp_path / "a.TextGrid") == expected


AGGREGATED = (
    "Observation id\tSubject\tBehavior\tBehavior type\tStart (s)\tStop (s)\tDuration (s)\n"
    "one\tBo\tfear\tSTATE\t1.5\t2.75\t1.25\n"
)
FLOATING = (
    '<D><TIME_SLOT TIME_SLOT_ID="t"/><TIER TIER_ID="A"><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="t" '
    'TIME_SLOT_REF2="t"><ANNOTATION_VALUE>Fear</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></TIER></D>'
)
ALIGNED = FLOATING.replace('"t"/>', '"t" TIME_VALUE="3"/>')
TABULAR = (
    "Observation id,one\n\nMedia file,clip.mp4\n\n"
    "Time,Media file path,Total length,FPS,Subject,Behavior,Behavioral category,Comment,Status\n"
    "1.5,clip.mp4,9,25,Bo,fear,,,START\n2.0,clip.mp4,9,25,Bo,joy,,,POINT\n2.75,clip.mp4,9,25,Bo,fear,,,STOP\n"
)


@pytest.mark.parametrize(
    "name, text",
    [
        ("boris.tsv", AGGREGATED),
        ("boris.csv", TABULAR),
        ("plain.csv", "start,end,label,who\n1.5,2.75,Fear,Bo\n"),
        ("german.csv", "start;end;label;who\n1,5;2,75;Fear;Bo\n"),
        ("bom.csv", "\ufeffStart,End,Label,Person\n1.5,2.75,fear,Bo\n,,,\n"),
    ],
)
def test_tables_are_read(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path / name, text) == [(1.5, 2.75, "Bo", "Fear")]


def test_words_and_tiers_are_chosen(tmp_path: Path) -> None:
    text = "start,end,label,who\n0,1,smile,A\n1,2,um,words\n2,3,blank,A\n"
    with pytest.raises(InputError, match=r"uses 'blank', 'smile', 'um', no name of an expression"):
        read(tmp_path / "a.csv", text)
    words = {"smile": "Happiness", "blank": None}
    assert read(tmp_path / "a.csv", text, who=["A"], words=words) == [(0, 1, "A", "Happiness")]
    with pytest.raises(InputError, match="nobody called 'C'; it has A, words"):
        read(tmp_path / "a.csv", text, who=["C"], words={"um": None, **words})
    with pytest.raises(InputError, match="'Joyful' is not an expression"):
        read(tmp_path / "a.csv", text, words={"smile": "Joyful"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
def test_texts_are_read_in_whatever_praat_and_spreadsheets_write(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = tmp_path / "a.csv"
    path.write_bytes(f"{mark}start,end,label,who\n1,2,Fear,Zoë\n".encode(encoding))
    assert read_labels(path) == [LabelSpan(span=Span(1, 2), who="Zoë", label="Fear")]


def test_stretches_come_by_their_start_and_then_by_name(tmp_path: Path) -> None:
    text = "start,end,label,who\n2,3,Fear,A\n1,9,Anger,B\n1,4,Disgust,A\n5,5,Fear,A\n7,6,Fear,A\n8,9, ,A\n"
    assert read(tmp_path / "a.csv", text) == [
        (1, 4, "A", "Disgust"),
        (1, 9, "B", "Anger"),
        (2, 3, "A", "Fear"),
    ], "and what lasts no time, ends before it starts or says nothing is none"


def test_a_track_is_called_as_mien_calls_it_and_a_short_line_is_passed_by(tmp_path: Path) -> None:
    text = "start_s,end_s,label,track_id\n0,1,Fear,7\n1,2,Anger,\n2,3,Fear\n3,4,Fear, 8 \n5,6,,x\n"
    found = read(tmp_path / "a.csv", text)
    assert found == [(0, 1, "Person 7", "Fear"), (1, 2, "Voice", "Anger"), (3, 4, "Person 8", "Fear")]


def test_of_two_columns_of_one_meaning_the_plainer_name_counts(tmp_path: Path) -> None:
    text = "start_s,Start,stop (s),end_s,END,behavior,label\n9,1,9,9,2,Anger,Fear\n"
    assert read(tmp_path / "a.csv", text) == [(1, 2, "", "Fear")]
    assert read(tmp_path / "b.csv", "start,end,label\n1,2,Fear\n") == [(1, 2, "", "Fear")]


def test_every_expression_has_its_name_and_what_people_say_for_it(tmp_path: Path) -> None:
    said = {
        **{name: name for name in EXPRESSIONS},
        "happy": "Happiness",
        "joy": "Happiness",
        "sad": "Sadness",
        "angry": "Anger",
        "afraid": "Fear",
        "fearful": "Fear",
        "scared": "Fear",
        "disgusted": "Disgust",
        "surprised": "Surprise",
    }
    lines = [f"{n},{n + 1},{word.upper()}" for n, word in enumerate(said)]
    found = read(tmp_path / "a.csv", "\n".join(["start,end,label", *lines]))
    assert [label for *_, label in found] == list(said.values())
    assert {*WORDS} == {word.lower() for word in said}


def test_own_words_come_before_the_known_ones_in_whatever_letters(tmp_path: Path) -> None:
    text = "start,end,label\n0,1, JOY \n1,2,Grin\n2,3,sad\n"
    words = {"Joy": "Surprise", "gRIN": "Happiness", "SAD": None}
    assert read(tmp_path / "a.csv", text, words=words) == [(0, 1, "", "Surprise"), (1, 2, "", "Happiness")]


def test_behaviours_of_several_subjects_may_run_at_once_and_again(tmp_path: Path) -> None:
    events = [
        *((0, "A", "fear", "START"), (1, "B", "fear", "start"), (2, "A", "anger", "START")),
        *((3, "A", "fear", "STOP"), (4, "A", "anger", " Stop "), (5, "B", "fear", "STOP")),
        *((6, "A", "fear", "START"), (7, "A", "fear", "STOP")),
    ]
    lines = ["Time,Subject,Behavior,Status,Start", *(",".join(map(str, each)) + "," for each in events)]
    assert read(tmp_path / "a.csv", "\n".join(lines)) == [
        (0, 3, "A", "Fear"),
        (1, 5, "B", "Fear"),
        (2, 4, "A", "Anger"),
        (6, 7, "A", "Fear"),
    ], "and a column Start alone does not make it a table of stretches"


def test_praat_s_tiers_keep_their_own_intervals_and_quotes(tmp_path: Path) -> None:
    grid = praat.Textgrid()
    grid.addTier(praat.IntervalTier('the "left"', [(0.0, 1.5, "happy"), (2.0, 2.5, 'a "smile"')], 0, 3))
    grid.addTier(praat.PointTier("clicks", [(0.7, "fear")], 0, 3))
    grid.addTier(praat.IntervalTier("right", [(0.5, 1.0, "Fear")], 0, 3))
    grid.save(str(tmp_path / "a.TextGrid"), format="long_textgrid", includeBlankSpaces=True)
    found = read_labels(tmp_path / "a.TextGrid", words={'a "smile"': "Happiness"})
    assert [(each.span.start, each.span.end, each.who, each.label) for each in found] == [
        (0.0, 1.5, 'the "left"', "Happiness"),
        (0.5, 1.0, "right", "Fear"),
        (2.0, 2.5, 'the "left"', "Happiness"),
    ]


def test_whole_numbers_have_fifteen_digits_at_most(tmp_path: Path) -> None:
    longest, longer = "9" * MOST_DIGITS, "9" * (MOST_DIGITS + 1)
    track = "start,end,label,track_id\n0,1,Fear,{}\n"
    slot = FLOATING.replace('"t"/>', '"t" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="u" TIME_VALUE="{}"/>', 1)
    slot = slot.replace('REF2="t"', 'REF2="u"')
    assert read(tmp_path / "a.csv", track.format(longest))[0][2] == f"Person {longest}"
    assert read(tmp_path / "a.eaf", slot.format(longest)) == [(0, int(longest) / 1000, "A", "Fear")]
    for name, text in (("a.csv", track), ("a.eaf", slot)):
        with pytest.raises(InputError, match="no track_id" if name == "a.csv" else "not aligned"):
            read(tmp_path / name, text.format(longer))


@pytest.mark.parametrize("value", ["<ANNOTATION_VALUE> </ANNOTATION_VALUE>", "<ANNOTATION_VALUE/>", ""])
def test_an_annotation_of_elan_that_says_nothing_is_passed_by(tmp_path: Path, value: str) -> None:
    text = re.sub("<ANNOTATION_VALUE>.*</ANNOTATION_VALUE>", value, ALIGNED)
    assert read(tmp_path / "a.eaf", text) == []


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.csv", "a,b\n1,2\n", "no line with the columns start, end and label"),
        ("a.csv", "", "no line with the columns"),
        ("a.csv", "start,end,label\nx,2,Fear\n", r"a\.csv line 2: 'x' is no time"),
        ("a.csv", "start,end,label\n-1,2,Fear\n", "'-1' is no time"),
        ("a.csv", "start,end,label\nnan,2,Fear\n", "'nan' is no time"),
        ("a.csv", "start,end,label\n1,inf,Fear\n", "'inf' is no time"),
        ("a.csv", "start,label\n1,Fear\n", "no line with the columns"),
        ("a.csv", "time,label\n1,Fear\n", "no line with the columns"),
        ("a.csv", "x\nstart,end,label\n0,1,Fear\ny,1,Fear\n", r"a\.csv line 4: 'y' is no time"),
        ("a.csv", TABULAR.replace("START", "STOP", 1), "stops and never started"),
        ("a.csv", TABULAR.replace("fear,,,STOP", "fear,,,POINT"), r"starts at 1\.5 s and never stops"),
        ("a.TextGrid", "File type", "no TextGrid in Praat's long form"),
        ("a.eaf", "<A><B></A>", "no whole ELAN document"),
        ("a.eaf", FLOATING, "'Fear' in tier 'A' is not aligned"),
        ("a.eaf", ALIGNED.replace('REF2="t"', 'REF2="lost"'), "'Fear' in tier 'A' is not aligned"),
        ("a.eaf", ALIGNED.replace("TIME_SLOT_REF2", "TIME_SLOT_REF3"), "'Fear' in tier 'A' is not aligned"),
        ("a.csv", "start_s,end_s,label,track_id\n0,1,Fear,Bo\n", "'Bo' is no track_id"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path / name, text)
    assert "\n" not in str(caught.value)
    for absent in ("b.csv", "b.eaf"):
        with pytest.raises(InputError, match=f"{absent} cannot be read"):
            read_labels(tmp_path / absent)


def test_a_word_without_its_sign_is_refused() -> None:
    assert read_words(["a=b=c", "x="]) == {"a": "b=c", "x": None}
    with pytest.raises(InputError, match="--word 'smile' has no '='"):
        read_words(["a=Fear", "smile"])
