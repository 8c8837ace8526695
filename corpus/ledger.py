"""The conservation law: what was read is kept, rejected, a duplicate, or quarantined. Nothing else can happen.

    read = kept + rejected(by rule) + duplicates(by kind) + quarantined(by cause)

holds in documents and in bytes (``source_bytes``, the payload as read, which never changes on the way). Every unit of
work closes its own ledger before it commits, and the run closes the sum over what is *published* against what was
*read*: two numbers that come from different files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from corpus.errors import LedgerError


class Count(NamedTuple):
    """Documents and their payload bytes."""

    documents: int = 0
    bytes: int = 0

    def plus(self, other: Count) -> Count:
        return Count(self.documents + other.documents, self.bytes + other.bytes)


class Ledger(BaseModel):
    """An immutable account of documents. Add ledgers with ``+``; check them with ``close``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    read: Count = Count()
    kept: Count = Count()
    rejected: dict[str, Count] = {}
    duplicates: dict[str, Count] = {}
    quarantined: dict[str, Count] = {}

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(
            read=self.read.plus(other.read),
            kept=self.kept.plus(other.kept),
            rejected=_merged(self.rejected, other.rejected),
            duplicates=_merged(self.duplicates, other.duplicates),
            quarantined=_merged(self.quarantined, other.quarantined),
        )

    @property
    def out(self) -> Count:
        """Everything accounted for: kept, rejected, duplicates and quarantined together."""
        total = self.kept
        for group in (self.rejected, self.duplicates, self.quarantined):
            for count in group.values():
                total = total.plus(count)
        return total

    def close(self, where: str) -> Ledger:
        """Return the ledger itself if the law holds; raise ``LedgerError`` otherwise."""
        if self.read != self.out:
            raise LedgerError(
                f"the ledger does not close: read {self.read.documents} documents ({self.read.bytes} bytes), accounted "
                f"for {self.out.documents} ({self.out.bytes} bytes)",
                where=where,
                fix="this is a defect of a stage or of the engine; the run has not been published",
            )
        return self

    def summary(self) -> dict[str, object]:
        """Documents only, as printed by ``pipeline run --json``."""
        return {
            "read": self.read.documents,
            "kept": self.kept.documents,
            "rejected": {rule: count.documents for rule, count in self.rejected.items()},
            "duplicates": sum(count.documents for count in self.duplicates.values()),
            "quarantined": {cause: count.documents for cause, count in self.quarantined.items()},
        }


def count(table: pa.Table) -> Count:
    """Rows of a table and the sum of their ``source_bytes``."""
    return Count(table.num_rows, int(pc.sum(table.column("source_bytes")).as_py() or 0))


def tally(read: Count, tables: Iterable[pa.Table]) -> Ledger:
    """Count the rows of ``tables`` by outcome and reason, against ``read``. Does not close: call ``close``."""
    groups: dict[str, dict[str, Count]] = {"rejected": {}, "duplicate": {}, "quarantined": {}}
    kept = Count()
    for table in tables:
        if table.num_rows == 0:
            continue
        columns = table.select(["outcome", "reason", "source_bytes"])
        grouped = columns.group_by(["outcome", "reason"]).aggregate([("source_bytes", "sum"), ([], "count_all")])
        for row in grouped.to_pylist():
            found = Count(row["count_all"], row["source_bytes_sum"] or 0)
            if row["outcome"] is None:
                kept = kept.plus(found)
            else:
                group, name = (
                    groups[row["outcome"]],
                    row["reason"].removeprefix("quarantine/").removeprefix("duplicate/"),
                )
                group[name] = group.get(name, Count()).plus(found)
    return Ledger(
        read=read,
        kept=kept,
        rejected=_sorted(groups["rejected"]),
        duplicates=_sorted(groups["duplicate"]),
        quarantined=_sorted(groups["quarantined"]),
    )


def _merged(left: Mapping[str, Count], right: Mapping[str, Count]) -> dict[str, Count]:
    names = sorted({*left, *right})
    return {name: left.get(name, Count()).plus(right.get(name, Count())) for name in names}


def _sorted(group: Mapping[str, Count]) -> dict[str, Count]:
    return {name: group[name] for name in sorted(group)}
