"""A checkpoint is scored on what was prepared: on features of a folder too, which no other file has."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from media_files import write_sound, write_still
from mien.datasets.augment import FaceAugmentation, SpeechAugmentation
from mien.datasets.entries import PrepareSettings
from mien.datasets.pairs import PairAugmentation
from mien.datasets.prepared import Recording, read_prepared, write_shard
from mien.datasets.recordings import RecordingBatches
from mien.errors import CheckpointError, DatasetError
from mien.evaluate import score_views
from mien.export import export
from mien.expressions import EXPRESSIONS
from mien.losses import CoarseFineConfig
from mien.models.checkpoint import build_network, load_network, save_network
from mien.models.face import FaceNetConfig
from mien.models.network import ExpressionNetConfig, feature_widths
from mien.models.speech import SpeechNetConfig
from mien.postprocess import box_mean, fill_frames
from mien.prepare import prepare
from mien.recipes import TrainConfig
from mien.recorded import score_prepared
from mien.sources import tell_recordings
from mien.train import describe, fit
from portraits import music, scene
from some_extractors import write_folder
from some_networks import fill_with_noise
from some_recordings import frames, make_recording

GIVEN_FACE = FaceNetConfig(backbone="features", n_features=4)
GIVEN_SPEECH = SpeechNetConfig(backbone="features", n_features=3)
SHORT: dict[str, Any] = {"epochs": 1, "batch_size": 4, "learning_rate": 0.01}
FACE = TrainConfig(modality="face", network=GIVEN_FACE, augmentation=FaceAugmentation(), **SHORT)
SPEECH = TrainConfig(modality="speech", network=GIVEN_SPEECH, augmentation=SpeechAugmentation(), **SHORT)
BOTH = TrainConfig(
    modality="both",
    network=ExpressionNetConfig(face=GIVEN_FACE, speech=GIVEN_SPEECH, learned=True),
    augmentation=PairAugmentation(n_faces=3, drop_voice=0.2, drop_face=0.2),
    coarse_fine=CoarseFineConfig(),
    **SHORT,
)


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stills and sounds of all splits, with features from folders."""
    folder = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    lines, faces, sounds = ["path,label,split"], {}, {}
    for number, split in enumerate(("train", "train", "choose", "val")):
        for label in ("Fear", "Anger"):
            name = f"{number}{label}"
            write_still(folder / f"{name}.png", scene(20 * number))
            write_sound(folder / f"{name}.wav", [(0.0, music(1.0))])
            lines += [f"{name}.png,{label},{split}", f"{name}.wav,{label},{split}"]
            shift = 3.0 * (label == "Fear")
            faces[f"own: {name}.png"] = generator.normal(shift, 1, (1, 4))
            sounds[f"own: {name}.wav"] = generator.normal(shift, 1, (20, 3))
    (folder / "own.csv").write_text("\n".join(lines))
    settings = PrepareSettings(
        face_extractor=write_folder(folder / "faces", "face", 25, faces),
        speech_extractor=write_folder(folder / "sounds", "speech", 20, sounds),
    )
    prepare("clips", folder / "own.csv", folder / "out", settings=settings, n_workers=1, hook=quiet)
    return folder / "out"


def fitted(config: TrainConfig, prepared: Path, out: Path) -> Path:
    recordings = read_prepared(prepared)
    widths = feature_widths(config.network)
    batches = RecordingBatches(recordings, config.augmentation, 48, 0.0, quiet, features=widths)
    told = tell_recordings(recordings) | {"extractors": batches.extractors}
    return fit(config, batches, told, out, quiet, n_threads=1)


@pytest.mark.parametrize("config", [FACE, SPEECH, BOTH], ids=lambda config: config.modality)
def test_features_of_a_folder_from_preparing_to_figures(
    config: TrainConfig, prepared: Path, tmp_path: Path
) -> None:
    checkpoint = fitted(config, prepared, tmp_path / "run")
    predictions = score_prepared(checkpoint, prepared, "val", quiet)
    n, nothing = {"face": (2, "no face"), "speech": (2, "no sound"), "both": (4, "")}[config.modality]
    assert np.isfinite(predictions.raw["fused"]).all(1).sum() == n
    assert [note for note in predictions.notes if note] == [nothing] * (4 - n)
    figures = score_views(predictions)
    assert figures[0].raw.n == 4
    assert figures[0].post is not figures[0].raw
    network, spec = load_network(checkpoint)
    assert set(spec.training["data"]["extractors"]) == set(feature_widths(config.network))
    if config.modality == "face":
        recording = next(each for each in read_prepared(prepared) if each.name == "own: 3Fear.png")
        with torch.no_grad():
            given = torch.from_numpy(np.array(recording.face_features)).view(1, 1, 1, 4)
            expected = torch.softmax(network(given) / spec.temperature, dim=-1).numpy()[0]
        row = predictions.names.index("own: 3Fear.png")
        np.testing.assert_allclose(predictions.raw["face" if n == 4 else "fused"][row], expected, atol=1e-6)
        with pytest.raises(
            CheckpointError, match=r"takes features from a folder, which no other file has; sc"
        ):
            export([checkpoint], tmp_path / "model")
        assert not (tmp_path / "model").exists()


def write_corpus(folder: Path, *recordings: Recording) -> Path:
    told = {"corpus": "corpus", "size_px": 8}
    write_shard(folder / "shard-00000", ((each, None) for each in recordings), 8, told)
    (folder / "prepared.json").write_text('{"n_shards": 1}')
    return folder


