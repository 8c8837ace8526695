"""All steps in one process and in memory: for tests, benchmarks and small collections. It shows how they compose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.dedup.config import Dedup
from stages.dedup.steps import (
    BAND_SCHEMA,
    VERDICT_SCHEMA,
    band_rows,
    candidate_components,
    candidate_edges,
    partition_of,
    routed_rows,
    routed_schema,
    verify,
)

_ROW_BITS = 32


def deduplicate(tables: Sequence[pa.Table], config: Dedup, *, partitions: int = 1) -> pa.Table:
    """Verdicts about the rows of ``tables`` (one per unit; columns ``id, crawl, date, content``).

    Returns ``VERDICT_SCHEMA`` for every document that has a candidate, by ascending ``doc`` = unit << 32 | row. A
    document that does not occur resembles no other one. The result is the same for any number of ``partitions``.
    """
    units = [_numbered(table, unit) for unit, table in enumerate(tables)]
    bands = pa.concat_tables([BAND_SCHEMA.empty_table(), *(band_rows(unit, config) for unit in units)])
    edges = (candidate_edges(bands.filter(pc.equal(bands.column("band"), band))) for band in range(config.bands + 1))
    components = candidate_components(edges)
    routed = [routed_schema(config).empty_table()]
    for unit in units:
        at = pc.index_in(unit.column("doc"), components.column("doc").combine_chunks())
        involved = unit.append_column("component", components.column("component").take(at))
        routed.append(routed_rows(involved.filter(pc.is_valid(at)), config))
    rows = pa.concat_tables(routed)
    target = partition_of(rows.column("component").to_numpy(), partitions)
    verdicts = [verify(rows.filter(pa.array(target == number)), config) for number in range(partitions)]
    return pa.concat_tables([VERDICT_SCHEMA.empty_table(), *verdicts]).sort_by("doc")


def _numbered(table: pa.Table, unit: int) -> pa.Table:
    docs = np.arange(table.num_rows, dtype=np.uint64) | np.uint64(unit << _ROW_BITS)
    return table.select(["id", "crawl", "date", "content"]).append_column("doc", pa.array(docs))
