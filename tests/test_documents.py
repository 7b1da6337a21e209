"""What documents show is what happens: their examples are run."""

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import mien
from media_files import flat_frames, write_video
from mien import cli
from mien.errors import MienError
from mien.table import COLUMNS, SCHEMA_VERSION, SEGMENT_COLUMNS

HERE = Path(__file__).parents[1]
PAGES = sorted((HERE / "docs").glob("*.md"))
SHOWN = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""What stands between fences; `sh` and `python` are run as they stand, in a folder with the examples."""
DOCUMENTS = [path for path in PAGES if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_examples_do_what_they_show(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(HERE / "examples")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(path), module_relative=False, encoding="utf-8")
    assert tried
    assert not failed


def shown(path: Path, kind: str) -> list[str]:
    return [text for found, text in SHOWN.findall(path.read_text(encoding="utf-8")) if found == kind]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the examples in it, and with `mien` as a command."""
    (tmp_path / "examples").symlink_to(HERE / "examples")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "mien"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mien "$@"\n')
    command.chmod(0o755)
    return tmp_path


def sh(commands: str, folder: Path) -> None:
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-e", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in PAGES if shown(path, "sh") + shown(path, "python")], ids=lambda path: path.name
)
def test_what_a_page_shows_is_run_from_top_to_bottom(path: Path, folder: Path) -> None:
    if "film.ts" in path.read_text(encoding="utf-8"):  # which something else is writing
        write_video(folder / "film.ts", flat_frames(10), fps=25)
    for kind, text in SHOWN.findall(path.read_text(encoding="utf-8")):
        if kind == "sh":
            sh(text, folder)
        elif kind == "python" and ">>> " not in text:
            sh(f"\"{sys.executable}\" - <<'END'\n{text}\nEND\n", folder)


def commands_of(path: Path) -> Iterator[list[str]]:
    """Every command line of a page that begins with `mien`, in words, its comment left out."""
    for kind, text in SHOWN.findall(path.read_text(encoding="utf-8")):
        if kind in ("", "sh"):
            for line in text.replace("\\\n", " ").splitlines():
                if line.startswith("mien "):
                    yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("path", [*PAGES, HERE / "README.md"], ids=lambda path: path.name)
def test_commands_have_the_verbs_and_options_that_they_name(path: Path) -> None:
    for words in commands_of(path):
        context, command = None, typer.main.get_command(cli.app)
        while hasattr(command, "commands"):
            assert words[0] in command.commands, f"{path.name}: mien has no {words[0]}"
            command, words = command.commands[words[0]], words[1:]
        if "…" in words or "..." in words:
            continue
        try:
            context = command.make_context("mien", list(words), resilient_parsing=False)
        except (cli.UsageError, MienError) as error:
            raise AssertionError(f"{path.name}: {' '.join(words)}: {error}") from error
        assert context is not None


def test_the_page_of_the_table_names_every_column() -> None:
    told = (HERE / "docs" / "table.md").read_text(encoding="utf-8")
    assert f"Schema {SCHEMA_VERSION}." in told
    for columns in (COLUMNS, SEGMENT_COLUMNS):
        lines = [f"| `{name}` | {meaning} |" for name, meaning in columns.items()]
        assert "\n".join(lines) in told


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for tag in re.findall(r"<(?:script|img|iframe|link)[^>]+>", text):
            if "canonical" not in tag:
                assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", tag), (page, tag)
    reference = (tmp_path / "site" / "reference.html").read_text(encoding="utf-8")
    assert all(f'id="mien.{name}"' in reference for name in set(mien.__all__) - {"EXPRESSIONS"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["telling_moments.py", "agree_with_people.py", "films_in_one_table.py"])
def test_an_example_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "examples" / name)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"person 1|kappa|demo\.mp4,Person 1", done.stdout)
    assert done.stderr == ""
