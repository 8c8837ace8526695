"""What a candidate is to the benchmark: a stream of batches with a state, opened from a description."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

CANDIDATES = {
    "ours": "ours, token shards",
    "ours_text": "ours, text on the fly",
    "mosaic": "mosaicml-streaming, MDS",
    "litdata_tokens": "litData, TokensLoader",
    "hugging": "datasets, streaming Parquet",
    "naive": "torchdata StatefulDataLoader, naive Parquet",
    "memmap": "numpy memmap, random windows",
}
"""Module (or, for text on the fly, way to open one) -> name in the table."""


class NotOfferedError(Exception):
    """The library has no such feature; the message says what is in its place."""


@dataclass(frozen=True)
class Spec:
    """What to open. ``batch`` counts rows of a global batch; this rank gets ``batch // world`` of them."""

    folder: Path
    weights: dict[str, float]
    batch: int
    length: int
    seed: int = 1
    rank: int = 0
    world: int = 1

    @property
    def mine(self) -> int:
        """Rows of this rank's batch."""
        return self.batch // self.world


class Batch(NamedTuple):
    """Ready for a model. ``domain`` numbers the domain of each row, where the loader says it."""

    inputs: torch.Tensor
    labels: torch.Tensor
    domain: torch.Tensor | None = None


class Stream(ABC):
    """A loader at work. ``load`` is called before ``batches``, and ``state`` between two batches."""

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Batches from the loaded state on, until the loader has no more."""

    @abstractmethod
    def state(self) -> Any:
        """State after the batch yielded last."""

    @abstractmethod
    def load(self, state: Any) -> None:
        """Go on after the batch that ``state`` belongs to."""

    def set_weights(self, weights: dict[str, float], step: int) -> None:
        """Mix by ``weights`` from ``step`` on."""
        raise NotOfferedError("weights are fixed when the loader is made")


class StatefulStream(Stream):
    """A loader of rows of length + 1 tokens that keeps its own state."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def batches(self) -> Iterator[Batch]:
        for rows in self.loader:
            yield split_rows(rows)

    def state(self) -> Any:
        return self.loader.state_dict()

    def load(self, state: Any) -> None:
        self.loader.load_state_dict(state)


def import_candidate(candidate: str) -> ModuleType:
    """The module of a candidate. Raises ``ImportError`` where its library is not installed."""
    return importlib.import_module(f"benchmarks.loaders.{'ours' if candidate == 'ours_text' else candidate}")


def open_stream(candidate: str, spec: Spec) -> Stream:
    """Open a candidate."""
    opened: Stream = import_candidate(candidate).open_stream(spec, candidate)
    return opened


def split_rows(rows: torch.Tensor) -> Batch:
    """Rows of length + 1 tokens (int64) as inputs and labels."""
    return Batch(rows[:, :-1], rows[:, 1:])
