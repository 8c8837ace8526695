"""The ceiling: windows at random places of a memory-mapped file of tokens per domain, as small trainers do it.

No epochs, no rows, no document boundaries; every rank draws for itself. The state is that of the random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.loaders.stream import Batch, NotOfferedError, Spec, Stream, split_rows


class Memmap(Stream):
    """Random windows, drawn with replacement."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.files = [
            np.memmap(next((spec.folder / "datatrove" / n).glob("*.ds")), np.uint16, "r") for n in spec.weights
        ]
        self.draw = np.random.default_rng([spec.seed, spec.rank])

    def batches(self) -> Iterator[Batch]:
        spec, width = self.spec, self.spec.length + 1
        rows = np.empty((spec.mine, width), np.int64)
        weights = list(spec.weights.values())
        while True:
            domains = self.draw.choice(len(weights), spec.mine, p=weights)
            for slot, domain in enumerate(domains):
                file = self.files[domain]
                at = int(self.draw.integers(len(file) - width))
                rows[slot] = file[at : at + width]
            yield split_rows(torch.from_numpy(rows.copy()))

    def state(self) -> Any:
        return self.draw.bit_generator.state

    def load(self, state: Any) -> None:
        self.draw.bit_generator.state = state

    def set_weights(self, weights: dict[str, float], step: int) -> None:
        raise NotOfferedError("there is no loader to tell, only a loop to write")


def open_stream(spec: Spec, candidate: str) -> Stream:
    return Memmap(spec)
