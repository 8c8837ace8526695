"""mosaicml-streaming: a ``Stream`` per domain with its proportion, its default shuffle, its own data loader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from streaming import Stream as Source
from streaming import StreamingDataLoader, StreamingDataset

from benchmarks.loaders.stream import Batch, Spec, Stream, split_rows


def collate(samples: list[dict[str, Any]]) -> torch.Tensor:
    return torch.from_numpy(np.stack([sample["tokens"] for sample in samples]).astype(np.int64))


class Mosaic(Stream):
    """Epoch after epoch of one dataset."""

    def __init__(self, spec: Spec) -> None:
        streams = [
            Source(local=str(spec.folder / "mds" / name), proportion=weight) for name, weight in spec.weights.items()
        ]
        dataset = StreamingDataset(streams=streams, shuffle=True, shuffle_seed=spec.seed, batch_size=spec.mine)
        self.loader = StreamingDataLoader(dataset, batch_size=spec.mine, num_workers=0, collate_fn=collate)

    def batches(self) -> Iterator[Batch]:
        for rows in self.loader:
            yield split_rows(rows)

    def state(self) -> Any:
        return self.loader.state_dict()

    def load(self, state: Any) -> None:
        self.loader.load_state_dict(state)


def open_stream(spec: Spec, candidate: str) -> Stream:
    return Mosaic(spec)
