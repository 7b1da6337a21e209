"""Aff-Wild2's expression challenge: annotations, face crops and media in, a `LabelledVideo` a person out.

    <root>/…/EXPR_Recognition_Challenge/Train_Set/<video>.txt, …/Validation_Set/<video>.txt
    <root>/cropped_aligned/<video>/00001.jpg, 00002.jpg, …      named by frame, from 1, with gaps
    <root>/…/<video>.mp4 or .avi                                in batch1/, batch2/, …

The first line of an annotation names the classes; line i after it, an index into these names or -1, labels
crop i. Where two people are seen, the name of one at least, of annotation and crops, ends in `_left` or
`_right`; the media's does not. `Validation_Set` is scored; of the other videos a tenth is chosen on.

Refused: an annotation not of this form; crops that go on for more than one frame after its last line, for
then it is cut off or another video's; a name in both sets; two folders or files where one is wanted. All else
that does not fit is skipped and counted. So an annotation may be longer than its video, as many are by a
line: what has no crop is no sample.

Of the test set, which has no annotations, there are crops, media and the challenge's example list, anywhere:

    <root>/…/CVPR_6th_ABAW_Expr_test_set_example.txt, or …_sample.txt, of any edition
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien.container import open_source, read_packets
from mien.datasets.corpus import LabelledVideo, hold_out
from mien.errors import DatasetError, MediaError
from mien.expressions import EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jaxtyping import Float64, Int64, UInt8

CHALLENGES = ("EXPR_Recognition_Challenge", "EXPR_Classification_Challenge", "EXPR_Set")
"""What editions call the folder that holds both sets of annotations."""

SETS = {"Train_Set": "train", "Training_Set": "train", "Validation_Set": "val"}
"""Split of each folder in there, by the names of all editions."""

LATER_CROPS = "_new_50_vids"
"""What the name of a second folder of crops, for videos added later, has at its end."""

CROP = re.compile(r"(?!00000)[0-9]{5}\.jpg")
EXAMPLE = re.compile(r"(?i)[^.].*expr_test_set_(example|sample)\.txt")
"""Names of the list of frames that the challenge wants answered."""

DEEPEST = 5
"""So many folders deep are annotations, media and example lists looked for."""

UNSEEN = "scored in val, not trained on"
"""What becomes of a label without a crop."""

MOST_BEYOND = 0.02
"""Share by which frames may go on after the last one of their media and still be counted as by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabelledVideo:
    """One person in one video of the test set."""

    name: str
    crops: Path | None
    """Folder of aligned faces, named by the number of their frame; None where there is none."""
    media: Path | None
    """The video with its sound, which the people in it share; None where only crops are there."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What lies in the corpus' folder, but for crops."""

    challenges: list[Path] = field(default_factory=list)
    media: dict[str, list[Path]] = field(default_factory=dict)
    """By name."""
    examples: list[Path] = field(default_factory=list)


def read_affwild2(
    folder: Path, *, crops: str = "cropped_aligned", seed: int = 0
) -> tuple[list[LabelledVideo], Counter[str]]:
    """The annotated videos in the order of their names, and how often something was skipped, by reason.

    Args:
        folder: Holds crops, annotations and, if there are any, media.
        crops: Folder of the face crops in there; `cropped` has them unaligned.
        seed: Decides which tenth of the train videos is `choose`; the people in one video stay together.

    Raises:
        DatasetError: Annotations or crops are absent, or something does not fit; it is named.
    """
    found = _search(folder, Path(crops).name)
    annotations = _list_annotations(
        _one(folder, found.challenges, f"one folder {' or '.join(CHALLENGES)}", "fetch it")
    )
    crops_of = _list_crops(folder, crops)
    scored = {media_name(name) for name, (_, split) in annotations.items() if split == "val"}
    held_out = hold_out({media_name(name) for name in annotations} - scored, seed)
    skipped = Counter({"folder of crops without annotation": len(crops_of.keys() - annotations.keys())})
    videos = []
    for name, (path, split) in sorted(annotations.items()):
        labels, source = read_annotation(path), media_name(name)
        if split == "train" and source in scored:
            skipped["train annotation of a person in a val video"] += 1
        elif name not in crops_of:
            skipped["annotation without folder of crops"] += 1
        elif not (frames := _match(path, labels, crops_of[name], skipped)):
            skipped["annotation without any crop"] += 1
        else:
            media = _media_of(name, found)
            skipped["video without media"] += media is None
            videos.append(
                LabelledVideo(
                    name=name,
                    media=media,
                    crops=crops_of[name],
                    frames=tuple(frames),
                    labels=labels,
                    split="choose" if source in held_out else split,
                )
            )
    if not videos:
        raise DatasetError(f"{folder}: no annotated video has crops in {crops}; fetch the crops")
    return videos, +skipped


def media_name(name: str) -> str:
    """Name of the media that an annotation's video is in, shared by the people seen there.

    >>> media_name("10-60-1280x720_right"), media_name("10-60-1280x720")
    ('10-60-1280x720', '10-60-1280x720')
    """
    return name.removesuffix("_left").removesuffix("_right")


