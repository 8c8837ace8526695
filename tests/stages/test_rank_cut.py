"""The rank cut: exact count, one order, whatever the partitioning."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import stages.rank_cut as module
from corpus.errors import StageError
from stages.rank_cut import Cut, RankCut, apply_cut, cut_point, keep_count, rank_values

ONE = RankCut(by={"quality": 1.0})


def documents(scores: list[float | None], prefix: str = "d") -> pa.Table:
    nothing = pa.nulls(len(scores), pa.string())
    return pa.table(
        {
            "id": pa.array([f"{prefix}{row}" for row in range(len(scores))], pa.string()),
            "outcome": nothing,
            "reason": nothing,
            "detail": pa.nulls(len(scores), pa.large_string()),
            "quality": pa.array(scores, pa.float32()),
        }
    )


def pairs(table: pa.Table, config: RankCut) -> pa.Table:
    return pa.table({"id": table.column("id"), "value": rank_values(table, config)})


def kept_ids(tables: list[pa.Table], config: RankCut) -> list[str]:
    cut = cut_point([pairs(table, config) for table in tables], config)
    kept: list[str] = []
    for table in tables:
        after = apply_cut(table, cut, config)
        alive = after.filter(pa.array([outcome is None for outcome in after.column("outcome").to_pylist()], pa.bool_()))
        kept += alive.column("id").to_pylist()
    return kept


def test_the_best_half_stays_by_default() -> None:
    assert kept_ids([documents([0.1, 0.9, 0.5, 0.7])], ONE) == ["d1", "d3"]


def test_half_of_an_odd_number_is_rounded_up() -> None:
    assert len(kept_ids([documents([0.1, 0.2, 0.3])], ONE)) == 2


def test_a_cut_document_says_why() -> None:
    table = documents([0.25, 0.75])
    cut = cut_point([pairs(table, ONE)], ONE)
    after = apply_cut(table, cut, ONE)
    assert after.column("reason").to_pylist() == ["rank_cut/quality@1", None]
    assert after.column("detail").to_pylist() == ["rank value 0.25, cut at 0.75 (best 1 of 2)", None]


def test_keep_one_keeps_everything_even_what_has_no_score() -> None:
    assert len(kept_ids([documents([None, 0.5, float("nan")])], RankCut(by={"quality": 1.0}, keep=1.0))) == 3


def test_a_missing_score_ranks_last() -> None:
    assert kept_ids([documents([None, 0.0])], ONE) == ["d1"]
    assert rank_values(documents([None, float("nan")]), ONE).tolist() == [-math.inf, -math.inf]


def test_an_empty_corpus_is_no_error() -> None:
    assert kept_ids([], ONE) == []
    assert kept_ids([documents([])], ONE) == []
    assert cut_point([], ONE).total == 0


def test_of_equal_documents_the_same_ones_stay_in_any_order() -> None:
    table = documents([0.5] * 101)
    forward = kept_ids([table], ONE)
    backward = kept_ids([table.slice(at, 1) for at in reversed(range(101))], ONE)
    assert len(forward) == 51
    assert sorted(forward) == sorted(backward)
    assert forward != [f"d{row}" for row in range(51)], "ties must not favour a place in the input"


def test_the_value_is_the_weighted_sum_of_the_columns() -> None:
    table = pa.table({"a": pa.array([0.5, 1.0], pa.float32()), "b": pa.array([0.25, 0.0], pa.float32())})
    assert rank_values(table, RankCut(by={"b": 2.0, "a": 1.0})).tolist() == [1.0, 1.0]
    assert rank_values(table, RankCut(by={"b": -1.0})).tolist() == [-0.25, 0.0]


def test_defaults_are_the_two_quality_scores_and_half() -> None:
    assert RankCut().needs() == {"id", "fluency_score", "not_ad_score"}
    assert RankCut().keep == 0.5
    assert RankCut().scope == "corpus"


@pytest.mark.parametrize(
    "settings", [{"keep": 0}, {"keep": 1.01}, {"by": {}}, {"by": {"a": 0}}, {"by": {"a": math.nan}}]
)
def test_a_wrong_setting_is_an_error(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RankCut.model_validate(settings)


def test_a_generator_is_refused_since_it_can_be_read_only_once() -> None:
    table = pairs(documents([0.5]), ONE)
    with pytest.raises(StageError, match="more than once"):
        cut_point((table for _ in range(1)), ONE)


@pytest.mark.parametrize(
    ("total", "keep", "kept"), [(100, 0.07, 7), (10, 0.5, 5), (3, 0.5, 2), (1, 1e-9, 1), (7, 1.0, 7)]
)
def test_the_count_is_the_ceiling_of_the_written_fraction(total: int, keep: float, kept: int) -> None:
    assert keep_count(total, keep) == kept


def test_the_stage_cannot_be_run_batch_by_batch() -> None:
    with pytest.raises(TypeError, match="whole corpus"):
        RankCut().open(None)  # type: ignore[arg-type]


SCORES = st.lists(
    st.one_of(st.none(), st.sampled_from([0.0, -0.0, 0.5, 1.0, math.inf]), st.floats(0, 1, width=32)), max_size=60
)


@given(SCORES, st.floats(0.01, 1), st.randoms(use_true_random=False), st.integers(1, 70))
def test_exactly_the_best_stay_whatever_the_partitioning(scores, keep, random, limit) -> None:
    config = RankCut(by={"quality": 1.0}, keep=keep)
    table = documents(scores)
    expected = reference(table, config)
    order = list(range(len(scores)))
    random.shuffle(order)
    shuffled = table.take(pa.array(order, pa.int64()))
    edges = sorted({0, len(order), *(random.randrange(len(order) + 1) for _ in range(4))})
    parts = [shuffled.slice(start, end - start) for start, end in pairwise(edges)]
    before = module.CANDIDATES
    module.CANDIDATES = limit  # small enough that the histogram passes take part
    try:
        assert sorted(kept_ids(parts, config)) == expected
    finally:
        module.CANDIDATES = before


def reference(table: pa.Table, config: RankCut) -> list[str]:
    """The definition, by sorting everything."""
    ids = table.column("id").to_pylist()
    hashes = module._id_hashes(table.column("id")).tolist()
    ranked = sorted(zip((-rank_values(table, config)).tolist(), hashes, ids, strict=True))
    return sorted(name for _, _, name in ranked[: keep_count(len(ids), config.keep)])


def test_many_documents_are_cut_exactly_with_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CANDIDATES", 1000)
    rng = np.random.default_rng(5)
    values = np.round(rng.random(50_000), 4)
    tables = [
        pa.table(
            {"id": [f"{part}-{row}" for row in range(10_000)], "value": values[part * 10_000 : (part + 1) * 10_000]}
        )
        for part in range(5)
    ]
    cut = cut_point(tables, ONE)
    assert cut.value == np.sort(values)[::-1][24_999]
    assert cut.kept == 25_000
    staying = sum(
        int((table.column("value").to_numpy() > cut.value).sum())
        + sum(
            int(module._id_hashes(pa.chunked_array([[name]]))[0]) <= cut.id_hash
            for name, value in zip(table.column("id").to_pylist(), table.column("value").to_pylist(), strict=True)
            if value == cut.value
        )
        for table in tables
    )
    assert staying == 25_000


def test_a_verdict_that_is_there_already_is_kept() -> None:
    table = documents([0.1, 0.2])
    table = table.set_column(1, "outcome", pa.array(["duplicate", None], pa.string()))
    after = apply_cut(table, Cut(value=1.0, id_hash=0, kept=0, total=2), ONE)
    assert after.column("outcome").to_pylist() == ["duplicate", "rejected"]
