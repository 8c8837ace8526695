"""The whole recipe on a small model: what the paper says of rectified routers holds; what is refused beforehand."""

from __future__ import annotations

import json

import pytest

from corpus.errors import CorpusError, ManifestError, TrainingError
from tests.training.moe.corpus import VOCAB, grammar_tokens
from training.checkpoint import read_shape
from training.config import Phase, Schedule
from training.dynamic import DynamicLoading
from training.llama import new_model
from training.moe.checkpoint import open_mixture, read_config
from training.moe.recipe import MoeRecipe, check, runs
from training.moe.run import run_moe
from training.moe.settings import Mixture, Rectify
from training.moe.upcycle import upcycle
from training.ranks import Ranks
from training.recipe import Source, TrainedSource
from training.shape import LlamaShape

SHAPE = LlamaShape(
    layers=2, hidden=32, intermediate=96, heads=2, kv_heads=1, head_dim=16, vocab=VOCAB, feed_forward="relu"
)
FACTORS = (0.5, 1.5)


def phase(steps, peak, **changes):
    return Phase(
        **{
            "steps": steps,
            "global_batch": 16,
            "micro_batch": 16,
            "schedule": Schedule(peak=peak),
            "evaluate_every": 1000,
            "evaluate_rows": 64,
            "log_every": 5,
            **changes,
        }
    )


