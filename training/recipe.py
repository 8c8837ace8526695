"""The recipe of a sheared model, and everything that can be checked before training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from corpus.errors import ManifestError, TrainingError
from corpus.settings import Settings
from training.checkpoint import read_shape
from training.config import Phase
from training.data.files import Verify
from training.data.mixture import checked_weights
from training.data.source import Corpus, open_tokens
from training.data.write import HELD_OUT
from training.dynamic import DynamicLoading, GivenReference, ScalingReference, fit_scaling_law
from training.pruning.learner import Gates
from training.pruning.target import Target, target_shape
from training.shape import LlamaShape

Baseline = Literal["scratch", "magnitude", "random", "static"]


class TrainedSource(Settings):
    """A source model that is trained here first: to try things out where no model is at hand."""

    shape: LlamaShape
    """Its sizes; ``vocab`` must be that of the corpus."""
    phase: Phase
    """Its training."""


class Source(Settings):
    """The model that is pruned."""

    path: Path | None = None
    """Local Hugging Face folder of a LLaMA (safetensors)."""
    train: TrainedSource | None = None
    """Or a model that is trained here first."""

    @model_validator(mode="after")
    def _one(self) -> Source:
        if (self.path is None) == (self.train is None):
            raise ValueError("name a path, or train one")
        return self


class ShearedRecipe(Settings):
    """A manifest with ``train: sheared``."""

    train: Literal["sheared"]
    """What is trained."""
    output: Path
    """Folder of all phases and the report."""
    data: str
    """Token corpus (``pipeline run manifests/tokenize.yaml``) with held-out rows."""
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
    workers: int = Field(default=1, ge=1)
    """Processes (GPUs, where there are some) that train together."""
    executor: Literal["ray", "local"] = "ray"
    """ray: Ray Train on this machine or the cluster of RAY_ADDRESS. local: this process, one worker."""
    verify: Verify = "full"
    """Compare shards with their recorded sha256 (full) or only their sizes before starting."""

    @model_validator(mode="after")
    def _fits(self) -> ShearedRecipe:
        if self.executor == "local" and self.workers > 1:
            raise ValueError("executor local has one worker; use ray for more")
        for name in ("prune", "continued"):
            batch = getattr(self, name).global_batch
            if batch % self.workers:
                raise ValueError(f"{name}.global_batch {batch} cannot be shared evenly by {self.workers} workers")
        return self


@dataclass(frozen=True)
class Data:
    """The two splits of the corpus."""

    train: Corpus
    held_out: Corpus


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
    if recipe.source.path is not None:
        shape = read_shape(recipe.source.path)
        _same_tokenizer(recipe.source.path, data.train)
    else:
        assert recipe.source.train is not None
        shape = recipe.source.train.shape
    if shape.vocab < data.train.vocab:
        raise ManifestError(
            f"the source has {shape.vocab} token ids, the corpus uses {data.train.vocab}",
            fix="tokenize the corpus with the tokenizer of the source model",
        )
    if shape.max_positions < data.train.sequence_length:
        raise ManifestError(
            f"rows have {data.train.sequence_length} tokens, the source is made for {shape.max_positions}",
            fix="tokenize with a shorter sequence_length",
        )
    smaller = target_shape(shape, recipe.target)
    for phase in (recipe.prune, recipe.continued):
        _check_mixture(phase, data)
    return Checked(data, shape, smaller)


def open_data(recipe: ShearedRecipe) -> Data:
    """Open both splits; they must hold the same domains."""
    train = open_tokens(recipe.data, verify=recipe.verify)
    held_out = open_tokens(recipe.data, HELD_OUT, verify="size")
    lacking = [name for name in train.domains if not held_out.domains.get(name) or not held_out.domains[name].rows]
    if lacking:
        raise TrainingError(
            f"no held-out rows for: {', '.join(lacking)}",
            where=recipe.data,
            fix="tokenize with a larger held_out share: losses per domain are measured on these",
        )
    return Data(train, held_out)


def _same_tokenizer(folder: Path, corpus: Corpus) -> None:
    file = folder / "tokenizer.json"
    if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() != corpus.tokenizer_digest:
        raise ManifestError(
            "the corpus was tokenized with another tokenizer than the source model's",
            where=str(file),
            fix=f"tokenize with tokenizer: {{path: {folder}}}",
        )


def _check_mixture(phase: Phase, data: Data) -> None:
    if phase.weights is not None:
        checked_weights(phase.weights, list(data.train.domains))
    if phase.dynamic is not None:
        references(phase.dynamic, list(data.train.domains), 1, dict.fromkeys(data.train.domains, 0.0))


def references(
    config: DynamicLoading, domains: list[str], parameters: int, source: Mapping[str, float]
) -> dict[str, float]:
    """Reference loss of each domain. Raises ``TrainingError`` for domains without one."""
    chosen = config.reference
    if isinstance(chosen, GivenReference):
        found = dict(chosen.losses)
        if chosen.file is not None:
            try:
                found = {str(name): float(value) for name, value in json.loads(chosen.file.read_text("utf-8")).items()}
            except (OSError, ValueError, AttributeError, TypeError) as error:
                raise TrainingError(f"the reference losses cannot be read: {error}", where=str(chosen.file)) from None
    elif isinstance(chosen, ScalingReference):
        found = {name: fit_scaling_law(chosen.sizes, losses, parameters) for name, losses in chosen.losses.items()}
    else:
        found = dict(source)
    lacking = [name for name in domains if name not in found]
    if lacking:
        raise TrainingError(f"no reference loss for: {', '.join(lacking)}", fix="name one for every domain")
    return {name: found[name] for name in domains}
