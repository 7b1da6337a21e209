"""A model and the test set of Aff-Wild2's expression challenge in, the submission out.

Face and voice are fused by the model's own rule; where one is missing the other stands alone, and where both
are, the frame is filled from those around it. Then each frame of the challenge's example gets the class that
leads the mean over it and its neighbours. One video is held at a time.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.datasets.affwild2 import (
    find_example,
    find_videos,
    frame_times,
    middle_times,
    read_crop,
)
from mien.errors import DatasetError, InputError, MediaError
from mien.expressions import position
from mien.media import probe, read_sound
from mien.postprocess import DELTA, box_mean, fill_frames
from mien.predictor import FacePredictor, VoicePredictor, load_model
from mien.speech import hear
from mien.submission import find_faults, read_example, write_submission
from mien.voice import Voice
from mien.whole import folder_aside, move_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxtyping import Bool, Float32, Int64, UInt8

    from mien.classwise import Fusion, Rule
    from mien.datasets.affwild2 import UnlabelledVideo
    from mien.spans import Hook
    from mien.submission import Example

FILLED = ".filled.csv"
"""What the name of the table beside a submission has after the submission's."""

MOST_NAMED = 3
"""Videos that are named of each kind of lack."""


@dataclass(slots=True, kw_only=True)
class Account:
    """Where the answers of one video come from, in frames, and what it lacks."""

    video: str
    frames: int
    face_and_voice: int = 0
    face_alone: int = 0
    voice_alone: int = 0
    interpolated: int = 0
    """Between two frames that have a face or a voice."""
    copied: int = 0
    """From the first or last frame that has one."""
    neutral: int = 0
    """In a video where no frame has one."""
    no_crop: int = 0
    unreadable_crop: int = 0
    beyond_media: int = 0
    """After the last frame of the media, whose crops may have been counted in another way."""
    faces: str = ""
    """Why none is seen in the whole video; empty where crops are there."""
    voice: str = ""
    """Why none is heard in the whole video; empty where it is listened to."""


@dataclass(frozen=True, slots=True)
class _Senses:
    """What looks at crops and listens to sound, and how both are fused."""

    face: FacePredictor
    voice: VoicePredictor | None
    fuse: Rule


def submit(
    model: str,
    data: Path,
    example: Path | None,
    out: Path,
    *,
    hook: Hook,
    delta: int = DELTA,
    voice: bool = True,
    fusion: Fusion | None = None,
) -> list[str]:
    """Writes the challenge submission, checked line by line, and a table of where its answers come from.

    Args:
        model: A shipped model's name, or a model folder.
        data: The test set: holds crops and, if there are any, media.
        example: The challenge's list, or a folder of the form of editions 1 and 2; None: the list in `data`.
        out: A file, or a folder if the example is one; an earlier submission there is replaced whole.
        hook: Called with what is done, how far, and how much there is.
        delta: Frames to either side over which probabilities are averaged; 0: none.
        voice: False: only crops are looked at.
        fusion: Which rule fuses face and voice; None: the model's own.

    Returns:
        Lines that say what was written, and what was filled and how.

    Raises:
        DatasetError: The example or the crops are absent, or something is there twice.
        InputError: There is no such model, it has no such fusion, or nothing can be written at `out`.
        CheckpointError: The model's files are not what its manifest says.
    """
    out = out.resolve()
    wanted = read_example(example := example or find_example(data))
    refuse_place(out, example, wanted, delta)
    videos = find_videos(data, wanted.videos)
    senses = _open(model, voice, fusion)
    columns = [position(name) for name in wanted.classes]
    answers = np.zeros(len(wanted), np.uint8)
    accounts: list[Account] = []
    n_done = 0

    def looked() -> None:
        nonlocal n_done
        n_done += 1
        hook("answering", n_done, len(wanted))

    for video, (_, frames, places) in zip(videos, wanted.by_video(), strict=True):
        if len(frames):
            probs, account = read_video(video, frames, senses, looked)
            answers[places] = smooth(probs, frames, delta)[:, columns].argmax(axis=1)
            accounts.append(account)
    _write_whole(out, wanted, answers, accounts)
    return _tell(out, accounts)


