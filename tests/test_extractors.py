"""Extractors of one's own: their form is checked, and crops and sound are brought into it."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from mien.errors import CheckpointError, DatasetError
from mien.extractors import (
    FaceExtractor,
    FeatureFolder,
    SpeechExtractor,
    find_extractor,
    open_extractor,
)
from mien.faces import FERPLUS_LANDMARKS
from mien.windows import cut_window
from some_extractors import (
    FACE_WIDTH,
    SIZE,
    SPEECH_WIDTH,
    write_face_onnx,
    write_folder,
    write_onnx,
    write_speech_onnx,
)

CROP = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def write_echo(folder: Path, shape: list[int], **changes: Any) -> Path:
    """An extractor whose features are its input, flat."""
    path = write_face_onnx(folder)
    nodes = [helper.make_node("Flatten", ["x"], ["y"])]
    digest = write_onnx(path, nodes, {}, ["n", *shape], ["n", int(np.prod(shape))])
    told = json.loads((folder / "face.json").read_text())
    plain = {"mean": [0.0], "std": [1.0], "sha256": digest, "n_features": int(np.prod(shape))}
    (folder / "face.json").write_text(json.dumps(told | plain | changes))
    return path


def test_a_crop_is_normalised_and_turned_to_the_layout_of_its_network(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(12, FACE_WIDTH)).astype(np.float32)
    normal = (CROP.astype(np.float64) - [120, 110, 100]) / 60
    pooled = normal.reshape(2, 16, 2, 16, 3).mean((1, 3)).transpose(2, 0, 1)
    features = FaceExtractor(write_face_onnx(tmp_path))(CROP)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, pooled.ravel() @ weights, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "form", "expected"),
    [
        ([3, SIZE, SIZE], {}, CROP.transpose(2, 0, 1)),
        ([3, SIZE, SIZE], {"colours": "BGR"}, CROP[..., ::-1].transpose(2, 0, 1)),
        ([SIZE, SIZE, 3], {"layout": "NHWC"}, CROP),
        ([1, SIZE, SIZE], {"colours": "grey"}, CROP @ np.array([0.299, 0.587, 0.114])),
        (
            [SIZE, SIZE, 1],
            {"colours": "grey", "layout": "NHWC", "mean": [9]},
            CROP @ [0.299, 0.587, 0.114] - 9,
        ),
    ],
)
def test_colours_come_in_the_order_that_is_asked_for(
    tmp_path: Path, shape: list[int], form: dict[str, Any], expected: np.ndarray
) -> None:
    features = FaceExtractor(write_echo(tmp_path, shape, **form))(CROP)
    np.testing.assert_allclose(features, expected.ravel(), atol=1e-3)


def test_a_picture_that_is_a_crop_is_seen_as_it_is(tmp_path: Path) -> None:
    extractor = FaceExtractor(write_echo(tmp_path, [3, SIZE, SIZE]))
    seen = extractor.look_square(CROP, np.zeros(2), float(SIZE))
    np.testing.assert_allclose(seen, extractor(CROP), atol=1e-3)
    framed = np.zeros((SIZE, SIZE + 20, 3), np.uint8)
    framed[:, 10:-10] = CROP
    np.testing.assert_allclose(
        extractor.look_square(framed, np.array([10.0, 0.0]), float(SIZE)), seen, atol=1e-3
    )


def test_a_face_is_aligned_by_the_extractor_s_own_points(tmp_path: Path) -> None:
    moved = [[x, y + 0.25] for x, y in FERPLUS_LANDMARKS]
    usual = FaceExtractor(write_echo(tmp_path / "a", [3, SIZE, SIZE]))
    other = FaceExtractor(write_echo(tmp_path / "b", [3, SIZE, SIZE], landmarks=moved))
    points = SIZE * np.array(FERPLUS_LANDMARKS)
    a, b = (each.look(CROP, points).reshape(3, SIZE, SIZE) for each in (usual, other))
    np.testing.assert_allclose(b[:, 8:], a[:, :-8], atol=1e-3)


def test_a_recording_is_heard_by_the_middles_of_windows(tmp_path: Path) -> None:
    extractor = SpeechExtractor(write_speech_onnx(tmp_path))
    columns = np.random.default_rng(0).normal(-6, 3, (1000, 64)).astype(np.float32)
    steps = extractor.hear(columns)
    assert steps.shape == (125, SPEECH_WIDTH)
    window, _ = cut_window(columns.T, 400)
    np.testing.assert_allclose(extractor(window), steps[50:90], atol=1e-5)
    assert extractor.hear(columns[:0]).shape == (0, SPEECH_WIDTH)


def test_what_is_told_is_the_same_after_json(tmp_path: Path) -> None:
    for extractor in (FaceExtractor(write_face_onnx(tmp_path)), SpeechExtractor(write_speech_onnx(tmp_path))):
        assert json.loads(json.dumps(extractor.told)) == extractor.told
        assert extractor.told["from"] == "onnx"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sha256": "0" * 64}, r"face\.onnx has sha256 .*, face\.json says 000000000000…"),
        ({"n_features": 7}, r"face\.onnx gives \(1, 5\); face\.json says 1 × 7"),
        ({"input": "crop"}, r"face\.onnx does not take float32 \(1, 3, 32, 32\) as 'crop'"),
        ({"output": "z"}, r"face\.onnx does not take"),
        ({"size_px": 48}, r"does not take float32 \(1, 3, 48, 48\)"),
        ({"colours": "grey", "mean": [0]}, r"does not take float32 \(1, 1, 32, 32\)"),
        ({"dtype": "uint8"}, r"does not take uint8"),
        ({"colours": "YUV"}, r"face\.json: colours is 'YUV', which is of another form"),
        ({"mean": [1, 2]}, r"face\.json: mean or std is not 1 or 3 numbers"),
        ({"std": [0]}, r"face\.json: mean or std"),
        ({"landmarks": [[0, 0]]}, r"face\.json: landmarks are 1 points, not 5"),
        ({"size_px": 0}, r"face\.json: size_px 0"),
        ({"rate": 25}, r"face\.json: rate unknown or lacking"),
        ({"modality": "speech"}, r"face\.json: modality is 'speech'"),
    ],
)
def test_a_network_that_is_not_what_is_said_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(CheckpointError, match=told) as refusal:
        FaceExtractor(write_face_onnx(tmp_path, **changes))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rate": 25}, r"speech\.onnx gives \(1, 40, 6\); speech\.json says 80 × 6"),
        ({"rate": 11}, r"speech\.json: .*11 steps a second are 35\.2 in 3\.2 s, which is no multiple of 4"),
        ({"n_features": 9}, r"speech\.json says 40 × 9"),
    ],
)
def test_a_network_of_sound_is_held_to_its_rate(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        SpeechExtractor(write_speech_onnx(tmp_path, **changes))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"modality": "face"}'])
def test_a_json_without_what_is_needed_is_refused(tmp_path: Path, content: str) -> None:
    path = write_face_onnx(tmp_path)
    (tmp_path / "face.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"face\.json"):
        FaceExtractor(path)
    (tmp_path / "face.json").unlink()
    with pytest.raises(CheckpointError, match=r"face\.json cannot be read .* write one with input, modality"):
        FaceExtractor(path)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    path = write_face_onnx(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"face\.onnx cannot be read"):
        FaceExtractor(path)
    path.write_bytes(b"no network")
    told = json.loads((tmp_path / "face.json").read_text())
    digest = sha256(b"no network").hexdigest()
    (tmp_path / "face.json").write_text(json.dumps(told | {"sha256": digest}))
    with pytest.raises(CheckpointError, match=r"face\.onnx cannot be opened"):
        FaceExtractor(path)


def test_the_file_is_found_by_what_it_told(tmp_path: Path) -> None:
    face, speech = write_face_onnx(tmp_path / "a"), write_speech_onnx(tmp_path / "a")
    told = open_extractor(face, "face").told
    assert find_extractor(told, [speech, face]) == face
    with pytest.raises(
        CheckpointError, match=r"by an ONNX file of sha256 .*; name that file with --extractor"
    ):
        find_extractor(told, [speech, tmp_path / "nowhere.onnx"])
    other = write_face_onnx(tmp_path / "b", mean=[0])
    with pytest.raises(CheckpointError, match=r"face\.json says something else than in training"):
        find_extractor(told, [other])


ARRAY = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float16)


def test_features_of_a_folder_are_read_by_name_and_time(tmp_path: Path) -> None:
    folder = FeatureFolder(write_folder(tmp_path, "face", 25, {"a": ARRAY[:9], "b": ARRAY}), "face")
    np.testing.assert_array_equal(folder.read("b", 2.0), ARRAY.astype(np.float32))
    assert folder.rows_at(np.array([0.0, 0.039, 0.04, 0.08, 1.999, 2.0]), 50).tolist() == [0, 1, 1, 2, 49, 49]
    assert folder.told["from"] == "folder"
    assert "recordings" not in folder.told
    assert open_extractor(tmp_path, "face").told == folder.told


def spoil(folder: Path) -> None:
    np.save(folder / "0.npy", ARRAY + 1)


@pytest.mark.parametrize(
    ("array", "end", "change", "told"),
    [
        (ARRAY, 2.1, None, r"0\.npy has 50 rows; expected 52\.5, 25 a second of 2\.10 s"),
        (ARRAY, 0.0, None, r"0\.npy has 50 rows; expected 1\.0"),
        (
            ARRAY[:, 0].reshape(-1, 1, 1),
            None,
            None,
            r"0\.npy is float16 \(50, 1, 1\); expected rows of 1 floats",
        ),
        (ARRAY.astype(np.int64), None, None, r"0\.npy is int64 \(50, 4\)"),
        (ARRAY[:0], None, None, r"0\.npy is float16 \(0, 4\)"),
        (ARRAY, 2.0, spoil, r"0\.npy has sha256 .*…, features\.json says"),
        (ARRAY, 2.0, lambda folder: (folder / "0.npy").unlink(), r"0\.npy of 'a' cannot be read"),
        (ARRAY, 2.0, lambda folder: (folder / "0.npy").write_bytes(b"no array"), r"0\.npy of 'a' cannot be"),
    ],
)
def test_an_array_that_does_not_fit_is_named(
    tmp_path: Path, array: np.ndarray, end: float | None, change: Callable[[Path], Any] | None, told: str
) -> None:
    folder = write_folder(tmp_path, "face", 25, {"a": array})
    if change is not None:
        change(folder)
    with pytest.raises(DatasetError, match=told) as refusal:
        FeatureFolder(folder, "face").read("a", end)
    assert "\n" not in str(refusal.value)


def test_a_length_may_be_off_by_one_step(tmp_path: Path) -> None:
    folder = FeatureFolder(write_folder(tmp_path, "face", 25, {"a": ARRAY}), "face")
    assert [len(folder.read("a", end)) for end in (1.96, 2.04)] == [50, 50]
    for end in (1.95, 2.05):
        with pytest.raises(DatasetError, match="expected"):
            folder.read("a", end)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rate": None}, r"features\.json: rate is 'None', which is of another form"),
        ({"rate": 0}, r"features\.json: n_features 4 or rate 0 is out of range"),
        ({"recordings": {"a": {"file": "0.npy"}}}, r"features\.json: 'a' has not file and sha256"),
        *(
            (
                {"recordings": {"a": {"file": file, "sha256": ""}}},
                rf"'a' has file '{file}', which is not a path",
            )
            for file in ("../0.npy", "/0.npy", "b/../../0.npy", "")
        ),
        ({"size_px": 3}, r"features\.json: size_px unknown or lacking"),
        ({"modality": "speech"}, r"features\.json has features of speech, not of face"),
    ],
)
def test_an_index_of_another_form_is_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        FeatureFolder(write_folder(tmp_path, "face", 25, {"a": ARRAY}, **changes), "face")


def test_an_index_without_a_rate_or_a_recording_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "face", 25, {"a": ARRAY})
    with pytest.raises(DatasetError, match=r"features\.json has no recording 'b'; add its features"):
        FeatureFolder(folder, "face").read("b", 2.0)
    told = json.loads((folder / "features.json").read_text())
    del told["rate"]
    (folder / "features.json").write_text(json.dumps(told))
    with pytest.raises(DatasetError, match=r"features\.json: rate unknown or lacking"):
        FeatureFolder(folder, "face")
