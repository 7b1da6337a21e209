"""JSON and arrays come as they are; whatever is wrong with them is a ValueError."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.plain import DEEPEST, read_array, read_json


@pytest.mark.parametrize("depth", [1, DEEPEST])
def test_json_is_read_to_a_depth(depth: int) -> None:
    assert str(read_json("[" * depth + "]" * depth)) == "[" * depth + "]" * depth
    assert read_json("1.5") == 1.5


@pytest.mark.parametrize("depth", [DEEPEST + 1, 900, 100_000])
def test_deeper_json_is_refused(depth: int) -> None:
    for begin, end in ("[]", ('{"a":[', "]}")):
        with pytest.raises(ValueError, match="too deep"):
            read_json(begin * depth + "1" + end * depth)


@pytest.mark.parametrize("mapped", [False, True])
@given(at=st.integers(0, 200), put=st.binary(max_size=8))
def test_an_array_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, mapped, at, put) -> None:
    path = tmp_path_factory.mktemp("array") / "a.npy"
    np.save(path, np.arange(12, dtype=np.float32).reshape(3, 4))
    assert read_array(path, mapped=mapped).tolist() == np.arange(12).reshape(3, 4).tolist()
    content = path.read_bytes()
    path.write_bytes(content[:at] + put + content[at + len(put) :])
    with suppress(ValueError):
        read_array(path, mapped=mapped)


def test_an_absent_array_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(b"PK\x03\x04 no pickle, no archive")
    with pytest.raises(ValueError, match=r"no whole \.npy"):
        read_array(tmp_path / "b.npy")
