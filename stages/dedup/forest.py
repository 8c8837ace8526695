"""Union-find, compiled: over small numbers (``find_root``, ``join``) and over 64-bit names that arrive in a stream.

The root of a set is always its smallest member, which makes the result independent of the order of the edges. Paths
are halved on the way, so that an operation costs O(log n) amortised. ``Forest`` takes 32 to 56 bytes per name.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stages.dedup.shingling import mix

Index = NDArray[np.int64]
Names = NDArray[np.uint64]


@njit(cache=True)
def find_root(parent: Index, node: int) -> int:
    """The representative of ``node``."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True)
def join(parent: Index, a: int, b: int) -> bool:
    """Unite two sets under the smaller root; False where they already were one."""
    a, b = find_root(parent, a), find_root(parent, b)
    if a == b:
        return False
    parent[max(a, b)] = min(a, b)
    return True


@njit(cache=True)
def _slot(slots: Index, names: Names, name: np.uint64) -> np.int64:
    mask = len(slots) - 1
    at = np.int64(mix(name) & np.uint64(mask))
    while slots[at] >= 0 and names[slots[at]] != name:
        at = (at + 1) & mask
    return at


@njit(cache=True)
def _number(slots: Index, names: Names, parent: Index, count: int, name: np.uint64) -> tuple[int, int]:
    """The number of ``name``, which is a new one if it was never seen, and how many names there are now."""
    at = _slot(slots, names, name)
    if slots[at] >= 0:
        return slots[at], count
    slots[at], names[count], parent[count] = count, name, count
    return count, count + 1


@njit(cache=True)
def _add_edges(slots: Index, names: Names, parent: Index, count: int, a: Names, b: Names) -> int:
    for edge in range(len(a)):
        left, count = _number(slots, names, parent, count, a[edge])
        right, count = _number(slots, names, parent, count, b[edge])
        left, right = find_root(parent, left), find_root(parent, right)
        if names[left] < names[right]:
            parent[right] = left
        else:
            parent[left] = right
    return count


@njit(cache=True)
def _fill_slots(slots: Index, names: Names, count: int) -> None:
    for number in range(count):
        slots[_slot(slots, names, names[number])] = number


@njit(cache=True)
def _name_roots(names: Names, parent: Index, count: int) -> Names:
    roots = np.empty(count, np.uint64)
    for number in range(count):
        roots[number] = names[find_root(parent, number)]
    return roots


class Forest:
    """Connected components of a graph that is given edge by edge, over names of 64 bits.

    forest = Forest()
    forest.add(a, b)                       # arrays of the edges' ends, as often as needed
    names, components = forest.components()  # ascending names; a component is named after its smallest member
    """

    def __init__(self) -> None:
        self._count = 0
        self._slots = np.full(2048, -1, np.int64)  # hash table of numbers, at most half full
        self._names = np.empty(1024, np.uint64)
        self._parent = np.empty(1024, np.int64)

    def add(self, a: Names, b: Names) -> None:
        """Add the edges ``a[i] - b[i]``. Edges are taken in slices, so that room grows with the names only."""
        for start in range(0, len(a), 1 << 16):
            stop = min(start + (1 << 16), len(a))
            self._make_room(2 * (stop - start))
            self._count = _add_edges(self._slots, self._names, self._parent, self._count, a[start:stop], b[start:stop])

    def components(self) -> tuple[Names, Names]:
        """All names in ascending order, and for each the smallest name of its component."""
        roots = _name_roots(self._names, self._parent, self._count)
        order = np.argsort(self._names[: self._count])
        return self._names[order], roots[order]

    def _make_room(self, more: int) -> None:
        needed = self._count + more
        if needed > len(self._names):
            room = max(needed, len(self._names) * 3 // 2)
            self._names = np.concatenate([self._names[: self._count], np.empty(room - self._count, np.uint64)])
            self._parent = np.concatenate([self._parent[: self._count], np.empty(room - self._count, np.int64)])
        if 2 * needed > len(self._slots):
            self._slots = np.full(1 << (2 * needed - 1).bit_length(), -1, np.int64)
            _fill_slots(self._slots, self._names, self._count)
