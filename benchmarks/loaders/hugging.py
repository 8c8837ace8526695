"""Hugging Face ``datasets``: the Parquet shards streamed per domain, shuffled in a buffer, interleaved by weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from datasets import interleave_datasets, load_dataset
from datasets.distributed import split_dataset_by_node

from benchmarks.loaders.stream import Batch, Spec, Stream, split_rows

BUFFER = 1_000
"""Rows of a domain that are shuffled together: the library's own default."""


class HuggingFace(Stream):
    """One pass; domains that run out are repeated until all have been read."""

    def __init__(self, spec: Spec) -> None:
        folder = str(spec.folder / "huggingface")
        parts = [
            load_dataset(folder, name, split="train", streaming=True)
            .select_columns(["tokens"])
            .shuffle(seed=spec.seed, buffer_size=BUFFER)
            for name in spec.weights
        ]
        mixed = interleave_datasets(
            parts,
            probabilities=list(spec.weights.values()),
            seed=spec.seed,
            stopping_strategy="all_exhausted",
        )
        if spec.world > 1:
            mixed = split_dataset_by_node(mixed, rank=spec.rank, world_size=spec.world)
        self.dataset = mixed.with_format("numpy").batch(spec.mine, drop_last_batch=True)

    def batches(self) -> Iterator[Batch]:
        for batch in self.dataset:
            yield split_rows(torch.from_numpy(np.stack(batch["tokens"]).astype(np.int64)))

    def state(self) -> Any:
        return self.dataset.state_dict()

    def load(self, state: Any) -> None:
        self.dataset.load_state_dict(state)


def open_stream(spec: Spec, candidate: str) -> Stream:
    return HuggingFace(spec)
