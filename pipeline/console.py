"""Everything that is printed. Progress goes to stderr (bars on a terminal, plain lines elsewhere), results to stdout.

Text that comes from a crawl is printed without control characters and never interpreted as markup.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from corpus.commit import PUBLISHED, TaskRecord
from corpus.errors import CorpusError
from corpus.ledger import Ledger
from pipeline.run import RunResult
from pipeline.scheduler import Watcher

PLAIN_EVERY_S = 10.0

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def safe(value: object, limit: int = 2000) -> Text:
    """Untrusted text as something a terminal may be shown: printable characters only, no markup, cut to ``limit``."""
    text = str(value)
    shown = "".join(ch if ch.isprintable() or ch == "\n" else "�" for ch in text[:limit])
    return Text(shown + (" ..." if len(text) > limit else ""))


def print_error(error: CorpusError) -> None:
    """One readable paragraph: what, where, fix."""
    err.print(Text("error: ", style="bold red") + safe(str(error), limit=20_000))


class Seconds:
    """Watcher that adds up the seconds of every stage: the time shares of a run."""

    def __init__(self) -> None:
        self.by_stage: dict[str, float] = {}
        self.resumed = 0

    def run_started(self, run_id: str, units: int, executor: str) -> None: ...
    def phase_started(self, phase: str, total: int) -> None: ...
    def trouble(self, phase: str, label: str, message: str) -> None: ...
    def phase_finished(self, phase: str) -> None: ...

    def task_done(self, phase: str, record: TaskRecord, seconds: dict[str, float], *, resumed: bool) -> None:
        self.resumed += resumed
        rest = seconds.get("total", 0.0)
        for stage, used in seconds.items():
            if stage != "total":
                self.by_stage[stage] = self.by_stage.get(stage, 0.0) + used
                rest -= used
        # what no stage accounts for: reading in a map phase, moving files in the others
        name = "read and write" if record.ledger.read.documents else phase
        self.by_stage[name] = self.by_stage.get(name, 0.0) + rest


class PlainProgress:
    """Watcher for pipes and logs: a line when a phase starts and ends, and every ten seconds in between."""

    def __init__(self) -> None:
        self._total, self._done, self._documents, self._began, self._said = 0, 0, 0, 0.0, 0.0

    def run_started(self, run_id: str, units: int, executor: str) -> None:
        err.print(safe(f"run {run_id}: {units} units; {executor}"))

    def phase_started(self, phase: str, total: int) -> None:
        self._total, self._done, self._documents = total, 0, 0
        self._began = self._said = time.monotonic()

    def task_done(self, phase: str, record: TaskRecord, seconds: dict[str, float], *, resumed: bool) -> None:
        self._done += 1
        self._documents += record.ledger.read.documents
        if self._done < self._total and time.monotonic() - self._said > PLAIN_EVERY_S:
            self._said = time.monotonic()
            self._say(phase)

    def trouble(self, phase: str, label: str, message: str) -> None:
        err.print(safe(f"  {phase}: {label}: {message}"))

    def phase_finished(self, phase: str) -> None:
        self._say(phase)

    def _say(self, phase: str) -> None:
        took = time.monotonic() - self._began
        documents = (
            f", {self._documents} documents, {self._documents / max(took, 1e-9):.0f}/s" if self._documents else ""
        )
        err.print(safe(f"  {phase}: {self._done}/{self._total} tasks in {took:.1f} s{documents}"))


class BarProgress:
    """Watcher for terminals: one bar per phase, with documents and their rate."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=err,
        )
        self._task: TaskID | None = None
        self._documents, self._began = 0, 0.0

    def run_started(self, run_id: str, units: int, executor: str) -> None:
        err.print(safe(f"run {run_id}: {units} units; {executor}"))
        self._progress.start()

    def phase_started(self, phase: str, total: int) -> None:
        self._documents, self._began = 0, time.monotonic()
        self._task = self._progress.add_task(phase, total=total, note="")

    def task_done(self, phase: str, record: TaskRecord, seconds: dict[str, float], *, resumed: bool) -> None:
        self._documents += record.ledger.read.documents
        rate = self._documents / max(time.monotonic() - self._began, 1e-9)
        note = f"{self._documents} documents, {rate:.0f}/s" if self._documents else ""
        if self._task is not None:
            self._progress.update(self._task, advance=1, note=note)

    def trouble(self, phase: str, label: str, message: str) -> None:
        self._progress.print(safe(f"{phase}: {label}: {message}"))

    def phase_finished(self, phase: str) -> None: ...

    def close(self) -> None:
        """Give the terminal back."""
        self._progress.stop()


