"""Export: a model folder that says the same as its checkpoints, or no folder at all."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from media_files import write_video
from mien import export as exporting
from mien.errors import CheckpointError, InputError
from mien.export import Exported, export, joint_weights, read_figures, read_weights
from mien.expressions import EXPRESSIONS, position
from mien.extractors import FaceExtractor, SpeechExtractor
from mien.modelfiles import PARITY
from mien.models.checkpoint import build_network, load_network, save_network
from mien.pipeline import analyze
from mien.predictor import FACE_FILES, SPEECH_FILES, FacePredictor, VoicePredictor, load_model
from mien.readings import ReadingSettings
from mien.recipes import override, train_face, train_speech, train_tuned
from mien.sources import LICENCES
from mien.spec import KEY, ModelSpec, read_spec
from mien.train import describe
from portraits import music, scenes
from some_extractors import FACE_WIDTH, SPEECH_WIDTH, write_face_onnx, write_speech_onnx
from some_networks import fill_with_noise

MASKED = ("Disgust", "Other")
FILES = {*FACE_FILES, *SPEECH_FILES, "face.safetensors", "speech.safetensors", "manifest.json"}


def write_checkpoint(path: Path, spec: ModelSpec) -> Path:
    network = build_network(spec)
    fill_with_noise(network)
    save_network(network, spec, path)
    return path


@pytest.fixture(scope="module")
def specs() -> dict[str, ModelSpec]:
    small = ["network.attention.name=none"]
    face = describe(override(train_face(), [*small, "network.input_px=32"]), {}, 48)
    speech = describe(override(train_speech(), small), {"licence": LICENCES["speech"]}, None)
    return {"face": replace(face, temperature=1.7), "speech": replace(speech, temperature=0.6)}


@pytest.fixture(scope="module")
def checkpoints(specs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: write_checkpoint(folder / f"{name}.safetensors", spec) for name, spec in specs.items()}


@pytest.fixture(scope="module")
def exported(checkpoints, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return export(
        [checkpoints["speech"], checkpoints["face"]],
        folder,
        weights=(1.0, 2.0),
        masked=MASKED,
        figures={"FER+ val": "accuracy 0.125"},
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports only the head of a face net, which is what takes no time."""

    def write_head(network, spec, folder: Path) -> None:
        (folder / FACE_FILES[0]).write_bytes(b"not looked into")

    monkeypatch.setattr(exporting, "write_modality", write_head)
    monkeypatch.setattr(exporting, "prove_parity", lambda *_: 0.0)


def onnx_model(exported: Exported, name: str) -> onnx.ModelProto:
    return onnx.load(exported.folder / name)


def test_folder_holds_the_model_and_nothing_else_is_left(exported: Exported) -> None:
    assert {path.name for path in exported.folder.iterdir()} == FILES
    assert [path.name for path in exported.folder.parent.iterdir()] == ["tiny"]
    assert exported.size_bytes == sum(path.stat().st_size for path in exported.folder.iterdir())


def test_manifest_says_what_was_given(exported: Exported) -> None:
    model = load_model(exported.folder)
    assert model.name == "tiny"
    assert (model.voice_weight, model.face_weight) == (1.0, 2.0)
    assert set(model.sha256) == FILES - {"manifest.json"}
    assert set(model.licences) == {"face", "speech"}
    assert "BY-NC-SA" in model.licences["speech"]
    assert model.figures == {"FER+ val": "accuracy 0.125"}


def test_torch_and_onnx_agree(exported: Exported) -> None:
    assert set(exported.parity) == {"face", "speech"}
    assert all(0 <= difference <= PARITY for difference in exported.parity.values())


