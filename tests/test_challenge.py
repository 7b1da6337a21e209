"""Submissions: each answer is the one reckoned by hand, whatever is missing; all appear, or none."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora_affwild2 import NAMES, write_crops, write_example, write_media
from media_files import flat_frames, write_still, write_video
from mien import challenge
from mien.challenge import FILLED, smooth, submit
from mien.errors import CheckpointError, DatasetError, InputError
from mien.expressions import EXPRESSIONS
from mien.fusion import product
from mien.media import read_sound
from mien.predictor import FacePredictor, VoicePredictor, load_model
from mien.submission import HEADER, check_submission
from mien.voice import Voice
from portraits import PORTRAIT, hear_speech

FEAR = np.eye(8, dtype=np.float32)[3]


def silent(*_: object) -> None:
    """A hook that nobody listens to."""


class SeesShades(FacePredictor):
    """Instead of the face net: sure of the expression whose shade a crop has."""

    spec = SimpleNamespace(crop_px=48)

    def __init__(self, model: object) -> None:
        pass

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        assert crops.shape == (1, 48, 48, 3)
        return np.eye(8, dtype=np.float32)[[round(crops.mean() / 28) - 1]]


class HearsFear(VoicePredictor):
    """Instead of the speech net: Fear, but only just."""

    def __init__(self, model: object, *, n_threads: int) -> None:
        pass

    def __call__(self, log_mel: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return (0.6 * FEAR + 0.4 * np.eye(8, dtype=np.float32)[7])[None]


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Networks that say what is plain to see; called, it says when people speak."""
    monkeypatch.setattr(challenge, "FacePredictor", SeesShades)
    monkeypatch.setattr(challenge, "VoicePredictor", HearsFear)

    def speech(start: float = 0.0, end: float = np.inf) -> None:
        monkeypatch.setattr(challenge, "hear", hear_speech(monkeypatch, start, end))

    return speech


def answers(out: Path) -> list[tuple[str, str]]:
    """Each line's image, and the name of its answer."""
    header, *lines = out.read_text().splitlines()
    assert header == HEADER
    return [(image, NAMES[int(answer)]) for image, answer in (line.split(",") for line in lines)]


def labels(root: Path, **options) -> list[str]:
    """Names of the answers to the root's example, which pass the check."""
    out = root / "mine.txt"
    told = submit("mien-b", root, None, out, hook=silent, **{"delta": 0, **options})
    (example,) = root.glob("test_set_examples/*")
    n_lines, faults = check_submission(out, example)
    assert faults == []
    assert told[0] == f"{out}: {n_lines} frames of {len(accounts(out))} videos, complete and in order"
    return [label for _, label in answers(out)]


def accounts(out: Path) -> dict[str, dict[str, str]]:
    """The table beside a submission, by video; what is 0 or empty left out."""
    with out.with_name(out.name + FILLED).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        row.pop("video"): {name: cell for name, cell in row.items() if cell not in ("0", "")} for row in rows
    }


def test_the_order_of_the_list_is_kept_whatever_it_is(tmp_path: Path, stubs) -> None:
    write_crops(tmp_path, "a", {1: "Fear", 2: "Anger", 3: "Sadness"})
    write_crops(tmp_path, "b", {7: "Other", 9: "Happiness"})
    write_example(tmp_path, ("b", [9]), ("a", [3, 1]), ("b", [7]), ("a", [2]))
    assert labels(tmp_path) == ["Happiness", "Sadness", "Fear", "Other", "Anger"]
    assert answers(tmp_path / "mine.txt")[1] == ("a/00003.jpg", "Sadness")
    assert list(accounts(tmp_path / "mine.txt")) == ["b", "a"]


