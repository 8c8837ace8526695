"""A modularity analysis from end to end. What is finished is not done again.

source/                the model, where it is trained here: model/ and snapshots/
analysis/parts/        one file per finished part: predictivities, experts, perturbations
analysis/log.jsonl     one line per part
modularity.json        all figures
predictivity.parquet   every neuron: what it tells, how well, and whose expert it is in
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from training.folder import DONE, publish, snapshots
from training.job import Observe
from training.learner import LanguageModel
from training.llama import new_model
from training.model_folder import model_digest
from training.modularity import figures
from training.modularity.anatomy import Opened, config_digest, fresh_model, open_folder
from training.modularity.chance import Floats
from training.modularity.experts import at_random, by_weights, method
from training.modularity.functions import Function, make_functions
from training.modularity.objective import Objective, mask_token
from training.modularity.parts import Part, Parts
from training.modularity.perturbation import Perturbation, measure
from training.modularity.predictivity import predictivity
from training.modularity.recipe import ANALYSIS, FIGURES, SOURCE, TABLE, Checked, ModularityRecipe, check
from training.modularity.record import record
from training.modularity.summary import all_figures
from training.modularity.table import write_table
from training.phases import Phases
from training.ranks import Ranks


def run_modularity(recipe: ModularityRecipe, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
    """Train where that is asked for, then measure; returns summaries by phase. Raises ``CorpusError``."""
    return _Run(recipe, check(recipe), ranks, observe).all()


class Snapshot(NamedTuple):
    """A model at some step of its training."""

    step: int
    folder: Path


class _Run:
    def __init__(self, recipe: ModularityRecipe, checked: Checked, ranks: Ranks, observe: Observe) -> None:
        self.recipe, self.checked, self.ranks, self.observe = recipe, checked, ranks, observe
        self.parts = Parts(recipe.output / ANALYSIS / "parts", ANALYSIS, ranks, observe)
        self.top = recipe.top(checked.anatomy.neurons)
        self.summaries: dict[str, dict[str, Any]] = {}

    def all(self) -> dict[str, dict[str, Any]]:
        recipe = self.recipe
        models = self._train() if recipe.model.train is not None else self._given()
        last = models[-1].folder
        if recipe.perturbation is not None and not (recipe.output / ANALYSIS / DONE).is_file():
            self._objective(last)  # a model without an output layer is known before hours of recording
        functions = make_functions(
            recipe.functions,
            self.checked.held_out,
            last,
            apart=recipe.perturbation.sequences if recipe.perturbation else 0,
            seed=recipe.seed,
        )
        found = self._predictivities(models, functions)
        # the first snapshot of a training here is the untrained model
        untrained = recipe.model.train is not None and models[0].step == 0
        fresh = found[0] if untrained else self._fresh(last, functions)
        measured = self._measured(last, functions, found[models[-1].step])
        disturbed = self._perturbations(last, functions, measured)
        if self.ranks.leads:
            self._publish(models, functions, measured, fresh, found, disturbed)
        self.ranks.barrier()
        return self.summaries

    def _train(self) -> list[Snapshot]:
        trained, data = self.recipe.model.train, self.checked.data
        assert trained is not None
        assert data is not None
        phases = Phases(self.recipe.output, data, self.ranks, self.observe)
        learner = LanguageModel(new_model(trained.shape, trained.phase.seed))
        self.summaries[SOURCE] = phases.phase(SOURCE, trained.phase, learner, f"fresh {trained.shape}")
        found = [Snapshot(_step(path, 0), path) for path in snapshots(self.recipe.output / SOURCE)]
        if not found or found[-1].step < trained.phase.steps:
            found.append(Snapshot(trained.phase.steps, phases.model(SOURCE)))
        return found

    def _given(self) -> list[Snapshot]:
        folders = self.recipe.model.folders()
        steps = [_step(path, number) for number, path in enumerate(folders)]
        if sorted(set(steps)) != steps:
            steps = list(range(len(folders)))
        return [Snapshot(step, path) for step, path in zip(steps, folders, strict=True)]

    def _predictivities(self, models: list[Snapshot], functions: list[Function]) -> dict[int, dict[str, Floats]]:
        work = [
            Part(
                f"predictivity of {function.name} at {model.step}",
                [model_digest(model.folder), function.digest],
                partial(self._judge, partial(open_folder, model.folder, self.ranks.device), function),
            )
            for model in models
            for function in functions
        ]
        done = iter(self.parts.finish(work))
        return {model.step: {function.name: next(done) for function in functions} for model in models}

    def _fresh(self, folder: Path, functions: list[Function]) -> dict[str, Floats]:
        seed = self.recipe.seed
        if not self.recipe.fresh:
            return {}
        work = [
            Part(
                f"predictivity of {function.name} in a fresh model",
                [config_digest(folder), seed, function.digest],
                partial(self._judge, partial(fresh_model, folder, seed, self.ranks.device), function),
            )
            for function in functions
        ]
        return dict(zip((function.name for function in functions), self.parts.finish(work), strict=True))

    def _judge(self, model: Callable[[], Opened], function: Function) -> NDArray[np.float64]:
        """Predictivities [sub-functions, layers, neurons]. Activations lie in a file that goes when they are used."""
        opened = model()
        used = np.unique(np.concatenate([part.rows for part in function.parts]))
        shape = (len(used), len(opened.layers), opened.neurons)
        found = np.empty((len(function.parts), *shape[1:]))
        with tempfile.TemporaryFile(dir=self.parts.folder) as file:
            activations = np.memmap(file, np.float32, "w+", shape=shape)
            record(opened, [function.sequences[row] for row in used], activations, batch=self.recipe.batch)
            for number, part in enumerate(function.parts):
                rows = np.searchsorted(used, part.rows)
                for layer in range(shape[1]):
                    scores = torch.from_numpy(activations[rows, layer]).to(opened.device)
                    found[number, layer] = predictivity(scores, torch.from_numpy(part.labels)[None])[0].cpu().numpy()
        return found

    def _measured(self, last: Path, functions: list[Function], found: Mapping[str, Floats]) -> figures.Measured:
        recipe, anatomy = self.recipe, self.checked.anatomy

        def experts() -> NDArray[np.int64]:
            opened = open_folder(last, torch.device("cpu"))
            return np.stack([by_weights(layer, recipe.experts, recipe.seed) for layer in opened.layers])

        depends = [model_digest(last), method(), recipe.experts, recipe.seed]
        (real,) = self.parts.finish([Part("experts", depends, experts)])
        random = [
            at_random(anatomy.neurons, recipe.experts, recipe.partitions, [recipe.seed, layer])
            for layer in range(len(real))
        ]
        names = {function.name: [part.name for part in function.parts] for function in functions}
        return figures.Measured(names, found, real, np.stack(random), recipe.experts, self.top)

    def _objective(self, folder: Path) -> Objective:
        opened = open_folder(folder, self.ranks.device, head=True)
        return Objective(opened, mask_token(folder, opened.kind), batch=self.recipe.batch)

    def _perturbations(
        self, last: Path, functions: list[Function], measured: figures.Measured
    ) -> dict[str, dict[str, Any]]:
        recipe = self.recipe
        settings = recipe.perturbation
        if settings is None:
            return {}
        objective = cache(partial(self._objective, last))
        work = [
            Part(
                f"perturbation of {function.name}, {part.name}",
                [
                    model_digest(last),
                    function.digest,
                    function.apart_digest,
                    settings.model_dump(mode="json"),
                    [hashlib.sha256(measured.real.tobytes()).hexdigest(), self.top, recipe.seed, recipe.batch],
                ],
                partial(self._disturb, objective, function, number, measured, settings),
            )
            for function in functions
            for number, part in enumerate(function.parts)
        ]
        done = iter(self.parts.finish(work))
        return {function.name: {part.name: next(done) for part in function.parts} for function in functions}

    def _disturb(
        self,
        objective: Callable[[], Objective],
        function: Function,
        part: int,
        measured: figures.Measured,
        settings: Perturbation,
    ) -> dict[str, Any]:
        return measure(
            objective(),
            function,
            function.parts[part],
            measured.predictivity[function.name][part],
            measured.real,
            settings,
            top=self.top,
            seed=self.recipe.seed,
        )

    def _publish(
        self,
        models: list[Snapshot],
        functions: list[Function],
        measured: figures.Measured,
        fresh: Mapping[str, Floats],
        found: Mapping[int, Mapping[str, Floats]],
        disturbed: Mapping[str, Mapping[str, Any]],
    ) -> None:
        recipe, anatomy = self.recipe, self.checked.anatomy
        last = models[-1].folder
        series = found if len(models) > 1 else None
        whole = all_figures(recipe, anatomy, last, functions, measured, fresh=fresh, series=series, disturbed=disturbed)
        write_table(recipe.output / TABLE, measured, found)
        publish(recipe.output / FIGURES, whole)
        self.summaries[ANALYSIS] = {
            name: {kind: one["all"][kind] for kind in ("proportion", "degree")}
            for name, one in whole["functional"].items()
        }
        publish(recipe.output / ANALYSIS / DONE, self.summaries[ANALYSIS])


def _step(path: Path, otherwise: int) -> int:
    """The number that ends a folder's name."""
    found = re.search(r"(\d+)$", path.name)
    return int(found[1]) if found else otherwise
