"""The main flow on small clips: a row for every frame and person, and where the rows come from."""

import shutil
from dataclasses import asdict, fields, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from retinaface.weights import WEIGHTS

from media_files import flat_frames, lose_packets, tone, write_sound, write_still, write_video
from mien import readings
from mien.classwise import Rule
from mien.errors import CheckpointError, InputError, MediaError
from mien.fusion import product, proportion
from mien.pipeline import DETECTOR_FILE, Analysis, analyze, fill_fusion, stream
from mien.predictor import FACE_FILES, MANIFEST, SPEECH_FILES, load_model, write_manifest
from mien.predictor import WEIGHTS as MODELS
from mien.readings import ReadingSettings
from mien.speech import SPEECH_FILE
from mien.timeline import Row, TimelineSettings
from portraits import hear_speech, music, scene, scenes
from some_rules import leaning_rule

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    """Two seconds with somebody, two with nobody, one with somebody; a chord throughout."""
    return write_video(folder / "one.mp4", scenes((2, (60,)), (2, ()), (1, (60,))), waveform=music(5.0))


@pytest.fixture(scope="module")
def two(folder: Path) -> Path:
    """Two people for a second, one of them for another."""
    return write_video(folder / "two.mp4", scenes((1, (20, 260)), (1, (20,))), waveform=music(2.0))


@pytest.fixture(scope="module")
def rows(clip: Path) -> list[Row]:
    return analyze(clip).rows


def same(one: Row, other: Row) -> bool:
    """Whether two rows are equal bit for bit."""
    for field in fields(Row):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
            if a is None or b is None or a.dtype != b.dtype or a.tobytes() != b.tobytes():
                return False
        elif a != b:
            return False
    return True


def test_every_frame_has_a_row_with_or_without_a_face(rows: list[Row]) -> None:
    assert [row.frame for row in rows] == list(range(125))
    nobody = [row for row in rows if row.track_id is None]
    assert 40 <= len(nobody) <= 51
    for row in nobody:
        assert 1.95 <= row.time < 4.0
        assert row.flags == {"no_face", "no_speech"}
        assert (row.probs, row.label, row.source, row.box) == (None, None, "none", None)
    assert {row.track_id for row in rows if row.time < 1.9} == {1}


def test_where_nobody_speaks_the_fused_probabilities_are_the_faces_bit_for_bit(rows: list[Row]) -> None:
    seen = [row for row in rows if row.track_id is not None]
    for row in seen:
        assert row.probs is not None
        assert row.face_probs is not None
        assert row.probs.tobytes() == row.face_probs.tobytes()
        assert (row.source, row.voice_probs) == ("face", None)
        assert "no_speech" in row.flags


@pytest.mark.slow
def test_music_changes_nothing_bit_for_bit(clip: Path, rows: list[Row], folder: Path) -> None:
    """Nor does it matter whether somebody listens."""
    mute = write_video(folder / "mute.mp4", scenes((2, (60,)), (2, ()), (1, (60,))))
    deaf = analyze(clip, ReadingSettings(voice=False)).rows
    for row, other, unheard in zip(rows, analyze(mute).rows, deaf, strict=True):
        assert same(row, unheard)
        assert other.flags == row.flags | {"silent"}
        for mine, its in ((row.probs, other.probs), (row.face_probs, other.face_probs), (row.box, other.box)):
            assert (None if mine is None else mine.tobytes()) == (None if its is None else its.tobytes())


def test_stream_and_analyze_say_the_same(clip: Path, rows: list[Row]) -> None:
    streamed = list(stream(clip))
    assert len(streamed) == len(rows)
    assert all(same(one, other) for one, other in zip(streamed, rows, strict=True))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (TimelineSettings(), product),
        (TimelineSettings(fusion="proportion"), proportion),
        (TimelineSettings(voice_weight=2), partial(proportion, voice_weight=2)),
    ],
)
def test_one_face_and_speech_are_fused_by_the_models_own_rule_or_the_one_asked_for(
    clip: Path, monkeypatch, settings: TimelineSettings, rule: Rule
) -> None:
    hear_speech(monkeypatch, 0.0, 3.0)
    spoken = analyze(clip, timeline=settings).rows
    for row in spoken:
        assert (row.voice_probs is not None) == (row.time < 3.0)
        if row.source == "both":
            assert row.probs is not None
            expected = rule(row.voice_probs, row.face_probs)
            np.testing.assert_allclose(row.probs, expected, atol=1e-6)
        if row.source == "voice":
            assert row.track_id is None
            assert row.probs is not None
            assert row.voice_probs is not None
            assert row.probs.tobytes() == row.voice_probs.tobytes()
    assert {row.source for row in spoken} == {"both", "voice", "none", "face"}


