"""The scoring stage, with a scorer that says exactly what a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from corpus.errors import StageError
from stages.score import Score


class Told:
    """A scorer that reads the score out of the text; it also remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def scorer(self, model: str) -> Told:
        self.asked.append(model)
        return self

    def local_path(self, location: str) -> Path:
        return Path(location)

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([float(text or 0) for text in texts], np.float32)


def batch_of(*texts: str | None) -> pa.Table:
    empty = pa.nulls(len(texts), pa.string())
    return pa.table(
        {
            "id": [str(row) for row in range(len(texts))],
            "outcome": empty,
            "reason": empty,
            "detail": pa.nulls(len(texts), pa.large_string()),
            "content": pa.array(texts, pa.large_string()),
        }
    )


def scored(stage: Score, *texts: str | None) -> pa.Table:
    return stage.open(Told())(batch_of(*texts))


@pytest.mark.parametrize(
    ("model", "column"),
    [
        ("toxicity", "toxic_score"),
        ("adult", "porn_score"),
        ("fluency", "fluency_score"),
        ("not_ad", "not_ad_score"),
        ("educational", "educational_score"),
        ("models/My-Own.v2/", "my_own_v2_score"),
    ],
)
def test_the_column_has_the_published_name_or_the_name_of_the_model(model: str, column: str) -> None:
    stage = Score(model=model)
    assert stage.adds() == {column: pa.float32()}
    assert scored(stage, "0.5").schema.field(column).type == pa.float32()


def test_without_bounds_it_only_measures() -> None:
    table = scored(Score(model="toxicity"), "0", "1", "0.25")
    assert table.column("toxic_score").to_pylist() == [0.0, 1.0, 0.25]
    assert table.column("outcome").null_count == 3


def test_above_max_is_rejected_and_max_itself_is_kept() -> None:
    table = scored(Score(model="toxicity", max=0.7), "0.7", "0.7001", "0.1")
    assert table.column("reason").to_pylist() == [None, "score/toxic_score@1", None]
    assert table.column("outcome").to_pylist() == [None, "rejected", None]
    assert table.column("detail").to_pylist() == [None, "0.7001 > 0.7", None]


def test_below_min_is_rejected_and_min_itself_is_kept() -> None:
    table = scored(Score(model="fluency", min=0.3), "0.3", "0.2999", "0.9")
    assert table.column("reason").to_pylist() == [None, "score/fluency_score@1", None]
    assert table.column("detail").to_pylist() == [None, "0.2999 < 0.3", None]


def test_both_bounds_may_hold_at_once() -> None:
    table = scored(Score(model="x", min=0.25, max=0.75), "0.1", "0.5", "0.9")
    assert table.column("detail").to_pylist() == ["0.1 < 0.25", None, "0.9 > 0.75"]


def test_bounds_that_leave_no_room_are_an_error() -> None:
    with pytest.raises(ValidationError, match="no document could pass"):
        Score(model="x", min=0.8, max=0.2)


@pytest.mark.parametrize(
    "field", [{"max": 1.5}, {"min": -0.1}, {"sha256": "abc"}, {"column": "Not a name"}, {"maximum": 1}]
)
def test_a_wrong_setting_is_an_error(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Score.model_validate({"model": "x", **field})


def test_a_missing_text_is_scored_as_an_empty_one() -> None:
    assert scored(Score(model="x"), None, "1").column("x_score").to_pylist() == [0.0, 1.0]


def test_an_empty_batch_gets_the_column_too() -> None:
    table = scored(Score(model="x", max=0.5))
    assert table.num_rows == 0
    assert table.schema.field("x_score").type == pa.float32()


def test_the_engine_is_asked_for_the_model_with_its_pin() -> None:
    resources, pin = Told(), "a" * 64
    Score(model="toxicity").open(resources)
    Score(model="dir/mine", sha256=pin).open(resources)
    assert resources.asked == ["toxicity", f"dir/mine@sha256:{pin}"]


@pytest.mark.parametrize("values", [[0.5], [0.5, float("nan")], [0.5, 1.01], [-0.01, 0.5]])
def test_a_scorer_that_breaks_its_promise_is_named(values: list[float]) -> None:
    class Broken(Told):
        def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.array(values, np.float32)

    with pytest.raises(StageError, match="one finite value"):
        Score(model="broken").open(Broken())(batch_of("a", "b"))


@given(st.lists(st.floats(0, 1, width=32), max_size=30), st.floats(0, 1))
def test_the_published_score_and_the_verdict_always_agree(scores: list[float], bound: float) -> None:
    table = scored(Score(model="x", max=bound), *map(repr, scores))
    for value, outcome in zip(table.column("x_score").to_pylist(), table.column("outcome").to_pylist(), strict=True):
        assert (outcome == "rejected") == (value > float(np.float32(bound)))


def test_rows_keep_their_order_and_other_columns() -> None:
    before = batch_of("0.9", "0.1", "0.5")
    after = Score(model="x", max=0.5).open(Told())(before)
    assert after.column("id").equals(before.column("id"))
    assert after.column("content").equals(before.column("content"))
    assert after.column_names == [*before.column_names, "x_score"]
