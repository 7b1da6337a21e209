"""The semi-supervised stage: thresholds and losses by hand, the teacher left alone, a problem it solves."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from corpora import striped
from mien.datasets.augment import STRONG, WEAK, FaceAugmentation
from mien.datasets.batches import FaceBatches, FaceViews
from mien.datasets.corpus import Stills
from mien.errors import InputError
from mien.expressions import EXPRESSIONS, position
from mien.losses import soft_cross_entropy
from mien.models.checkpoint import load_tensors, save_tensors
from mien.models.face import FaceNet
from mien.semi import (
    SemiConfig,
    SemiState,
    ask_mean,
    contrastive_loss,
    debiased,
    learn_thresholds,
    pseudo_labels,
    semi_loss,
    start_semi,
)
from some_networks import face_config, starved

CONFIG = SemiConfig(n_faces=6)
N = len(EXPRESSIONS)


def probs_of(*sure: tuple[str, float]) -> Tensor:
    """A row for each expression and its probability; the others share the rest."""
    probs = torch.stack([torch.full((N,), (1 - share) / (N - 1)) for _, share in sure])
    for row, (name, share) in enumerate(sure):
        probs[row, position(name)] = share
    return probs


def some_network(seed: int = 0) -> FaceNet:
    torch.manual_seed(seed)
    return FaceNet(face_config(input_px=16), N).train()


def weights_of(network: FaceNet) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def some_views(seed: int = 0, n: int = 6) -> FaceViews:
    generator = torch.Generator().manual_seed(seed)
    return FaceViews(*(torch.rand(n, 1, 16, 16, generator=generator) for _ in range(3)))


def loss_of(network: FaceNet, state: SemiState, config: SemiConfig, seed: int = 0):
    average = weights_of(some_network(1))
    torch.manual_seed(seed)  # for dropout
    return semi_loss(network, average, some_views(), state, config)


def surest(state: SemiState) -> SemiState:
    """The state in which the teacher is sure of everything."""
    return state._replace(thresholds=torch.zeros(N))


def least_sure(state: SemiState) -> SemiState:
    return state._replace(thresholds=torch.full((N,), 2.0))


@pytest.mark.parametrize(
    ("n_epochs", "anger", "fear"),
    [
        (0, 0.8, 0.8),
        (1, 0.8, 0.8),
        (3, 0.97 / (1 + math.exp(-3)) * 0.93, 0.8),  # 0.859; Fear's would be 0.785
        (50, 0.97 * 0.93, 0.97 * 0.85),
    ],
)
def test_a_threshold_is_a_rising_share_of_the_mean_confidence_in_what_is_right(
    n_epochs: int, anger: float, fear: float
) -> None:
    probs = probs_of(("Anger", 0.96), ("Anger", 0.90), ("Anger", 0.5), ("Fear", 0.85), ("Fear", 0.99))
    labels = (
        "Anger",
        "Anger",
        "Fear",
        "Fear",
        "Neutral",
    )  # the third and the last are wrong: they do not count
    learned = learn_thresholds(start_semi(CONFIG), probs, labels, CONFIG, n_epochs).thresholds
    assert learned[position("Anger")].item() == pytest.approx(anger, abs=1e-6)
    assert learned[position("Fear")].item() == pytest.approx(fear, abs=1e-6)
    assert learned[position("Neutral")].item() == pytest.approx(0.8)  # never right
    assert learned[position("Sadness")].item() == pytest.approx(0.8)  # never labelled


def test_a_new_epoch_has_used_nothing_and_keeps_what_is_usual() -> None:
    before = SemiState(torch.rand(N), torch.rand(N), torch.tensor([3.0, 6.0]))
    after = learn_thresholds(before, probs_of(("Anger", 0.9)), ("Anger",), CONFIG, 1)
    assert after.used.tolist() == [0, 0]
    assert torch.equal(after.usual, before.usual)


def test_each_expression_has_its_own_threshold() -> None:
    state = start_semi(CONFIG)
    state.thresholds[position("Anger")] = 0.95
    probs = probs_of(("Anger", 0.94), ("Anger", 0.96), ("Fear", 0.94), ("Fear", 0.79))
    labels, sure, unsure = pseudo_labels(probs, state, CONFIG)
    assert [EXPRESSIONS[k] for k in labels] == ["Anger", "Anger", "Fear", "Fear"]
    assert sure.tolist() == [False, True, True, False]
    assert torch.equal(unsure, ~sure)


def test_without_a_usual_expression_debiasing_changes_nothing() -> None:
    probs = probs_of(("Anger", 0.4), ("Other", 0.999))
    torch.testing.assert_close(debiased(probs, torch.full((N,), 1 / N), 0.5), probs)


def test_debiasing_divides_by_the_root_of_what_is_usual() -> None:
    usual = probs_of(("Neutral", 0.65))[0]
    probs = torch.tensor([[0.5, 0.3, *[0.2 / 6] * 6]])
    wanted = probs / usual.sqrt()
    torch.testing.assert_close(debiased(probs, usual, 0.5), wanted / wanted.sum())
    torch.testing.assert_close(debiased(probs, usual, 0.0), probs)
    taken = [
        EXPRESSIONS[pseudo_labels(probs, start_semi(CONFIG)._replace(usual=usual), config)[0].item()]
        for config in (CONFIG, replace(CONFIG, debias=0.0))
    ]
    assert taken == ["Anger", "Neutral"]


def test_debiasing_survives_certainty() -> None:
    believed = debiased(torch.eye(N), torch.eye(N)[0], 0.5)
    assert believed.isfinite().all()
    assert believed.argmax(1).tolist() == list(range(N))


def test_faces_taken_for_an_expression_that_does_not_occur_are_ignored() -> None:
    probs = probs_of(("Other", 0.99), ("Other", 0.3), ("Fear", 0.99), ("Fear", 0.3))
    _, sure, unsure = pseudo_labels(probs, start_semi(CONFIG), CONFIG)
    assert sure.tolist() == [False, False, True, False]
    assert unsure.tolist() == [False, False, False, True]
    _, sure, unsure = pseudo_labels(probs, start_semi(CONFIG), replace(CONFIG, ignored=()))
    assert sure.tolist() == [True, False, True, False]
    assert unsure.tolist() == [False, True, False, True]


def test_where_every_face_is_ignored_there_is_nothing_to_learn() -> None:
    network, every = some_network(), replace(CONFIG, ignored=EXPRESSIONS)
    loss, after = loss_of(network, surest(start_semi(CONFIG)), every)
    loss.backward()
    assert loss.item() == 0
    assert not any(each.grad.abs().sum() for each in network.parameters() if each.grad is not None)
    assert after.used.tolist() == [0, 6]


def test_alike_views_of_unlike_faces_cost_least() -> None:
    torch.manual_seed(0)
    first, other = torch.randn(8, 32), torch.randn(8, 32)
    equal, near = contrastive_loss(first, first, 0.07), contrastive_loss(first, first + other, 0.07)
    unlike = contrastive_loss(first, other, 0.07)
    assert 0 <= equal < 0.1 * near < near < unlike
    torch.testing.assert_close(contrastive_loss(5 * first, 0.1 * first, 0.07), equal)  # length is no matter
    collapsed = contrastive_loss(first[:1].expand(8, 32), first[:1].expand(8, 32), 0.07)
    assert collapsed.item() == pytest.approx(math.log(15))


def test_the_contrastive_loss_is_its_formula() -> None:
    torch.manual_seed(0)
    views = torch.randn(6, 5)
    wanted = []
    for row in range(6):
        likeness = [math.exp(F.cosine_similarity(views[row], each, dim=0) / 0.2) for each in views]
        wanted.append(-math.log(likeness[(row + 3) % 6] / (sum(likeness) - likeness[row])))
    found = contrastive_loss(views[:3], views[3:], 0.2)
    assert found.item() == pytest.approx(sum(wanted) / 6, rel=1e-4)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_faces_to_tell_apart_cost_nothing(n: int) -> None:
    first = torch.randn(n, 4, requires_grad=True)
    loss = contrastive_loss(first, torch.randn(n, 4), 0.07)
    loss.backward()
    assert loss.item() == 0


def test_the_loss_is_made_of_its_parts() -> None:
    """Where all is sure, of strong views alone; where nothing is, of weak ones alone; each by its weight."""
    start = start_semi(CONFIG)
    probs = sum(ask_mean(some_network(), weights_of(some_network(1)), each) for each in some_views()[:2]) / 2
    labels = probs.argmax(1)
    config = replace(CONFIG, ignored=(), pseudo=2.0, contrast=0.5)
    network = some_network()
    torch.manual_seed(0)
    features = network.encode(torch.cat(some_views()))
    strong = F.cross_entropy(network.head(features[12:]), labels).item()
    contrast = contrastive_loss(features[:6], features[6:12], config.temperature).item()
    assert loss_of(some_network(), surest(start), config)[0].item() == pytest.approx(2 * strong, rel=1e-4)
    found = loss_of(some_network(), least_sure(start), config)[0].item()
    assert found == pytest.approx(0.5 * contrast, rel=1e-4)


def test_the_pseudo_label_is_that_of_the_mean_of_both_weak_views() -> None:
    views, config = some_views(), replace(CONFIG, ignored=())
    teacher = some_network(1)
    with torch.no_grad():  # a teacher who reads each view as something else
        features = teacher.eval().encode(torch.cat(views[:2]))
        weight, bias = teacher.head[1].weight, teacher.head[1].bias
        weight /= ((features - features.mean(0)) @ weight.T).std() / 2
        bias.copy_(-weight @ features.mean(0))
    average = weights_of(teacher)
    first, second = (ask_mean(teacher, average, each) for each in views[:2])
    mean = (first + second) / 2
    for each in (first, second):
        assert (mean.argmax(1) != each.argmax(1)).any()
    network = some_network()
    torch.manual_seed(0)
    wanted = F.cross_entropy(network.head(network.encode(torch.cat(views))[12:]), mean.argmax(1)).item()
    torch.manual_seed(0)
    found, after = semi_loss(network, average, views, surest(start_semi(CONFIG)), config)
    assert found.item() == pytest.approx(wanted, rel=1e-4)
    torch.testing.assert_close(after.usual, torch.full((N,), 0.999 / N) + 0.001 * mean.mean(0))


def test_no_gradient_reaches_the_teacher_and_every_weight_of_the_network_gets_one() -> None:
    network, average = some_network(), weights_of(some_network(1))
    weights = [tensor.requires_grad_() for tensor in average.values() if tensor.is_floating_point()]
    before = [tensor.detach().clone() for tensor in average.values()]
    state = start_semi(CONFIG)
    state.thresholds[:] = 0.0
    loss, after = semi_loss(network, average, some_views(), state, replace(CONFIG, ignored=()))
    loss.backward()
    assert all(each.grad is None for each in weights)
    assert all(torch.equal(*pair) for pair in zip(before, average.values(), strict=True))
    assert not any(each.requires_grad for each in after)
    assert starved(network) == []


def test_the_teacher_is_asked_in_evaluation_and_the_network_left_in_training() -> None:
    network, faces = some_network(), some_views().first
    other = some_network(1)
    statistics = weights_of(network)
    said = ask_mean(network, weights_of(other), faces)
    torch.testing.assert_close(said, torch.softmax(other.eval()(faces), -1))
    assert all(each.training for each in network.modules())
    assert all(torch.equal(statistics[name], tensor) for name, tensor in network.state_dict().items())
    network.eval()
    ask_mean(network, weights_of(other), faces)
    assert not any(each.training for each in network.modules())


def test_the_state_counts_what_was_used_and_changes_nothing_in_place() -> None:
    start = start_semi(CONFIG)
    config = replace(CONFIG, ignored=())
    _, after = loss_of(some_network(), surest(start), config)
    _, later = loss_of(some_network(), least_sure(after), config)
    assert [each.used.tolist() for each in (start, after, later)] == [[0, 0], [6, 6], [6, 12]]
    assert torch.equal(start.usual, torch.full((N,), 1 / N))
    assert after.usual.sum().item() == pytest.approx(1)


def test_the_loss_is_a_function_of_the_global_seed_and_of_the_state() -> None:
    state = start_semi(CONFIG)._replace(thresholds=torch.full((N,), 0.15))
    first, again = (loss_of(some_network(), state, CONFIG, seed=3) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert all(torch.equal(*pair) for pair in zip(first[1], again[1], strict=True))
    other = loss_of(some_network(), surest(state), CONFIG, seed=4)
    assert not torch.equal(other[0], loss_of(some_network(), surest(state), CONFIG, seed=3)[0])


def test_a_state_comes_back_from_disk_by_its_names_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    network, config = some_network(), replace(CONFIG, ignored=(), memory=0.9)
    _, state = loss_of(network, start_semi(config), config)
    state = learn_thresholds(state, probs_of(("Anger", 0.99)), ("Anger",), config, 9)
    _, state = loss_of(network, state, config)
    assert not torch.equal(state.thresholds, start_semi(config).thresholds)
    save_tensors({f"semi/{name}": each for name, each in state._asdict().items()}, {}, tmp_path / "state")
    tensors, _ = load_tensors(tmp_path / "state")
    back = SemiState(**{name.removeprefix("semi/"): each for name, each in tensors.items()})
    assert all(torch.equal(*pair) for pair in zip(state, back, strict=True))
    weights = weights_of(network)
    on, resumed = [], []
    for each, out in ((state, on), (back, resumed)):
        network.load_state_dict(weights)
        loss, after = loss_of(network, each, config, seed=5)
        out += [loss, *after]
    assert all(torch.equal(*pair) for pair in zip(on, resumed, strict=True))


def test_the_state_after_a_batch_in_parts_is_the_mean_of_the_parts() -> None:
    network, average = some_network(), weights_of(some_network(1))
    start, views = start_semi(CONFIG), some_views()
    _, whole = semi_loss(network, average, views, start, CONFIG)
    parts = [
        semi_loss(network, average, FaceViews(*(each[rows] for each in views)), start, CONFIG)[1]
        for rows in (slice(3), slice(3, 6))
    ]
    torch.testing.assert_close((parts[0].usual + parts[1].usual) / 2, whole.usual)
    assert torch.equal(parts[0].used + parts[1].used, whole.used)


def test_it_runs_in_bfloat16_with_a_loss_in_single_precision() -> None:
    state = start_semi(CONFIG)
    with torch.autocast("cpu", torch.bfloat16):
        loss, after = loss_of(some_network(), least_sure(state), replace(CONFIG, ignored=()))
    exact, _ = loss_of(some_network(), least_sure(state), replace(CONFIG, ignored=()))
    assert loss.dtype == after.usual.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_faces": -1}, "n_faces is -1; expected 0 or more"),
        ({"contrast": math.inf}, "contrast is inf; expected 0 or more"),
        ({"lowest": 1.2}, "lowest is 1.2; expected 0 to 1"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
        ({"ignored": ("Contempt",)}, "Contempt"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SemiConfig(**setting)


def test_it_is_off_until_faces_are_asked_for() -> None:
    assert SemiConfig().n_faces == 0
    assert (SemiConfig().weak, SemiConfig().strong) == (WEAK, STRONG)


N_STRIPES = 6
"""Directions of stripes that differ from each other's mirror images as well."""
GENTLE = FaceAugmentation(scale=0.05, rotation=3, shift=0.05, blur=0, contrast=0.2, noise=0.02, erase=0)