def test_speech_with_two_people_is_nobodys(two: Path, monkeypatch) -> None:
    hear_speech(monkeypatch)
    rows = analyze(two).rows
    first = [row for row in rows if row.time < 0.9]
    assert [row.track_id for row in first[:4]] == [1, 2, 1, 2]
    assert len(first) == 2 * len({row.frame for row in first})
    for row in first:
        assert "voice_unassigned" in row.flags
        assert row.source == "face"
        assert row.voice_probs is not None
        assert row.probs is not None
        assert row.face_probs is not None
        assert row.probs.tobytes() == row.face_probs.tobytes()
    last = [row for row in rows if row.time > 1.2]
    assert {row.source for row in last} == {"both"}
    assert len({row.track_id for row in last}) == 1
    assert not any("voice_unassigned" in row.flags for row in last)


@pytest.mark.parametrize("speaker", [1, 2])
def test_speaker_that_is_named_is_fused_and_the_other_is_not(two: Path, speaker: int, monkeypatch) -> None:
    hear_speech(monkeypatch)
    rows = analyze(two, timeline=TimelineSettings(speaker=speaker)).rows
    for row in rows:
        assert row.source == ("both" if row.track_id == speaker else "face")
        assert "voice_unassigned" not in row.flags


@pytest.mark.slow
def test_real_speech_with_two_people(tmp_path: Path) -> None:
    interview = SHARED / "clips" / "two_people_interview.mp4"
    if not interview.is_file():
        pytest.skip("needs ../shared: no speech can be made up that a detector of speech would take for it")
    rows = list(islice(stream(interview), 160))
    together = [row for row in rows if "voice_unassigned" in row.flags]
    assert len(together) > 20
    assert all(row.probs.tobytes() == row.face_probs.tobytes() for row in together)  # type: ignore[union-attr]
    per_frame = [sum(row.frame == frame for row in rows) for frame in range(rows[-1].frame or 0)]
    assert set(per_frame) <= {1, 2, 3}


def test_sound_only_gives_25_rows_a_second_without_frames(folder: Path, monkeypatch) -> None:
    path = write_sound(folder / "sound.wav", [(0.0, tone(440, 1.0))])
    silent = analyze(path)
    assert [row.time for row in silent.rows] == [tick / 25 for tick in range(25)]
    assert {(row.frame, row.track_id, row.source) for row in silent.rows} == {(None, None, "none")}
    assert silent.provenance["frames"] == 0
    assert set(silent.provenance["weights_sha256"]) == {SPEECH_FILE, *SPEECH_FILES}
    hear_speech(monkeypatch)
    spoken = analyze(path, timeline=TimelineSettings(onset=0.0, offset=0.0))
    assert {row.source for row in spoken.rows} == {"voice"}
    assert {segment.track_id for segment in spoken.segments()} == {None}
    assert sum(segment.span.duration for segment in spoken.segments()) == pytest.approx(1.0)


def test_sound_of_a_moment_has_a_row_or_is_refused(folder: Path) -> None:
    longer, shorter = (
        write_sound(folder / f"{seconds}.wav", [(0.0, tone(440, seconds))]) for seconds in (0.012, 0.006)
    )
    assert len(analyze(longer).rows) == 1
    with pytest.raises(MediaError, match=r"^0\.006\.wav holds 0\.006 s, of which nothing is told; expected"):
        analyze(shorter)


def test_a_stretch_has_its_own_count_of_frames_and_is_not_taken_for_cut_short(clip: Path) -> None:
    timeline = analyze(clip, ReadingSettings(start=0.2, end=0.6))
    assert timeline.provenance["frames"] == len({row.frame for row in timeline.rows}) == 10
    assert (timeline.rows[0].frame, timeline.provenance["missing_s"]) == (5, 0.0)
    with pytest.raises(InputError, match=r"nothing of .* lies in the stretch from 60 s on"):
        analyze(clip, ReadingSettings(start=60.0))


def test_still_is_one_frame(folder: Path) -> None:
    timeline = analyze(write_still(folder / "still.jpg", scene(10, 250)))
    assert [(row.frame, row.time, row.track_id) for row in timeline.rows] == [(0, 0.0, 1), (0, 0.0, 2)]
    assert timeline.segments() == []
    assert timeline.provenance["frames"] == 1


