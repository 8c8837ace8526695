"""Runs the tasks of a phase: skips what is finished, bounds what is in flight, retries, and hunts killers.

A task that raises fails the run at once, with the stage's own words: errors in data never get this far (they are
quarantined in the worker), so this is a defect or a full disk. A task whose *worker dies* is tried ``max_attempts``
times; then, if it maps over documents, the unit is bisected with probes until the one document that kills the worker is
found, which is quarantined, and the unit is done again without it. Log2(documents) probes per killer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from corpus.commit import TaskRecord, finished_task
from corpus.errors import CorpusError, RunError
from corpus.failpoints import failpoint
from corpus.ledger import Ledger
from corpus.storage import Store
from pipeline.executors.base import Executor, Failure, Outcome
from pipeline.segment import count_rows
from pipeline.task import Place, RowRange, Search, Task, recorded_seconds

IN_FLIGHT_PER_SLOT = 3


class Watcher(Protocol):
    """Gets told what happens; the console and the status file are watchers."""

    def run_started(self, run_id: str, units: int, executor: str) -> None: ...
    def phase_started(self, phase: str, total: int) -> None: ...
    def task_done(self, phase: str, record: TaskRecord, seconds: dict[str, float], *, resumed: bool) -> None: ...
    def trouble(self, phase: str, label: str, message: str) -> None: ...
    def phase_finished(self, phase: str) -> None: ...


@dataclass
class Scheduler:
    """Runs phases on one executor."""

    executor: Executor
    place: Place
    watcher: Watcher
    max_attempts: int = 3
    max_quarantined_share: float = 0.1

    def run_phase(self, phase: str, tasks: Iterable[Task]) -> list[TaskRecord]:
        """Run all tasks; returns their records in the order of ``tasks``."""
        wanted = list(tasks)
        self.watcher.phase_started(phase, len(wanted))
        store, records = self.place.open(), dict[str, TaskRecord]()
        waiting: deque[Task] = deque()
        for task in wanted:
            record = finished_task(store, task.phase, task.key)
            if record is None:
                waiting.append(task)
            else:
                self._finished(records, record, recorded_seconds(store, record), resumed=True)
        self._drain(waiting, records, store)
        self.watcher.phase_finished(phase)
        return [records[task.key] for task in wanted]

    def _drain(self, waiting: deque[Task], records: dict[str, TaskRecord], store: Store) -> None:
        deaths: dict[str, int] = {}
        in_flight = 0
        while waiting or in_flight:
            while waiting and in_flight < self.executor.slots * IN_FLIGHT_PER_SLOT:
                self.executor.submit(waiting.popleft(), self.place)
                in_flight += 1
            outcome = self.executor.next_outcome()
            in_flight -= 1
            if outcome.report is not None and outcome.report.record is not None:
                self._finished(records, outcome.report.record, outcome.report.seconds, resumed=False)
            else:
                retry = self._after_failure(outcome, deaths)
                if retry is None:
                    # the search needs the executor to itself: let what is in flight come home first
                    while in_flight:
                        self._settle(self.executor.next_outcome(), records, waiting)
                        in_flight -= 1
                    retry = self._without_killers(outcome.task)
                    deaths.pop(retry.key, None)
                waiting.append(retry)

    def _settle(self, outcome: Outcome, records: dict[str, TaskRecord], waiting: deque[Task]) -> None:
        if outcome.report is not None and outcome.report.record is not None:
            self._finished(records, outcome.report.record, outcome.report.seconds, resumed=False)
        elif outcome.failure is not None and outcome.failure.kind == "error":
            raise _task_error(outcome.task, outcome.failure)
        else:
            waiting.append(outcome.task)

    def _finished(
        self, records: dict[str, TaskRecord], record: TaskRecord, seconds: dict[str, float], *, resumed: bool
    ) -> None:
        failpoint("driver.task_done")
        records[record.key] = record
        if record.ledger != Ledger():
            self.executor.observe(record.phase, record.ledger)
        self.watcher.task_done(record.phase, record, seconds, resumed=resumed)

    def _after_failure(self, outcome: Outcome, deaths: dict[str, int]) -> Task | None:
        """The task to try again, or None when its unit must be searched. Raises when neither can help."""
        task, failure = outcome.task, outcome.failure
        assert failure is not None
        if failure.kind == "error":
            raise _task_error(task, failure)
        deaths[task.key] = deaths.get(task.key, 0) + 1
        self.watcher.trouble(task.phase, task.label, f"{failure.message} (attempt {deaths[task.key]})")
        if deaths[task.key] < self.max_attempts:
            return task
        if not task.searchable:
            raise RunError(
                f"the worker died {deaths[task.key]} times: {failure.message}",
                where=f"{task.phase}: {task.label}",
                fix="look at the memory of the machine; fewer executor.workers leave more for each",
            )
        return None

    def _without_killers(self, task: Task) -> Task:
        """Find one more document that kills the worker and return the task that skips it."""
        total = self._probe_rows(task)
        guilty = self._bisect(task, (0, total))
        if set(guilty) & set(task.search.skip):
            raise RunError(f"row {guilty[0]} still kills the worker after it was left out", where=task.label)
        skip = (*task.search.skip, *guilty)
        if len(skip) > max(1, int(total * self.max_quarantined_share)):
            raise RunError(
                f"{len(skip)} of {total} documents kill their worker: this is not the documents' fault",
                where=f"{task.phase}: {task.label}",
                fix="look at the stage that was added last; executor.max_quarantined_share sets this limit",
            )
        if guilty:
            self.watcher.trouble(task.phase, task.label, f"row {guilty[0]} kills the worker: quarantined")
        return task.searching(Search(skip=tuple(sorted(skip))))

    def _bisect(self, task: Task, rows: RowRange) -> tuple[int, ...]:
        low, high = rows
        while high - low > 1:
            middle = (low + high) // 2
            if self._dies(task, (low, middle)):
                high = middle
            elif self._dies(task, (middle, high)):
                low = middle
            else:
                return ()  # it took both halves together, or it was the machine: try the unit again
        return (low,) if high > low and self._dies(task, (low, high)) else ()

    def _dies(self, task: Task, rows: RowRange) -> bool:
        self.executor.submit(task.searching(replace(task.search, only=rows)), self.place)
        failure = self.executor.next_outcome().failure
        if failure is not None and failure.kind == "error":
            raise _task_error(task, failure)
        return failure is not None

    def _probe_rows(self, task: Task) -> int:
        probe = replace(task, function=count_rows, search=Search(only=(0, 0)))
        self.executor.submit(probe, self.place)
        outcome = self.executor.next_outcome()
        if outcome.report is None:
            raise RunError(
                "the worker dies while it only reads the unit",
                where=f"{task.phase}: {task.label}",
                fix="the file may be damaged in a way the reader cannot survive: leave it out and report it",
            )
        return outcome.report.rows


def total_ledger(records: Sequence[TaskRecord]) -> Ledger:
    """The sum of the records' ledgers."""
    total = Ledger()
    for record in records:
        total = total + record.ledger
    return total


def _task_error(task: Task, failure: Failure) -> CorpusError:
    if isinstance(failure.error, CorpusError):
        return failure.error
    return RunError(f"a task failed: {failure.message}", where=f"{task.phase}: {task.label}")
