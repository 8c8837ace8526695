"""Decoding: one to four rows, where time is what reading weights takes. Only the chosen experts' weights are read.

Two kernels on a GPU, one per projection, of static shapes and without reading anything back, so that a layer can be
recorded in a CUDA graph. An expert that several rows chose comes from memory once, then from the second-level cache:
programs for the same part of it run side by side. The second kernel splits its sum over many programs: the one that
finishes a block of columns last adds up all parts in one order, so that the same input gives the same bits. On a CPU
plain products; elsewhere without Triton, copies of the chosen weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from corpus.errors import TrainingError
from training.sparse.products import usable

MOST_ROWS = 4


@torch.no_grad()
def decode_ffn(x: Tensor, w_in: Tensor, w_out: Tensor, experts: Tensor, number: int) -> Tensor:
    """Sum over a row's ``experts`` [B, k] of relu(x W_in_e^T) W_out_e, for ``x`` [B, d] with B <= 4: [B, d].

    Weights [f, d] lie in ``number`` experts of f / number rows. No gates: in inference their value is one. No gradient.
    Raises TrainingError for more rows, which ``sparse_ffn`` serves better.
    """
    if x.ndim != 2 or x.shape[0] > MOST_ROWS or experts.shape[0] != x.shape[0]:
        raise TrainingError(
            f"decoding takes one to {MOST_ROWS} rows with experts of their own",
            where=f"x {tuple(x.shape)}, experts {tuple(experts.shape)}",
            fix="use sparse_ffn for more rows",
        )
    if w_in.shape != w_out.shape or w_in.shape[1] != x.shape[1] or w_in.shape[0] % number:
        raise TrainingError(
            f"weights are not those of {number} experts of one size",
            where=f"x {tuple(x.shape)}, w_in {tuple(w_in.shape)}, w_out {tuple(w_out.shape)}",
            fix="w_in and w_out are [f, d], with f a multiple of the number of experts",
        )
    first, second = (w.contiguous().view(number, -1, w.shape[1]) for w in (w_in, w_out))
    if "triton" in usable(x.device, x.dtype):
        from training.sparse.gemv import decode

        return decode(x.contiguous(), first, second, experts.contiguous())
    if x.device.type == "cpu":
        return _plain(x, first, second, experts)
    return _copied(x, first, second, experts)


def _copied(x: Tensor, first: Tensor, second: Tensor, experts: Tensor) -> Tensor:
    """Nothing is read back; the chosen weights are written and read once more."""
    chosen = experts.reshape(-1)
    repeated = x.repeat_interleave(experts.shape[1], dim=0)[:, :, None]
    inner = torch.bmm(first.index_select(0, chosen), repeated).relu_()
    out = torch.bmm(second.index_select(0, chosen).transpose(1, 2), inner)
    wide = torch.promote_types(x.dtype, torch.float32)
    return out.view(*experts.shape, -1).to(wide).sum(1).to(x.dtype)


def _plain(x: Tensor, first: Tensor, second: Tensor, experts: Tensor) -> Tensor:
    """Views of the weights, no copies; the order of sums is that of a row's experts."""
    out = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
    for row, chosen in enumerate(experts.tolist()):
        for expert in chosen:
            out[row] += (first[expert] @ x[row]).relu_() @ second[expert]
    return out.to(x.dtype)
