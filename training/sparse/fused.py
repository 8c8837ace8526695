"""Our Triton kernels as products: gathers inside the loads, ReLU and gates inside the stores, sums without atomics.

Tiles of rows are laid out on the device, at most R // rows + E of them, so that nothing is read back. Where the rows of
a token are shared by many narrow experts, tiles of all experts that belong to the same tokens run side by side
(``spread``): the tokens are then read from the second-level cache instead of once per expert. The gradient of weights
gives heavy experts to the processors first.

Block sizes come from ``plan_for``; ``pin`` fixes others, such as ``tuning`` finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]
from torch import Tensor

from training.sparse.kernels import down_kernel, sum_kernel, up_kernel, weight_kernel
from training.sparse.pairs import Pairs, Tiles, cut_tiles, sort_pairs, spread_tiles
from training.sparse.products import Inner, Products

PROCESSORS = 132
"""Of an H100 or H200; decides about the order of tiles only."""


class Blocks(NamedTuple):
    """Of one kernel: columns, depth of a step of the sum, warps, steps in flight."""

    columns: int
    depth: int
    warps: int
    stages: int


class Plan(NamedTuple):
    """Of all kernels for one shape of layer."""

    rows: int
    """Pairs in a tile, and neurons in a tile of the weight gradient."""
    up: Blocks
    back: Blocks
    down: Blocks
    weight: Blocks
    spread: bool | None = None
    """Tiles of all experts side by side? None: where ``pays_to_spread``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledPairs(Pairs):
    """Pairs cut into tiles."""

    plan: Plan
    across: Tiles
    """In the order for kernels that gather."""
    along: Tiles
    """In the order of experts."""
    heavy: Tensor
    """Experts by load, heaviest first. [E]"""


_pinned: dict[tuple[int, int], Plan] = {}


def pin(d: int, m: int, plan: Plan | None) -> None:
    """Take this plan for all layers of width ``d`` with experts of ``m`` neurons from now on; None: the rule again."""
    if plan is None:
        _pinned.pop((d, m), None)
    else:
        _pinned[d, m] = plan


def plan_for(d: int, m: int, load: int, dtype: torch.dtype) -> Plan:
    """The plan for experts of ``m`` neurons with about ``load`` rows each: what was pinned, or a fixed rule."""
    if (d, m) in _pinned:
        return _pinned[d, m]
    if dtype == torch.float32 or load < 64 or min(d, m) < 64:
        # no tensor cores for float32, no full tiles from small experts
        small = Blocks(32, 32, 4, 2)
        return Plan(16, small, small, small, small)
    square = Blocks(128, 64, 4, 3)
    if load < 512 or m < 128:
        narrow = square._replace(columns=64) if m < 128 else square
        return Plan(64, up=narrow, back=narrow, down=square, weight=square._replace(stages=5))
    wide = Blocks(256, 64, 8, 3)
    return Plan(
        128,
        up=wide if m % 256 == 0 else square,
        # its stores need registers: four warps would spill them
        back=wide if m % 256 == 0 else square._replace(warps=8),
        # a short sum leaves little to hide the stores behind: smaller tiles, several to a processor
        down=square if m <= 512 else wide,
        # rows are found through their tokens: of five steps in flight, two load what the products take
        weight=wide._replace(stages=5),
    )


def pays_to_spread(tokens: int, k: int, f: int, m: int, plan: Plan) -> bool:
    """Do tokens, read anew for each expert, cost more traffic than all weights, read anew for each wave of tiles?"""
    tiles = triton.cdiv(tokens * k, plan.rows) * triton.cdiv(m, plan.up.columns)
    return tokens * k > tokens + triton.cdiv(tiles, PROCESSORS) * f


