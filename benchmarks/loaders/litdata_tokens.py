"""litData: a ``StreamingDataset`` of tokens per domain, combined by weights, and its own data loader."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from litdata import CombinedStreamingDataset, StreamingDataLoader, StreamingDataset, TokensLoader

from benchmarks.loaders.stream import Spec, StatefulStream, Stream


def collate(samples: list[Any]) -> torch.Tensor:
    return torch.from_numpy(np.stack(samples).astype(np.int64))


class LitData(StatefulStream):
    """One pass, until a domain has no more rows."""

    def __init__(self, spec: Spec) -> None:
        parts = [
            StreamingDataset(
                str(spec.folder / "litdata" / name),
                item_loader=TokensLoader(block_size=spec.length + 1),
                shuffle=True,
                seed=spec.seed,
                drop_last=True,
            )
            for name in spec.weights
        ]
        mixed = CombinedStreamingDataset(
            parts, seed=spec.seed, weights=list(spec.weights.values()), iterate_over_all=False
        )
        super().__init__(StreamingDataLoader(mixed, batch_size=spec.mine, num_workers=0, collate_fn=collate))


def open_stream(spec: Spec, candidate: str) -> Stream:
    return LitData(spec)
