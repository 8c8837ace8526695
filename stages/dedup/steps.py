"""The steps of deduplication, as functions over tables. An engine moves files between them; nothing here does.

    band_rows             per batch   content                       -> band keys
    candidate_edges       per band    band keys of the whole corpus  -> edges      (``merged_edges``: from sorted runs)
    candidate_components  once        edges                          -> documents that must be compared, in components
    routed_rows           per batch   those documents                -> what verification needs to know about them
    partition_of          per row     component                      -> number of the partition that verifies it
    verify                per partition                              -> verdicts

A document is a number, ``unit << 32 | row``. It names rows and decides nothing: which of two duplicates stays is a
matter of their content, so that units, batches and partitions can be cut anywhere without a change in the result.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.dedup.candidates import candidate_components, candidate_edges, merged_edges
from stages.dedup.config import Dedup
from stages.dedup.signatures import band_keys, content_hash, has_words, shingle_hashes, signatures
from stages.dedup.verification import VERDICT_SCHEMA, verify

__all__ = [
    "BAND_SCHEMA",
    "VERDICT_SCHEMA",
    "band_rows",
    "candidate_components",
    "candidate_edges",
    "merged_edges",
    "partition_of",
    "routed_rows",
    "routed_schema",
    "verify",
]

BAND_SCHEMA = pa.schema([("band", pa.uint8()), ("key", pa.uint64()), ("doc", pa.uint64())])
"""Band ``config.bands``, one past the last, holds content hashes: exact copies meet there."""


def band_rows(table: pa.Table, config: Dedup) -> pa.Table:
    """Band keys of the rows of ``table`` (columns ``content`` and ``doc``), sorted by band, key, document.

    A text without words has no key in the near-duplicate bands: nothing resembles it, though it may have exact copies.
    A null content has no keys at all.
    """
    present = table.filter(pc.is_valid(table.column("content")))
    content, doc = present.column("content"), _numbers(present, "doc")
    parts: list[tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]] = []
    if config.near and present.num_rows:
        found = signatures(content, config)
        able = has_words(found)
        keys = band_keys(found[able], config)
        bands = np.broadcast_to(np.arange(config.bands, dtype=np.uint8), keys.shape)
        parts.append((bands.ravel(), keys.ravel(), np.repeat(doc[able], config.bands)))
    if config.exact and present.num_rows:
        parts.append((np.full(len(doc), config.bands, np.uint8), content_hash(content)[:, 1], doc))
    if not parts:
        return BAND_SCHEMA.empty_table()
    band, key, doc = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((doc, key, band))
    return pa.table([band[order], key[order], doc[order]], schema=BAND_SCHEMA)


def routed_schema(config: Dedup) -> pa.Schema:
    """What verification gets to know about a document."""
    return pa.schema(
        [
            ("component", pa.uint64()),
            ("doc", pa.uint64()),
            ("id", pa.string()),
            ("crawl", pa.string()),
            ("date", pa.string()),
            ("length", pa.int64()),  # UTF-8 bytes of the content
            ("content_hash", pa.list_(pa.uint64(), 2)),
            ("bands", pa.list_(pa.uint64(), config.bands)),
            ("shingles", pa.large_list(pa.uint64())),  # ascending, unique; empty where there are no words
        ]
    )


def routed_rows(table: pa.Table, config: Dedup) -> pa.Table:
    """What ``verify`` needs about the rows of ``table``: ``doc, id, crawl, date, content, component``, in their order.

    About 8 bytes per distinct shingle, so as much as the text takes.
    """
    content = table.column("content")
    keys = np.zeros((table.num_rows, config.bands), np.uint64)
    offsets, values = np.zeros(table.num_rows + 1, np.int64), np.empty(0, np.uint64)
    if config.near and table.num_rows:
        keys = band_keys(signatures(content, config), config)
        offsets, values = shingle_hashes(content, config)
    columns = [
        *(table.column(name) for name in ("component", "doc", "id", "crawl", "date")),
        pc.fill_null(pc.binary_length(content.cast(pa.large_string())), 0),
        pa.FixedSizeListArray.from_arrays(pa.array(content_hash(content).ravel()), 2),
        pa.FixedSizeListArray.from_arrays(pa.array(keys.ravel()), config.bands),
        pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values)),
    ]
    schema = routed_schema(config)
    return pa.table([column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema)


def partition_of(component: NDArray[np.uint64], partitions: int) -> NDArray[np.int64]:
    """The partition that each component is verified in, 0 to ``partitions - 1``: splitmix64 spreads them evenly."""
    value = component.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((value ^ (value >> np.uint64(31))) % np.uint64(partitions)).astype(np.int64)


def _numbers(table: pa.Table, name: str) -> NDArray[np.uint64]:
    values: NDArray[np.uint64] = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return values
