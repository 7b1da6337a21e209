"""Weights of a shallower RHCNN in; those of a deeper one that says the same of every face out.

A run that starts where a shallower net's ended need not learn the same again (Net2Net, Chen et al. 2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mien.errors import CheckpointError
from mien.models.attention import shuffle_channels
from mien.models.face import N_GROUPS, RHB, RHCNN

if TYPE_CHECKING:
    from mien.models.face import FaceNet


@torch.no_grad()
def deepen(shallow: FaceNet, deep: FaceNet) -> None:
    """Gives a deeper net weights with which it computes what a shallower one does.

    New blocks stand where a stage's map first has its size. Each adds nothing to its input and shuffles its
    channels; the layers before them deal theirs out so that these shuffles put them right.

    Args:
        shallow: A net of RHCNN.
        deep: The same net with more blocks, untrained; of their first weights, new blocks keep all but those
            of their last norm, which are 0.

    Raises:
        CheckpointError: The second has fewer blocks in a stage.
    """
    old, new = shallow.encoder, deep.encoder
    assert isinstance(old, RHCNN)
    assert isinstance(new, RHCNN)
    depths = deep.config.depths, shallow.config.depths
    if any(more < fewer for more, fewer in zip(*depths, strict=True)):
        raise CheckpointError(f"depths are {depths[0]}, but {depths[1]} in --from; give no fewer blocks")
    for part in ("stem", "attention1", "attention2"):
        getattr(new, part).load_state_dict(getattr(old, part).state_dict())
    deep.head.load_state_dict(shallow.head.state_dict())
    n_new = _fill_stage(old.stage0, new.stage0, 0)
    _deal_out(new.stem[1], n_new)
    for before, after in ((old.stage1, new.stage1), (old.stage2, new.stage2)):
        n_new = _fill_stage(before, after, 1)
        first = after[0]
        assert isinstance(first, RHB)
        _deal_out(first.main[-2:], n_new)
        _deal_out(first.shortcut, n_new)


def _fill_stage(old: nn.Sequential, new: nn.Sequential, at: int) -> int:
    """Copies a stage's blocks around new ones, which begin at `at`; the number of these."""
    blocks, end = list(new), at + len(new) - len(old)
    for block in blocks[at:end]:
        assert isinstance(block, RHB)
        for tensor in block.main[-1].parameters():
            nn.init.zeros_(tensor)
    for source, target in zip(old, blocks[:at] + blocks[end:], strict=True):
        target.load_state_dict(source.state_dict())
    return end - at


def _deal_out(layers: nn.Module, n_shuffles: int) -> None:
    """Orders the channels that a convolution and its norm give out so that later shuffles restore them."""
    for tensor in layers.state_dict().values():
        if tensor.ndim:  # a norm also counts its batches
            order = torch.arange(float(len(tensor))).view(1, -1, 1, 1)
            for _ in range(n_shuffles):
                order = shuffle_channels(order, N_GROUPS)
            tensor[order.flatten().long()] = tensor.clone()
