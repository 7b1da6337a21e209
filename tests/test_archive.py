"""Sources are found, their tables named and put in place; the manifest says what became of them."""

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import fsspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mien.archive as module
from mien.archive import (
    Archive,
    Entry,
    Settings,
    find_sources,
    local_copy,
    name_tables,
    open_address,
    put_table,
    size_of,
)
from mien.errors import InputError
from mien.readings import ReadingSettings
from mien.timeline import TimelineSettings

SUFFIXES = {".mp4", ".wav"}


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Three files that might be films, deep in folders, and two that are not."""
    for name in ("a.mp4", "sub/b c.MP4", "sub/deep/c.wav", "sub/notes.pdf", "d.txt"):
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return tmp_path / "films"


def names(found: dict[str, str], films: Path) -> list[str]:
    return [Path(each).relative_to(films).as_posix() for each in found]


def test_a_folder_is_searched_whole(films: Path) -> None:
    assert names(find_sources(str(films), SUFFIXES), films) == ["a.mp4", "sub/b c.MP4", "sub/deep/c.wav"]


def test_a_pattern_and_a_file_take_whatever_they_name(films: Path) -> None:
    assert names(find_sources(f"{films}/**/*.pdf", SUFFIXES), films) == ["sub/notes.pdf"]
    assert names(find_sources(f"{films}/*.mp4", SUFFIXES), films) == ["a.mp4"]
    assert names(find_sources(f"{films}/sub/notes.pdf", SUFFIXES), films) == ["sub/notes.pdf"]


def test_a_file_whose_name_is_a_pattern_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a[1].mp4").write_bytes(b"x")
    (tmp_path / "a1.mp4").write_bytes(b"x")
    assert find_sources(str(tmp_path / "a[1].mp4"), SUFFIXES) == {
        str(tmp_path / "a[1].mp4"): "source=a%5B1%5D.mp4"
    }


@pytest.mark.parametrize("kind", ["txt", "csv", "parquet"])
def test_lists_name_sources_once_each(kind: str, tmp_path: Path) -> None:
    wanted, place = ["/x/b.mp4", "/x/a.mp4", "/x/b.mp4"], tmp_path / f"list.{kind}"
    if kind == "parquet":
        pl.DataFrame({"path": wanted, "who": ["p", "q", "p"]}).write_parquet(place)
    elif kind == "csv":
        place.write_text("who,path\n" + "".join(f"p,{path}\n" for path in wanted))
    else:
        place.write_text("\ufeff" + "\n".join(["", *wanted, ""]), encoding="utf-8")
    assert find_sources(str(place), SUFFIXES) == {
        "/x/a.mp4": "source=x%2Fa.mp4",
        "/x/b.mp4": "source=x%2Fb.mp4",
    }


def test_what_a_list_names_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("sub/a.mp4\nmemory://films/b.mp4\n")
    assert find_sources("list.txt", SUFFIXES) == {
        str(tmp_path / "sub" / "a.mp4"): "source=sub%2Fa.mp4",
        "memory:///films/b.mp4": "source=memory%3A%2F%2Ffilms%2Fb.mp4",
    }
    with Archive("out", Settings()) as archive:
        assert archive.address == str(tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", b""),
        ("list.txt", b"\n \n"),
        ("list.txt", b"\xff\xfe\x00"),
        ("list.csv", b"file,who\na.mp4,p\n"),
        ("list.csv", b"path\n"),
        ("list.parquet", b"not one"),
    ],
)
def test_a_list_of_nothing_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="names no videos"):
        find_sources(str(tmp_path / name), SUFFIXES)


@pytest.mark.parametrize("given_", ["nowhere", "*.mp4", "empty"])
def test_nothing_is_refused(given_: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing to analyze"):
        find_sources(str(tmp_path / given_), SUFFIXES)


def test_an_unknown_kind_of_address_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        open_address("nonsense://bucket/films")


def test_sources_of_another_file_system_keep_their_address() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/films/a.mp4", b"12345")
    assert find_sources("memory://films", SUFFIXES) == {"memory:///films/a.mp4": "source=a.mp4"}
    assert size_of("memory:///films/a.mp4") == 5
    assert size_of("memory:///films/b.mp4") == 0


def test_a_copy_is_made_of_what_lies_elsewhere_and_goes_again(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/films/copy me.mp4", b"12345")
    with local_copy("memory:///films/copy me.mp4", tmp_path) as path:
        assert (path.name, path.read_bytes()) == ("copy me.mp4", b"12345")
    assert not list(tmp_path.iterdir())
    (tmp_path / "here.mp4").write_bytes(b"x")
    with local_copy(str(tmp_path / "here.mp4"), tmp_path) as path:
        assert path == tmp_path / "here.mp4"
    assert path.exists()
    with pytest.raises(InputError, match="gone"), local_copy("memory:///films/gone.mp4", tmp_path):
        pass


@settings(deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=90), unique=True
    )
)
def test_no_two_sources_share_a_table(last: list[str]) -> None:
    kept = [each for each in last if each not in {".", ".."}]
    sources = {f"/films/{each}" for each in kept} | {f"/films/sub/{each}" for each in kept}
    folders = [*name_tables(sources, "/films").values()]
    assert len(set(folders)) == len(sources)
    for folder in folders:
        assert len(folder.encode()) <= 255
        assert "/" not in folder
        assert folder.startswith("source=")


def test_what_comes_in_later_changes_no_name(films: Path) -> None:
    before = find_sources(str(films / "sub"), SUFFIXES)
    assert [*before.values()] == ["source=b%20c.MP4", "source=deep%2Fc.wav"]
    (films / "sub" / "later").mkdir()
    (films / "sub" / "later" / "d.mp4").touch()
    after = find_sources(str(films / "sub"), SUFFIXES)
    assert before.items() < after.items()
    assert find_sources(f"{films}/sub/**/*.[wm]*", SUFFIXES).items() <= after.items()
    assert find_sources(f"{films}/sub/deep/c.wav", SUFFIXES) == {f"{films}/sub/deep/c.wav": "source=c.wav"}


def entry(source: str, **changes: object) -> Entry:
    made = Entry(
        source=source,
        status="done",
        seconds=1.5,
        size_bytes=5,
        rows=3,
        frames=2,
        duration_s=0.08,
        file_sha256="ab",
        table="source=a.mp4/timeline.parquet",
        table_bytes=7,
        table_sha256="cd",
    )
    return replace(made, **changes)


def put(archive: Path, tmp_path: Path) -> str:
    table = tmp_path / "timeline.parquet"
    table.write_bytes(b"a table")
    return put_table(str(archive), "source=a.mp4", table)


def test_what_is_noted_is_there_for_the_next_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Archive(str(out), Settings()) as archive:
        assert archive.entries == {}
        assert put(out, tmp_path) == "source=a.mp4/timeline.parquet"
        archive.note(entry("b", status="failed", error='a "bad", one', table=""))
        archive.note(entry("a"))
        archive.write_manifest()
    with (out / "manifest.csv").open(newline="") as file:
        lines = [*csv.DictReader(file)]
    assert [line["source"] for line in lines] == ["a", "b"]
    assert lines[0] == {name: str(value) for name, value in asdict(entry("a")).items()}
    with Archive(str(out), Settings()) as archive:
        assert archive.entries["a"] == entry("a")
        assert archive.entries["b"].error == 'a "bad", one'
        assert archive.is_whole("a", "source=a.mp4", 5)
        assert not archive.is_whole("a", "source=a.mp4", 6), "the source has changed"
        assert not archive.is_whole("a", "source=x.mp4", 5), "its table is to stand elsewhere"
        assert not archive.is_whole("b", "source=b.mp4", 5), "it failed"
        assert not archive.is_whole("c", "source=c.mp4", 5)
        (out / "source=a.mp4" / "timeline.parquet").write_bytes(b"a tab")
        assert not archive.is_whole("a", "source=a.mp4", 5), "its table is cut short"
        (out / "source=a.mp4" / "timeline.parquet").unlink()
        assert not archive.is_whole("a", "source=a.mp4", 5)


def test_the_manifest_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    with Archive(str(tmp_path), Settings()) as archive:
        archive.note(entry("a"))
        assert not (tmp_path / "manifest.csv").exists()
        now[0] = 6.0
        archive.note(entry("b"))
        assert (tmp_path / "manifest.csv").read_text().count("\n") == 3
        archive.note(entry("c"))
        assert (tmp_path / "manifest.csv").read_text().count("\n") == 3


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    other = Archive(str(tmp_path), Settings())
    with Archive(str(tmp_path), Settings()), pytest.raises(InputError, match="another run"):
        other.__enter__()
    with Archive(str(tmp_path), Settings()):
        pass


@pytest.mark.parametrize(
    "other",
    [
        Settings(reading=ReadingSettings(model="mien-s")),
        Settings(reading=ReadingSettings(sample_hz=5.0)),
        Settings(timeline=TimelineSettings(smooth=0.0)),
    ],
)
def test_tables_made_otherwise_are_not_mixed(other: Settings, tmp_path: Path) -> None:
    with Archive(str(tmp_path), Settings()):
        pass
    before = (tmp_path / "settings.json").read_bytes()
    with pytest.raises(InputError, match="other settings"), Archive(str(tmp_path), other):
        pass
    assert (tmp_path / "settings.json").read_bytes() == before
    with Archive(str(tmp_path), Settings(reading=ReadingSettings(n_threads=1))):
        pass


@pytest.mark.parametrize("name", ["manifest.csv", "settings.json"])
@pytest.mark.parametrize("content", ["nonsense", "source,what\na,b\n", 'source,rows\n"a'])
def test_a_manifest_of_somebody_else_is_refused(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    if (name, content) == ("manifest.csv", "nonsense"):  # a header alone
        content = "nonsense\nline\n"
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match="not what mien writes"), Archive(str(tmp_path), Settings()):
        pass
    assert (tmp_path / name).read_text() == content


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file"), Archive(str(tmp_path / "file" / "out"), Settings()):
        pass


def test_a_table_that_cannot_be_put_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.mv", full)
    with pytest.raises(OSError, match="No space"):
        put(tmp_path / "out", tmp_path)
    assert not list((tmp_path / "out" / "source=a.mp4").iterdir())


def test_a_manifest_that_finds_no_room_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_: object, place: str, content: bytes) -> None:
        Path(place).write_bytes(content[:1])
        raise OSError(28, "No space left on device")

    with Archive(str(tmp_path), Settings()) as archive, monkeypatch.context() as patched:
        patched.setattr("fsspec.implementations.local.LocalFileSystem.pipe_file", half)
        with pytest.raises(InputError, match="No space"):
            archive.write_manifest()
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))


def test_what_killed_runs_left_aside_is_deleted(tmp_path: Path) -> None:
    table = tmp_path / "source=a.mp4" / ".timeline.parquet.0123abcd.part"
    mine = [tmp_path / ".notes.part", table.with_name("timeline.parquet.part")]
    left = [table, tmp_path / ".manifest.csv.0123abcd.part"]
    table.parent.mkdir()
    for path in (*mine, *left):
        path.write_text("half")
    with Archive(str(tmp_path), Settings()):
        put(tmp_path, tmp_path)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in mine)


def test_two_writers_of_a_table_are_not_in_each_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that a cluster takes for dead may still be writing when another does its piece again."""
    moves = []
    monkeypatch.setattr(
        "fsspec.implementations.local.LocalFileSystem.mv", lambda _, aside, place: moves.append(aside)
    )
    for _ in range(2):
        put(tmp_path / "out", tmp_path)
    assert len(set(moves)) == 2


def test_settings_say_what_changes_a_table(tmp_path: Path) -> None:
    with Archive(str(tmp_path), Settings()):
        pass
    told = json.loads((tmp_path / "settings.json").read_text())
    assert told["model"] == "mien-b"
    assert told["reading"]["sample_hz"] == 12.5
    assert "n_threads" not in told["reading"]
    assert set(told["weights_sha256"]) >= {"face_encoder.onnx", "speech_encoder.onnx"}
