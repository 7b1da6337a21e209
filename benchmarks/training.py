"""What the training loop costs: faces a second in it, and in a bare loop over the same network.

    python benchmarks/training.py [ROUNDS]

The bare loop has its batch ready and does nothing but forward, backward and the optimiser's step; mien's
draws and varies faces, mixes them, clips gradients, keeps the running mean of the weights and the loss. Both
take turns, on made-up pictures; medians of rounds. Prints Markdown.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.nn import functional

from mien.datasets.batches import FaceBatches
from mien.datasets.corpus import Stills
from mien.expressions import EXPRESSIONS
from mien.recipes import TrainConfig, override, train_face
from mien.runs import State
from mien.train import describe, start_or_resume, take_step

N_STEPS = 4
"""Of each loop in a round."""


def made_up(n: int = 1024, side: int = 48) -> Stills:
    generator = np.random.default_rng(0)
    labels = [EXPRESSIONS[row % 8] for row in range(n)]
    return Stills(
        names=tuple(map(str, range(n))),
        images=generator.integers(0, 256, (n, side, side), np.uint8),
        targets=np.eye(8, dtype=np.float32)[np.arange(n) % 8],
        labels=tuple(labels),
        majority=np.ones(n, np.bool_),
        splits=np.array(["train", "choose"])[np.arange(n) // 8 % 2],
        dropped={},
    )


def begun(config: TrainConfig) -> tuple[State, FaceBatches]:
    batches = FaceBatches(made_up(), config.augmentation, config.network.input_px, config.balance)
    spec = describe(config, {}, batches.crop_px)
    return start_or_resume(config, spec, batches, Path(tempfile.mkdtemp())), batches


def mien_steps(config: TrainConfig) -> Callable[[], None]:
    state, batches = begun(config)

    def run() -> None:
        for _ in range(N_STEPS):
            take_step(state, batches, config, 1000)
            state.step += 1

    return run


def bare_steps(config: TrainConfig) -> Callable[[], None]:
    network = begun(config)[0].network.train()
    optimiser = torch.optim.AdamW(network.parameters())
    faces = torch.rand(config.batch_size, 1, config.network.input_px, config.network.input_px)
    labels = torch.arange(config.batch_size) % 8

    def run() -> None:
        for _ in range(N_STEPS):
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
                logits = network(faces)
            loss = functional.cross_entropy(logits.float(), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return run


def main(n_rounds: int = 5) -> None:
    torch.set_num_threads(2)
    print("| network | precision | bare loop, faces/s | mien's loop | ratio |\n|---|---|---|---|---|")
    for settings in (
        ["network.input_px=48", "precision=bfloat16"],
        ["network.input_px=96", "precision=bfloat16"],
        ["network.input_px=96", "precision=float32"],
    ):
        config = override(train_face(), settings)
        loops = {"bare": bare_steps(config), "mien": mien_steps(config)}
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(n_rounds + 1):
            for name, loop in loops.items():
                begin = time.perf_counter()
                loop()
                seconds[name].append(time.perf_counter() - begin)
        n_faces = N_STEPS * config.batch_size
        bare, mien = (n_faces / median(seconds[name][1:]) for name in ("bare", "mien"))  # the first warms up
        print(
            f"| RHCNN + GCSA, {config.network.input_px} px | {config.precision} "
            f"| {bare:.0f} | {mien:.0f} | {mien / bare:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