def test_what_is_missing_is_filled_by_rule(tmp_path: Path, stubs) -> None:
    write_crops(tmp_path, "gaps", {3: "Anger", 4: "Anger", 8: "Sadness"})
    (write_crops(tmp_path, "broken", {2: "Surprise"}) / "00001.jpg").write_bytes(b"\xff\xd8 no more")
    (tmp_path / "cropped_aligned" / "empty").mkdir()
    write_example(
        tmp_path,
        ("gaps", range(1, 11)),
        ("broken", [1, 2]),
        ("empty", [1, 2]),
        ("absent", [1]),
        ("gaps", [11]),
    )
    told = submit("mien-b", tmp_path, None, tmp_path / "mine.txt", hook=silent, delta=0)
    gaps = ["Anger"] * 5 + ["Anger"] + ["Sadness"] * 4 + ["Sadness"]  # 6 is in the middle; the first leads
    filled = ["Surprise"] * 2 + ["Neutral"] * 3
    assert [label for _, label in answers(tmp_path / "mine.txt")] == gaps[:10] + filled + gaps[10:]
    no_media = {"voice": "no media"}
    assert accounts(tmp_path / "mine.txt") == {
        "gaps": {
            "frames": "11",
            "face_alone": "3",
            "interpolated": "3",
            "copied": "5",
            "no_crop": "8",
            **no_media,
        },
        "broken": {"frames": "2", "face_alone": "1", "copied": "1", "unreadable_crop": "1", **no_media},
        "empty": {"frames": "2", "neutral": "2", "no_crop": "2", **no_media},
        "absent": {"frames": "1", "neutral": "1", "faces": "no folder of crops", **no_media},
    }
    assert [line.strip() for line in told[1:]] == [
        "face and voice: 0 frames",
        "face alone: 4",
        "voice alone: 0",
        "neither: 3 interpolated between neighbours, 6 copied from the nearest, 3 Neutral in empty videos",
        "crops: 10 frames have none, 1 cannot be decoded",
        "no folder of crops: 1 of 4 videos (absent)",
        "no media: 4 of 4 videos (gaps, broken, empty, …)",
        "video by video: mine.txt.filled.csv",
    ]


def test_the_voice_stands_in_for_a_face_and_two_people_share_it(tmp_path: Path, stubs) -> None:
    stubs(start=1.0)
    write_media(tmp_path / "batch1" / "v.mp4", n_frames=50, fps=25)
    write_crops(tmp_path, "v_left", {10: "Anger", 40: "Anger"})
    write_crops(tmp_path, "v_right", {10: "Sadness"})
    write_example(tmp_path, ("v_left", [10, 20, 40, 45]), ("v_right", [10, 25, 26]))
    # 1:1, so a sure face outweighs the voice; before 1.0 s nobody speaks, and frame 25 is nearest to 26
    assert labels(tmp_path) == ["Anger", "Anger", "Anger", "Fear", "Sadness", "Fear", "Fear"]
    assert accounts(tmp_path / "mine.txt") == {
        "v_left": {
            "frames": "4",
            "face_and_voice": "1",
            "face_alone": "1",
            "voice_alone": "1",
            "interpolated": "1",
            "no_crop": "2",
        },
        "v_right": {
            "frames": "3",
            "face_alone": "1",
            "voice_alone": "1",
            "interpolated": "1",
            "no_crop": "2",
        },
    }
    assert labels(tmp_path, voice=False)[3] == "Anger"
    assert accounts(tmp_path / "mine.txt")["v_left"]["voice"] == "not listened to"


