"""What one writes in an afternoon: an ``IterableDataset`` over Parquet row groups, in torchdata's StatefulDataLoader.

Files are dealt out to ranks, rows shuffled within a row group, domains drawn at random by weight. The dataset keeps no
state of its own, so resuming reads and throws away everything before (which is what StatefulDataLoader does then).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks.loaders.stream import Spec, StatefulStream, Stream

Row = NDArray[np.generic]


class ParquetRows(IterableDataset[Row]):
    """Rows of the mixture, endlessly."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __iter__(self) -> Iterator[Row]:
        draw = random.Random(self.spec.seed)
        files = {
            name: sorted((self.spec.folder / "huggingface" / name).glob("*.parquet")) for name in self.spec.weights
        }
        sources = [
            endless(mine[self.spec.rank :: self.spec.world] or mine, random.Random(self.spec.seed))
            for mine in files.values()
        ]
        weights = list(self.spec.weights.values())
        while True:
            yield next(draw.choices(sources, weights)[0])


def endless(files: list[Path], draw: random.Random) -> Iterator[Row]:
    """Rows of a domain, file by file and group by group, shuffled within a group."""
    while True:
        for path in files:
            reader = pq.ParquetFile(path)
            for group in range(reader.num_row_groups):
                column = reader.read_row_group(group, columns=["tokens"], use_threads=False).column("tokens")
                rows = column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)
                order = list(range(len(rows)))
                draw.shuffle(order)
                yield from (rows[number] for number in order)


def collate(rows: list[Row]) -> torch.Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.int64))


class Naive(StatefulStream):
    """StatefulDataLoader without workers."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(StatefulDataLoader(ParquetRows(spec), batch_size=spec.mine, num_workers=0, collate_fn=collate))


def open_stream(spec: Spec, candidate: str) -> Stream:
    return Naive(spec)
