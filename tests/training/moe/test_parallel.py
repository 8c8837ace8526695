"""Experts spread over processes compute, and learn, what virtual ranks do in one."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from corpus.errors import TrainingError
from tests.training.jobs import SHAPE, numbers
from tests.training.moe.programs import batch, layer_outcome, run_on_two, train
from tests.training.moe.test_layer import made
from training.folder import checkpoints
from training.moe.checkpoint import open_mixture
from training.moe.parallel import spread
from training.moe.recipe import MoeRecipe
from training.moe.run import run_moe
from training.parallel import clip_norm
from training.ranks import Ranks

ONE = Ranks(0, 1, torch.device("cpu"))
SETTINGS = [
    {"kind": kind, "top_k": top_k, "ranks": ranks, "capacity_factor": factor, "rectify": rectify}
    for kind, top_k, ranks, factor, rectify in [
        ("swiglu", 1, 2, 1.0, {}),
        ("swiglu", 2, 2, 0.5, {"intra": True, "fill_in": True}),
        ("relu", 1, 4, 0.5, {"intra": True}),
        ("relu", 2, 2, None, {}),
        ("swiglu", 1, 4, None, {}),
    ]
]
"""``ranks`` 4 on two processes: each has two virtual ranks."""


PHASE = {"steps": 6, "global_batch": 8, "schedule": {"peak": 3e-3}, "evaluate_rows": 4, "log_every": 1}
MIXTURE = {"experts": 4, "ranks": 2, "every": 1, "rectify": {"intra": True}}


@pytest.fixture(scope="module")
def folder(tokens, tmp_path_factory):
    """Two processes do all that is asked of them here."""
    found = tmp_path_factory.mktemp("two")
    tasks = [{"layer": chosen, "out": str(found / f"layer{number}")} for number, chosen in enumerate(SETTINGS)]
    for name, settings in {
        "spread": {"mixture": MIXTURE, "spread": True},
        "killed": {"mixture": MIXTURE, "spread": True, "die": 7},
        "fsdp": {"mixture": MIXTURE | {"rectify": {}}, "parallel": "fsdp"},
        "ddp": {"mixture": MIXTURE | {"rectify": {}}},
    }.items():
        tasks.append({"train": settings, "tokens": str(tokens), "out": str(found / name)})
    spread_out = {"workers": 2, "expert_parallel": True}
    tasks.append({"recipe": recipe(tokens, found / "recipe") | spread_out, "out": ""})
    run_on_two(found, tasks)
    return found


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_two_processes_compute_what_virtual_ranks_do(folder, number):
    alone = layer_outcome(batch(), SETTINGS[number], ONE)
    found = [load_file(folder / f"layer{number}-{rank}.safetensors") for rank in range(2)]
    for name, wanted in alone.items():
        if name in ("out", "x"):
            joined = torch.cat([part[name] for part in found], dim=1)
            torch.testing.assert_close(joined, wanted, rtol=0, atol=1e-5)
        else:  # the mean over ranks of what one process sums
            for part in found:
                torch.testing.assert_close(2 * part[name], wanted, rtol=0, atol=2e-5)


def test_two_processes_train_what_virtual_ranks_do(tokens, folder, tmp_path):
    train(tmp_path, str(tokens), {"mixture": MIXTURE}, ONE)
    assert same_numbers(tmp_path, folder / "spread")
    alone, parts = (load_file(found / "model" / "model.safetensors") for found in (tmp_path, folder / "spread"))
    for name, value in alone.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=2e-3)


def test_a_checkpoint_of_spread_experts_serves_one_process(tokens, folder):
    assert [path.name for path in checkpoints(folder / "killed")] == ["step-00000004"]
    train(folder / "killed", str(tokens), {"mixture": MIXTURE}, ONE)
    assert same_numbers(folder / "spread", folder / "killed")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_with_virtual_ranks_train_what_one_does(tokens, folder, tmp_path, parallel):
    # two processes of two virtual ranks each cut a batch like one of four
    train(tmp_path, str(tokens), {"mixture": MIXTURE | {"ranks": 4, "rectify": {}}}, ONE)
    wanted, found = (numbers(one) for one in (tmp_path, folder / parallel))
    for left, right in zip(wanted, found, strict=True):
        assert right.get("loss", 0) == pytest.approx(left.get("loss", 0), abs=3e-4)


def test_a_recipe_can_spread_experts_over_its_workers(tokens, folder, tmp_path):
    alone = run_moe(MoeRecipe.model_validate(recipe(tokens, tmp_path)), ONE, lambda _: None)
    for name, summary in alone.items():
        found = json.loads((folder / "recipe" / name / "done.json").read_text())
        for kind in [kind for kind in summary if kind.startswith("held_out")]:
            assert found[kind] == pytest.approx(summary[kind], abs=1e-3)
    assert open_mixture(folder / "recipe" / "dropless" / "model").shape == SHAPE


def recipe(tokens, output):
    """As JSON."""
    return {
        "train": "moe",
        "output": str(output),
        "data": str(tokens),
        "source": {"train": {"shape": SHAPE.model_dump(), "phase": PHASE}},
        "mixture": {"experts": 4, "ranks": 2, "every": 2, "top_k": 2},
        "arms": ["vanilla", "both", "dropless"],
        "continued": PHASE,
    }


def same_numbers(one, other):
    """Whether two logs agree but for the order of sums."""
    for left, right in zip(numbers(one), numbers(other), strict=True):
        for name in left.keys() - {"weights", "phase", "flops"}:
            assert right[name] == pytest.approx(left[name], abs=2e-3 if name.startswith("moe/") else 3e-4), name
    return True


def test_a_mixture_for_fewer_ranks_than_processes_is_refused():
    with pytest.raises(TrainingError, match="for 1 ranks, which 2 processes cannot share evenly"):
        spread(made(ranks=1), Ranks(0, 2, torch.device("cpu")))


@pytest.mark.parametrize("limit", [0.1, 100.0])
def test_norms_are_clipped_like_torch_does(limit):
    twins = [[nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(4))] for _ in range(2)]
    for pair in twins:
        for number, parameter in enumerate(pair):
            parameter.grad = torch.full_like(parameter, number + 1.0)
    assert clip_norm(twins[0], limit) == nn.utils.clip_grad_norm_(twins[1], limit)
    for left, right in zip(*twins, strict=True):
        assert torch.equal(left.grad, right.grad)
    assert clip_norm([nn.Parameter(torch.ones(1))], limit) == 0
