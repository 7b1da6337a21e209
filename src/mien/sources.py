"""A configuration and a data folder in: batches of that data, and what a checkpoint tells of them, out."""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.datasets.augment import FaceAugmentation, SpeechAugmentation
from mien.datasets.batches import FaceBatches, SpeechBatches
from mien.datasets.corpus import count_labels, labelled, refuse_shared_speakers
from mien.datasets.emodb import read_emodb
from mien.datasets.entries import PrepareSettings
from mien.datasets.ferplus import read_ferplus
from mien.datasets.pairs import PairAugmentation, PairBatches
from mien.datasets.pool import draw_pool, gather_crops, gather_stills, without_repeats
from mien.datasets.prepared import has_part, is_prepared, read_prepared
from mien.datasets.ravdess import read_ravdess
from mien.datasets.recordings import RecordingBatches
from mien.datasets.unlabelled import read_unlabelled
from mien.errors import CheckpointError, DatasetError, InputError
from mien.expressions import EXPRESSIONS
from mien.faces import Template
from mien.models.checkpoint import load_network
from mien.models.face import FaceNetConfig
from mien.models.network import ExpressionNetConfig, feature_widths
from mien.models.speech import SpeechNetConfig
from mien.predictor import load_model, read_part
from mien.prepare import prepare
from mien.recipes import RECIPES
from mien.whole import checksum
from mien.windows import WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.datasets.batches import Batches
    from mien.datasets.prepared import Recording
    from mien.recipes import TrainConfig
    from mien.spans import Hook

N_EXAMPLES = 256
"""To which the 8-bit form of an encoder is fitted."""

LICENCES = {
    "face": "FER2013's images state no licence; FER+ votes MIT",
    "speech": "CC BY-NC-SA 4.0 (RAVDESS): research only",
    "both": "CC BY-NC-SA 4.0 (RAVDESS): research only; FER2013's images state no licence; FER+ votes MIT",
}
"""Of weights trained on the corpora that are read as they are."""


def read_batches(
    config: TrainConfig, data: Path, hook: Hook, device: torch.device | None = None
) -> tuple[Batches, dict[str, Any]]:
    """The data of a configuration, and what the checkpoint tells of them.

    Args:
        config: Says which data are wanted.
        data: What `mien prepare` wrote, or the folder that holds `ferplus`, or `ravdess_speech` and `emodb`.
        hook: Called with what is done, how far, and how much there is.
        device: Where single faces and sounds lie and are varied; the processor without it.

    Raises:
        DatasetError: The data are missing or leak between splits.
        InputError: The configuration asks for what these data cannot give.
    """
    if not data.is_dir():
        raise DatasetError(f"{data} is not a folder; give what `mien prepare` wrote, or the corpora's folder")
    if is_prepared(data):
        return read_recordings(config, data, hook)
    if feature_widths(config.network):
        raise InputError("backbone 'features' needs prepared data; run  mien prepare  with an extractor")
    if config.per_class:
        raise InputError("per_class draws from prepared corpora; give --data what `mien prepare` wrote")
    licence = {"licence": LICENCES[config.modality]}
    if config.modality == "face":
        assert isinstance(config.augmentation, FaceAugmentation)
        assert isinstance(config.network, FaceNetConfig)
        stills = read_ferplus(data / "ferplus")
        faces = FaceBatches(stills, config.augmentation, config.network.input_px, config.balance, device)
        if config.unlabelled or config.semi.n_faces:
            faces.unlabelled = read_unlabelled(data / "faces_unlabelled", Template(faces.crop_px), hook)
        parts = {split: count_labels(stills.part(split).labels) for split in ("train", "choose")}
        told = {"corpora": ["FER+"], "labels": parts, "dropped": stills.dropped, **licence}
        of_each = list(zip(stills.names, stills.labels, stills.splits.tolist(), strict=True))
        return faces, told | {"rows_sha256": digest(of_each)}
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
    told = {"corpora": ["RAVDESS", "EMO-DB"], "labels": parts, "speakers": speakers, **licence}
    if isinstance(config.augmentation, SpeechAugmentation):
        return SpeechBatches(utterances, config.augmentation, config.balance, hook, device), told
    assert isinstance(config.augmentation, PairAugmentation)
    assert isinstance(config.network, ExpressionNetConfig)
    stills = read_ferplus(data / "ferplus")
    pairs = PairBatches(stills, utterances, config.augmentation, config.network.face.input_px, hook)
    return pairs, {**told, "corpora": ["FER+", "RAVDESS", "EMO-DB"], "dropped": stills.dropped}