def _open(model: str, voice: bool, fusion: Fusion | None) -> _Senses:
    """The networks and the rule of a model.

    Raises:
        InputError: There is no such model, or it has no such rule.
        CheckpointError: The model's files are not what its manifest says.
    """
    info = load_model(model)
    rule = info.rule(fusion)
    return _Senses(FacePredictor(info), VoicePredictor(info, n_threads=2) if voice else None, rule)


def refuse_place(out: Path, example: Path, wanted: Example, delta: int) -> None:
    """Refuses, before the long work, what cannot be written or reckoned after it.

    Raises:
        InputError: `out` is the example, or no place for a submission of its form, or `delta` is below 0.
    """
    if out == example.resolve():
        raise InputError(f"{out} is the challenge's example; give another --out")
    if delta < 0:
        raise InputError(f"delta is {delta}; expected frames to either side, 0 or more")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is no folder; make it, or name another place for the submission")
    if wanted.is_folder:
        if out.exists() and not is_earlier(out, wanted):
            raise InputError(
                f"{out} is there and is no earlier submission; what is there is replaced whole: name another"
            )
    elif out.is_dir():
        raise InputError(f"{out} is a folder; the example is a list, so name a file")


def is_earlier(out: Path, wanted: Example) -> bool:
    """Whether a folder is what `submit` wrote for an example of these videos: its table lies beside it."""
    if not out.is_dir() or not out.with_name(out.name + FILLED).is_file():
        return False
    return {each.name for each in out.iterdir()} == {f"{video}.txt" for video in wanted.videos}


def smooth(
    probs: Float32[np.ndarray, "frames 8"], frames: Int64[np.ndarray, "frames"], delta: int
) -> Float32[np.ndarray, "frames 8"]:
    """Probabilities of frames, gaps filled and averaged over `delta` frames of the video to either side.

    Frames that the challenge does not ask for count as gaps.

    Args:
        probs: NaN where there are none.
        frames: Their numbers, rising.
        delta: In frames of the video.
    """
    rows = frames - frames[0]
    every = np.full((int(rows[-1]) + 1, probs.shape[1]), np.nan, np.float32)
    every[rows] = probs
    return np.asarray(box_mean(fill_frames(every), delta)[rows])


def read_video(
    video: UnlabelledVideo,
    frames: Int64[np.ndarray, "frames"],
    senses: _Senses,
    looked: Callable[[], None],
) -> tuple[Float32[np.ndarray, "frames 8"], Account]:
    """Fused probabilities of a video's frames, NaN where there is neither face nor voice, and their account.

    Args:
        video: Crops and media.
        frames: Their numbers, from 1, rising.
        senses: The networks.
        looked: Called after each frame.

    Raises:
        CheckpointError: The model's files are not what its manifest says.
    """
    account = Account(video=video.name, frames=len(frames))
    face, seen = _look(video, frames, senses.face, account, looked)
    voice, heard = _listen(video, frames, senses.voice, account)
    fused = senses.fuse(voice, face, voice_present=heard, face_present=seen)
    there = np.flatnonzero(seen | heard)
    account.face_and_voice = int((seen & heard).sum())
    account.face_alone = int((seen & ~heard).sum())
    account.voice_alone = int((heard & ~seen).sum())
    if len(there):
        account.interpolated = int(there[-1] - there[0] + 1 - len(there))
        account.copied = len(frames) - len(there) - account.interpolated
    else:
        account.neutral = len(frames)
    return fused.astype(np.float32, copy=False), account


