"""The recipe of a modularity analysis, and everything of it that can be checked before it starts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from corpus.errors import ManifestError
from corpus.settings import Settings
from training.config import Phase
from training.data.source import Corpus, open_tokens
from training.data.write import HELD_OUT
from training.job import Observe
from training.modularity.anatomy import Anatomy, look
from training.modularity.functions import FunctionSource, LabelledTexts, Topics, corpus_of
from training.modularity.perturbation import Perturbation
from training.ranks import Ranks
from training.recipe import Data, TrainedSource, TrainingRecipe, check_mixture, check_shape, open_data

FIGURES, TABLE = "modularity.json", "predictivity.parquet"
SOURCE, ANALYSIS = "source", "analysis"
ABOUT = {
    SOURCE: "the model that is looked at, trained here, with snapshots",
    ANALYSIS: "predictivity of neurons, functional experts, perturbation, emergence",
}


class LookedAt(Settings):
    """The model whose neurons are looked at: one of three."""

    path: Path | None = None
    """Local Hugging Face folder (safetensors): a decoder, an encoder, or an encoder-decoder, of which the encoder."""
    checkpoints: tuple[Path, ...] = ()
    """Or several of one training, the earliest first. A number that ends a folder's name is its step."""
    train: TrainedSource | None = None
    """Or a model that is trained here; with ``phase.snapshot_every`` its emergence is seen."""

    @model_validator(mode="after")
    def _one(self) -> LookedAt:
        if sum([self.path is not None, bool(self.checkpoints), self.train is not None]) != 1:
            raise ValueError("name one of path, checkpoints and train")
        return self

    def folders(self) -> tuple[Path, ...]:
        """Models that are there already, the last one being the one that is looked at."""
        return (self.path,) if self.path is not None else self.checkpoints


class ModularityRecipe(TrainingRecipe):
    """A manifest with ``train: modularity``."""

    train: Literal["modularity"]
    """What is done: the modularity of a model is measured."""
    data: str = ""
    """Token corpus with held-out rows; needed for ``topics`` and for a model that is trained here."""
    model: LookedAt
    """The model, or its checkpoints."""
    functions: tuple[FunctionSource, ...] = Field(min_length=1)
    """What neurons may be for."""
    experts: int = Field(default=16, ge=2)
    """Experts that each layer's neurons are divided into, evenly (the paper: 16)."""
    top_share: float = Field(default=0.01, gt=0, lt=1)
    """Share of a layer's neurons that count as a sub-function's (the paper: 1 %)."""
    partitions: int = Field(default=200, ge=99)
    """Random partitions that the experts are held against (the paper: 200)."""
    fresh: bool = True
    """Compare predictivities with those of a randomly initialised model."""
    perturbation: Perturbation | None = Perturbation()
    """Disturb neurons and measure losses; null: do not. Needs the model's output layer."""
    batch: int = Field(default=32, ge=1)
    """Sequences that go through the model at once. A shuffling perturbation mixes a batch."""
    seed: int = Field(default=0, ge=0)
    """Of the choice of sequences, the experts, random partitions and perturbations."""

    @model_validator(mode="after")
    def _small_budgets(self) -> Self:
        if self.perturbation is not None and max(self.perturbation.budgets) >= self.experts:
            raise ValueError(f"perturbation.budgets must be below the number of experts, {self.experts}")
        return self

    def top(self, neurons: int) -> int:
        """Neurons of a layer that count as a sub-function's."""
        return max(1, int(self.top_share * neurons))

    def phases(self) -> Mapping[str, Phase]:
        return {"model.train.phase": self.model.train.phase} if self.model.train is not None else {}

    def about(self) -> Mapping[str, str]:
        return ABOUT

    def product(self) -> Path:
        return self.output / FIGURES

    def absolute(self) -> Self:
        model = self.model.model_copy(
            update={
                "path": self.model.path and self.model.path.absolute(),
                "checkpoints": tuple(path.absolute() for path in self.model.checkpoints),
            }
        )
        changed: dict[str, Any] = {"output": self.output.absolute(), "model": model}
        if self.data and "://" not in self.data:
            changed["data"] = str(Path(self.data).absolute())
        changed["functions"] = tuple(
            source.model_copy(update={"paths": tuple(str(Path(path).absolute()) for path in source.paths)})
            if isinstance(source, LabelledTexts)
            else source
            for source in self.functions
        )
        return self.model_copy(update=changed)

    def check(self) -> Mapping[str, object]:
        found = check(self).anatomy
        return {
            "model": f"{found.kind}, {found.layers} layers of {found.neurons:,} neurons",
            "experts": f"{self.experts} of {found.neurons // self.experts}, {self.top(found.neurons)} top neurons",
        }

    def run(self, ranks: Ranks, observe: Observe) -> dict[str, dict[str, Any]]:
        from training.modularity.run import run_modularity

        return run_modularity(self, ranks, observe)


