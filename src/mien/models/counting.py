"""A network and its inputs in, its parameters and multiply-accumulates out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How large a network is, and what it does for some inputs."""

    n_parameters: int
    n_macs: int
    """Multiply-accumulates of its convolutions and linear layers, which are nearly all that there are."""


@torch.no_grad()
def count(network: nn.Module, inputs: Sequence[Tensor]) -> Counts:
    """What a network has, and what it did while it read `inputs` once, as it does outside training.

    Each run of a layer counts, so that what reads its input twice costs twice, and faces that are not there
    cost nothing. Norms, gates, sums and the products of alignment are left out, as is the custom.

    Args:
        network: In either mode; it is left in the one it came in, as are all its modules.
        inputs: Of one window, for the cost of a window.
    """
    n_macs = 0

    def add(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal n_macs
        assert isinstance(layer.weight, torch.Tensor)
        # each value that comes out is one product with the weights of its channel
        n_macs += out.numel() * layer.weight[0].numel()

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    modes = [(module, module.training) for module in network.modules()]
    hooks = [module.register_forward_hook(add) for module, _ in modes if isinstance(module, kinds)]
    try:
        network.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return Counts(n_parameters=sum(each.numel() for each in network.parameters()), n_macs=n_macs)
