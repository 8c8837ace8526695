"""One model on many ranks: copies that average their gradients (DDP), or parts of it on each (FSDP)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    _leave_alone(learner.module)
    return DistributedDataParallel(learner.module)


def _leave_alone(module: nn.Module) -> None:
    """Tell DDP what it must not touch: parameters of which each rank holds a part, and buffers, which are equal already
    as they follow from weights, not from a rank's own rows."""
    parts = [name for name, parameter in module.named_parameters() if isinstance(parameter, DTensor)]
    buffers = [name for name, _ in module.named_buffers()]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, parts + buffers)


def clip_norm(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Scale gradients so that their norm, over all ranks, is at most ``limit``; returns the norm before.

    Like torch's ``clip_grad_norm_``, also where some parameters are whole on every rank and others in parts.
    """
    gradients = [found.grad for found in parameters if found.grad is not None]
    kinds = [[found for found in gradients if isinstance(found, DTensor) == parts] for parts in (False, True)]
    if not all(kinds):
        return whole(nn.utils.clip_grad_norm_(parameters, limit))
    norm = torch.stack([whole(nn.utils.get_total_norm(kind)) for kind in kinds]).square().sum().sqrt()
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        local.mul_(factor)
    return norm


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
