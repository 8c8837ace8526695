"""Buckets become stars, stars become components, in memory or from sorted runs alike."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stages.dedup import Dedup
from stages.dedup.candidates import COMPONENT_SCHEMA, EDGE_SCHEMA
from stages.dedup.steps import (
    BAND_SCHEMA,
    band_rows,
    candidate_components,
    candidate_edges,
    merged_edges,
    partition_of,
)

KEYS = st.one_of(st.integers(0, 6), st.integers((1 << 64) - 3, (1 << 64) - 1))
RUNS = st.lists(st.lists(KEYS, max_size=12), max_size=4)


def run_table(unit: int, keys: list[int]) -> pa.Table:
    docs = np.arange(len(keys), dtype=np.uint64) | np.uint64(unit << 32)
    values = np.array(keys, np.uint64)
    order = np.lexsort((docs, values))
    return pa.table([np.zeros(len(keys), np.uint8), values[order], docs[order]], schema=BAND_SCHEMA)


def edge_list(*tables: pa.Table) -> list[tuple[int, int]]:
    return sorted((row["a"], row["b"]) for table in tables for row in table.to_pylist())


@given(RUNS)
def test_every_member_of_a_bucket_is_linked_to_its_first(runs):
    tables = [run_table(unit, keys) for unit, keys in enumerate(runs)]
    buckets: dict[int, list[int]] = {}
    for table in tables:
        for row in table.to_pylist():
            buckets.setdefault(row["key"], []).append(row["doc"])
    expected = sorted((min(docs), doc) for docs in buckets.values() for doc in docs if doc != min(docs))
    found = candidate_edges(pa.concat_tables([BAND_SCHEMA.empty_table(), *tables]))
    assert edge_list(found) == expected
    assert found.schema == EDGE_SCHEMA


@given(RUNS, st.integers(1, 5))
def test_merging_sorted_runs_in_small_blocks_gives_the_same_edges(runs, block):
    tables = [run_table(unit, keys) for unit, keys in enumerate(runs)]
    blocks = [[table.slice(at, block) for at in range(0, table.num_rows, block)] for table in tables]
    whole = candidate_edges(pa.concat_tables([BAND_SCHEMA.empty_table(), *tables]))
    assert edge_list(*merged_edges(blocks)) == edge_list(whole)


def test_equal_keys_of_different_bands_do_not_meet():
    table = pa.table([[0, 0, 1], [5, 5, 5], [1, 2, 3]], schema=BAND_SCHEMA)
    assert edge_list(candidate_edges(table)) == [(1, 2)]


@given(st.lists(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=15), max_size=4))
def test_components_are_those_of_a_plain_search(batches):
    tables = [pa.table([[a for a, _ in edges], [b for _, b in edges]], schema=EDGE_SCHEMA) for edges in batches]
    found = candidate_components(tables)
    neighbours: dict[int, set[int]] = {}
    for a, b in (edge for edges in batches for edge in edges):
        neighbours.setdefault(a, {a}).add(b)
        neighbours.setdefault(b, {b}).add(a)
    expected = {}
    for start in sorted(neighbours):
        stack = [] if start in expected else [start]
        while stack:
            node = stack.pop()
            if node not in expected:
                expected[node] = start
                stack += neighbours[node]
    assert list(zip(*found.to_pydict().values(), strict=True)) == sorted(expected.items())
    assert found.schema == COMPONENT_SCHEMA


def test_components_survive_a_long_chain_that_outgrows_the_first_tables():
    nodes = np.random.default_rng(3).permutation(200_000).astype(np.uint64) << np.uint64(20)
    edges = [
        pa.table([nodes[at : at + 5001][:-1], nodes[at : at + 5001][1:]], schema=EDGE_SCHEMA)
        for at in range(0, 199_999, 5000)
    ]
    found = candidate_components(edges)
    assert found.num_rows == 200_000
    assert set(found.column("component").to_pylist()) == {0}
    assert (np.diff(found.column("doc").to_numpy().astype(np.int64)) > 0).all()


def test_band_rows_are_sorted_and_leave_out_what_cannot_be_compared():
    table = pa.table({"content": ["one two", "!?", None, "one  two"], "doc": pa.array([9, 3, 4, 1], pa.uint64())})
    found = band_rows(table, Dedup())
    assert found.schema == BAND_SCHEMA
    rows = [(row["band"], row["key"], row["doc"]) for row in found.to_pylist()]
    assert rows == sorted(rows)
    assert sorted(doc for band, _, doc in rows if band < 14) == [1] * 14 + [9] * 14
    assert sorted(doc for band, _, doc in rows if band == 14) == [1, 3, 9]


def test_exact_and_near_comparison_can_be_switched_off():
    table = pa.table({"content": ["one two"], "doc": pa.array([1], pa.uint64())})
    assert set(band_rows(table, Dedup(near=False)).column("band").to_pylist()) == {14}
    assert set(band_rows(table, Dedup(exact=False)).column("band").to_pylist()) == set(range(14))
    assert band_rows(table.slice(0, 0), Dedup()).num_rows == 0


def test_partitions_are_even_and_in_range():
    target = partition_of(np.arange(10_000, dtype=np.uint64) << np.uint64(32), 7)
    counts = np.bincount(target, minlength=7)
    assert len(counts) == 7
    assert counts.min() > 0.85 * 10_000 / 7
