"""What all writers share: what they refuse, and the words of a chart."""

import pytest

from mien.errors import MissingExtraError
from mien.writing import Quiet, caption_of, require, title_of
from some_rows import leaning, row


def test_a_package_that_is_not_there_is_named_with_its_extra():
    require("numpy", "a file", "table")
    with pytest.raises(MissingExtraError, match=r"timeline\.html needs the extra \[report\]"):
        require("no_such_package", "timeline.html", "report")


def test_words_come_from_provenance():
    told = {"file": "folder/clip.mp4", "mien": "0.1.0", "model": "mien-b"}
    assert title_of(told) == "clip.mp4"
    assert caption_of(told).startswith("mien 0.1.0 · model mien-b · ")


def test_a_quiet_writer_takes_what_it_has_no_use_for():
    quiet = Quiet()
    assert quiet.write_row(row(0.0, 1, leaning("Fear"))) is None
    assert quiet.close({}, ()) is None
