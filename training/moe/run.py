"""A dense model, upcycled and trained on under several routers. Each part is a phase with a folder of its own; a phase
that is finished is not run again.

    source/     the dense model, where it is trained here
    dense/      the same, trained on
    vanilla/, intra/, fill_in/, both/, dropless/
                the upcycled model, trained on under each router; with several capacity factors and seeds there is a
                folder for each: vanilla_cf0.5_seed1/
"""

from __future__ import annotations

from typing import Any

from training.checkpoint import open_model
from training.job import Observe
from training.learner import LanguageModel, Learner
from training.llama import new_model
from training.model_folder import model_digest
from training.moe.learner import MixtureLearner
from training.moe.parallel import spread
from training.moe.recipe import MoeRecipe, check, rectifications, runs
from training.moe.upcycle import upcycle
from training.phases import Phases
from training.ranks import Ranks


def run_moe(recipe: MoeRecipe, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
    """Run all phases on this rank; returns their summaries by name."""
    phases = Phases(recipe.output, check(recipe).data, ranks, observe)
    trained = recipe.source.train
    if trained is not None:
        learner: Learner = LanguageModel(new_model(trained.shape, trained.phase.seed))
        phases.phase("source", trained.phase, learner, f"fresh {trained.shape}")
    folder = recipe.source.path or phases.model("source")
    origin = model_digest(folder)
    for run in runs(recipe):
        phase = recipe.continued.model_copy(update={"seed": run.seed})
        if run.arm == "dense":
            phases.phase(run.name, phase, LanguageModel(open_model(folder)), origin)
            continue
        modes = rectifications(recipe, run)
        model = upcycle(open_model(folder), run.mixture, run.seed)
        if recipe.expert_parallel:
            spread(model, ranks)
        about = [run.mixture.model_dump(), {name: mode.model_dump() for name, mode in modes.items()}]
        phases.phase(run.name, phase, MixtureLearner(model, run.mixture, modes), f"{origin} {about}")
    return phases.summaries
