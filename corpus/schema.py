"""What a document is while it travels, and how a stage gives it a verdict.

Documents travel as ``pyarrow.Table`` batches. A batch always carries ``TRAVEL`` columns; stages add to them:
numbers about a document go into the struct column ``signals`` (``add_signals``), everything else becomes a
top-level column. A stage never drops a row: it writes a *verdict* (``give_verdict``) and the engine splits the row
off, counts it, and keeps it under ``rejected/`` with its reason.

Three outcomes besides being kept:

    rejected      a named, versioned rule turned the document down       e.g. ``gopher/word_count@1``
    duplicate     another document stands for it                         ``duplicate/near``, ``duplicate/exact``
    quarantined   the document could not be processed at all             ``quarantine/<cause>``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Outcome = Literal["rejected", "duplicate", "quarantined"]

IDENTITY: tuple[tuple[str, pa.DataType], ...] = (
    ("id", pa.string()),  # globally unique and deterministic: 32 hex digits, see stages.read
    ("url", pa.large_string()),  # as recorded; null where the source has none
    ("crawl", pa.string()),  # e.g. CC-MAIN-2024-10; larger sorts as newer
    ("date", pa.string()),  # fetch date, ISO-8601 UTC, e.g. 2018-06-18T18:54:52Z; null where unknown
    ("warc_path", pa.string()),  # the file the document came from, whatever its format
    ("warc_offset", pa.int64()),  # byte (WARC, ARC, JSONL) or row (Parquet) where it starts
    ("warc_length", pa.int64()),  # bytes (or rows) it takes there
    ("source_bytes", pa.int64()),  # payload bytes as read; never changes afterwards: the ledger's byte measure
)
"""Who a document is and where it can be fetched again. Set once by the reader."""

VERDICT: tuple[tuple[str, pa.DataType], ...] = (
    ("outcome", pa.string()),  # null while the document is alive
    ("reason", pa.string()),
    ("detail", pa.large_string()),  # free text for people: the value that failed, the error that was caught
)

PAYLOAD: tuple[tuple[str, pa.DataType], ...] = (
    ("http_content_type", pa.string()),  # the HTTP Content-Type header, charset included; null where there is none
    ("truncated", pa.string()),  # WARC-Truncated as recorded: length, time, disconnect ...; null when whole
    ("html", pa.large_binary()),  # HTTP body after transfer and content decoding; null for text sources
    ("content", pa.large_string()),  # the text; null until extracted
)

TRAVEL = pa.schema([*IDENTITY, *VERDICT, *PAYLOAD])
"""Schema of the batches that a reader yields."""


def alive(batch: pa.Table) -> NDArray[np.bool_]:
    """Mask of the rows without a verdict."""
    return np.asarray(pc.is_null(batch.column("outcome")).to_numpy(), dtype=np.bool_)


def give_verdict(
    batch: pa.Table,
    mask: NDArray[np.bool_],
    reason: str | Sequence[str | None],
    *,
    outcome: Outcome = "rejected",
    detail: Sequence[str | None] | None = None,
) -> pa.Table:
    """Give the rows where ``mask`` is true a verdict; rows that already have one keep it.

    ``reason`` and ``detail`` may be given per row (lists as long as the batch). Returns a new table.
    """
    hit = mask & alive(batch)
    if not hit.any():
        return batch
    chosen = pa.array(hit)
    reasons = pa.array([reason] * len(hit) if isinstance(reason, str) else reason, pa.string())
    batch = _overwrite(batch, "outcome", chosen, pa.array([outcome] * len(hit), pa.string()))
    batch = _overwrite(batch, "reason", chosen, reasons)
    if detail is not None:
        batch = _overwrite(batch, "detail", chosen, pa.array(detail, pa.large_string()))
    return batch


def _overwrite(batch: pa.Table, name: str, mask: pa.Array, values: pa.Array) -> pa.Table:
    return set_column(batch, name, pc.if_else(mask, values, batch.column(name)))


def set_column(batch: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Replace column ``name``, or append it."""
    at = batch.schema.get_field_index(name)
    return batch.append_column(name, values) if at < 0 else batch.set_column(at, name, values)


def add_signals(batch: pa.Table, signals: Mapping[str, pa.Array | NDArray[np.generic]]) -> pa.Table:
    """Add (or replace) fields of the struct column ``signals``. Values are arrays as long as the batch."""
    fields: dict[str, pa.Array] = {}
    if "signals" in batch.column_names:
        column = batch.column("signals").combine_chunks()
        for field in column.type:
            fields[field.name] = pc.struct_field(column, field.name)
    fields.update({name: pa.array(values) for name, values in signals.items()})
    struct = pa.StructArray.from_arrays(list(fields.values()), names=list(fields))
    return set_column(batch, "signals", struct)


def signal(batch: pa.Table, name: str) -> pa.Array:
    """One field of ``signals`` as an Arrow array."""
    return pc.struct_field(batch.column("signals").combine_chunks(), name)