def test_provenance_is_complete(clip: Path) -> None:
    reading = ReadingSettings(sample_hz=5)
    settings = TimelineSettings(smooth=0.2, speaker=1)
    told = analyze(clip, reading, settings).provenance
    info = load_model()
    assert told == {
        "mien": version("mien"),
        "model": "mien-b",
        "weights_sha256": {
            DETECTOR_FILE: sha256(WEIGHTS).hexdigest(),
            SPEECH_FILE: sha256((MODELS / SPEECH_FILE).read_bytes()).hexdigest(),
            **{name: info.sha256[name] for name in (*FACE_FILES, *SPEECH_FILES)},
        },
        "reading": {
            "model": "mien-b",
            "voice": True,
            "sample_hz": 5,
            "n_threads": 2,
            "start": 0.0,
            "end": None,
            "region": None,
            "min_face_px": 0.0,
            "boxes": None,
        },
        "timeline": asdict(settings) | {"fusion": "product"},
        "file": "one.mp4",
        "file_sha256": sha256(clip.read_bytes()).hexdigest(),
        "duration_s": pytest.approx(5.0, abs=0.1),
        "width_px": 480,
        "height_px": 270,
        "fps": 25.0,
        "frames": 125,
        "missing_s": 0.0,
        "has_video": True,
        "has_sound": True,
    }
    assert settings.speaker == 1


def test_provenance_names_only_weights_that_were_used(clip: Path, folder: Path) -> None:
    """Who only looks still tells where nobody speaks: the speech detector listens to any sound."""
    mute = write_video(folder / "still.mp4", scenes((0.2, ())))
    looked = {DETECTOR_FILE, *FACE_FILES}
    assert set(analyze(mute).provenance["weights_sha256"]) == looked
    unheard = analyze(clip, ReadingSettings(voice=False)).provenance
    assert set(unheard["weights_sha256"]) == {SPEECH_FILE, *looked}


def test_defaults_are_the_models_own_weights(tmp_path: Path) -> None:
    shutil.copytree(load_model().folder, tmp_path / "mine")
    manifest = tmp_path / "mine" / "manifest.json"
    told = manifest.read_text()
    weight = load_model().voice_weight
    manifest.write_text(told.replace(f'"voice_weight": {weight}', '"voice_weight": 4.5'))
    mine = load_model(str(tmp_path / "mine"))
    by_ratio = TimelineSettings(fusion="proportion")
    assert fill_fusion(by_ratio, mine).voice_weight == 4.5
    assert fill_fusion(by_ratio, load_model()).voice_weight == weight
    asked = fill_fusion(TimelineSettings(voice_weight=0), mine)
    assert (asked.fusion, asked.voice_weight, asked.face_weight) == ("proportion", 0, mine.face_weight)
    assert fill_fusion(TimelineSettings(), mine) == TimelineSettings(fusion="product")
    assert fill_fusion(TimelineSettings(), replace(mine, fusion="proportion")).voice_weight == 4.5


@pytest.mark.slow
def test_class_wise_fusion_is_the_models_own(clip: Path, tmp_path: Path, monkeypatch) -> None:
    hear_speech(monkeypatch, 1.0, 3.0)
    shutil.copytree(load_model().folder, tmp_path / "mine")
    rule = leaning_rule()
    write_manifest(replace(load_model(tmp_path / "mine"), class_wise=rule))
    mine = ReadingSettings(model=str(tmp_path / "mine"), sample_hz=5)
    asked = TimelineSettings(fusion="class_wise")
    found = analyze(clip, mine, asked)
    assert {row.source for row in found.rows} == {"both", "face", "voice", "none"}
    for row in found.rows:
        if row.probs is not None:
            voice, face = (
                np.zeros((1, 8), np.float32) if probs is None else probs[None]
                for probs in (row.voice_probs, row.face_probs)
            )
            there = {
                "voice_present": np.array([row.voice_probs is not None]),
                "face_present": np.array([row.face_probs is not None]),
            }
            np.testing.assert_array_equal(row.probs, rule(voice, face, **there)[0].astype(np.float32))
    told = found.provenance
    assert told["timeline"] == asdict(asked), "weights that are not used are not told"
    assert told["weights_sha256"][MANIFEST] == sha256((tmp_path / "mine" / MANIFEST).read_bytes()).hexdigest()
    plain = stream(clip, mine)
    for row, other in zip(stream(clip, ReadingSettings(sample_hz=5)), plain, strict=True):
        assert same(row, other), "a model that has the rule fuses by proportion unless it is asked"


