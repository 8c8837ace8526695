"""From band keys to groups of documents that may repeat each other: buckets, edges, candidate components.

Documents with an equal key in a band form a bucket. Each bucket becomes a star: its members are linked to the first
one, so that the edges are fewer than the documents however large a bucket is. The components of these edges say only
which documents must meet in one place to be compared; ``verification`` decides whether any of them is a duplicate.

Costs: ``candidate_edges`` sorts its table in memory; ``merged_edges`` gives the same edges from sorted runs and holds
one block of each; ``candidate_components`` holds 32 to 56 bytes per document that occurs in an edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

EDGE_SCHEMA = pa.schema([("a", pa.uint64()), ("b", pa.uint64())])
COMPONENT_SCHEMA = pa.schema([("doc", pa.uint64()), ("component", pa.uint64())])

Keys = NDArray[np.uint64]


def candidate_edges(band_table: pa.Table) -> pa.Table:
    """Stars over the buckets of ``band_table`` (columns ``band``, ``key``, ``doc``; any order, one band or more).

    Returns ``a`` (smallest document of the bucket) and ``b`` (another one), sorted, without repeats.
    """
    found = [
        _stars(_column(part, "key"), _column(part, "doc"))
        for part in (
            band_table.filter(pc.equal(band_table.column("band"), band))
            for band in pc.unique(band_table.column("band"))
        )
    ]
    return _edge_table(found)


def merged_edges(runs: Sequence[Iterable[pa.Table]]) -> Iterator[pa.Table]:
    """The same edges from one band's runs (an iterable of tables per unit), each sorted by ``(key, doc)``.

    In every round the rows up to the smallest of the last keys in memory are complete but for that key itself, whose
    first document is known by then and carried on: memory is one block per run, even for a bucket larger than that.
    """
    heads = [head for head in map(_Run, runs) if head.fill()]
    carried: tuple[np.uint64, np.uint64] | None = None
    while heads:
        cut = min(head.key[-1] for head in heads)
        taken = [head.take(cut) for head in heads]
        key, doc = (np.concatenate(part) for part in zip(*taken, strict=True))
        if carried is not None:
            key, doc = np.append(key, carried[0]), np.append(doc, carried[1])
        carried = (cut, doc[key == cut].min())
        yield _edge_table([_stars(key, doc)])
        heads = [head for head in heads if head.fill()]


class _Run:
    """One sorted run: the part of it that is in memory."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables = iter(tables)
        self.key: Keys = np.empty(0, np.uint64)
        self.doc: Keys = np.empty(0, np.uint64)

    def fill(self) -> bool:
        """Have at least one row in memory; False at the end of the run."""
        while not len(self.key):
            table = next(self._tables, None)
            if table is None:
                return False
            self.key, self.doc = _column(table, "key"), _column(table, "doc")
        return True

    def take(self, cut: np.uint64) -> tuple[Keys, Keys]:
        """Remove and return the rows with keys up to ``cut``."""
        end = int(np.searchsorted(self.key, cut, side="right"))
        taken = self.key[:end], self.doc[:end]
        self.key, self.doc = self.key[end:], self.doc[end:]
        return taken


def _stars(key: Keys, doc: Keys) -> tuple[Keys, Keys]:
    if not len(key):
        return doc, doc
    order = np.argsort(key)
    key, doc = key[order], doc[order]
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    first = np.repeat(np.minimum.reduceat(doc, starts), np.diff(np.append(starts, len(key))))
    others = doc != first
    return first[others], doc[others]


def _edge_table(stars: Sequence[tuple[Keys, Keys]]) -> pa.Table:
    if not stars:
        return EDGE_SCHEMA.empty_table()
    a, b = (np.concatenate(part) for part in zip(*stars, strict=True))
    order = np.lexsort((b, a))
    a, b = a[order], b[order]
    fresh = np.concatenate([[True], (a[1:] != a[:-1]) | (b[1:] != b[:-1])])[: len(a)]
    return pa.table([a[fresh], b[fresh]], schema=EDGE_SCHEMA)


def candidate_components(edges: Iterable[pa.Table]) -> pa.Table:
    """Connected components over all edges: ``doc`` (ascending) and ``component``, its smallest document."""
    from stages.dedup.forest import Forest

    forest = Forest()
    for table in edges:
        forest.add(_column(table, "a"), _column(table, "b"))
    docs, components = forest.components()
    return pa.table([docs, components], schema=COMPONENT_SCHEMA)


def _column(table: pa.Table, name: str) -> Keys:
    values: Keys = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return values
