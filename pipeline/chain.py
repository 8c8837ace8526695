"""Fused stages: run a batch through a chain of stages, take the rejected rows out between them, lose nothing.

A stage that raises on a batch is tried on halves of it until single documents stand accused; those go to quarantine
with the error, the others go on. What a stage returns is checked against its contract (same rows, same order).
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from corpus.errors import CorpusError, StageError
from corpus.failpoints import poison
from corpus.schema import alive, give_verdict
from pipeline.resources import LocalResources
from stages.stage import BatchFunction, Stage


@dataclass
class Chain:
    """Opened stages, with the seconds each has used since ``seconds`` was last cleared."""

    functions: list[tuple[str, BatchFunction]]
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Yield the rows that fall out, stage by stage, and last the rows that live (perhaps none)."""
        live, out = split(batch)
        poison(live)
        if out.num_rows:
            yield out
        for name, function in self.functions:
            if live.num_rows == 0:
                break
            began = time.perf_counter()
            done = _guarded(name, function, live)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
            parts = [split(table) for table in done]
            yield from (fallen for _, fallen in parts if fallen.num_rows)
            live = pa.concat_tables([living for living, _ in parts], promote_options="permissive")
        yield live


_opened: dict[str, Chain] = {}


def open_chain(stages: Sequence[Stage]) -> Chain:
    """The chain for ``stages``, opened once per process and kept warm for the next unit."""
    identity = json.dumps([stage.model_dump(mode="json") for stage in stages])
    if identity not in _opened:
        _opened.clear()  # a worker serves one phase at a time: keep one set of models in memory
        resources = LocalResources()
        _opened[identity] = Chain([(name, stage.open(resources)) for name, stage in stage_names(stages)])
    chain = _opened[identity]
    chain.seconds.clear()
    return chain


def stage_names(stages: Sequence[Stage]) -> list[tuple[str, Stage]]:
    """Stages with a name each: the label, followed by a number where a label stands more than once."""
    labels = [stage.label for stage in stages]
    count = labels.count
    names = [
        label if count(label) == 1 else f"{label}.{labels[: i + 1].count(label)}" for i, label in enumerate(labels)
    ]
    return list(zip(names, stages, strict=True))


def split(batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The living rows and the others."""
    living = alive(batch)
    if living.all():
        return batch, batch.slice(0, 0)
    return batch.filter(pa.array(living)), batch.filter(pa.array(~living))


def _guarded(name: str, function: BatchFunction, batch: pa.Table) -> list[pa.Table]:
    """Apply a stage; on an error divide the batch until only the guilty documents are left out."""
    try:
        done = function(batch)
    except (CorpusError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # whatever a stage raises on untrusted text is the document's fault until shown otherwise
        if batch.num_rows > 1:
            half = batch.num_rows // 2
            return [*_guarded(name, function, batch.slice(0, half)), *_guarded(name, function, batch.slice(half))]
        everyone = np.ones(batch.num_rows, dtype=np.bool_)
        detail = "".join(traceback.format_exception_only(error)).strip()[:500]
        return [give_verdict(batch, everyone, f"quarantine/{name}", outcome="quarantined", detail=[detail])]
    if done.num_rows != batch.num_rows or not done.column("id").equals(batch.column("id")):
        raise StageError(
            f"stage {name!r} returned other rows than it was given ({batch.num_rows} in, {done.num_rows} out)",
            fix="a stage gives a verdict; it never removes, adds or reorders rows",
        )
    return [done]