def striped_batches(n_labelled: int, n_unlabelled: int, n_held: int) -> FaceBatches:
    """Pictures of six directions in turn, a few with labels."""
    generator = np.random.default_rng(0)
    n_all = n_labelled + n_held + n_unlabelled
    images = np.stack([striped(k % N_STRIPES, generator) for k in range(n_all)])
    columns = np.arange(n_labelled + n_held) % N_STRIPES
    stills = Stills(
        names=tuple(map(str, range(len(columns)))),
        images=images[: len(columns)],
        targets=np.eye(N, dtype=np.float32)[columns],
        labels=tuple(EXPRESSIONS[k] for k in columns),
        majority=np.ones(len(columns), bool),
        splits=np.array(["train"] * n_labelled + ["choose"] * n_held),
        dropped={},
    )
    batches = FaceBatches(stills, GENTLE, 24, 0.0)
    batches.unlabelled = images[len(columns) :]
    return batches


def fit_stripes(batches: FaceBatches, config: SemiConfig) -> tuple[float, list[float]]:
    """Accuracy of the mean of the weights on what is held out, and the share that was used of each epoch."""
    torch.manual_seed(0)
    network = FaceNet(face_config(input_px=24), N).train()
    average, state = weights_of(network), start_semi(config)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    shares = []
    for step in range(100):
        torch.manual_seed(step)
        batch = batches.draw(12)
        loss = soft_cross_entropy(network(*batch.inputs), batch.targets)
        if config.n_faces:
            views = batches.draw_views(config.n_faces, config.weak, config.strong)
            extra, state = semi_loss(network, average, views, state, config)
            loss = config.labelled * loss + extra
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay = min(0.97, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            average[name] = torch.lerp(tensor, average[name], decay) if tensor.ndim else tensor.clone()
        if config.n_faces and (step + 1) % 25 == 0:
            shares.append((state.used[0] / state.used[1]).item())
            probs = ask_mean(network, average, batches.images.float() / 255)
            state = learn_thresholds(state, probs, batches.labels, config, (step + 1) // 25)
    said = ask_mean(network, average, batches.held_images.float() / 255).argmax(1).numpy()
    return float(np.mean(said == batches.held_targets.argmax(1))), shares


@pytest.mark.slow
def test_many_faces_without_labels_make_up_for_few_with_labels() -> None:
    batches = striped_batches(n_labelled=12, n_unlabelled=396, n_held=240)
    alone, _ = fit_stripes(batches, SemiConfig())
    strong = replace(GENTLE, contrast=0.5, noise=0.1, erase=1.0)
    together, shares = fit_stripes(batches, SemiConfig(n_faces=24, weak=GENTLE, strong=strong, memory=0.99))
    assert shares == sorted(shares)
    assert shares[-1] > 0.4
    assert together > alone + 0.05
