"""``pipeline run`` of SSD, mixtures and modularity: alone, on Ray with a worker that dies, and what they show."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.pipeline.trained import PHASE, digests, resumed
from tests.training.data.made import easy_and_hard, run_pipeline
from training.checkpoint import open_model
from training.moe.checkpoint import open_mixture
from training.moefication.saved import open_switchable

SHAPE = {"layers": 2, "hidden": 32, "intermediate": 48, "heads": 2, "kv_heads": 2, "head_dim": 16, "vocab": 300}
RELU = SHAPE | {"feed_forward": "relu"}
SSD = {
    "train": "ssd",
    "shape": RELU,
    "phase": PHASE,
    "experts": {"number": 6, "active": 2},
    "switching": {"check_every": 1, "stable": 0.1, "dense_steps": 2, "sparse_steps": 3, "final_dense": 0.2},
    "probe_tokens": 64,
    "upcycling": {"mixture": {"experts": 2, "every": 1, "capacity_factor": None}},
}
MOE = {
    "train": "moe",
    "source": {"train": {"shape": SHAPE, "phase": PHASE}},
    "mixture": {"experts": 4, "top_k": 1, "ranks": 2},
    "continued": PHASE | {"micro_batch": 8},
    "arms": ["vanilla", "both"],
}
MODULARITY = {
    "train": "modularity",
    "model": {"train": {"shape": RELU, "phase": PHASE | {"snapshot_every": 8}}},
    "functions": [{"kind": "topics", "length": 16, "per_class": 20}],
    "experts": 4,
    "top_share": 0.2,
    "partitions": 99,
    "perturbation": {"budgets": [1], "layers": 1, "seeds": 1, "sequences": 8},
}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Path:
    return easy_and_hard(tmp_path_factory.mktemp("tokens"))


def run(folder: Path, tokens: Path, recipe: dict, *, executor: str = "local", environment=None, **changes) -> dict:
    """The run's answer."""
    manifest = folder / "manifest.yaml"
    manifest.write_text(
        json.dumps({"output": str(folder / "out"), "data": str(tokens), "executor": executor} | recipe | changes)
    )
    done = run_pipeline("run", str(manifest), "--json", **(environment or {}))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def ssd(tokens, tmp_path_factory):
    """The run in one plain process: its folder and answer."""
    folder = tmp_path_factory.mktemp("ssd")
    return folder / "out", run(folder, tokens, SSD)


def test_ssd_answers_with_the_losses_of_both_modes(ssd):
    output, answer = ssd
    names = {"ssd", "dense", "once", "smoe", "upcycled"}
    assert set(digests(output)) == names
    assert answer["sha256"] == digests(output)["ssd"]
    modes = {f"held-out loss/sparse, {name}" for name in names - {"upcycled"}}
    assert set(answer["metrics"]) == {f"held-out loss, {name}" for name in names} | modes
    model = open_switchable(output / "ssd" / "model")
    assert model.shape.intermediate == 48
    assert open_mixture(output / "upcycled" / "model") is not None


def page(output: Path, *words: str) -> str:
    """The report, which must be one page without scripts and say these words."""
    text = (output / "report.html").read_text("utf-8")
    assert "<script" not in text
    assert not re.search(r"""(src|href)=["']?https?:""", text)
    for word in words:
        assert word in text
    return text


def test_the_report_of_ssd_says_what_it_cost(ssd):
    text = page(ssd[0], "SSD ended at", "of its steps were sparse, in 2 phases", "Neurons that fire for a token")
    assert f"{ssd[1]['metrics']['held-out loss/sparse, ssd']:.3f}" in text
    assert "Busiest expert" in text
    again = run_pipeline("report", str(ssd[0]))
    assert again.returncode == 0, again.stderr
    assert (ssd[0] / "report.html").read_text("utf-8") == text


def test_status_of_ssd(ssd):
    done = run_pipeline("status", str(ssd[0]), "--json")
    assert [entry["phase"] for entry in json.loads(done.stdout)["phases"]] == [
        "ssd",
        "dense",
        "once",
        "smoe",
        "upcycled",
    ]


