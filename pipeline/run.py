"""A run from manifest to published corpus: the phases in order, the final account, the commit.

Everything is resumable at any point because every step is: finished tasks are found by their keys, and publishing the
same corpus twice changes nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from corpus.commit import CorpusManifest, TaskRecord, publish_corpus
from corpus.errors import RunError
from corpus.ledger import Ledger
from corpus.storage import FileEntry, LocalStore, Store
from pipeline.barriers import RankVerdicts, Verdicts
from pipeline.dedup_phases import deduplicate
from pipeline.executors import make_executor
from pipeline.harvest.run import harvest
from pipeline.manifest import Manifest
from pipeline.plan import Plan, Segment, check_columns, make_plan, stage_identities
from pipeline.publish import shard_tasks
from pipeline.rank_phase import rank
from pipeline.scheduler import Scheduler, Watcher, total_ledger
from pipeline.segment import SegmentPayload, run_segment
from pipeline.status import RUN_FILE
from pipeline.task import Place, Task, task_key
from stages.dedup import Dedup
from stages.rank_cut import RankCut
from stages.read import Unit, plan_units

LOCK_PATIENCE_S = 1  # `pipeline status` holds the lock for an instant to see whether it is free


@dataclass(frozen=True)
class RunResult:
    """What a finished run says: enough for ``--json`` and for people."""

    run_id: str
    output: str
    digest: str
    seconds: float
    ledger: Ledger
    manifest: CorpusManifest

    def to_json(self) -> str:
        """The one object that ``pipeline run --json`` prints last."""
        return json.dumps(
            {
                "run_id": self.run_id,
                "output": self.output,
                "digest": self.digest,
                "seconds": round(self.seconds, 3),
                "ledger": self.ledger.summary(),
            }
        )


def run(manifest: Manifest, watcher: Watcher) -> RunResult:
    """Run a validated manifest to the end. Raises ``CorpusError`` with what to do about it."""
    began = time.perf_counter()
    check_columns(manifest)
    place = Place(manifest.output.path, manifest.output.storage_options)
    with only_driver(place):
        plan = make_plan(manifest, plan_units(manifest.source))
        executor = make_executor(manifest.executor)
        with executor:
            scheduler = Scheduler(
                executor,
                place,
                watcher,
                max_attempts=manifest.executor.max_attempts,
                max_quarantined_share=manifest.executor.max_quarantined_share,
            )
            watcher.run_started(plan.run_id, len(plan.units), executor.describe())
            harvested = harvest(manifest.harvest, plan, scheduler) if manifest.harvest else None
            segments = _map_phases(plan, scheduler, harvested.verdicts if harvested else None)
            output = manifest.output
            tasks = shard_tasks(
                segments,
                plan.schemas,
                shard_bytes=int(output.shard_bytes),
                row_group_rows=output.row_group_rows,
                code=plan.code,
            )
            shards = scheduler.run_phase("publish", tasks)
        corpus, links = _corpus(plan, segments, shards, harvested.tables if harvested else {})
        store = place.open()
        digest = publish_corpus(store, corpus, links)
        return record_run(store, plan.run_id, digest, began, corpus)


def record_run(store: Store, run_id: str, digest: str, began: float, corpus: CorpusManifest) -> RunResult:
    """Leave a note of the finished run for ``pipeline status``; ``began`` is of ``time.perf_counter``."""
    seconds = time.perf_counter() - began
    store.swap(RUN_FILE, json.dumps({"run_id": run_id, "digest": digest, "seconds": seconds}).encode())
    return RunResult(run_id, store.root, digest, seconds, corpus.ledger, corpus)


def _map_phases(plan: Plan, scheduler: Scheduler, ahead: Sequence[Verdicts] | None) -> list[list[TaskRecord]]:
    """Run every segment and the barriers between them; returns the records of each segment, by unit.

    ``ahead``: verdicts about the documents of each unit before any stage has seen them.
    """
    done: list[list[TaskRecord]] = []
    verdicts: Sequence[Verdicts | None] = ahead or [None] * len(plan.units)
    for segment in plan.segments:
        previous = done[-1] if done else None
        records = scheduler.run_phase(segment.phase, _segment_tasks(plan, segment, previous, verdicts))
        done.append(records)
        barrier = segment.barrier
        if isinstance(barrier, Dedup):
            verdicts = deduplicate(barrier, records, plan.code, scheduler)
        elif isinstance(barrier, RankCut):
            verdicts = [RankVerdicts(barrier, rank(barrier, records, plan.code, scheduler))] * len(records)
    return done


def _segment_tasks(
    plan: Plan, segment: Segment, previous: Sequence[TaskRecord] | None, verdicts: Sequence[Verdicts | None]
) -> Iterator[Task]:
    sketcher = segment.sketcher()
    shared = [
        plan.code,
        segment.phase,
        stage_identities(segment.stages),
        segment.barrier.model_dump(mode="json") if segment.barrier else None,
        [str(schema) for schema in (plan.schemas.live, plan.schemas.rejected)],
    ]
    for number, unit in enumerate(plan.units):
        told = verdicts[number]
        if previous is None:
            payload = SegmentPayload(
                segment.stages,
                plan.schemas,
                source=plan.manifest.source,
                unit=unit,
                verdicts=told,
                barrier=sketcher,
            )
            label = f"{Path(unit.path).name}[{unit.start}:{unit.end}]"
            inputs: object = [_unit_identity(unit), _reading(plan.manifest), told.identity() if told else None]
        else:
            payload = SegmentPayload(
                segment.stages,
                plan.schemas,
                rows=previous[number].file("live"),
                verdicts=told,
                barrier=sketcher,
            )
            label = previous[number].label
            # two units may keep the same rows (none, say): where they come from keeps their records apart
            origin = [unit.path, unit.start, unit.end]
            inputs = [origin, previous[number].file("live").sha256, told.identity() if told else None]
        yield Task(segment.phase, label, task_key(*shared, inputs), run_segment, payload, searchable=True)


def _unit_identity(unit: Unit) -> dict[str, object]:
    # the number of a unit depends on what else is read; what the unit is does not
    return {name: value for name, value in asdict(unit).items() if name != "index"}


def _reading(manifest: Manifest) -> dict[str, object]:
    """The part of the source configuration that decides what is read *from* a unit."""
    return manifest.source.model_dump(mode="json", exclude={"paths", "unit_bytes", "limit_files", "storage_options"})


def _corpus(
    plan: Plan,
    segments: Sequence[Sequence[TaskRecord]],
    shards: Sequence[TaskRecord],
    tables: Mapping[str, FileEntry],
) -> tuple[CorpusManifest, dict[str, str]]:
    """The manifest of what is about to be published, its ledger closed, and which work file each name comes from."""
    files: dict[str, list[FileEntry]] = {"documents": [], "rejected": [], "quarantine": []}
    links: dict[str, str] = {}
    for kind, entry in tables.items():
        name = f"{kind}/part-00000-{entry.sha256[:8]}.parquet"
        files[kind] = [entry.model_copy(update={"name": name})]
        links[name] = entry.name
    ledger = Ledger(read=total_ledger(segments[0]).read)
    for record in shards:
        (kind, entry), number = next(iter(record.files.items())), len(files[next(iter(record.files))])
        name = f"{kind}/part-{number:05d}-{entry.sha256[:8]}.parquet"
        files[kind].append(entry.model_copy(update={"name": name}))
        links[name] = entry.name
        if (
            kind != "quarantine"
        ):  # quarantined rows are counted among the rejected, where they stand without their bytes
            ledger = ledger + record.ledger
    corpus = CorpusManifest(
        name=plan.manifest.name,
        files={kind: tuple(entries) for kind, entries in files.items()},
        ledger=ledger.close(where=f"run {plan.run_id}: published against read"),
        stages=tuple(dict(identity) for identity in stage_identities(plan.manifest.stages)),
        harvest=plan.manifest.harvest.model_dump(mode="json") if plan.manifest.harvest else None,
        code=plan.code,
    )
    return corpus, links


@contextmanager
def only_driver(place: Place) -> Iterator[None]:
    """One driver per output folder. The lock is the kernel's: it is gone when its owner is, however it died.

    On object storage there is no lock; names are content identities there, so two drivers of the same manifest only do
    the same work twice.
    """
    store = place.open()
    if not isinstance(store, LocalStore):
        yield
        return
    work = Path(store.root) / ".work"
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "lock")
    try:
        lock.acquire(timeout=LOCK_PATIENCE_S)
    except Timeout:
        raise RunError(
            "another run is writing to this output",
            where=store.root,
            fix="wait for it, or give this one another output.path",
        ) from None
    try:
        # left by workers that were killed; nobody else writes here while we hold the lock
        for folder in (work, Path(store.root) / "index" / ".work"):
            shutil.rmtree(folder / "staging", ignore_errors=True)
        yield
    finally:
        lock.release()
