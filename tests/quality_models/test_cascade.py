"""Cascades: what is sent on, what it is worth, and how the band is chosen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpus.errors import ModelError
from quality_models import installed, load_scorer
from quality_models.card import Band, ModelCard
from quality_models.cascade import CascadeScorer, choose_band
from stages.score import Score

SHIPPED = {info.name: info for info in installed()}
RNG = np.random.default_rng(4)


def pin(name: str) -> str:
    return f"{name}@sha256:{SHIPPED[name].sha256}"


class Known:
    """A scorer that knows the score of every text; counts what it is asked."""

    def __init__(self, scores: dict[str, float]) -> None:
        self.scores, self.asked = scores, 0

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += len(texts)
        return np.array([self.scores[text] for text in texts], np.float32)


def cascade_card(low: float, high: float, *, name: str = "toxicity", first: str = "", second: str = "") -> ModelCard:
    band = Band(first=first, second=second, low=low, high=high, sent=0.1, rule="")
    update = {"tier": "cascade", "weights": None, "weights_sha256": None, "band": band}
    return SHIPPED[name].card.model_copy(update=update)


def test_only_the_doubtful_are_sent_on_and_what_is_saved_is_counted() -> None:
    first = Known({"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.7, "e": 0.9})
    second = Known({"b": 0.95, "c": 0.05, "d": 0.6})
    cascade = CascadeScorer(first, second, cascade_card(0.3, 0.7))
    assert cascade.score(list("abcde")).tolist() == pytest.approx([0.1, 0.95, 0.05, 0.6, 0.9])
    assert (cascade.seen, cascade.sent, second.asked) == (5, 3, 3)
    assert cascade.saved == pytest.approx(0.4)
    assert cascade.score([]).tolist() == []


def test_the_stage_writes_down_who_was_sent_on() -> None:
    first, second = Known({"a": 0.1, "b": 0.5, "": 0.0}), Known({"b": 0.95})
    cascade = CascadeScorer(first, second, cascade_card(0.3, 0.7))

    class OneModel:
        def scorer(self, model: str) -> CascadeScorer:
            return cascade

    batch = pa.table({"content": pa.array(["a", "b", None], pa.large_string()), "outcome": pa.nulls(3, pa.string())})
    stage = Score(model="own", second=True)
    done = stage.open(OneModel())(batch)  # type: ignore[arg-type]
    assert done.column("own_score").to_pylist() == pytest.approx([0.1, 0.95, 0.0])
    assert [row["own_score_second"] for row in done.column("signals").to_pylist()] == [0, 1, 0]
    assert set(stage.adds()) == {"own_score", "signals.own_score_second"}
    assert set(Score(model="own").adds()) == {"own_score"}


def sample(count: int = 3000) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """A first scorer that is right far from one half, and a second that is better everywhere."""
    positive = RNG.random(count) < 0.3
    truth = np.where(positive, 1.0, -1.0)
    first, second = (1 / (1 + np.exp(-(truth * 1.5 + RNG.normal(0, noise, count)) * 2)) for noise in (1.5, 0.7))
    return first, second, positive


def test_the_band_reaches_the_target_with_the_fewest_documents() -> None:
    first, second, positive = sample()
    alone = ((first > 0.5) & positive).sum() / positive.sum()
    best = ((second > 0.5) & positive).sum() / positive.sum()
    target = float((alone + best) / 2)
    choice = choose_band(first, second, positive, bound=0.5, recall=target)
    assert choice.met
    assert choice.recall >= target
    assert choice.low <= 0.5 <= choice.high
    assert 0 < choice.sent < 0.8
    inner = first[(first > choice.low) & (first <= 0.5)].min()
    assert outcome(first, second, positive, inner, choice.high)[2] < target  # one document fewer, and it is missed
    harder = choose_band(first, second, positive, bound=0.5, recall=float(best) - 0.001)
    assert harder.sent > choice.sent


def test_a_target_that_nothing_reaches_is_said_so() -> None:
    first, second, positive = sample()
    choice = choose_band(first, second, positive, bound=0.5, recall=1.0, precision=1.0)
    assert not choice.met
    nothing = choose_band(first, second, positive, bound=0.5, recall=0.01)
    assert nothing.met
    assert nothing.sent < 0.01
    with pytest.raises(ValueError, match="target"):
        choose_band(first, second, positive, bound=0.5)
    with pytest.raises(ValueError, match="both classes"):
        choose_band(first, second, np.ones(3000, np.bool_), bound=0.5, recall=0.5)


def outcome(
    first: NDArray[np.float64], second: NDArray[np.float64], positive: NDArray[np.bool_], low: float, high: float
) -> tuple[float, float, float]:
    """Share sent on, precision and recall of a band around 0.5."""
    inside = (first >= low) & (first <= high)
    said = np.where(inside, second, first) > 0.5
    hits = (said & positive).sum()
    return inside.mean(), hits / said.sum() if said.any() else 1.0, hits / positive.sum()


tenths = st.integers(0, 10).map(lambda number: number / 10)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(tenths, tenths, st.booleans()), min_size=2, max_size=12), tenths, tenths)
def test_no_band_is_narrower_and_reaches_the_targets(
    rows: list[tuple[float, float, bool]], precision: float, recall: float
) -> None:
    first, second = (np.array([row[at] for row in rows]) for at in (0, 1))
    positive = np.array([row[2] for row in rows])
    assume(positive.any() and not positive.all())
    choice = choose_band(first, second, positive, bound=0.5, precision=precision, recall=recall)
    assert (choice.sent, choice.precision, choice.recall) == outcome(first, second, positive, choice.low, choice.high)
    all_bands = [
        outcome(first, second, positive, low, high)
        for low in {*first[first <= 0.5], 0.5}
        for high in {*first[first >= 0.5], 0.5}
    ]
    good = [sent for sent, found, caught in all_bands if found >= precision and caught >= recall]
    assert choice.met == bool(good)
    if good:
        assert choice.sent == min(good)


def write(folder: Path, card: ModelCard) -> str:
    folder.mkdir(exist_ok=True)
    data = card.model_dump_json().encode()
    (folder / "card.json").write_bytes(data)
    return f"{folder}@sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_cascade_of_installed_models_loads_by_reference(tmp_path: Path) -> None:
    card = cascade_card(0.2, 0.6, first=pin("toxicity"), second=pin("adult"))
    scorer = load_scorer(write(tmp_path / "own", card))
    texts = ["A quiet day in the harbour, with boats and gulls and nothing else to tell.", "you stupid idiot"]
    one, two = (load_scorer(name).score(texts) for name in ("toxicity", "adult"))
    inside = (one >= np.float32(0.2)) & (one <= np.float32(0.6))
    assert scorer.score(texts).tolist() == np.where(inside, two, one).tolist()


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("toxicity", "adult", "two pinned models"),
        (pin("toxicity"), pin("fluency"), "the other way"),
        (f"toxicity@sha256:{'0' * 64}", pin("adult"), "not the pinned"),
    ],
)
def test_cascades_that_make_no_sense_are_refused(tmp_path: Path, first: str, second: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_scorer(write(tmp_path / "own", cascade_card(0.2, 0.6, first=first, second=second)))


def test_a_band_that_is_upside_down_is_refused(tmp_path: Path) -> None:
    card = cascade_card(0.2, 0.6, first=pin("toxicity"), second=pin("adult"))
    assert card.band is not None
    data = card.model_dump(mode="json")
    data["band"]["low"] = 0.7
    (tmp_path / "card.json").write_text(json.dumps(data))
    digest = hashlib.sha256((tmp_path / "card.json").read_bytes()).hexdigest()
    with pytest.raises(ModelError, match=r"not from 0\.7 to 0\.6"):
        load_scorer(f"{tmp_path}@sha256:{digest}")
