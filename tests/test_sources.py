"""Which batches a configuration and a folder give, and what the checkpoint tells of them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corpora import write_emodb, write_ferplus, write_ravdess
from corpora_pictures import blobs
from mien.datasets.batches import FaceBatches, SpeechBatches
from mien.datasets.entries import PrepareSettings
from mien.datasets.ferplus import read_ferplus
from mien.datasets.pairs import PairBatches
from mien.datasets.prepared import read_prepared
from mien.datasets.recordings import RecordingBatches
from mien.errors import CheckpointError, DatasetError, InputError
from mien.models.checkpoint import build_network, save_network
from mien.predictor import load_model
from mien.prepare import prepare
from mien.recipes import RECIPES, override
from mien.sources import (
    N_EXAMPLES,
    draw_examples,
    find_checkpoint,
    lacking_in,
    prepare_table,
    read_batches,
    tell_recordings,
)
from mien.train import describe

WRITERS = {"ferplus": write_ferplus, "ravdess": write_ravdess, "emodb": write_emodb}
FOLDERS = {"ferplus": "ferplus", "ravdess": "ravdess_speech", "emodb": "emodb"}


def no_hook(what: str, done: float, total: float) -> None:
    assert 0 <= done <= total


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_ferplus(folder / "ferplus", n_train=64)
    write_ravdess(folder / "ravdess_speech")
    write_emodb(folder / "emodb")
    return folder


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    for corpus, name in FOLDERS.items():
        prepare(corpus, raw / name, folder / corpus, settings=PrepareSettings(), n_workers=1, hook=no_hook)
    return folder


@pytest.mark.parametrize(
    ("recipe", "kind"), [("face", FaceBatches), ("speech", SpeechBatches), ("tuned", PairBatches)]
)
def test_corpora_as_they_are_give_their_own_batches(raw: Path, recipe: str, kind: type) -> None:
    batches, told = read_batches(RECIPES[recipe](), raw, no_hook)
    assert isinstance(batches, kind)
    assert "licence" in told
    assert sum(told["labels"]["train"].values()) == batches.n_train


@pytest.mark.parametrize("recipe", ["face", "speech"])
def test_prepared_corpora_give_what_they_hold(raw: Path, prepared: Path, recipe: str) -> None:
    config = override(RECIPES[recipe](), ["balance=0"])
    batches, told = read_batches(config, prepared, no_hook)
    assert isinstance(batches, RecordingBatches)
    as_they_are, _ = read_batches(config, raw, no_hook)
    assert batches.n_train == as_they_are.n_train
    assert sorted(batches.held_labels) == sorted(as_they_are.held_labels)
    for of_prepared, of_raw in (
        (batches.targets.numpy(), as_they_are.targets.numpy()),
        (batches.held_targets, as_they_are.held_targets),
    ):  # shares of votes, where people voted
        np.testing.assert_allclose(np.sort(of_prepared, axis=0), np.sort(of_raw, axis=0), atol=1e-6)
    assert (batches.crop_px, batches.mel_range is None) == (
        as_they_are.crop_px,
        as_they_are.mel_range is None,
    )
    assert told["corpora"] == (["ferplus"] if recipe == "face" else ["emodb", "ravdess"])
    assert all(name in told["licence"] for name in told["corpora"])


def test_the_pool_leaves_the_others_without_labels(prepared: Path) -> None:
    config = override(RECIPES["face"](), ["per_class=5", "semi.n_faces=8"])
    batches, told = read_batches(config, prepared, no_hook)
    assert isinstance(batches, FaceBatches)
    assert set(told["pool"]["stills"].values()) == {5}
    assert batches.n_train == 8 * 5
    assert len(batches.unlabelled) == told["n_unlabelled"] == 57 - 40


def test_a_run_starts_from_a_model_or_a_checkpoint_with_its_network() -> None:
    path, network = find_checkpoint("mien-b", "face")
    assert path == load_model("mien-b").folder / "face.safetensors"
    assert network == RECIPES["face"]().network, "the network that ships is the recipe's"
    assert find_checkpoint(str(path), "face") == find_checkpoint(str(path.parent), "face") == (path, network)
    with pytest.raises(CheckpointError, match="a network of face; expected one of speech"):
        find_checkpoint(str(path), "speech")
    for name, words in {"a.safetensors": "a.safetensors", "mien-x": "mien-b", "mien-b": "both"}.items():
        with pytest.raises(InputError, match=words):
            find_checkpoint(name, "both")


def test_weights_of_a_model_are_what_its_manifest_says_or_no_run_starts_from_them(tmp_path: Path) -> None:
    copy = shutil.copytree(load_model("mien-b").folder, tmp_path / "copy")
    content = bytearray((copy / "face.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "face.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"face\.safetensors of model mien-b has sha256"):
        find_checkpoint(str(copy), "face")


@pytest.mark.parametrize(("split_of_other", "told"), [("choose", "has them, too: 1 pictures"), ("train", "")])
def test_a_picture_that_a_later_split_has_is_left_out_and_told(
    split_of_other: str, told: str, tmp_path: Path
) -> None:
    pictures = [
        ("a", blobs(1), "train"),
        ("b", blobs(2), "train"),
        ("c", blobs(3), "choose"),
        ("d", blobs(1), split_of_other),
    ]
    lines = ["path,label,split,speaker"]
    for name, image, split in pictures:
        Image.fromarray(image).save(tmp_path / f"{name}.png")
        lines.append(f"{name}.png,Fear,{split},{split} {name}")
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    data = prepare_table(tmp_path / "mine.csv", tmp_path, None, crops=True, hook=no_hook)
    config = override(RECIPES["face"](), ["balance=0"])
    batches, says = read_batches(config, data, no_hook)
    spec = describe(config, says, 48)
    save_network(build_network(spec), spec, tmp_path / "face.safetensors")
    assert batches.n_train == (1 if told else 3)
    assert told in "\n".join(lacking_in(tmp_path / "face.safetensors"))
    assert says["repeats"] == bool(told)


def test_if_every_picture_is_in_a_later_split_nothing_is_learnt(tmp_path: Path) -> None:
    lines = ["path,label,split,speaker"]
    for split in ("train", "choose"):
        Image.fromarray(blobs(1)).save(tmp_path / f"{split}.png")
        lines.append(f"{split}.png,Fear,{split},{split}")
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    data = prepare_table(tmp_path / "mine.csv", tmp_path, None, crops=True, hook=no_hook)
    with pytest.raises(
        DatasetError, match=r"every picture of 'train' in .* is one of 'choose' or 'val', too"
    ):
        read_batches(RECIPES["face"](), data, no_hook)


def test_a_table_of_clips_is_prepared_for_its_run(raw: Path, tmp_path: Path) -> None:
    faces = read_ferplus(raw / "ferplus").part("train").images[:6]
    rows = [f"{number}.png,Fear,{number}" for number in range(6)]
    for number, face in enumerate(faces):
        Image.fromarray(face).save(tmp_path / f"{number}.png")
    (tmp_path / "mine.csv").write_text("\n".join(("path,label,speaker", *rows)))
    start = load_model("mien-b").folder / "face.safetensors"
    for begin in (None, start):
        out = tmp_path / ("run" if begin is None else "tuned")
        place = prepare_table(tmp_path / "mine.csv", out, begin, crops=True, hook=no_hook)
        found = {Path(each.name).stem: each for each in read_prepared(place)}
        assert len(found) == 6
        for number, face in enumerate(faces):
            np.testing.assert_array_equal(found[f"mine: {number}"].crops[0], face)


def test_several_processes_do_not_prepare_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"mien prepare clips mine\.csv --out FOLDER  first"):
        prepare_table(tmp_path / "mine.csv", tmp_path / "run", None, crops=True, hook=no_hook)
    assert not list(tmp_path.iterdir())


def test_what_is_told_of_recordings_changes_with_whose_they_are(prepared: Path) -> None:
    recordings = read_prepared(prepared)
    told = tell_recordings(recordings)
    assert tell_recordings(recordings[::-1]) == told
    other = [replace(recordings[0], name="of another person"), *recordings[1:]]
    assert tell_recordings(other) != told, "a run of the one is not gone on with on the other"


def test_a_pool_is_drawn_from_prepared_corpora_only(raw: Path) -> None:
    with pytest.raises(InputError, match="mien prepare"):
        read_batches(override(RECIPES["face"](), ["per_class=5"]), raw, no_hook)


def test_prepared_sound_has_no_faces_to_train_on(prepared: Path) -> None:
    with pytest.raises(DatasetError):
        read_batches(RECIPES["face"](), prepared / "emodb", no_hook)
    with pytest.raises(DatasetError, match="is not a folder"):
        read_batches(RECIPES["face"](), prepared / "nowhere", no_hook)


def test_an_unfinished_corpus_is_not_trained_on(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "shard-00000").mkdir(parents=True)
    with pytest.raises(DatasetError, match="prepare"):
        read_batches(RECIPES["face"](), tmp_path, no_hook)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["face", "speech"])
def test_examples_are_training_items_as_an_encoder_takes_them(
    raw: Path, prepared: Path, tmp_path: Path, modality: str
) -> None:
    small = ["network.attention.name=none", *(["network.input_px=32"] if modality == "face" else [])]
    spec = describe(override(RECIPES[modality](), small), {}, 48 if modality == "face" else None)
    checkpoint = tmp_path / f"{modality}.safetensors"
    save_network(build_network(spec), spec, checkpoint)
    for data in (raw, prepared):
        name, inputs = draw_examples(checkpoint, data, no_hook)
        assert name == modality
        assert {len(each) for each in inputs.values()} == {N_EXAMPLES}
        if modality == "face":
            assert inputs["crops"].shape[1:] == (48, 48, 3)
            assert inputs["crops"].dtype == np.uint8
            assert (inputs["crops"][..., 0] == inputs["crops"][..., 2]).all(), "grey, as all training faces"
            assert 30 < inputs["crops"].mean() < 220
        else:
            assert inputs["log_mel"].shape[1:] == (64, 320)
            assert 0.05 < inputs["column_mask"].mean() <= 1
        again = draw_examples(checkpoint, data, no_hook)[1]
        assert all((inputs[key] == again[key]).all() for key in inputs)


def test_examples_of_both_networks_at_once_are_refused(raw: Path, tmp_path: Path) -> None:
    spec = describe(override(RECIPES["tuned"](), ["network.face.input_px=32"]), {}, 48)
    save_network(build_network(spec), spec, tmp_path / "both.safetensors")
    with pytest.raises(CheckpointError, match="one of each modality"):
        draw_examples(tmp_path / "both.safetensors", raw, no_hook)
