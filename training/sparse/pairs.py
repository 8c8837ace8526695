"""(token, expert) pairs sorted by expert: which token each row belongs to, and where each token finds its rows.

A token appears once for each of its k experts. Rows sorted by expert make every expert's work one dense product; a
token's result is then gathered from k rows and summed in float32, in the order of its experts: no atomics, so that the
same input gives the same bits. Everything stays on the device: no size is read back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tiles:
    """Blocks of rows of one expert, as many as could ever be needed; those not needed name expert E."""

    rows: int
    """In a block."""
    expert: Tensor
    """[T] int32"""
    start: Tensor
    """First row of each block. [T] int64, so that every address computed from it is 64 bits wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Rows in the order of experts. R is N * k, or more where a kernel pads."""

    number: int
    """Of experts, E."""
    token: Tensor
    """Token of each row. [R] int64"""
    pair: Tensor
    """token * k + position of the expert among the token's experts, for each row. [R] int64"""
    place: Tensor
    """Row of each pair. [N, k] int64"""
    offsets: Tensor
    """Rows of expert e are those from offsets[e] to offsets[e + 1]. [E + 1] int64"""
    empty: Tensor | None = None
    """Rows that pad, in kernels that pad. [R] bool"""
    kept: Tensor | None = None
    """Pairs that have a row, in kernels that drop. [N, k] bool"""


def sort_pairs(experts: Tensor, number: int) -> Pairs:
    """Pairs of ``experts`` [N, k], with values below ``number``, distinct in a row."""
    tokens, k = experts.shape
    # narrow keys: a radix sort takes one pass per byte
    narrow = torch.uint8 if number <= 256 else torch.int16 if number <= 2**15 else torch.int64
    keys, pair = experts.reshape(-1).to(narrow).sort(stable=True)
    steps = torch.arange(number, device=experts.device, dtype=narrow)
    ends = torch.searchsorted(keys, steps, right=True)
    place = torch.empty_like(pair)
    place[pair] = torch.arange(tokens * k, device=experts.device)
    return Pairs(
        number=number,
        token=pair // k,
        pair=pair,
        place=place.view(tokens, k),
        offsets=torch.cat([ends.new_zeros(1), ends]),
    )


def cut_tiles(pairs: Pairs, rows: int) -> Tiles:
    """Tiles of ``rows`` rows. Their number depends on shapes alone: R // rows + E."""
    most = pairs.token.numel() // rows + pairs.number
    loads = pairs.offsets.diff()
    blocks = (loads + rows - 1) // rows
    ends = blocks.cumsum(0)
    ids = torch.arange(most, device=loads.device)
    expert = torch.searchsorted(ends, ids, right=True)
    known = expert.clamp(max=pairs.number - 1)
    start = pairs.offsets[known] + (ids - (ends - blocks)[known]) * rows
    return Tiles(rows, expert.to(torch.int32), start)


def spread_tiles(pairs: Pairs, tiles: Tiles) -> Tiles:
    """The tiles in the order of their share of the way through their expert's rows.

    Rows of an expert are in the order of tokens: tiles that are as far through belong to about the same tokens.
    """
    known = tiles.expert.long().clamp(max=pairs.number - 1)
    loads = pairs.offsets.diff().clamp(min=1)
    way = (tiles.start - pairs.offsets[known]).float() / loads[known]
    way = way.masked_fill(tiles.expert >= pairs.number, torch.inf)
    order = way.argsort(stable=True)
    return Tiles(tiles.rows, tiles.expert[order], tiles.start[order])


def gather_sum(rows: Tensor, pairs: Pairs, weights: Tensor | None) -> Tensor:
    """Sum of each token's ``rows`` [R, d], times ``weights`` [N, k] if given: [N, d] in the dtype of the rows."""
    wide = accumulator(rows.dtype)
    total = torch.zeros(pairs.place.shape[0], rows.shape[1], dtype=wide, device=rows.device)
    for j in range(pairs.place.shape[1]):
        part = rows.index_select(0, pairs.place[:, j]).to(wide)
        if pairs.kept is not None:
            # a dropped pair's place is not its own
            part = part.masked_fill(~pairs.kept[:, j, None], 0)
        total = total.add_(part) if weights is None else total.addcmul_(part, weights[:, j, None].to(wide))
    return total.to(rows.dtype)


def of_pairs(values: Tensor, pairs: Pairs) -> Tensor:
    """``values`` [R] of rows, as values of pairs [N, k]."""
    found = values[pairs.place]
    return found if pairs.kept is None else found.masked_fill(~pairs.kept, 0)


def of_rows(values: Tensor, pairs: Pairs) -> Tensor:
    """``values`` [N, k] of pairs, as values of rows [R]; zero where a row pads."""
    found = values.reshape(-1)[pairs.pair]
    return found if pairs.empty is None else found.masked_fill(pairs.empty, 0)


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """Sums of float16 and bfloat16 are taken in float32."""
    return torch.promote_types(dtype, torch.float32)