def find_checkpoint(
    name_or_path: str, modality: str
) -> tuple[Path, FaceNetConfig | SpeechNetConfig | ExpressionNetConfig]:
    """A checkpoint and its network's configuration, by its path, or where none is there, by a model's name.

    Args:
        name_or_path: Of a checkpoint, a model that ships, or a model's folder.
        modality: What its network must be of.

    Raises:
        InputError: There is neither a checkpoint nor a model, or the model has no such network.
        CheckpointError: It is of another modality, damaged, or not what the model's manifest says.
    """
    path = Path(name_or_path)
    if not path.is_file():
        if path.suffix == ".safetensors":
            raise InputError(f"{path} is not there; give a checkpoint, or a model's name, such as mien-b")
        model = load_model(name_or_path)
        path = model.path(f"{modality}.safetensors")
        if not path.is_file():
            raise InputError(f"model {name_or_path} has no {path.name} to start from; give a checkpoint")
        read_part(model, path.name)  # is it what the manifest says?
    network, spec = load_network(path)
    if spec.modality != modality:
        raise CheckpointError(f"{path} holds a network of {spec.modality}; expected one of {modality}")
    return path, network.config


def draw_examples(checkpoint: Path, data: Path, hook: Hook) -> tuple[str, dict[str, np.ndarray]]:
    """Varied training items as an encoder is given them, and the modality: what its 8-bit form is fitted to.

    Args:
        checkpoint: Of a face net or a speech net.
        data: As `read_batches` takes it; `train` alone is drawn from.
        hook: Called with what is done, how far, and how much there is.

    Raises:
        CheckpointError: It is damaged, or of both networks at once.
        InputError: Its encoder is an extractor of one's own.
    """
    made, spec = load_network(checkpoint)
    network = made.config
    if isinstance(network, ExpressionNetConfig):
        raise CheckpointError(f"{checkpoint} holds both networks in one; give one of each modality")
    if network.given is not None:
        raise InputError(f"the encoder of {checkpoint} is an extractor; leave --int8 out")
    if isinstance(network, FaceNetConfig):
        assert spec.crop_px is not None
        network = replace(network, input_px=spec.crop_px)  # the encoder itself resizes
        config = replace(RECIPES["face"](), network=network)
    else:
        config = replace(RECIPES["speech"](), network=network, augmentation=SpeechAugmentation(crop=WINDOW))
    batches, _ = read_batches(config, data, hook)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inputs = [each.numpy() for each in batches.draw(N_EXAMPLES).inputs]
    if spec.modality == "speech":
        return "speech", {"log_mel": inputs[0], "column_mask": inputs[1]}
    grey = (255 * inputs[0][:, 0, :, :, None]).round().clip(0, 255).astype(np.uint8)
    return "face", {"crops": np.repeat(grey, 3, axis=3)}


def lacking_in(checkpoint: Path) -> list[str]:
    """A line that names the expressions that a checkpoint saw no row of in training, if there are any.

    One more says how many pictures were left out since a later split has them, too.
    """
    told = load_network(checkpoint)[1].training["data"]
    counts = (told.get("labels") or told.get("stretches") or {}).get("train", {})
    lacking = [name for name in EXPRESSIONS if counts.get(name) == 0]
    lines = [f"train has no row of {', '.join(lacking)}: never learnt"] if lacking else []
    if repeats := told.get("repeats"):
        lines.append(f"left out, since a later split has them, too: {repeats} pictures")
    return lines


