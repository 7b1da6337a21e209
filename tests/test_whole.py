"""A file is there whole or not at all, and its checksum is that of all of it."""

import os
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import whole
from mien.whole import checksum, files_aside, folder_aside, lock, move_in, written_whole

contents = st.binary(max_size=100)


@given(st.none() | contents, contents)
def test_what_is_written_takes_the_place_of_what_was_there(old: bytes | None, new: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        if old is not None:
            path.write_bytes(old)
        with written_whole(path) as aside:
            aside.write_bytes(new)
            assert (path.read_bytes() if path.exists() else None) == old
        assert path.read_bytes() == new
        assert list(path.parent.iterdir()) == [path]


def write_and_fail(path: Path, content: bytes | None, error: BaseException) -> None:
    with written_whole(path) as aside:
        if content is not None:
            aside.write_bytes(content)
        raise error


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("new", [None, b"half of th"])
def test_a_failure_leaves_what_was_there_and_nothing_else(
    error: BaseException, old: bytes | None, new: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "figures.json"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(type(error)):
        write_and_fail(path, new, error)
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == (
        {} if old is None else {"figures.json": old}
    )


def test_a_folder_in_the_place_is_a_failure_too(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.mkdir()
    with pytest.raises(OSError, match="figures"), written_whole(path) as aside:
        aside.write_text("{}")
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_wrote_nothing_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "figures.json"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_is_written_in_the_same_folder_so_that_renaming_is_one_step(tmp_path: Path) -> None:
    with written_whole(tmp_path / "figures.json") as aside:
        assert aside == tmp_path / ".figures.json.part"
        aside.touch()


@pytest.mark.parametrize("error", [None, OSError("no space left on device"), KeyboardInterrupt()])
def test_a_folder_aside_is_gone_whatever_ends_its_context(
    error: BaseException | None, tmp_path: Path
) -> None:
    place = tmp_path / "model"

    def make() -> None:
        with folder_aside(place) as aside:
            assert aside.parent == tmp_path
            assert aside.name.startswith(".model.")
            (aside / "made").mkdir()
            (aside / "made" / "weights").touch()
            if error is not None:
                raise error
            (aside / "made").rename(place)

    if error is None:
        make()
    else:
        with pytest.raises(type(error)):
            make()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ([] if error else ["model", "weights"])


@pytest.mark.skipif(os.name != "posix", reason="elsewhere no folder can be held")
def test_of_folders_aside_what_killed_programs_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    names = (".model.0123abcd.part", ".model.89abcdef.part", ".other.0123abcd.part", ".model.part", "model")
    for name in names:
        (tmp_path / name / "made").mkdir(parents=True)
    held = os.open(tmp_path / names[1], os.O_RDONLY)
    lock(held)  # as a program does that is still writing
    with folder_aside(tmp_path / "model") as aside:
        there = {path.name for path in tmp_path.iterdir()}
    os.close(held)
    assert there == {*names[1:], aside.name}
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:]}


def fill(folder: Path, error: BaseException | None = None) -> None:
    with files_aside(folder, ["b-*", "c"]) as aside:
        for name in ("a", "b-1"):
            (aside / name).write_text("new")
        if error is not None:
            raise error


def test_files_take_their_places_together_and_others_go(tmp_path: Path) -> None:
    for name in ("a", "b-1", "b-2", "d"):
        (tmp_path / name).write_text("old")
    fill(tmp_path)
    there = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert there == {"a": "new", "b-1": "new", "d": "old"}


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyboardInterrupt(), None])
def test_of_files_that_go_together_none_goes_alone(error: BaseException | None, tmp_path: Path) -> None:
    for name in ("a", "b-2"):
        (tmp_path / name).write_text("old")
    (tmp_path / "b-1" / "mine").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(type(error) if error else IsADirectoryError):
        fill(tmp_path, error)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "a").read_text() == (tmp_path / "b-2").read_text() == "old"


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("old", [None, (), ("weights", "more")])
def test_a_folder_that_is_moved_in_replaces_the_old_one(
    exchanges: bool, old: tuple[str, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(whole, "_exchanged", lambda *_: False)
    place = tmp_path / "model"
    if old is not None:
        place.mkdir()
        for name in old:
            (place / name).write_text("old")
    with folder_aside(place) as aside:
        (aside / "made").mkdir()
        (aside / "made" / "weights").write_text("new")
        move_in(aside / "made", place)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {
        "model",
        "model/weights",
    }
    assert (place / "weights").read_text() == "new"


def test_a_folder_that_cannot_be_moved_in_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "model"
    place.mkdir()
    (place / "weights").write_text("old")
    for exchanges in (True, False):
        if not exchanges:
            monkeypatch.setattr(whole, "_exchanged", lambda *_: False)
        with pytest.raises(FileNotFoundError):
            move_in(tmp_path / "absent", place)
        assert [path.name for path in tmp_path.rglob("*")] == ["model", "weights"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two folders cannot change their names at once")
def test_there_is_a_folder_at_every_moment(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.mkdir()
        (path / "named").write_text(path.name)
    absent, over = [], Event()

    def look() -> None:
        while not over.is_set():
            absent.extend(path for path in (one, other) if not path.exists())

    looking = Thread(target=look)
    looking.start()
    for _ in range(501):
        move_in(one, other)
    over.set()
    looking.join()
    assert absent == []
    assert [(path / "named").read_text() for path in (one, other)] == ["other", "one"]


@pytest.mark.parametrize("content", [b"", b"weights", bytes(range(256)) * 5_000])
def test_checksum_is_that_of_the_whole_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(content)
    assert checksum(path) == sha256(content).hexdigest()
