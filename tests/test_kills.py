"""A command that was killed leaves nothing half, and run again it leaves what it always does."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from kills import PATIENCE, Commands, Trial, deal_out, end, processes_of, write_report
from verbs_to_kill import VERBS, find_halves, is_final, is_whole

LONGEST = 45.0
"""Seconds after which no more moments are begun."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_an_analysis_that_is_killed_and_run_again_is_an_undisturbed_one(tmp_path: Path) -> None:
    trial = Trial("analyze", tmp_path, seed=0)
    assert not trial.by_nature
    assert {"out/timeline.csv", "out/timeline.json"} < trial.undisturbed.keys()
    told = [trial.run(2), trial.run(4)]  # in the last instants, and when a file has just got its name
    assert [each["kind"] for each in told] == ["last", "name"]
    assert not any(each["failed"] for each in told), "\n".join(write_report(told))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("name", ["export", "replace", "submit"])
def test_what_writes_a_folder_is_killed_and_run_again(name: str, tmp_path: Path) -> None:
    """When a file has just got its name, in the last instants, and anywhere; as many as there is time for."""
    until = time.monotonic() + LONGEST
    trial = Trial(name, tmp_path, seed=0)
    told = [trial.run(number) for number in (4, 2, 5, 3) if number == 4 or time.monotonic() < until]
    assert told[0]["phase"] == "within"
    assert not any(each["failed"] for each in told), "\n".join(write_report(told))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_worker_that_is_just_starting_when_all_is_killed_ends_by_itself(tmp_path: Path) -> None:
    """Ray's workers are in groups of their own, and one that has no cluster yet waits for it for 25 s."""
    pytest.importorskip("ray")
    given = tmp_path / "given"
    given.mkdir()
    VERBS["scale"].give(given)
    commands = Commands(VERBS["scale"], given)
    with commands.temporary() as temporary:
        process = commands.start(tmp_path, temporary)
        until = time.monotonic() + PATIENCE
        while not has_worker(process.pid) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert process.poll() is None
        assert end(process) == []


def has_worker(session: int) -> bool:
    """Whether a worker of Ray has begun in a session."""
    for number in processes_of(session):
        with suppress(OSError):
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            if b"raylet" not in words[0] and any(word.endswith(b"default_worker.py") for word in words):
                return True
    return False


def test_of_what_is_replaced_all_is_old_or_all_is_new() -> None:
    verb = VERBS["replace"]
    old = {"out/": b"", "out/manifest.json": b"{}"}
    new = {"out/": b"", "out/manifest.json": b"[]", "out/face.safetensors": b"x"}
    assert find_halves(verb, old | {".out.0123abcd.part/": b""}, new, old) == []
    assert find_halves(verb, new, new, old) == []
    assert find_halves(verb, {}, new, old) == ["out/", "out/manifest.json"]
    mixed = old | {"out/face.safetensors": b"x"}
    assert find_halves(verb, mixed, new, old) == ["out/face.safetensors"]


def test_a_half_file_is_found_only_under_a_final_name() -> None:
    verb, whole = VERBS["train"], {"out/": b"", "out/history.json": b"[1, 2]", "out/face.safetensors": b"x"}
    assert find_halves(verb, whole, whole, {}) == []
    assert find_halves(verb, {"out/": b"", "out/history.json": b"[1]"}, whole, {}) == []
    there = {"out/history.json": b"[1, ", "out/.face.safetensors.part": b"", "out/tensorboard/events": b"1"}
    assert find_halves(verb, there, whole, {}) == ["out/history.json"]
    assert find_halves(verb, {"out/face.safetensors": b"", "tmp1/a.onnx": b"x"}, whole, {}) == [
        "out/face.safetensors",
        "tmp1/a.onnx",
    ]


@pytest.mark.parametrize(
    ("name", "content", "whole"),
    [
        ("a.csv", b"a,b\n1,2\n", True),
        ("a.csv", b"a,b\n1,2", False),
        ("a.csv", b"a,b\n1\n", False),
        ("a.json", b"{", False),
        ("a.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", True),
        ("a.safetensors", b"\x08\0\0\0", False),
        ("a.npy", b"\x93NUMPY", False),
        ("a.unknown", b"", False),
    ],
)
def test_what_can_be_read_to_its_end_is_whole(name: str, content: bytes, whole: bool) -> None:
    assert is_whole(name, content) is whole


def test_names_that_are_not_final() -> None:
    names = (
        "a/b.json",
        "a/.b.json.part",
        ".a.0123abcd.part/b.json",
        "a/b.parquet.part",
        "a/b.old",
        "a/b.tmp",
    )
    assert [is_final(name) for name in names] == [True, *[False] * 5]


def test_moments_are_dealt_out_by_weight() -> None:
    dealt = deal_out(200, list(VERBS))
    assert len(dealt) == 200
    assert {name: sum(each == name for each, _ in dealt) for name in VERBS} == {
        name: verb.weight for name, verb in VERBS.items()
    }
