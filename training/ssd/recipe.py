"""The recipe of switchable sparse-dense pre-training, beside what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from corpus.errors import ManifestError
from corpus.settings import Settings
from training.config import Phase, Schedule
from training.folder import MODEL
from training.job import Observe
from training.model_folder import WEIGHTS
from training.moe.settings import Mixture
from training.moe.upcycle import expert_layers
from training.moefication.layer import Experts, flops_per_token
from training.ranks import Ranks
from training.recipe import Data, TrainingRecipe, check_mixture, check_shape, open_data
from training.shape import LlamaShape
from training.ssd.settings import Switching

ABOUT = {
    "ssd": "dense and sparse by turns, dense at the end",
    "dense": "never sparse; its sparse loss is MoEfication after training",
    "once": "dense until activations are stable, sparse from then on",
    "smoe": "experts of untrained neurons, sparse from the first step",
    "upcycled": "dense at first, then every feed-forward copied into experts (sparse upcycling)",
}
Baseline = Literal["dense", "once", "smoe", "upcycled"]


class Upcycling(Settings):
    """Sparse upcycling: a mixture of whole copies. It has more parameters than all the others."""

    after: float = Field(default=0.5, gt=0, lt=1)
    """Share of the steps that are dense."""
    mixture: Mixture = Mixture(experts=4, top_k=1, every=1, capacity_factor=None)
    """Copies of each feed-forward, and how tokens are routed to them."""

    def dense_steps(self, steps: int) -> int:
        """Steps of the dense model that is upcycled, out of ``steps``."""
        return min(max(1, round(self.after * steps)), steps - 1)

    def settings(self, phase: Phase) -> Phase:
        """Training of the upcycled model for the steps that are left: the learning rate goes on where it was and ends
        where that of ``phase`` ends; rows come in another order."""
        done, schedule = self.dense_steps(phase.steps), phase.schedule
        reached = schedule.at(done, phase.steps)
        left = Schedule(peak=schedule.peak * reached, warmup=0.0, final=min(1.0, schedule.final / reached))
        return phase.model_copy(update={"steps": phase.steps - done, "schedule": left, "seed": phase.seed + 1})


class SsdRecipe(TrainingRecipe):
    """A manifest with ``train: ssd``."""

    train: Literal["ssd"]
    """What is trained."""
    shape: LlamaShape
    """Sizes of the model; ``feed_forward`` must be relu."""
    phase: Phase
    """Training, the same for all arms: equal tokens, order and learning rates."""
    experts: Experts = Experts()
    """How neurons are grouped."""
    switching: Switching = Switching()
    """When it is dense and when sparse."""
    baselines: tuple[Baseline, ...] = ("dense", "once", "smoe", "upcycled")
    """What is trained beside it, on the same data."""
    upcycling: Upcycling = Upcycling()
    """Settings of the baseline of that name."""
    probe_tokens: int = Field(default=512, ge=16)
    """Held-out tokens on which activations are watched."""

    @model_validator(mode="after")
    def _divides(self) -> SsdRecipe:
        if self.shape.feed_forward != "relu":
            raise ValueError("SSD stands on silent neurons: give shape feed_forward: relu")
        if self.shape.intermediate % self.experts.number:
            raise ValueError(
                f"{self.shape.intermediate} neurons (shape.intermediate) cannot be divided evenly into "
                f"{self.experts.number} experts (experts.number)"
            )
        if "upcycled" in self.baselines and "dense" not in self.baselines:
            raise ValueError("the baseline upcycled starts from the baseline dense: name both")
        if "upcycled" in self.baselines and self.phase.steps < 2:
            raise ValueError("the baseline upcycled needs a step before and one after")
        return self

    def phases(self) -> Mapping[str, Phase]:
        return {"phase": self.phase}

    def about(self) -> Mapping[str, str]:
        return {name: said for name, said in ABOUT.items() if name == "ssd" or name in self.baselines}

    def product(self) -> Path:
        return self.output / "ssd" / MODEL / WEIGHTS

    def check(self) -> Mapping[str, object]:
        found = check(self)
        sparse, dense = (flops_per_token(self.shape, self.experts, sparse=mode) for mode in (True, False))
        return {
            "model": f"{self.shape.parameters:,} parameters, {self.shape.model_dump()}",
            "experts": f"{self.experts.active} of {self.experts.number}; a sparse step costs {sparse / dense:.0%} of a "
            "dense one (matrices)",
            "probe": f"{found.probe_rows} rows of each of {len(found.data.held_out.domains)} domains",
        }

    def run(self, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
        from training.ssd.run import run_ssd

        return run_ssd(self, ranks, observe)


class Checked(NamedTuple):
    """What a recipe is about, once it is known to work."""

    data: Data
    probe_rows: int
    """Held-out rows of each domain that are watched."""


def check(recipe: SsdRecipe) -> Checked:
    """Everything that can be known before training. Raises ``CorpusError`` with what to do about it."""
    data = open_data(recipe)
    check_shape(recipe.shape, data)
    check_mixture(recipe.phase, data)
    expert_layers(recipe.shape, recipe.upcycling.mixture)
    if recipe.phase.dynamic is not None and recipe.phase.dynamic.reference.kind == "source_model":
        raise ManifestError(
            "there is no source model whose losses phase.dynamic could hold the domains against",
            fix="give phase.dynamic a reference of kind given or scaling_law, or leave phase.dynamic out",
        )
    length = data.held_out.sequence_length
    return Checked(data, max(1, -(-recipe.probe_tokens // (length * len(data.held_out.domains)))))
