"""What a harvest says of a document: which queries found it, for which domain, and whether it is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.schema import add_signals, give_verdict, set_column
from retrieval.fusion import BELOW_FLOOR, NOT_RETRIEVED, OVER_CAP
from retrieval.queries import Query

MOST_QUERIES: Final = 20
"""Queries of a document that are written down, best first; ``signals.harvest_queries`` counts them all."""

HIT: Final = pa.struct(
    [
        ("id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("lexical_rank", pa.int32()),
        ("lexical_score", pa.float32()),
        ("lexical_share", pa.float32()),
        ("dense_rank", pa.int32()),
        ("dense_score", pa.float32()),
    ]
)
COLUMNS: Final[Mapping[str, pa.DataType]] = {
    "domain": pa.string(),
    "queries": pa.list_(HIT),
    "signals.harvest_queries": pa.int32(),
    "signals.harvest_score": pa.float32(),
    "signals.harvest_lexical": pa.float32(),
    "signals.harvest_dense": pa.float32(),
}
"""Columns that a harvest adds to documents."""


class Harvested(NamedTuple):
    """What is known of the documents of one unit that any query found, by ascending ``rows``."""

    rows: NDArray[np.int64]
    reasons: list[str | None]
    columns: dict[str, pa.Array]


def harvest_unit(rows: NDArray[np.int64], hits: pa.Table, queries: Sequence[Query]) -> Harvested:
    """Put the hits of a unit together by document.

    ``rows[i]`` is the document of ``hits`` row ``i``, ``queries[i]`` its query. A document is taken if any query takes
    it; only hits that take it count. Its domain is the one whose queries give it the highest sum of fused scores.
    """
    score = hits.column("score").to_numpy()
    taken = np.asarray(pc.is_null(hits.column("reason")).to_numpy(zero_copy_only=False), np.bool_)
    identities = np.array([query.id for query in queries], object)
    order = np.lexsort((identities, -score, ~taken, rows)) if len(rows) else np.zeros(0, np.intp)
    documents, starts = np.unique(rows[order], return_index=True)
    ends = np.append(starts[1:], len(rows))
    reason = hits.column("reason").to_pylist()
    records = hits.select([field.name for field in HIT if field.name != "id"]).to_pylist()
    found: dict[str, list[object]] = {name: [] for name in COLUMNS}
    reasons: list[str | None] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        group = order[start:end]
        counted = [at for at in group.tolist() if taken[at]]
        reasons.append(None if counted else _why_not([reason[at] for at in group.tolist()]))
        found["domain"].append(_domain(counted, score, queries))
        found["queries"].append([{"id": queries[at].id, **records[at]} for at in counted[:MOST_QUERIES]] or None)
        found["signals.harvest_queries"].append(len(counted))
        found["signals.harvest_score"].append(max((float(score[at]) for at in group), default=None))
        for name, value in (("lexical", "lexical_share"), ("dense", "dense_score")):
            values = [records[at][value] for at in group.tolist()]
            found[f"signals.harvest_{name}"].append(max((v for v in values if v is not None), default=None))
    arrays = {name: pa.array(values, COLUMNS[name]) for name, values in found.items()}
    return Harvested(documents, reasons, arrays)


def _why_not(reasons: Sequence[str | None]) -> str:
    return OVER_CAP if OVER_CAP in reasons else BELOW_FLOOR


def _domain(hits: Sequence[int], score: NDArray[np.float32], queries: Sequence[Query]) -> str | None:
    sums: dict[str, float] = {}
    for at in hits:
        sums[queries[at].domain] = sums.get(queries[at].domain, 0.0) + float(score[at])
    return min(sums, key=lambda name: (-sums[name], name)) if sums else None


def apply_harvest(batch: pa.Table, first_row: int, found: Harvested) -> pa.Table:
    """The batch with the columns of the harvest; what no query takes is turned down, its text left to the corpus."""
    low, high = np.searchsorted(found.rows, [first_row, first_row + batch.num_rows])
    at = np.full(batch.num_rows, -1, np.int64)
    at[found.rows[low:high] - first_row] = np.arange(low, high)
    index = pa.array(at, mask=at < 0)
    told = {name: column.take(index) for name, column in found.columns.items()}
    for name in ("domain", "queries"):
        batch = set_column(batch, name, told[name])
    signals = {name.removeprefix("signals."): column for name, column in told.items() if name.startswith("signals.")}
    signals["harvest_queries"] = pc.fill_null(signals["harvest_queries"], 0)
    batch = add_signals(batch, signals)
    reasons: list[str | None] = [found.reasons[number] if number >= 0 else NOT_RETRIEVED for number in at.tolist()]
    turned_down = np.array([reason is not None for reason in reasons], np.bool_)
    content = pc.if_else(pa.array(turned_down), pa.scalar(None, pa.large_string()), batch.column("content"))
    batch = give_verdict(batch, turned_down, reasons)
    return set_column(batch, "content", content)
