"""What neurons do on a fixed probe: how many fire, and whether they still fire with the same others.

Two check-ups are compared by the cosine of their neurons' covariance matrices. These have f rows and columns, but for
T probe tokens ``<H1'H1, H2'H2> = |H1 H2'|^2``, so T x T products do. The paper watches the similarity of activation
patterns between checkpoints; that it is this measure is our choice (see ``docs/ssd.md``).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from training.moefication.layer import SwitchableFeedForward, feed_forwards
from training.ranks import Ranks


class Measured(NamedTuple):
    """Means over layers."""

    active: float
    """Share of neurons that fire for a token."""
    similarity: float | None
    """Cosine of the covariances at this check-up and the one before; None at the first."""
    jaccard: float | None
    """Overlap of the sets of firing neurons, token by token, likewise."""

    def facts(self) -> dict[str, float]:
        """For the log."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Monitor(nn.Module):
    """Activations on a probe at the last check-up. They are buffers, so that a resumed run compares the same."""

    probe: Tensor
    """[rows, L] int64: token ids."""
    patterns: Tensor
    """[layers, tokens, f] float16: activations at the last check-up."""
    seen: Tensor
    """Whether there was one."""

    def __init__(self, probe: Tensor, layers: int, neurons: int) -> None:
        super().__init__()
        self.register_buffer("probe", probe)
        self.register_buffer("patterns", torch.zeros(layers, probe.numel(), neurons, dtype=torch.float16))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def check_up(self, module: nn.Module) -> Measured:
        """Run the probe through ``module``, a learner's, compare with the last check-up, and remember."""
        now = activations(module, self.probe)
        before = self.patterns if bool(self.seen) else None
        active, similar, overlap = [], [], []
        for layer, found in enumerate(now):
            active.append(float((found > 0).float().mean()))
            if before is not None:
                similar.append(covariance_cosine(before[layer], found))
                overlap.append(_jaccard(before[layer] > 0, found > 0))
            self.patterns[layer] = found
        self.seen.fill_(True)
        found = torch.tensor([active, similar or active, overlap or active], dtype=torch.float64).mean(dim=1)
        share, *both = Ranks.agreed(found.to(self.probe.device)).tolist()
        return Measured(share, *(both if before is not None else (None, None)))

    def permute(self, layer: int, order: Tensor) -> None:
        """Follow neurons that changed places."""
        self.patterns[layer] = self.patterns[layer][:, order]


@torch.no_grad()
def activations(module: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Activations of all neurons of ``module``, a learner's, in evaluation mode: per layer [tokens, f] float16."""
    found: list[Tensor] = []

    def record(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, SwitchableFeedForward)
        inner = F.relu(F.linear(arguments[0].float(), layer.w_in.float()))
        # beyond its range float16 has infinities, which no covariance survives
        found.append(inner.flatten(0, -2).clamp(max=6e4).half())

    hooks = [layer.register_forward_pre_hook(record) for layer in feed_forwards(module)]
    training = module.training
    try:
        module.eval()
        # what was compiled, was compiled without the hooks
        with torch.compiler.set_stance("force_eager"):
            module(inputs, inputs, None, 0)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return found


def covariance_cosine(one: Tensor, other: Tensor) -> float:
    """Cosine of the f x f covariances of activations [T, f] of the same tokens; one where both never vary."""
    first, second = (pattern.float() - pattern.float().mean(dim=0) for pattern in (one, other))
    both, own, theirs = (_product(a, b) for a, b in ((first, second), (first, first), (second, second)))
    if not own or not theirs:
        return float(own == theirs)
    return both / (own * theirs) ** 0.5


def _product(one: Tensor, other: Tensor) -> float:
    """Sum of the squares of ``one other'``, in float64: activations' fourth powers."""
    return float((one @ other.t()).double().square().sum())


def _jaccard(one: Tensor, other: Tensor) -> float:
    both, either = (one & other).sum(dim=1), (one | other).sum(dim=1)
    return float((both / either.clamp(min=1)).where(either > 0, torch.ones_like(both, dtype=torch.float32)).mean())
