"""Where there is no room, or nothing may be written, a verb says so in one line and leaves what was there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from no_room import Place, find_faults, hindrances
from verbs_that_write import OLD, VERBS_THAT_WRITE
from verbs_to_kill import VERBS, read_tree

LONG = {"train", "reproduce", "scale"}
"""Verbs that take long; `train clips` and `prepare` do in little what the first two do."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits files and drops a capability")
@pytest.mark.parametrize("name", sorted(VERBS_THAT_WRITE.keys() - LONG))
def test_where_there_is_no_room_a_verb_says_so_and_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    place = Place(name, tmp_path)
    tried = [(words, attempt()) for words, attempt in hindrances(place, 2, seed=0, mount=False)]
    assert len(tried) >= 5
    assert [each for each in tried if each[1]] == []


@pytest.mark.parametrize(
    ("code", "told", "changes", "faults"),
    [
        (2, "mien: a: File too large\n", {}, []),
        (0, "", {"new.json": "{}"}, []),
        (0, "", {}, ["differs: new.json"]),
        (1, "mien: a\n", {}, ["code 1"]),
        (2, "mien: a\nmien: b\n", {}, [r"says 'mien: a\nmien: b\n'"]),
        (2, "Traceback\n", {}, [r"says 'Traceback\n'"]),
        (2, "mien: a\n", {"old.json": "{}"}, ["not as it was: old.json"]),
        (2, "mien: a\n", {"new.json": "{}"}, []),
        (2, "mien: a\n", {"new.json": "{"}, ["half: new.json"]),
        (2, "mien: a\n", {".new.json.part": "{"}, ["left aside: .new.json.part"]),
    ],
)
def test_faults_are_found(
    code: int, told: str, changes: dict[str, str], faults: list[str], tmp_path: Path
) -> None:
    (tmp_path / "old.json").write_text(OLD)
    old = read_tree(tmp_path)
    for name, text in changes.items():
        (tmp_path / name).write_text(text)
    place = SimpleNamespace(folder=tmp_path, verb=VERBS["analyze"], whole={**old, "new.json": b"{}"})
    assert find_faults(place, old, code, told) == faults
