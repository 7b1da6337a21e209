"""What a depthwise 5x5 convolution and a 2x2 mean cost in training, by precision and layout of memory.

    python benchmarks/depthwise.py [ROUNDS]

Forward and backward of the layers as RHCNN and MCNN have them, on two threads; medians of rounds. Prints
Markdown.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

LAYERS = {
    "depthwise, stride 2, 64 channels of 24x24": (64, 64, 24, 24),
    "depthwise, stride 2, 128 channels of 12x12": (64, 128, 12, 12),
    "2x2 mean, 32 channels of 64x160": (32, 32, 64, 160),
}


def steps(name: str, dtype: torch.dtype, layout: torch.memory_format) -> Callable[[], None]:
    shape = LAYERS[name]
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(shape[1], 1, 5, 5, dtype=dtype, requires_grad=True)

    def forward() -> Tensor:
        if "mean" in name:
            return functional.avg_pool2d(x, 2)
        return functional.conv2d(x, weight, stride=2, padding=2, groups=shape[1])

    gradient = torch.ones_like(forward())
    return lambda: forward().backward(gradient)


def main(n_rounds: int = 15) -> None:
    torch.set_num_threads(2)
    print("| ms, forward and backward | bfloat16 | channels last | float32 | channels last |")
    print("|---|---|---|---|---|")
    for name in LAYERS:
        runs = [
            steps(name, dtype, layout)
            for dtype in (torch.bfloat16, torch.float32)
            for layout in (torch.contiguous_format, torch.channels_last)
        ]
        times: list[list[float]] = [[] for _ in runs]
        for _ in range(n_rounds + 2):
            for run, mine in zip(runs, times, strict=True):
                begin = time.perf_counter()
                run()
                mine.append(1000 * (time.perf_counter() - begin))
        print(f"| {name} | " + " | ".join(f"{median(each[2:]):.1f}" for each in times) + " |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
