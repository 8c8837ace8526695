"""What recipes of trainings have in common, and everything of it that can be checked before training."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

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
from training.job import Observe
from training.ranks import Ranks
from training.shape import LlamaShape


class TrainedSource(Settings):
    """A source model that is trained here first: to try things out where no model is at hand."""

    shape: LlamaShape
    """Its sizes; ``vocab`` must be that of the corpus."""
    phase: Phase
    """Its training."""


class Source(Settings):
    """A model to start from."""

    path: Path | None = None
    """Local Hugging Face folder of a LLaMA (safetensors)."""
    train: TrainedSource | None = None
    """Or a model that is trained here first."""

    @model_validator(mode="after")
    def _one(self) -> Source:
        if (self.path is None) == (self.train is None):
            raise ValueError("name a path, or train one")
        return self

    def absolute(self) -> Self:
        """The same with a path that means the same in any folder."""
        return self if self.path is None else self.model_copy(update={"path": self.path.absolute()})


class TrainingRecipe(Settings, ABC):
    """What all trainings on a token corpus have in common."""

    train: str
    """What is trained."""
    output: Path
    """Folder of all phases and the report."""
    data: str
    """Token corpus (``pipeline run manifests/tokenize.yaml``) with held-out rows."""
    workers: int = Field(default=1, ge=1)
    """Processes (GPUs, where there are some) that train together."""
    executor: Literal["ray", "local"] = "ray"
    """ray: Ray Train on this machine or the cluster of RAY_ADDRESS. local: this process, one worker."""
    verify: Verify = "full"
    """Compare shards with their recorded sha256 (full) or only their sizes before starting."""

    @abstractmethod
    def phases(self) -> Mapping[str, Phase]:
        """The phases that this recipe states, by where they stand in it."""

    @abstractmethod
    def about(self) -> Mapping[str, str]:
        """Every phase that ``run`` may run, in order, and what it is."""

    @abstractmethod
    def product(self) -> Path:
        """The file in ``output`` that a finished run is for."""

    @abstractmethod
    def check(self) -> Mapping[str, object]:
        """Everything that can be known before training, in words. Raises ``CorpusError`` where it cannot work."""

    @abstractmethod
    def run(self, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
        """Run all phases on this rank; returns their summaries by name."""

    def absolute(self) -> Self:
        """The recipe with paths that mean the same in workers, which start in folders of their own."""
        changed: dict[str, Any] = {"output": self.output.absolute()}
        if "://" not in self.data:
            changed["data"] = str(Path(self.data).absolute())
        return self.model_copy(update=changed)

    @model_validator(mode="after")
    def _shared_evenly(self) -> Self:
        if self.executor == "local" and self.workers > 1:
            raise ValueError("executor local has one worker; use ray for more")
        for name, phase in self.phases().items():
            if phase.global_batch % self.workers:
                raise ValueError(
                    f"{name}.global_batch {phase.global_batch} cannot be shared evenly by {self.workers} workers"
                )
        return self


class SourcedRecipe(TrainingRecipe):
    """A training that starts from a model."""

    source: Source
    """The model that it starts from."""

    def phases(self) -> Mapping[str, Phase]:
        return {"source.train.phase": self.source.train.phase} if self.source.train is not None else {}

    def absolute(self) -> Self:
        return super().absolute().model_copy(update={"source": self.source.absolute()})


@dataclass(frozen=True)
class Data:
    """The two splits of the corpus."""

    train: Corpus
    held_out: Corpus


def open_data(recipe: TrainingRecipe) -> Data:
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


def source_shape(source: Source, data: Data) -> LlamaShape:
    """The shape of a source, which must suit the corpus. Raises ``ManifestError`` or ``ModelError``."""
    if source.path is not None:
        shape = read_shape(source.path)
        _same_tokenizer(source.path, data.train)
    else:
        assert source.train is not None
        shape = source.train.shape
    check_shape(shape, data)
    return shape


def check_shape(shape: LlamaShape, data: Data) -> None:
    """Raise ``ManifestError`` where a model of this shape cannot read the rows of the corpus."""
    if shape.vocab < data.train.vocab:
        raise ManifestError(
            f"the model has {shape.vocab} token ids, the corpus uses {data.train.vocab}",
            fix="tokenize the corpus with the tokenizer of the model, or give the model a larger vocab",
        )
    if shape.max_positions < data.train.sequence_length:
        raise ManifestError(
            f"rows have {data.train.sequence_length} tokens, the model is made for {shape.max_positions}",
            fix="tokenize with a shorter sequence_length",
        )


def _same_tokenizer(folder: Path, corpus: Corpus) -> None:
    file = folder / "tokenizer.json"
    if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() != corpus.tokenizer_digest:
        raise ManifestError(
            "the corpus was tokenized with another tokenizer than the source model's",
            where=str(file),
            fix=f"tokenize with tokenizer: {{path: {folder}}}",
        )


def check_mixture(phase: Phase, data: Data) -> None:
    """Raise ``TrainingError`` where weights or references do not suit the domains of the corpus."""
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
