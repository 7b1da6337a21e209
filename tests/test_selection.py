"""Held-out items: their scores by hand, and whose probabilities are averaged."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mien.datasets.batches import Batch, HeldOut
from mien.expressions import EXPRESSIONS
from mien.selection import held_out_logits, held_out_scores


class Mirror(torch.nn.Module):
    """Says the logits that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits * self.scale


class Held:
    """Batches of nothing but held-out items."""

    n_train = 0
    crop_px = None
    mel_range = None

    def __init__(self, logits: torch.Tensor, items: list[int], labels: list[str]) -> None:
        self.rows = list(zip(logits, items, strict=True))
        self.held_labels = tuple(labels)
        self.held_targets = np.eye(8, dtype=np.float32)[[EXPRESSIONS.index(label) for label in labels]]

    def draw(self, batch_size: int) -> Batch:
        raise AssertionError("what chooses never trains")

    def held_out(self) -> Iterator[HeldOut]:
        for row, item in self.rows:
            yield HeldOut((row[None],), np.array([item]))


def test_probabilities_of_an_item_are_the_mean_over_its_rows() -> None:
    logits = torch.zeros(3, 8)
    logits[0, 1], logits[1, 2] = 50.0, 50.0  # sure of one expression, then of another
    said = held_out_logits(Mirror(), Held(logits, [0, 0, 1], ["Anger", "Fear"]))
    assert np.exp(said[0])[[1, 2]] == pytest.approx([0.5, 0.5])
    assert np.exp(said[1]) == pytest.approx([1 / 8] * 8)


def test_scores_are_over_the_expressions_that_occur() -> None:
    logits = np.full((4, 8), -10.0, np.float32)
    logits[[0, 1, 2, 3], [0, 0, 1, 3]] = 10.0
    held = Held(torch.zeros(0, 8), [], ["Neutral", "Neutral", "Anger", "Anger"])
    scores = held_out_scores(logits, held)
    assert scores["choose_accuracy"] == 0.75
    assert scores["choose_uar"] == pytest.approx(0.75)
    assert scores["choose_macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["choose_loss"] == pytest.approx(20 / 4, rel=1e-3)