def test_the_ratio_is_the_model_s(tmp_path: Path, stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    stubs()
    write_media(tmp_path / "v.mp4", n_frames=30)
    write_crops(tmp_path, "v", {5: "Anger"})
    write_example(tmp_path, ("v", [5]))
    for voice_weight, expected in ((1.0, "Anger"), (3.0, "Fear")):
        model = replace(load_model(), fusion="proportion", voice_weight=voice_weight)
        monkeypatch.setattr(challenge, "load_model", lambda name, model=model: model)
        assert labels(tmp_path) == [expected]


def test_the_mean_is_taken_within_one_video(tmp_path: Path, stubs) -> None:
    write_crops(tmp_path, "a", dict.fromkeys(range(1, 6), "Fear") | {3: "Anger"})
    write_crops(tmp_path, "b", dict.fromkeys(range(1, 6), "Sadness"))
    write_example(tmp_path, ("a", range(1, 6)), ("b", range(1, 6)))
    assert labels(tmp_path) == ["Fear", "Fear", "Anger", "Fear", "Fear"] + ["Sadness"] * 5
    assert labels(tmp_path, delta=1) == labels(tmp_path, delta=50) == ["Fear"] * 5 + ["Sadness"] * 5


def test_frames_not_asked_for_are_gaps() -> None:
    rows = np.eye(8, dtype=np.float32)[[0, 1, 2]]
    near = smooth(rows, np.array([1, 2, 9]), 1)
    np.testing.assert_allclose(near[0, :3], [0.5, 0.5, 0])
    np.testing.assert_allclose(near[1, :3], [1 / 3, 13 / 21, 1 / 21], rtol=1e-6)  # 3 is 6/7 of 2, 1/7 of 9
    np.testing.assert_allclose(near[2, :3], [0, 1 / 14, 13 / 14], rtol=1e-6)
    np.testing.assert_allclose(smooth(rows, np.array([1, 2, 9]), 0), rows)


def test_a_folder_is_answered_as_a_folder(tmp_path: Path, stubs) -> None:
    write_crops(tmp_path, "a", {1: "Other", 2: "Surprise", 3: "Surprise"})
    write_crops(tmp_path, "b_left", {1: "Anger"})
    for classes in (NAMES[:7], NAMES):
        example = tmp_path / f"example{len(classes)}"
        example.mkdir()
        for video, n_frames in {"b_left": 1, "a": 3, "c": 0}.items():
            (example / f"{video}.txt").write_text("\n".join((",".join(classes), *["0"] * n_frames)) + "\n")
        out = tmp_path / f"mine{len(classes)}"
        submit("mien-b", tmp_path, example, out, hook=silent, delta=0)
        assert check_submission(out, example) == (4, [])
        last = {7: "0", 8: "7"}[len(classes)]  # of classes that are not sure at all, the first
        assert (out / "a.txt").read_text() == "\n".join((",".join(classes), last, "6", "6", ""))
        assert (out / "c.txt").read_text() == ",".join(classes) + "\n"
        (tmp_path / f"mine{len(classes)}{FILLED}").unlink()  # so that it may be anybody's
        with pytest.raises(InputError, match="is there and is no earlier submission"):
            submit("mien-b", tmp_path, example, out, hook=silent)


def test_an_earlier_submission_in_a_folder_is_replaced(tmp_path: Path, stubs) -> None:
    """A run that was killed in its last instant can be run again, as one that was written to a file."""
    write_crops(tmp_path, "a", {1: "Anger", 2: "Fear"})
    example, out = tmp_path / "example", tmp_path / "mine"
    example.mkdir()
    (example / "a.txt").write_text(f"{','.join(NAMES)}\n0\n0\n")
    submit("mien-b", tmp_path, example, out, hook=silent, delta=0)
    before = (out / "a.txt").read_text()
    (out / "a.txt").write_text("of last week")
    submit("mien-b", tmp_path, example, out, hook=silent, delta=0)
    assert (out / "a.txt").read_text() == before
    (out / "more.txt").touch()
    with pytest.raises(InputError, match="is there and is no earlier submission"):
        submit("mien-b", tmp_path, example, out, hook=silent)


def test_a_table_that_finds_no_room_leaves_the_earlier_submission(
    tmp_path: Path, stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_crops(tmp_path, "a", {1: "Anger"})
    write_example(tmp_path, ("a", [1]))
    out = tmp_path / "mine.txt"
    out.write_text("of last week")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(challenge, "_write_accounts", full)
    with pytest.raises(OSError, match="No space"):
        submit("mien-b", tmp_path, None, out, hook=silent)
    assert sorted(tmp_path.rglob("*")) == before
    assert out.read_text() == "of last week"


@pytest.mark.parametrize(
    ("content", "lack"),
    [(b"", "media that cannot be read"), (b"no video", "media that cannot be read"), (None, "no sound")],
)
def test_without_a_usable_voice_the_face_stands(
    tmp_path: Path, stubs, content: bytes | None, lack: str
) -> None:
    stubs()
    if content is None:
        write_video(tmp_path / "v.mp4", flat_frames(9))
    else:
        (tmp_path / "v.mp4").write_bytes(content)
    write_crops(tmp_path, "v", {1: "Anger"})
    write_example(tmp_path, ("v", [1, 2]))
    assert labels(tmp_path) == ["Anger"] * 2
    assert accounts(tmp_path / "mine.txt")["v"]["voice"] == lack


def test_frames_beyond_the_video_are_filled(tmp_path: Path, stubs) -> None:
    stubs()
    write_media(tmp_path / "v.mp4", n_frames=60)
    write_crops(tmp_path, "v", {1: "Anger"})
    write_example(tmp_path, ("v", [1, 60, 61, 62, 99_999]))
    told = submit("mien-b", tmp_path, None, tmp_path / "mine.txt", hook=silent, delta=0)
    assert [label for _, label in answers(tmp_path / "mine.txt")] == ["Anger", *["Fear"] * 4]
    assert "  after the last frame of their media: 3" in told
    account = accounts(tmp_path / "mine.txt")["v"]
    assert (account["beyond_media"], account["face_and_voice"], account["voice_alone"]) == ("3", "1", "4")


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([], "names no image"),
        ([HEADER], "names no image"),
        ([HEADER, "a/00001.jpg,0", "a/00002.jpg,0", "a/00001.jpg,0"], "line 4: 'a/00001.jpg' is named twice"),
        ([HEADER, "a/1.jpg,0"], "line 2: 'a/1.jpg' is no image"),
        ([HEADER, "other/00001.jpg,0"], "cropped_aligned has none of other"),
    ],
)
def test_an_example_that_does_not_fit_is_refused_before_the_work(
    tmp_path: Path, stubs, lines: list[str], match: str
) -> None:
    write_crops(tmp_path, "a", {1: "Anger"})
    (tmp_path / "list.txt").write_text("\n".join(lines))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match=match):
        submit("mien-b", tmp_path, tmp_path / "list.txt", tmp_path / "mine.txt", hook=silent)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("out", "options", "match"),
    [
        ("absent/mine.txt", {}, "absent is no folder"),
        ("cropped_aligned", {}, "is a folder; the example is a list"),
        ("mine.txt", {"delta": -1}, "delta is -1"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, out: str, options: dict[str, int], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(challenge, "FacePredictor", None)
    write_crops(tmp_path, "a", {1: "Anger"})
    write_example(tmp_path, ("a", [1]))
    with pytest.raises(InputError, match=match):
        submit("mien-b", tmp_path, None, tmp_path / out, hook=silent, **options)


def test_the_example_is_not_written_over(tmp_path: Path) -> None:
    write_crops(tmp_path, "a", {1: "Anger"})
    example = write_example(tmp_path, ("a", [1]))
    before = example.read_text()
    for named in (None, example):
        with pytest.raises(InputError, match="is the challenge's example; give another --out"):
            submit("mien-b", tmp_path, named, example, hook=silent)
    assert example.read_text() == before


def test_only_what_is_whole_and_right_appears(tmp_path: Path, stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    write_crops(tmp_path, "a", {1: "Anger", 2: "Fear"})
    write_example(tmp_path, ("a", [1, 2]))
    out = tmp_path / "mine.txt"
    out.write_text("of last week")
    before = sorted(tmp_path.rglob("*"))

    def stop(what: str, done: float, total: float) -> None:
        assert (what, total) == ("answering", 2)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submit("mien-b", tmp_path, None, out, hook=stop)
    monkeypatch.setattr(
        challenge, "write_submission", lambda path, *_: path.write_text(f"{HEADER}\na/00001.jpg,0")
    )
    with pytest.raises(DatasetError, match=r"without an answer: 1 \(a/00002.jpg\); run it again"):
        submit("mien-b", tmp_path, None, out, hook=silent)
    assert sorted(tmp_path.rglob("*")) == before
    assert out.read_text() == "of last week"


def test_a_model_without_a_voice_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model()
    for name in [name for name in model.sha256 if name.startswith("speech")]:
        del model.sha256[name]
    monkeypatch.setattr(challenge, "load_model", lambda name: model)
    write_crops(tmp_path, "a", {1: "Anger"})
    write_example(tmp_path, ("a", [1]))
    with pytest.raises(CheckpointError, match="--no-voice"):
        submit("face-only", tmp_path, None, tmp_path / "mine.txt", hook=silent)
    assert submit("face-only", tmp_path, None, tmp_path / "mine.txt", hook=silent, voice=False)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), min_size=1, max_size=30, unique=True),
    st.sets(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=20),
    st.integers(0, 60),
)
@settings(deadline=None, max_examples=40)
def test_whatever_is_asked_for_and_there_every_line_is_answered(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[str, int]],
    there: set[tuple[str, int]],
    delta: int,
) -> None:
    root = tmp_path_factory.mktemp("any")
    write_crops(root, asked[0][0], {})
    for video, frame in there:
        write_crops(root, video, {frame: NAMES[frame % 8]}, size=16)
    write_example(root, *((video, [frame]) for video, frame in asked))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(challenge, "FacePredictor", SeesShades)
        found = labels(root, delta=delta, voice=False)
    if delta == 0:
        for (video, frame), label in zip(asked, found, strict=True):
            assert (video, frame) not in there or label == NAMES[frame % 8]
    for name in "abc":
        account = accounts(root / "mine.txt").get(name, {})
        kinds = ("face_alone", "interpolated", "copied", "neutral")
        assert sum(int(account.get(kind, 0)) for kind in kinds) == sum(video == name for video, _ in asked)


