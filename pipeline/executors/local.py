"""Plain processes on this machine, for tests, debugging and small jobs.

Built on pebble's process pool, which, unlike the standard one, survives the death of a worker and says which task it
was working on. Workers are spawned, never forked: a forked copy of a threaded process can deadlock.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from corpus.ledger import Ledger
from pipeline.executors.base import Failure, Outcome
from pipeline.task import Place, Task, execute


class LocalExecutor:
    """``workers`` processes (default: the cores this process may use)."""

    def __init__(self, *, workers: int | None = None) -> None:
        self.slots = workers or len(os.sched_getaffinity(0))
        self._done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._pool: ProcessPool | None = None

    def __enter__(self) -> LocalExecutor:
        self._pool = ProcessPool(max_workers=self.slots, context=multiprocessing.get_context("spawn"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._pool is not None
        self._pool.close() if kind is None else self._pool.stop()
        self._pool.join()

    def submit(self, task: Task, place: Place) -> None:
        assert self._pool is not None
        future = self._pool.schedule(execute, args=(task, place))
        future.add_done_callback(lambda done: self._done.put(_outcome(task, done)))

    def next_outcome(self) -> Outcome:
        return self._done.get()

    def describe(self) -> str:
        return f"local executor, {self.slots} processes"

    def observe(self, phase: str, ledger: Ledger) -> None:
        """No metrics without Ray."""


def _outcome(task: Task, future: Any) -> Outcome:
    try:
        return Outcome(task, report=future.result())
    except ProcessExpired as error:
        return Outcome(task, failure=Failure("died", f"the worker process ended with exit code {error.exitcode}"))
    except CancelledError as error:
        return Outcome(task, failure=Failure("error", "cancelled", error))
    except Exception as error:
        # the traceback of the worker travels as text on the exception
        return Outcome(task, failure=Failure("error", str(getattr(error, "traceback", error)), error))
