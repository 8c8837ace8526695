"""The dense layer under a mask on its neurons: the reference that every kernel is held against.

It costs what the dense layer costs, whatever is chosen; as a candidate of the dispatcher it keeps sparse execution from
ever being slower than dense.
"""

from __future__ import annotations

from torch import Tensor


def masked_ffn(x: Tensor, w_in: Tensor, w_out: Tensor, experts: Tensor, gates: Tensor, number: int) -> Tensor:
    """As ``sparse_ffn``, by dense products and autograd; all but ``experts`` and ``gates`` in one dtype."""
    chosen = x.new_zeros(x.shape[0], number).scatter(1, experts, gates.to(x.dtype))
    inner = (x @ w_in.t()).relu().view(x.shape[0], number, w_in.shape[0] // number)
    out: Tensor = (inner * chosen[:, :, None]).flatten(1) @ w_out
    return out
