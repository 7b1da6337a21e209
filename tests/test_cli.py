"""The command line: what it writes, what it says, and that nothing given to it ends in a traceback."""

import csv
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage.data import astronaut

import mien
from command_line import Run, assert_refused
from media_files import flat_frames, tone, write_sound, write_still, write_video
from mien import cli, running, workbench
from mien.predictor import DEFAULT_MODEL, FACE_FILES, SPEECH_FILES, load_model
from mien.readings import ReadingSettings
from mien.report import DEFAULT_FORMATS
from mien.timeline import TimelineSettings
from portraits import hear_speech, music, scene, scenes
from test_timelines import timeline_of

VERBS = (
    "analyze",
    "compare",
    "models",
    "doctor",
    "train",
    "average",
    "prepare",
    "evaluate",
    "export",
    "reproduce",
    "submit",
    "fit-fusion",
    "check-submission",
    "serve",
    "scale",
    "live",
)
REPORT = {"timeline.csv", "timeline.json", "segments.csv", "timeline.svg"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_video(path, scenes((1, (60,)), (0.4, ())), waveform=music(1.4))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "timeline.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_complete(folder: Path) -> list[dict[str, str]]:
    """The rows of a report that is whole: its four files are there, nothing else, and they agree."""
    assert {path.name for path in folder.iterdir()} == REPORT
    rows = table(folder)
    told = json.loads((folder / "timeline.json").read_text(encoding="utf-8"))
    assert len(told["rows"]) == len(rows)
    assert (folder / "timeline.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")
    return rows


def test_analyze_writes_four_files_and_says_where(run: Run, clip: Path, tmp_path: Path) -> None:
    code, out, err = run("analyze", clip, "--out", tmp_path / "report")
    assert (code, err) == (0, "")
    assert f"clip.mp4: 35 frames; report in {tmp_path / 'report'}" in out
    rows = assert_complete(tmp_path / "report")
    assert [int(row["frame"]) for row in rows] == list(range(35))
    assert {row["track_id"] for row in rows} == {"1", ""}


def test_options_reach_the_analysis(run: Run, clip: Path, tmp_path: Path) -> None:
    options = ["--no-voice", "--speaker", "1", "--smooth", "0.2", "--max-gap", "0.1", "--sample-hz", "5"]
    options += ["--low-confidence", "0.7"]
    code, _, _ = run("analyze", clip, "--out", tmp_path, "--formats", "json, csv", *options)
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"timeline.json", "timeline.csv"}
    provenance = json.loads((tmp_path / "timeline.json").read_text())["provenance"]
    assert provenance["reading"]["voice"] is False
    assert provenance["reading"]["sample_hz"] == 5
    asked = ("smooth", "max_gap", "low_confidence", "speaker")
    assert {name: provenance["timeline"][name] for name in asked} == {
        "smooth": 0.2,
        "max_gap": 0.1,
        "low_confidence": 0.7,
        "speaker": 1,
    }
    assert set(FACE_FILES) <= set(provenance["weights_sha256"])
    assert not set(SPEECH_FILES) & set(provenance["weights_sha256"])


