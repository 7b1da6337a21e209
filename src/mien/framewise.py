"""A model and Aff-Wild2's folder in, what the model says of every labelled frame out.

Every frame of a person in a video gets a prediction by the missing rules: face and voice fused; the one that
is there where the other is not; between frames that have one the straight line; before the first and after
the last a copy; Neutral where a video has none. `raw` is that, `post` its mean over 2·50 + 1 frames, never
across videos. Crops are given to the network as they are, whatever their framing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.datasets.affwild2 import (
    count_timed,
    frame_times,
    media_name,
    middle_times,
    read_affwild2,
    read_crop,
)
from mien.errors import DatasetError, MediaError
from mien.media import probe, read_sound
from mien.postprocess import DELTA, box_mean, fill_frames
from mien.samples import View
from mien.scoring import Predictions, found_in
from mien.speech import hear
from mien.voice import Voice

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from jaxtyping import Bool, Float32

    from mien.datasets.corpus import LabelledVideo
    from mien.samples import Source
    from mien.scoring import Rater
    from mien.spans import Hook


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Person:
    """What is said of the labelled frames of one person in one video."""

    frames: tuple[int, ...]
    """Numbers, from 1."""
    labels: tuple[str, ...]
    seen: Bool[np.ndarray, "frames"]
    heard: Bool[np.ndarray, "frames"]
    raw: dict[Source, Float32[np.ndarray, "frames 8"]]
    post: dict[Source, Float32[np.ndarray, "frames 8"]]


def rate_affwild2(rater: Rater, folder: Path, split: str, hook: Hook, seed: int = 0) -> Predictions:
    """What a model says of the labelled frames of one split; `seed` deals out `choose`.

    Raises:
        DatasetError: The folder is not of Aff-Wild2's form, or has nothing in this split.
        CheckpointError: The model has no face network.
    """
    videos, skipped = read_affwild2(folder, seed=seed)
    chosen = [video for video in videos if video.split == split]
    if not chosen:
        splits = ", ".join(sorted({video.split for video in videos}))
        raise DatasetError(f"Aff-Wild2: no video in split {split!r}; this folder has {splits}")
    n_done = 0
    n_crops = sum(len(video.frames) for video in chosen)
    people: dict[str, _Person] = {}
    for video in chosen:

        def tell(n: int, before: int = n_done) -> None:
            hook("looking at frames", before + n, n_crops)

        people[video.name] = _rate_person(rater, video, skipped, tell)
        n_done += len(video.frames)
    seen, heard = (
        np.concatenate([getattr(person, sense) for person in people.values()]) for sense in ("seen", "heard")
    )
    views = [
        View(name="all labelled frames", averages_all=True),
        View(name="frames with a face", rows=seen, averages_all=True),
    ]
    sources: tuple[Source, ...] = ("fused", "face", "voice")
    if not heard.any():
        sources = ("fused",)
    if len(seen) == 0:
        raise DatasetError(f"Aff-Wild2: no frame of split {split!r} is labelled; fetch the annotations again")
    return Predictions(
        corpus="Aff-Wild2",
        names=tuple(f"{name}/{frame:05d}.jpg" for name, each in people.items() for frame in each.frames),
        spans=None,
        labels=tuple(label for each in people.values() for label in each.labels),
        groups=tuple(media_name(name) for name, each in people.items() for _ in each.frames),
        group_word="videos",
        videos=tuple(name for name, each in people.items() for _ in each.frames),
        notes=("",) * len(seen),
        raw={key: np.concatenate([each.raw[key] for each in people.values()]) for key in sources},
        post={key: np.concatenate([each.post[key] for each in people.values()]) for key in sources},
        asked={"face": seen, "voice": heard} if "voice" in sources else {},
        views=tuple(views),
        remarks=(
            f"Aff-Wild2: post-processing is the mean over {2 * DELTA + 1} frames of one person in one video",
            *(f"Aff-Wild2: {why}: {n}" for why, n in sorted(skipped.items()) if n),
        ),
    )


def _rate_person(
    rater: Rater,
    video: LabelledVideo,
    skipped: Counter[str],
    tell: Callable[[int], None],
) -> _Person:
    size_px = rater.template.size_px
    face = np.full((len(video.labels), 8), np.nan, np.float32)
    for done, frame in enumerate(video.frames, 1):
        crop = read_crop(video.crops / f"{frame:05d}.jpg", size_px)
        if crop is None:
            skipped["crop that cannot be decoded"] += 1
        else:
            face[frame - 1] = rater.face(crop[None])[0]
        tell(done)
    voice = np.full_like(face, np.nan)
    n_there = len(face)
    try:
        n_there = _hear(rater, video, voice)
    except MediaError:
        skipped["media that cannot be decoded"] += 1
    heard, seen = found_in(voice), found_in(face)
    fused = rater.rule(voice, face, voice_present=heard, face_present=seen).astype(np.float32)
    said: dict[Source, Float32[np.ndarray, "frames 8"]] = {"fused": fused, "face": face, "voice": voice}
    skipped["labelled line after the end of its video"] += sum(map(bool, video.labels[n_there:]))
    labelled = [(i, label) for i, label in enumerate(video.labels[:n_there]) if label is not None]
    at = [i for i, _ in labelled]
    raw = {source: fill_frames(probs[:n_there]) for source, probs in said.items()}
    post = {source: box_mean(probs) for source, probs in raw.items()}
    for kind in (raw, post):  # by itself, each says nothing where it has nothing to go by
        kind["face"][~seen[:n_there]] = np.nan
        kind["voice"][~heard[:n_there]] = np.nan
    return _Person(
        frames=tuple(i + 1 for i in at),
        labels=tuple(label for _, label in labelled),
        seen=seen[at],
        heard=heard[at],
        raw={source: probs[at] for source, probs in raw.items()},
        post={source: probs[at] for source, probs in post.items()},
    )


def _hear(rater: Rater, video: LabelledVideo, said: Float32[np.ndarray, "frames 8"]) -> int:
    """Writes what the voice says at each frame where somebody speaks; how many frames the video has.

    Raises:
        MediaError: The video cannot be decoded.
    """
    if video.media is None:
        return len(said)
    media, begins = probe(video.media), frame_times(video.media)
    n_frames = count_timed(video, len(begins))
    if media.has_sound and rater.hears:
        voice = Voice(hear(read_sound(video.media)), rater.voice)
        times = middle_times(begins, np.arange(1, n_frames + 1), media.duration)
        for i, time in enumerate(times.tolist()):
            probs = voice.at(time).probs
            if probs is not None:
                said[i] = probs
    return n_frames
