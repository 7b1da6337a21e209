"""A corpus becomes shards: the same ones whatever the workers, whole after any interruption, all told."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpora import write_cremad, write_emodb, write_ferplus, write_own, write_ravdess, write_ravdess_media
from corpora_affwild2 import Person, write_affwild2, write_media
from corpora_pictures import write_affectnet_lists, write_affectnet_sets, write_expw, write_jpg, write_ms1mv2
from media_files import write_sound, write_still, write_video
from mien import prepare as module
from mien.datasets.entries import CORPORA, PrepareSettings
from mien.datasets.prepared import Recording, read_prepared
from mien.detection import RetinaFace
from mien.errors import CheckpointError, DatasetError, InputError
from mien.extractors import FaceExtractor
from mien.faces import find_faces
from mien.media import read_frames
from mien.prepare import prepare
from portraits import PORTRAIT, music, scene, scenes
from some_extractors import FACE_WIDTH, SPEECH_WIDTH, write_face_onnx, write_folder, write_speech_onnx
from test_datasets_unlabelled import write as write_unlabelled

USUAL = PrepareSettings()


def run(
    corpus: str, data: Path, out: Path, settings: PrepareSettings = USUAL, n_workers: int = 1
) -> list[str]:
    return prepare(
        corpus, data, out, settings=settings, n_workers=n_workers, hook=lambda what, done, total: None
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ages(folder: Path) -> dict[str, int]:
    return {shard.name: shard.stat().st_ino for shard in folder.glob("shard-*")}


def write_aff(folder: Path) -> Path:
    people = [Person("v1", [0, 0, 4]), Person("v1_left", [1, -1, 1]), Person("v2", [2, 2])]
    write_affwild2(folder, [*people, Person("v3", [0], of="Validation_Set")])
    write_media(folder / "batch1" / "v1.mp4", n_frames=3)
    return folder


def write_portraits(folder: Path) -> Path:
    """A table of stills with a face each, of which one row names what is no picture."""
    lines = ["path,label,split"]
    for k, split in enumerate(("train", "choose", "val")):
        write_still(folder / f"{k}.png", scene(40 * k))
        lines.append(f"{k}.png,Fear,{split}")
    (folder / "broken.jpg").write_bytes(b"no jpg")
    (folder / "own.csv").write_text("\n".join([*lines, "broken.jpg,Anger,train"]) + "\n")
    return folder / "own.csv"


WRITERS = {
    "affwild2": write_aff,
    "affectnet": write_affectnet_lists,
    "expw": lambda folder: write_expw(folder, n_images=3),
    "ferplus": write_ferplus,
    "ravdess": write_ravdess,
    "emodb": write_emodb,
    "cremad": write_cremad,
    "unlabelled": lambda folder: write_unlabelled(folder, PORTRAIT, PORTRAIT[::-1]),
    "clips": write_portraits,
}


@pytest.mark.parametrize("corpus", WRITERS)
def test_every_corpus_is_prepared(tmp_path: Path, corpus: str) -> None:
    (tmp_path / "data").mkdir()
    data = WRITERS[corpus](tmp_path / "data")
    lines = run(corpus, data, tmp_path / "out")
    recordings = read_prepared(tmp_path / "out")
    assert {each.corpus for each in recordings} == {corpus}
    assert lines[0].startswith(f"{len(recordings)} recordings: ")
    assert all(len(each.crops) == len(each.crop_times) for each in recordings)
    assert all(len(each.crops) or len(each.columns) for each in recordings)
    assert any(each.stretches for each in recordings) == (corpus != "unlabelled")
    told = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert told["recordings"] == len(recordings)
    assert told["crops"] == sum(len(each.crops) for each in recordings)


def test_ms1mv2_is_prepared_by_its_share(tmp_path: Path) -> None:
    write_ms1mv2(tmp_path / "data")
    run("ms1mv2", tmp_path / "data", tmp_path / "out", PrepareSettings(share=0.5, size_px=32))
    recordings = read_prepared(tmp_path / "out")
    assert [each.crops.shape for each in recordings] == [(1, 32, 32)] * 6


def test_the_later_form_of_affectnet_may_be_crops(tmp_path: Path) -> None:
    write_affectnet_sets(tmp_path / "data")
    with pytest.raises(DatasetError, match=r"no recording of affectnet can be used \(15 × no face found\)"):
        run("affectnet", tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out" / "prepared.json").exists()
    run("affectnet", tmp_path / "data", tmp_path / "other", PrepareSettings(crops=True))
    assert len(read_prepared(tmp_path / "other")) == 15


@pytest.mark.parametrize("corpus", ["ravdess_video", "cremad_video"])
def test_sound_alone_is_kept_of_a_video_without_a_face(tmp_path: Path, corpus: str) -> None:
    write_ravdess_media(tmp_path / "data")
    write_cremad(tmp_path / "data")
    lines = run(corpus, tmp_path / "data", tmp_path / "out")
    n = len(read_prepared(tmp_path / "out"))
    assert lines[-1].startswith(f"{n} × no face found in a video: sound alone is kept (first: ")


def test_what_is_skipped_is_told_and_written_down(tmp_path: Path) -> None:
    lines = run("clips", write_portraits(tmp_path), tmp_path / "out")
    assert lines == [
        "3 recordings: 1 train, 1 choose, 1 val; 3 crops; 0.0 min of sound",
        "stretches: Fear 3; 0 recordings without a label",
        "1 × file that cannot be read or decoded (first: own: broken.jpg)",
    ]
    told = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert told["skipped"] == {
        "file that cannot be read or decoded": {"count": 1, "first": "own: broken.jpg"}
    }
    assert told["splits"] == {"train": 1, "choose": 1, "val": 1}


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    told: list[tuple[str, float, float]] = []
    data = write_emodb(tmp_path / "data")
    prepare(
        "emodb",
        data,
        tmp_path / "out",
        settings=USUAL,
        n_workers=1,
        hook=lambda *step: told.append(step),
    )
    assert told[0] == ("preparing emodb", 0, 6)
    assert told[-1] == ("preparing emodb", 6, 6)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert len(told) > 3  # a small corpus has several shards too


def test_people_in_one_video_share_a_shard_and_its_sound(tmp_path: Path) -> None:
    run("affwild2", write_aff(tmp_path / "data"), tmp_path / "out")
    rows = [
        row
        for shard in sorted((tmp_path / "out").glob("shard-*"))
        for row in json.loads((shard / "recordings.json").read_text())["recordings"]
    ]
    left, right = rows[:2]
    assert (left["name"], right["name"]) == ("v1", "v1_left")
    assert left["columns"] == right["columns"] != [0, 0]


def test_any_number_of_workers_makes_the_same(tmp_path: Path) -> None:
    data = write_portraits(tmp_path)
    lines = [run("clips", data, tmp_path / f"out{n}", n_workers=n) for n in (1, 2)]
    assert lines[0] == lines[1]
    assert contents(tmp_path / "out1") == contents(tmp_path / "out2")
    assert len(contents(tmp_path / "out1")) > 9


def test_a_second_run_makes_nothing(tmp_path: Path) -> None:
    data, out = write_emodb(tmp_path / "data"), tmp_path / "out"
    first = run("emodb", data, out)
    before, made = contents(out), ages(out)
    assert run("emodb", data, out) == first
    assert (contents(out), ages(out)) == (before, made)


class Stop(BaseException):
    """What ends a run as a signal would."""


def test_a_run_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    data, out = write_emodb(tmp_path / "data"), tmp_path / "out"
    run("emodb", data, tmp_path / "whole")

    def stop(what: str, done: float, total: float) -> None:
        if done >= 3:
            raise Stop

    with pytest.raises(Stop):
        prepare("emodb", data, out, settings=USUAL, n_workers=1, hook=stop)
    half = out / ".shard-00003.part"
    half.mkdir()
    (half / "crops.npy").write_bytes(b"half of")
    with pytest.raises(DatasetError, match="was not prepared to its end"):
        read_prepared(out)
    made = ages(out)
    assert 0 < len(made) < 6
    run("emodb", data, out)
    assert contents(out) == contents(tmp_path / "whole")
    assert made.items() <= ages(out).items()


KILLED = """
import sys
from pathlib import Path
from mien.datasets.entries import PrepareSettings
from mien.prepare import prepare