def test_class_wise_fusion_that_a_model_has_not_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mien-b has no class-wise fusion") as caught:
        stream(tmp_path / "nowhere.mp4", timeline=TimelineSettings(fusion="class_wise"))
    assert "\n" not in str(caught.value)


def test_looking_needs_no_speech_files(clip: Path, tmp_path: Path) -> None:
    """Research weights are not even opened where nobody wants to listen."""
    shutil.copytree(load_model().folder, tmp_path / "mine")
    for name in SPEECH_FILES:
        (tmp_path / "mine" / name).unlink()
    model = str(tmp_path / "mine")
    row = next(stream(clip, ReadingSettings(model=model, voice=False)))
    assert row.source == "face"
    with pytest.raises(CheckpointError, match="lacks speech_encoder"):
        next(stream(clip, ReadingSettings(model=model)))


def test_what_is_not_there_is_said_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        stream(tmp_path / "nowhere.mp4")
    with pytest.raises(InputError, match="no model"):
        stream(tmp_path / "nowhere.mp4", ReadingSettings(model="nowhere"))
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(MediaError):
        Analysis(tmp_path / "text.mp4")


def test_hook_is_told_how_far_it_is(clip: Path) -> None:
    told: list[tuple[str, float, float]] = []
    analyze(clip, ReadingSettings(sample_hz=2), hook=lambda *how_far: told.append(how_far))
    assert {(what, total) for what, _, total in told} == {("analyzing", told[0][2])}
    assert told[0][2] == pytest.approx(5.0, abs=0.1)
    done = [seconds for _, seconds, _ in told]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(124 / 25)


@pytest.mark.parametrize(("n_threads", "n_ahead"), [(1, 0), (2, readings.FRAMES_AHEAD + 1)])
def test_rows_leave_within_a_second_of_their_frame(
    clip: Path, monkeypatch, n_threads: int, n_ahead: int
) -> None:
    """So that memory does not grow with the file: of the frames read, only the last few wait."""
    n_read = 0
    read_frames = readings.read_frames

    def counted(path: Path):
        nonlocal n_read
        for frame in read_frames(path):
            n_read += 1
            yield frame

    monkeypatch.setattr(readings, "read_frames", counted)
    hear_speech(monkeypatch, 1.0, 3.0)
    rows = stream(clip, ReadingSettings(n_threads=n_threads))
    assert n_read == 0, "nothing is read before a row is asked for"
    for row in rows:
        assert row.frame is not None
        assert n_read - row.frame <= (0.5 + 0.25) * 25 + 3 + n_ahead


def test_rows_do_not_depend_on_threads(clip: Path, monkeypatch) -> None:
    hear_speech(monkeypatch, 1.0, 3.0)
    one, two = (analyze(clip, ReadingSettings(n_threads=n)).to_pandas() for n in (1, 2))
    assert len(one) > 10
    assert one.equals(two)


def test_speaker_who_is_never_seen_is_told_at_the_end(two: Path) -> None:
    found = stream(two, timeline=TimelineSettings(speaker=3))
    with pytest.raises(InputError, match=r"person 3 is named .* never seen; seen: 1, 2$"):
        list(found)


@pytest.mark.slow
def test_speech_is_flagged_alike_whether_the_voice_is_read_or_not(clip: Path, monkeypatch) -> None:
    hear_speech(monkeypatch, 0.0, 3.0)

    def spoken(voice: bool) -> list[bool]:
        return ["no_speech" in row.flags for row in stream(clip, ReadingSettings(voice=voice))]

    assert spoken(True) == spoken(False)
    assert len(set(spoken(True))) == 2
    assert all(row.voice_probs is None for row in stream(clip, ReadingSettings(voice=False)))


def test_rare_looks_lose_nobody(clip: Path) -> None:
    for reading, timeline in (
        (ReadingSettings(sample_hz=1), None),
        (None, TimelineSettings(max_gap=0)),
    ):
        assert {row.track_id for row in stream(clip, reading, timeline) if row.time < 1.9} == {1}


def test_what_a_file_lacks_is_told(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", flat_frames(100), options={"g": "10", "bf": "0"})
    assert analyze(lose_packets(film, range(30, 80))).provenance["missing_s"] == pytest.approx(2.3, abs=0.4)
    sound = write_sound(tmp_path / "sound.wav", [(0.0, tone(440, 3.0))])
    sound.write_bytes(sound.read_bytes()[: sound.stat().st_size // 3])
    assert analyze(sound).provenance["missing_s"] == pytest.approx(2.0, abs=0.01)
