"""Who is removed, who stays, and why: the survivor order, the threshold, the anchor check."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup import Dedup
from stages.dedup.datasketch_engine import shingles_of, words_of
from stages.dedup.in_memory import deduplicate
from stages.dedup.steps import VERDICT_SCHEMA, routed_schema, verify

CERTAIN = {"bands": 60, "rows": 2, "num_hashes": 120}  # proposes practically every pair above Jaccard 0.4


def unit(*documents: dict[str, object]) -> pa.Table:
    """Documents as a table; what a document does not say is the same for all."""
    rows = [
        {"id": f"d{number}", "crawl": "CC-MAIN-2024-10", "date": "2024-03-01T00:00:00Z", **document}
        for number, document in enumerate(documents)
    ]
    schema = pa.schema(
        [("id", pa.string()), ("crawl", pa.string()), ("date", pa.string()), ("content", pa.large_string())]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def verdicts(tables: list[pa.Table], config: Dedup | None = None, partitions: int = 1) -> dict[str, dict[str, object]]:
    found = deduplicate(tables, config or Dedup(), partitions=partitions)
    assert found.schema == VERDICT_SCHEMA
    return {row.pop("id"): row for row in found.drop_columns("doc").to_pylist()}


def words(start: int, stop: int) -> str:
    return " ".join(f"w{number:03}" for number in range(start, stop))


def overlapping(shift: int, length: int = 104) -> str:
    """100 shingles, of which ``100 - shift`` are also in ``overlapping(0)``."""
    return words(shift, shift + length)


def true_jaccard(a: str, b: str) -> float:
    left, right = (shingles_of(words_of(text), 5) for text in (a, b))
    return len(left & right) / len(left | right)


BASE = overlapping(0)
NEARLY = BASE + " end"


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"crawl": "CC-MAIN-2024-10", "date": "2020"}, {"crawl": "CC-MAIN-2023-50", "date": "2021"}),
        ({"crawl": "CC-MAIN-2024-10", "date": "2020"}, {"crawl": None, "date": "2021"}),
        ({"date": "2024-03-02T00:00:00Z", "content": BASE}, {"content": NEARLY}),
        ({"date": "2024-03-02T00:00:00Z"}, {"date": None}),
        ({"content": NEARLY, "id": "z"}, {"content": BASE, "id": "a"}),
        ({"id": "a"}, {"id": "b"}),
    ],
    ids=["newest crawl", "known crawl", "latest date", "known date", "longest", "smallest id"],
)
@pytest.mark.parametrize("swap", [False, True])
def test_the_survivor_is_the_newest_then_latest_then_longest_then_first_by_id(better, worse, swap):
    good, bad = {"content": BASE, "id": "good", **better}, {"content": NEARLY[:-4], "id": "bad", **worse}
    found = verdicts([unit(bad, good) if swap else unit(good, bad)])
    assert found[good["id"]]["kind"] == "survivor"
    assert found[bad["id"]]["survivor"] == good["id"]


def test_near_duplicates_point_to_their_survivor_with_the_true_similarity():
    found = verdicts([unit({"content": NEARLY}, {"content": BASE})])
    assert found["d0"] == {"cluster": "d0", "kind": "survivor", "survivor": None, "similarity": None}
    assert found["d1"] == {
        "cluster": "d0", "kind": "near", "survivor": "d0", "similarity": pytest.approx(100 / 101)
    }  # fmt: skip


def test_exact_copies_across_units_are_found_whatever_surrounds_them():
    found = verdicts([unit({"content": "tiny", "id": "a"}), unit({"content": " tiny\n", "id": "b"})])
    assert found["b"] == {"cluster": "b", "kind": "survivor", "survivor": None, "similarity": None}
    assert found["a"] == {"cluster": "b", "kind": "exact", "survivor": "b", "similarity": 1.0}


def test_texts_without_words_are_duplicates_only_of_exact_copies():
    found = verdicts([unit({"content": "?!"}, {"content": "!!"}, {"content": "?!"}, {"content": ""}, {"content": " "})])
    removed = {name: row["kind"] for name, row in found.items() if row["survivor"]}
    assert removed == {"d2": "exact", "d3": "exact"}


def test_null_contents_are_never_compared():
    assert verdicts([unit({"content": None}, {"content": None})]) == {}


def test_short_texts_are_near_duplicates_only_when_all_their_words_agree():
    found = verdicts(
        [unit({"content": "Hello, big world"}, {"content": "hello big world"}, {"content": "hello big word"})]
    )
    assert found["d1"]["kind"] == "near"
    assert "d2" not in found


def test_a_pair_at_the_threshold_is_a_duplicate_and_one_just_below_is_not():
    # 100 shingles each, 82 shared of 118; 83 shared of 117
    below, above = overlapping(18), overlapping(17)
    threshold = 83 / 117
    config = Dedup(jaccard=threshold, **CERTAIN)
    assert verdicts([unit({"content": BASE}, {"content": above})], config)["d1"]["kind"] == "near"
    found = verdicts([unit({"content": BASE}, {"content": below})], config)
    assert {row["kind"] for row in found.values()} <= {"survivor"}
    assert {row["cluster"] for row in found.values()} <= {None}


def test_a_chain_of_small_changes_is_cut_where_it_no_longer_resembles_its_anchor():
    chain = [overlapping(shift) for shift in range(0, 100, 10)]
    found = verdicts([unit(*({"content": text} for text in chain))], Dedup(**CERTAIN))
    assert {row["cluster"] for row in found.values()} == {"d0"}
    for number, text in enumerate(chain):
        row = found[f"d{number}"]
        if row["survivor"]:
            anchor = chain[int(str(row["survivor"])[1:])]
            assert row["similarity"] == pytest.approx(true_jaccard(text, anchor))
            assert row["similarity"] >= 0.7
    assert [name for name, row in found.items() if row["kind"] == "survivor"] == ["d0", "d2", "d4", "d6", "d8"]


@pytest.mark.parametrize(("anchor", "removed"), [(0.5, 3), (0.7, 1), (0.95, 0)])
def test_the_anchor_threshold_says_how_far_a_cluster_may_drift(anchor, removed):
    chain = [overlapping(shift) for shift in (0, 10, 20, 30)]
    config = Dedup(anchor_jaccard=anchor, **CERTAIN)
    found = verdicts([unit(*({"content": text} for text in chain))], config)
    survivors = [row["survivor"] for row in found.values()]
    assert survivors.count("d0") == removed


def test_an_exact_copy_of_a_removed_document_points_to_the_final_survivor():
    old = {"content": BASE, "crawl": "CC-MAIN-2020-05"}
    found = verdicts([unit({"content": NEARLY}, old, old)])
    assert [found[name]["kind"] for name in ("d0", "d1", "d2")] == ["survivor", "near", "exact"]
    assert [found[name]["survivor"] for name in ("d1", "d2")] == ["d0", "d0"]
    assert found["d2"]["similarity"] == pytest.approx(100 / 101)


def test_without_the_near_comparison_only_exact_copies_go():
    tables = [unit({"content": NEARLY}, {"content": BASE}, {"content": BASE})]
    found = verdicts(tables, Dedup(near=False))
    assert {name: row["kind"] for name, row in found.items()} == {"d1": "survivor", "d2": "exact"}


def test_without_the_exact_comparison_copies_are_near_duplicates_of_similarity_one():
    found = verdicts([unit({"content": BASE}, {"content": BASE})], Dedup(exact=False))
    assert found["d1"] == {"cluster": "d0", "kind": "near", "survivor": "d0", "similarity": 1.0}


@pytest.mark.parametrize("engine", ["kernel", "datasketch"])
def test_planted_duplicates_across_units_are_always_found(engine):
    rng = np.random.default_rng(5)
    originals = [" ".join(f"{word:x}" for word in rng.integers(0, 1 << 32, 200)) for _ in range(60)]
    first = unit(*({"id": f"a{i}", "content": text} for i, text in enumerate(originals)))
    second = unit(*({"id": f"b{i}", "content": text + " tail"} for i, text in enumerate(originals)))
    found = verdicts([first, second], Dedup(engine=engine))
    assert {name: row["survivor"] for name, row in found.items() if row["survivor"]} == {
        f"a{i}": f"b{i}" for i in range(60)
    }


def test_nothing_routed_gives_no_verdicts():
    assert verify(routed_schema(Dedup()).empty_table(), Dedup()).schema == VERDICT_SCHEMA
    assert verdicts([]) == {}
    assert verdicts([unit(), unit({"content": "alone"})]) == {}


VOCABULARY = [f"word{number}" for number in range(12)]
VARIANTS = st.builds(
    lambda cut, tail, case: (" ".join(VOCABULARY * 3)[: 60 + cut] + " " + " ".join(tail)) if case else " ".join(tail),
    st.integers(0, 60),
    st.lists(st.sampled_from(VOCABULARY), max_size=8),
    st.booleans(),
)
DOCUMENTS = st.lists(
    st.tuples(VARIANTS, st.sampled_from(["c1", "c2", None]), st.sampled_from(["2020", "2021", None])), max_size=24
)


@settings(max_examples=60)
@given(DOCUMENTS, st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 5))
def test_the_result_does_not_depend_on_order_units_or_partitions(documents, random, units, partitions):
    rows = [
        {"id": f"d{i:02}", "content": text, "crawl": crawl, "date": date}
        for i, (text, crawl, date) in enumerate(documents)
    ]
    expected = verdicts([unit(*rows)])
    random.shuffle(rows)
    spread: list[list[dict[str, object]]] = [[] for _ in range(units)]
    for row in rows:
        random.choice(spread).append(row)
    assert verdicts([unit(*part) for part in spread], partitions=partitions) == expected
    texts = {row["id"]: row["content"] for row in rows}
    for name, row in expected.items():
        if row["survivor"]:
            assert expected[row["survivor"]]["kind"] == "survivor"
            assert row["kind"] == "exact" or row["similarity"] == pytest.approx(
                true_jaccard(texts[name], texts[row["survivor"]])
            )


def test_twenty_thousand_pages_of_one_template_leave_one_and_take_no_quadratic_time():
    template = words(0, 60)
    pages = unit(*({"id": f"p{i:05}", "content": f"{template} page {i}"} for i in range(20_000)))
    found = deduplicate([pages], Dedup())
    kinds = found.column("kind").to_pylist()
    assert len(kinds) >= 19_990
    assert kinds.count("survivor") <= 5
