"""The reference of token corpora and trainings: docs/training_settings.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from inspect import cleandoc

from pydantic import BaseModel

from pipeline.reference_format import fields_table
from pipeline.tokenize_config import DomainSource, TokenizeConfig, TokenizeManifest, TokenizerSource, TrainedTokenizer
from training.config import Optimiser, Phase, Schedule
from training.data.loader import LoaderConfig
from training.dynamic import DynamicLoading, GivenReference, ScalingReference, SourceReference
from training.modularity.functions import LabelledTexts, Topics
from training.modularity.perturbation import Perturbation
from training.modularity.recipe import LookedAt, ModularityRecipe
from training.moe.recipe import MoeRecipe
from training.moe.settings import Mixture, Rectify
from training.moefication.layer import Experts
from training.pruning.learner import Gates
from training.pruning.recipe import ShearedRecipe
from training.pruning.target import Target
from training.recipe import Source, TrainedSource
from training.shape import LlamaShape
from training.ssd.recipe import SsdRecipe, Upcycling
from training.ssd.settings import Switching

PARTS: dict[str, dict[str, type[BaseModel]]] = {
    "Token corpora: manifests with `tokenize`": {
        "(top)": TokenizeManifest,
        "tokenize": TokenizeConfig,
        "tokenize.domains.NAME": DomainSource,
        "tokenize.tokenizer": TokenizerSource,
        "tokenize.tokenizer.train": TrainedTokenizer,
    },
    "The loader": {"LoaderConfig": LoaderConfig},
    "Sheared models: manifests with `train: sheared`": {
        "(top)": ShearedRecipe,
        "source": Source,
        "source.train": TrainedSource,
        "source.train.shape": LlamaShape,
        "target": Target,
        "gates": Gates,
    },
    "Switchable sparse-dense pre-training: manifests with `train: ssd`": {
        "(top)": SsdRecipe,
        "experts": Experts,
        "switching": Switching,
        "upcycling": Upcycling,
    },
    "Mixtures of experts: manifests with `train: moe`": {
        "(top)": MoeRecipe,
        "mixture": Mixture,
        "mixture.rectify": Rectify,
    },
    "Modularity: manifests with `train: modularity`": {
        "(top)": ModularityRecipe,
        "model": LookedAt,
        "functions, kind topics": Topics,
        "functions, kind labelled": LabelledTexts,
        "perturbation": Perturbation,
    },
    "Phases of all these": {
        "phase, prune, continued, source.train.phase, model.train.phase": Phase,
        "schedule": Schedule,
        "optimiser": Optimiser,
        "dynamic": DynamicLoading,
        "dynamic.reference, kind given": GivenReference,
        "dynamic.reference, kind source_model": SourceReference,
        "dynamic.reference, kind scaling_law": ScalingReference,
    },
}
"""Heading -> where a part stands -> its model."""


def training_reference() -> str:
    """The whole page, as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterable[str]:
    yield "# Settings of token corpora and trainings\n"
    yield "Written by `python -m pipeline.reference_training`. What all this is for: [training.md](training.md).\n"
    for heading, parts in PARTS.items():
        yield f"## {heading}\n"
        for path, model in parts.items():
            yield f"### {path}\n\n" + cleandoc(model.__doc__ or "").replace("``", "`") + "\n"
            yield fields_table(model)


if __name__ == "__main__":
    sys.stdout.write(training_reference())
