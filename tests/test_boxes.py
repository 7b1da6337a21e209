"""Boxes of one's own are looked at, and nothing else; who they are is told or found."""

from pathlib import Path

import numpy as np
import pytest

from media_files import write_video
from mien.boxes import follow_boxes, read_boxes
from mien.errors import InputError
from mien.faces import Template
from mien.media import read_frames
from mien.pipeline import analyze
from mien.readings import ReadingSettings
from mien.tracking import Tracker
from portraits import scene, scenes
from test_faces import SpotDetector, draw, film

TEMPLATE = Template(32)


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_by_frame(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.csv", "\ufeffframe,track_id,x1,y1,x2,y2,more\n0,7,1,2,3,4,\n0,8,5,6,7,8.5,x\n3,,,,,,\n"
    )
    boxes = read_boxes(path)
    assert {frame: [each.track_id for each in of_frame] for frame, of_frame in boxes.items()} == {
        0: [7, 8],
        3: [],
    }
    assert boxes[0][1].box.tolist() == [5, 6, 7, 8.5]


@pytest.mark.parametrize(
    "text, words",
    [
        ("x1,y1,x2,y2\n1,2,3,4\n", r"a\.csv lacks frame; a table of boxes has"),
        ("", "lacks frame, x1, x2, y1, y2"),
        ("frame,x1,y1,x2,y2\n-1,1,2,3,4\n", "line 2: '-1' is no whole number of 0 or more"),
        ("frame,x1,y1,x2,y2\n0,3,2,3,4\n", r"line 2: the box 3, 2, 3, 4 is none"),
        ("frame,x1,y1,x2,y2\n0,nan,2,3,4\n", "the box nan, 2, 3, 4 is none"),
        ("frame,x1,y1,x2,y2\n0,,2,3,4\n", "the box , 2, 3, 4 is none"),
        ("frame,x1,y1,x2,y2\n0,1\n", "is none"),
        ("frame,track_id,x1,y1,x2,y2\n0,0,1,2,3,4\n", "'0' is no whole number of 1 or more"),
        ("frame,track_id,x1,y1,x2,y2\n0,1,1,2,3,4\n0,1,5,6,7,8\n", "person 1 is in frame 0 twice"),
        ("frame,track_id,x1,y1,x2,y2\n0,1,1,2,3,4\n0,,5,6,7,8\n", "to all or to none"),
    ],
)
def test_what_is_no_table_of_boxes_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_boxes(table(tmp_path / "a.csv", text))
    assert "\n" not in str(caught.value)


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("frame,x1,y1,x2,y2,é\n".encode("latin-1"))
    for name in ("nowhere.csv", "latin.csv"):
        with pytest.raises(InputError, match="cannot be read as a table of boxes"):
            read_boxes(tmp_path / name)


def follow(boxes: str, path: Path, pictures: list[np.ndarray]):
    return list(
        follow_boxes(
            film(25, *pictures),
            read_boxes(table(path / "boxes.csv", boxes)),
            TEMPLATE,
            detector=SpotDetector(),
            tracker=Tracker(),
        )
    )


def test_only_frames_that_are_named_are_looked_at(tmp_path: Path) -> None:
    pictures = [draw((100, 100, 0), (400, 100, 1))] * 4
    found = follow("frame,track_id,x1,y1,x2,y2\n1,5,70,70,130,130\n2,,,,,\n", tmp_path, pictures)
    assert [None if each.faces is None else len(each.faces) for each in found] == [None, 1, 0, None]
    (face,) = found[1].faces or ()
    assert (face.track_id, face.box.tolist()) == (5, [70, 70, 130, 130])
    assert face.confidence == pytest.approx(0.99), "the points are the detector's"
    assert face.crop.shape == (32, 32, 3)


def test_a_box_without_a_face_is_looked_at_all_the_same_and_one_outside_is_not(tmp_path: Path) -> None:
    dark = [draw()]
    lines = "0,1,50,50,90,110\n0,2,-500,0,-20,30\n0,3,630,350,900,700\n"
    (only,) = follow(f"frame,track_id,x1,y1,x2,y2\n{lines}", tmp_path, dark)
    assert [(face.track_id, face.confidence) for face in only.faces or ()] == [(1, 0.0), (3, 0.0)]


def test_people_without_numbers_are_told_apart(tmp_path: Path) -> None:
    pictures = [draw((100, 100, 0), (400, 100, 1))] * 6
    boxes = "frame,x1,y1,x2,y2\n" + "".join(
        f"{frame},370,70,430,130\n{frame},70,70,130,130\n" for frame in range(6)
    )
    found = follow(boxes, tmp_path, pictures)
    last = {face.track_id: float(face.box[0]) for face in found[-1].faces or ()}
    assert sorted(last.values()) == [70, 370]
    assert len(last) == 2


def test_numbers_of_a_table_are_those_of_the_timeline(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", [scene(60)] * 10)
    (found, *_) = analyze(film, ReadingSettings(voice=False)).rows
    assert found.box is not None
    place = table(
        tmp_path / "a.csv", "frame,track_id,x1,y1,x2,y2\n0,7," + ",".join(map(str, found.box)) + "\n"
    )
    timeline = analyze(film, ReadingSettings(voice=False, boxes=str(place)))
    assert [row.track_id for row in timeline.rows if row.frame in {0, 1}] == [7, 7]


def test_a_timeline_is_a_table_of_boxes(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", scenes((0.8, (20, 260))))
    before = analyze(clip, ReadingSettings(voice=False))
    before.write(tmp_path / "report", ["csv"])
    settings = ReadingSettings(voice=False, boxes=str(tmp_path / "report" / "timeline.csv"))
    after = analyze(clip, settings)
    assert after.provenance["reading"]["boxes"] == "timeline.csv"
    assert [(row.frame, row.track_id) for row in after.rows] == [
        (row.frame, row.track_id) for row in before.rows
    ]
    for one, other in zip(before.rows, after.rows, strict=True):
        assert one.box is not None
        assert other.box is not None
        np.testing.assert_allclose(one.box, other.box, atol=0.06)
        assert one.label == other.label
    assert len(list(read_frames(clip))) == 20
    with pytest.raises(InputError, match="leave region and min_face_px out"):
        ReadingSettings(boxes="a.csv", min_face_px=3)
