"""``modularity.json``: all figures of an analysis, and what they are about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.model_folder import model_digest
from training.modularity import figures
from training.modularity.anatomy import Anatomy
from training.modularity.chance import Floats
from training.modularity.functions import Function
from training.modularity.recipe import ModularityRecipe


def all_figures(
    recipe: ModularityRecipe,
    anatomy: Anatomy,
    last: Path,
    functions: list[Function],
    measured: figures.Measured,
    *,
    fresh: Mapping[str, Floats],
    series: Mapping[int, Mapping[str, Floats]] | None,
    disturbed: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of the file. ``last``: folder of the model that was looked at. ``series``: predictivities by step,
    where there are several; ``fresh``: those of an untrained model; ``disturbed``: what perturbation did."""
    counts = {
        function.name: [{"name": part.name, "sequences": len(part.rows)} for part in function.parts]
        for function in functions
    }
    settings = recipe.perturbation
    return {
        "format": 1,
        "model": {
            "name": last.name if recipe.model.train is None else "trained here",
            "digest": model_digest(last),
            "kind": anatomy.kind,
            "layers": len(measured.real),
            "neurons": anatomy.neurons,
            "experts": recipe.experts,
        },
        "top": measured.top,
        "partitions": recipe.partitions,
        "seed": recipe.seed,
        "functions": counts,
        "functional": figures.functional_figures(measured),
        "similarity": figures.similarity_figures(measured),
        "best": figures.best_figures(measured, fresh),
        "emergence": figures.emergence_figures(measured, series) if series else None,
        "perturbation": {
            "settings": settings.model_dump(mode="json"),
            "layers": list(settings.disturbed(len(measured.real))),
            "means": figures.perturbation_figures(disturbed),
            "parts": disturbed,
        }
        if settings
        else None,
    }