def read_annotation(path: Path) -> tuple[str | None, ...]:
    """The label of every frame, from frame 1 on; None where there is none.

    Raises:
        DatasetError: The file is not text of that form; its line is named.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        header, *lines = path.read_bytes().decode("utf-8-sig").rstrip().split("\n")
    except (OSError, UnicodeDecodeError) as failure:
        raise DatasetError(f"{where}: cannot be read as text ({failure}); fetch it again") from None
    names = [name.strip() for name in header.split(",")]
    if tuple(names) not in (EXPRESSIONS, EXPRESSIONS[:-1]):
        raise DatasetError(
            f"{where} line 1: classes are {header[:80]!r}; expected {','.join(EXPRESSIONS)}, "
            "in this order, without Other in earlier editions"
        )
    meaning = {"-1": None, **{str(index): name for index, name in enumerate(names)}}
    for number, line in enumerate(lines, 2):
        if line.strip() not in meaning:
            given = line.strip()[:40]
            raise DatasetError(
                f"{where} line {number}: label is {given!r}; expected -1 or 0 to {len(names) - 1}"
            )
    return tuple(meaning[line.strip()] for line in lines)


def crop_times(
    frames: Sequence[int], *, n_frames: int, fps: float, duration: float | None = None
) -> Float64[np.ndarray, "frames"]:
    """The middle of each frame in seconds, for crops whose media gives no usable times.

    Frame i, counted from 1, is at (i - 0.5) / fps. Where the sound's duration is another than that of all
    frames by over 2 %, the rate is wrong, and the frames are spread evenly over the sound.

    Args:
        frames: Numbers of frames, as crops are named.
        n_frames: How many the video has.
        fps: Its rate.
        duration: Of its sound in seconds; None if unknown.

    Raises:
        DatasetError: Rate, count or duration is not above 0.
    """
    for name, value in {"fps": fps, "n_frames": n_frames, "duration": duration}.items():
        if value is not None and not 0 < value < math.inf:
            raise DatasetError(f"{name} is {value}; expected a number above 0")
    middles = np.asarray(frames, np.float64) - 0.5
    if duration is not None and abs(n_frames / fps - duration) > 0.02 * duration:
        return middles * (duration / n_frames)
    return middles / fps


def find_example(folder: Path) -> Path:
    """The list of frames that the challenge wants answered.

    Raises:
        DatasetError: There is none, or there are several; they are named.
    """
    found = _search(folder, "cropped").examples
    return _one(folder, found, "one list …Expr_test_set_example.txt", "name it with --example")


def find_videos(
    folder: Path, names: Iterable[str], *, crops: str = "cropped_aligned"
) -> list[UnlabelledVideo]:
    """The test set's videos of these names, in their order, each with what there is of it.

    Args:
        folder: Holds crops and, if there are any, media.
        names: As the challenge's list has them.
        crops: Folder of the face crops in there.

    Raises:
        DatasetError: There are no crops of any video, or one video's media or crops are there twice.
    """
    found, crops_of = _search(folder, Path(crops).name), _list_crops(folder, crops)
    names = tuple(names)
    if not crops_of.keys() & set(names):
        raise DatasetError(f"{folder}: {crops} has none of {names[0]} and so on; fetch the test set's crops")
    return [UnlabelledVideo(name=n, crops=crops_of.get(n), media=_media_of(n, found)) for n in names]


def read_crop(path: Path, size_px: int) -> UInt8[np.ndarray, "side side 3"] | None:
    """A face crop, RGB, brought to a side's length; None where the file cannot be decoded.

    The whole crop is kept, as the corpus aligned it, whatever template the model's own crops follow.

    Raises:
        FileNotFoundError: There is none.
    """
    try:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    except FileNotFoundError:
        raise
    except (OSError, cv2.error):  # nothing in it, or larger than any picture
        return None
    if image is None:
        return None
    smaller = image.shape[0] * image.shape[1] > size_px * size_px
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size_px, size_px), interpolation=way), np.uint8)


def frame_times(media: Path) -> Float64[np.ndarray, "frames"]:
    """When each frame of a video begins, seconds on the common clock, by its packets; none without picture.

    Raises:
        MediaError: It is no media file.
    """
    with open_source(media) as source:
        stream = source.picture
        if stream is None or stream.time_base is None:
            return np.zeros(0)
        packets = read_packets(source, stream)
        stamps = [p.pts for p in packets if p.pts is not None and p.size and not p.is_discard]
        return np.sort(np.array(stamps, np.float64)) * float(stream.time_base) - float(source.start)


def middle_times(
    begins: Float64[np.ndarray, "shown"], frames: Int64[np.ndarray, "frames"], duration: float
) -> Float64[np.ndarray, "frames"]:
    """The middle of each frame in seconds, for crops of a video that is there.

    Frame i is the i-th that the video shows. Frames that go on after its last one do so at its usual rate;
    by over 2 % of them, they were counted in another way, and are spread evenly over the media.

    Args:
        begins: When the video shows its frames, as `frame_times` gives it.
        frames: Numbers as crops are named, from 1, rising.
        duration: Of the media in seconds.

    Raises:
        MediaError: The media has neither times nor a duration.
    """
    last = int(frames[-1])
    n_beyond = max(0, last - len(begins))
    if len(begins) < 2 or n_beyond > max(1, MOST_BEYOND * len(begins)):
        if duration <= 0:
            raise MediaError("the media says neither when frames come nor its length; convert it to .mp4")
        return crop_times(frames.tolist(), n_frames=last, fps=last / duration)
    step = float(np.median(np.diff(begins)))
    begins = np.concatenate([begins, begins[-1] + step * np.arange(1, n_beyond + 2)])
    return np.asarray(((begins[:-1] + begins[1:]) / 2)[frames - 1])


def count_timed(video: LabelledVideo, n_shown: int) -> int:
    """How many frames of a video have a time.

    The annotation goes on to the last one, but not beyond both the last crop and the frame after those that
    the media shows.
    """
    return max(video.frames[-1], min(len(video.labels), n_shown + 1))


def _search(folder: Path, crops: str) -> _Found:
    """What is not crops; their folders are passed by."""
    found = _Found()
    for place, inner, files in os.walk(folder, followlinks=True):
        here = Path(place)
        deeper = len(here.relative_to(folder).parts) < DEEPEST
        inner[:] = sorted(n for n in inner if deeper and not n.startswith(("cropped", crops)))
        found.challenges.extend(here / name for name in inner if name in CHALLENGES)
        for path in (here / file for file in sorted(files)):
            if path.suffix.lower() in (".mp4", ".avi"):
                found.media.setdefault(path.stem, []).append(path)
            elif EXAMPLE.fullmatch(path.name):
                found.examples.append(path)
    return found


def _one(folder: Path, found: list[Path], wanted: str, mend: str) -> Path:
    """The only thing found."""
    if len(found) != 1:
        raise DatasetError(
            f"{folder}: expected {wanted}; found {' and '.join(map(str, found)) or 'none'}; {mend}"
        )
    return found[0]


def _media_of(name: str, found: _Found) -> Path | None:
    """The media that an annotation's or a folder of crops' video is in."""
    source = media_name(name)
    files = found.media.get(source, [])
    if len(files) > 1:
        raise DatasetError(f"{source} has the media {files[0]} and {files[1]}; keep one of them")
    return files[0] if files else None


def _list_annotations(challenge: Path) -> dict[str, tuple[Path, str]]:
    """Path and split of every annotation, by name."""
    found: dict[str, tuple[Path, str]] = {}
    for folder, split in SETS.items():
        for path in (challenge / folder).glob("[!.]*.txt"):
            if path.stem in found:
                raise DatasetError(f"annotated twice: {found[path.stem][0]} and {path}; keep one of them")
            found[path.stem] = path, split
    if len({split for _, split in found.values()}) < 2:
        raise DatasetError(f"{challenge}: expected annotations for train and validation; fetch both sets")
    return found


def _list_crops(folder: Path, crops: str) -> dict[str, Path]:
    """Folders of crops by name."""
    found: dict[str, Path] = {}
    for place in filter(Path.is_dir, (folder / crops, folder / f"{crops}{LATER_CROPS}")):
        with os.scandir(place) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
        for name in names:
            if found.setdefault(name, place / name) != place / name:
                raise DatasetError(f"crops are in {found[name]} and {place / name}; keep one of them")
    if not found:
        raise DatasetError(f"{folder}: no crops in {crops}; give the folder that holds Aff-Wild2's crops")
    return found


def _match(path: Path, labels: Sequence[str | None], crops: Path, skipped: Counter[str]) -> list[int]:
    """The frames, rising, that have a crop and a line; counts what lacks either.

    Crops are known by name alone: there are millions, too many to ask the disk about each.
    """
    with os.scandir(crops) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(".jpg") and entry.name[0] != "."]
    for name in names:
        if not CROP.fullmatch(name):
            raise DatasetError(f"{crops / name}: expected a frame's number, 00001.jpg and up")
    there = {int(name[:5]) for name in names}
    last, n_lines = max(there, default=0), len(labels)
    if last > n_lines + 1:
        where = f"{path.parent.name}/{path.name}"
        raise DatasetError(f"{where} labels {n_lines} frames; its crops go on to {last:05d}.jpg; fetch both")
    labelled = {frame for frame, label in enumerate(labels, 1) if label is not None}
    without = labelled - there
    skipped[f"labelled line in a gap of the crops: {UNSEEN}"] += sum(frame < last for frame in without)
    skipped[f"labelled line after the last crop: {UNSEEN}"] += sum(frame > last for frame in without)
    skipped["crop after the last line"] += last > n_lines
    return sorted(there - {n_lines + 1})