@pytest.mark.slow
def test_an_encoder_with_examples_is_written_in_8_bits(checkpoints, exported: Exported, tmp_path) -> None:
    crops = np.random.default_rng(5).integers(0, 256, (12, 48, 48, 3), dtype=np.uint8)
    short = export(
        [checkpoints["face"], checkpoints["speech"]], tmp_path / "short", examples={"face": {"crops": crops}}
    )
    assert set(short.drift) == {"face"}
    assert short.drift["face"].n_examples == 12
    assert 0 < short.drift["face"].difference < 0.1
    assert 0 <= short.drift["face"].same <= 1
    assert short.parity.keys() == {"face", "speech"}
    faces, voices = FACE_FILES[0], SPEECH_FILES[0]
    model, whole = load_model(short.folder), load_model(exported.folder)
    assert model.path(faces).stat().st_size < 0.6 * whole.path(faces).stat().st_size
    assert model.path(voices).stat().st_size > 0.99 * whole.path(voices).stat().st_size
    np.testing.assert_allclose(FacePredictor(model)(crops), FacePredictor(whole)(crops), atol=0.1)
    assert {path.name for path in short.folder.iterdir()} == FILES


def test_faces_are_read_as_torch_reads_them(exported: Exported, specs) -> None:
    """Without the exporter's own modules: brightness, network, temperature."""
    crops = np.random.default_rng(1).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
    network, spec = load_network(exported.folder / "face.safetensors")
    assert spec == specs["face"]
    grey = torch.from_numpy(crops @ np.array([0.299, 0.587, 0.114]) / 255).float().unsqueeze(1)
    with torch.no_grad():
        expected = torch.softmax(network(grey) / 1.7, dim=-1).numpy()
    found = FacePredictor(load_model(exported.folder))(crops)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=PARITY)
    assert np.ptp(expected, axis=0).max() > 0.01, "faces that all read the same would prove nothing"


def test_one_face_is_read_alike_alone_and_among_others(exported: Exported) -> None:
    crops = np.random.default_rng(2).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    predict = FacePredictor(load_model(exported.folder))
    np.testing.assert_array_equal(predict(crops)[1], predict(crops[1:2])[0])
    np.testing.assert_allclose(predict.encode(crops)[1], predict.encode(crops[1:2])[0], atol=1e-4)


def test_voice_is_read_as_torch_reads_it(exported: Exported) -> None:
    generator = np.random.default_rng(3)
    log_mel = generator.normal(-6, 3, (4, 64, 320)).astype(np.float32)
    mask = np.arange(320) < np.array([320, 200, 40, 8])[:, None]
    network, spec = load_network(exported.folder / "speech.safetensors")
    assert spec.masked == MASKED
    with torch.no_grad():
        logits = network(torch.from_numpy(log_mel), torch.from_numpy(mask)) / 0.6
    logits[:, [position(name) for name in MASKED]] = -torch.inf
    expected = torch.softmax(logits, dim=-1).numpy()
    found = VoicePredictor(load_model(exported.folder))(log_mel, mask)
    np.testing.assert_allclose(found, expected, atol=PARITY)
    assert np.ptp(expected, axis=0).max() > 0.01


def test_what_lies_outside_the_file_is_not_heard(exported: Exported) -> None:
    generator = np.random.default_rng(4)
    log_mel = generator.normal(-6, 3, (1, 64, 320)).astype(np.float32)
    mask = np.arange(320)[None] < 160
    other = np.where(mask[:, None], log_mel, 7.0).astype(np.float32)
    predict = VoicePredictor(load_model(exported.folder))
    np.testing.assert_array_equal(predict(log_mel, mask), predict(other, mask))