if __name__ == "__main__":
    data, out, n = sys.argv[1:]
    prepare("ravdess", Path(data), Path(out), settings=PrepareSettings(), n_workers=int(n), hook=print)
"""


def ends_soon(group: int) -> bool:
    """Whether all processes of a group end within seconds."""
    for _ in range(100):
        told = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
        running = [
            state for line in told.splitlines() for pgid, state in [line.split()] if pgid == str(group)
        ]
        if all(state.startswith("Z") for state in running):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ps") is None, reason="nothing here tells which processes run")
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_run_that_was_killed_goes_on(tmp_path: Path, n_workers: int) -> None:
    data, out = write_ravdess(tmp_path / "data", actors=range(1, 21), duration=3.0), tmp_path / "out"
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    run("ravdess", data, tmp_path / "whole")
    command = [sys.executable, str(script), str(data), str(out), str(n_workers)]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(out.glob("shard-*"))) < 3:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert ends_soon(process.pid), "workers go with the one who sent for them"
    assert not (out / "prepared.json").exists()
    run("ravdess", data, out, n_workers=n_workers)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_full_disk_leaves_finished_shards_and_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = write_emodb(tmp_path / "data"), tmp_path / "out"
    whole = module.write_shard

    def write_until_full(
        folder: Path, made: Iterator[tuple[Recording, Path | None]], size_px: int, told: dict[str, Any]
    ) -> None:
        def fill() -> Iterator[tuple[Recording, Path | None]]:
            yield from made
            if folder.name == "shard-00002":
                raise OSError(28, "No space left on device")

        whole(folder, fill(), size_px, told)

    monkeypatch.setattr(module, "write_shard", write_until_full)
    with pytest.raises(OSError, match="No space left"):
        run("emodb", data, out)
    assert sorted(path.name for path in out.iterdir()) == ["shard-00000", "shard-00001"]
    monkeypatch.undo()
    run("emodb", data, out)
    run("emodb", data, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_disk_that_is_full_in_a_worker_is_an_error_here(tmp_path: Path) -> None:
    data, out = write_emodb(tmp_path / "data"), tmp_path / "out"
    out.mkdir()
    (out / "shard-00000").write_text("a file where a shard is to be")
    with pytest.raises(NotADirectoryError):
        run("emodb", data, out, n_workers=2)
    assert not list(out.glob(".*"))


def test_files_that_changed_since_are_prepared_anew(tmp_path: Path) -> None:
    data, out = write_portraits(tmp_path), tmp_path / "out"
    run("clips", data, out)
    made = ages(out)
    write_still(tmp_path / "1.png", scene(200))
    run("clips", data, out)
    changed = [name for name, number in ages(out).items() if number != made[name]]
    assert len(changed) == 1
    run("clips", data, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_shards_of_files_that_are_gone_go(tmp_path: Path) -> None:
    data, out = write_portraits(tmp_path), tmp_path / "out"
    run("clips", data, out)
    data.write_text("".join(data.read_text().splitlines(keepends=True)[:-2]))
    run("clips", data, out)
    assert len(read_prepared(out)) == 2
    run("clips", data, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_a_damaged_list_is_made_anew(tmp_path: Path) -> None:
    data, out = write_emodb(tmp_path / "data"), tmp_path / "out"
    run("emodb", data, out)
    before = contents(out)
    (out / "shard-00001" / "recordings.json").write_text("{")
    run("emodb", data, out)
    assert contents(out) == before


def test_other_settings_in_one_folder_are_refused(tmp_path: Path) -> None:
    data, out = write_portraits(tmp_path), tmp_path / "out"
    run("clips", data, out)
    before = contents(out)
    with pytest.raises(DatasetError, match=r"was prepared with size_px 48; name another folder with --out"):
        run("clips", data, out, PrepareSettings(size_px=64))
    write_emodb(tmp_path / "emodb")
    with pytest.raises(DatasetError, match=r"was prepared with corpus 'clips', data '.*own\.csv'"):
        run("emodb", tmp_path / "emodb", out)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("corpus", "settings", "told"),
    [
        ("emodb", {"size_px": 64}, "size_px is 64, which emodb does not heed"),
        ("expw", {"share": 0.5}, "share is 0.5, which expw does not heed"),
        ("ravdess_video", {"crops": True}, "crops is True, which ravdess_video does not heed"),
        ("cremad", {"seed": 3}, "seed is 3, which cremad does not heed"),
        ("aff-wild", {}, "'aff-wild' is no corpus; expected one of affwild2, affectnet"),
    ],
)
def test_what_would_not_be_heeded_is_refused(
    tmp_path: Path, corpus: str, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        run(corpus, tmp_path, tmp_path / "out", PrepareSettings(**settings))
    assert not (tmp_path / "out").exists()


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers are 0; expected 1 or more"):
        run("emodb", tmp_path, tmp_path / "out", n_workers=0)


def test_data_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for corpus in CORPORA:
        with pytest.raises(DatasetError, match=f"is not there; give the folder of {corpus}"):
            run(corpus, tmp_path / "nowhere", tmp_path / "out")


def sizes(n: int, cost: int, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Sequence[int]:
    monkeypatch.setattr(module, "SHARD_COST", cost)
    for k in range(n):
        write_jpg(folder / "image" / f"{k:03d}.jpg", seed=k)
    lines = [f"{k:03d}.jpg 0 0 0 9 9 50 0" for k in range(n)]
    (folder / "label.lst").write_text("\n".join(lines))
    entries, _ = CORPORA["expw"].entries(folder, USUAL)
    return [len(shard) for shard in module._deal_out(entries)]


@pytest.mark.parametrize(("n", "cost", "expected"), [(5, 99, [1] * 5), (40, 99, [2] * 20), (40, 1, [1] * 40)])
def test_small_corpora_are_cut_into_sixteen_at_least_where_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, cost: int, expected: Sequence[int]
) -> None:
    assert sizes(n, cost, monkeypatch, tmp_path) == expected


def test_an_own_table_of_all_kinds_is_prepared(tmp_path: Path) -> None:
    lines = run("clips", write_own(tmp_path), tmp_path / "out")
    names = [each.name for each in read_prepared(tmp_path / "out")]
    assert names == ["clips: talks/Zoë, 1.wav", "clips: film.mp4"]
    assert any("no face found (first: clips: face.png)" in line for line in lines)
    assert np.isfinite(np.concatenate([each.columns for each in read_prepared(tmp_path / "out")])).all()


def write_talks(folder: Path) -> Path:
    """A table of a video of 0.4 s with face and sound, a still, and a sound."""
    write_video(folder / "talk.mp4", scenes((0.4, (100,))), waveform=music(0.4))
    write_still(folder / "still.png", scene(40))
    write_sound(folder / "sound.wav", [(0.0, music(0.8))])
    rows = "path,label,split\ntalk.mp4,Fear,train\nstill.png,Anger,choose\nsound.wav,Fear,val\n"
    (folder / "own.csv").write_text(rows)
    return folder / "own.csv"


def test_an_extractor_sees_what_analysis_would_show_it(tmp_path: Path) -> None:
    data = write_talks(tmp_path)
    face, speech = write_face_onnx(tmp_path / "x"), write_speech_onnx(tmp_path / "x")
    settings = PrepareSettings(face_extractor=face, speech_extractor=speech)
    run("clips", data, tmp_path / "with", settings)
    run("clips", data, tmp_path / "without")
    extractor = FaceExtractor(face)
    talk, still, sound = read_prepared(tmp_path / "with")
    for each, plain in zip((talk, still, sound), read_prepared(tmp_path / "without"), strict=True):
        np.testing.assert_array_equal(each.crops, plain.crops)
        np.testing.assert_array_equal(each.columns, plain.columns)
        assert plain.face_features is None
        assert plain.extractors == {}
        assert each.extractors["face"] == extractor.told
        assert each.face_features is not None
        assert each.face_features.shape == (len(each.crops), FACE_WIDTH)
        assert each.speech_features is not None
        assert each.speech_features.shape == (round(len(each.columns) / 8), SPEECH_WIDTH)
    looked = find_faces(read_frames(tmp_path / "talk.mp4"), extractor.template, detector=RetinaFace())
    seen = [extractor(frame.faces[0].crop) for frame in looked if frame.faces]
    np.testing.assert_allclose(talk.face_features, seen, atol=1e-5)
    assert np.ptp(np.stack([seen[0], still.face_features[0]]), axis=0).max() > 1e-3


def test_with_extractors_any_number_of_workers_makes_the_same(tmp_path: Path) -> None:
    data = write_talks(tmp_path)
    settings = PrepareSettings(
        face_extractor=write_face_onnx(tmp_path / "x"), speech_extractor=write_speech_onnx(tmp_path / "x")
    )
    lines = [run("clips", data, tmp_path / f"out{n}", settings, n_workers=n) for n in (1, 2)]
    assert lines[0] == lines[1]
    assert contents(tmp_path / "out1") == contents(tmp_path / "out2")
    assert "shard-00000/face_features.npy" in contents(tmp_path / "out1")


def test_another_extractor_in_one_folder_is_refused(tmp_path: Path) -> None:
    data, out = write_talks(tmp_path), tmp_path / "out"
    run("clips", data, out, PrepareSettings(face_extractor=write_face_onnx(tmp_path / "a")))
    before = contents(out)
    moved = PrepareSettings(face_extractor=write_face_onnx(tmp_path / "b"))
    run("clips", data, out, moved)  # the same, elsewhere
    assert contents(out) == before
    others = (
        USUAL,
        PrepareSettings(face_extractor=write_face_onnx(tmp_path / "c", mean=[0])),
        replace(moved, speech_extractor=write_speech_onnx(tmp_path / "b")),
    )
    for settings in others:
        with pytest.raises(DatasetError, match=r"was prepared with (face|speech)_extractor .*; name another"):
            run("clips", data, out, settings)
    assert contents(out) == before


def test_features_of_a_folder_are_those_of_each_crop_s_time(tmp_path: Path) -> None:
    data = write_talks(tmp_path)
    rows = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    lacking = rows.copy()
    lacking[:3] = np.nan
    sounds = {"own: talk.mp4": rows[:4], "own: sound.wav": rows[:8]}
    speech = write_folder(tmp_path / "speech", "speech", 10, sounds)
    faces = {"own: talk.mp4": lacking, "own: still.png": rows[:1]}
    face = write_folder(tmp_path / "face", "face", 25, faces)
    settings = PrepareSettings(face_extractor=face, speech_extractor=speech)
    lines = run("clips", data, tmp_path / "out", settings)
    talk, still, sound = read_prepared(tmp_path / "out")
    times = np.arange(0, 10, 2) / 25
    np.testing.assert_allclose(talk.crop_times, times[2:], atol=1e-6)
    np.testing.assert_array_equal(talk.face_features, rows[4::2])
    assert len(talk.crops) == 3
    assert "1 × faces without features: left out (first: own: talk.mp4)" in lines
    np.testing.assert_array_equal(still.face_features, rows[:1])
    np.testing.assert_array_equal(sound.speech_features, rows[:8])
    np.testing.assert_array_equal(talk.speech_features, rows[:4])


@pytest.mark.parametrize("n_workers", [1, 2])
def test_features_that_do_not_fit_a_recording_stop_it(tmp_path: Path, n_workers: int) -> None:
    data = write_talks(tmp_path)
    rows = np.ones((30, 4), np.float32)
    face = write_folder(tmp_path / "face", "face", 25, {"own: talk.mp4": rows, "own: still.png": rows[:1]})
    with pytest.raises(DatasetError, match=r"0\.npy has 30 rows; expected 10\.0, 25 a second of 0\.40 s"):
        run("clips", data, tmp_path / "out", PrepareSettings(face_extractor=face), n_workers=n_workers)
    assert not (tmp_path / "out" / "prepared.json").exists()


def test_sound_that_is_no_number_is_refused(tmp_path: Path) -> None:
    data = write_talks(tmp_path)
    rows = np.full((8, 4), np.nan, np.float32)
    speech = write_folder(tmp_path / "s", "speech", 10, {"own: talk.mp4": rows[:4], "own: sound.wav": rows})
    with pytest.raises(DatasetError, match=r"features of 'own: \w+\.\w+' that are no numbers; mend them"):
        run("clips", data, tmp_path / "out", PrepareSettings(speech_extractor=speech))


def test_an_extractor_that_is_not_what_it_says_stops_before_anything_is_made(tmp_path: Path) -> None:
    data = write_talks(tmp_path)
    face = write_face_onnx(tmp_path / "x", n_features=9)
    with pytest.raises(CheckpointError, match=r"face\.json says 1 × 9"):
        run("clips", data, tmp_path / "out", PrepareSettings(face_extractor=face))
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"face_extractor is .*face\.onnx, which emodb does not heed"):
        run("emodb", tmp_path, tmp_path / "out", PrepareSettings(face_extractor=face))
