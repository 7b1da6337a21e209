"""Readings to rows: gaps, smoothing, fusion and flags, case by case."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import InputError
from mien.expressions import EXPRESSIONS
from mien.fusion import proportion
from mien.timeline import TimelineSettings, rows
from mien.views import Reading, _Run
from some_readings import AS_READ, person, probs_of, reading
from some_rules import leaning_rule


def tracks_at(found, time: float) -> list:
    return [row.track_id for row in found if row.time == time]


# --- gaps ---------------------------------------------------------------------------------------------------


def test_between_two_looks_everything_is_interpolated_as_by_hand():
    first = person(1, probs_of("Anger", 0.93), np.array([0, 0, 10, 10], np.float32), 0.8)
    last = person(1, probs_of("Fear", 0.93), np.array([40, 8, 50, 18], np.float32), 1.0)
    given = [reading(0.0, (first,)), reading(0.05, None), reading(0.1, ()), reading(0.2, (last,))]
    seen, quarter, half, end = rows(given, AS_READ)
    assert quarter.box.tolist() == [10, 2, 20, 12]
    assert half.box.tolist() == [20, 4, 30, 14]
    assert half.confidence == pytest.approx(0.9)
    np.testing.assert_allclose(quarter.probs[[1, 3, 0]], [0.70, 0.24, 0.01], atol=1e-6)
    np.testing.assert_allclose(half.probs[[1, 3, 0]], [0.47, 0.47, 0.01], atol=1e-6)
    assert quarter.box.dtype == quarter.probs.dtype == np.float32
    assert ["interpolated" in row.flags for row in (seen, quarter, half, end)] == [False, True, True, False]
    assert end.probs.tobytes() == last.probs.tobytes()


def test_interpolation_between_equal_looks_changes_no_bit():
    odd = np.random.default_rng(0).dirichlet(np.ones(8)).astype(np.float32)
    given = [reading(0.0, (person(1, odd),)), reading(0.033, None), reading(0.1, (person(1, odd),))]
    assert {row.probs.tobytes() for row in rows(given, AS_READ)} == {odd.tobytes()}


@pytest.mark.parametrize(("max_gap", "filled"), [(0.5, True), (0.499, False), (0, False)])
def test_a_gap_is_filled_up_to_max_gap_and_no_further(max_gap, filled):
    given = [reading(time, faces) for time, faces in ((0.6, (person(1),)), (1.0, ()), (1.1, (person(1),)))]
    assert given[2].time - given[0].time > 0.5  # in floats
    found = list(rows(given, replace(AS_READ, max_gap=max_gap)))
    assert tracks_at(found, 1.0) == [1 if filled else None]
    assert ("no_face" in found[1].flags) is not filled


def test_after_the_last_look_its_values_hold_until_the_next_look():
    given = [reading(0.0, (person(1, "Fear"),)), reading(0.1, None), reading(0.2, ()), reading(0.3, None)]
    seen, held, gone, still_gone = rows(given, AS_READ)
    assert (held.track_id, held.label, held.flags & {"interpolated"}) == (1, "Fear", {"interpolated"})
    assert held.probs.tobytes() == seen.probs.tobytes()
    assert gone.track_id is still_gone.track_id is None
    assert "no_face" in gone.flags


@pytest.mark.parametrize("max_gap", [0.0, 0.5])
@pytest.mark.parametrize("seen_again", [True, False])
def test_frames_between_two_looks_are_no_gap_however_rare_looks_are(seen_again, max_gap):
    given = [reading(0.0, (person(1),))] + [reading(n / 10, None) for n in range(1, 20)]
    given += [reading(2.0, (person(1),))] * seen_again
    found = list(rows(given, TimelineSettings(smooth=0, max_gap=max_gap)))
    assert [row.track_id for row in found] == [1] * len(given)
    assert all("interpolated" in row.flags for row in found[1:20])


def test_gap_is_where_looks_were_in_vain():
    looks = {0.0: (person(1),), 0.4: (), 0.8: (person(1),)}
    given = [reading(n / 10, looks.get(n / 10)) for n in range(9)]
    assert [row.track_id for row in rows(given, TimelineSettings(smooth=0, max_gap=0.8))] == [1] * 9
    found = rows(given, TimelineSettings(smooth=0, max_gap=0.5))
    assert [row.track_id for row in found] == [1, 1, 1, 1, None, None, None, None, 1]


def test_nobody_is_in_view_before_the_first_look():
    given = [reading(0.0, None), reading(0.1, None), reading(0.2, (person(1),))]
    assert [row.track_id for row in rows(given, AS_READ)] == [None, None, 1]


def test_people_in_a_frame_come_by_track_whether_seen_or_filled_in():
    given = [
        reading(0.0, (person(9), person(2))),
        reading(0.1, (person(5),)),
        reading(0.2, (person(9), person(2))),
    ]
    found = list(rows(given, AS_READ))
    assert [row.track_id for row in found] == [2, 9, 2, 5, 9, 2, 9]
    assert [row.track_id for row in found if "interpolated" in row.flags] == [2, 9]


def test_time_stamps_that_stand_still_are_no_division_by_zero():
    given = [reading(0.0, (person(1),)), reading(0.0, None), reading(0.0, (person(1),))]
    assert [row.track_id for row in rows(given, TimelineSettings())] == [1, 1, 1]


# --- smoothing ----------------------------------------------------------------------------------------------


def test_the_mean_is_centred_and_shrinks_at_the_ends():
    level = [0.0, 1.0, 0.0, 0.5, 0.0]
    given = [
        reading(n / 10, (person(1, np.array([p, 1 - p, 0, 0, 0, 0, 0, 0], np.float32)),))
        for n, p in enumerate(level)
    ]
    found = [float(row.probs[0]) for row in rows(given, TimelineSettings(smooth=0.2))]
    assert found == pytest.approx([1 / 2, 1 / 3, 1.5 / 3, 0.5 / 3, 0.5 / 2])


def test_no_smoothing_is_identity_bit_for_bit():
    drawn = np.random.default_rng(1).dirichlet(np.ones(8), (2, 30)).astype(np.float32)
    given = [reading(n / 30, (person(1, drawn[0, n]),), drawn[1, n]) for n in range(30)]
    for n, row in enumerate(rows(given, AS_READ)):
        assert row.face_probs.tobytes() == drawn[0, n].tobytes()
        assert row.voice_probs.tobytes() == drawn[1, n].tobytes()


def test_no_smoothing_parts_frames_of_one_time_and_waits_for_none():
    given = [reading(0.0, (person(1, one),)) for one in ("Anger", "Fear", "Sadness")]
    arrived = []
    stream = rows((arrived.append(one) or one for one in given), AS_READ)
    for n, row in enumerate(stream):
        assert len(arrived) == n + 1
        assert row.probs.tobytes() == given[n].faces[0].probs.tobytes()


def test_a_window_that_holds_one_frame_leaves_it_bit_for_bit():
    drawn = np.random.default_rng(1).uniform(0, 1e-9, (20, 8)).astype(np.float32)
    drawn[::2, 0] = drawn[1::2, 1] = 1
    given = [reading(n * 0.3, (person(1, probs),)) for n, probs in enumerate(drawn)]
    for row, probs in zip(rows(given, TimelineSettings(smooth=0.5)), drawn, strict=True):
        assert row.probs.tobytes() == probs.tobytes()


@given(st.integers(0, 1000), st.floats(0.01, 3), st.sampled_from([12, 25, 30, 60]))
@settings(max_examples=15, deadline=None)
def test_constant_probabilities_stay(seed, smooth, fps):
    constant = np.random.default_rng(seed).dirichlet(np.ones(8)).astype(np.float32)
    given = [
        reading(n / fps, (person(1, constant),) if n % 3 == 0 else None, constant if n % 50 < 40 else None)
        for n in range(120)
    ]
    for row in rows(given, TimelineSettings(smooth=smooth)):
        np.testing.assert_allclose(row.face_probs, constant, atol=6e-8)
        np.testing.assert_allclose(row.probs, constant, atol=1.2e-7)


def test_a_day_of_totals_does_not_wear_the_mean_down():
    run, drawn = _Run(0.1, 0.1), np.random.default_rng(2).dirichlet(np.ones(8), 5).astype(np.float32)
    run._total = run._before = np.full(8, 24 * 3600 * 60.0)
    for n, probs in enumerate(drawn):
        run.append(n / 10, probs)
    means = [run.mean(n / 10) for n in range(3)]
    np.testing.assert_allclose(means[2], drawn[1:4].astype(float).mean(axis=0), atol=3e-8)


def test_nothing_is_smoothed_across_a_gap_in_the_face_or_in_the_voice():
    wide = TimelineSettings(smooth=10, max_gap=0.15)
    sides = ["Anger"] * 4 + [None] * 2 + ["Fear"] * 4
    given = [reading(n / 10, (person(1, one),) if one else (), None) for n, one in enumerate(sides)]
    labels = {row.time: row.probs.tobytes() for row in rows(given, wide) if row.probs is not None}
    assert set(labels.values()) == {probs_of("Anger").tobytes(), probs_of("Fear").tobytes()}
    given = [reading(n / 10, (), one) for n, one in enumerate(sides)]
    found = list(rows(given, wide))
    assert [row.label for row in found] == sides
    assert {row.probs.tobytes() for row in found[:4]} == {probs_of("Anger").tobytes()}


# --- from the past alone ------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(["Anger", "Fear", None]), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.15, 0.3]),
    st.sampled_from([0.0, 0.2, 1.0]),
)
@settings(max_examples=30, deadline=None)
def test_causal_rows_leave_with_their_readings_and_look_back_alone(sides, smooth, max_gap):
    given = [reading(n / 10, (person(1, one),) if one else ()) for n, one in enumerate(sides)]
    arrived = []
    stream = rows(
        (arrived.append(one) or one for one in given),
        TimelineSettings(causal=True, smooth=smooth, max_gap=max_gap),
    )
    shown = []  # what is held at each time; None while nobody is in view
    for n, row in enumerate(stream):
        assert len(arrived) == n + 1
        last = max((k for k in range(n + 1) if sides[k]), default=None)
        held = last is not None and (n - last) / 10 <= max_gap + 1e-9
        shown.append(probs_of(sides[last]) if held else None)
        assert row.track_id == (1 if held else None)
        assert ("interpolated" in row.flags) == (held and last < n)
        if held:
            begin = max((k + 1 for k in range(n) if shown[k] is None), default=0)
            seen = [shown[k] for k in range(begin, n + 1) if (n - k) / 10 <= smooth + 1e-9]
            np.testing.assert_allclose(row.face_probs, np.mean(seen, axis=0), atol=1e-6)


# --- fusion and flags ---------------------------------------------------------------------------------------

FACE, OTHER_FACE, VOICE = probs_of("Happiness", 0.8), probs_of("Sadness", 0.7), probs_of("Anger", 0.9)


def fused(voice_weight: float = 1.0, face_weight: float = 1.0) -> np.ndarray:
    return proportion(VOICE, FACE, voice_weight=voice_weight, face_weight=face_weight)


@pytest.mark.parametrize(
    ("faces", "voice", "options", "expected"),
    [
        pytest.param([1], True, {}, [(fused(), "both", set())], id="one person and a voice"),
        pytest.param(
            [1], True, {"voice_weight": 2, "face_weight": 3}, [(fused(2, 3), "both", set())], id="weights"
        ),
        pytest.param([1], True, {"voice_weight": 0}, [(FACE, "face", set())], id="voice of no weight"),
        pytest.param([1], True, {"face_weight": 0}, [(VOICE, "voice", set())], id="face of no weight"),
        pytest.param([1], False, {}, [(FACE, "face", {"no_speech"})], id="one person, no voice"),
        pytest.param(
            [1, 2],
            True,
            {},
            [(FACE, "face", {"voice_unassigned"}), (OTHER_FACE, "face", {"voice_unassigned"})],
            id="two people and a voice",
        ),
        pytest.param(
            [1, 2],
            False,
            {},
            [(FACE, "face", {"no_speech"}), (OTHER_FACE, "face", {"no_speech"})],
            id="two people, no voice",
        ),
        pytest.param(
            [1, 2],
            True,
            {"speaker": 1},
            [(fused(), "both", set()), (OTHER_FACE, "face", set())],
            id="the speaker and another",
        ),
        pytest.param([2], True, {"speaker": 1}, [(OTHER_FACE, "face", set())], id="not the speaker"),
        pytest.param([], True, {}, [(VOICE, "voice", {"no_face"})], id="a voice alone"),
        pytest.param([], True, {"speaker": 1}, [(VOICE, "voice", {"no_face"})], id="the speaker out of view"),
        pytest.param([], False, {}, [(None, "none", {"no_face", "no_speech"})], id="nothing"),
    ],
)
def test_who_is_fused_with_the_voice(faces, voice, options, expected):
    people = tuple(person(k, FACE if k == 1 else OTHER_FACE) for k in faces)
    found = list(rows([reading(0.0, people, VOICE if voice else None)], TimelineSettings(**options)))
    assert [row.track_id for row in found] == (faces or [None])
    for row, (probs, source, flags) in zip(found, expected, strict=True):
        assert (row.source, row.flags) == (source, flags)
        assert (row.voice_probs is None) is not voice
        if voice:
            assert row.voice_probs.tobytes() == VOICE.tobytes()
        if probs is None:
            assert row.probs is row.label is None
        else:
            assert row.probs.tobytes() == probs.tobytes()
            assert row.label == EXPRESSIONS[probs.argmax()]
        face = {None: None, 1: FACE, 2: OTHER_FACE}[row.track_id]
        assert row.face_probs is None if face is None else row.face_probs.tobytes() == face.tobytes()
        assert (row.box is None) == (row.confidence is None) == (row.track_id is None)


def test_class_wise_each_source_has_its_own_fit():
    rule, ask = leaning_rule(), replace(AS_READ, fusion="class_wise")
    given = [
        reading(0.0, (person(1, FACE),), VOICE),
        reading(1.0, (person(1, FACE),)),
        reading(2.0, (), VOICE),
        reading(3.0),
        reading(4.0, (person(1, FACE), person(2, OTHER_FACE)), VOICE),
    ]
    both, seen, heard, nothing, first, second = rows(given, ask, rule)
    yes, no = np.array([True]), np.array([False])
    alone = {"voice_present": no, "face_present": yes}
    for row, expected, source in (
        (both, rule(VOICE[None], FACE[None]), "both"),
        (seen, rule(VOICE[None], FACE[None], **alone), "face"),
        (heard, rule(VOICE[None], FACE[None], voice_present=yes, face_present=no), "voice"),
        (first, rule(VOICE[None], FACE[None], **alone), "face"),
        (second, rule(VOICE[None], OTHER_FACE[None], **alone), "face"),
    ):
        assert row.source == source
        assert row.probs.dtype == np.float32
        np.testing.assert_array_equal(row.probs, expected[0].astype(np.float32))
        assert row.label == EXPRESSIONS[expected.argmax()]
    assert (nothing.probs, nothing.source) == (None, "none")
    assert seen.face_probs.tobytes() == FACE.tobytes(), "what the face says stays as it was read"
    assert np.abs(seen.probs - FACE).max() > 0.01, "a fallback that changes nothing would prove nothing"


def test_a_rule_that_is_not_asked_for_changes_no_bit():
    given = [reading(n / 25, (person(1, FACE),), VOICE if n % 3 else None) for n in range(50)]
    plain, other = (
        list(rows(given, TimelineSettings())),
        list(rows(given, TimelineSettings(), leaning_rule())),
    )
    assert [row.probs.tobytes() for row in plain] == [row.probs.tobytes() for row in other]
    assert all(row.probs.tobytes() == FACE.tobytes() for row in plain if row.source == "face")
    with pytest.raises(AssertionError, match="not given"):
        next(rows(given, TimelineSettings(fusion="class_wise")))


def test_a_tick_of_a_sound_only_file_is_a_row_without_frame_and_face():
    tick = Reading(frame=None, time=0.02, faces=(), speech=True, voice=VOICE, silent=False)
    (row,) = rows([tick], TimelineSettings())
    assert (row.frame, row.time, row.source, row.flags) == (None, 0.02, "voice", {"no_face"})


def test_silence_is_said_wherever_the_reading_says_it():
    given = [
        reading(0.0, (person(1),), silent=True),
        reading(0.1, (), silent=True),
        reading(0.2, (person(1),)),
    ]
    assert [row.flags & {"silent"} for row in rows(given, replace(AS_READ, max_gap=0))] == [
        {"silent"},
        {"silent"},
        set(),
    ]


def test_an_uncertain_row_is_flagged_and_keeps_its_label():
    unsure, sure = probs_of("Disgust", 0.39), probs_of("Disgust", 0.4)
    given = [reading(0.0, (person(1, unsure),)), reading(1.0, (person(1, sure),)), reading(2.0)]
    first, second, nothing = rows(given, AS_READ)
    assert (first.label, first.flags & {"low_confidence"}) == ("Disgust", {"low_confidence"})
    assert (second.label, second.flags & {"low_confidence"}) == ("Disgust", set())
    assert "low_confidence" not in nothing.flags


def test_of_equal_probabilities_the_earlier_expression_is_the_label():
    even = np.array([0, 0, 0.5, 0, 0.5, 0, 0, 0], np.float32)
    (row,) = rows([reading(0.0, (person(1, even),))], AS_READ)
    assert row.label == "Disgust"


@pytest.mark.parametrize("name", ["dropped", "crowded"])
def test_what_a_reading_says_of_itself_is_said_of_its_rows(name):
    plain = reading(0.0, (person(1),))
    for told in (True, False):
        (row,) = rows([replace(plain, **{name: told})], AS_READ)
        assert (name in row.flags) is told


@pytest.mark.parametrize(
    "option",
    [
        *({name: 0} for name in ("smooth", "max_gap", "min_duration_on", "min_duration_off")),
        {"low_confidence": 0},
        {"low_confidence": 1},
        {"onset": 1, "offset": 1},
        {"onset": 0, "offset": 0},
        {"speaker": 1},
        {"fusion": "proportion", "voice_weight": 2},
        {"fusion": "product"},
        {"fusion": "class_wise"},
    ],
    ids=str,
)
def test_settings_at_their_bounds_are_taken(option):
    ask = TimelineSettings(**option)
    assert {name: getattr(ask, name) for name in option} == option


def test_settings_are_those_that_the_documents_name():
    ask = TimelineSettings()
    assert (ask.smooth, ask.max_gap, ask.low_confidence) == (0.5, 0.5, 0.4)
    assert (ask.onset, ask.offset, ask.min_duration_on, ask.min_duration_off) == (0.4, 0.3, 0.25, 0.25)
    assert (ask.fusion, ask.speaker, ask.causal, ask.weights) == (None, None, False, (1.0, 1.0))
    assert TimelineSettings(voice_weight=2).weights == (2, 1)
    assert TimelineSettings(face_weight=3).weights == (1, 3)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"speaker": 0}, "speaker is 0; expected a track_id"),
        ({"smooth": -0.5}, "smooth is -0.5; expected seconds"),
        ({"max_gap": float("nan")}, "max_gap is nan; expected seconds"),
        ({"min_duration_on": -1}, "min_duration_on is -1"),
        ({"min_duration_off": float("inf")}, "min_duration_off is inf"),
        ({"low_confidence": 1.5}, "low_confidence is 1.5; expected a probability"),
        ({"onset": 1.01}, "onset is 1.01"),
        ({"offset": -0.1}, "offset is -0.1"),
        ({"onset": 0.2}, "offset is 0.3; expected no more than onset, which is 0.2"),
        ({"voice_weight": -1}, "voice_weight is -1"),
        ({"voice_weight": 0, "face_weight": 0}, "both 0"),
        ({"fusion": "sum"}, "fusion is 'sum'; expected proportion or product or class_wise"),
        ({"fusion": "class_wise", "face_weight": 1}, "class_wise takes neither"),
        ({"fusion": "product", "voice_weight": 1}, "product takes neither"),
    ],
)
def test_settings_that_make_no_sense(option, message):
    with pytest.raises(InputError, match=message):
        TimelineSettings(**option)
