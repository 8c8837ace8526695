"""One model on many ranks: copies that average their gradients (DDP), or parts of it on each (FSDP)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch._dynamo
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from training.config import Phase
from training.learner import Learner
from training.ranks import Ranks


def wrap(learner: Learner, phase: Phase, ranks: Ranks) -> nn.Module:
    """The module to call in training. With FSDP the learner's module itself is changed: its parameters become parts."""
    if phase.compile:
        # layer by layer: all layers share what is compiled for the first; one version per model shape and mode
        torch._dynamo.config.recompile_limit = 64
        for block in learner.blocks():
            block.compile(dynamic=False)
    if ranks.world == 1:
        return learner.module
    if phase.parallel == "fsdp":
        for block in learner.blocks():
            fully_shard(block)
        fully_shard(learner.module)
        return learner.module
    # buffers are equal already: they follow from the weights, not from a rank's own rows
    return DistributedDataParallel(learner.module, broadcast_buffers=False)


@contextmanager
def accumulating(module: nn.Module, *, finish: bool) -> Iterator[None]:
    """Within it gradients are exchanged only where ``finish``: with the last micro-batch of a step."""
    if isinstance(module, DistributedDataParallel) and not finish:
        with module.no_sync():
            yield
        return
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(finish)
    yield


def whole(value: Tensor) -> Tensor:
    """A tensor of which this rank may hold a part, whole."""
    return value.full_tensor() if isinstance(value, DTensor) else value
