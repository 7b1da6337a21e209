"""What reads labels of people, boxes, what is typed, submissions and corpora."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from corpora import write_ferplus
from corpora_affwild2 import NAMES, write_example
from corpora_pictures import affectnet_row, jpg, write_affectnet_lists, write_ms1mv2
from mien import boxes, export, labels, submission
from mien.datasets import affectnet, affwild2, clips, cremad, entries, expw, prepared
from mien.expressions import EXPRESSIONS
from mien.foreign import elan, textgrid, tiers_of
from mien.segments import Segment
from mien.spans import Span
from parsers import add, arrays, fault_of
from some_recordings import make_recording, with_features

# labels of people, boxes

SEGMENTS = (
    Segment(span=Span(0.0, 2.0), track_id=1, label="Happiness", probability=0.72),
    Segment(span=Span(2.0, 10 / 3), track_id=None, label="Anger", probability=0.6),
)
TIERS = tiers_of(SEGMENTS, [])
EVENTS = (
    "Observation id,one\n\nMedia file,clip.mp4\n\nTime,Media file path,Subject,Behavior,Comment,Status\n"
    "1.5,clip.mp4,Bo,fear,,START\n2.0,clip.mp4,Bo,joy,,POINT\n2.75,clip.mp4,Bo,fear,,STOP\n"
)
SPANS = "start,end,label,who\n0,1.5,Happiness,Ann\n1.5,2,sad,Bo\n"
TRACKS = "track_id;start_s;end_s;label\n1;0,5;1,5;Fear\n;2;3;Other\n"
ENTITY = '<!DOCTYPE d [<!ENTITY a "Fear"><!ENTITY b "&a;&a;">]><d><TIER TIER_ID="&b;"/></d>'
add("elan", "a.eaf", labels.read_labels, "".join(elan(TIERS, "a.mp4")), ENTITY)
add(
    "praat",
    "a.TextGrid",
    labels.read_labels,
    *("".join(textgrid(TIERS, 9.0)).encode(c) for c in ("utf-8", "utf-16")),
)
add("stretches", "a.csv", labels.read_labels, SPANS, TRACKS)
add("events", "a.tsv", labels.read_labels, EVENTS, EVENTS.replace(",", "\t"))
BOXES = "frame,x1,y1,x2,y2\n0,1,2,3,4\n0,5,6.5,70,80\n2,,,,\n"
FOLLOWED = "frame,time_s,track_id,x1,y1,x2,y2\n0,0.04,1,10,20.25,110,140\n0,0.04,2,10,20,30,40\n3,0.1,,,,,\n"
add("boxes", "a.csv", boxes.read_boxes, BOXES, FOLLOWED)


# what is typed: names and values

TYPED = "a line"


def each_line(read: Callable[[list[str]], object]) -> Callable[[Path], object]:
    """Reads the lines of a file as what is typed behind an option."""
    return lambda path: read(path.read_text("utf-8", "surrogateescape").split("\n"))


def override(lines: list[str]) -> None:
    from mien.recipes import override, train_face, train_paper

    for recipe in (train_face, train_paper):
        override(recipe(), lines)


add("words", TYPED, each_line(labels.read_words), "smile=Happiness\nblank=", names=("--word",))
add(
    "ratio",
    TYPED,
    each_line(lambda lines: export.read_weights(lines[0])),
    "1:2",
    "1e3:.5",
    names=("weights",),
)
SET = "epochs=3\nnetwork.depths=[0,2,2]\nlearning_rate=1e-3"
SET_OF_PAPER = 'network.face.attention.name="mecs"\nschedule=constant\naugmentation.n_faces=4'
add("settings", TYPED, each_line(override), SET, SET_OF_PAPER, names=("--set",))


# submissions to the challenge

HEADER = ",".join(("image_location", *EXPRESSIONS))
LISTED = f"{HEADER}\nvideo1/00001.jpg,0\nvideo1/00003.jpg,7\nvideo2_left/00001.jpg,4\n"
FRAMES = ",".join(EXPRESSIONS) + "\n0\n7\n-1\n4\n"


def lay_list(folder: Path) -> list[str]:
    write_example(folder, ("video1", (1, 3)), ("video2_left", (1,)), name="example.txt")
    return [LISTED]


def lay_folder(folder: Path) -> list[str]:
    for place in (folder / "example", folder / "answers"):
        place.mkdir(exist_ok=True)
        (place / "b.txt").write_text(FRAMES)
    return [FRAMES]


def answered(path: Path, example: Path) -> None:
    n_lines, faults = submission.check_submission(path, example)
    told = [fault_of(str(fault), ("",)) for fault in faults]
    assert n_lines >= 0
    assert not any(told), told


add("example", "e.txt", submission.read_example, LISTED, LISTED.replace(",0", ","))
add("example folder", "example/a.txt", lambda path: submission.read_example(path.parent),
    lay=lay_folder, names=("example",))  # fmt: skip
add(
    "answers",
    "answers.txt",
    lambda path: answered(path, path.parent / "test_set_examples/example.txt"),
    lay=lay_list,
)
add(
    "answers folder",
    "answers/b.txt",
    lambda path: answered(path.parent, path.parents[1] / "example"),
    lay=lay_folder,
)


# corpora


def lay_affectnet(folder: Path) -> list[str]:
    write_affectnet_lists(folder, train="016", val="2")
    return [(folder / "training.csv").read_text(), affectnet_row("1/train0.jpg")]


def lay_votes(_: Path) -> list[str]:
    rows = [f'"{mode}0000{n}",0,1,0,{n},3,0,"100{n}_IEO_NEU_XX",4' for mode in (1, 2, 3) for n in (1, 2)]
    return ["\n".join(('"","A","D","F","H","N","S","fileName","numResponses"', *rows, ""))]


def lay_clips(folder: Path) -> list[str]:
    for name in ("a.wav", "b.wav", "c d.mp4"):
        (folder / name).touch()
    rows = (
        "a.wav,0,0.5,Fear,{0},{1}\na.wav,0.5,,Anger,{0},{1}\nb.wav,,,,Bo,val\n'c d.mp4',1,2,Other,Cy,choose\n"
    )
    full = "path,start,end,label,speaker,split\n" + rows.format("Ann", "train").replace("'", '"')
    return [full, "path;label\r\na.wav;Fear\r\nb.wav;\r\nc d.mp4;Sadness\r\n"]


def own(table: Path) -> None:
    entries.CORPORA["clips"].entries(table, entries.PrepareSettings())
    clips.read_clips(table, for_training=False)
    clips.has_splits(table)


def lay_pictures(folder: Path) -> list[bytes]:
    write_ferplus(folder, n_train=8, n_val=4)
    return [(folder / entries.FERPLUS_FILE).read_bytes()]


def fresh_stills(path: Path) -> None:
    entries.read_stills.cache_clear()
    entries.CORPORA["ferplus"].entries(path.parent, entries.PrepareSettings())


def lay_parquet(*columns: str) -> Callable[[Path], list[bytes]]:
    def lay(folder: Path) -> list[bytes]:
        import polars as pl

        file = io.BytesIO()
        values = {"webp": [jpg(seed=1, size=8), None, b""], "path": ["a.mp4", "b c.mp4", None]}
        pl.DataFrame({name: values[name] for name in columns}).write_parquet(file)
        return [file.getvalue()]

    return lay


def fresh_photographs(path: Path) -> None:
    entries.read_photographs.cache_clear()
    entries.CORPORA["unlabelled"].entries(path.parent, entries.PrepareSettings())


def lay_ms1mv2(file: str) -> Callable[[Path], list[bytes]]:
    def lay(folder: Path) -> list[bytes]:
        write_ms1mv2(folder, identities=(1, 2))
        return [(folder / file).read_bytes()]

    return lay


def records(path: Path) -> None:
    entries.CORPORA["ms1mv2"].entries(path.parent, entries.PrepareSettings(share=1.0))
    list(entries.read_ms1mv2(path.parent, share=1.0))


add("annotation", "Train_Set/video1.txt", affwild2.read_annotation, ",".join(NAMES) + "\n0\n-1\n7\n")
add("crop", "00001.jpg", lambda path: affwild2.read_crop(path, 48), jpg(seed=0, size=16))
add(
    "affectnet list",
    "training.csv",
    lambda path: affectnet.read_affectnet(path.parent),
    lay=lay_affectnet,
    is_slow=True,
)
add("affectnet code", "1_exp.npy", affectnet.read_code, *arrays("3", 3, 3.0, np.array([7])))
add("expw", "label.lst", expw.read_faces, "a.jpg 0 10 20 30 40 50.25 3\nb c.jpg 1 1e1 2 3 4 5 6\n")
add("ferplus", entries.FERPLUS_FILE, fresh_stills, lay=lay_pictures, is_slow=True)
add("photographs", entries.UNLABELLED_FILE, fresh_photographs, lay=lay_parquet("webp"), is_slow=True)
for _file in ("train.rec", "train.idx", "property"):
    add(
        f"ms1mv2 {_file}", _file, records, lay=lay_ms1mv2(_file), names=("train.rec", "train.idx", "property")
    )
add("votes", cremad.FILE, lambda path: cremad.read_votes(path.parent), lay=lay_votes)
add("clips", "mine.csv", own, lay=lay_clips)


# prepared corpora


def lay_prepared(file: str) -> Callable[[Path], list[bytes]]:
    def lay(folder: Path) -> list[bytes]:
        made = [
            make_recording((0, 1, "Fear"), (1, 2, "Anger"), name="one", crop_times=[0.5, 1], seconds=0.2),
            replace(
                make_recording(name="two", crop_times=[0], split="val"), shares={"Fear": 0.5, "Anger": 0.5}
            ),
            make_recording((0.5, 1, "Other"), name="three", seconds=0.1, frame_step=0.04),
        ]
        featured = [with_features(each, face=2, speech=3) for each in made]
        told = {"corpus": "corpus", "size_px": 8, "extractors": featured[0].extractors}
        shard = folder / "talks" / "shard-00000"
        prepared.write_shard(shard, ((each, Path(f"{each.name}.mp4")) for each in featured), 8, told)
        (shard.parent / prepared.PREPARED).write_text('{"n_shards": 1}')
        return [(folder / "talks" / file).read_bytes()]

    return lay


def learn_from(path: Path) -> None:
    """Reads a prepared corpus as training does, and looks at all of it once."""
    from mien.datasets.moments import CLIP_STEP, every_frame

    for each in prepared.with_features(
        prepared.read_prepared(path.parents[path.name != "prepared.json"]), WIDTHS
    ):
        assert all(isinstance(text, str) for text in (each.name, each.corpus, each.speaker))
        assert all(isinstance(share, float | int) for share in (each.shares or {}).values())
        if each.stretches and each.stretches[-1].span.end - each.stretches[0].span.start < 1000:
            every_frame(each.stretches, each.frame_step or CLIP_STEP)
        np.asarray(each.crops).any()


WIDTHS = {"face": 2, "speech": 3}
for _file in ("recordings.json", "crops.npy", "crop_times.npy", "columns.npy", "face_features.npy"):
    _place = f"shard-00000/{_file}"
    add(
        f"prepared {_file}",
        f"talks/{_place}",
        learn_from,
        lay=lay_prepared(_place),
        names=("shard-", "talks", "features"),
    )
add(
    "prepared",
    "talks/prepared.json",
    learn_from,
    lay=lay_prepared("prepared.json"),
    names=("shard-", "talks", "features"),
)