def test_class_wise_fusion_that_a_model_has_not_is_refused(tmp_path: Path) -> None:
    write_crops(tmp_path, "a", {1: "Fear"}, size=16)
    write_example(tmp_path, ("a", [1]))
    with pytest.raises(InputError, match="mien-b has no class-wise fusion"):
        submit("mien-b", tmp_path, None, tmp_path / "mine.txt", hook=silent, fusion="class_wise")
    assert not (tmp_path / "mine.txt").exists()


def test_the_shipped_model_answers_as_reckoned_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0)
    crops = tmp_path / "cropped_aligned" / "14-30-1920x1080_left"
    crops.mkdir(parents=True)
    for frame in (1, 2, 3, 20, 21):
        face = PORTRAIT[20:160, 30:170].astype(np.int16) + noise.integers(-60, 60, (140, 140, 3))
        write_still(crops / f"{frame:05d}.jpg", cv2.resize(face.clip(0, 255).astype(np.uint8), (112, 112)))
    sound = noise.normal(0, 0.1, 96_000).astype(np.float32)
    (tmp_path / "batch1").mkdir()
    media = write_video(tmp_path / "batch1" / "14-30-1920x1080.mp4", flat_frames(50), fps=25, waveform=sound)
    frames = [*range(1, 25), *range(44, 51)]
    write_example(tmp_path, ("14-30-1920x1080_left", frames))
    hear_some = hear_speech(monkeypatch, 0.0, 0.5)
    monkeypatch.setattr(challenge, "hear", hear_some)
    found = labels(tmp_path, delta=2)

    model = load_model()
    see, voice = FacePredictor(model), Voice(hear_some(read_sound(media)), VoicePredictor(model))
    every = np.full((50, 8), np.nan, np.float32)
    for frame in range(1, 51):
        heard = voice.at((frame - 0.5) / 25).probs
        seen = None
        if (crops / f"{frame:05d}.jpg").exists():
            image = cv2.cvtColor(cv2.imread(str(crops / f"{frame:05d}.jpg")), cv2.COLOR_BGR2RGB)
            seen = see(cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)[None])[0]
        if frame not in frames:
            continue
        if seen is not None and heard is not None:
            every[frame - 1] = product(heard, seen)
        elif seen is not None or heard is not None:
            every[frame - 1] = heard if seen is None else seen
    known = np.flatnonzero(~np.isnan(every[:, 0]))
    full = np.stack([np.interp(np.arange(50), known, every[known, k]) for k in range(8)], axis=1)
    mean = np.stack([full[max(0, n - 2) : n + 3].mean(0) for n in range(50)])
    assert found == [EXPRESSIONS[mean[frame - 1].argmax()] for frame in frames]
    assert accounts(tmp_path / "mine.txt")["14-30-1920x1080_left"] == {
        "frames": "31",
        "face_and_voice": "3",
        "face_alone": "2",
        "voice_alone": "9",
        "interpolated": "7",
        "copied": "10",
        "no_crop": "26",
    }