def write_checkpoint(path: Path, config: TrainConfig, data: dict[str, Any], crop_px: int = 8) -> Path:
    spec = replace(describe(config, data, crop_px), temperature=1.5)
    network = build_network(spec)
    fill_with_noise(network)
    save_network(network, spec, path)
    return path


def crops_config() -> TrainConfig:
    return replace(FACE, network=FaceNetConfig(input_px=16))


def test_frames_are_filled_and_smoothed_over_their_recording(tmp_path: Path) -> None:
    seen = [time for time in frames(0, 4, 0.04) if not 1 < time < 1.5]
    stretches = (0.0, 1.6, "Fear"), (3.0, 4.0, "Anger")
    recording = make_recording(*stretches, frame_step=0.04, crop_times=seen, split="val")
    noise = np.random.default_rng(0).integers(0, 256, recording.crops.shape, np.uint8)
    folder = write_corpus(tmp_path / "out", replace(recording, crops=noise))
    checkpoint = write_checkpoint(tmp_path / "face.safetensors", crops_config(), {})
    predictions = score_prepared(checkpoint, folder, "val", quiet)
    assert predictions.labels == ("Fear",) * 40 + ("Anger",) * 25
    network, spec = load_network(checkpoint)
    times = np.array(frames(0, 4, 0.04))
    near = np.abs(np.array(seen)[None] - times[:, None])
    with torch.no_grad():
        faces = torch.from_numpy(noise[near.argmin(1)]).unsqueeze(1).float() / 255
        probs = torch.softmax(network(faces) / spec.temperature, dim=-1).numpy()
    probs[near.min(1) > 0.2] = np.nan
    assert np.isnan(probs).any()
    filled, labelled = fill_frames(probs), np.r_[0:40, 75:100]
    np.testing.assert_allclose(predictions.raw["fused"], filled[labelled], atol=1e-5)
    np.testing.assert_allclose(predictions.post["fused"], box_mean(filled)[labelled], atol=1e-5)


def test_a_stretch_is_one_row_and_nobody_is_no_prediction(tmp_path: Path) -> None:
    seen = make_recording((0.0, 2.0, "Fear"), (5.0, 6.0, "Anger"), crop_times=frames(0, 2, 0.2), split="val")
    silent = make_recording((0.0, 1.0, "Fear"), name="two", split="val", seconds=1.0)
    folder = write_corpus(tmp_path / "out", seen, silent)
    checkpoint = write_checkpoint(tmp_path / "face.safetensors", crops_config(), {})
    predictions = score_prepared(checkpoint, folder, "val", quiet)
    assert predictions.labels == ("Fear", "Anger", "Fear")
    assert [bool(note) for note in predictions.notes] == [False, True, True]
    assert np.isfinite(predictions.post["fused"]).all(1).tolist() == [True, True, False]
    assert predictions.raw["fused"].shape == (3, len(EXPRESSIONS))


def test_features_that_are_others_are_refused(prepared: Path, tmp_path: Path) -> None:
    [recording, *_] = read_prepared(prepared)
    told = recording.extractors
    for name, change in (("rate", 30.0), ("from", "onnx")):
        other = {"extractors": {"face": {**told["face"], name: change}}}
        checkpoint = write_checkpoint(tmp_path / "face.safetensors", FACE, other)
        with pytest.raises(CheckpointError, match="was trained on features of face by another extractor"):
            score_prepared(checkpoint, prepared, "val", quiet)
    wider = replace(FACE, network=FaceNetConfig(backbone="features", n_features=9))
    checkpoint = write_checkpoint(tmp_path / "face.safetensors", wider, {})
    with pytest.raises(DatasetError, match="has 4 features of face, the network takes 9; set its n_features"):
        score_prepared(checkpoint, prepared, "val", quiet)


def test_what_no_recording_has_is_not_asked_about(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "out", make_recording((0.0, 1.0, "Fear"), split="val", seconds=1.0))
    checkpoint = write_checkpoint(tmp_path / "face.safetensors", crops_config(), {})
    with pytest.raises(CheckpointError, match=r"is of face, and split 'val' of .* has no face"):
        score_prepared(checkpoint, folder, "val", quiet)


def test_frames_by_one_sense_alone_are_those_that_it_has_something_of(tmp_path: Path) -> None:
    seen = make_recording(
        (0, 2, "Fear"), frame_step=0.1, crop_times=frames(0, 1, 0.1), split="val", seconds=9
    )
    folder = write_corpus(tmp_path / "out", seen)
    config = replace(BOTH, network=ExpressionNetConfig(face=FaceNetConfig(input_px=16)))
    checkpoint = write_checkpoint(tmp_path / "both.safetensors", config, {})
    said = score_prepared(checkpoint, folder, "val", quiet)
    for kind in (said.raw, said.post):
        assert np.isfinite(kind["fused"]).all()
        assert np.isfinite(kind["voice"]).all()
        assert np.isfinite(kind["face"]).all(1).tolist() == [True] * said.asked["face"].sum() + [False] * int(
            (~said.asked["face"]).sum()
        )
    assert 10 <= said.asked["face"].sum() < 20


def test_a_split_with_nothing_labelled_is_refused(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "out", make_recording((0.0, 1.0, "Fear"), crop_times=[0.1]))
    checkpoint = write_checkpoint(tmp_path / "face.safetensors", crops_config(), {})
    with pytest.raises(DatasetError, match="has nothing labelled in split 'val'"):
        score_prepared(checkpoint, folder, "val", quiet)
