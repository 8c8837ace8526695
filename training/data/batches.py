"""From plans to batches: blocks are read ahead by threads, rows are laid into tensors.

Threads suffice: decompressing Parquet and encoding text leave Python's lock alone, and there is no data to send between
processes and nothing in /dev/shm to clean up. They keep no state; which blocks they read follows from the plans.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from training.data.order import DomainOrder, Located
from training.data.planner import Plan
from training.data.rows import Rows
from training.data.source import Domain

IGNORE = -100
"""Label of places that have none: the default ``ignore_index`` of ``torch.nn.functional.cross_entropy``."""
Batch = dict[str, torch.Tensor]


class Slice(NamedTuple):
    """This rank's part of a plan, located."""

    plan: Plan
    domain: NDArray[np.int32]
    located: tuple[tuple[int, NDArray[np.int64], Located], ...]
    """Per domain: its number, the slots of the batch it fills, and where their rows are."""


class BlockCache:
    """Blocks that are read or being read, the ones used last kept. Safe to lose: a block is simply read again."""

    def __init__(self, domains: Sequence[Domain], *, threads: int, capacity: int) -> None:
        self._domains, self._capacity = domains, capacity
        self._pool = ThreadPoolExecutor(threads, "loader") if threads else None
        self._blocks: OrderedDict[tuple[int, int], Future[Rows]] = OrderedDict()

    def want(self, domain: int, block: int) -> Future[Rows]:
        """The rows of a block, now or soon."""
        key = (domain, block)
        found = self._blocks.get(key)
        if found is None:
            found = self._blocks[key] = self._start(self._domains[domain], block)
            while len(self._blocks) > self._capacity:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return found

    def _start(self, domain: Domain, block: int) -> Future[Rows]:
        if self._pool is not None:
            return self._pool.submit(domain.read, domain.blocks[block])
        done: Future[Rows] = Future()
        done.set_result(domain.read(domain.blocks[block]))
        return done

    def close(self) -> None:
        """Stop reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def take_slice(plan: Plan, orders: Sequence[DomainOrder], rank: int, world: int) -> Slice:
    """The contiguous part of a global batch that belongs to ``rank``."""
    size = len(plan.domain) // world
    mine = slice(rank * size, (rank + 1) * size)
    domain, position = plan.domain[mine], plan.position[mine]
    located = []
    for number in np.unique(domain):
        slots = np.flatnonzero(domain == number)
        located.append((int(number), slots, orders[number].locate(position[slots])))
    return Slice(plan, domain, tuple(located))


def blocks_of(part: Slice) -> list[tuple[int, int]]:
    """The blocks (domain, number) that a slice needs."""
    return [(number, int(block)) for number, _, found in part.located for block in np.unique(found.block)]


def assemble(part: Slice, cache: BlockCache, sequence_length: int) -> Batch:
    """Lay the rows of a slice into tensors. Waits for blocks that are still being read."""
    size = len(part.domain)
    inputs, labels = (np.empty((size, sequence_length), np.int64) for _ in range(2))
    documents = np.empty((size, sequence_length), np.int32)
    for number, slots, found in part.located:
        for block in np.unique(found.block):
            chosen = found.block == block
            rows = cache.want(number, int(block)).result()
            _fill(*rows, found.row[chosen], slots[chosen], inputs, labels, documents)
    after = part.plan.after
    return {
        "input_ids": torch.from_numpy(inputs),
        "labels": torch.from_numpy(labels),
        "document_ids": torch.from_numpy(documents),
        "domain": torch.from_numpy(part.domain.astype(np.int64)),
        "step": torch.tensor(part.plan.step),
        "mix_version": torch.tensor(part.plan.version),
        "cursor": torch.tensor([after.taken, after.carry], dtype=torch.int64),
    }


@numba.njit(cache=True, nogil=True)
def _fill(tokens, length, offsets, starts, rows, slots, inputs, labels, documents):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    width = inputs.shape[1]
    for number in range(rows.size):
        row, slot = rows[number], slots[number]
        real = length[row]
        for at in range(width):
            inputs[slot, at] = tokens[row, at]
            labels[slot, at] = tokens[row, at + 1] if at + 1 < real else IGNORE
        # padding is a document of its own, so that nothing attends to it
        piece, begin, end = offsets[row], 0, offsets[row + 1]
        document = 0
        while piece < end:
            stop = starts[piece + 1] if piece + 1 < end else real
            for at in range(begin, min(stop, width)):
                documents[slot, at] = document
            begin = stop
            document += 1
            piece += 1
        for at in range(begin, width):
            documents[slot, at] = document
