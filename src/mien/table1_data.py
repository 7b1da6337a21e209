"""A corpus in; batches to train the rows of Table 1 on, and the items of `val` that they are scored on, out.

Two kinds of data serve: label-paired clips, which are also laid end to end to pseudo-videos, and prepared
recordings, such as those of Aff-Wild2. `val` is only ever scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from mien.datasets.batches import HeldOut
from mien.datasets.corpus import refuse_shared_speakers
from mien.datasets.emodb import read_emodb
from mien.datasets.ferplus import read_ferplus
from mien.datasets.moments import Moment, every_frame
from mien.datasets.pairs import HeldPairs, PairAugmentation, PairBatches
from mien.datasets.prepared import read_prepared
from mien.datasets.pseudo_videos import pseudo_videos
from mien.datasets.ravdess import read_ravdess
from mien.datasets.recordings import HELD_ROWS, RecordingBatches, look_at
from mien.errors import DatasetError
from mien.models.network import ExpressionNetConfig
from mien.sources import LICENCES, read_batches, tell_recordings
from mien.windows import N_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mien.datasets.batches import Batches
    from mien.datasets.corpus import Clip, Stills
    from mien.datasets.prepared import Recording
    from mien.recipes import TrainConfig
    from mien.spans import Hook

N_FACES = 3
"""Faces in a window of pairs."""


@runtime_checkable
class Scored(Protocol):
    """Items of `val`, and windows of them for a network."""

    labels: tuple[str | None, ...]
    """None: only smoothed with the others."""
    speakers: tuple[str, ...]
    """The video, where nobody says who."""
    tracks: tuple[int, ...]
    """How many items in a row follow each other in time, and may be smoothed together."""
    frame_step: float | None
    """Seconds between these; None where none follows another."""

    def windows(self) -> Iterator[HeldOut]:
        """Windows of the items, in order."""
        ...


@runtime_checkable
class Source(Protocol):
    """Where all rows take their data from."""

    told: dict[str, Any]
    """What results and checkpoints tell of the data."""

    def batches(self, config: TrainConfig, *, on_videos: bool, hook: Hook) -> Batches:
        """Batches of `train` and `choose` as a configuration asks for them."""
        ...

    def faces(self, config: TrainConfig, hook: Hook) -> tuple[Batches, dict[str, Any]] | None:
        """Batches of faces alone, and what a checkpoint tells of them; None if the data lack what it asks."""
        ...

    def scored(self) -> dict[str, Scored]:
        """Items of `val`, by view: `clips`, `frames`, or both."""
        ...


class Clips:
    """Label-paired clips, of which none follows another."""

    frame_step: float | None = None

    def __init__(self, pairs: HeldPairs) -> None:
        self.labels: tuple[str | None, ...] = pairs.labels
        self.speakers, self.windows = pairs.speakers, pairs.windows
        self.tracks = (1,) * len(pairs.labels)


class Frames:
    """Every frame of recordings from the first labelled one to the last, whether anybody is seen or not.

    All are taken for ones of the median rate, as δ counts frames.
    """

    def __init__(self, recordings: Sequence[Recording], n_faces: int) -> None:
        steps = {each.frame_step for each in recordings}
        if None in steps or not steps:
            raise DatasetError("no video of split 'val' has a label for each frame; give a corpus that has")
        self.recordings, self.n_faces = recordings, n_faces
        self.frame_step: float | None = float(np.median([each.frame_step for each in recordings]))
        self.labels: tuple[str | None, ...] = ()
        self.speakers: tuple[str, ...] = ()
        self.tracks: tuple[int, ...] = ()
        for each in recordings:
            _, of_stretch = every_frame(each.stretches, each.frame_step or 0.0)
            names = [stretch.label for stretch in each.stretches]
            self.labels += tuple(names[k] if k >= 0 else None for k in of_stretch.tolist())
            self.speakers += (each.speaker,) * len(of_stretch)
            self.tracks += (len(of_stretch),)

    def windows(self) -> Iterator[HeldOut]:
        """The frames of one recording after the other."""
        done = 0
        for recording in self.recordings:
            times, _ = every_frame(recording.stretches, recording.frame_step or 0.0)
            for start in range(0, len(times), HELD_ROWS):
                drawn = [Moment(recording, time) for time in times[start : start + HELD_ROWS].tolist()]
                inputs = look_at(drawn, self.n_faces, N_COLUMNS, recording.crops.shape[-1], ())
                yield HeldOut(inputs, np.arange(done, done + len(drawn)))
                done += len(drawn)


@dataclass
class Pairs:
    """FER+ faces with RAVDESS' and EMO-DB's speech of the same label, as clips and as pseudo-videos."""

    folder: Path
    stills: Stills
    utterances: list[Clip]
    told: dict[str, Any]
    made: dict[tuple[PairAugmentation, bool], Batches] = field(default_factory=dict)
    """Batches by what decides them; a row draws from the same ones as any other."""

    def batches(self, config: TrainConfig, *, on_videos: bool, hook: Hook) -> Batches:
        """Pairs, drawn anew for each batch; or windows of pairs that were laid end to end once."""
        augmentation, input_px = _asked_for(config)
        key = augmentation, on_videos
        if key not in self.made and on_videos:
            train, choose = (self._videos(split) for split in ("train", "choose"))
            # chosen by a few windows a stretch: every frame would take longer than the training
            recordings = [*train, *(replace(each, frame_step=None) for each in choose)]
            self.made[key] = RecordingBatches(recordings, augmentation, input_px, 0.0, hook)
        elif key not in self.made:
            self.made[key] = PairBatches(self.stills, self.utterances, augmentation, input_px, hook)
        return self.made[key]

    def faces(self, config: TrainConfig, hook: Hook) -> tuple[Batches, dict[str, Any]] | None:
        """FER+, and beside it `faces_unlabelled` where that is there."""
        if config.per_class or (config.semi.n_faces and not (self.folder / "faces_unlabelled").is_dir()):
            return None
        return read_batches(config, self.folder, hook)

    def scored(self) -> dict[str, Scored]:
        """Clips, and the frames of pseudo-videos."""
        clips = Clips(HeldPairs(self.stills, self.utterances, "val", N_FACES))
        return {"clips": clips, "frames": Frames(self._videos("val"), N_FACES)}

    def _videos(self, split: str) -> list[Recording]:
        return pseudo_videos(self.stills, self.utterances, split, N_FACES)


@dataclass
class Recordings:
    """A prepared corpus whose frames are labelled one by one; others beside it lend faces alone."""

    folder: Path
    videos: list[Recording]
    has_unlabelled: bool
    """Whether there are faces without labels, other than those that a pool leaves over."""
    told: dict[str, Any]
    made: dict[PairAugmentation, Batches] = field(default_factory=dict)

    def batches(self, config: TrainConfig, *, on_videos: bool, hook: Hook) -> Batches:
        """Windows of the recordings, which are videos for every row."""
        del on_videos  # here it makes no difference
        augmentation, input_px = _asked_for(config)
        if augmentation not in self.made:
            self.made[augmentation] = RecordingBatches(
                self.videos, augmentation, input_px, config.balance, hook
            )
        return self.made[augmentation]

    def faces(self, config: TrainConfig, hook: Hook) -> tuple[Batches, dict[str, Any]] | None:
        """Those of all corpora that lie side by side."""
        if config.semi.n_faces and not (self.has_unlabelled or config.per_class):
            return None  # known before all faces that have labels are gathered in memory
        batches, told = read_batches(config, self.folder, hook)
        return None if told.get("n_unlabelled") == 0 else (batches, told)

    def scored(self) -> dict[str, Scored]:
        """All labelled frames, those without a crop too."""
        return {"frames": Frames([each for each in self.videos if each.split == "val"], N_FACES)}


def _asked_for(config: TrainConfig) -> tuple[PairAugmentation, int]:
    """How windows of a configuration are varied, and the side of its faces."""
    assert isinstance(config.augmentation, PairAugmentation)
    assert isinstance(config.network, ExpressionNetConfig)
    return config.augmentation, config.network.face.input_px


def read_pairs(folder: Path) -> Pairs:
    """Label-paired clips from a folder that holds `ferplus`, `ravdess_speech` and `emodb`.

    Raises:
        DatasetError: One is missing, or a speaker is in two splits.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; give the one that holds the corpora's folders")
    utterances = read_ravdess(folder / "ravdess_speech") + read_emodb(folder / "emodb")
    refuse_shared_speakers(utterances)
    told = {"corpora": ["FER+", "RAVDESS", "EMO-DB"], "licence": LICENCES["both"]}
    return Pairs(folder, read_ferplus(folder / "ferplus"), utterances, told)


def read_recordings(folder: Path) -> Recordings:
    """A prepared corpus whose frames are labelled one by one, alone or side by side with others.

    Raises:
        DatasetError: There is none, or one was not finished or is damaged.
    """
    recordings = read_prepared(folder)
    videos = [each for each in recordings if each.frame_step is not None and each.stretches]
    has_unlabelled = any(
        each.split == "train" and not each.stretches and len(each.crops) > 0 for each in recordings
    )
    return Recordings(folder, videos, has_unlabelled, tell_recordings(videos))
