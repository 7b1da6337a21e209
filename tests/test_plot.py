"""The chart in pixels."""

import pytest

from mien.lanes import Lanes, Persons
from mien.plot import png
from some_rows import clip, leaning, row

pytest.importorskip("matplotlib", reason="needs the extra [plot]")


def size_px(rows, title="clip.mp4"):
    lanes, persons = Lanes(), Persons()
    for each in rows:
        lanes.add(each)
        persons.add(each)
    picture = png(lanes, persons.close(), title=title, caption="mien")
    assert picture.startswith(b"\x89PNG\r\n")
    return int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])


def test_a_lane_each_for_two_people_and_the_voice():
    assert size_px(clip(4.0)) == (1200, 440)


@pytest.mark.parametrize("title", ["$x_{1$.mp4", "名前 \x00.mp4", ""])
def test_a_single_frame_under_any_title(title):
    assert size_px([row(0.0, 1, leaning("Fear"), flags=("silent",))], title) == (1200, 240)
