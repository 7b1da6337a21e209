"""What documents show is what happens: their examples are run."""

import doctest
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
PAGES = sorted((HERE / "docs").glob("*.md"))
DOCUMENTS = [path for path in PAGES if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_examples_do_what_they_show(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(HERE / "examples")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(path), module_relative=False, encoding="utf-8")
    assert tried
    assert not failed
