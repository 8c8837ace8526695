"""The planner: which rows make a step, how weights change, and what happens where a domain runs out."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import TrainingError
from training.data.planner import Planner, PlannerState

ROWS = {"a": 50, "b": 30, "c": 20}
EVEN = {"a": 0.5, "b": 0.3, "c": 0.2}


def planner(rows=ROWS, weights=EVEN, batch=10, exhausted="repeat"):
    return Planner.start(rows, weights, batch=batch, exhausted=exhausted)


def plans(made, steps):
    out = []
    for _ in range(steps):
        plan = made.plan()
        if plan is None:
            break
        out.append(plan)
    return out


def shown(found):
    return [(p.step, p.domain.tolist(), p.position.tolist(), p.version, p.after.model_dump_json()) for p in found]


def counts(found, domains=3):
    return np.array([np.bincount(plan.domain, minlength=domains) for plan in found])


def again(state):
    """The state as it comes back from a file."""
    return PlannerState.model_validate_json(state.model_dump_json())


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.01), st.integers(1, 33))
def test_every_prefix_of_rows_has_each_domain_s_share_to_less_than_a_row(weights, batch):
    total = sum(weights)
    made = planner(weights=dict(zip("abc", (w / total for w in weights), strict=True)), batch=batch)
    domains = np.concatenate([plan.domain for plan in plans(made, 20)])
    taken = np.cumsum(np.eye(3)[domains], axis=0)
    owed = np.arange(1, len(domains) + 1)[:, None] * np.array(weights) / total
    assert np.abs(taken - owed).max() <= 1 + 1e-6  # weights are rounded to 2^-30


def test_a_domain_s_positions_count_up_without_gaps_over_all_steps():
    found = plans(planner(batch=7), 40)
    for number in range(3):
        positions = np.concatenate([plan.position[plan.domain == number] for plan in found])
        assert positions.tolist() == list(range(len(positions)))
        assert found[-1].after.taken[number] == len(positions)


@settings(max_examples=40)
@given(st.integers(0, 29), st.integers(1, 12), st.sampled_from(["repeat", "renormalise", "stop"]))
def test_a_plan_goes_on_from_the_state_after_any_step(cut, batch, exhausted):
    rows = {"a": 40, "b": 11, "c": 200}
    weights = {"a": 0.4, "b": 0.25, "c": 0.35}
    whole = plans(planner(rows, weights, batch, exhausted), 17 if exhausted == "renormalise" and batch > 10 else 20)
    if cut >= len(whole):
        return
    resumed = planner(rows, {"a": 1.0}, batch, exhausted)
    resumed.restore(again(whole[cut].after))
    assert shown(plans(resumed, len(whole) - cut - 1)) == shown(whole[cut + 1 :])


def test_weights_change_at_their_step_and_stay_right_over_all_spans():
    made = planner()
    found = plans(made, 5)
    change = made.change(9, {"c": 1.0}, "try", {"loss": 2.5})
    assert change.model_dump() == {
        "step": 9,
        "weights": {"a": 0, "b": 0, "c": 1},
        "reason": "try",
        "facts": {"loss": 2.5},
    }
    made.change(12, {"a": 0.5, "b": 0.5}, "", {})
    found += plans(made, 10)
    assert counts(found[:9]).tolist() == [[5, 3, 2]] * 9
    assert counts(found[9:12]).tolist() == [[0, 0, 10]] * 3
    assert counts(found[12:]).tolist() == [[5, 5, 0]] * 3
    assert [plan.version for plan in found] == [0] * 9 + [1] * 3 + [2] * 3
    assert [entry.step for entry in made.journal()] == [0, 9, 12]


def test_changes_may_be_declared_in_any_order_and_replace_one_another():
    made = planner()
    made.change(6, {"b": 1.0}, "", {})
    made.change(3, {"c": 1.0}, "", {})
    made.change(6, {"a": 1.0}, "better", {})
    found = plans(made, 8)
    assert [int(row.argmax()) for row in counts(found)] == [0, 0, 0, 2, 2, 2, 0, 0]
    assert [(entry.step, entry.reason) for entry in made.journal()] == [(0, "start"), (3, ""), (6, "better")]


def test_the_weights_of_the_next_step_are_told():
    made = planner()
    assert made.weights() == EVEN
    made.change(2, {"c": 1.0}, "", {})
    assert made.weights() == EVEN
    plans(made, 2)
    assert made.weights() == {"a": 0, "b": 0, "c": 1}
    plans(made, 1)
    assert made.weights() == {"a": 0, "b": 0, "c": 1}


@pytest.mark.parametrize("step", [0, 3, -1])
def test_a_change_of_a_planned_step_is_refused_and_changes_nothing(step):
    made = planner()
    plans(made, 4)
    before = made.journal()
    with pytest.raises(TrainingError, match=f"step {step} come too late: steps up to 3 are planned") as caught:
        made.change(step, {"a": 1.0}, "", {})
    assert "step 4" in caught.value.fix
    assert made.journal() == before


def test_weights_that_are_not_valid_change_nothing():
    made = planner()
    with pytest.raises(TrainingError, match=r"sum to 0\.5"):
        made.change(4, {"a": 0.5}, "", {})
    assert len(made.journal()) == 1


def test_changes_declared_for_later_are_in_the_state_and_come_into_force_on_resume():
    made = planner()
    plans(made, 3)
    made.change(7, {"b": 1.0}, "planned", {})
    state = made.state.model_copy(update={"journal": made.journal()})
    resumed = planner()
    resumed.restore(again(state))
    assert [entry.step for entry in resumed.journal()] == [0, 7]
    assert shown(plans(resumed, 9)) == shown(plans(made, 9))


def test_repeat_takes_rows_of_the_next_epoch():
    found = plans(planner(), 40)
    assert counts(found).sum(axis=0).tolist() == [200, 120, 80]
    assert found[-1].after.taken == (200, 120, 80)


def test_stop_ends_before_the_step_that_lacks_rows_and_stays_ended():
    made = planner({"a": 500, "b": 10, "c": 500}, exhausted="stop")
    found = plans(made, 50)
    assert len(found) == 3  # three rows of b a step
    assert made.plan() is None
    resumed = planner({"a": 500, "b": 10, "c": 500}, exhausted="stop")
    resumed.restore(again(found[-1].after))
    assert resumed.plan() is None


def test_stop_uses_up_a_domain_that_ends_with_its_step():
    assert len(plans(planner({"a": 500, "b": 9, "c": 500}, exhausted="stop"), 50)) == 3


def test_error_names_domain_and_step():
    made = planner({"a": 500, "b": 10, "c": 500}, exhausted="error")
    assert len([made.plan() for _ in range(3)]) == 3
    with pytest.raises(TrainingError, match="'b' ran out of rows at step 3") as caught:
        made.plan()
    assert "repeat" in caught.value.fix


def test_renormalise_gives_the_weight_of_an_empty_domain_to_the_others_in_the_middle_of_a_step():
    rows = {"a": 500, "b": 10, "c": 500}
    made = planner(rows, exhausted="renormalise")
    found = plans(made, 30)
    assert counts(found)[:3].tolist() == [[5, 3, 2]] * 3
    assert counts(found)[3][1] == 1
    assert counts(found)[:, 1].sum() == 10
    assert all(len(plan.domain) == 10 for plan in found)
    a, b, _ = counts(found)[4:].sum(axis=0)
    assert b == 0
    assert abs(a - 260 * 5 / 7) < 2
    _, ran_out = made.journal()
    assert (ran_out.step, ran_out.reason, ran_out.facts) == (3, "ran out", {"domain": "b"})
    assert ran_out.weights == pytest.approx({"a": 5 / 7, "b": 0, "c": 2 / 7})
    for cut in (1, 2, 3, 4, 10):
        resumed = planner(rows, exhausted="renormalise")
        resumed.restore(again(found[cut].after.model_copy(update={"journal": made.journal()})))
        assert shown(plans(resumed, 29 - cut)) == shown(found[cut + 1 :])


def test_renormalise_goes_on_to_the_last_row_of_the_last_domain():
    rows = {"a": 13, "b": 30, "c": 7}
    made = planner(rows, batch=5, exhausted="renormalise")
    found = [made.plan() for _ in range(10)]
    assert counts(found).sum(axis=0).tolist() == [13, 30, 7]
    assert [entry.facts["domain"] for entry in made.journal()[1:]] == ["a", "c"]
    with pytest.raises(TrainingError, match="ran out of rows at step 10"):
        made.plan()


def test_weights_given_to_a_domain_that_ran_out_are_spread_again():
    made = planner({"a": 10, "b": 900, "c": 900}, exhausted="renormalise")
    plans(made, 5)
    made.change(5, {"a": 0.8, "b": 0.1, "c": 0.1}, "mine", {})
    found = plans(made, 2)
    assert counts(found).tolist() == [[0, 5, 5], [0, 5, 5]]
    assert [entry.reason for entry in made.journal()] == ["start", "ran out", "mine", "ran out"]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from(["repeat", "renormalise"]))
def test_states_replay_whatever_changes_came_when(seed, exhausted):
    rows = {"a": 90, "b": 60, "c": 10_000}
    rng = np.random.default_rng(seed)
    made = planner(rows, exhausted=exhausted)
    found, states = [], []
    for _ in range(30):
        if rng.random() < 0.4:
            weights = rng.dirichlet([1, 1, 1])
            step = made.step + int(rng.integers(0, 6))
            made.change(step, dict(zip("abc", (weights / weights.sum()).tolist(), strict=True)), "r", {"n": int(seed)})
        found += plans(made, 1)
        states.append(found[-1].after.model_copy(update={"journal": made.journal()}))
    for cut in rng.choice(30, 4, replace=False).tolist():
        resumed = planner(rows, exhausted=exhausted)
        # changes that were declared later cannot be in the state: the final journal stands for them
        resumed.restore(again(states[cut].model_copy(update={"journal": made.journal()})))
        replayed = plans(resumed, 29 - cut)
        assert [p.domain.tolist() for p in replayed] == [p.domain.tolist() for p in found[cut + 1 :]]
        assert [p.position.tolist() for p in replayed] == [p.position.tolist() for p in found[cut + 1 :]]
        assert replayed == [] or replayed[-1].after.carry == found[-1].after.carry


def test_a_domain_without_rows_is_refused_where_it_has_weight():
    with pytest.raises(TrainingError, match="no rows in: b"):
        planner({"a": 5, "b": 0, "c": 1})
    made = planner({"a": 5, "b": 0, "c": 1}, {"a": 1.0})
    assert plans(made, 2)[1].domain.tolist() == [0] * 10
    with pytest.raises(TrainingError, match="no rows in: b"):
        made.change(5, {"b": 1.0}, "", {})


def test_weight_zero_gives_no_row_and_no_debt():
    made = planner(weights={"a": 0.7, "b": 0.3, "c": 0.0})
    found = plans(made, 50)
    assert counts(found).sum(axis=0).tolist() == [350, 150, 0]
    assert found[-1].after.carry[2] == 0
    made.change(50, {"c": 1.0}, "", {})
    assert counts(plans(made, 1)).tolist() == [[0, 0, 10]]


def test_a_state_is_a_few_numbers_per_domain():
    names = [f"domain{number:02d}" for number in range(20)]
    made = planner(dict.fromkeys(names, 10), dict.fromkeys(names, 0.05), batch=256)
    plans(made, 500)
    assert len(made.state.model_dump_json(exclude={"journal"})) < 1000


def test_known_plan():
    found = plans(planner(batch=8), 3)
    assert [plan.domain.tolist() for plan in found] == [
        [0, 1, 0, 2, 0, 1, 0, 2],
        [0, 1, 0, 1, 0, 2, 0, 1],
        [0, 2, 0, 1, 0, 1, 0, 2],
    ]
    assert found[-1].after.taken == (12, 7, 5)


def test_steps_count_up():
    assert [plan.step for plan, _ in zip(plans(planner(), 20), count(), strict=False)] == list(range(20))
