"""The keyed permutation: every element once, another order per key, and the same numbers on every machine for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.permutation import derive_key, permute


def whole(size, key):
    return permute(np.arange(size), size, key).tolist()


@pytest.mark.parametrize("size", [*range(1, 70), 127, 128, 129, 255, 256, 257, 1000, 4095, 4097, 65_537])
def test_every_element_comes_once_whatever_the_size(size):
    for key in (0, 1, derive_key("any"), (1 << 64) - 1):
        assert sorted(whole(size, key)) == list(range(size))


@given(st.integers(1, 1 << 40), st.integers(0, (1 << 64) - 1), st.lists(st.integers(0, 1 << 40), min_size=1))
def test_any_element_is_found_alone_as_among_others(size, key, wanted):
    indices = np.array(wanted) % size
    together = permute(indices, size, key)
    assert ((together >= 0) & (together < size)).all()
    assert [int(permute(np.array([one]), size, key)[0]) for one in indices] == together.tolist()
    assert len(set(together.tolist())) == len(set(indices.tolist()))


def test_keys_give_different_orders_and_no_key_leaves_the_order_as_it_was():
    orders = {tuple(whole(50, derive_key("k", number))) for number in range(200)}
    assert len(orders) == 200
    assert tuple(range(50)) not in orders


@pytest.mark.parametrize("size", [5, 16, 33])
def test_each_element_may_go_anywhere(size):
    """Over many keys every place receives every element about equally often (chi-squared, far in the tail)."""
    keys = 3000
    counts = np.zeros((size, size))
    for number in range(keys):
        counts[np.arange(size), whole(size, derive_key("uniform", number))] += 1
    expected = keys / size
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = (size - 1) ** 2
    assert abs(statistic - freedom) < 6 * np.sqrt(2 * freedom)


def test_known_values():
    """Saved states rely on these: another algorithm needs another version of the state, not other numbers here."""
    assert derive_key(1, "books", 0, "blocks") == 16_613_589_766_088_169_595
    assert whole(12, 7) == [8, 6, 4, 1, 3, 9, 5, 0, 11, 2, 7, 10]
    found = permute(np.array([0, 1, 999_999_999]), 1_000_000_000, derive_key(1))
    assert found.tolist() == [257_409_889, 544_444_938, 517_462_418]


def test_parts_of_a_key_are_kept_apart():
    assert derive_key("ab", "c") != derive_key("a", "bc")
    assert derive_key(1, 23) != derive_key(12, 3)


@pytest.mark.parametrize("size", [0, -3])
def test_nothing_cannot_be_permuted(size):
    with pytest.raises(ValueError, match="nothing to permute"):
        permute(np.arange(0), size, 1)