def _look(
    video: UnlabelledVideo,
    frames: Int64[np.ndarray, "frames"],
    predict: FacePredictor,
    account: Account,
    looked: Callable[[], None],
) -> tuple[Float32[np.ndarray, "frames 8"], Bool[np.ndarray, "frames"]]:
    """Probabilities of each frame's face, and where there is one."""
    probs = np.zeros((len(frames), 8), np.float32)
    seen = np.zeros(len(frames), np.bool_)
    size_px = predict.spec.crop_px
    assert size_px is not None
    if video.crops is None:
        account.faces = "no folder of crops"
    for n, frame in enumerate(frames.tolist()):
        if video.crops is not None:
            try:
                crop = read_crop(video.crops / f"{frame:05d}.jpg", size_px)
            except FileNotFoundError:
                account.no_crop += 1
            else:
                if crop is None:
                    account.unreadable_crop += 1
                else:
                    probs[n], seen[n] = predict(crop[None])[0], True
        looked()
    return probs, seen


def _listen(
    video: UnlabelledVideo,
    frames: Int64[np.ndarray, "frames"],
    predict: VoicePredictor | None,
    account: Account,
) -> tuple[Float32[np.ndarray, "frames 8"], Bool[np.ndarray, "frames"]]:
    """Probabilities of the voice at each frame, and where somebody speaks."""
    probs = np.zeros((len(frames), 8), np.float32)
    heard = np.zeros(len(frames), np.bool_)
    if predict is None or video.media is None:
        account.voice = "not listened to" if predict is None else "no media"
        return probs, heard
    try:
        media = probe(video.media)
        if not media.has_sound:
            account.voice = "no sound"
            return probs, heard
        begins = frame_times(media.path)
        account.beyond_media = int((frames > len(begins)).sum())
        voice = Voice(hear(read_sound(media.path)), predict)
        for n, time in enumerate(middle_times(begins, frames, media.duration)):
            said = voice.at(float(time)).probs
            if said is not None:
                probs[n], heard[n] = said, True
    except MediaError:
        account.voice = "media that cannot be read"
        heard[:] = False
    return probs, heard


def _write_whole(
    out: Path, wanted: Example, answers: UInt8[np.ndarray, "lines"], accounts: Sequence[Account]
) -> None:
    """Writes the submission and the table beside it, which take their places once both are whole.

    Raises:
        DatasetError: What was written does not answer the example.
    """
    with folder_aside(out) as aside:
        made, table = aside / out.name, aside / (out.name + FILLED)
        write_submission(made, wanted, answers)
        _, faults = find_faults(made, wanted)
        if faults:
            raise DatasetError(f"{made} was not written as it should be: {faults[0]}; run it again")
        _write_accounts(table, accounts)
        table.replace(out.with_name(table.name))
        move_in(made, out)


def _write_accounts(path: Path, accounts: Sequence[Account]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Account)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(account) for account in accounts)


def _tell(out: Path, accounts: Sequence[Account]) -> list[str]:
    """Lines that say what was written and what was filled and how."""

    def total(name: str) -> int:
        return sum(getattr(account, name) for account in accounts)

    neither = {
        "interpolated": "interpolated between neighbours",
        "copied": "copied from the nearest",
        "neutral": "Neutral in empty videos",
    }
    lines = [
        f"{out}: {total('frames')} frames of {len(accounts)} videos, complete and in order",
        f"  face and voice: {total('face_and_voice')} frames",
        f"  face alone: {total('face_alone')}",
        f"  voice alone: {total('voice_alone')}",
        f"  neither: {', '.join(f'{total(name)} {told}' for name, told in neither.items())}",
        f"  crops: {total('no_crop')} frames have none, {total('unreadable_crop')} cannot be decoded",
    ]
    if total("beyond_media"):
        lines.append(f"  after the last frame of their media: {total('beyond_media')}")
    for sense in ("faces", "voice"):
        lacks: dict[str, list[str]] = {}
        for account in accounts:
            if getattr(account, sense):
                lacks.setdefault(getattr(account, sense), []).append(account.video)
        for lack, names in sorted(lacks.items()):
            named = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
            lines.append(f"  {lack}: {len(names)} of {len(accounts)} videos ({named})")
    return [*lines, f"  video by video: {out.name}{FILLED}"]
