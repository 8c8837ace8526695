"""How well each neuron tells the sequences of a sub-function from others.

Predictivity = max(AP(label), AP(1 - label)), AP being the average precision of the neuron's largest activation as a
score (the paper, section 3). A neuron is sorted once for all labels; equal scores count as one threshold, as in
``sklearn.metrics.average_precision_score``. Many scores of a ReLU are equal: they are zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1 << 18
"""Scores that are sorted at once: a few megabytes with all that is made of them, so that they stay in the cache."""


def predictivity(scores: Tensor, labels: Tensor) -> Tensor:
    """Predictivity [labels, neurons] in float64 for ``scores`` [sequences, neurons] and ``labels`` [labels, sequences]
    (bool, with both classes)."""
    sequences, neurons = scores.shape
    size = max(1, CHUNK // sequences)
    truth = labels.to(scores.device, torch.float32)
    found = torch.empty(len(labels), neurons, dtype=torch.float64, device=scores.device)
    seen = torch.arange(1, sequences + 1, dtype=torch.float64, device=scores.device)
    for start in range(0, neurons, size):
        values, order = scores[:, start : start + size].t().contiguous().sort(dim=1, descending=True)
        ends = _ends_of_ties(values)
        for number, label in enumerate(truth):
            ranked = label[order]
            precision = (ranked.cumsum(dim=1) / seen).gather(1, ends)  # sums of ones: exact
            positive = (precision * ranked).sum(dim=1) / label.sum()
            negative = ((1 - precision) * (1 - ranked)).sum(dim=1) / (sequences - label.sum())
            found[number, start : start + size] = torch.maximum(positive, negative)
    return found


def _ends_of_ties(values: Tensor) -> Tensor:
    """For each place of ``values`` [neurons, sequences], sorted along the rows, the last place of an equal value."""
    places = torch.arange(values.shape[1], device=values.device).expand_as(values)
    last = torch.ones_like(values, dtype=torch.bool)
    last[:, :-1] = values[:, 1:] != values[:, :-1]
    ends = places.masked_fill(~last, values.shape[1])
    return ends.flip(1).cummin(dim=1).values.flip(1)
