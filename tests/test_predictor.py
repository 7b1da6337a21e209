"""The shipped model's files: found by name, checked before use, opened only where needed."""

import json
import math
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mien.errors import CheckpointError, InputError
from mien.expressions import EXPRESSIONS
from mien.fusion import product
from mien.predictor import (
    FACE_FILES,
    SPEECH_FILES,
    FacePredictor,
    ModelInfo,
    VoicePredictor,
    list_models,
    load_model,
    read_manifest,
    write_manifest,
)
from some_rules import leaning_rule


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped model, to be spoilt."""
    shipped = load_model().folder
    (tmp_path / "copy").mkdir()
    for name in (*FACE_FILES, *SPEECH_FILES, "manifest.json"):
        shutil.copy(shipped / name, tmp_path / "copy")
    return tmp_path / "copy"


def flip(path: Path, place: float) -> None:
    """Changes one bit of one byte of a file."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def test_shipped_models_are_listed_and_whole() -> None:
    models = list_models()
    assert [model.name for model in models] == ["mien-b", "mien-s"]
    for model in models:
        assert model.folder.name == model.name
        assert set(model.licences) == {"face", "speech"}
        assert all(model.path(name).is_file() for name in model.sha256)
        assert {*FACE_FILES, *SPEECH_FILES} <= set(model.sha256)
        FacePredictor(model)
        VoicePredictor(model)


def test_probabilities_are_probabilities() -> None:
    model = load_model()
    crops = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    seen = FacePredictor(model)(crops)
    heard = VoicePredictor(model)(np.zeros((2, 64, 320), np.float32), np.ones((2, 320), np.bool_))
    for probs in (seen, heard):
        assert probs.shape == (2, len(EXPRESSIONS))
        assert probs.dtype == np.float32
        assert (probs >= 0).all()
        np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)


def test_window_wholly_outside_the_file_still_gives_numbers() -> None:
    heard = VoicePredictor(load_model())(np.zeros((1, 64, 320), np.float32), np.zeros((1, 320), np.bool_))
    assert np.isfinite(heard).all()


def test_predictor_says_what_it_is() -> None:
    face, voice = FacePredictor(load_model()).spec, VoicePredictor(load_model()).spec
    assert (face.modality, voice.modality) == ("face", "speech")
    assert face.expressions == voice.expressions == EXPRESSIONS
    assert face.crop_px == 48
    assert face.landmarks is not None
    assert len(face.landmarks) == 5


def test_model_is_found_by_name_and_by_folder(folder: Path) -> None:
    assert load_model("mien-b") == load_model()
    assert load_model(folder).folder == folder
    assert load_model(str(folder)).name == "mien-b"


