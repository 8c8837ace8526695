"""What a stage is: a frozen, typed configuration with one verb.

A manifest entry maps one to one onto a subclass of ``Stage``. The configuration is cheap to make, is validated
before any work starts, and travels to workers. ``open`` runs inside the worker, loads what the stage needs (models,
lists, compiled kernels: import heavy libraries there), and returns a function ``batch -> batch``.

The contract of that function, which the engine checks for every batch:

* the same rows come back, in the same order: a stage rejects by verdict (``corpus.schema.give_verdict``), never by
  leaving a row out; the rows it gets are all alive;
* only the columns named by ``adds`` are new, with those types; the identity columns do not change;
* the result depends on each row alone, never on its neighbours, on earlier batches, on time or on chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.settings import Settings

BatchFunction = Callable[[pa.Table], pa.Table]


class Scorer(Protocol):
    """Anything that turns texts into one float32 score each, in 0..1. Floor 2 provides them."""

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class Resources(Protocol):
    """What the engine hands to ``Stage.open``: the things a stage may need but may not find by itself."""

    def scorer(self, model: str) -> Scorer:
        """The installed model of that name; raises ``ModelError`` when absent or not the pinned one."""

    def local_path(self, location: str) -> Path:
        """A local path for a file that the manifest names (remote ones are fetched once per node)."""


class Stage(Settings):
    """Base of all stage configurations. Subclasses set ``kind: Literal["..."]``."""

    scope: ClassVar[Literal["batch", "corpus"]] = "batch"
    """``batch``: rows are independent, the engine fuses such stages. ``corpus``: needs to see all documents."""

    kind: str

    @property
    def label(self) -> str:
        """What reports call this stage."""
        return self.kind

    def needs(self) -> frozenset[str]:
        """Columns that must exist before this stage; ``signals.x`` names a field of the signals struct."""
        return frozenset({"content"})

    def adds(self) -> Mapping[str, pa.DataType]:
        """Columns that exist after this stage, with their types (``signals.x`` likewise)."""
        return {}

    def files(self) -> tuple[str, ...]:
        """Files whose content changes the result: they take part in the identity of the work."""
        return ()

    def open(self, resources: Resources) -> BatchFunction:
        """Load what the stage needs and return its function. Called once per worker."""
        raise TypeError(f"stage kind {self.kind!r} works on the whole corpus and has no batch function")
