"""Held-out losses per domain, reduced over ranks: the numbers that dynamic batch loading and the reports stand on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from corpus.errors import TrainingError
from training.data.batches import IGNORE, lay
from training.data.source import Corpus
from training.ranks import Ranks

Rows = tuple[Tensor, Tensor, Tensor | None]
"""Inputs, labels and, where attention stays within them, documents: [rows, L] each."""


class Evaluation:
    """A fixed set of held-out rows per domain, and the mean loss of a model on each."""

    def __init__(
        self, corpus: Corpus, rows: int, ranks: Ranks, *, micro_batch: int, document_attention: bool = False
    ) -> None:
        """Take the first ``rows`` rows of each domain. Raises ``TrainingError`` for a domain without any."""
        self._documents = document_attention
        self.domains = tuple(corpus.domains)
        self._ranks, self._micro = ranks, micro_batch
        self._rows = {name: first_rows(corpus, name, rows) for name in self.domains}

    @torch.no_grad()
    def losses(self, module: nn.Module, *, precision: torch.dtype | None) -> dict[str, float]:
        """Loss per token in nats, by domain; equal on all ranks. ``module`` is a learner's."""
        training = module.training
        module.eval()
        totals = torch.zeros(len(self.domains), 2, dtype=torch.float64, device=self._ranks.device)
        for number, name in enumerate(self.domains):
            for inputs, labels, documents in self._share(name):
                with torch.autocast(self._ranks.device.type, precision, enabled=precision is not None):
                    summed, _ = module(inputs, labels, documents, 0)
                totals[number, 0] += summed
                totals[number, 1] += (labels != IGNORE).sum()
        module.train(training)
        reduced = self._ranks.sum(totals).tolist()
        return {
            name: loss / count if count else math.nan for name, (loss, count) in zip(self.domains, reduced, strict=True)
        }

    def _share(self, name: str) -> Iterator[Rows]:
        """This rank's part, in micro-batches. Every rank has equally many, as FSDP gathers weights in step."""
        inputs, labels, documents = self._rows[name]
        size = -(-len(inputs) // self._ranks.world)
        start = self._ranks.rank * size
        for at in range(start, start + size, self._micro):
            chosen = torch.arange(at, min(at + self._micro, start + size))
            beyond = chosen >= len(inputs)
            taken = chosen.clamp(max=len(inputs) - 1)
            part = labels[taken].masked_fill(beyond[:, None], IGNORE)
            within = documents[taken].to(self._ranks.device) if self._documents else None
            yield inputs[taken].to(self._ranks.device), part.to(self._ranks.device), within


def first_rows(corpus: Corpus, name: str, wanted: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels and document ids of the first rows of a domain, as many as there are up to ``wanted``: [rows, L].
    Raises ``TrainingError`` where there are none."""
    domain = corpus.domains[name]
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    left = wanted
    for block in domain.blocks:
        numbers = np.arange(min(left, block.rows))
        held, places = domain.open(block).select(numbers)
        parts.append(lay(held, places, corpus.sequence_length))
        left -= len(numbers)
        if left <= 0:
            break
    if not parts:
        raise TrainingError(
            f"domain {name!r} has no held-out rows to measure a loss on",
            fix="tokenize with a larger held_out share, or leave the domain out",
        )
    inputs, labels, documents = (torch.cat(found) for found in zip(*parts, strict=True))
    return inputs, labels, documents