def test_a_killed_ssd_goes_on_in_the_mode_it_was_in(tokens, tmp_path, ssd):
    environment = {"CORPUS_CRASH_AT": "trainer.step:10"}  # its second sparse phase began with step 8
    manifest = tmp_path / "manifest.yaml"
    whole = {"output": str(tmp_path / "out"), "data": str(tokens), "executor": "local", **SSD, "baselines": []}
    manifest.write_text(json.dumps(whole))
    assert run_pipeline("run", str(manifest), **environment).returncode == -signal.SIGKILL
    assert run_pipeline("run", str(manifest)).returncode == 0
    assert resumed(tmp_path / "out", "ssd") == ["step-00000008"]
    assert digests(tmp_path / "out")["ssd"] == digests(ssd[0])["ssd"]


def test_ssd_on_ray_survives_a_worker(tokens, tmp_path, ssd):
    crash = {"CORPUS_CRASH_AT": "trainer.step:6", "CORPUS_CRASH_ONCE": str(tmp_path / "crashed")}
    run(tmp_path, tokens, SSD, executor="ray", environment=crash, baselines=[])
    assert (tmp_path / "crashed").exists()
    assert digests(tmp_path / "out")["ssd"] == digests(ssd[0])["ssd"]


def test_two_workers_share_ssd(tokens, tmp_path, ssd):
    answer = run(tmp_path, tokens, SSD, executor="ray", workers=2, baselines=[])
    for mode in ("held-out loss, ssd", "held-out loss/sparse, ssd"):
        assert answer["metrics"][mode] == pytest.approx(ssd[1]["metrics"][mode], abs=2e-3)


def test_a_mixture_runs_and_shows_what_its_router_did(tokens, tmp_path):
    answer = run(tmp_path, tokens, MOE)
    output = tmp_path / "out"
    assert set(digests(output)) == {"source", "vanilla", "both"}
    assert answer["sha256"] == digests(output)["both"]
    assert "held-out loss/intra, vanilla" in answer["metrics"]
    page(
        output,
        "Plain routing (vanilla) ended at",
        "slots padded in the last step: vanilla ",
        "Tokens that reached no expert",
        "Slots that were padding",
    )
    assert open_mixture(output / "both" / "model") is not None


def test_a_mixture_on_ray_sends_tokens_to_experts_elsewhere(tokens, tmp_path):
    alone = run(_made(tmp_path / "alone"), tokens, MOE, arms=["both"])
    spread = run(
        _made(tmp_path / "spread"), tokens, MOE, executor="ray", workers=2, arms=["both"], expert_parallel=True
    )
    # the same experts for the same rows, but in other micro-batches: tokens compete with other tokens
    assert spread["metrics"]["held-out loss, both"] == pytest.approx(alone["metrics"]["held-out loss, both"], abs=0.1)
    found = open_mixture(tmp_path / "spread" / "out" / "both" / "model")
    assert sum(parameter.numel() for parameter in found.parameters()) == sum(
        parameter.numel() for parameter in open_mixture(tmp_path / "alone" / "out" / "both" / "model").parameters()
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_modularity_trains_looks_and_shows(tokens, tmp_path):
    run(tmp_path, tokens, MODULARITY, executor="ray")
    output = tmp_path / "out"
    assert open_model(output / "source" / "model").shape.feed_forward == "relu"
    assert (output / "modularity.json").is_file()
    page(output)
    status = json.loads(run_pipeline("status", str(output), "--json").stdout)
    assert status["phases"][0]["phase"] == "source"
    again = run_pipeline("report", str(output))
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("recipe", "change", "code", "words"),
    [
        (SSD, {"shape": SHAPE}, 2, ["feed_forward: relu"]),
        (SSD, {"experts": {"number": 6, "activ": 2}}, 2, ["did you mean 'active'", "manifest.yaml:"]),
        (SSD, {"experts": {"number": 5}}, 2, ["8 of 5 experts cannot be active"]),
        (SSD, {"data": "nowhere"}, 1, ["nothing has been published here"]),
        (MOE, {"mixture": {"experts": 4, "ranks": 3}}, 2, ["cannot be dealt out evenly to 3 ranks"]),
        (MOE, {"mixture": {"experts": 4, "every": 5}}, 2, ["smaller `every`"]),
        (MODULARITY, {"experts": 5}, 2, ["5"]),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(tokens, tmp_path, recipe, change, code, words):
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(json.dumps({"output": str(tmp_path / "out"), "data": str(tokens)} | recipe | change))
    done = run_pipeline("run", str(manifest))
    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "out").exists()
