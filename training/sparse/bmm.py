"""Buffers of one size for all experts, multiplied by one batched product: plain PyTorch, fast where loads are even.

Exact, the size is the largest load, which must be read back from the device. With a capacity factor it is
ceil(factor * pairs / E): shapes stay the same from step to step, nothing is read back, and the last tokens of an expert
that overflows lose it (its contribution is zero, and so are its gradients).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.sparse.pairs import Pairs, sort_pairs
from training.sparse.products import Unfused


class Buffers(Unfused):
    def __init__(self, capacity_factor: float | None) -> None:
        self.capacity_factor = capacity_factor

    def arrange(self, experts: Tensor, weights: Tensor) -> Pairs:
        number = weights.shape[0]
        tight = sort_pairs(experts, number)
        size = _capacity(experts.numel(), number, self.capacity_factor)
        if size is None:
            size = max(1, int(tight.offsets.diff().max().item()))
        # row c of an expert's buffer is its c-th pair, if it has so many
        within = torch.arange(size, device=experts.device)
        row = tight.offsets[:-1, None] + within
        empty = (within >= tight.offsets.diff()[:, None]).view(-1)
        row = row.view(-1).masked_fill(empty, 0)
        rank = tight.place - tight.offsets[experts]
        kept = rank < size
        return Pairs(
            number=number,
            token=tight.token[row],
            pair=tight.pair[row],
            place=(experts * size + rank).masked_fill(~kept, 0),
            offsets=torch.arange(number + 1, device=experts.device) * size,
            empty=empty,
            kept=None if self.capacity_factor is None else kept,
        )

    def gather_matmul(self, rows: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        return torch.bmm(_gathered(rows, pairs), weights.transpose(1, 2)).flatten(0, 1)

    def expert_matmul(self, inner: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        return torch.bmm(inner.view(pairs.number, -1, inner.shape[1]), weights).flatten(0, 1)

    def weight_gradient(self, inner: Tensor, rows: Tensor, pairs: Pairs, dtype: torch.dtype) -> Tensor:
        buffers = inner.view(pairs.number, -1, inner.shape[1])
        return torch.bmm(buffers.transpose(1, 2), _gathered(rows, pairs)).to(dtype)


def overflow(experts: Tensor, number: int, capacity_factor: float) -> Tensor:
    """How many of the pairs ``experts`` [N, k] the factor drops: one number, on their device."""
    size = _capacity(experts.numel(), number, capacity_factor)
    assert size is not None
    return (sort_pairs(experts, number).offsets.diff() - size).clamp(min=0).sum()


def _capacity(pairs: int, number: int, factor: float | None) -> int | None:
    return None if factor is None else max(1, math.ceil(factor * pairs / number))


def _gathered(rows: Tensor, pairs: Pairs) -> Tensor:
    """[E, C, d]; zeros in rows that pad, so that not even a NaN of a token reaches an expert it did not choose."""
    assert pairs.empty is not None
    found = rows.index_select(0, pairs.token).masked_fill_(pairs.empty[:, None], 0)
    return found.view(pairs.number, -1, rows.shape[1])
