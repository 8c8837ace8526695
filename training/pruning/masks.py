"""Hard-concrete gates (Louizos et al. 2018, arXiv 1712.01312): random while they are learnt, exact zeros and ones at
rest.

A gate is a sigmoid of its parameter and of noise, stretched beyond [0, 1] and clipped, so that zero and one have
probability mass. Constants follow the paper of Sheared LLaMA (beta = .83); its released code uses 2/3.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from training.pruning.target import Target, kept_units, units
from training.shape import LlamaShape, Masks

GROUPS = ("layer", "hidden", "head", "intermediate")
GAMMA, ZETA = -0.1, 1.1
LIMIT = math.log(100)
"""Parameters stay within +-log 100: beyond it a gate would no longer move."""
START, START_DEVIATION = 5.0, 0.01
TINY = 1e-6
SHARPNESS = 0.8
"""Of the gates at rest (released code)."""


class PruningMasks(nn.Module):
    """The parameters of all gates of a source model, and masks drawn from them."""

    def __init__(self, source: LlamaShape, target: Target, *, beta: float = 0.83, seed: int = 0) -> None:
        super().__init__()
        self._made_from = (source, target)
        self.beta, self.seed = beta, seed
        self.full, self.kept = units(source), dict(kept_units(source, target))
        generator = torch.Generator().manual_seed(seed)
        for group in GROUPS:
            per_layer = group in ("head", "intermediate")
            size = (source.layers, self.full[group]) if per_layer else (self.full[group],)
            start = torch.empty(size).normal_(START, START_DEVIATION, generator=generator)
            self.register_parameter(group, nn.Parameter(start.clamp(-LIMIT, LIMIT)))

    def parameter(self, group: str) -> nn.Parameter:
        """The parameters of one group: [units], or [layers, units] where layers have their own."""
        found = getattr(self, group)
        assert isinstance(found, nn.Parameter)
        return found

    def with_parameters(self, values: dict[str, Tensor]) -> PruningMasks:
        """The same gates, on the CPU, with these parameters."""
        source, target = self._made_from
        other = PruningMasks(source, target, beta=self.beta, seed=self.seed)
        other.load_state_dict(values)
        return other

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring parameters back within their limits; to be called after every update."""
        for group in GROUPS:
            self.parameter(group).clamp_(-LIMIT, LIMIT)

    def sample(self, step: int) -> Masks:
        """Masks of one step. The noise follows from seed and step alone, so that a resumed run and all ranks agree."""
        # from numpy: a generator of torch takes in no more than 32 bits of a seed, too few for two numbers
        random = np.random.default_rng([self.seed, step])
        drawn = {}
        for group in GROUPS:
            alpha = self.parameter(group)
            noise = torch.from_numpy(random.random(tuple(alpha.shape), np.float32)).clamp(TINY, 1 - TINY)
            noise = noise.to(alpha.device)
            gate = torch.sigmoid((noise.log() - (-noise).log1p() + alpha) / self.beta)
            drawn[group] = (gate * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
        return Masks(**drawn)

    def keep_probability(self, group: str) -> Tensor:
        """Probability of each gate to be above zero."""
        shifted = self.parameter(group) - self.beta * math.log(-GAMMA / ZETA)
        return torch.sigmoid(shifted).clamp(TINY, 1 - TINY)

    def sparsity(self, group: str) -> Tensor:
        """Expected share of gates at zero: one number, or one per layer [layers]."""
        return 1 - self.keep_probability(group).mean(dim=-1)

    def target_sparsity(self, group: str) -> float:
        """Share of gates that must end at zero."""
        return 1 - self.kept[group] / self.full[group]

    @torch.no_grad()
    def at_rest(self) -> Masks:
        """Masks without noise, with exactly the target's units above zero in each group (and layer)."""
        found = {}
        for group in GROUPS:
            alpha = self.parameter(group)
            score = torch.sigmoid(SHARPNESS * alpha / self.beta)
            # stable: equal scores fall by position, on every device
            order = alpha.argsort(dim=-1, descending=True, stable=True)
            chosen = torch.zeros_like(score).scatter(-1, order[..., : self.kept[group]], 1.0)
            found[group] = score * chosen
        return Masks(**found)