def test_masked_expression_has_probability_0_and_the_others_1_together(exported: Exported) -> None:
    model = load_model(exported.folder)
    log_mel = np.random.default_rng(5).normal(-6, 3, (3, 64, 320)).astype(np.float32)
    heard = VoicePredictor(model)(log_mel, np.ones((3, 320), np.bool_))
    masked = [position(name) for name in MASKED]
    assert (heard[:, masked] == 0.0).all()
    assert (np.delete(heard, masked, axis=1) > 0).all()
    np.testing.assert_allclose(heard.sum(1), 1, atol=1e-6)
    seen = FacePredictor(model)(np.full((1, 48, 48, 3), 90, np.uint8))
    assert (seen > 0).all(), "a mask is the voice's alone"
    np.testing.assert_allclose(seen.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("name", [*FACE_FILES, *SPEECH_FILES])
def test_onnx_carries_the_specification(exported: Exported, specs, name: str) -> None:
    told = {entry.key: entry.value for entry in onnx_model(exported, name).metadata_props}
    spec = read_spec(told[KEY], name)
    wanted = specs["face"] if name in FACE_FILES else replace(specs["speech"], masked=MASKED)
    assert spec == wanted


@pytest.mark.parametrize("name", [*FACE_FILES, *SPEECH_FILES])
def test_onnx_does_not_say_where_it_was_made(exported: Exported, name: str) -> None:
    content = (exported.folder / name).read_bytes()
    for trace in (b"site-packages", b"onnxfile.py", b"stack_trace", str(Path.home()).encode() + b"/"):
        assert trace not in content


@pytest.mark.parametrize("name", [FACE_FILES[0], SPEECH_FILES[0]])
def test_weights_are_stored_in_half(exported: Exported, name: str) -> None:
    modality = "face" if name in FACE_FILES else "speech"
    network, _ = load_network(exported.folder / f"{modality}.safetensors")
    n_weights = sum(tensor.numel() for tensor in network.state_dict().values())
    assert (exported.folder / name).stat().st_size < 2.3 * n_weights
    assert (exported.folder / f"{modality}.safetensors").stat().st_size < 2.3 * n_weights
    single = [
        tensor.name
        for tensor in onnx_model(exported, name).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= 64
    ]
    assert single == []


def test_figures_on_faces_need_no_speech(checkpoints, tmp_path: Path, quick) -> None:
    written = export([checkpoints["face"]], tmp_path / "looks")
    model = load_model(written.folder)
    assert set(model.licences) == {"face"}
    with pytest.raises(CheckpointError, match="--no-voice"):
        VoicePredictor(model)


@pytest.mark.slow
def test_a_voice_alone_is_a_model_for_sound(checkpoints, tmp_path: Path) -> None:
    model = load_model(export([checkpoints["speech"]], tmp_path / "listens").folder)
    assert set(model.licences) == {"speech"}
    VoicePredictor(model)
    with pytest.raises(CheckpointError, match="sound alone"):
        FacePredictor(model)


@pytest.mark.parametrize("given", [(), ("face", "face"), ("face", "speech", "speech")])
def test_other_sets_of_checkpoints_are_refused(checkpoints, tmp_path: Path, given, quick) -> None:
    with pytest.raises(CheckpointError, match="one of each"):
        export([checkpoints[name] for name in given], tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_weights_are_those_of_the_run_that_trained_both(specs) -> None:
    face, speech = specs["face"], specs["speech"]
    assert joint_weights([face, speech]) is None
    assert joint_weights([replace(each, training={"seed": 0}) for each in (face, speech)]) == (1.0, 1.0)
    both = [replace(each, training={"seed": 0, "ratio": [2, 5]}) for each in (speech, face)]
    assert joint_weights(both) == (2.0, 5.0)
    other = replace(face, training={"seed": 1, "ratio": [2, 5]})
    assert joint_weights([both[0], other]) is None
    assert joint_weights(both[:1]) is None


def test_a_network_that_aligns_is_refused_with_its_own_reason(tmp_path: Path) -> None:
    config = override(train_tuned(), ["network.alignment=align"])
    whole = write_checkpoint(tmp_path / "both.safetensors", describe(config, {}, 48))
    with pytest.raises(CheckpointError, match="aligns voice and face"):
        export([whole], tmp_path / "model")


def damage(content: bytes) -> bytes:
    return content[:-100]


def swap(content: bytes) -> bytes:
    return content.replace(b'"head.1.bias"', b'"head.1.bia5"')


@pytest.mark.parametrize("change", [damage, swap, lambda _: b""], ids=["cut", "renamed", "empty"])
def test_damaged_checkpoint_leaves_what_was_there(
    checkpoints, tmp_path: Path, change: Callable[[bytes], bytes], quick
) -> None:
    folder = export([checkpoints["face"]], tmp_path / "model").folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(change(checkpoints["face"].read_bytes()))
    with pytest.raises(CheckpointError, match=r"wrong\.safetensors"):
        export([wrong], folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_failed_parity_leaves_what_was_there(checkpoints, tmp_path: Path, quick, monkeypatch) -> None:
    folder = export([checkpoints["face"]], tmp_path / "model").folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_):
        raise CheckpointError("face: torch and ONNX differ")

    monkeypatch.setattr(exporting, "prove_parity", fail)
    with pytest.raises(CheckpointError, match="differ"):
        export([checkpoints["face"]], folder, weights=(3, 1))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_difference_above_the_limit_is_found(exported: Exported, tmp_path: Path) -> None:
    network, spec = load_network(exported.folder / "face.safetensors")
    with torch.no_grad():
        network.head[1].bias[0] += 0.01
    with pytest.raises(CheckpointError, match="torch and ONNX differ by"):
        exporting.prove_parity(network, spec, exported.folder)
    with torch.no_grad():
        network.head[1].bias[0] = torch.nan
    with pytest.raises(CheckpointError, match="differ by nan"):
        exporting.prove_parity(network, spec, exported.folder)


def test_model_is_replaced_whole(checkpoints, tmp_path: Path, quick) -> None:
    folder = export([checkpoints["face"]], tmp_path / "model").folder
    (folder / "old.onnx").write_bytes(b"of a former version")
    export([checkpoints["face"]], folder, weights=(3.0, 1.0))
    assert {path.name for path in folder.iterdir()} == {FACE_FILES[0], "manifest.json"}
    assert load_model(folder).voice_weight == 3.0
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_face_goes_with_the_voice_that_ships(checkpoints, tmp_path: Path, quick) -> None:
    folder = export([checkpoints["face"]], tmp_path / "mine", voice_of="mien-b", weights=(2.0, 3.0)).folder
    assert {path.name for path in folder.iterdir()} == {FACE_FILES[0], "manifest.json"}
    model, shipped = load_model(folder), load_model("mien-b")
    assert (model.name, model.voice_of, model.voice_weight) == ("mine", "mien-b", 2.0)
    assert model.licences["speech"] == shipped.licences["speech"]
    VoicePredictor(model)
    for name, given, words in (
        ("mien-xxl", ["face"], "no voice of 'mien-xxl' to share; expected mien-b"),
        (str(folder), ["face"], "to share"),
        ("mien-b", ["face", "speech"], "two voices"),
    ):
        with pytest.raises(InputError, match=words):
            export([checkpoints[each] for each in given], tmp_path / "other", voice_of=name)
    assert not (tmp_path / "other").exists()


def test_folder_of_something_else_is_not_replaced(checkpoints, tmp_path: Path, quick, monkeypatch) -> None:
    precious = tmp_path / "thesis" / "chapter.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(InputError, match="is no model"):
        export([checkpoints["face"]], precious.parent)
    with pytest.raises(InputError, match="is no model"):
        export([checkpoints["face"]], precious)
    monkeypatch.chdir(precious.parent)
    with pytest.raises(InputError, match="is no model"):
        export([checkpoints["face"]], Path())
    assert precious.read_text() == "years of work"


def test_empty_folder_becomes_the_model_and_gives_its_name(checkpoints, tmp_path: Path, quick, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model(export([checkpoints["face"]], Path("mine")).folder).name == "mine"


def test_mask_must_name_expressions_and_leave_one(checkpoints, tmp_path: Path, quick) -> None:
    with pytest.raises(InputError, match="'Contempt' is not an expression"):
        export([checkpoints["face"]], tmp_path / "model", masked=("Contempt",))
    with pytest.raises(InputError, match="every expression"):
        export([checkpoints["face"]], tmp_path / "model", masked=EXPRESSIONS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "1", "1:2:3", "a:b", "0:1", "1:0", "-1:1", "nan:1", "inf:1", "1:inf"])
def test_weights_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="weights"):
        read_weights(text)


def test_weights_are_voice_to_face() -> None:
    assert read_weights("3:1") == (3.0, 1.0)
    assert read_weights("0.5:2") == (0.5, 2.0)


def test_figures_are_one_line_a_view(tmp_path: Path) -> None:
    scores = {key: {"low": 0.5, "value": 0.61251, "high": 0.7} for key in ("accuracy", "macro_f1", "uar")}
    told = {"corpus": "RAVDESS", "split": "val", "views": {"eight classes": scores, "without Other": scores}}
    (tmp_path / "metrics.json").write_text(json.dumps(told))
    assert read_figures([tmp_path / "metrics.json"]) == {
        "RAVDESS val, eight classes": "accuracy 0.613, macro-F1 0.613, UAR 0.613",
        "RAVDESS val, without Other": "accuracy 0.613, macro-F1 0.613, UAR 0.613",
    }
    assert read_figures([]) == {}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"views": []}', '{"views": {"a": {"accuracy": 1}}}'])
