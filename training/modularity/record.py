"""The largest activation of every neuron in every sequence, over tokens that are not padding (the paper, section 3).

Memory: the model, one batch, and what the caller gives for the result, which may be a memory map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corpus.errors import TrainingError
from training.modularity.anatomy import Opened, hooked

Ids = NDArray[np.int32]
"""The token ids of one sequence."""
Progress = Callable[[int, int], None]
"""Called with what is done and what there is."""


class Padded(NamedTuple):
    """Sequences as a batch."""

    rows: NDArray[np.int64]
    """Which sequences these are."""
    ids: Tensor
    """[rows, length], padded on the right"""
    mask: Tensor
    """[rows, length] bool: True where there is a token"""


def batches(sequences: Sequence[Ids], size: int, opened: Opened) -> Iterator[Padded]:
    """All sequences, those of like length together, the longest first."""
    order = np.argsort([-len(ids) for ids in sequences], kind="stable")
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        length = len(sequences[rows[0]])
        ids = torch.full((len(rows), length), opened.pad, dtype=torch.int64)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        for place, row in enumerate(rows):
            found = sequences[row]
            ids[place, : len(found)] = torch.from_numpy(found.astype(np.int64))
            mask[place, : len(found)] = True
        yield Padded(rows, ids.to(opened.device), mask.to(opened.device))


@torch.no_grad()
def record(
    opened: Opened,
    sequences: Sequence[Ids],
    out: NDArray[np.float32],
    *,
    batch: int,
    progress: Progress = lambda done, of: None,
) -> None:
    """Fill ``out`` [sequences, layers, neurons]. Raises ``TrainingError`` for activations that are not finite."""
    done = 0
    for part in batches(sequences, batch, opened):
        largest = torch.empty(len(part.rows), len(opened.layers), opened.neurons, device=opened.device)

        def keep(layer: int, inner: Tensor, part: Padded = part, largest: Tensor = largest) -> None:
            hidden = inner.masked_fill(~part.mask[..., None], -torch.inf)
            largest[:, layer] = hidden.amax(dim=1)

        with hooked(opened.layers, keep):
            opened.encode(part.ids, part.mask)
        found = largest.cpu().numpy()
        if not np.isfinite(found).all():
            raise TrainingError(
                "activations are not finite", fix="the model is broken, or a sequence has no token; check both"
            )
        out[part.rows] = found
        done += len(part.rows)
        progress(done, len(sequences))
