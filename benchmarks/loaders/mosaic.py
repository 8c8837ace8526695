"""mosaicml-streaming: a ``Stream`` per domain with its proportion, its default shuffle, its own data loader."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from streaming import Stream as Source
from streaming import StreamingDataLoader, StreamingDataset

from benchmarks.loaders.stream import Spec, StatefulStream, Stream


def collate(samples: list[dict[str, Any]]) -> torch.Tensor:
    return torch.from_numpy(np.stack([sample["tokens"] for sample in samples]).astype(np.int64))


class Mosaic(StatefulStream):
    """Epoch after epoch of one dataset."""

    def __init__(self, spec: Spec) -> None:
        streams = [
            Source(local=str(spec.folder / "mds" / name), proportion=weight) for name, weight in spec.weights.items()
        ]
        dataset = StreamingDataset(streams=streams, shuffle=True, shuffle_seed=spec.seed, batch_size=spec.mine)
        super().__init__(StreamingDataLoader(dataset, batch_size=spec.mine, num_workers=0, collate_fn=collate))


def open_stream(spec: Spec, candidate: str) -> Stream:
    return Mosaic(spec)
