"""PyTorch's grouped products over rows sorted by expert: no padding, nothing read back, gathers as passes of their own.

``grouped_mm`` leaves rows beyond the last offset uninitialised, also in its backward, by design (pytorch issues 154557,
193633). Here the last offset is always the number of rows, and its autograd is not used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor

from corpus.errors import TrainingError
from training.sparse.pairs import Pairs, sort_pairs
from training.sparse.pairs import gather_sum as plain_sum
from training.sparse.products import Unfused, has_triton


class Grouped(Unfused):
    def arrange(self, experts: Tensor, weights: Tensor) -> Pairs:
        number, m, d = weights.shape
        if m % 8 or d % 8:
            raise TrainingError(
                f"the sparse kernel 'grouped' takes no experts of {m} neurons of width {d}",
                fix="both must be multiples of 8 (16 bytes); or take another kernel",
            )
        return sort_pairs(experts, number)

    def gather_matmul(self, rows: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        return F.grouped_mm(rows.index_select(0, pairs.token), weights.transpose(1, 2), offs=_ends(pairs))

    def expert_matmul(self, inner: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        return F.grouped_mm(inner, weights, offs=_ends(pairs))

    def weight_gradient(self, inner: Tensor, rows: Tensor, pairs: Pairs, dtype: torch.dtype) -> Tensor:
        out = F.grouped_mm(inner.t(), rows.index_select(0, pairs.token), offs=_ends(pairs)).to(dtype)
        # some versions leave what they find for an expert without rows (pytorch issue 172439)
        return out.masked_fill_((pairs.offsets.diff() == 0)[:, None, None], 0)

    def gather_sum(self, rows: Tensor, pairs: Pairs, weights: Tensor | None) -> Tensor:
        if rows.is_cuda and has_triton():
            from training.sparse.fused import gather_sum

            return gather_sum(rows, pairs, weights)
        return plain_sum(rows, pairs, weights)


def _ends(pairs: Pairs) -> Tensor:
    return pairs.offsets[1:].to(torch.int32)
