"""Sheared LLaMA from end to end: a source model, pruning to a target shape, continued pre-training, and what it is
compared with. Each part is a phase with a folder of its own; a phase that is finished is not run again.

    source/      the model that is pruned, where it is trained here
    prune/       weights, gates and multipliers; model/ is the cut model
    continued/   continued pre-training with dynamic batch loading
    static/      the same without it: the mixture stays as it is
    scratch/     the target shape from fresh weights, with the tokens (or the FLOPs) of pruning and continued together
    magnitude/   the target shape by the size of weights, then continued as ``continued`` is
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from corpus.errors import ManifestError, TrainingError
from corpus.settings import Settings
from training.checkpoint import model_digest, open_model, read_shape
from training.config import Phase
from training.data.files import Verify
from training.data.mixture import checked_weights
from training.data.source import Corpus, open_tokens
from training.data.write import HELD_OUT
from training.dynamic import DynamicLoading, GivenReference, ScalingReference, fit_scaling_law
from training.evaluate import Evaluation
from training.learner import LanguageModel, Learner
from training.llama import LlamaShape, new_model
from training.pruning.baselines import magnitude_masks
from training.pruning.cut import cut
from training.pruning.learner import Gates, Pruning
from training.pruning.target import Target, target_shape
from training.ranks import Ranks
from training.saved import write_json
from training.trainer import Job, Observe, Trainer, precision_of

Baseline = Literal["scratch", "magnitude", "static"]


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


def check(recipe: ShearedRecipe) -> tuple[LlamaShape, LlamaShape]:
    """Everything that can be known before training: corpus, domains, shapes. Returns source and target shape.

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
    return shape, smaller


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


def run_sheared(recipe: ShearedRecipe, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
    """Run all phases on this rank; returns their summaries by name."""
    shape, smaller = check(recipe)
    return _Run(recipe, shape, smaller, open_data(recipe), ranks, observe).all()


class _Run:
    def __init__(
        self,
        recipe: ShearedRecipe,
        shape: LlamaShape,
        smaller: LlamaShape,
        data: Data,
        ranks: Ranks,
        observe: Observe,
    ) -> None:
        self.recipe, self.shape, self.smaller, self.data = recipe, shape, smaller, data
        self.ranks, self.observe = ranks, observe
        self.summaries: dict[str, dict[str, Any]] = {}

    def all(self) -> dict[str, dict[str, Any]]:
        recipe = self.recipe
        trained = recipe.source.train
        if trained is not None:
            learner = LanguageModel(new_model(trained.shape, trained.phase.seed))
            self._phase("source", trained.phase, learner, "fresh", {})
        folder = recipe.source.path or self._model("source")
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
        if "magnitude" in recipe.baselines:
            model = open_model(folder)
            small = cut(model, magnitude_masks(model, recipe.target))
            self._phase("magnitude", recipe.continued, LanguageModel(small), f"{origin} {aim[0]}", losses)
        if "scratch" in recipe.baselines:
            rows = recipe.prune.steps * recipe.prune.global_batch / recipe.continued.global_batch
            dearer = self.shape.flops_per_token / self.smaller.flops_per_token if recipe.scratch == "compute" else 1.0
            steps = recipe.continued.steps + round(rows * dearer)
            phase = static.model_copy(update={"steps": steps})
            self._phase("scratch", phase, LanguageModel(new_model(self.smaller, phase.seed)), "fresh", {})
        return self.summaries

    def _continue(self, name: str, phase: Phase, losses: Mapping[str, float]) -> None:
        pruned = self._model("prune")
        self._phase(name, phase, LanguageModel(open_model(pruned)), model_digest(pruned), losses)

    def _model(self, phase: str) -> Path:
        return self.recipe.output / phase / "model"

    def _phase(self, name: str, phase: Phase, learner: Learner, origin: str, source: Mapping[str, float]) -> None:
        domains = list(self.data.train.domains)
        reference = references(phase.dynamic, domains, self.smaller.parameters, source) if phase.dynamic else {}
        job = Job(
            name=name,
            folder=self.recipe.output / name,
            phase=phase,
            learner=learner,
            origin=origin,
            train=self.data.train,
            held_out=self.data.held_out,
            reference=reference,
        )
        self.summaries[name] = Trainer(job, self.ranks, self.observe).run()

    def _source_losses(self, folder: Path, origin: str) -> dict[str, float]:
        """Held-out losses of the source model, measured once."""
        path = self.recipe.output / "source_losses.json"
        phase = self.recipe.continued
        key = [origin, self.data.held_out.digest, phase.evaluate_rows, phase.precision]
        known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        if known.get("of") != key:
            module = LanguageModel(open_model(folder)).module.to(self.ranks.device)
            evaluation = Evaluation(self.data.held_out, phase.evaluate_rows, self.ranks, micro_batch=phase.micro_batch)
            known = {"of": key, "losses": evaluation.losses(module, precision=precision_of(phase, self.ranks))}
            if self.ranks.leads:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, known)
            self.ranks.barrier()
        return dict(known["losses"])
