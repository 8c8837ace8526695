"""The recipe of a mixture of experts: one dense model, upcycled and trained on under several routers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from corpus.errors import ManifestError
from training.config import Phase
from training.folder import MODEL
from training.job import Observe
from training.model_folder import WEIGHTS
from training.moe.settings import Mixture, Rectify
from training.moe.upcycle import expert_layers
from training.ranks import Ranks
from training.recipe import Data, Source, SourcedRecipe, check_mixture, open_data, source_shape
from training.shape import LlamaShape

Arm = Literal["dense", "vanilla", "intra", "fill_in", "both", "dropless"]
ABOUT: dict[Arm, str] = {
    "dense": "the source itself, trained on for as many steps",
    "vanilla": "top-k routing: tokens without a slot are dropped, slots without a token are padding",
    "intra": "with Intra-GPU Rectification: local experts stand in for those without a slot",
    "fill_in": "with Fill-in Rectification: slots that would be padding go to tokens' next choices",
    "both": "with both rectifications",
    "dropless": "without capacities: every choice has a slot",
}


class MoeRecipe(SourcedRecipe):
    """A manifest with ``train: moe``."""

    train: Literal["moe"]
    """What is trained."""
    source: Source
    """The dense model that is upcycled."""
    mixture: Mixture
    """Its experts. The arms decide what is rectified; ``rectify`` says how."""
    continued: Phase
    """Training of each arm."""
    arms: tuple[Arm, ...] = Field(default=("dense", "vanilla", "intra", "fill_in", "both", "dropless"), min_length=1)
    """What is trained on, each from the same source for as many steps."""
    capacity_factors: tuple[float, ...] = ()
    """Compare the arms that have capacities at each of these; default: the mixture's own."""
    seeds: tuple[int, ...] = ()
    """Repeat every arm with routers and an order of rows that follow from each of these; default: that of
    ``continued``."""
    expert_parallel: bool = False
    """Several workers: each holds its part of the experts and tokens are sent to them. Otherwise every worker has all
    experts and sends nothing but gradients."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.continued.dynamic is not None:
            raise ValueError("continued.dynamic: arms can be compared on the same mixture of domains only")
        if self.mixture.capacity_factor is None:
            raise ValueError("mixture.capacity_factor: name one; the arm `dropless` goes without")
        if self.mixture.rectify.intra or self.mixture.rectify.fill_in:
            raise ValueError("mixture.rectify: the arms decide on intra and fill_in")
        if {"fill_in", "both"} & set(self.arms) and self.mixture.top_k == self.mixture.experts:
            raise ValueError("mixture.top_k: tokens that choose every expert have no next choice to fill in with")
        for name in ("arms", "capacity_factors", "seeds"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name}: each once")
        if any(factor <= 0 for factor in self.capacity_factors):
            raise ValueError("capacity_factors: above 0")
        if self.expert_parallel and self.continued.parallel == "fsdp":
            raise ValueError("continued.parallel: experts are spread over workers already; use ddp beside that")
        if self.expert_parallel and self.mixture.ranks % self.workers:
            raise ValueError(f"mixture.ranks: {self.workers} workers cannot share {self.mixture.ranks} ranks evenly")
        return self

    def phases(self) -> Mapping[str, Phase]:
        return {**super().phases(), "continued": self.continued}

    def about(self) -> Mapping[str, str]:
        return {"source": "the dense model", **{run.name: run.about for run in runs(self)}}

    def product(self) -> Path:
        """The last arm: rectified ones come after plain ones, and `dropless` is a yardstick."""
        found = [run for run in runs(self) if run.arm not in ("dense", "dropless")] or runs(self)
        return self.output / found[-1].name / MODEL / WEIGHTS

    def check(self) -> Mapping[str, object]:
        found = check(self)
        numbers = expert_layers(found.source, self.mixture)
        more = len(numbers) * (
            (self.mixture.experts - 1) * found.source.feed_forward_weights + self.mixture.experts * found.source.hidden
        )
        return {
            "source": f"{found.source.parameters:,} parameters, {found.source.model_dump()}",
            "mixture": f"{found.source.parameters + more:,} parameters, experts in layers {list(numbers)}",
            "phases": ", ".join(run.name for run in runs(self)),
        }

    def run(self, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
        from training.moe.run import run_moe

        return run_moe(self, ranks, observe)


class ArmRun(NamedTuple):
    """One arm at one capacity factor from one seed."""

    name: str
    arm: Arm
    mixture: Mixture
    """Without use for `dense`."""
    seed: int
    about: str


def runs(recipe: MoeRecipe) -> list[ArmRun]:
    """All that is trained after the source. The name tells capacity factor and seed where there are several."""
    own = recipe.mixture.capacity_factor
    seeds = recipe.seeds or (recipe.continued.seed,)
    found = []
    for arm, seed in product(recipe.arms, seeds):
        limited = arm not in ("dense", "dropless")
        factors: tuple[float | None, ...] = (recipe.capacity_factors or (own,)) if limited else (None,)
        for factor in factors:
            rectify = {"intra": arm in ("intra", "both"), "fill_in": arm in ("fill_in", "both")}
            parts: list[str] = [arm]
            parts += [f"cf{factor:g}"] if limited and len(factors) > 1 else []
            parts += [f"seed{seed}"] if len(seeds) > 1 else []
            found.append(
                ArmRun(
                    name="_".join(parts),
                    arm=arm,
                    mixture=recipe.mixture.model_copy(
                        update={
                            "capacity_factor": factor,
                            "rectify": recipe.mixture.rectify.model_copy(update=rectify),
                        }
                    ),
                    seed=seed,
                    about=ABOUT[arm] + (f"; capacity factor {factor:g}" if factor is not None else ""),
                )
            )
    return found


def rectifications(recipe: MoeRecipe, run: ArmRun) -> dict[str, Rectify]:
    """How a run's router is measured besides how it was trained: a vanilla one with each rectification."""
    if run.arm != "vanilla":
        return {}
    how = run.mixture.rectify
    found = {
        "intra": how.model_copy(update={"intra": True}),
        "fill_in": how.model_copy(update={"fill_in": True}),
        "both": how.model_copy(update={"intra": True, "fill_in": True}),
    }
    spare = recipe.mixture.top_k < recipe.mixture.experts
    return {name: rectify for name, rectify in found.items() if spare or not rectify.fill_in}


class Checked(NamedTuple):
    """What a recipe is about, once it is known to work."""

    data: Data
    source: LlamaShape


def check(recipe: MoeRecipe) -> Checked:
    """Everything that can be known before training: corpus, domains, shapes, ranks.

    Raises ``ManifestError``, ``TrainingError`` or ``StorageError`` with what to do about it.
    """
    data = open_data(recipe)
    shape = source_shape(recipe.source, data)
    expert_layers(shape, recipe.mixture)
    here = recipe.mixture.ranks // (recipe.workers if recipe.expert_parallel else 1)
    length = data.train.sequence_length
    if length % here:
        raise ManifestError(
            f"rows have {length} tokens, which {here} ranks in one process cannot share evenly",
            fix="let mixture.ranks divide the sequence_length of the corpus",
        )
    for phase in recipe.phases().values():
        check_mixture(phase, data)
    return Checked(data, shape)
