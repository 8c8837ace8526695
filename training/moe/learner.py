"""A mixture of experts as something the trainer trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from training.config import Phase
from training.learner import Learner, token_loss, weight_groups
from training.llama import Llama
from training.moe.checkpoint import save_mixture
from training.moe.layer import Tally
from training.moe.parallel import layers
from training.moe.settings import Mixture, Rectify
from training.moe.upcycle import empty_mixture
from training.ranks import Ranks


class _Mixture(nn.Module):
    def __init__(self, model: Llama) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, labels: Tensor, documents: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        summed = token_loss(self.model(inputs, document_ids=documents), labels)
        penalties = [layer.penalty for layer in layers(self.model) if self.training and layer.penalty is not None]
        return summed, torch.stack(penalties).sum() if penalties else torch.zeros_like(summed)


class MixtureLearner(Learner):
    """Trains an upcycled ``model``. ``modes``: other ways to rectify its router, which held-out losses are measured
    under as well.

    Routing depends on which tokens meet in a micro-batch on one rank: unlike a dense model's, the outcome follows from
    ``micro_batch`` and the ranks, too.
    """

    def __init__(self, model: Llama, mixture: Mixture, modes: Mapping[str, Rectify] | None = None) -> None:
        self.model, self.mixture, self._modes = model, mixture, modes or {}
        self.module = _Mixture(model)
        self._layers = layers(model)
        self._rerouted = 0.0
        self._tallies: list[Tally] = []

    @property
    def flops_per_token(self) -> int:
        """Nominal: the dense model, with capacity factor * k slots per token (full or not), or k experts, in place of
        one feed-forward, and the router. Measured, in the step before: stand-ins, on this rank."""
        shape, mixture = self.model.shape, self.mixture
        computed = mixture.top_k * (1.0 if mixture.capacity_factor is None else mixture.capacity_factor)
        experts = (min(computed, mixture.experts) - 1 + self._rerouted) * shape.feed_forward_weights
        return round(shape.flops_per_token + 6 * len(self._layers) * (experts + shape.hidden * mixture.experts))

    def groups(self, phase: Phase) -> list[dict[str, Any]]:
        """Matrices with weight decay, gains without; experts that are spread over ranks apart, as parts."""
        found = []
        for group in weight_groups(self.model.named_parameters(), phase):
            for parts in (False, True):
                chosen = [parameter for parameter in group["params"] if isinstance(parameter, DTensor) == parts]
                if chosen:
                    found.append({**group, "params": chosen})
        return found

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.model.model.layers)

    def after_update(self, step: int, optimiser: Optimizer) -> Mapping[str, Any]:
        """Set the tallies of the step aside for ``facts``."""
        self._tallies = [layer.tally for layer in self._layers if layer.tally is not None]
        for layer in self._layers:
            layer.tally = None
        if any(layer.rectify.intra for layer in self._layers):
            tokens, rerouted = (
                sum(int(getattr(tally, name)) for tally in self._tallies) for name in ("tokens", "rerouted")
            )
            self._rerouted = rerouted / tokens
        return {}

    def facts(self) -> Mapping[str, float]:
        """Shares over all ranks in the last step: of tokens that reached no expert and that were rerouted, of choices
        that were dropped, of slots that were padding and that were filled in; and the load of the busiest expert as a
        multiple of the mean, averaged over layers."""
        ranks = Ranks.current()
        layered = (torch.stack(counts) for counts in zip(*self._tallies, strict=True))
        counts = Tally._make(ranks.sum(found).double() for found in layered)
        loads, sums = counts.load, Tally._make(found.sum() for found in counts)
        slots = sums.slots.clamp(min=1)
        found = {
            "dropped": sums.dropped / sums.tokens,
            "choices_dropped": sums.choices_dropped / (sums.tokens * self.mixture.top_k),
            "padded": sums.padded / slots,
            "filled": sums.filled / slots,
            "rerouted": sums.rerouted / sums.tokens,
            "crossed": sums.crossed / sums.tokens,
            "load": (loads.amax(dim=1) / loads.mean(dim=1)).mean(),
        }
        return {f"moe/{name}": float(value) for name, value in found.items()}

    def other_modes(self) -> Mapping[str, AbstractContextManager[None]]:
        return {name: rectified(self.model, rectify) for name, rectify in self._modes.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"rerouted": self._rerouted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rerouted = float(state["rerouted"])

    def save(self, folder: Path, weights: Mapping[str, Tensor], tokenizer: bytes) -> None:
        """Write the mixture as a folder for ``open_mixture``."""
        model = empty_mixture(self.model.shape, self.mixture)
        model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
        save_mixture(model, self.mixture, folder, tokenizer=tokenizer)


@contextmanager
def rectified(model: nn.Module, rectify: Rectify) -> Iterator[None]:
    """Within it the routers of all mixtures in ``model`` are rectified like this."""
    found = layers(model)
    before = [layer.rectify for layer in found]
    for layer in found:
        layer.rectify = rectify
    try:
        yield
    finally:
        for layer, old in zip(found, before, strict=True):
            layer.rectify = old
