"""``pipeline run`` of a sheared manifest: on Ray with two workers, killed in between, and what it leaves behind."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from filelock import FileLock

from tests.pipeline.trained import PHASE, digests, resumed
from tests.training.data.made import easy_and_hard, run_pipeline


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Path:
    return easy_and_hard(tmp_path_factory.mktemp("tokens"))


def write_recipe(path: Path, tokens: Path, output: Path, **changes) -> Path:
    """A manifest (JSON is YAML) that trains a tiny source, prunes it, and trains on."""
    shape = {"layers": 3, "hidden": 32, "intermediate": 48, "heads": 2, "kv_heads": 2, "head_dim": 16, "vocab": 300}
    whole = {
        "train": "sheared",
        "output": str(output),
        "data": str(tokens),
        "source": {"train": {"shape": shape, "phase": PHASE}},
        "target": {"layers": 2, "hidden": 24, "intermediate": 32, "heads": 1},
        "prune": PHASE,
        "continued": PHASE | {"dynamic": {"every": 4, "floor": 0.05}},
        "baselines": ["static", "scratch"],
        **changes,
    }
    path.write_text(json.dumps(whole, indent=1))
    return path


@pytest.fixture(scope="module")
def local(tokens, tmp_path_factory) -> tuple[Path, dict]:
    """The run in one plain process."""
    folder = tmp_path_factory.mktemp("local")
    manifest = write_recipe(folder / "sheared.yaml", tokens, folder / "out", executor="local")
    done = run_pipeline("run", str(manifest), "--json")
    assert done.returncode == 0, done.stderr
    return folder / "out", json.loads(done.stdout.splitlines()[-1])


def test_the_answer_names_the_pruned_model_and_the_losses(local):
    output, answer = local
    assert answer["sha256"] == digests(output)["continued"]
    assert set(answer["metrics"]) == {f"held-out loss, {name}" for name in digests(output)}


def test_status_says_how_far_each_phase_is(local):
    done = run_pipeline("status", str(local[0]), "--json")
    phases = {entry["phase"]: entry for entry in json.loads(done.stdout)["phases"]}
    assert set(phases) == set(digests(local[0]))
    assert {entry["state"] for entry in phases.values()} == {"finished"}
    assert phases["continued"]["held_out"] == local[1]["metrics"]["held-out loss, continued"]


def test_the_report_is_one_page_without_scripts(local):
    page = (local[0] / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)
    for shown in ("continued: weights of the mixture", "prune: expected share of zeros", "Training from scratch ended"):
        assert shown in page


def test_a_killed_run_goes_on_where_it_was(tokens, tmp_path, local):
    manifest = write_recipe(tmp_path / "sheared.yaml", tokens, tmp_path / "out", executor="local")
    # within pruning, while a checkpoint of it is written, and within continued training
    for crash in ("trainer.step:22", "trainer.checkpoint:2", "trainer.step:15"):
        assert run_pipeline("run", str(manifest), CORPUS_CRASH_AT=crash).returncode == -signal.SIGKILL
    done = run_pipeline("run", str(manifest), "--json")
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == digests(local[0])
    assert resumed(tmp_path / "out", "prune")


def test_ray_starts_again_what_died_and_learns_what_a_plain_process_does(tokens, tmp_path, local):
    manifest = write_recipe(tmp_path / "sheared.yaml", tokens, tmp_path / "out", executor="ray")
    crash = {"CORPUS_CRASH_AT": "trainer.step:22", "CORPUS_CRASH_ONCE": str(tmp_path / "crashed")}
    done = run_pipeline("run", str(manifest), "--json", **crash)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "crashed").exists()
    assert "prune: step 4: going on from checkpoint step-00000004" in done.stderr.replace("\n  ", " ")
    assert digests(tmp_path / "out") == digests(local[0])
    assert resumed(tmp_path / "out", "prune") == ["step-00000004"]


def test_a_second_run_into_the_same_folder_is_turned_away(tokens, tmp_path):
    manifest = write_recipe(tmp_path / "sheared.yaml", tokens, tmp_path / "out", executor="local")
    (tmp_path / "out" / ".work").mkdir(parents=True)
    with FileLock(tmp_path / "out" / ".work" / "lock"):
        done = run_pipeline("run", str(manifest))
    assert done.returncode == 1
    assert "another run is writing to this output" in done.stderr
    assert not (tmp_path / "out" / "source").exists()


def test_two_workers_share_the_work(tokens, tmp_path, local):
    manifest = write_recipe(
        tmp_path / "sheared.yaml", tokens, tmp_path / "out", executor="ray", workers=2, baselines=[]
    )
    done = run_pipeline("run", str(manifest), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    for name in ("source", "prune", "continued"):
        key = f"held-out loss, {name}"
        assert answer["metrics"][key] == pytest.approx(local[1]["metrics"][key], abs=2e-3)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"target": {"layers": 9, "hidden": 24, "intermediate": 32, "heads": 1}}, 2, ["layers: 9 is more than"]),
        ({"targets": {}}, 2, ["unknown key", "did you mean 'target'", "sheared.yaml:"]),
        ({"prune": PHASE | {"step": 3}}, 2, ["unknown key", "did you mean 'steps'", "sheared.yaml:"]),
        ({"workers": 3}, 2, ["cannot be shared evenly by 3 workers"]),
        ({"data": "nowhere"}, 1, ["nothing has been published here", "tokenize.yaml"]),
        ({"continued": PHASE | {"weights": {"easy": 1.0, "hard": 0.5}}}, 1, ["sum to 1.5", "scaled to one"]),
    ],
)
def test_what_cannot_work_is_said_before_ray_starts(tokens, tmp_path, change, code, words):
    manifest = write_recipe(tmp_path / "sheared.yaml", tokens, tmp_path / "out", **change)
    done = run_pipeline("run", str(manifest))
    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "out").exists()