def prepare_table(table: Path, out: Path, start: Path | None, *, crops: bool, hook: Hook) -> Path:
    """The folder in which the clips of a CSV table lie prepared: made, or gone on with, in a run's folder.

    Args:
        table: As `mien prepare clips` takes it.
        out: Folder of the run.
        start: Checkpoint of the run, whose crops' size is taken.
        crops: Pictures are face crops already.
        hook: Called with what is done, how far, and how much there is.

    Raises:
        DatasetError: The table cannot be read, or nothing of it can be used.
        InputError: This is one of several processes, which would prepare it all at once.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # as torchrun tells its processes
        raise InputError(
            f"several processes cannot prepare {table.name} at once; run  mien prepare clips {table.name} "
            "--out FOLDER  first and give --data FOLDER"
        )
    size_px = PrepareSettings().size_px
    if start is not None:
        size_px = load_network(start)[1].crop_px or size_px
    settings = PrepareSettings(size_px=size_px, crops=crops)
    prepare("clips", table, out / "prepared", settings=settings, n_workers=1, hook=hook)
    return out / "prepared"


def read_recordings(config: TrainConfig, data: Path, hook: Hook) -> tuple[Batches, dict[str, Any]]:
    """Batches over prepared corpora; over single faces, gathered in memory, where a stage asks for those."""
    there = [each for each in read_prepared(data) if has_part(each, config.modality)]
    recordings, rest = without_repeats(there), []
    told: dict[str, Any] = {"repeats": len(there) - len(recordings)}
    if told["repeats"] and not any(each.split == "train" for each in recordings):
        raise DatasetError(
            f"every picture of 'train' in {data} is one of 'choose' or 'val', too; split others"
        )
    if config.per_class:
        pool = draw_pool(recordings, per_class=config.per_class, seed=config.seed)
        recordings, rest = pool.recordings, pool.unlabelled
        told["pool"] = {"stills": pool.stills, "frames": pool.frames}
    told |= tell_recordings(recordings)
    if config.modality == "face" and (config.distil or config.unlabelled or config.semi.n_faces):
        if feature_widths(config.network):
            raise InputError("distil, unlabelled and semi need faces, and backbone 'features' has none")
        assert isinstance(config.augmentation, FaceAugmentation)
        assert isinstance(config.network, FaceNetConfig)
        faces = FaceBatches(
            gather_stills(recordings), config.augmentation, config.network.input_px, config.balance
        )
        without = [each for each in recordings if each.split == "train" and not each.stretches]
        faces.unlabelled = gather_crops([*rest, *without], faces.crop_px)
        return faces, told | {"n_unlabelled": len(faces.unlabelled)}
    network = config.network.face if isinstance(config.network, ExpressionNetConfig) else config.network
    size_px = network.input_px if isinstance(network, FaceNetConfig) else 0
    batches = RecordingBatches(
        recordings,
        config.augmentation,
        size_px,
        config.balance,
        hook,
        features=feature_widths(config.network),
    )
    return batches, told | ({"extractors": batches.extractors} if batches.extractors else {})


def digest(rows: Sequence[object]) -> str:
    """A checksum by which a run knows whether it goes on with the data that it began with."""
    return sha256(repr(rows).encode()).hexdigest()


def tell_recordings(recordings: Sequence[Recording]) -> dict[str, Any]:
    """What a checkpoint tells of prepared recordings: labelled stretches by expression, corpora, speakers."""
    corpora = sorted({each.corpus for each in recordings})
    labels = {
        split: count_labels(
            [part.label for each in recordings if each.split == split for part in each.stretches]
        )
        for split in ("train", "choose")
    }
    speakers = {split: len({each.speaker for each in recordings if each.split == split}) for split in labels}
    licence = f"not stated; trained on {', '.join(corpora)}, whose terms hold"
    of_each = sorted((each.corpus, each.name, each.split, repr(each.stretches)) for each in recordings)
    told = {"corpora": corpora, "stretches": labels, "speakers": speakers, "licence": licence}
    return told | {"recordings_sha256": digest(of_each)}


def ask_teachers(
    batches: Batches, teachers: Sequence[Path], config: TrainConfig, hook: Hook
) -> dict[str, Any]:
    """Gives the teachers a say in the targets; what a checkpoint tells of it."""
    assert isinstance(batches, FaceBatches), "the configuration refuses teachers of anything but faces"
    faces = np.asarray(batches.unlabelled) if config.unlabelled else np.zeros_like(batches.unlabelled[:0])
    batches.learn_from(
        [load_network(path)[0].to(batches.device) for path in teachers], config.distil, faces, hook
    )
    return {"unlabelled": len(faces), "teachers": [checksum(path) for path in teachers]}
