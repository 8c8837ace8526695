"""Rules as data: every bound on both sides, first failure as reason, strict files with places and suggestions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.errors import ManifestError, StageError
from corpus.schema import TRAVEL, add_signals
from stages.rules import BoundChange, Rule, Rules, evaluate, failing, judge, load_rules
from stages.ruleset_files import shipped
from stages.signals import SIGNALS, measure

ALL = [rule for name in shipped() for rule in load_rules((name,))]


def values_of(signal: str, *numbers: float) -> dict[str, np.ndarray]:
    """Documents that are alike but for one signal; the others lie where every shipped rule passes nothing special."""
    kind = SIGNALS[signal].type.to_pandas_dtype()
    return {signal: np.array(numbers, kind)}


def neighbours(signal: str, bound: float) -> tuple[float, float]:
    """The nearest representable values below and above a bound."""
    if SIGNALS[signal].type == pa.int32():
        return bound - 1, bound + 1
    at = np.float32(bound)
    return float(np.nextafter(at, np.float32(-1))), float(np.nextafter(at, np.float32(1e9)))


def batch_of(signals: dict[str, np.ndarray]) -> pa.Table:
    rows = len(next(iter(signals.values())))
    columns = {field.name: pa.nulls(rows, field.type) for field in TRAVEL}
    return add_signals(pa.table(columns, schema=TRAVEL), signals)


def write(folder: Path, text: str) -> str:
    path = folder / "own.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
def test_each_shipped_rule_keeps_its_bounds_and_fails_just_beyond(rule: Rule) -> None:
    plain = rule.model_copy(update={"when": None})
    if rule.min is not None:
        below, _ = neighbours(rule.signal, rule.min)
        assert plain.fails(values_of(rule.signal, below, rule.min)).tolist() == [True, False]
    if rule.max is not None:
        _, above = neighbours(rule.signal, rule.max)
        assert plain.fails(values_of(rule.signal, above, rule.max)).tolist() == [True, False]


def test_the_shipped_rulesets_are_these() -> None:
    assert shipped() == ["c4", "fineweb", "gopher", "wanjuan"]
    assert {name: len(load_rules((name,))) for name in shipped()} == {
        "c4": 3,
        "fineweb": 4,
        "gopher": 21,
        "wanjuan": 35,
    }
    assert all(rule.source for rule in ALL)


def test_rules_that_rulesets_share_are_taken_once() -> None:
    names = [rule.name for rule in load_rules(("wanjuan", "gopher"))]
    assert len(names) == len(set(names)) == 35 + 4


def test_capitals_are_judged_in_short_documents_only() -> None:
    rule = next(rule for rule in ALL if rule.name == "wanjuan/all_caps_words@1")
    values = {"all_caps_word_fraction": np.float32([0.5, 0.5, 0.2]), "word_count": np.int32([199, 200, 10])}
    assert rule.fails(values).tolist() == [True, False, False]


def test_the_first_failing_rule_is_the_reason_and_the_detail_shows_the_value() -> None:
    rules = [
        Rule(name="t/words@1", signal="word_count", min=50, max=100, source="test"),
        Rule(name="t/mean@2", signal="mean_word_length", max=10, source="test"),
    ]
    batch = batch_of({"word_count": np.int32([12, 50, 101, 60]), "mean_word_length": np.float32([11, 10, 3, 10.5])})
    assert evaluate(batch, rules).tolist() == [[True, False, True, False], [True, False, False, True]]
    after = judge(batch, rules)
    assert after.column("outcome").to_pylist() == ["rejected", None, "rejected", "rejected"]
    assert after.column("reason").to_pylist() == ["t/words@1", None, "t/words@1", "t/mean@2"]
    assert after.column("detail").to_pylist() == [
        "word_count 12 < min 50",
        None,
        "word_count 101 > max 100",
        "mean_word_length 10.5 > max 10",
    ]


def test_a_passing_value_is_described_with_its_bounds() -> None:
    rule = Rule(name="t/words@1", signal="word_count", min=50, source="test")
    assert rule.describe(60) == "50 <= word_count 60"
    fraction = Rule(name="t/digits@1", signal="digit_fraction", max=0.3, source="test")
    assert fraction.describe(float(np.float32(0.3))) == "digit_fraction 0.3 <= 0.3"


def test_bounds_can_be_changed_and_rules_left_out() -> None:
    change = {"gopher/word_count@1": BoundChange(min=30)}
    rules = {rule.name: rule for rule in load_rules(("gopher",), override=change, disable=("gopher/hashes@1",))}
    assert (rules["gopher/word_count@1"].min, rules["gopher/word_count@1"].max) == (30, 100000)
    assert "gopher/hashes@1" not in rules
    opened = load_rules(("gopher",), override={"gopher/word_count@1": BoundChange(max=None)})
    assert opened[0].max is None and opened[0].min == 50


def test_no_rules_fail_nobody() -> None:
    assert failing([], values_of("word_count", 1, 2)).shape == (0, 2)
    assert judge(batch_of(values_of("word_count", 1)), []).column("reason").to_pylist() == [None]


@pytest.mark.parametrize(
    ("settings", "what", "fix"),
    [
        ({"rulesets": ("gofer",)}, "unknown ruleset 'gofer'", "did you mean 'gopher'?"),
        ({"disable": ("gopher/word_count@2",)}, "no rule 'gopher/word_count@2'", "did you mean 'gopher/word_count@1'?"),
        ({"override": {"gopher/word_count@1": {"min": 200000}}}, "min 200000 is above max 100000", ""),
        ({"rulesets": ("absent.yaml",)}, "cannot be read", ""),
    ],
)
def test_wrong_settings_are_told_with_a_suggestion(settings: dict[str, object], what: str, fix: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Rules.model_validate({"kind": "rules"} | settings).rules()
    assert what in caught.value.what
    assert fix in caught.value.fix


GOOD = "- name: own/words@1\n  signal: word_count\n  min: 5\n  source: ours\n"


@pytest.mark.parametrize(
    ("text", "place", "what", "fix"),
    [
        (GOOD.replace("word_count", "word_cont"), ":2:", "unknown signal 'word_cont'", "did you mean 'word_count'?"),
        (GOOD.replace("min:", "mn:"), ":3:3", "unknown key 'mn'", "did you mean 'min'?"),
        (GOOD.replace("min: 5", "min: many"), ":3:", "valid number", ""),
        (GOOD.replace("  min: 5\n", ""), ":2:", "give min, max or both", ""),
        (GOOD.replace("  source: ours\n", ""), ":1", "source: Field required", ""),
        (GOOD.replace("own/words@1", "own/Words"), ":1:", "name: String should match pattern", ""),
        (GOOD + GOOD, ":5:", "there twice", ""),
        (GOOD + "  min: 6\n", ":5:", "duplicate key", ""),
        (
            GOOD + "  when: {signal: wrd_count, max: 3}\n",
            ":5:",
            "unknown signal 'wrd_count'",
            "did you mean 'word_count'?",
        ),
        (GOOD + "  when: {signal: word_count, maxi: 3}\n", ":5:", "unknown key 'maxi'", "did you mean 'max'?"),
        (GOOD + "  when: 3\n", ":5:", "a bound is a mapping", ""),
        ("name: x\n", ":1", "is a list of rules", ""),
        ("- 3\n", ":1:", "is a mapping", ""),
        ("- [\n", ":", "not valid YAML", ""),
        ("- name: a\n  \tb: 1\n", ":2:", "not valid YAML", ""),
        ("", ":1", "is a list of rules", ""),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path: Path, text: str, place: str, what: str, fix: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ManifestError) as caught:
        load_rules((path,))
    assert what in caught.value.what
    assert f"{path}{place}" in caught.value.where + ":"
    assert fix in caught.value.fix


def test_a_users_own_file_is_read_and_takes_part_in_the_identity(tmp_path: Path) -> None:
    stage = Rules(rulesets=("gopher", write(tmp_path, GOOD)))
    assert stage.rules()[-1].name == "own/words@1"
    assert stage.files() == (str(tmp_path / "own.yaml"),)
    assert "signals.word_count" in stage.needs()


def test_one_name_with_two_meanings_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("own/words@1", "gopher/word_count@1"))
    with pytest.raises(ManifestError, match="means two things"):
        load_rules(("gopher", path))


def test_a_missing_measurement_is_an_error_not_a_verdict() -> None:
    batch = batch_of({"word_count": pa.array([1, None], pa.int32())})  # type: ignore[dict-item]
    with pytest.raises(StageError, match="null in 1 rows"):
        judge(batch, [Rule(name="t/words@1", signal="word_count", min=5, source="test")])


PROSE = (
    "The keeper of the garden walked along the river in the morning, and she looked at the boats that had come in. "
    "It was cold, but the sun stood over the hills. Nobody spoke. They have been there for hours with their nets, "
    "waiting for a sign of fish, and to her it seemed a good place to be. What would happen when the bridge opened?\n\n"
    "Later, an old man sat down beside the path. He had a basket of apples, some bread, and a letter which he would "
    "not read aloud. “Some things,” he said, “are better left until evening.” She laughed and went on her way."
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE, None),
        ("https://example.org/page", "wanjuan/only_url@1"),
        ("Too short to keep.", "gopher/word_count@1"),
        (PROSE + "\n\nLorem ipsum dolor sit amet.", "c4/lorem_ipsum@1"),
        ("\n".join(f"item {at} of the menu and that" for at in range(40)), "wanjuan/sentence_count@1"),
        ("The same line of text again and again, that is to say.\n" * 40, "wanjuan/unique_words@1"),
        (PROSE.replace(" ", " # "), "wanjuan/alpha_words@1"),
        (PROSE.replace(".", "{}{}."), "wanjuan/curly_brackets@1"),
        (PROSE.replace(",", " □"), "wanjuan/garbage@1"),
    ],
)
def test_the_default_rules_judge_real_kinds_of_text(text: str, reason: str | None) -> None:
    after = judge(batch_of(measure(pa.array([text]))), load_rules())
    assert after.column("reason").to_pylist() == [reason], after.column("detail")
