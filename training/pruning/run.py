"""Sheared LLaMA from end to end: a source model, pruning to a target shape, continued pre-training, and what it is
compared with. Each part is a phase with a folder of its own; a phase that is finished is not run again.

    source/      the model that is pruned, where it is trained here
    prune/       weights, gates and multipliers; model/ is the cut model
    continued/   continued pre-training with dynamic batch loading
    static/      the same without it: the mixture stays as it is
    scratch/     the target shape from fresh weights, with the tokens (or the FLOPs) of pruning and continued together
    magnitude/   the target shape by the size of weights, then continued as ``continued`` is
    random/      the target shape at random, likewise
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.checkpoint import open_model
from training.config import Phase
from training.evaluate import Evaluation
from training.folder import publish
from training.job import Observe, precision_of
from training.learner import LanguageModel, Learner
from training.llama import new_model
from training.model_folder import model_digest
from training.phases import Phases
from training.pruning.baselines import magnitude_masks, random_masks
from training.pruning.cut import cut
from training.pruning.learner import Pruning
from training.pruning.recipe import Checked, ShearedRecipe, check
from training.ranks import Ranks
from training.recipe import references


def run_sheared(recipe: ShearedRecipe, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
    """Run all phases on this rank; returns their summaries by name."""
    return _Run(recipe, check(recipe), ranks, observe).all()


class _Run:
    def __init__(self, recipe: ShearedRecipe, checked: Checked, ranks: Ranks, observe: Observe) -> None:
        self.recipe, (self.data, self.shape, self.smaller) = recipe, checked
        self.ranks = ranks
        self.phases = Phases(recipe.output, self.data, ranks, observe)

    def all(self) -> dict[str, dict[str, Any]]:
        recipe = self.recipe
        trained = recipe.source.train
        if trained is not None:
            learner = LanguageModel(new_model(trained.shape, trained.phase.seed))
            self._phase("source", trained.phase, learner, f"fresh {trained.shape}", {})
        folder = recipe.source.path or self.phases.model("source")
        origin = model_digest(folder)
        losses = self._source_losses(folder, origin)
        pruning = Pruning(
            open_model(folder), recipe.target, recipe.gates, steps=recipe.prune.steps, seed=recipe.prune.seed
        )
        aim = [recipe.target.model_dump(), recipe.gates.model_dump()]
        self._phase("prune", recipe.prune, pruning, f"{origin} {aim}", losses)
        self._continue("continued", recipe.continued, losses)
        static = recipe.continued.model_copy(update={"dynamic": None})
        if "static" in recipe.baselines:
            self._continue("static", static, losses)
        for name in ("magnitude", "random"):
            if name in recipe.baselines:
                model = open_model(folder)
                masks = magnitude_masks(model, recipe.target)
                if name == "random":
                    masks = random_masks(model, recipe.target, recipe.prune.seed)
                self._phase(name, recipe.continued, LanguageModel(cut(model, masks)), f"{origin} {aim[0]}", losses)
        if "scratch" in recipe.baselines:
            rows = recipe.prune.steps * recipe.prune.global_batch / recipe.continued.global_batch
            dearer = self.shape.flops_per_token / self.smaller.flops_per_token if recipe.scratch == "compute" else 1.0
            steps = recipe.continued.steps + round(rows * dearer)
            phase = static.model_copy(update={"steps": steps})
            self._phase(
                "scratch", phase, LanguageModel(new_model(self.smaller, phase.seed)), f"fresh {self.smaller}", {}
            )
        return self.phases.summaries

    def _continue(self, name: str, phase: Phase, losses: Mapping[str, float]) -> None:
        pruned = self.phases.model("prune")
        self._phase(name, phase, LanguageModel(open_model(pruned)), model_digest(pruned), losses)

    def _phase(self, name: str, phase: Phase, learner: Learner, origin: str, source: Mapping[str, float]) -> None:
        domains = list(self.data.train.domains)
        reference = references(phase.dynamic, domains, self.smaller.parameters, source) if phase.dynamic else {}
        self.phases.phase(name, phase, learner, origin, reference)

    def _source_losses(self, folder: Path, origin: str) -> dict[str, float]:
        """Held-out losses of the source model, measured once."""
        path = self.recipe.output / "source_losses.json"
        phase = self.recipe.continued
        measured = [phase.evaluate_rows, phase.precision, phase.document_attention]
        key = [origin, self.data.held_out.digest, *measured]
        known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        if known.get("of") != key:
            module = LanguageModel(open_model(folder)).module.to(self.ranks.device)
            evaluation = Evaluation(
                self.data.held_out,
                phase.evaluate_rows,
                self.ranks,
                micro_batch=phase.micro_batch,
                document_attention=phase.document_attention,
            )
            known = {"of": key, "losses": evaluation.losses(module, precision=precision_of(phase, self.ranks))}
            if self.ranks.leads:
                publish(path, known)
            self.ranks.barrier()
        return dict(known["losses"])
