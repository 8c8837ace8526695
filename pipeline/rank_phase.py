"""The rank cut over all units: one task that reads one value per document and finds the cut point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from corpus.commit import TaskRecord
from corpus.shards import read_batches
from corpus.storage import FileEntry, Store, fetch
from pipeline.dedup_phases import Runner
from pipeline.task import Context, Result, Task, task_key
from stages.rank_cut import Cut, RankCut, cut_point


@dataclass(frozen=True)
class RankPayload:
    config: RankCut
    sketches: tuple[FileEntry, ...]


def rank(config: RankCut, units: Sequence[TaskRecord], code: str, runner: Runner) -> Cut:
    """Run the phase over the segment records ``units``; returns the cut."""
    sketches = tuple(record.file("sketch") for record in units)
    key = task_key(code, "rank", config.model_dump(mode="json"), [entry.sha256 for entry in sketches])
    task = Task("rank", "all documents", key, find_cut, RankPayload(config, sketches))
    (record,) = runner.run_phase("rank", [task])
    return Cut(float.fromhex(record.facts["value"]), *(record.facts[name] for name in ("id_hash", "kept", "total")))


def find_cut(payload: RankPayload, context: Context) -> Result:
    """Task: the cut point of the global order."""
    cut = cut_point(_Values(payload.sketches, context.store), payload.config)
    # JSON has no infinity, which is the cut of a corpus that is kept whole
    return Result(facts={**cut._asdict(), "value": cut.value.hex()})


@dataclass(frozen=True)
class _Values:
    """All values of the corpus, unit by unit; can be gone through as often as the search for the cut needs."""

    entries: Sequence[FileEntry]
    store: Store

    def __iter__(self) -> Iterator[pa.Table]:
        for entry in self.entries:
            with fetch(self.store, entry) as file:
                yield from read_batches(file, rows=1 << 20)
