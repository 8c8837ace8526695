"""Triton kernels of the sparse feed-forward. Launched by ``fused`` and ``decode``; shapes are explained there.

All products take bfloat16 (or float32, exactly) and sum in float32. Row numbers are 64 bits wide before they are
multiplied by a stride: rows times stride passes 2^31 at sizes in use. Rows past an expert's last are read from its last
row or not at all, computed, and not stored, so that loops need no masks; what must not reach a sum is masked.
"""

# Arguments are pointers and numbers of the device, for which Python has no types.
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-untyped, import-not-found, unused-ignore]


# not a variant of each kernel for every number of experts
@triton.jit(do_not_specialize=["number"])
def up_kernel(
    rows, token, weights, out, scaled, active, gates, gate_parts, expert_of, start_of, offsets,
    row_stride, number, d, m,
    even_d: tl.constexpr, even_m: tl.constexpr, backward: tl.constexpr, exact: tl.constexpr,
    block_r: tl.constexpr, block_n: tl.constexpr, block_k: tl.constexpr,
):  # fmt: skip
    """A tile of rows[token] times W_e^T, then ReLU; or, ``backward``, the gradient before ReLU and of the gate."""
    columns = tl.cdiv(m, block_n)
    tile, column = tl.program_id(0) // columns, tl.program_id(0) % columns
    expert = tl.load(expert_of + tile)
    if expert >= number:
        return
    end = tl.load(offsets + expert + 1)
    row = tl.load(start_of + tile) + tl.arange(0, block_r)
    real = row < end
    at = tl.minimum(row, end - 1)
    n = column * block_n + tl.arange(0, block_n)
    # columns past the last repeat it and are not stored
    near = n if even_m else tl.minimum(n, m - 1)
    k = tl.arange(0, block_k)
    left = rows + (tl.load(token + at).to(tl.int64) * row_stride)[:, None] + k[None, :]
    right = weights + ((expert.to(tl.int64) * m + near) * d)[None, :] + k[:, None]
    total = tl.zeros((block_r, block_n), tl.float32)
    for step in range(0, d, block_k):
        if even_d:
            a, b = tl.load(left), tl.load(right)
        else:
            a = tl.load(left, mask=step + k[None, :] < d, other=0.0)
            b = tl.load(right, mask=step + k[:, None] < d, other=0.0)
        total = tl.dot(a, b, total, input_precision="ieee" if exact else None)
        left += block_k
        right += block_k
    if backward:
        # by halves: a tile of activations beside a whole tile of sums would not fit into registers
        first, second = tl.split(tl.permute(tl.reshape(total, (block_r, 2, block_n // 2)), (0, 2, 1)))
        gate = tl.load(gates + at)[:, None]
        n = column * block_n + tl.arange(0, block_n // 2)
        part = _before_relu(first, out, scaled, active, gate, at, real, n, m)
        part += _before_relu(second, out, scaled, active, gate, at, real, n + block_n // 2, m)
        tl.store(gate_parts + at * columns + column, part, mask=real)
    else:
        here, stored = (at * m)[:, None] + n[None, :], real[:, None] & (n < m)[None, :]
        tl.store(out + here, tl.maximum(total, 0.0).to(out.dtype.element_ty), mask=stored)


@triton.jit
def _before_relu(total, out, scaled, active, gate, at, real, n, m):
    """Store what comes before the ReLU for gradients ``total`` after it, and scaled activations. Gradient of gates."""
    here, stored = (at * m)[:, None] + n[None, :], real[:, None] & (n < m)[None, :]
    h = tl.load(active + here, mask=stored, other=0.0).to(tl.float32)
    tl.store(scaled + here, (h * gate).to(scaled.dtype.element_ty), mask=stored)
    tl.store(out + here, tl.where(h > 0, total * gate, 0.0).to(out.dtype.element_ty), mask=stored)
    return tl.sum(total * h, axis=1)


@triton.jit(do_not_specialize=["number"])
def down_kernel(
    inner, weights, out, expert_of, start_of, offsets,
    inner_stride, out_stride, number, d, m,
    even: tl.constexpr, exact: tl.constexpr,
    block_r: tl.constexpr, block_n: tl.constexpr, block_k: tl.constexpr,
):  # fmt: skip
    """A tile of inner rows times W_e."""
    columns = tl.cdiv(d, block_n)
    tile, column = tl.program_id(0) // columns, tl.program_id(0) % columns
    expert = tl.load(expert_of + tile)
    if expert >= number:
        return
    end = tl.load(offsets + expert + 1)
    row = tl.load(start_of + tile) + tl.arange(0, block_r)
    at = tl.minimum(row, end - 1)
    n = column * block_n + tl.arange(0, block_n)
    k = tl.arange(0, block_k)
    left = inner + (at * inner_stride)[:, None] + k[None, :]
    right = weights + expert.to(tl.int64) * m * d + (k * d)[:, None] + n[None, :]
    total = tl.zeros((block_r, block_n), tl.float32)
    for step in range(0, m, block_k):
        if even:
            a, b = tl.load(left), tl.load(right)
        else:
            a = tl.load(left, mask=step + k[None, :] < m, other=0.0)
            b = tl.load(right, mask=(step + k[:, None] < m) & (n[None, :] < d), other=0.0)
        total = tl.dot(a, b, total, input_precision="ieee" if exact else None)
        left += block_k
        right += block_k * d
    stored = (row < end)[:, None] & (n < d)[None, :]
    tl.store(out + (at * out_stride)[:, None] + n[None, :], total.to(out.dtype.element_ty), mask=stored)


@triton.jit
def sum_kernel(
    rows, place, weights, out,
    row_stride, out_stride, d,
    experts: tl.constexpr, weighted: tl.constexpr, block_n: tl.constexpr,
):  # fmt: skip
    """A token's rows, times their weights, summed in order."""
    token = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * block_n + tl.arange(0, block_n)
    total = tl.zeros((block_n,), tl.float32)
    for j in tl.static_range(experts):
        pair = token * experts + j
        part = tl.load(rows + tl.load(place + pair).to(tl.int64) * row_stride + n, mask=n < d, other=0.0)
        if weighted:
            total += part.to(tl.float32) * tl.load(weights + pair)
        else:
            total += part.to(tl.float32)
    tl.store(out + token * out_stride + n, total.to(out.dtype.element_ty), mask=n < d)


@triton.jit
def weight_kernel(
    inner, rows, token, out, offsets, heavy,
    inner_stride, row_stride, d, m,
    even_d: tl.constexpr, even_m: tl.constexpr, exact: tl.constexpr,
    block_m: tl.constexpr, block_n: tl.constexpr, block_p: tl.constexpr,
):  # fmt: skip
    """A tile of an expert's weight gradient: its inner rows transposed times rows[token]. Heaviest experts first."""
    down, across = tl.cdiv(m, block_m), tl.cdiv(d, block_n)
    expert = tl.load(heavy + tl.program_id(0) // (down * across)).to(tl.int64)
    tile = tl.program_id(0) % (down * across)
    i = (tile // across) * block_m + tl.arange(0, block_m)
    n = (tile % across) * block_n + tl.arange(0, block_n)
    inside, within = (i < m)[None, :], (n < d)[None, :]
    begin, end = tl.load(offsets + expert), tl.load(offsets + expert + 1)
    full = begin + (end - begin) // block_p * block_p
    p = tl.arange(0, block_p).to(tl.int64)
    total = tl.zeros((block_m, block_n), tl.float32)
    for first in range(begin, full, block_p):
        row = first + p
        left = inner + (row * inner_stride)[:, None] + i[None, :]
        right = rows + (tl.load(token + row).to(tl.int64) * row_stride)[:, None] + n[None, :]
        a = tl.load(left) if even_m else tl.load(left, mask=inside, other=0.0)
        b = tl.load(right) if even_d else tl.load(right, mask=within, other=0.0)
        total = tl.dot(tl.trans(a), b, total, input_precision="ieee" if exact else None)
    if full < end:
        row = full + p
        real = (row < end)[:, None]
        at = tl.load(token + row, mask=row < end, other=0).to(tl.int64)
        a = tl.load(inner + (row * inner_stride)[:, None] + i[None, :], mask=real & inside, other=0.0)
        b = tl.load(rows + (at * row_stride)[:, None] + n[None, :], mask=real & within, other=0.0)
        total = tl.dot(tl.trans(a), b, total, input_precision="ieee" if exact else None)
    here = out + ((expert * m + i) * d)[:, None] + n[None, :]
    tl.store(here, total.to(out.dtype.element_ty), mask=(i < m)[:, None] & within)
