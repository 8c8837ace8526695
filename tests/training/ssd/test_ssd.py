"""SSD in the trainer: when it switches, what that leaves alone, and what the arms are."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from corpus.errors import ManifestError
from tests.training.jobs import EXPERTS, RELU, SWITCHING, job, numbers, phase
from training.checkpoint import open_model
from training.config import Schedule
from training.dynamic import DynamicLoading
from training.folder import snapshots
from training.moe.settings import Mixture
from training.moefication.layer import feed_forwards, flops_per_token, running
from training.moefication.saved import open_switchable
from training.ranks import Ranks
from training.ssd.recipe import SsdRecipe, Upcycling, check
from training.ssd.run import run_ssd
from training.trainer import Trainer

SETTINGS = {"dynamic": None, "steps": 16, "schedule": Schedule(peak=3e-3, warmup=0.2)}


def run(folder, tokens, plan, **changes):
    """Train a plan; returns the summary and the log."""
    settings = phase(**{**SETTINGS, **changes})
    summary = Trainer(job(folder, tokens, settings, kind=plan), Ranks.current(), lambda _: None).run()
    return summary, numbers(folder)


@pytest.fixture(scope="module")
def arms(tokens, tmp_path_factory):
    """All plans: folder, summary, log."""
    folders = {plan: tmp_path_factory.mktemp(plan) for plan in ("ssd", "dense", "once", "smoe")}
    return {plan: (folder, *run(folder, tokens, plan)) for plan, folder in folders.items()}


def modes(log):
    """Steps after which the mode changed, and what to."""
    return [(line["step"], line["mode"]) for line in log if "mode" in line]


def test_phases_take_turns_and_the_last_is_dense(arms):
    # two check-ups to compare, then two dense steps and three sparse ones by turns; the last three (20 %) are dense,
    # and the one that is left before them is not worth a division
    assert modes(arms["ssd"][2]) == [
        (2, "sparse"),
        (5, "dense"),
        (7, "sparse"),
        (10, "dense"),
    ]
    assert modes(arms["dense"][2]) == []
    assert modes(arms["once"][2]) == [(2, "sparse")]
    assert modes(arms["smoe"][2]) == []


def test_it_stays_dense_while_neurons_change_partners(tokens, tmp_path):
    strict = job(tmp_path, tokens, phase(**SETTINGS), kind="ssd")
    strict.learner.rule = SWITCHING.model_copy(update={"stable": 1.0})
    Trainer(strict, Ranks.current(), lambda _: None).run()
    log = numbers(tmp_path)
    assert modes(log) == []
    found = [line["similarity"] for line in log if "similarity" in line]
    assert len(found) == 15
    assert max(found) < 1.0


def test_flops_are_those_of_the_mode(arms):
    log = arms["ssd"][2]
    totals = {line["step"]: line["flops"] for line in log}
    per_step = {after: totals[after] - totals[before] for before, after in pairwise(sorted(totals))}
    places = 8 * 32
    dense, sparse = (flops_per_token(RELU, EXPERTS, sparse=mode) * places for mode in (False, True))
    # steps 3 to 5 are the first sparse phase
    assert [per_step[step] for step in (2, 3, 4, 5, 6)] == [dense, sparse, sparse, sparse, dense]
    assert arms["smoe"][1]["flops"] == 16 * sparse


def test_a_switch_leaves_the_learning_rate_alone(arms):
    rates = [[line["lr"] for line in log if "lr" in line] for _, _, log in arms.values()]
    assert len(rates[0]) == 16
    assert all(rate == rates[0] for rate in rates)


def test_up_to_the_first_switch_arms_are_one(arms):
    losses = {plan: [line["loss"] for line in log if "loss" in line] for plan, (_, _, log) in arms.items()}
    assert losses["ssd"][:2] == losses["dense"][:2] == losses["once"][:2]
    assert losses["ssd"][2] != losses["dense"][2]
    assert losses["ssd"][:5] == losses["once"][:5]
    assert losses["smoe"][0] != losses["dense"][0]


def test_every_arm_has_both_losses_at_the_end_and_learns(arms):
    for _, summary, log in arms.values():
        assert summary["held_out"].keys() == summary["held_out/sparse"].keys() == {"easy", "hard"}
        losses = [line["loss"] for line in log if "loss" in line]
        assert losses[-1] < losses[0] - 0.2


def test_the_model_runs_dense_and_sparse_as_it_was_measured(tokens, arms):
    from training.data.source import open_tokens
    from training.evaluate import Evaluation
    from training.learner import LanguageModel

    folder, summary, _ = arms["ssd"]
    model = open_switchable(folder / "model")
    evaluation = Evaluation(open_tokens(str(tokens), "held_out"), 4, Ranks.current(), micro_batch=4)
    for sparse, name in ((False, "held_out"), (True, "held_out/sparse")):
        with running(feed_forwards(model), sparse=sparse):
            losses = evaluation.losses(LanguageModel(model).module, precision=None)
        assert losses == pytest.approx(summary[name], abs=1e-5)
    plain = evaluation.losses(LanguageModel(open_model(folder / "model")).module, precision=None)
    assert plain == pytest.approx(summary["held_out"], abs=1e-5)


@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
def test_compiled_layers_switch_and_learn_the_same(tokens, tmp_path, arms):
    _, log = run(tmp_path, tokens, "ssd", compile=True)
    plain = arms["ssd"][2]
    assert modes(log) == modes(plain)
    for left, right in zip(log, plain, strict=True):
        for key in ("loss", "active", "similarity", "held_out", "held_out/sparse"):
            assert left.get(key) == pytest.approx(right.get(key), abs=1e-3)


def test_snapshots_are_whole_models_from_the_untrained_one_on(tokens, tmp_path, arms):
    run(tmp_path, tokens, "ssd", snapshot_every=8)
    assert [path.name for path in snapshots(tmp_path)] == ["step-00000000", "step-00000008", "step-00000016"]
    # after eight steps it is sparse; before, its neurons are no experts yet
    assert [(path / "experts.json").is_file() for path in snapshots(tmp_path)] == [False, True, True]
    models = [open_model(path) for path in snapshots(tmp_path)]
    inputs = torch.arange(12)[None]
    outputs = [model(inputs) for model in models]
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[2], open_model(tmp_path / "model")(inputs))
    assert torch.equal(outputs[2], open_model(arms["ssd"][0] / "model")(inputs))  # taking them changes nothing


def recipe(tokens, tmp_path, **changes):
    """A recipe on the small corpus."""
    settings = {
        "train": "ssd",
        "output": tmp_path / "out",
        "data": str(tokens),
        "executor": "local",
        "shape": RELU,
        "phase": phase(**SETTINGS),
        "experts": EXPERTS,
        "switching": SWITCHING,
        "baselines": ("dense", "smoe", "upcycled"),
        "probe_tokens": 64,
    }
    return SsdRecipe(**{**settings, **changes})


def test_upcycling_goes_on_with_the_learning_rate():
    whole = phase(**{**SETTINGS, "steps": 100})
    rest = Upcycling(after=0.6).settings(whole)
    assert (rest.steps, rest.seed) == (40, whole.seed + 1)
    for step, reached in ((0, 60), (40, 100)):
        rates = [p.schedule.peak * p.schedule.at(at, p.steps) for p, at in ((rest, step), (whole, reached))]
        assert rates[0] == pytest.approx(rates[1])


def test_a_recipe_runs_its_arms_once(tokens, tmp_path):
    summaries = run_ssd(recipe(tokens, tmp_path), Ranks.current(), lambda _: None)
    assert list(summaries) == ["ssd", "dense", "smoe", "upcycled"]
    assert [summaries[name]["steps"] for name in summaries] == [16, 16, 16, 8]
    told: list[dict] = []
    again = run_ssd(recipe(tokens, tmp_path), Ranks.current(), told.append)
    assert again == summaries
    assert told == []
    assert json.loads((tmp_path / "out" / "ssd" / "model" / "experts.json").read_text())["number"] == 6


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"shape": RELU.model_copy(update={"feed_forward": "swiglu"})}, ValidationError, "feed_forward: relu"),
        ({"experts": EXPERTS.model_copy(update={"number": 7})}, ValidationError, "divided evenly into 7 experts"),
        ({"upcycling": Upcycling(mixture=Mixture(every=3))}, ManifestError, "every 3th layer"),
        ({"baselines": ("upcycled",)}, ValidationError, "name both"),
        ({"shape": RELU.model_copy(update={"vocab": 200})}, ManifestError, "200 token ids, the corpus uses 300"),
        ({"phase": phase(dynamic=DynamicLoading(every=5))}, ManifestError, "no source model"),
        ({"workers": 3, "executor": "ray"}, ValidationError, "cannot be shared evenly by 3 workers"),
    ],
)
def test_what_cannot_work_is_said_before_training(tokens, tmp_path, changes, kind, message):
    with pytest.raises(kind, match=message):
        check(recipe(tokens, tmp_path, **changes))
