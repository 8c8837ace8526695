"""The trainer: a phase is the same however it is cut up, killed, or shared; what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from corpus.errors import TrainingError
from tests.training.jobs import job, numbers, phase
from training.checkpoint import open_model
from training.config import Schedule
from training.data.source import open_tokens
from training.evaluate import Evaluation
from training.folder import checkpoints
from training.learner import LanguageModel
from training.ranks import Ranks
from training.trainer import Trainer

ROOT = Path(__file__).parents[2]


def train(folder, tokens, *, kind="plain", **changes):
    """Run a job here; returns its summary."""
    return Trainer(job(folder, tokens, phase(**changes), kind=kind), Ranks.current(), lambda _: None).run()


def programs(folder, tokens, world, **changes):
    """The same in ``world`` processes of their own; returns their exit codes."""
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "store"
    store.unlink(missing_ok=True)
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.training.jobs", str(folder), str(tokens)),
                *(str(rank), str(world), str(store), json.dumps(changes)),
            ],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [process.communicate()[1] for process in started]
    codes = [process.returncode for process in started]
    assert all(code in (0, -9) for code in codes), errors
    return codes


def weights(folder):
    """What was learnt."""
    return load_file(folder / "model" / "model.safetensors")


def same(left, right):
    """Whether two sets of tensors are equal bit by bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def whole(tokens, tmp_path_factory):
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder, tokens)


def test_a_run_learns_and_says_what_it_did(whole):
    folder, summary = whole
    log = numbers(folder)
    losses = [line["loss"] for line in log if "loss" in line]
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 0.3
    assert summary["steps"] == 12
    assert summary["drawn"]["easy"] + summary["drawn"]["hard"] == 96
    assert sum(p.numel() for p in open_model(folder / "model").parameters()) > 0
    assert [line["step"] for line in log if "held_out" in line] == [3, 6, 9, 12]


def test_dynamic_loading_changes_the_mixture_where_the_journal_says(whole):
    journal = whole[1]["journal"]
    # an evaluation after step 3 takes effect behind the four steps that are planned by then
    assert [change["step"] for change in journal] == [0, 7, 10, 13, 16]
    assert journal[1]["weights"]["easy"] > journal[0]["weights"]["easy"]
    assert journal[1]["facts"]["losses"].keys() == {"easy", "hard"}


@pytest.mark.parametrize("kind", ["plain", "pruned", "ssd"])
def test_a_killed_run_goes_on_bit_by_bit(tokens, tmp_path, kind):
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    assert programs(plain, tokens, 1, kind=kind) == [0]
    assert programs(killed, tokens, 1, kind=kind, die=7) == [-9]
    assert [path.name for path in checkpoints(killed)] == ["step-00000004"]
    assert programs(killed, tokens, 1, kind=kind, die=10) == [-9]
    assert programs(killed, tokens, 1, kind=kind) == [0]
    assert same(weights(plain), weights(killed))
    assert numbers(plain) == numbers(killed)


def test_a_torn_checkpoint_is_no_checkpoint(tokens, tmp_path, whole):
    assert programs(tmp_path, tokens, 1, die=7) == [-9]
    (tmp_path / "checkpoints" / "step-00000006.partial").mkdir()
    (tmp_path / "checkpoints" / "step-00000008").mkdir()  # without a state it was never finished
    train(tmp_path, tokens)
    assert same(weights(tmp_path), weights(whole[0]))


def test_micro_batches_only_cost_time(tokens, tmp_path, whole):
    train(tmp_path, tokens, micro_batch=3)  # which does not even divide the batch
    for name, value in weights(tmp_path).items():
        torch.testing.assert_close(value, weights(whole[0])[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("kind", ["plain", "pruned", "ssd"])
def test_two_ranks_learn_what_one_does(tokens, tmp_path, parallel, kind):
    assert programs(tmp_path / "one", tokens, 1, kind=kind) == [0]
    assert programs(tmp_path / "two", tokens, 2, kind=kind, parallel=parallel) == [0, 0]
    for left, right in zip(numbers(tmp_path / "one"), numbers(tmp_path / "two"), strict=True):
        assert left["step"] == right["step"]
        assert left.get("loss", 0) == pytest.approx(right.get("loss", 0), abs=2e-4)
        for mode in ("held_out", "held_out/sparse"):
            assert left.get(mode, {}) == pytest.approx(right.get(mode, {}), abs=2e-4)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_checkpoint_of_two_ranks_serves_one(tokens, tmp_path, parallel):
    assert programs(tmp_path, tokens, 2, parallel=parallel, die=7).count(-9) >= 1
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000004"]
    assert programs(tmp_path, tokens, 1, parallel=parallel) == [0]
    assert [line["step"] for line in numbers(tmp_path) if "loss" in line] == list(range(1, 13))


def test_a_finished_phase_is_not_run_again(tokens, whole):
    folder, summary = whole
    assert not checkpoints(folder)
    before = (folder / "log.jsonl").stat().st_mtime_ns
    assert train(folder, tokens) == summary
    assert (folder / "log.jsonl").stat().st_mtime_ns == before


def test_a_folder_of_other_settings_is_refused(tokens, whole):
    with pytest.raises(TrainingError, match="other settings, another model or another corpus"):
        train(whole[0], tokens, steps=13)


def test_a_loss_that_is_no_number_stops_the_run(tokens, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss of step \d+ is (nan|inf)"):
        train(tmp_path, tokens, schedule=Schedule(peak=1e36, warmup=0.0), dynamic=None)


def test_attention_within_documents_is_another_loss_in_training_and_on_held_out_rows(tokens, tmp_path, whole):
    train(tmp_path, tokens, document_attention=True)
    model = open_model(tmp_path / "model")
    module, corpus = LanguageModel(model).module, open_tokens(str(tokens), "held_out")
    told = [line["held_out"] for line in numbers(tmp_path) if "held_out" in line][-1]
    for within in (True, False):
        evaluation = Evaluation(corpus, 4, Ranks.current(), micro_batch=4, document_attention=within)
        assert (evaluation.losses(module, precision=None) == pytest.approx(told, abs=1e-4)) == within
    losses = [[line["loss"] for line in numbers(folder) if "loss" in line] for folder in (tmp_path, whole[0])]
    assert losses[0] != losses[1]
    assert losses[0][-1] < losses[0][0] - 0.3


def test_the_schedule_warms_up_and_comes_down():
    schedule = Schedule(peak=1.0, warmup=0.1, final=0.1)
    factors = [schedule.at(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == pytest.approx(1.0)
    assert factors[10] == pytest.approx(1.0)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert schedule.at(100, 100) == pytest.approx(0.1)
