"""The order of a domain: position in its endless stream -> block and row. Computed, never stored.

An epoch is a permutation of the domain's blocks, cut into windows of some blocks, and a permutation of the rows within
each window: any position is found at once, every row comes once per epoch, each block is read once per epoch, and
memory is bounded by the window. Wider windows shuffle better.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.data.permutation import derive_key, permute


class Located(NamedTuple):
    """Where rows are: number of the block, row within it, and epoch, one entry per position."""

    block: NDArray[np.int64]
    row: NDArray[np.int64]
    epoch: NDArray[np.int64]


class _Epoch(NamedTuple):
    blocks: NDArray[np.int64]  # the permuted blocks
    ends: NDArray[np.int64]  # rows up to and with each of them
    windows: NDArray[np.int64]  # rows up to and with each window


class DomainOrder:
    """The order of one domain under a seed."""

    def __init__(self, name: str, rows: NDArray[np.int64], *, seed: int, window: int) -> None:
        self.total = int(rows.sum())
        self._name, self._rows, self._seed, self._window = name, rows, seed, window
        self._epochs: dict[int, _Epoch] = {}

    def _epoch(self, epoch: int) -> _Epoch:
        if epoch not in self._epochs:
            self._epochs = {known: laid for known, laid in self._epochs.items() if abs(known - epoch) == 1}
            self._epochs[epoch] = self._lay_out(epoch)
        return self._epochs[epoch]

    def _lay_out(self, epoch: int) -> _Epoch:
        count = len(self._rows)
        blocks = permute(np.arange(count), count, derive_key(self._seed, self._name, epoch, "blocks"))
        ends = self._rows[blocks].cumsum()
        last = np.append(np.arange(self._window - 1, count - 1, self._window), count - 1)
        return _Epoch(blocks, ends, ends[last])

    def locate(self, positions: NDArray[np.int64]) -> Located:
        """Block, row and epoch of each of ``positions`` (counted from 0 over all epochs)."""
        epochs = positions // self.total
        found = Located(np.empty_like(epochs), np.empty_like(epochs), epochs)
        for epoch in np.unique(epochs):
            chosen = np.flatnonzero(epochs == epoch)
            block, row = self._within(int(epoch), positions[chosen] - epoch * self.total)
            found.block[chosen], found.row[chosen] = block, row
        return found

    def _within(self, epoch: int, inside: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        laid = self._epoch(epoch)
        windows = np.searchsorted(laid.windows, inside, side="right")
        shuffled = np.empty_like(inside)
        for window in np.unique(windows):
            chosen = windows == window
            start = int(laid.windows[window - 1]) if window else 0
            key = derive_key(self._seed, self._name, epoch, int(window), "rows")
            shuffled[chosen] = start + permute(inside[chosen] - start, int(laid.windows[window]) - start, key)
        place = np.searchsorted(laid.ends, shuffled, side="right")
        block = laid.blocks[place]
        return block, shuffled - (laid.ends[place] - self._rows[block])