@pytest.mark.parametrize("name", ["mien-xl", "", "nowhere/at/all", "..", "weights"])
def test_unknown_model_names_those_there_are(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected mien-b") as caught:
        load_model(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", [*FACE_FILES, *SPEECH_FILES])
def test_one_flipped_bit_is_found(folder: Path, name: str, place: float) -> None:
    flip(folder / name, place)
    predictor = FacePredictor if name in FACE_FILES else VoicePredictor
    with pytest.raises(CheckpointError, match=rf"{name} of model mien-b has sha256") as caught:
        predictor(load_model(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*FACE_FILES, *SPEECH_FILES])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    predictor = FacePredictor if name in FACE_FILES else VoicePredictor
    with pytest.raises(CheckpointError, match=f"lacks {name}"):
        predictor(load_model(folder))


@pytest.mark.parametrize("name", [FACE_FILES[0], SPEECH_FILES[0]])
def test_file_that_the_manifest_does_not_name_is_not_opened(folder: Path, name: str) -> None:
    told = json.loads((folder / "manifest.json").read_text())
    del told["sha256"][name]
    (folder / "manifest.json").write_text(json.dumps(told))
    predictor = FacePredictor if name in FACE_FILES else VoicePredictor
    with pytest.raises(CheckpointError, match=name):
        predictor(load_model(folder))


def put_in(folder: Path, name: str, content: bytes) -> ModelInfo:
    """The model with another file, which its manifest names as it should be."""
    (folder / name).write_bytes(content)
    model = read_manifest(folder)
    write_manifest(replace(model, sha256=model.sha256 | {name: sha256(content).hexdigest()}))
    return read_manifest(folder)


def head(nodes: list[Any], given: list[Any], *, modality: str = "face", output: str = "probs") -> bytes:
    """A network whose output is what these nodes make of `features`, which says it is of a modality."""
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("features", float32, ["batch", 256])],
        [helper.make_tensor_value_info(output, float32, given)],
        [numpy_helper.from_array(np.array([0, 1, 7, 8], np.int64)[i : i + 1], f"n{i}") for i in range(4)],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    shipped = onnx.load(load_model().path(f"{modality}_head.onnx")).metadata_props[0]
    network.metadata_props.add(key=shipped.key, value=shipped.value)
    return bytes(network.SerializeToString())


def first(n_columns: str, *then: str) -> list[Any]:
    """Nodes that take the first columns of `features`, and do something with them."""
    nodes = [helper.make_node("Slice", ["features", "n0", n_columns, "n1"], ["x0"])]
    nodes += [helper.make_node(name, [f"x{i}"], [f"x{i + 1}"]) for i, name in enumerate(then)]
    nodes[-1].output[0] = "probs"
    return nodes


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"cannot be opened \(.*\); export it again"),
        (b"\x80\x04no network", r"cannot be opened \("),
        (
            head(first("n3", "Softmax"), ["batch", 8], modality="speech"),
            "is of speech, takes features and gives",
        ),
        (head(first("n3"), ["batch", 8], output="other"), "cannot be opened"),
        (
            head([helper.make_node("Relu", ["features"], ["other"])], ["batch", 256], output="other"),
            "gives other;",
        ),
        (head(first("n2", "Softmax"), ["batch", 7]), r"gives float32 \(1, 7\), or what is no number"),
        (head(first("n3", "Relu", "Neg", "Sqrt", "Log", "Sqrt"), ["batch", 8]), "or what is no number"),
        (head(first("n3", "Transpose"), [8, "batch"]), r"gives float32 \(8, 1\)"),
        (
            head([helper.make_node("Reshape", ["features", "n2"], ["probs"])], ["x"]),
            r"does not run \(.*\); export",
        ),
    ],
    ids=[
        "empty",
        "bytes",
        "of speech",
        "no output",
        "other output",
        "7 classes",
        "NaN",
        "turned",
        "does not run",
    ],
)
def test_networks_that_are_other_than_they_should_be_are_refused(
    folder: Path, content: bytes, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    crop = np.full((1, 48, 48, 3), 90, np.uint8)
    with pytest.raises(CheckpointError, match=rf"^face_head\.onnx of model mien-b .*{told}") as caught:
        FacePredictor(put_in(folder, FACE_FILES[1], content))(crop)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", ""), "ONNX Runtime tells nothing besides"


def test_looking_opens_no_speech_file(folder: Path) -> None:
    for name in SPEECH_FILES:
        (folder / name).unlink()
    crop = np.full((1, 48, 48, 3), 90, np.uint8)
    np.testing.assert_array_equal(FacePredictor(load_model(folder))(crop), FacePredictor(load_model())(crop))


WHOLE = {"name": "x", "voice_weight": 1, "face_weight": 1, "sha256": {}, "licences": {}, "figures": {}}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe\x00"),
        *(
            json.dumps(WHOLE | wrong).encode()
            for wrong in (
                {"name": 1},
                {"voice_weight": "1"},
                {"sha256": []},
                {"sha256": {FACE_FILES[0]: None}},
                *(
                    {"sha256": {name: "0"}}
                    for name in ("../a", "/a", "a/face_head.onnx", "a", "", "manifest.json")
                ),
                *({"voice_weight": number} for number in (-1, math.nan, math.inf)),
                {"voice_weight": 0, "face_weight": 0},
                {"figures": None},
                {"more": 1},
                {"class_wise": None},
                {"class_wise": {}},
                {"class_wise": {name: {"voice": 1.0} for name in EXPRESSIONS}},
            )
        ),
    ],
)
def test_damaged_manifest_is_said_in_one_line(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"copy/manifest\.json") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e7", "null", '"1"'])
def test_damaged_number_of_class_wise_fusion_is_said_in_one_line(folder: Path, number: str) -> None:
    write_manifest(replace(load_model(folder), class_wise=leaning_rule(bias=0.123)))
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("0.123", number, 1))
    with pytest.raises(
        CheckpointError, match=r"copy/manifest\.json: .*class_wise.*mien fit-fusion"
    ) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_manifest_is_read_as_it_was_written(folder: Path) -> None:
    plain = load_model(folder)
    before = (folder / "manifest.json").read_bytes()
    assert plain.class_wise is None, "a manifest that says nothing of class-wise fusion is a model without it"
    write_manifest(plain)
    assert (folder / "manifest.json").read_bytes() == before
    rule = leaning_rule()
    write_manifest(replace(plain, class_wise=rule))
    found = load_model(folder)
    assert found.class_wise is not None
    assert found.class_wise.voice.tobytes() == rule.voice.tobytes()
    assert replace(found, class_wise=None) == plain