class Watchers:
    """Several watchers as one."""

    def __init__(self, *watchers: Watcher) -> None:
        self._all = watchers

    def run_started(self, run_id: str, units: int, executor: str) -> None:
        for watcher in self._all:
            watcher.run_started(run_id, units, executor)

    def phase_started(self, phase: str, total: int) -> None:
        for watcher in self._all:
            watcher.phase_started(phase, total)

    def task_done(self, phase: str, record: TaskRecord, seconds: dict[str, float], *, resumed: bool) -> None:
        for watcher in self._all:
            watcher.task_done(phase, record, seconds, resumed=resumed)

    def trouble(self, phase: str, label: str, message: str) -> None:
        for watcher in self._all:
            watcher.trouble(phase, label, message)

    def phase_finished(self, phase: str) -> None:
        for watcher in self._all:
            watcher.phase_finished(phase)


def print_result(result: RunResult, seconds: Seconds) -> None:
    """The summary of a finished run."""
    out.print(ledger_table(result.ledger))
    if seconds.by_stage:
        out.print(_time_table(seconds.by_stage))
    kept = result.ledger.kept.documents
    out.print(f"{kept} documents kept of {result.ledger.read.documents} records read; the ledger closes.")
    for kind, entries in result.manifest.files.items():
        size = sum(entry.bytes for entry in entries) / 1e6
        files = f"{kind}/*.parquet" if kind in PUBLISHED or len(entries) != 1 else entries[0].name
        count = f"{len(entries)} shards, " if files.endswith("*.parquet") else ""
        out.print(safe(f"  {kind:<11} {result.output}/{files}  ({count}{size:.1f} MB)"))
    out.print(f"  digest      {result.digest}")
    resumed = f" ({seconds.resumed} tasks were already done)" if seconds.resumed else ""
    out.print(f"  {result.seconds:.1f} s{resumed}")


def ledger_table(ledger: Ledger) -> Table:
    """The account as a table: outcome, reason, documents, share of what was read."""
    table = Table(box=None, pad_edge=False)
    for heading, side in (("outcome", "left"), ("reason", "left"), ("documents", "right"), ("share", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    read = max(ledger.read.documents, 1)
    rows: list[tuple[str, str, int]] = [("read", "", ledger.read.documents), ("kept", "", ledger.kept.documents)]
    for outcome, group in (
        ("rejected", ledger.rejected),
        ("duplicate", ledger.duplicates),
        ("quarantined", ledger.quarantined),
    ):
        ordered = sorted(group.items(), key=lambda item: -item[1].documents)
        rows += [(outcome, reason, found.documents) for reason, found in ordered]
    for outcome, reason, documents in rows:
        table.add_row(outcome, safe(reason), str(documents), f"{documents / read:.2%}")
    return table


def _time_table(by_stage: dict[str, float]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column("worker seconds", justify="right")
    table.add_column("share", justify="right")
    total = max(sum(by_stage.values()), 1e-9)
    for stage, used in sorted(by_stage.items(), key=lambda item: -item[1]):
        table.add_row(safe(stage), f"{used:.2f}", f"{used / total:.1%}")
    return table


def print_rows(rows: Sequence[tuple[str, Any]]) -> None:
    """Name and value pairs, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(safe(name), safe("" if value is None else value))
    out.print(table)


def is_terminal() -> bool:
    """Whether progress bars make sense."""
    return sys.stderr.isatty()
