"""What a model loses when neurons of a sub-function are disturbed (the paper, section 4.3).

The activations of the chosen neurons are shuffled across the tokens and neurons of a batch and multiplied by four; or
set to zero. Chosen are, per layer: the experts with most of the sub-function's top neurons; as many neurons of highest
predictivity; as many at random. Measured is the loss on sequences of the sub-function and on others, all of them set
apart when neurons were chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from corpus.settings import Settings
from training.modularity.anatomy import hooked
from training.modularity.chance import Floats
from training.modularity.experts import Partition
from training.modularity.functional import Ints, expert_counts, top_neurons
from training.modularity.functions import Function, SubFunction
from training.modularity.objective import Objective

Mode = Literal["shuffle", "zero"]
METHODS = ("experts", "top", "random")
Chosen = Mapping[int, Ints]
"""Layer -> neurons."""


class Perturbation(Settings):
    """How neurons are disturbed, and how many."""

    mode: Mode = "shuffle"
    """shuffle: activations change places across tokens and neurons and are multiplied. zero: they are set to zero."""
    factor: float = 4.0
    """What shuffled activations are multiplied by (the paper: 4)."""
    budgets: tuple[int, ...] = Field(default=(1, 2, 4), min_length=1)
    """Neurons that are disturbed in each layer, in experts' worth."""
    layers: int | None = Field(default=None, ge=1)
    """How many of the last layers; default: a third of them, as in the paper."""
    seeds: int = Field(default=3, ge=1)
    """Of random neurons and of shuffling (the paper: 5)."""
    sequences: int = Field(default=64, ge=4)
    """Most sequences of each side that losses are measured on."""

    def disturbed(self, layers: int) -> range:
        """The layers out of ``layers`` that are disturbed."""
        return range(layers - min(layers, self.layers or -(-layers // 3)), layers)


@contextmanager
def disturbed(objective: Objective, chosen: Chosen, settings: Perturbation, seed: int) -> Iterator[None]:
    """Disturb exactly the ``chosen`` neurons at every token while this lasts; padding is left alone."""
    generator = torch.Generator().manual_seed(seed)
    places = {layer: torch.from_numpy(np.sort(neurons)) for layer, neurons in chosen.items()}

    def act(layer: int, inner: Tensor) -> Tensor | None:
        if layer not in places:
            return None
        neurons = places[layer].to(inner.device)
        assert objective.padding is not None
        tokens = objective.padding.nonzero(as_tuple=True)
        values = inner[tokens][:, neurons]
        if settings.mode == "zero":
            values = torch.zeros_like(values)
        else:
            order = torch.randperm(values.numel(), generator=generator).to(inner.device)
            values = values.flatten()[order].view_as(values) * settings.factor
        changed = inner.clone()
        changed[tokens[0][:, None], tokens[1][:, None], neurons] = values
        return changed

    with hooked(objective.opened.layers, act):
        yield


def choose(predictivity: Floats, real: Partition, method: str, budget: int, *, top: int, seed: int) -> Ints:
    """Neurons of one layer: ``budget`` experts' worth, by ``predictivity`` [neurons] and experts ``real`` [neurons]."""
    experts = int(real.max()) + 1
    count = budget * (len(real) // experts)
    if method == "top":
        return top_neurons(predictivity, count)
    if method == "random":
        return np.random.default_rng(seed).permutation(len(real))[:count].astype(np.int64)
    held = expert_counts(top_neurons(predictivity, top)[None], real[None], experts)[0, 0]
    mean = np.array([predictivity[real == expert].mean() for expert in range(experts)])
    best = np.lexsort((-mean, -held))[:budget]
    return np.flatnonzero(np.isin(real, best))


def measure(
    objective: Objective,
    function: Function,
    part: SubFunction,
    predictivity: Floats,
    real: Partition,
    settings: Perturbation,
    *,
    top: int,
    seed: int,
) -> dict[str, Any]:
    """Losses of one sub-function, undisturbed and by method and budget.

    ``predictivity`` and ``real`` [layers, neurons]. Returns ``base`` and, for each disturbance, how much the loss on
    ``own`` and on ``other`` sequences rises: one value per seed.
    """
    sides = {
        side: [function.sequences[row] for row in rows] for side, rows in (("own", part.own), ("other", part.other))
    }
    base = {side: objective.loss(sequences) for side, sequences in sides.items()}
    found = []
    layers = settings.disturbed(len(real))
    for budget in settings.budgets:
        for method in METHODS:
            # without chance there is nothing to repeat
            seeds = 1 if settings.mode == "zero" and method != "random" else settings.seeds
            rises = []
            for number in range(seeds):
                chosen = {
                    layer: choose(
                        predictivity[layer], real[layer], method, budget, top=top, seed=_seed(seed, number, layer)
                    )
                    for layer in layers
                }
                rises.append(_rise(objective, sides, base, chosen, settings, _seed(seed, number, len(real))))
            sided = {side: [rise[side] for rise in rises] for side in sides}
            found.append({"method": method, "budget": budget, **sided})
    return {"base": base, "disturbed": found}


def _rise(
    objective: Objective,
    sides: Mapping[str, Sequence[Any]],
    base: Mapping[str, float],
    chosen: Chosen,
    settings: Perturbation,
    seed: int,
) -> dict[str, float]:
    found = {}
    for side, sequences in sides.items():
        with disturbed(objective, chosen, settings, seed):
            found[side] = objective.loss(sequences) - base[side]
    return found


def _seed(seed: int, number: int, layer: int) -> int:
    return int(np.random.SeedSequence([seed, number, layer]).generate_state(1)[0])
