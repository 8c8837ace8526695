"""What a unit of work is to the engine, and how it is done inside a worker.

A ``Task`` knows its phase, a readable label, and a key made of everything its result depends on. ``execute`` runs in a
worker process (a plain process or a Ray worker: the same function), writes to a private staging folder, publishes under
``.work/<phase>/<key>/`` and commits a record. Doing a task twice, even at the same time, is harmless.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corpus.commit import TaskRecord, canonical_json, commit_task, task_folder
from corpus.ledger import Ledger
from corpus.storage import FileEntry, Store, open_store, publish_file, staging_folder

RowRange = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """Where a run keeps its files; enough for a worker on any machine to open the store."""

    root: str
    options: dict[str, Any] = field(default_factory=dict)

    def open(self) -> Store:
        return open_store(self.root, self.options)


@dataclass(frozen=True)
class Search:
    """Which documents of a unit to touch: the means to find the one that kills its worker.

    ``only`` limits the work to a range of row numbers and throws the result away; ``skip`` sends rows to quarantine
    unprocessed.
    """

    only: RowRange | None = None
    skip: tuple[int, ...] = ()


@dataclass(frozen=True)
class Written:
    """A file that a task wrote into its staging folder."""

    path: Path
    rows: int


@dataclass(frozen=True)
class Result:
    """What a task function returns: its files by role, its closed ledger, small facts, and seconds by stage."""

    files: dict[str, Written] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a task function is given besides its payload."""

    store: Store
    staging: Path
    search: Search


@dataclass(frozen=True)
class Task:
    """One unit of work. ``payload`` and ``function`` must be picklable; the function is a module-level one."""

    phase: str
    label: str
    key: str
    function: Callable[[Any, Context], Result]
    payload: Any
    searchable: bool = False
    search: Search = Search()
    affinity: str = ""
    """Tasks of one affinity go to the same long-lived worker, where the executor has such: it keeps things open."""
    gpus: float = 0
    """GPUs that the task holds, where the executor gives them out."""

    def searching(self, search: Search) -> Task:
        """The same task restricted to ``search``."""
        return replace(self, search=search)


@dataclass(frozen=True)
class Report:
    """What comes back from a worker: the committed record (None for a probe) and how long things took."""

    record: TaskRecord | None
    seconds: dict[str, float]
    rows: int


def task_key(*parts: object) -> str:
    """32 hex digits that identify work by content: ``parts`` must be JSON-serialisable."""
    return hashlib.sha256(canonical_json(list(parts))).hexdigest()[:32]


def execute(task: Task, place: Place) -> Report:
    """Do a task in this process and commit it. With ``search.only`` set it is a probe: nothing is kept."""
    began = time.perf_counter()
    store = place.open()
    with staging_folder(store) as staging:
        result = task.function(task.payload, Context(store, staging, task.search))
        seconds = {**result.seconds, "total": time.perf_counter() - began}
        if task.search.only is not None:
            return Report(None, seconds, result.ledger.read.documents)
        record = _commit(task, store, result, seconds)
    return Report(record, seconds, result.ledger.read.documents)


def _commit(task: Task, store: Store, result: Result, seconds: dict[str, float]) -> TaskRecord:
    folder = task_folder(task.phase, task.key)
    files: dict[str, FileEntry] = {}
    for role, written in sorted(result.files.items()):
        name = f"{folder}/{written.path.name}"
        files[role] = publish_file(store, written.path, name, rows=written.rows)
    # times differ from run to run, so they stay out of the record; a resumed run can still report them
    store.swap(f"{folder}/seconds.json", json.dumps(seconds).encode())
    record = TaskRecord(
        phase=task.phase, key=task.key, label=task.label, files=files, ledger=result.ledger, facts=result.facts
    )
    return commit_task(store, record)


def recorded_seconds(store: Store, record: TaskRecord) -> dict[str, float]:
    """Seconds by stage of a task finished earlier; empty when they were not kept."""
    name = f"{task_folder(record.phase, record.key)}/seconds.json"
    if not store.exists(name):
        return {}
    try:
        return {str(stage): float(value) for stage, value in json.loads(store.read(name)).items()}
    except (ValueError, TypeError, AttributeError):
        return {}  # damaged: it only informs
