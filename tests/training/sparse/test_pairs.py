"""The arrangement of pairs: sorted and stable, found again, cut into tiles whose number shapes alone decide."""

# torch types only some of its methods
# mypy: allow-untyped-calls

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.sparse.pairs import Pairs, cut_tiles, gather_sum, of_pairs, of_rows, sort_pairs, spread_tiles


@st.composite
def choices(draw: st.DrawFn) -> tuple[Tensor, int]:
    number = draw(st.sampled_from([1, 2, 3, 8, 300]))
    k = draw(st.integers(1, min(number, 4)))
    tokens = draw(st.integers(1, 40))
    favour = draw(st.sampled_from([0.0, 5.0]))
    scores = torch.rand(tokens, number, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    scores[:, 0] += favour
    return scores.topk(k, dim=-1).indices, number


@settings(max_examples=60, deadline=None)
@given(choices())
def test_rows_are_sorted_by_expert_and_then_by_token(choice: tuple[Tensor, int]) -> None:
    experts, number = choice
    pairs = sort_pairs(experts, number)
    flat = experts.reshape(-1)
    expert = flat[pairs.pair]
    assert (expert.diff() >= 0).all()
    assert ((expert.diff() > 0) | (pairs.token.diff() > 0)).all()
    assert torch.equal(pairs.offsets.diff(), torch.bincount(flat, minlength=number))
    assert torch.equal(pairs.token, pairs.pair // experts.shape[1])
    assert torch.equal(expert[pairs.place], experts)
    gates = torch.rand(experts.shape)
    assert torch.equal(of_pairs(of_rows(gates, pairs), pairs), gates)


@settings(max_examples=60, deadline=None)
@given(choices(), st.sampled_from([1, 4, 16]))
def test_tiles_hold_every_row_once_and_are_no_more_than_shapes_allow(choice: tuple[Tensor, int], rows: int) -> None:
    experts, number = choice
    pairs = sort_pairs(experts, number)
    tiles = cut_tiles(pairs, rows)
    assert tiles.expert.numel() == experts.numel() // rows + number
    assert tiles.start.dtype == torch.int64
    assert held(pairs, tiles.expert, tiles.start, rows) == list(range(experts.numel()))
    spread = spread_tiles(pairs, tiles)
    assert held(pairs, spread.expert, spread.start, rows) == list(range(experts.numel()))


def held(pairs: Pairs, expert: Tensor, start: Tensor, rows: int) -> list[int]:
    """All rows of all tiles, sorted."""
    found = []
    for one, first in zip(expert.tolist(), start.tolist(), strict=True):
        if one < pairs.number:
            assert first >= pairs.offsets[one]
            found += range(first, min(first + rows, int(pairs.offsets[one + 1])))
    return sorted(found)


def test_spread_tiles_go_through_all_experts_side_by_side() -> None:
    experts = torch.tensor([[0, 1]]).expand(32, 2)
    pairs = sort_pairs(experts, 3)
    spread = spread_tiles(pairs, cut_tiles(pairs, 8))
    assert spread.expert.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 3, 3, 3]
    assert spread.start.tolist()[:8] == [0, 32, 8, 40, 16, 48, 24, 56]


@pytest.mark.parametrize("number", [255, 256, 257, 2**15, 2**15 + 1])
def test_any_number_of_experts_can_be_told_apart(number: int) -> None:
    experts = torch.tensor([[number - 1, 0], [0, number // 2]])
    pairs = sort_pairs(experts, number)
    assert pairs.token.tolist() == [0, 1, 1, 0]
    assert pairs.place.tolist() == [[3, 0], [1, 2]]
    assert pairs.offsets[-1] == 4


def test_sums_are_taken_in_float32() -> None:
    pairs = sort_pairs(torch.tensor([[0, 1, 2]]), 3)
    rows = torch.tensor([[256.0], [1.0], [1.0]], dtype=torch.bfloat16)
    # in bfloat16, 256 + 1 is 256
    assert gather_sum(rows, pairs, None).item() == 258