class Checked(NamedTuple):
    """What a recipe is about, once it is known to work."""

    data: Data | None
    """Both splits, where a model is trained."""
    held_out: Corpus | None
    anatomy: Anatomy


def check(recipe: ModularityRecipe) -> Checked:
    """Everything that can be known without weights: corpus, architecture, functions.

    Raises ``ManifestError``, ``ModelError``, ``TrainingError`` or ``StorageError`` with what to do about it.
    """
    trained = recipe.model.train
    if trained is not None and not recipe.data:
        raise ManifestError("a model that is trained here needs a token corpus", fix="name one as data")
    data = open_data(recipe) if trained is not None else None
    held_out = (
        data.held_out if data else open_tokens(recipe.data, HELD_OUT, verify=recipe.verify) if recipe.data else None
    )
    if trained is not None:
        assert data is not None
        shape = trained.shape
        check_shape(shape, data)
        check_mixture(trained.phase, data)
        anatomy = Anatomy("decoder", shape.layers, shape.intermediate, shape.vocab, shape.max_positions)
    else:
        anatomy = _same_anatomy(recipe.model.folders())
    if anatomy.neurons % recipe.experts:
        what = f"{anatomy.neurons} neurons cannot be divided evenly into {recipe.experts} experts"
        raise ManifestError(what, fix="choose a number of experts that divides the neurons of a layer")
    for source in recipe.functions:
        if anatomy.positions is not None and source.length > anatomy.positions:
            what = f"sequences of {source.length} tokens, but the model is made for {anatomy.positions}"
            raise ManifestError(what, where=f"function {source.name!r}", fix="lower its length")
        if isinstance(source, Topics):
            _readable(corpus_of(source, held_out), anatomy, recipe.model)
        else:
            source.files()
    return Checked(data, held_out, anatomy)


def _same_anatomy(folders: tuple[Path, ...]) -> Anatomy:
    found = [look(folder) for folder in folders]
    for folder, anatomy in zip(folders, found, strict=True):
        if anatomy != found[-1]:
            what = f"not of one training: {anatomy._asdict()} here, {found[-1]._asdict()} in {folders[-1]}"
            raise ManifestError(what, where=str(folder), fix="name checkpoints of one model")
    return found[-1]


def _readable(corpus: Corpus, anatomy: Anatomy, model: LookedAt) -> None:
    """Raise ``ManifestError`` where the tokens of the corpus mean something else to the model, or nothing."""
    fix = "tokenize with the model's tokenizer (tokenizer: {path: ...})"
    if corpus.vocab > anatomy.vocab:
        raise ManifestError(f"the model has {anatomy.vocab} token ids, the corpus uses {corpus.vocab}", fix=fix)
    for folder in model.folders()[-1:]:
        file = folder / "tokenizer.json"
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() != corpus.tokenizer_digest:
            what = "the corpus was tokenized with another tokenizer than the model's"
            raise ManifestError(what, where=str(file), fix=fix)