def test_several_inputs_get_a_folder_each_and_equal_names_a_number(run: Run, tmp_path: Path) -> None:
    inputs = [tmp_path / name for name in ("a/x.png", "b/x.jpg", "a/X.webp", "a/x-2.png")]
    for path in inputs:
        path.parent.mkdir(exist_ok=True)
        write_still(path, scene(60, height=240, width=300))
    code, out, err = run("analyze", *inputs, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["X-3", "x", "x-2", "x-2-2"]
    for folder in (tmp_path / "out").iterdir():
        assert len(assert_complete(folder)) == 1
    assert out.count("report in") == 4


def test_folder_stands_for_its_media(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in" / "deeper.mp4").mkdir(parents=True)
    write_still(tmp_path / "in" / "b.PNG".lower(), scene(60))
    write_sound(tmp_path / "in" / "a.wav", [(0.0, tone(440, 0.2))])
    (tmp_path / "in" / "notes.txt").write_text("not media")
    code, out, _ = run("analyze", tmp_path / "in", "--out", tmp_path / "out")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    assert "a.wav: sound only" in out
    assert "nobody is seen or heard" in out
    assert "b.png: 1 frame;" in out
    assert "person 1: Happiness, seen 0.00-0.00 s" in out


def test_one_bad_file_among_several_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("not a film")
    write_still(tmp_path / "good.png", scene(60))
    inputs = [tmp_path / "bad.mp4", tmp_path / "nowhere.mp4", tmp_path / "good.png"]
    code, out, err = run("analyze", *inputs, "--out", tmp_path / "out")
    assert code == 2
    assert err.count("\n") == err.count("mien: ") == 2
    assert "good.png" in out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good"]


def test_a_folder_without_media_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    write_still(tmp_path / "full" / "good.png", scene(60))
    code, out, err = run("analyze", tmp_path / "empty", tmp_path / "full", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "empty holds no video" in err
    assert "good.png" in out


def test_what_is_wrong_with_an_option_is_said_once(run: Run, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_still(tmp_path / name, scene(60))
    code, _, err = run("analyze", tmp_path, "--out", tmp_path / "out", "--formats", "docx")
    assert (code, err.count("\n"), err.count("docx")) == (2, 1, 1)


def test_voice_is_heard_and_a_person_seen(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hear_speech(monkeypatch)
    write_sound(tmp_path / "a.wav", [(0.0, tone(440, 2.0))])
    out = run("analyze", tmp_path / "a.wav", "--out", tmp_path / "out")[1]
    assert re.search(r"^  voice: \w+, heard \d\.\d\d-\d\.\d\d s$", out, flags=re.MULTILINE)
    assert "seen" not in out


def test_input_that_its_report_would_replace_is_refused(run: Run, tmp_path: Path) -> None:
    picture = write_still(tmp_path / "timeline.png", scene(60))
    before = picture.read_bytes()
    code, out, err = run("analyze", picture, "--out", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "name another folder" in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"timeline.png": before}


@pytest.fixture
def heeded() -> Iterator[None]:
    """Signals are heeded, also where the tests run in the background, which a shell has ignore some."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heeded")
@pytest.mark.skipif(os.name != "posix", reason="other systems end a program without asking it")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_analysis_that_is_ended_leaves_the_folder_as_it_was(name: str, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", None))
        file.writeframes(bytes(2 * 8000 * 600))
    out = tmp_path / "out"
    out.mkdir()
    (out / "timeline.csv").write_text("an earlier report")
    analysis = subprocess.Popen(
        [sys.executable, "-m", "mien", "analyze", tmp_path / "long.wav", "--out", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    while not list(out.glob(".timeline.csv.*")) and analysis.poll() is None:
        time.sleep(0.01)
    analysis.send_signal(getattr(signal, name))
    told = analysis.communicate(timeout=60)
    assert (analysis.returncode, *told) == (128 + getattr(signal, name), "", "")
    assert {path.name: path.read_text() for path in out.iterdir()} == {"timeline.csv": "an earlier report"}


@pytest.mark.usefixtures("heeded")
@pytest.mark.skipif(os.name != "posix", reason="other systems end a program without asking it")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signal_ends_the_program_though_a_library_makes_an_error_of_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(**_: object) -> None:
        try:
            signal.raise_signal(getattr(signal, name))
        except BaseException as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr(cli, "app", app)
    handler = signal.getsignal(getattr(signal, name))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 128 + getattr(signal, name)
    assert tuple(capsys.readouterr()) == ("", "")
    assert signal.getsignal(getattr(signal, name)) is handler


@pytest.mark.skipif(os.name != "posix", reason="nohup is of POSIX")
def test_analysis_outlives_its_terminal_under_nohup(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", None))
        file.writeframes(bytes(2 * 8000 * 60))
    out = tmp_path / "out"
    analysis = subprocess.Popen(
        ["nohup", sys.executable, "-m", "mien", "analyze", tmp_path / "long.wav", "--out", out],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    while not list(out.glob(".timeline.csv.*")) and analysis.poll() is None:
        time.sleep(0.01)
    analysis.send_signal(signal.SIGHUP)
    assert analysis.wait(timeout=60) == 0
    assert (out / "timeline.csv").is_file()


def write_text(path: Path) -> None:
    path.write_text("This is a letter, and no film.\n" * 100)


def write_cut(path: Path, *, share: float, faststart: bool) -> None:
    """A clip of which the end is missing: of its index too, unless that stands first."""
    whole = path.with_name(f"whole-{path.name}")
    write_video(whole, flat_frames(100), waveform=music(4.0))
    if faststart:
        again = path.with_name(f"again-{path.name}")
        with (
            av.open(str(whole)) as source,
            av.open(str(again), "w", options={"movflags": "faststart"}) as sink,
        ):
            streams = {stream: sink.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream]
                    sink.mux(packet)
        whole.unlink()
        again.rename(whole)
    content = whole.read_bytes()
    whole.unlink()
    path.write_bytes(content[: int(share * len(content))])


def write_cut_jpeg(path: Path) -> None:
    whole = cv2.imencode(".jpg", scene(60)[..., ::-1])[1].tobytes()
    path.write_bytes(whole[: len(whole) // 2])


def write_racing_sound(path: Path) -> None:
    """Sound whose header says that it has 700 million samples a second."""
    content = bytearray(write_sound(path, [(0.0, tone(440, 0.5))]).read_bytes())
    content[24:28] = (700_000_000).to_bytes(4, "little")
    path.write_bytes(content)


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "missing.mp4": lambda path: None,
    "text.mp4": write_text,
    "empty.mp4": lambda path: path.write_bytes(b""),
    "noise.mp4": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "index-lost.mp4": lambda path: write_cut(path, share=0.9, faststart=False),
    "text.png": write_text,
    "text.wav": write_text,
    "cut.jpg": write_cut_jpeg,
    "list.m3u8": lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nother.ts\n"),
    "blip.wav": lambda path: write_sound(path, [(0.0, tone(440, 0.001))]),
    "racing.wav": write_racing_sound,
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_is_no_media_file_is_refused_in_one_line(run: Run, name: str, tmp_path: Path) -> None:
    UNUSABLE[name](tmp_path / name)
    assert_refused(run("analyze", tmp_path / name, "--out", tmp_path / "out"), tmp_path / "out", name)


def test_folder_without_media_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_text(tmp_path / "in" / "letter.txt")
    assert_refused(run("analyze", tmp_path / "in", "--out", tmp_path / "out"), tmp_path / "out", "no video")


def write_broken_sound(path: Path) -> None:
    """Sound of which half the samples are no numbers."""
    waveform = tone(440, 1.0)
    waveform[::2] = np.nan
    write_sound(path, [(0.0, waveform)], codec="pcm_f32le")


USABLE: dict[str, tuple[Callable[[Path], object], int]] = {
    "cut.mp4": (lambda path: write_cut(path, share=0.5, faststart=True), -1),
    "sound-only.mp4": (lambda path: write_sound(path, [(0.0, tone(440, 1.0))], codec="aac"), -1),
    "picture-only.mp4": (lambda path: write_video(path, flat_frames(5)), 5),
    "one-frame.mp4": (lambda path: write_video(path, flat_frames(1)), 1),
    "one-frame.gif": (lambda path: write_video(path, flat_frames(1), codec="gif", pix_fmt="rgb8"), 1),
    "tiny.mp4": (lambda path: write_video(path, flat_frames(5, height=8, width=8)), 5),
    "narrow.mp4": (lambda path: write_video(path, flat_frames(5, height=8, width=640)), 5),
    "broken-sound.wav": (write_broken_sound, 25),
    "silence.wav": (lambda path: write_sound(path, [(0.0, np.zeros(48_000, np.float32))]), 25),
    "silent.mp4": (
        lambda path: write_video(path, flat_frames(5), waveform=np.zeros(9600, np.float32)),
        5,
    ),
    "nobody.mp4": (lambda path: write_video(path, flat_frames(50), waveform=music(2.0)), 50),
    "nobody.png": (lambda path: write_still(path, next(flat_frames(1))), 1),
    "dot.png": (lambda path: write_still(path, np.full((1, 1, 3), 200, np.uint8)), 1),
    "somebody.png": (lambda path: write_still(path, scene(60)), 1),
    "ünïcode 'quoted' & <tagged>, %d *.mp4": (lambda path: write_video(path, flat_frames(5)), 5),
}


@pytest.mark.parametrize("name", USABLE)
def test_odd_file_gives_a_complete_result(run: Run, name: str, tmp_path: Path) -> None:
    write, n_rows = USABLE[name]
    write(tmp_path / name)
    code, out, err = run("analyze", tmp_path / name, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert name in out
    rows = assert_complete(tmp_path / "out")
    assert rows
    assert n_rows in (-1, len(rows))
    if name != "somebody.png":
        assert {row["no_face"] for row in rows} == {"1"}
    times = [float(row["time_s"]) for row in rows]
    assert times == sorted(times)
    assert all(np.isfinite(times))


def test_film_that_breaks_off_is_told_as_far_as_it_goes(run: Run, tmp_path: Path) -> None:
    write_cut(tmp_path / "cut.mp4", share=0.5, faststart=True)
    told = run("analyze", tmp_path / "cut.mp4", "--out", tmp_path / "out")[1]
    provenance = json.loads((tmp_path / "out" / "timeline.json").read_text())["provenance"]
    assert 0 < provenance["frames"] < 100 == round(provenance["duration_s"] * provenance["fps"], -1)
    lacking = provenance["duration_s"] - provenance["frames"] / provenance["fps"]
    assert provenance["missing_s"] == pytest.approx(lacking, abs=0.1)
    assert f"cut short or damaged: {provenance['missing_s']:.2f} s" in told


def test_more_faces_than_are_followed_are_told_and_flagged(run: Run, tmp_path: Path) -> None:
    crowd = np.tile(cv2.resize(astronaut()[:224, 128:352], (180, 180)), (4, 5, 1))
    write_still(tmp_path / "crowd.png", crowd)
    code, out, _ = run("analyze", tmp_path / "crowd.png", "--out", tmp_path / "out")
    assert code == 0
    assert "  frames with more faces than the 16 that are followed: 1\n" in out
    rows = assert_complete(tmp_path / "out")
    assert [row["crowded"] for row in rows] == ["1"] * 16


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--model", "mien-xl"], "mien-b"),
        (["--formats", "csv,docx"], "docx"),
        (["--smooth", "-1"], "smooth"),
        (["--smooth", "nan"], "smooth"),
        (["--max-gap", "inf"], "max_gap"),
        (["--low-confidence", "40"], "low_confidence"),
        (["--sample-hz", "0"], "sample_hz"),
        (["--sample-hz", "inf"], "sample_hz"),
    ],
)
def test_options_that_make_no_sense_are_refused(run: Run, clip: Path, tmp_path: Path, options, word) -> None:
    assert_refused(run("analyze", clip, "--out", tmp_path / "out", *options), tmp_path / "out", word)


def test_report_where_a_file_is_is_refused(run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    code, _, err = run("analyze", clip, "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = run("analyze", clip, "--out", tmp_path / "out" / "deeper")
    assert (code, err.count("\n")) == (2, 1)


def test_tampered_weights_are_refused(run: Run, clip: Path, tmp_path: Path) -> None:
    shutil.copytree(load_model().folder, tmp_path / "mine")
    with (tmp_path / "mine" / "face_encoder.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0\1\2\3")
    result = run("analyze", clip, "--out", tmp_path / "out", "--model", tmp_path / "mine")
    assert_refused(result, tmp_path / "out", "face_encoder.onnx", "sha256")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(run: Run, verb: str) -> None:
    code, out, err = run(verb, "--help")
    assert (code, err) == (0, "")
    assert "Usage" in out
    assert len(out.splitlines()) >= 6


def test_verbs_are_those_listed(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)
    found = set()
    for app in (cli.app, running.app, workbench.app):
        found |= {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
        found |= {str(group.name) for group in app.registered_groups if group.name}
    assert found == set(VERBS)


@pytest.mark.parametrize(
    "arguments", [["analyse"], ["analyze"], ["analyze", "a.mp4"], ["train", "--nonsense"]]
)
def test_wrong_usage_is_said_with_exit_code_2(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("mien: ")
    assert err.endswith("--help\n")


def test_no_verb_is_answered_with_the_list_of_verbs(run: Run) -> None:
    code, _, err = run()
    assert code == 2
    assert all(verb in err for verb in VERBS)
    code, _, err = run("reproduce")
    assert (code, "\n  table1 " in err) == (2, True)


def test_models_tells_terms_of_use(run: Run) -> None:
    code, out, _ = run("models")
    assert code == 0
    assert out.startswith("mien-b")
    assert "BY-NC-SA" in out
    assert out.count("fused by product") == 2


def test_doctor_finds_this_installation_well(run: Run) -> None:
    code, out, _ = run("doctor")
    assert code == 0
    assert "broken" not in out


def test_python_m_mien_is_mien() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mien", "analyze", "nowhere.mp4", "--out", "out"],
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("mien: 'nowhere.mp4' does not exist")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["mien", "mien.cli"])
def test_import_loads_nothing_heavy(module: str) -> None:
    """So that `mien --help` answers at once."""
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    heavy = {"torch", "onnxruntime", "cv2", "av", "numpy", "polars", "matplotlib", "rich", "retinaface"}
    assert heavy & set(done.stdout.split()) == set()


def test_root_names_can_be_imported_and_are_shown_in_an_example() -> None:
    assert mien.__all__ == sorted(set(mien.__all__))
    assert dir(mien) == mien.__all__
    for name in mien.__all__:
        thing = getattr(mien, name)
        own = "" if isinstance(thing, tuple) else thing.__doc__
        assert f"mien.{name}" in (mien.__doc__ or "") or re.search(rf">>> .*\b{name}\(", own), name
        assert isinstance(thing, tuple) or thing.__doc__
    with pytest.raises(AttributeError, match="mien"):
        mien.nothing  # noqa: B018
    scope: dict[str, object] = {}
    exec("from mien import *", scope)
    assert set(mien.__all__) <= set(scope)


def test_names_of_dots_stay_inside_the_folder() -> None:
    files = [Path("in/...mp4"), Path("in/..mp4"), Path("in/.hidden.mp4")]
    assert [folder for _, folder in cli.name_reports(files, Path("out"), print)] == [
        Path("out/_"),
        Path("out/_-2"),
        Path("out/.hidden"),
    ]


def test_defaults_are_those_of_the_library() -> None:
    told = {
        verb.__name__: {name: each.default for name, each in inspect.signature(verb).parameters.items()}
        for verb in (cli.analyze, workbench.evaluate)
    }
    assert told["analyze"]["formats"] == ",".join(DEFAULT_FORMATS)
    assert told["analyze"]["model"] == told["evaluate"]["model"] == DEFAULT_MODEL
    reading, timeline = ReadingSettings(), TimelineSettings()
    assert told["analyze"]["voice"] == reading.voice
    assert told["analyze"]["sample_hz"] == reading.sample_hz
    assert told["analyze"]["smooth"] == timeline.smooth
    assert told["analyze"]["max_gap"] == timeline.max_gap
    assert told["analyze"]["low_confidence"] == timeline.low_confidence
    assert told["analyze"]["speaker"] == timeline.speaker


def test_a_timeline_is_compared_with_what_people_say(run: Run, tmp_path: Path) -> None:
    timeline_of().write(tmp_path / "report", ["elan"])
    (tmp_path / "mine.csv").write_text("start,end,label\n0,1,smile\n1,2,sad\n2,3,hm\n", encoding="utf-8")
    told = str(tmp_path / "report" / "timeline.json")
    words = ["--word", "smile=Happiness", "--word", "hm="]
    code, out, err = run("compare", told, str(tmp_path / "mine.csv"), "--person", "1", *words)
    assert (code, err) == (0, "")
    first, alone, against = out.splitlines()
    assert first == "50.0% of 2.0 s agreed, kappa 0.00"
    assert "only" in alone
    assert against == "  Happiness against Sadness: 1.0 s"
    code, out, _ = run("compare", told, told, "--person", "2")
    assert (code, out.splitlines()[0]) == (0, "100.0% of 2.6 s agreed, kappa none")
    for arguments, word in (
        ([told, told], "persons 1, 2 are in view"),
        ([told, str(tmp_path / "mine.csv"), "--person", "1"], "'hm', 'smile', no name of an expression"),
        ([told, str(tmp_path / "mine.csv"), "--person", "1", "--word", "smile"], "has no '='"),
        ([told, str(tmp_path / "none.eaf"), "--person", "1"], "cannot be read"),
    ):
        assert_refused(run("compare", *arguments), tmp_path / "nothing", word)
