"""One product per busy expert: the kernel for CPUs. Offsets are read back, which on a GPU would wait for it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from training.sparse.pairs import Pairs
from training.sparse.products import Unfused


class Loop(Unfused):
    """Costs what the chosen experts cost, and some microseconds per busy expert."""

    def gather_matmul(self, rows: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        out = rows.new_empty(pairs.token.numel(), weights.shape[1])
        for expert, own in _busy(pairs):
            torch.mm(rows.index_select(0, pairs.token[own]), weights[expert].t(), out=out[own])
        return out

    def expert_matmul(self, inner: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        out = inner.new_empty(inner.shape[0], weights.shape[2])
        for expert, own in _busy(pairs):
            torch.mm(inner[own], weights[expert], out=out[own])
        return out

    def weight_gradient(self, inner: Tensor, rows: Tensor, pairs: Pairs, dtype: torch.dtype) -> Tensor:
        out = inner.new_zeros(pairs.number, inner.shape[1], rows.shape[1], dtype=dtype)
        for expert, own in _busy(pairs):
            out[expert] = inner[own].t() @ rows.index_select(0, pairs.token[own])
        return out


def _busy(pairs: Pairs) -> Iterator[tuple[int, slice]]:
    offsets = pairs.offsets.tolist()
    for expert in range(pairs.number):
        if offsets[expert + 1] > offsets[expert]:
            yield expert, slice(offsets[expert], offsets[expert + 1])
