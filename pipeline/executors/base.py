"""What the engine asks of an executor: take tasks, hand back outcomes one by one, say when a worker died."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol

from corpus.ledger import Ledger
from pipeline.task import Place, Report, Task


@dataclass(frozen=True)
class Failure:
    """Why a task has no report. ``died``: its process is gone (signal, memory, node); ``error``: it raised."""

    kind: Literal["died", "error"]
    message: str
    error: BaseException | None = None


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt: exactly one of ``report`` and ``failure`` is set."""

    task: Task
    report: Report | None = None
    failure: Failure | None = None


class Executor(Protocol):
    """Runs tasks in worker processes. Use as a context manager; ``submit`` never blocks, ``next_outcome`` does."""

    slots: int

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, task: Task, place: Place) -> None: ...

    def next_outcome(self) -> Outcome: ...

    def describe(self) -> str:
        """One line for people: what runs where."""

    def observe(self, phase: str, ledger: Ledger) -> None:
        """Export the ledger of a finished unit as metrics, where the executor has somewhere to send them."""
