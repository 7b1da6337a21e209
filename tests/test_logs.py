"""What is logged: one line, where in the code, and of every path the last name alone."""

import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.logs import PathlessFormatter, told_briefly, without_folders

names = st.text("abcxyzäß0-_.", min_size=1, max_size=8).filter(lambda name: name.strip("."))


@given(st.lists(names, min_size=1, max_size=5), names, st.sampled_from(["", "'", '"']))
def test_of_a_path_its_name_is_left(folders: list[str], name: str, quote: str) -> None:
    for path in ("/" + "/".join([*folders, name]), "C:\\" + "\\".join([*folders, name])):
        assert without_folders(f"cannot open {quote}{path}{quote}; mend it") == (
            f"cannot open {quote}{name}{quote}; mend it"
        )


@pytest.mark.parametrize("text", ["12 / 3", "and/or", "a \\n b", "", "half of 1/2 s", "'quoted' words"])
def test_what_is_no_path_stays(text: str) -> None:
    assert without_folders(text) == text


def fail() -> None:
    raise OSError(28, "No space left on device", "/films/of mine/a b.mp4")


def test_an_error_is_told_in_a_line() -> None:
    with pytest.raises(OSError, match="No space") as caught:
        fail()
    assert told_briefly(caught.value).startswith(
        "OSError: [Errno 28] No space left on device: 'a b.mp4' (test_logs.py:"
    )
    assert "/" not in told_briefly(caught.value)
    error = ValueError("one\ntwo")
    assert told_briefly(error) == "ValueError: one two ()"


def test_a_record_holds_no_folder_in_its_traceback_either() -> None:
    try:
        fail()
    except OSError:
        record = logging.getLogger().makeRecord(
            "", logging.ERROR, "", 0, "%s", ("/a/b.mp4",), sys.exc_info(), None
        )
    told = PathlessFormatter("%(levelname)s: %(message)s").format(record)
    assert told.startswith("ERROR: b.mp4\nOSError: [Errno 28] No space left on device: 'a b.mp4' (")
    assert "/" not in told
    assert PathlessFormatter().formatException((None, None, None)) == ""


def test_libraries_log_by_it_too() -> None:
    code = (
        "import logging; from mien.logs import log_without_paths; log_without_paths();"
        "log = logging.getLogger('a'); log.warning('not /tmp/x/y.sock'); log.info('quiet')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("", "WARNING: not y.sock\n")
