"""Prepared corpora: what is written is read again, mapped, and what is not whole or leaks is refused."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.datasets.prepared import LabelledSpan, Recording, is_prepared, read_prepared, write_shard
from mien.errors import DatasetError
from mien.spans import Span


def some_recording(name: str = "a", **changes: Any) -> Recording:
    generator = np.random.default_rng(sum(name.encode()))
    told: dict[str, Any] = {
        "name": name,
        "corpus": "talks",
        "speaker": f"speaker of {name}",
        "split": "train",
        "stretches": (
            LabelledSpan(span=Span(0.0, 1 / 3), label="Fear"),
            LabelledSpan(span=Span(0.5, 1.1), label="Other"),
        ),
        "frame_step": None,
        "crops": generator.integers(0, 256, (3, 16, 16), np.uint8),
        "crop_times": np.array([0.1, 0.2, 1 / 7]),
        "columns": generator.normal(size=(5, 64)).astype(np.float32),
    }
    return Recording(**{**told, **changes})


def write(folder: Path, *shards: list[Recording], files: dict[str, Path] | None = None) -> Path:
    """The folder, which now is a prepared corpus of these shards."""
    for number, recordings in enumerate(shards):
        made = ((each, (files or {}).get(each.name)) for each in recordings)
        told = {"corpus": recordings[0].corpus, "size_px": 16}
        write_shard(folder / f"shard-{number:05d}", made, 16, told)
    (folder / "prepared.json").write_text(json.dumps({"n_shards": len(shards)}), encoding="utf-8")
    return folder


def as_told(recording: Recording) -> dict[str, Any]:
    fields = {name: getattr(recording, name) for name in Recording.__slots__}
    arrays = ("crops", "crop_times", "columns")
    return fields | {name: (fields[name].dtype, fields[name].tolist()) for name in arrays}


def test_recordings_are_read_as_they_were_written(tmp_path: Path) -> None:
    nobody = {"crops": np.zeros((0, 16, 16), np.uint8), "crop_times": np.zeros(0)}
    shards = [
        [some_recording("a"), some_recording("b", **nobody, frame_step=1 / 30, split="val")],
        [some_recording("c", columns=np.zeros((0, 64), np.float32), stretches=())],
    ]
    read = read_prepared(write(tmp_path / "talks", *shards))
    assert [as_told(each) for each in read] == [as_told(each) for shard in shards for each in shard]


def test_features_are_kept_beside_crops_and_columns(tmp_path: Path) -> None:
    told = {"face": {"n_features": 4}, "speech": {"n_features": 3, "rate": 20.0}}
    generator = np.random.default_rng(0)
    seen, heard = (generator.normal(size=shape).astype(np.float32) for shape in ((3, 4), (2, 3)))
    first = some_recording("a", face_features=seen, speech_features=heard)
    second = replace(first, name="b", face_features=seen[::-1])
    shard = tmp_path / "shard-00000"
    given = {"corpus": "talks", "size_px": 16, "extractors": told}
    write_shard(shard, ((each, None) for each in (first, second)), 16, given)
    (tmp_path / "prepared.json").write_text('{"n_shards": 1}')
    for read, written in zip(read_prepared(tmp_path), (first, second), strict=True):
        np.testing.assert_array_equal(read.face_features, written.face_features)
        np.testing.assert_array_equal(read.speech_features, heard)
        assert read.extractors == told
    assert len(np.load(shard / "speech_features.npy")) == 2, "written once"
    for name, array in (("face", np.zeros((5, 4), np.float32)), ("speech", np.zeros((1, 3), np.float32))):
        path = shard / f"{name}_features.npy"
        content = path.read_bytes()
        np.save(path, array)
        with pytest.raises(DatasetError, match=r"shard-00000 is damaged"):
            read_prepared(tmp_path)
        path.write_bytes(content)


def test_arrays_stay_on_disk(tmp_path: Path) -> None:
    [recording] = read_prepared(write(tmp_path, [some_recording()]))
    for array in (recording.crops, recording.columns):
        assert not array.flags.owndata
        assert not array.flags.writeable


def test_an_array_without_rows_keeps_no_file_open(tmp_path: Path) -> None:
    silent = some_recording(columns=np.zeros((0, 64), np.float32))
    read = read_prepared(write(tmp_path, [silent]))
    links = [link.resolve().name for link in Path("/proc/self/fd").iterdir()]
    assert "crops.npy" in links
    assert "columns.npy" not in links
    assert read


def test_two_people_in_one_video_share_its_sound(tmp_path: Path) -> None:
    left = some_recording("left")
    right = some_recording("right", columns=left.columns)
    after = some_recording("after")
    folder = write(tmp_path, [left, right, after])
    assert len(np.load(folder / "shard-00000" / "columns.npy")) == 10
    assert [each.columns.tolist() for each in read_prepared(folder)] == [
        each.columns.tolist() for each in (left, right, after)
    ]


def test_corpora_side_by_side_are_one(tmp_path: Path) -> None:
    write(tmp_path / "b", [some_recording("a", corpus="others")])
    write(tmp_path / "a", [some_recording("a"), some_recording("b")])
    (tmp_path / "notes").mkdir()
    assert [(each.corpus, each.name) for each in read_prepared(tmp_path)] == [
        ("talks", "a"),
        ("talks", "b"),
        ("others", "a"),
    ]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    def break_off() -> Iterator[tuple[Recording, None]]:
        yield some_recording("new"), None
        raise OSError("no space left on device")

    shard = write(tmp_path, [some_recording("old")]) / "shard-00000"
    with pytest.raises(OSError, match="no space left"):
        write_shard(shard, break_off(), 16, {"corpus": "talks", "size_px": 16})
    with pytest.raises(OSError, match="no space left"):
        write_shard(tmp_path / "shard-00001", break_off(), 16, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared.json", "shard-00000"]
    assert [each.name for each in read_prepared(tmp_path)] == ["old"]


@pytest.mark.parametrize("shard", ["shard-00000", ".shard-00000.part"])
@pytest.mark.parametrize("inside", [True, False])
def test_an_unfinished_corpus_is_refused(tmp_path: Path, shard: str, inside: bool) -> None:
    write(tmp_path / "whole", [some_recording()])
    (tmp_path / "half" / shard).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"half was not prepared to its end; run the same  mien prepare"):
        read_prepared(tmp_path / "half" if inside else tmp_path)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", ["prepared.json", "shard-00000/crops.npy", ".shard-00007.part/crops.npy"])
def test_what_is_prepared_is_known_from_what_is_not(tmp_path: Path, name: str, inside: bool) -> None:
    folder = tmp_path / "a" if inside else tmp_path
    (folder / "notes").mkdir(parents=True)
    assert not is_prepared(tmp_path)
    assert not is_prepared(tmp_path / "absent")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    assert is_prepared(tmp_path)


@pytest.mark.parametrize("place", ["empty", "absent", "empty/file.txt"])
def test_what_is_no_prepared_corpus_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file.txt").write_text("hello")
    with pytest.raises(DatasetError, match="is no prepared corpus and holds none"):
        read_prepared(tmp_path / place)


def rewrite(told: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def change(shard: Path) -> None:
        content = json.loads((shard / "recordings.json").read_text())
        told(content)
        (shard / "recordings.json").write_text(json.dumps(content))

    return change


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda shard: shard.rename(shard.parent / "elsewhere"),
    "no list": lambda shard: (shard / "recordings.json").unlink(),
    "half a list": lambda shard: (shard / "recordings.json").write_bytes(b'{"recordings": [{"na'),
    "another list": lambda shard: (shard / "recordings.json").write_bytes(b"[]"),
    "half of the crops": lambda shard: (shard / "crops.npy").write_bytes(
        (shard / "crops.npy").read_bytes()[:300]
    ),
    "no columns": lambda shard: (shard / "columns.npy").write_bytes(b""),
    "other times": lambda shard: np.save(shard / "crop_times.npy", np.zeros(2)),
    "crops of another size": lambda shard: np.save(shard / "crops.npy", np.zeros((3, 8, 8), np.uint8)),
    "columns of another kind": lambda shard: np.save(shard / "columns.npy", np.zeros((5, 64))),
    "fewer crops": rewrite(lambda told: told["recordings"][0].update(crops=[1, 4])),
    "an unknown split": rewrite(lambda told: told["recordings"][0].update(split="test")),
    "an unknown label": rewrite(lambda told: told["recordings"][0].update(stretches=[[0, 1, "Calm"]])),
    "a stretch backwards": rewrite(lambda told: told["recordings"][0].update(stretches=[[1, 0, "Fear"]])),
    "a row without a name": rewrite(lambda told: told["recordings"][0].pop("name")),
    "a row that is none": rewrite(lambda told: told["recordings"].append(3)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_named(tmp_path: Path, damage: str) -> None:
    folder = write(tmp_path, [some_recording("a")], [some_recording("b")])
    DAMAGES[damage](folder / "shard-00001")
    with pytest.raises(DatasetError, match=r"shard-00001 is damaged \(.*\); delete it and run"):
        read_prepared(folder)


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, [some_recording()])
    (folder / "prepared.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"prepared\.json is damaged"):
        read_prepared(folder)


def test_a_speaker_in_two_splits_of_two_corpora_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", [some_recording("a", speaker="Zoë")])
    write(tmp_path / "b", [some_recording("b", speaker="Zoë", corpus="others", split="val")])
    with pytest.raises(DatasetError, match=r"speaker 'Zoë' is in split 'train' and, in b, in 'val'"):
        read_prepared(tmp_path)


def test_a_file_in_two_splits_of_two_corpora_is_refused(tmp_path: Path) -> None:
    files = {"a": Path("/videos/film.mp4")}
    write(tmp_path / "a", [some_recording("a")], files=files)
    write(tmp_path / "b", [some_recording("a", speaker="x", corpus="others", split="val")], files=files)
    with pytest.raises(DatasetError, match=r"file '/videos/film\.mp4' is in split 'train' and, in b"):
        read_prepared(tmp_path)


def test_a_recording_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", [some_recording("a")])
    write(tmp_path / "b", [some_recording("a")])
    with pytest.raises(DatasetError, match=r"talks a is in .*a and in .*b; keep one of them"):
        read_prepared(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"crops": np.zeros((3, 8, 8), np.uint8)}, {"columns": np.zeros((5, 64))}]
)
def test_arrays_of_another_form_are_not_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="cannot take"):
        write(tmp_path, [some_recording(**changes)])
    assert list(tmp_path.iterdir()) == []