def test_figures_of_another_file_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(InputError, match=r"metrics\.json"):
        read_figures([tmp_path / "metrics.json"])


def test_figures_of_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json"):
        read_figures([tmp_path / "nowhere.json"])


@pytest.mark.slow
def test_resnets_say_the_same_in_onnx(specs, tmp_path: Path) -> None:
    paths = []
    for modality, spec in specs.items():
        torch.manual_seed(0)
        spec = replace(spec, network=spec.network | {"backbone": "resnet18"})
        paths.append(tmp_path / f"{modality}.safetensors")
        save_network(build_network(spec), spec, paths[-1])
    exported = export(paths, tmp_path / "resnets")
    assert set(exported.parity) == {"face", "speech"}
    assert all(0 <= difference <= PARITY for difference in exported.parity.values())
    model = load_model(exported.folder)
    crops = np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    assert FacePredictor(model).encode(crops).shape == (2, 512)
    assert np.ptp(FacePredictor(model)(crops), axis=0).max() > 1e-3


@pytest.mark.parametrize("backbone", ["r3d18", "r2plus1d18"])
def test_networks_of_sequences_are_refused(specs, tmp_path: Path, backbone: str, quick) -> None:
    spec = replace(specs["face"], network=specs["face"].network | {"backbone": backbone})
    save_network(build_network(spec), spec, tmp_path / "face.safetensors")
    with pytest.raises(CheckpointError, match=f"holds {backbone}, which reads sequences of faces") as caught:
        export([tmp_path / "face.safetensors"], tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def write_extracted(folder: Path, **told: object) -> tuple[list[Path], list[Path]]:
    """Checkpoints of both modalities that take features, and the extractors that these are by."""
    paths = [write_face_onnx(folder, landmarks=[[0.3, 0.3], [0.7, 0.3], [0.5, 0.6], [0.4, 0.8], [0.6, 0.8]])]
    paths.append(write_speech_onnx(folder))
    of = {"face": FaceExtractor(paths[0]).told, "speech": SpeechExtractor(paths[1]).told}
    checkpoints = []
    for recipe, width, crop_px in ((train_face(), FACE_WIDTH, 48), (train_speech(), SPEECH_WIDTH, None)):
        config = override(recipe, ["network.backbone=features", f"network.n_features={width}"])
        data = {"extractors": of | told, "licence": "of the data"}
        spec = replace(describe(config, data, crop_px), temperature=1.3)
        checkpoints.append(write_checkpoint(folder / f"{spec.modality}.safetensors", spec))
    return checkpoints, paths


def test_an_extractor_becomes_the_encoder(tmp_path: Path) -> None:
    checkpoints, paths = write_extracted(tmp_path / "x")
    with torch.no_grad():  # a mean and deviation that are not 0 and 1
        network, spec = load_network(checkpoints[1])
        network.mel_mean.fill_(-2.0)
        network.mel_std.fill_(3.0)
        save_network(network, spec, checkpoints[1])
    exported = export(checkpoints, tmp_path / "model", extractors=paths)
    assert {path.name for path in exported.folder.iterdir()} == FILES | {
        "face_encoder.json",
        "speech_encoder.json",
    }
    assert all(difference <= PARITY for difference in exported.parity.values())
    for path, name in zip(paths, ("face_encoder", "speech_encoder"), strict=True):
        assert (exported.folder / f"{name}.onnx").read_bytes() == path.read_bytes()
    model = load_model(exported.folder)
    assert set(model.sha256) == {path.name for path in exported.folder.iterdir()} - {"manifest.json"}
    assert model.licences["face"] == "of the data; its extractor: of the tests"
    face, voice = FacePredictor(model), VoicePredictor(model)
    assert (face.spec.crop_px, face.spec.landmarks[0]) == (32, (0.3, 0.3))
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    features = np.stack([FaceExtractor(paths[0])(crop) for crop in crops])
    network, _ = load_network(exported.folder / "face.safetensors")
    with torch.no_grad():
        expected = torch.softmax(network.head(torch.from_numpy(features)) / 1.3, dim=-1).numpy()
    np.testing.assert_allclose(face(crops), expected, atol=PARITY)
    assert np.ptp(expected, axis=0).max() > 0.01
    log_mel = np.random.default_rng(1).normal(-6, 3, (2, 64, 320)).astype(np.float32)
    mask = np.arange(320)[None] < np.array([[320], [160]])
    network, _ = load_network(exported.folder / "speech.safetensors")
    steps = torch.from_numpy(SpeechExtractor(paths[1])(log_mel[0]).T[None])
    with torch.no_grad():
        logits = network(steps, torch.ones(1, 40, dtype=torch.bool)) / 1.3
    np.testing.assert_allclose(voice(log_mel, mask)[0], torch.softmax(logits, -1).numpy()[0], atol=PARITY)
    other = np.where(mask[:, None], log_mel, np.float32(7))
    np.testing.assert_array_equal(voice(log_mel, mask), voice(other, mask))


@pytest.mark.slow
def test_a_clip_is_analyzed_with_extractors(tmp_path: Path) -> None:
    checkpoints, paths = write_extracted(tmp_path / "x")
    folder = export(checkpoints, tmp_path / "model", extractors=paths).folder
    write_video(tmp_path / "talk.mp4", scenes((0.4, (100,))), waveform=music(0.4))
    timeline = analyze(tmp_path / "talk.mp4", ReadingSettings(model=str(folder)))
    assert len(timeline.rows) == 10
    assert all(row.face_probs is not None for row in timeline.rows)
    assert (
        timeline.provenance["weights_sha256"]["face_encoder.onnx"] == load_model(folder).sha256[FACE_FILES[0]]
    )


def test_an_extractor_that_is_not_there_or_not_meant_is_refused(tmp_path: Path) -> None:
    checkpoints, paths = write_extracted(tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"the face network takes features by an ONNX file of sha256"):
        export(checkpoints, tmp_path / "model", extractors=paths[1:])
    with pytest.raises(InputError, match=r"speech\.onnx is the extractor of none of these checkpoints"):
        export(checkpoints[:1], tmp_path / "model", extractors=paths)
    (tmp_path / "x" / "face.json").write_text((tmp_path / "x" / "face.json").read_text().replace("60", "61"))
    with pytest.raises(CheckpointError, match=r"face\.json says something else than in training"):
        export(checkpoints, tmp_path / "model", extractors=paths)
    folder = {"from": "folder", "modality": "face", "sha256": "0", "n_features": 5, "rate": 25, "licence": ""}
    checkpoints, paths = write_extracted(tmp_path / "y", face=folder)
    with pytest.raises(CheckpointError, match="the face checkpoint takes features from a folder"):
        export(checkpoints, tmp_path / "model", extractors=paths)
    config = override(train_face(), ["network.backbone=features", "network.n_features=5"])
    alone = write_checkpoint(tmp_path / "alone.safetensors", describe(config, {}, 48))
    with pytest.raises(CheckpointError, match="does not say whose features it takes"):
        export([alone], tmp_path / "model", extractors=paths)
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["face_encoder.json", "face_encoder.onnx", "speech_encoder.json"])
def test_an_extractor_that_was_changed_in_a_model_is_refused(tmp_path: Path, name: str) -> None:
    checkpoints, paths = write_extracted(tmp_path / "x")
    model = load_model(export(checkpoints, tmp_path / "model", extractors=paths).folder)
    (model.folder / name).write_bytes((model.folder / name).read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=f"{name} of model model has sha256"):
        (FacePredictor if name.startswith("face") else VoicePredictor)(model)
