"""Every parser reads or refuses in one line: what once failed, what is right, and changes of that."""

import json
import sys
from pathlib import Path
from random import Random
from zlib import crc32

import pytest

import fuzz
from changes import WORDS, change
from parsers import KEPT, FaultError, Target, fault_of

TARGETS = fuzz.targets()


def kept_of(name: str) -> list[Path]:
    """What once failed."""
    return sorted((KEPT / name).glob("*"))


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_right_is_read_and_what_once_failed_is_refused(name: str, tmp_path: Path) -> None:
    path, seeds = TARGETS[name].begin(tmp_path)
    assert seeds
    for content in (*seeds, *(each.read_bytes() for each in kept_of(name))):
        TARGETS[name].hold(path, content)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_changes_are_read_or_refused(name: str, tmp_path: Path) -> None:
    path, seeds = TARGETS[name].begin(tmp_path)
    random = Random(crc32(name.encode()))
    n_changes = 20 if TARGETS[name].is_slow else 200
    for content in (*WORDS, *(change(random.choice(seeds), seeds, random) for _ in range(n_changes))):
        TARGETS[name].hold(path, content)


def test_kept_inputs_are_of_targets_and_small() -> None:
    kept = [each for each in KEPT.glob("*/*") if each.is_file()]
    assert kept
    assert {each.parent.name for each in kept} <= TARGETS.keys()
    assert sum(each.stat().st_size for each in kept) < 20_000


@pytest.mark.parametrize("told", ["", "a.csv\nis bad", "a.csv \x1b[2J", "it is bad", "a.csv \ud800"])
def test_messages_that_are_wrong_are_found(told: str) -> None:
    assert fault_of(told, ("a.csv",))
    assert not fault_of("a.csv line 2: 'x' is no number", ("a.csv",))


def test_what_a_parser_must_not_do_is_a_fault(tmp_path: Path) -> None:
    def parse(path: Path) -> object:
        return json.loads(path.read_text("utf-8"))

    target = Target(file="a.json", lay=lambda folder: ["{}"], parse=parse)
    path, seeds = target.begin(tmp_path)
    target.hold(path, seeds[0])
    with pytest.raises(FaultError, match="JSONDecodeError") as caught:
        target.hold(path, b"{")
    assert fuzz.kind_of(caught.value) == "JSONDecodeError-nowhere"


def test_runs_are_told_in_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    def ran(name: str, target: Target, place: Path, seconds: int) -> dict[str, object]:
        failed = ["ValueError-spec-1"] if seconds == 2 else []
        return {"name": name, "seconds": seconds, "inputs": 1000, "edges": 7, "failed": failed, "code": 0}

    monkeypatch.setattr(fuzz, "run", ran)
    monkeypatch.setattr(fuzz, "watched_targets", lambda site: TARGETS)
    for seconds, is_wrong in ((1, False), (2, True)):
        words = ["fuzz.py", str(tmp_path), "--seconds", str(seconds), "--only", "spec"]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            fuzz.main()
        assert bool(ended.value.code) is is_wrong
    assert "| spec | 3 | 2,000 | 7 | 1 |" in capsys.readouterr().out
