"""From plans to batches: blocks are read ahead by threads, rows are laid into tensors.

Threads suffice: decompressing Parquet and encoding text leave Python's lock alone, and there is no data to send between
processes and nothing in /dev/shm to clean up. They keep no state; which blocks they read follows from the plans.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from training.data.order import DomainOrder, Located
from training.data.planner import Plan
from training.data.rows import Rows
from training.data.source import Content, Domain

IGNORE = -100
"""Label of places that have none: the default ``ignore_index`` of ``torch.nn.functional.cross_entropy``."""
Batch = dict[str, torch.Tensor]


class Slice(NamedTuple):
    """This rank's part of a plan, located."""

    plan: Plan
    domain: NDArray[np.int32]
    located: tuple[tuple[int, NDArray[np.int64], Located], ...]
    """Per domain: its number, the slots of the batch it fills, and where their rows are."""

    def by_block(self) -> Iterator[tuple[int, int, NDArray[np.int64], NDArray[np.int64]]]:
        """Domain, block, rows of it, and the slots they fill."""
        for number, slots, found in self.located:
            for block in np.unique(found.block):
                chosen = found.block == block
                yield number, int(block), found.row[chosen], slots[chosen]


class BlockCache:
    """Blocks that are read or being read, the ones used last kept. Safe to lose: a block is simply read again."""

    def __init__(self, domains: Sequence[Domain], *, threads: int, capacity: int) -> None:
        self._domains, self._capacity = domains, capacity
        self._pool = ThreadPoolExecutor(threads, "loader") if threads else None
        self._blocks: OrderedDict[tuple[int, int], Future[Content]] = OrderedDict()

    def want(self, domain: int, block: int) -> Future[Content]:
        """The rows of a block, now or soon."""
        key = (domain, block)
        found = self._blocks.get(key)
        if found is None:
            found = self._blocks[key] = self._start(self._domains[domain], block)
            while len(self._blocks) > self._capacity:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return found

    def _start(self, domain: Domain, block: int) -> Future[Content]:
        if self._pool is not None:
            return self._pool.submit(domain.open, domain.blocks[block])
        done: Future[Content] = Future()
        done.set_result(domain.open(domain.blocks[block]))
        return done

    def ahead(self, part: Slice) -> None:
        """Have what a slice needs read, and made where it is made on demand."""
        if self._pool is None:
            return
        for domain, block, rows, _ in part.by_block():
            opened = self.want(domain, block)
            if self._domains[domain].lazy:
                # behind the opening of its block in the same queue, so it never waits for one that waits for it
                self._pool.submit(_make, opened, rows)

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


def _make(opened: Future[Content], rows: NDArray[np.int64]) -> None:
    opened.result().select(rows)


def assemble(part: Slice, cache: BlockCache, sequence_length: int) -> Batch:
    """Lay the rows of a slice into tensors. Waits for blocks that are still being read."""
    size = len(part.domain)
    inputs, labels = (np.empty((size, sequence_length), np.int64) for _ in range(2))
    documents = np.empty((size, sequence_length), np.int32)
    for number, block, rows, slots in part.by_block():
        held, places = cache.want(number, block).result().select(rows)
        _fill(*held, places, slots, inputs, labels, documents)
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


def lay(held: Rows, places: NDArray[np.int64], sequence_length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs, labels and documents of some rows of a block: [rows, L] each."""
    size = len(places)
    inputs, labels = (np.empty((size, sequence_length), np.int64) for _ in range(2))
    documents = np.empty((size, sequence_length), np.int32)
    _fill(*held, places, np.arange(size), inputs, labels, documents)
    return torch.from_numpy(inputs), torch.from_numpy(labels), torch.from_numpy(documents)


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
