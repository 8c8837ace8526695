"""The recipe of a sheared model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from corpus.errors import ManifestError
from training.config import Phase
from training.folder import MODEL
from training.job import Observe
from training.model_folder import WEIGHTS
from training.pruning.learner import Gates
from training.pruning.target import Target, target_shape
from training.ranks import Ranks
from training.recipe import Data, Source, SourcedRecipe, check_mixture, open_data, source_shape
from training.shape import LlamaShape

ABOUT = {
    "source": "the model that is pruned, trained here",
    "prune": "pruning to the target shape; losses are those of the cut model",
    "continued": "the pruned model, trained on with dynamic batch loading",
    "static": "the pruned model, trained on with the mixture as it is",
    "magnitude": "the target shape by the size of weights, trained on like `continued`",
    "random": "the target shape at random, trained on like `continued`",
    "scratch": "the target shape from fresh weights",
}
Baseline = Literal["scratch", "magnitude", "random", "static"]


class ShearedRecipe(SourcedRecipe):
    """A manifest with ``train: sheared``."""

    train: Literal["sheared"]
    """What is trained."""
    source: Source
    """The model that is pruned."""
    target: Target
    """The shape it is pruned to."""
    gates: Gates = Gates()
    """How the pruning masks are learnt."""
    prune: Phase
    """The pruning phase."""
    continued: Phase
    """Continued pre-training of the pruned model; with ``dynamic`` the mixture follows the losses."""
    baselines: tuple[Baseline, ...] = ("scratch", "magnitude", "static")
    """What is trained beside it, on the same data."""
    scratch: Literal["tokens", "compute"] = "tokens"
    """Training from scratch gets as many tokens as pruning and continued training together, or as many FLOPs."""

    def phases(self) -> Mapping[str, Phase]:
        return {**super().phases(), "prune": self.prune, "continued": self.continued}

    def about(self) -> Mapping[str, str]:
        return ABOUT

    def product(self) -> Path:
        return self.output / "continued" / MODEL / WEIGHTS

    def check(self) -> Mapping[str, object]:
        found = check(self)
        shapes = {"source": found.source, "target": found.target}
        return {name: f"{shape.parameters:,} parameters, {shape.model_dump()}" for name, shape in shapes.items()}

    def run(self, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
        from training.pruning.run import run_sheared

        return run_sheared(self, ranks, observe)


class Checked(NamedTuple):
    """What a recipe is about, once it is known to work."""

    data: Data
    source: LlamaShape
    target: LlamaShape


def check(recipe: ShearedRecipe) -> Checked:
    """Everything that can be known before training: corpus, domains, shapes.

    Raises ``ManifestError``, ``TrainingError`` or ``StorageError`` with what to do about it.
    """
    data = open_data(recipe)
    shape = source_shape(recipe.source, data)
    if shape.feed_forward != "swiglu":
        raise ManifestError(
            f"the source has the feed-forward {shape.feed_forward!r}", fix="pruning knows swiglu, as in LLaMA"
        )
    smaller = target_shape(shape, recipe.target)
    for phase in recipe.phases().values():
        check_mixture(phase, data)
    return Checked(data, shape, smaller)
