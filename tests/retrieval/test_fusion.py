"""Fusion by reciprocal rank, floors and caps."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.documents import harvest_unit
from retrieval.fusion import BELOW_FLOOR, HITS, OVER_CAP, RANKED, Search, fuse, ranking
from retrieval.queries import Query

HIT = st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 8))


def hits(rows):
    """A table of (query, doc, score) rows, each query and doc once."""
    unique = {(query, doc): score for query, doc, score in rows}
    columns = [
        [query for query, _ in unique],
        [doc for _, doc in unique],
        [0] * len(unique),
        [score / 4 for score in unique.values()],
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, HITS, strict=True)], schema=HITS)


@settings(max_examples=200, deadline=None)
@given(st.lists(HIT, max_size=30), st.lists(HIT, max_size=30), st.integers(1, 6), st.integers(1, 12))
def test_scores_are_the_sum_of_reciprocal_ranks(lexical, dense, cap, depth):
    settings = Search(per_query=cap, depth=depth)
    tables = [ranking(hits(rows), depth) for rows in (lexical, dense)]
    wanted: dict[tuple[int, int], float] = {}
    for table in tables:
        by_query: dict[int, list[tuple[float, int]]] = {}
        for row in table.to_pylist():
            by_query.setdefault(row["query"], []).append((-row["score"], row["doc"]))
        for query, found in by_query.items():
            assert len(found) <= depth
            for rank, (_, doc) in enumerate(sorted(found), 1):
                wanted[query, doc] = wanted.get((query, doc), 0) + 1 / (60 + rank)
    fused = fuse(*tables, np.full(4, 10.0), settings)
    assert fused.schema == RANKED
    rows = fused.to_pylist()
    assert {(row["query"], row["doc"]) for row in rows} == set(wanted)
    for row in rows:
        assert row["score"] == pytest.approx(wanted[row["query"], row["doc"]], rel=1e-5)
        assert (row["reason"] is None) == (row["rank"] <= cap)
        assert row["reason"] in (None, OVER_CAP)
    for query in {row["query"] for row in rows}:
        own = [row for row in rows if row["query"] == query]
        assert [row["rank"] for row in own] == list(range(1, len(own) + 1))
        assert [-row["score"] for row in own] == sorted(-row["score"] for row in own)


def test_floors_turn_down_and_take_nobodys_place():
    lexical = ranking(hits([(0, 1, 8), (0, 2, 6), (0, 3, 2), (0, 4, 1)]), 10)  # scores 2, 1.5, .5, .25
    dense = ranking(hits([(0, 5, 2), (0, 4, 3), (0, 6, 1)]), 10)  # .5, .75, .25
    settings = Search(per_query=3, min_lexical=0.3, min_dense=0.6)
    rows = fuse(lexical, dense, np.array([4.0]), settings).to_pylist()
    reasons = {row["doc"]: row["reason"] for row in rows}
    assert reasons == {1: None, 2: None, 4: None, 3: BELOW_FLOOR, 5: BELOW_FLOOR, 6: BELOW_FLOOR}
    assert {row["doc"]: row["lexical_share"] for row in rows}[1] == pytest.approx(0.5)
    assert {row["doc"]: row["dense_score"] for row in rows}[1] is None


def test_a_document_is_of_the_domain_that_speaks_for_it_most():
    queries = [Query(f"q{i}", "text", "seed", 0, domain) for i, domain in enumerate(("a", "b", "b", "c"))]
    lexical = ranking(
        hits([(0, 7, 8), (1, 7, 8), (1, 8, 9), (2, 8, 4), (2, 7, 3), (3, 9, 1), (3, 8, 2), (3, 7, 3), (0, 6, 9)]), 10
    )
    fused = fuse(
        lexical,
        HITS.empty_table().append_column("rank", pa.array([], pa.int32())),
        np.full(4, 10.0),
        Search(per_query=2),
    )
    found = harvest_unit(
        fused.column("doc").to_numpy().astype(np.int64), fused, [queries[n] for n in fused.column("query").to_pylist()]
    )
    columns = (column.to_pylist() for column in found.columns.values())
    by_row = {row: told for row, *told in zip(found.rows.tolist(), found.reasons, *columns, strict=True)}
    assert by_row[9][0] == OVER_CAP
    assert by_row[7][:2] == [None, "b"]
    assert by_row[6][:2] == [None, "a"]
    assert by_row[7][3] == 4
    assert [hit["id"] for hit in by_row[8][2]] == ["q1", "q2", "q3"]
