"""The whole network: masks hide what they should, and missing modalities leave the other."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.face import FaceNetConfig
from mien.models.network import ExpressionNet, ExpressionNetConfig, feature_widths, with_stand_ins
from mien.models.speech import SpeechNetConfig
from some_networks import face_config, speech_config, starved

N_COLUMNS = 48


def expression_net(**switches: Any) -> ExpressionNet:
    """A small network that weighs voice to face as 1 to 2."""
    config = ExpressionNetConfig(
        face=face_config(), speech=speech_config(), voice_weight=1, face_weight=2, **switches
    )
    return ExpressionNet(config, 8)


@pytest.fixture(scope="module")
def network() -> ExpressionNet:
    torch.manual_seed(0)
    return expression_net().eval()


def some_windows(n_windows: int = 2, n_faces: int = 9) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_faces)
    return (
        torch.rand(n_windows, n_faces, 32, 32, generator=generator),
        torch.ones(n_windows, n_faces, dtype=torch.bool),
        torch.randn(n_windows, 64, N_COLUMNS, generator=generator),
        torch.ones(n_windows, N_COLUMNS, dtype=torch.bool),
    )


@pytest.mark.parametrize("n_faces", [1, 9])
@pytest.mark.parametrize("n_windows", [1, 2])
def test_shapes_and_sums(network: ExpressionNet, n_windows: int, n_faces: int) -> None:
    with torch.no_grad():
        log_probs = network(*some_windows(n_windows, n_faces))
    for each in log_probs:
        assert each.shape == (n_windows, 8)
        torch.testing.assert_close(each.exp().sum(-1), torch.ones(n_windows))


@torch.no_grad()
def test_it_is_its_parts(network: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows()
    log_probs = network(faces, face_mask, log_mel, column_mask)
    features = torch.stack([network.face.encode(window.unsqueeze(1)).mean(0) for window in faces])
    face = network.face.head(features).log_softmax(-1)
    voice = network.speech(log_mel, column_mask).log_softmax(-1)
    torch.testing.assert_close(log_probs.face, face)
    torch.testing.assert_close(log_probs.voice, voice)
    torch.testing.assert_close(log_probs.fused.exp(), (voice.exp() + 2 * face.exp()) / 3)


@torch.no_grad()
def test_masked_faces_and_columns_change_nothing(network: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows()
    face_mask[0, 3:7] = False
    face_mask[1, 0] = False
    column_mask[0, :11] = False
    first = network(faces, face_mask, log_mel, column_mask)
    other_faces = torch.where(face_mask[..., None, None], faces, torch.nan)
    other_mel = torch.where(column_mask.unsqueeze(1), log_mel, 99.0)
    second = network(other_faces, face_mask, other_mel, column_mask)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    shown = network(faces, torch.ones_like(face_mask), log_mel, torch.ones_like(column_mask))
    assert not torch.allclose(shown.face, first.face)
    assert not torch.allclose(shown.voice[0], first.voice[0])


@torch.no_grad()
def test_the_mean_is_over_the_faces_that_are_there(network: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows(1)
    face_mask[0, 2:] = False
    few = network(faces[:, :2], face_mask[:, :2], log_mel, column_mask)
    torch.testing.assert_close(network(faces, face_mask, log_mel, column_mask).face, few.face)


@torch.no_grad()
def test_a_missing_modality_leaves_the_other_bit_for_bit(network: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows(3)
    face_mask[0] = False
    column_mask[1] = False
    face_mask[2], column_mask[2] = False, False
    log_probs = network(faces, face_mask, log_mel, column_mask)
    assert torch.equal(log_probs.fused[0], log_probs.voice[0])
    assert torch.equal(log_probs.fused[1], log_probs.face[1])
    assert log_probs.fused[2].isnan().all()


@torch.no_grad()
def test_no_face_in_the_whole_batch(network: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows()
    log_probs = network(faces, torch.zeros_like(face_mask), log_mel, column_mask)
    assert torch.equal(log_probs.fused, log_probs.voice)


def test_padding_never_enters_the_batch_statistics() -> None:
    def statistics(faces: Tensor, face_mask: Tensor) -> list[Tensor]:
        torch.manual_seed(0)
        network = expression_net().train()
        _, _, log_mel, column_mask = some_windows(2, 4)
        network(faces, face_mask, log_mel, column_mask)
        norms = [module for module in network.face.modules() if isinstance(module, nn.BatchNorm2d)]
        return [norm.running_mean for norm in norms if norm.running_mean is not None]

    faces, face_mask, _, _ = some_windows(2, 4)
    padded = torch.cat([faces, torch.full((2, 3, 32, 32), 5.0)], 1)
    padded_mask = torch.cat([face_mask, torch.zeros(2, 3, dtype=torch.bool)], 1)
    for a, b in zip(statistics(faces, face_mask), statistics(padded, padded_mask), strict=True):
        assert torch.equal(a, b)


def test_gradients_reach_both_encoders_and_the_rule_though_a_modality_is_missing() -> None:
    network = expression_net(learned=True).train()
    faces, face_mask, log_mel, column_mask = some_windows(3, 2)
    face_mask[0], column_mask[1] = False, False
    network(faces, face_mask, log_mel, column_mask).fused[:, 3].sum().backward()
    assert starved(network) == []
    assert all(each.grad is not None and each.grad.isfinite().all() for each in network.parameters())
    assert isinstance(network.rule.log_weights, nn.Parameter)
    assert network.rule.log_weights.grad is not None
    assert network.rule.log_weights.grad.abs().min() > 0


PLACES = torch.linspace(0, 5, 9)  # 48 columns are 6 steps


@pytest.fixture(scope="module", params=["align", "align_dilated"])
def aligned(request: pytest.FixtureRequest) -> ExpressionNet:
    torch.manual_seed(0)
    return expression_net(alignment=request.param).eval()


@torch.no_grad()
def test_aligned_windows_have_the_same_shapes_and_missing_rules(aligned: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows(3)
    face_mask[0], column_mask[1] = False, False
    face_mask[2, 4:] = False
    log_probs = aligned(faces, face_mask, log_mel, column_mask, PLACES.expand(3, 9))
    assert torch.equal(log_probs.fused[0], log_probs.voice[0])
    assert torch.equal(log_probs.fused[1], log_probs.face[1])
    torch.testing.assert_close(log_probs.fused.exp().sum(-1), torch.ones(3))
    hidden = torch.where(face_mask[..., None, None], faces, torch.nan)
    again = aligned(hidden, face_mask, log_mel, column_mask, PLACES.expand(3, 9))
    assert torch.equal(again.fused, log_probs.fused)


@torch.no_grad()
def test_alignment_looks_at_what_is_heard_when_a_face_is_seen(aligned: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows(1)
    forth, back = (
        aligned(faces, face_mask, log_mel, column_mask, places.unsqueeze(0)).fused
        for places in (PLACES, PLACES.flip(0))
    )
    assert not torch.equal(forth, back)


def test_gradients_reach_alignment_and_a_window_of_nothing_spoils_none(aligned: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows(3)
    face_mask[2], column_mask[2] = False, False
    aligned.train().zero_grad()
    fused = aligned(faces, face_mask, log_mel, column_mask, PLACES.expand(3, 9)).fused
    fused[:2, 3].sum().backward()
    aligned.eval()
    idle = [] if aligned.dilated else ["alignment.voice_merit.weight", "alignment.face_merit.weight"]
    assert starved(aligned) == idle, "alignment alone weighs frames, not modalities"
    left = [name for name, each in aligned.named_parameters() if not each.requires_grad and each.ndim > 1]
    assert left == idle, "processes that train together would wait for the others"
    assert all(each.grad.isfinite().all() for each in aligned.parameters() if each.grad is not None)


def test_alignment_shows_its_weights(aligned: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows(3)
    face_mask[0], column_mask[1] = False, False
    weights = aligned.align(faces, face_mask, log_mel, column_mask, PLACES.expand(3, 9))[2]
    torch.testing.assert_close(weights.frames.sum(1), torch.ones(3))
    assert weights.voice_share[:2].tolist() == [1, 0]
    assert aligned.dilated is not None or weights.voice_share[2] == 0.5


@pytest.mark.parametrize(
    ("attention", "alignment"),
    [
        ("none", "align_dilated"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in [("mecs", "align"), ("mecs", "align_dilated"), ("convctl", "align")]
        ),
    ],
)
def test_alignment_works_in_bfloat16_behind_any_attention(attention: str, alignment: str) -> None:
    parts = {"face": face_config(attention), "speech": speech_config(attention)}
    network = ExpressionNet(ExpressionNetConfig(alignment=alignment, **parts), 8).train()
    with torch.autocast("cpu", torch.bfloat16):
        fused = network(*some_windows(2, 3), PLACES[:3].expand(2, 3)).fused
    fused.sum().backward()
    assert fused.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("modalities", ["face", "voice"])
def test_one_modality_alone_is_the_whole_opinion(modalities: str, network: ExpressionNet) -> None:
    alone = expression_net(modalities=modalities).eval()
    other = "speech" if modalities == "face" else "face"
    assert not any(name.startswith(other) for name in alone.state_dict())
    kept = {name: tensor for name, tensor in network.state_dict().items() if name in alone.state_dict()}
    alone.load_state_dict(kept)
    found, both = alone(*some_windows()), network(*some_windows())
    assert torch.equal(found.fused, getattr(both, modalities))
    assert found.fused is getattr(found, modalities)
    assert getattr(found, "voice" if modalities == "face" else "face") is None


def test_alignment_needs_both() -> None:
    with pytest.raises(InputError, match="needs both"):
        expression_net(modalities="face", alignment="align")


def test_alignment_joins_features_of_one_width() -> None:
    with pytest.raises(InputError, match=r"the last of the face's widths is 512"):
        ExpressionNetConfig(alignment="align", face=FaceNetConfig(widths=(64, 128, 512)))


def test_alignment_needs_features_of_one_width_and_one_pace() -> None:
    for face, speech in (("r3d18", "mcnn"), ("resnet18", "mcnn"), ("rhcnn", "resnet18")):
        with pytest.raises(InputError, match=f"backbones are {face} and {speech}"):
            ExpressionNetConfig(
                face=replace(face_config(), backbone=face),
                speech=replace(speech_config(), backbone=speech),
                alignment="align",
            )


def test_the_nearest_face_stands_in() -> None:
    mask = torch.tensor([[0, 1, 0, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1]]).bool()
    faces = torch.arange(7.0).expand(3, 7)[..., None, None].expand(3, 7, 2, 2)
    faces = faces.masked_fill(~mask[..., None, None], torch.nan)
    found = with_stand_ins(faces, mask)[..., 0, 1].tolist()
    assert found == [[1, 1, 1, 4, 4, 4, 6], [0, 1, 2, 3, 4, 5, 6], [6] * 7]
    assert with_stand_ins(faces[:0], mask[:0]).shape == (0, 7, 2, 2)


@pytest.fixture(
    scope="module", params=["resnet18", "r3d18", pytest.param("r2plus1d18", marks=pytest.mark.slow)]
)
def other(request: pytest.FixtureRequest) -> ExpressionNet:
    """A network of other backbones: features of two widths, faces read together but for ResNet-18."""
    torch.manual_seed(0)
    face, voice = request.param, "mcnn" if request.param == "resnet18" else "resnet18"
    config = ExpressionNetConfig(
        face=replace(face_config(), backbone=face), speech=replace(speech_config(), backbone=voice)
    )
    return ExpressionNet(config, 8).eval()


@torch.no_grad()
@pytest.mark.parametrize("n_faces", [1, 2, 5])
def test_other_backbones_have_the_same_shapes(other: ExpressionNet, n_faces: int) -> None:
    for each in other(*some_windows(1, n_faces)):
        assert each.shape == (1, 8)
        torch.testing.assert_close(each.exp().sum(-1), torch.ones(1))


@pytest.mark.slow
@torch.no_grad()
def test_other_backbones_hide_and_miss_the_same(other: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows(4, 5)
    face_mask[0, 1:4], column_mask[0, :11] = False, False
    face_mask[1], column_mask[2] = False, False
    face_mask[3], column_mask[3] = False, False
    first = other(faces, face_mask, log_mel, column_mask)
    hidden = torch.where(face_mask[..., None, None], faces, torch.nan)
    second = other(hidden, face_mask, torch.where(column_mask.unsqueeze(1), log_mel, 99.0), column_mask)
    assert torch.equal(first.voice, second.voice)
    assert torch.equal(first.face, second.face)
    assert torch.equal(first.fused[:3], second.fused[:3])
    assert torch.equal(first.fused[1], first.voice[1])
    assert torch.equal(first.fused[2], first.face[2])
    assert first.fused[3].isnan().all()
    shown = other(faces, torch.ones_like(face_mask), log_mel, column_mask)
    assert not torch.allclose(shown.face[0], first.face[0], atol=1e-4)


@torch.no_grad()
def test_a_sequence_with_a_gap_is_that_with_the_stand_in(other: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows(1, 3)
    face_mask[0, 1] = False
    found = other(faces, face_mask, log_mel, column_mask).face
    stood_in = torch.where(face_mask[..., None, None], faces, faces[:, :1])
    full = other(stood_in, torch.ones_like(face_mask), log_mel, column_mask).face
    assert torch.allclose(found, full, atol=1e-5) == other.config.face.reads_sequences
    backwards = other(faces.flip(1), face_mask, log_mel, column_mask).face
    assert torch.allclose(found, backwards, atol=1e-5) != other.config.face.reads_sequences


def test_gradients_reach_other_backbones(other: ExpressionNet) -> None:
    faces, face_mask, log_mel, column_mask = some_windows(3, 3)
    face_mask[0], face_mask[1, 1:], column_mask[2] = False, False, False
    other.train().zero_grad()
    other(faces, face_mask, log_mel, column_mask).fused[:, 3].sum().backward()
    other.eval()
    # a sequence at the end one step long meets only the middle of its kernels, which starves none
    assert starved(other) == []
    assert all(each.grad is not None and each.grad.isfinite().all() for each in other.parameters())


GIVEN = {
    "face": FaceNetConfig(backbone="features", n_features=5),
    "speech": SpeechNetConfig(backbone="features", n_features=7),
}


def test_widths_of_given_features_are_those_of_the_parts_that_are_there() -> None:
    assert feature_widths(ExpressionNetConfig(**GIVEN)) == {"face": 5, "speech": 7}
    assert feature_widths(ExpressionNetConfig(face=GIVEN["face"])) == {"face": 5}
    assert feature_widths(ExpressionNetConfig(**GIVEN, modalities="voice")) == {"speech": 7}
    assert feature_widths(GIVEN["face"]) == {"face": 5}
    assert feature_widths(GIVEN["speech"]) == {"speech": 7}
    assert feature_widths(ExpressionNetConfig()) == {}


def test_given_features_are_meant_over_what_is_there_and_fused() -> None:
    network = ExpressionNet(ExpressionNetConfig(**GIVEN, voice_weight=1, face_weight=2), 8).eval()
    faces, steps = torch.randn(2, 3, 1, 5), torch.randn(2, 7, 16)
    face_mask = torch.tensor([[True, False, True], [False, False, False]])
    step_mask = torch.arange(16).repeat(2, 1) < 9
    said = network(faces, face_mask, steps, step_mask)
    face = torch.softmax(network.face.head[1](faces[0, [0, 2], 0].mean(0)), -1)
    voice = torch.softmax(network.speech.head[1](steps[..., :9].mean(-1)), -1)
    torch.testing.assert_close(said.face[0].exp(), face)
    torch.testing.assert_close(said.voice.exp(), voice)
    torch.testing.assert_close(said.fused[0].exp(), (voice[0] + 2 * face) / 3)
    torch.testing.assert_close(said.fused[1].exp(), voice[1])


def test_features_are_not_aligned() -> None:
    with pytest.raises(InputError, match="joins rhcnn and mcnn, but backbones are features and mcnn"):
        ExpressionNetConfig(face=GIVEN["face"], alignment="align")
