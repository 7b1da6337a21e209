"""The files of a model folder: rounded once, and an encoder in 8 bits says nearly what it said."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.modelfiles import ask_model, quantize_encoder, round_to_half, write_modality
from mien.models.checkpoint import build_network
from mien.predictor import FACE_FILES, SPEECH_FILES, ModelInfo
from mien.recipes import override, train_face, train_speech
from mien.train import describe
from mien.whole import checksum
from mien.windows import N_COLUMNS
from some_networks import fill_with_noise

SMALL = ["network.attention.name=none"]
SPECS = {
    "face": describe(override(train_face(), [*SMALL, "network.input_px=32"]), {}, 48),
    "speech": replace(describe(override(train_speech(), SMALL), {}, None), temperature=20.0),
}


def examples(modality: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    if modality == "face":
        return {"crops": rng.integers(0, 256, (6, 48, 48, 3), np.uint8)}
    mask = np.arange(N_COLUMNS) < rng.integers(100, N_COLUMNS + 1, (4, 1))
    return {"log_mel": rng.normal(-6, 3, (4, 64, N_COLUMNS)).astype(np.float32), "column_mask": mask}


def info(folder) -> ModelInfo:
    sha256 = {path.name: checksum(path) for path in folder.iterdir()}
    return ModelInfo(
        name="one", folder=folder, voice_weight=1.0, face_weight=1.0, sha256=sha256, licences={}, figures={}
    )


def test_weights_are_rounded_once() -> None:
    network = build_network(SPECS["face"])
    fill_with_noise(network)
    round_to_half(network)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            assert torch.equal(tensor, tensor.half().float())


@pytest.mark.slow
def test_an_encoder_in_8_bits_is_smaller_and_says_nearly_the_same(tmp_path) -> None:
    for modality, (encoder, head) in (("face", FACE_FILES), ("speech", SPEECH_FILES)):
        folder = tmp_path / modality
        folder.mkdir()
        network = build_network(SPECS[modality])
        fill_with_noise(network)
        round_to_half(network)
        write_modality(network, SPECS[modality], folder)
        inputs, size, unchanged = (
            examples(modality),
            (folder / encoder).stat().st_size,
            checksum(folder / head),
        )
        before = ask_model(info(folder), modality, inputs)
        quantize_encoder(network, SPECS[modality], folder, inputs)
        after = ask_model(info(folder), modality, inputs)
        assert before.shape == after.shape == (len(before), 8)
        assert 0 < np.abs(before - after).max() < 0.1
        assert (folder / encoder).stat().st_size < 0.6 * size
        assert checksum(folder / head) == unchanged
        assert np.ptp(before, axis=0).max() > 0.001, "rows that all read the same would prove nothing"