def test_a_manifest_without_a_rule_fuses_by_proportion_and_one_that_is_none_is_refused(folder: Path) -> None:
    manifest, model = folder / "manifest.json", load_model(folder)
    write_manifest(replace(model, fusion="proportion"))
    assert '"fusion"' not in manifest.read_text()
    assert load_model(folder).fusion == "proportion"
    for wrong, words in {"sum": "its fusion is 'sum'", "class_wise": "has no such rule"}.items():
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"fusion": wrong}))
        with pytest.raises(CheckpointError, match=words) as caught:
            load_model(folder)
        assert "\n" not in str(caught.value)


def test_a_model_may_have_the_voice_of_one_that_ships(folder: Path) -> None:
    for name in SPEECH_FILES:
        (folder / name).unlink()
    with pytest.raises(CheckpointError, match="lacks speech_encoder"):
        VoicePredictor(load_model(folder))
    write_manifest(replace(load_model(folder), voice_of="mien-b"))
    model = load_model(folder)
    assert model.path("speech.safetensors").is_file()
    assert model.path(FACE_FILES[0]).parent == folder
    silence = np.zeros((1, 64, 320), np.float32), np.ones((1, 320), np.bool_)
    np.testing.assert_array_equal(VoicePredictor(model)(*silence), VoicePredictor(load_model())(*silence))


@pytest.mark.parametrize("voice", ["mien-xxl", "../mien-b", "/tmp", 3])
def test_a_voice_that_does_not_ship_is_refused(folder: Path, voice: object) -> None:
    told = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(told | {"voice_of": voice}))
    with pytest.raises(CheckpointError, match="which does not come with this version"):
        load_model(folder)


def test_a_model_fuses_by_its_own_rules(folder: Path) -> None:
    model = replace(load_model(folder), fusion="proportion", voice_weight=3.0, class_wise=leaning_rule())
    voice, face = np.random.default_rng(0).dirichlet(np.ones(8), (2, 5)).astype(np.float32)
    heard = np.array([True] * 4 + [False])
    by_ratio = model.rule()(voice, face, voice_present=heard)
    np.testing.assert_allclose(by_ratio[:4], (3 * voice + face)[:4] / 4, atol=1e-6)
    assert by_ratio[4].tobytes() == face[4].tobytes()
    assert load_model(folder).fusion == "product"
    multiplied = product(voice, face, voice_present=heard)
    for ours in (model.rule("product"), load_model(folder).rule()):
        np.testing.assert_array_equal(ours(voice, face, voice_present=heard), multiplied)
    assert model.class_wise is not None
    np.testing.assert_array_equal(
        model.rule("class_wise")(voice, face, voice_present=heard),
        model.class_wise(voice, face, voice_present=heard),
    )
    with pytest.raises(
        InputError, match="model mien-b has no class-wise fusion; fit it with `mien fit-fusion`"
    ):
        load_model().rule("class_wise")


def test_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        read_manifest(tmp_path)
