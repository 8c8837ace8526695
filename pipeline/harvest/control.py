"""The control group of a harvest: a random draw of the corpus, scored by the manifest's own models.

A pile is to be better than what it was taken from; to show it, the same scorers judge a sample of all documents of the
corpus, taken by a hash of their ids. Bounds do not apply to it, and it goes nowhere but into the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpus.commit import TaskRecord
from corpus.schema import alive
from corpus.shards import ShardReader, write_table
from corpus.storage import fetch
from pipeline.dedup_phases import Runner
from pipeline.harvest.index import unit_identity
from pipeline.plan import Plan, stage_identities
from pipeline.resources import LocalResources
from pipeline.task import Context, Result, Task, Written, task_key
from stages.read import SourceConfig, Unit, read_unit
from stages.score import Score

PHASE = "harvest.control"
_WHOLE = 1 << 64


@dataclass(frozen=True)
class ControlPayload:
    """One unit; documents whose id hashes below ``bound`` are taken."""

    source: SourceConfig
    unit: Unit
    stages: tuple[Score, ...]
    bound: int


def control_group(plan: Plan, wanted: int, documents: int, code: str, runner: Runner) -> list[TaskRecord]:
    """About ``wanted`` of the corpus's ``documents``, scored; nothing where no stage scores anything."""
    stages = tuple(
        stage.model_copy(update={"min": None, "max": None})
        for stage in plan.manifest.stages
        if isinstance(stage, Score)
    )
    if not stages or not wanted:
        return []
    bound = min(_WHOLE, _WHOLE * wanted // max(documents, 1))
    source = plan.manifest.source
    reading = source.model_dump(mode="json", include={"text_field", "id_field", "max_payload", "format"})
    tasks = []
    for unit in plan.units:
        key = task_key(code, "control", stage_identities(stages), unit_identity(unit), reading, bound)
        label = f"{Path(unit.path).name}[{unit.start}:{unit.end}]"
        tasks.append(Task(PHASE, label, key, score_sample, ControlPayload(source, unit, stages, bound)))
    return runner.run_phase(PHASE, tasks)


def score_sample(payload: ControlPayload, context: Context) -> Result:
    """Task: the scores of the sampled documents of one unit."""
    opened = [stage.open(LocalResources()) for stage in payload.stages]
    names = [stage.score_column for stage in payload.stages]
    schema = pa.schema([("id", pa.string()), *((name, pa.float32()) for name in names)])
    tables = [schema.empty_table()]
    for batch in read_unit(payload.unit, payload.source):
        hashes = [xxhash.xxh3_64_intdigest(name.encode("utf-8", "replace")) for name in batch.column("id").to_pylist()]
        chosen = np.array([value < payload.bound for value in hashes], np.bool_) & alive(batch)
        sample = batch.filter(pc.and_(pa.array(chosen), pc.is_valid(batch.column("content"))))
        if sample.num_rows:
            for function in opened:
                sample = function(sample)
            tables.append(sample.select(schema.names).cast(schema))
    path = context.staging / "control.parquet"
    return Result(files={"control": Written(path, write_table(path, pa.concat_tables(tables)))})


def merged(records: Sequence[TaskRecord], context: Context) -> pa.Table:
    """The samples of all units as one table."""
    tables = []
    for record in records:
        with fetch(context.store, record.file("control")) as file:
            tables.append(ShardReader(file).read())
    return pa.concat_tables(tables).combine_chunks()
