"""The order of a domain: a permutation per epoch within windows of blocks, found at any position at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.order import DomainOrder

BLOCKS = st.lists(st.integers(1, 25), min_size=1, max_size=12)
WINDOW = st.integers(1, 14)


def order(blocks, *, name="books", seed=3, window=2):
    return DomainOrder(name, np.array(blocks, np.int64), seed=seed, window=window)


def places(made, start, stop):
    """(block, row) of each position of a range."""
    found = made.locate(np.arange(start, stop))
    return list(zip(found.block.tolist(), found.row.tolist(), strict=True))


def all_rows(blocks):
    return [(block, row) for block, count in enumerate(blocks) for row in range(count)]


@settings(max_examples=80)
@given(BLOCKS, WINDOW, st.integers(0, 5))
def test_every_row_comes_once_in_every_epoch(blocks, window, epoch):
    made = order(blocks, window=window)
    assert made.total == sum(blocks)
    start = epoch * made.total
    assert sorted(places(made, start, start + made.total)) == all_rows(blocks)
    assert set(made.locate(np.arange(start, start + made.total)).epoch.tolist()) == {epoch}


@settings(max_examples=80)
@given(BLOCKS, WINDOW, st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_any_positions_together_are_where_each_is_alone(blocks, window, positions):
    together = order(blocks, window=window).locate(np.array(positions))
    for number, position in enumerate(positions):
        alone = order(blocks, window=window).locate(np.array([position]))
        assert [int(found[0]) for found in alone] == [int(found[number]) for found in together]


@settings(max_examples=80)
@given(BLOCKS, WINDOW)
def test_rows_of_a_window_come_from_its_blocks_only_and_each_block_is_in_one_window(blocks, window):
    made = order(blocks, window=window)
    inside = places(made, 0, made.total)
    seen, at = [], 0
    while at < made.total:
        first = {inside[at][0]}
        end = at
        while end < made.total and len(first | {inside[end][0]}) <= window:
            first.add(inside[end][0])
            end += 1
        assert sum(blocks[block] for block in first) == end - at
        seen += sorted(first)
        at = end
    assert sorted(seen) == list(range(len(blocks)))


def test_an_epoch_differs_from_the_next_and_a_seed_or_name_from_another():
    blocks = [5, 9, 1, 12, 7, 3]
    made = order(blocks)
    epochs = [tuple(places(made, n * made.total, (n + 1) * made.total)) for n in range(20)]
    assert len(set(epochs)) == 20
    others = [order(blocks, seed=4), order(blocks, name="code"), order(blocks, window=3)]
    assert len({tuple(places(other, 0, other.total)) for other in [made, *others]}) == 4


def test_rows_are_shuffled_within_a_window_and_blocks_over_the_epoch():
    made = order([100] * 20, window=4)
    found = made.locate(np.arange(made.total))
    neighbours = (np.diff(found.block) == 0).mean()
    assert 0.15 < neighbours < 0.35  # one of four blocks by chance
    assert sorted(set(found.block[:400].tolist())) != list(range(4))


def test_positions_far_away_are_found_as_well():
    made = order([3, 4, 5])
    far = 10**15
    assert sorted(places(made, far * 12, far * 12 + 12)) == all_rows([3, 4, 5])


def test_known_positions():
    assert places(order([2, 3, 1, 4], seed=1, window=2), 0, 12) == [
        *((3, 0), (2, 0), (3, 3), (3, 1), (3, 2), (1, 0), (0, 0), (1, 1), (1, 2), (0, 1)),
        *((0, 0), (0, 1)),
    ]