class Fused(Products):
    def arrange(self, experts: Tensor, weights: Tensor) -> TiledPairs:
        (tokens, k), (number, m, d) = experts.shape, weights.shape
        plan = plan_for(d, m, tokens * k // number, weights.dtype)
        pairs = sort_pairs(experts, number)
        along = cut_tiles(pairs, plan.rows)
        spread = pays_to_spread(tokens, k, number * m, m, plan) if plan.spread is None else plan.spread
        return TiledPairs(
            number=number,
            token=pairs.token,
            pair=pairs.pair,
            place=pairs.place,
            offsets=pairs.offsets,
            plan=plan,
            across=spread_tiles(pairs, along) if spread else along,
            along=along,
            heavy=pairs.offsets.diff().argsort(descending=True, stable=True),
        )

    def up(self, rows: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        return _up(rows, weights, _tiled(pairs), None, None)[0]

    def up_backward(self, gradient: Tensor, weights: Tensor, pairs: Pairs, active: Tensor, gates: Tensor) -> Inner:
        before, scaled, parts = _up(gradient, weights, _tiled(pairs), active, gates)
        return Inner(scaled, before, parts.sum(-1))

    def expert_matmul(self, inner: Tensor, weights: Tensor, pairs: Pairs) -> Tensor:
        pairs, (number, m, d) = _tiled(pairs), weights.shape
        tiles, blocks, rows = pairs.along, pairs.plan.down, inner.shape[0]
        out = inner.new_empty(rows, d)
        down_kernel[(tiles.expert.numel() * triton.cdiv(d, blocks.columns),)](
            inner, weights, out, tiles.expert, tiles.start, pairs.offsets,
            inner.stride(0), out.stride(0), number, d, m,
            even=m % blocks.depth == 0 and d % blocks.columns == 0, exact=inner.dtype == torch.float32,
            block_r=tiles.rows, block_n=blocks.columns, block_k=blocks.depth,
            num_warps=blocks.warps, num_stages=blocks.stages,
        )  # fmt: skip
        return out

    def weight_gradient(self, inner: Tensor, rows: Tensor, pairs: Pairs, dtype: torch.dtype) -> Tensor:
        pairs, m, d = _tiled(pairs), inner.shape[1], rows.shape[1]
        blocks, down = pairs.plan.weight, pairs.plan.rows
        out = inner.new_empty(pairs.number, m, d, dtype=dtype)
        weight_kernel[(pairs.number * triton.cdiv(m, down) * triton.cdiv(d, blocks.columns),)](
            inner, rows, pairs.token, out, pairs.offsets, pairs.heavy,
            inner.stride(0), rows.stride(0), d, m,
            even_d=d % blocks.columns == 0, even_m=m % down == 0, exact=inner.dtype == torch.float32,
            block_m=down, block_n=blocks.columns, block_p=blocks.depth,
            num_warps=blocks.warps, num_stages=blocks.stages,
        )  # fmt: skip
        return out

    def gather_sum(self, rows: Tensor, pairs: Pairs, weights: Tensor | None) -> Tensor:
        return gather_sum(rows, pairs, weights)


def gather_sum(rows: Tensor, pairs: Pairs, weights: Tensor | None) -> Tensor:
    """As in ``pairs``, for arrangements that drop nothing, by one kernel."""
    tokens, k = pairs.place.shape
    d = rows.shape[1]
    out = rows.new_empty(tokens, d)
    block = min(1024, triton.next_power_of_2(d))
    sum_kernel[(tokens, triton.cdiv(d, block))](
        rows, pairs.place, rows if weights is None else weights.contiguous(), out,
        rows.stride(0), out.stride(0), d,
        experts=k, weighted=weights is not None, block_n=block, num_warps=4,
    )  # fmt: skip
    return out


def _up(
    rows: Tensor, weights: Tensor, pairs: TiledPairs, active: Tensor | None, gates: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Activations; or, given them and gates, the gradient before ReLU, scaled activations, parts of gates' gradients"""
    (number, m, d), tiles, backward = weights.shape, pairs.across, active is not None
    blocks = pairs.plan.back if backward else pairs.plan.up
    columns = triton.cdiv(m, blocks.columns)
    out = rows.new_empty(pairs.token.numel(), m)
    scaled = torch.empty_like(out) if backward else out
    parts = out.new_empty(out.shape[0], columns, dtype=torch.float32) if backward else out
    up_kernel[(tiles.expert.numel() * columns,)](
        rows, pairs.token, weights, out, scaled, out if active is None else active, out if gates is None else gates,
        parts, tiles.expert, tiles.start, pairs.offsets,
        rows.stride(0), number, d, m,
        even_d=d % blocks.depth == 0, even_m=m % blocks.columns == 0,
        backward=backward, exact=rows.dtype == torch.float32,
        block_r=tiles.rows, block_n=blocks.columns, block_k=blocks.depth,
        num_warps=blocks.warps, num_stages=blocks.stages,
    )  # fmt: skip
    return out, scaled, parts


def _tiled(pairs: Pairs) -> TiledPairs:
    assert isinstance(pairs, TiledPairs)
    return pairs