def recipe(tokens, output, **changes):
    return MoeRecipe(
        **{
            "train": "moe",
            "output": output,
            "data": str(tokens),
            "source": Source(train=TrainedSource(shape=SHAPE, phase=phase(300, 5e-3))),
            "mixture": Mixture(ranks=4, every=1),
            "continued": phase(40, 1e-3),
            "capacity_factors": FACTORS,
            "executor": "local",
            **changes,
        }
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return grammar_tokens(tmp_path_factory.mktemp("grammar"))


@pytest.fixture(scope="module")
def done(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("moe")
    return folder, run_moe(recipe(corpus, folder), Ranks.current(), lambda _: None)


def loss(done, name, kind="held_out"):
    return done[1][name][kind]["grammar"]


def facts(done, name, fact):
    """Mean over the log."""
    lines = [json.loads(line) for line in (done[0] / name / "log.jsonl").read_text().splitlines()]
    values = [line[f"moe/{fact}"] for line in lines if f"moe/{fact}" in line]
    return sum(values) / len(values)


@pytest.mark.parametrize("factor", FACTORS)
def test_stand_ins_recover_what_plain_routing_loses(done, factor):
    vanilla, intra, both = (f"{arm}_cf{factor:g}" for arm in ("vanilla", "intra", "both"))
    assert loss(done, intra) < loss(done, vanilla) - 0.1
    assert loss(done, both) < loss(done, intra) + 0.02
    # also a router that was trained plain, and rectified in use only
    assert loss(done, vanilla, "held_out/intra") < loss(done, vanilla) - 0.05
    assert loss(done, intra) < loss(done, "dense") + 0.05
    assert facts(done, intra, "rerouted") == pytest.approx(facts(done, intra, "dropped"))


def test_filling_in_takes_padding_and_helps_where_there_is_some(done):
    assert loss(done, "fill_in_cf1.5") < loss(done, "vanilla_cf1.5") - 0.005
    assert facts(done, "fill_in_cf1.5", "padded") < facts(done, "vanilla_cf1.5", "padded") / 3
    assert facts(done, "fill_in_cf1.5", "dropped") < facts(done, "vanilla_cf1.5", "dropped")


def test_dropless_drops_and_pads_nothing(done):
    assert loss(done, "dropless") < loss(done, "dense") + 0.05
    assert facts(done, "dropless", "dropped") == facts(done, "dropless", "padded") == 0


def test_every_arm_leaves_a_model_and_counts_its_work(done):
    folder, summaries = done
    assert set(summaries) == {"source", "dense", "dropless"} | {
        f"{arm}_cf{factor:g}" for arm in ("vanilla", "intra", "fill_in", "both") for factor in FACTORS
    }
    assert read_shape(folder / "dense" / "model") == SHAPE
    config = read_config(folder / "both_cf0.5" / "model")
    assert config.mixture.rectify == Rectify(intra=True, fill_in=True)
    assert config.mixture.capacity_factor == 0.5
    assert open_mixture(folder / "both_cf0.5" / "model").model.layers[1].mlp.rectify.fill_in
    spent = {name: found["flops"] for name, found in summaries.items()}
    assert spent["vanilla_cf0.5"] < spent["intra_cf0.5"] < spent["vanilla_cf1.5"] < spent["intra_cf1.5"]
    assert spent["vanilla_cf1.5"] == spent["fill_in_cf1.5"]


def test_a_second_run_does_nothing_and_says_the_same(corpus, done):
    lines = []
    assert run_moe(recipe(corpus, done[0]), Ranks.current(), lines.append) == done[1]
    assert lines == []


def test_runs_are_named_by_what_there_are_several_of(tmp_path):
    def names(**changes):
        chosen = recipe("nowhere", tmp_path, **changes)
        assert [*chosen.about()] == ["source", *(run.name for run in runs(chosen))]
        return [run.name for run in runs(chosen)], chosen.product().parts[-3]

    assert names(arms=("vanilla", "dropless"), capacity_factors=()) == (["vanilla", "dropless"], "vanilla")
    seeds = ["dense_seed1", "dense_seed2", "both_cf1_seed1", "both_cf2_seed1", "both_cf1_seed2", "both_cf2_seed2"]
    assert names(arms=("dense", "both"), capacity_factors=(1.0, 2.0), seeds=(1, 2)) == (seeds, "both_cf2_seed2")
    assert names(arms=("dense",)) == (["dense"], "dense")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"continued": phase(40, 1e-3, dynamic=DynamicLoading(every=5))}, "the same mixture of domains only"),
        ({"mixture": Mixture(ranks=4, capacity_factor=None)}, "the arm `dropless` goes without"),
        ({"mixture": Mixture(ranks=4, rectify=Rectify(intra=True))}, "the arms decide"),
        ({"mixture": Mixture(experts=2, top_k=2)}, "no next choice"),
        ({"seeds": (1, 1)}, "seeds: each once"),
        ({"capacity_factors": (-1.0,)}, "above 0"),
        ({"expert_parallel": True, "workers": 8, "executor": "ray"}, "8 workers cannot share 4 ranks"),
        (
            {"expert_parallel": True, "workers": 2, "executor": "ray", "continued": phase(9, 1e-3, parallel="fsdp")},
            "use ddp beside that",
        ),
    ],
)
def test_an_impossible_recipe_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        recipe("nowhere", tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"mixture": Mixture(ranks=4, every=3)}, ManifestError, "every 3th layer .* the model has 2"),
        ({"mixture": Mixture(ranks=3, experts=6)}, ManifestError, "rows have 32 tokens, which 3 ranks"),
        ({"data": "nowhere"}, TrainingError, "nothing has been published here"),
        ({"continued": phase(40, 1e-3, weights={"other": 1.0})}, TrainingError, "unknown domain 'other'"),
    ],
)
def test_what_cannot_work_is_said_before_training(corpus, tmp_path, changes, kind, message):
    with pytest.raises(kind, match=message) as caught:
        check(recipe(corpus, tmp_path / "run", **changes))
    assert isinstance(caught.value, CorpusError)
    assert not (tmp_path / "run").exists()


def test_a_check_tells_sizes(corpus, tmp_path):
    model = upcycle(new_model(SHAPE, 0), Mixture(every=1), 0)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    told = recipe(corpus, tmp_path).check()
    assert told["mixture"] == f"{parameters:,} parameters, experts in layers [0, 1]"
