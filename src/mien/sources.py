"""A configuration and a data folder in: batches of that data, and what a checkpoint tells of them, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mien.datasets.augment import FaceAugmentation, SpeechAugmentation
from mien.datasets.batches import FaceBatches, SpeechBatches
from mien.datasets.corpus import count_labels, labelled, refuse_shared_speakers
from mien.datasets.emodb import read_emodb
from mien.datasets.ferplus import read_ferplus
from mien.datasets.pairs import PairAugmentation, PairBatches
from mien.datasets.ravdess import read_ravdess
from mien.datasets.unlabelled import read_unlabelled
from mien.errors import DatasetError
from mien.faces import Template
from mien.models.face import FaceNetConfig
from mien.models.network import ExpressionNetConfig

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from mien.datasets.batches import Batches
    from mien.recipes import TrainConfig
    from mien.spans import Hook


def read_batches(config: TrainConfig, data: Path, hook: Hook) -> tuple[Batches, dict[str, Any]]:
    """The data of a configuration, and what the checkpoint tells of them."""
    if not data.is_dir():
        raise DatasetError(f"{data} is not a folder; give the one that holds the corpora's folders")
    if config.modality == "face":
        assert isinstance(config.augmentation, FaceAugmentation)
        assert isinstance(config.network, FaceNetConfig)
        stills = read_ferplus(data / "ferplus")
        faces = FaceBatches(stills, config.augmentation, config.network.input_px, config.balance)
        parts = {split: count_labels(stills.part(split).labels) for split in ("train", "choose")}
        return faces, {"corpora": ["FER+"], "labels": parts, "dropped": stills.dropped}
    utterances = read_ravdess(data / "ravdess_speech") + read_emodb(data / "emodb")
    refuse_shared_speakers(utterances)
    parts = {
        split: count_labels([label for _, label in labelled(utterances, split)])
        for split in ("train", "choose")
    }
    speakers = {
        split: sorted({each.speaker for each in utterances if each.split == split})
        for split in ("train", "choose")
    }
    told = {"corpora": ["RAVDESS", "EMO-DB"], "labels": parts, "speakers": speakers}
    if isinstance(config.augmentation, SpeechAugmentation):
        return SpeechBatches(utterances, config.augmentation, config.balance, hook), told
    assert isinstance(config.augmentation, PairAugmentation)
    assert isinstance(config.network, ExpressionNetConfig)
    stills = read_ferplus(data / "ferplus")
    pairs = PairBatches(stills, utterances, config.augmentation, config.network.face.input_px, hook)
    return pairs, {**told, "corpora": ["FER+", "RAVDESS", "EMO-DB"], "dropped": stills.dropped}


def ask_teacher(batches: Batches, teacher: nn.Module, config: TrainConfig, data: Path, hook: Hook) -> int:
    """Targets that the network of `--from` has a say in; how many unlabelled faces there are now."""
    assert isinstance(batches, FaceBatches), "the configuration refuses a teacher of anything but faces"
    size_px = batches.crop_px
    unlabelled = np.zeros((0, size_px, size_px), np.uint8)
    if config.unlabelled:
        unlabelled = read_unlabelled(data / "faces_unlabelled", Template(size_px), hook)
    batches.learn_from(teacher, config.distil, unlabelled, hook)
    return len(unlabelled)
