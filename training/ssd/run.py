"""SSD and its baselines, each as a phase with a folder of its own; a finished phase is not run again.

All start from the same weights and see the same rows in the same order.

    ssd/  dense/  once/  smoe/    see ``training.ssd.recipe.ABOUT``
    upcycled/                     from the model that ``dense`` was on its way, by its snapshot
"""

from __future__ import annotations

from typing import Any

import torch

from training.checkpoint import open_model
from training.evaluate import first_rows
from training.folder import snapshots
from training.job import Observe
from training.llama import new_model
from training.model_folder import model_digest
from training.moe.learner import MixtureLearner
from training.moe.upcycle import upcycle
from training.phases import Phases
from training.ranks import Ranks
from training.recipe import references
from training.sparse import dispatch
from training.ssd.learner import SwitchableTraining
from training.ssd.recipe import Checked, SsdRecipe, check
from training.ssd.settings import Plan

KERNELS = "kernels.json"


def run_ssd(recipe: SsdRecipe, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
    """Run all phases on this rank; returns their summaries by name."""
    return _Run(recipe, check(recipe), ranks, observe).all()


class _Run:
    def __init__(self, recipe: SsdRecipe, checked: Checked, ranks: Ranks, observe: Observe) -> None:
        self.recipe, self.checked, self.ranks = recipe, checked, ranks
        self.phases = Phases(recipe.output, checked.data, ranks, observe)
        dynamic, domains = recipe.phase.dynamic, list(checked.data.train.domains)
        self.reference = references(dynamic, domains, recipe.shape.parameters, {}) if dynamic else {}

    def all(self) -> dict[str, dict[str, Any]]:
        kernels = self.recipe.output / KERNELS
        if kernels.is_file():
            dispatch.load(kernels)
        plans: tuple[Plan, ...] = ("ssd", "dense", "once", "smoe")
        for plan in plans:
            if plan == "ssd" or plan in self.recipe.baselines:
                self._train(plan)
                if self.ranks.leads and dispatch.TABLE.seconds:
                    dispatch.save(kernels)
        if "upcycled" in self.recipe.baselines:
            self._upcycle()
        return self.phases.summaries

    def _train(self, plan: Plan) -> None:
        recipe = self.recipe
        learner = SwitchableTraining(
            new_model(recipe.shape, recipe.phase.seed),
            recipe.experts,
            plan,
            recipe.switching,
            steps=recipe.phase.steps,
            probe=self._probe(),
            seed=recipe.phase.seed,
        )
        parts = (recipe.shape, recipe.experts, recipe.switching)
        origin = f"fresh {plan} {recipe.probe_tokens} {[part.model_dump() for part in parts]}"
        settings = recipe.phase
        if plan == "dense" and "upcycled" in recipe.baselines:
            settings = settings.model_copy(update={"snapshot_every": recipe.upcycling.dense_steps(settings.steps)})
        self.phases.phase(plan, settings, learner, origin, self.reference)

    def _upcycle(self) -> None:
        recipe, mixture = self.recipe, self.recipe.upcycling.mixture
        on_the_way = snapshots(recipe.output / "dense")[1]  # the one before it is the untrained model
        model = upcycle(open_model(on_the_way), mixture, recipe.phase.seed)
        origin = f"{model_digest(on_the_way)} {mixture.model_dump()}"
        settings = recipe.upcycling.settings(recipe.phase)
        self.phases.phase("upcycled", settings, MixtureLearner(model, mixture), origin, self.reference)

    def _probe(self) -> torch.Tensor:
        corpus = self.checked.data.held_out
        return torch.cat([first_rows(corpus, name, self.checked.probe_rows)[0] for name in corpus.domains])
