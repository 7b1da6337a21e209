"""Hostile files: what once failed, some of every kind of change, and that a case is always the same file."""

from pathlib import Path

import pytest

from hostile import make_case, write_bases
from torture import FAILED, run_case

ONCE_FAILED = {
    1454: "a header of 700 million samples a second ended in FFmpeg's out-of-memory error",
    6581: "a header of one sample a second never ended",
    54: "a sound of a thousandth of a second gave a table without a row",
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_bases(tmp_path_factory.mktemp("bases"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [*ONCE_FAILED, *range(100, 160)])
def test_a_hostile_file_is_a_table_or_a_line(number: int, bases: list[Path], tmp_path: Path) -> None:
    case = make_case(number, bases, tmp_path)
    told = run_case(case, tmp_path / "out")
    assert told["end"] not in FAILED, told["why"]
    if number in ONCE_FAILED:
        assert told["end"] == "refused"


@pytest.mark.slow
def test_a_case_is_the_same_file_every_time(bases: list[Path], tmp_path: Path) -> None:
    for number in (3, 77, 120, 1454):
        (tmp_path / "again").mkdir(exist_ok=True)
        one, again = (make_case(number, bases, folder).path for folder in (tmp_path, tmp_path / "again"))
        assert one.read_bytes() == again.read_bytes()
