"""The whole analysis: on a model that is trained here, on checkpoints, on an encoder with labelled texts; killed and
resumed; and what is refused before it starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import transformers

from corpus.errors import CorpusError, ManifestError, ModelError, TrainingError
from pipeline.modularity_report import write_modularity_report
from tests.training.data.made import ROOT
from tests.training.modularity.models import WORDS, save
from training.config import Phase, Schedule
from training.modularity.recipe import ModularityRecipe
from training.ranks import Ranks
from training.recipe import TrainedSource
from training.shape import LlamaShape

SHAPE = LlamaShape(
    layers=2, hidden=32, intermediate=64, heads=2, kv_heads=2, head_dim=16, vocab=300, feed_forward="relu"
)
PHASE = Phase(
    steps=25,
    global_batch=8,
    schedule=Schedule(peak=1e-2),
    evaluate_every=25,
    evaluate_rows=4,
    snapshot_every=10,
)
TOPICS = {"kind": "topics", "length": 4, "per_class": 40}
PERTURBATION = {"budgets": [1, 2], "seeds": 2, "sequences": 8}


def recipe(output, **changes):
    base = {
        "train": "modularity",
        "output": output,
        "functions": [TOPICS],
        "experts": 8,
        "top_share": 0.1,
        "perturbation": PERTURBATION,
        "executor": "local",
    }
    return ModularityRecipe.model_validate(base | changes)


def trained(tokens, output, **changes):
    return recipe(output, data=str(tokens), model={"train": TrainedSource(shape=SHAPE, phase=PHASE)}, **changes)


def run(settings):
    lines = []
    summaries = settings.run(Ranks.current(), lines.append)
    figures = json.loads((settings.output / "modularity.json").read_text())
    return summaries, figures, [line["told"] for line in lines if "told" in line]


@pytest.fixture(scope="module")
def done(tokens, tmp_path_factory):
    folder = tmp_path_factory.mktemp("modularity")
    return folder, *run(trained(tokens, folder))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Texts of ten words; task ``low``: are they w0 to w4, or w140 to w144?"""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("texts") / "low.jsonl"
    rows = []
    for number in range(120):
        words = rng.integers(3, 8, 6) + 140 * (number % 2)
        rows.append({"text": " ".join(WORDS[word] for word in words), "label": 1 - number % 2})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_trained_model_is_followed_from_its_first_step_to_its_last(done):
    _, summaries, figures, told = done
    assert set(summaries) == {"source", "analysis"}
    assert figures["emergence"]["steps"] == [0, 10, 20, 25]
    assert [told.count(f"predictivity of topic at {step}") for step in (0, 10, 20, 25)] == [1] * 4
    # the untrained model is the first snapshot
    topic = figures["emergence"]["functions"]["topic"]
    assert figures["best"]["topic"]["fresh"] == topic["reached"][0]["best"]
    assert figures["best"]["topic"]["model"] == topic["reached"][-1]["best"]
    assert summaries["analysis"]["topic"]["proportion"] == figures["functional"]["topic"]["all"]["proportion"]


def test_every_neuron_is_in_the_table(done):
    folder, _, figures, _ = done
    table = pq.read_table(folder / "predictivity.parquet")
    assert table.num_rows == 4 * 2 * 64  # steps, layers, neurons
    last = table.filter((table["step"].to_numpy() == 25) & (table["layer"].to_numpy() == 1))
    assert set(last["sub_function"].to_pylist()) == {"easy against hard"}
    assert np.bincount(last["expert"].to_numpy()).tolist() == [8] * 8
    assert max(last["predictivity"].to_pylist()) == figures["best"]["topic"]["model"][1]


def test_a_second_run_does_nothing_and_says_the_same(tokens, done):
    folder, summaries, figures, _ = done
    again, same, told = run(trained(tokens, folder))
    assert (again, same, told) == (summaries, figures, [])


def test_other_settings_do_again_only_what_depends_on_them(tokens, done, tmp_path):
    shutil.copytree(done[0], tmp_path / "run")
    _, figures, told = run(trained(tokens, tmp_path / "run", top_share=0.2))
    assert figures["top"] == 12
    assert told == ["perturbation of topic, easy against hard"]
    _, figures, told = run(trained(tokens, tmp_path / "run", experts=4, perturbation=None))
    assert figures["perturbation"] is None
    assert told == ["experts"]


def test_disturbed_losses_have_both_sides_every_method_and_every_seed(done):
    found = done[2]["perturbation"]
    assert found["layers"] == [1]
    rows = found["parts"]["topic"]["easy against hard"]["disturbed"]
    assert [(row["budget"], row["method"]) for row in rows] == [
        (b, m) for b in (1, 2) for m in ("experts", "top", "random")
    ]
    assert all(len(row["own"]) == len(row["other"]) == 2 for row in rows)
    random = [row for row in found["means"] if row["method"] == "random"]
    assert [row["above_random"] for row in random] == [0, 0]


def test_the_page_shows_what_was_found_and_runs_nothing(done):
    folder = done[0]
    page = write_modularity_report(folder).read_text()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert " style=" not in page
    for told in (
        "topic: ",
        "trained here: decoder, 2 layers of 64 neurons in 8 experts of 8",
        "topic: settling",
        "Perturbation",
    ):
        assert told in page


def test_snapshots_given_as_checkpoints_say_what_the_training_said(tokens, done, tmp_path):
    source = done[0] / "source"
    folders = [*sorted((source / "snapshots").iterdir()), source / "model"]
    settings = recipe(tmp_path / "run", data=str(tokens), model={"checkpoints": folders}, perturbation=None)
    _, figures, told = run(settings)
    assert "predictivity of topic in a fresh model" in told
    for name in ("functional", "similarity"):
        assert figures[name] == done[2][name]
    # model/ has no number: steps are places in the order
    assert figures["emergence"]["steps"] == [0, 1, 2, 3]
    settled = [
        figures["emergence"]["functions"]["topic"]["settling"],
        done[2]["emergence"]["functions"]["topic"]["settling"],
    ]
    assert [one["experts"] for one in settled[0]] == [one["experts"] for one in settled[1]]
    write_modularity_report(settings.output)


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_an_encoder_with_labelled_texts_needs_no_corpus(texts, tmp_path, family):
    model = save(tmp_path / "model", family)
    functions = [{"kind": "labelled", "name": "task", "paths": [str(texts)], "length": 8}]
    settings = recipe(tmp_path / "run", model={"path": model}, functions=functions)
    assert "experts" in settings.check()
    _, figures, _ = run(settings)
    assert figures["model"]["kind"] == {"bert": "encoder", "t5": "encoder-decoder"}[family]
    assert figures["emergence"] is None
    # any features of its words tell a text
    assert max(figures["best"]["task"]["model"]) > 0.7
    assert figures["perturbation"]["parts"]["task"]["low"]["base"]["own"] > 0
    page = write_modularity_report(settings.output).read_text()
    assert "task: " in page


def test_a_run_that_was_killed_between_parts_goes_on_and_ends_alike(texts, tmp_path):
    model = save(tmp_path / "model", "arcee")
    functions = [{"kind": "labelled", "name": "task", "paths": [str(texts)], "length": 8}]
    settings = recipe(tmp_path / "run", model={"path": model}, functions=functions)
    (tmp_path / "recipe.json").write_text(settings.model_dump_json())
    died = subprocess.run(
        [sys.executable, "-m", "tests.training.modularity.models", str(tmp_path / "recipe.json")],
        cwd=ROOT,
        env={**os.environ, "CORPUS_CRASH_AT": "modularity.part:3"},
        check=False,
    )
    assert died.returncode == -9
    assert not (settings.output / "modularity.json").exists()
    _, figures, told = run(settings)
    assert told == ["experts", "perturbation of task, low"]
    whole = recipe(tmp_path / "whole", model={"path": model}, functions=functions)
    _, wanted, told = run(whole)
    assert len(told) == 4
    assert figures == wanted


def test_what_is_refused_before_anything_is_done(tokens, texts, tmp_path):
    bert, gpt2 = save(tmp_path / "bert", "bert"), save(tmp_path / "gpt2", "gpt2")
    task = {"kind": "labelled", "name": "task", "paths": [str(texts)], "length": 8}
    cases = [
        ({"model": {"path": bert}}, ManifestError, "topics need a token corpus"),
        ({"model": {"path": bert}, "data": str(tokens)}, ManifestError, "another tokenizer"),
        ({"model": {"path": bert}, "functions": [task], "experts": 5}, ManifestError, "cannot be divided evenly"),
        ({"model": {"path": bert}, "functions": [{**task, "length": 65}]}, ManifestError, "made for 64"),
        ({"model": {"path": tmp_path / "none"}, "functions": [task]}, ModelError, r"no config\.json"),
        ({"model": {"checkpoints": [bert, gpt2]}, "functions": [task]}, ManifestError, "not of one training"),
        ({"model": {"path": bert}, "functions": [{**task, "paths": ["none.jsonl"]}]}, ManifestError, "no such file"),
        ({"model": {"train": TrainedSource(shape=SHAPE, phase=PHASE)}}, ManifestError, "needs a token corpus"),
    ]
    for changes, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            recipe(tmp_path / "run", **changes).check()
        assert isinstance(caught.value, CorpusError)
        assert caught.value.fix
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {}}, "name one of path, checkpoints and train"),
        ({"model": {"path": "x", "checkpoints": ["y"]}}, "name one of path, checkpoints and train"),
        ({"perturbation": {"budgets": [8]}}, "budgets must be below the number of experts"),
        ({"functions": []}, "at least 1 item"),
        ({"functions": [{"kind": "topics", "per_class": 3}]}, "greater than or equal to 16"),
    ],
)
def test_settings_that_contradict_themselves(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        recipe(tmp_path / "run", **({"model": {"path": "x"}} | changes))


def test_a_model_without_an_output_layer_is_told_before_anything_is_recorded(texts, tmp_path):
    bert = save(tmp_path / "bert", "bert")
    transformers.BertModel.from_pretrained(bert, add_pooling_layer=False).save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "tokenizer.json").write_bytes((bert / "tokenizer.json").read_bytes())
    functions = [{"kind": "labelled", "name": "task", "paths": [str(texts)], "length": 8}]
    settings = recipe(tmp_path / "run", model={"path": tmp_path / "base"}, functions=functions)
    with pytest.raises(ModelError, match="output layer"):
        run(settings)
    assert not (tmp_path / "run" / "analysis" / "parts").exists()
    _, figures, _ = run(
        recipe(tmp_path / "run", model={"path": tmp_path / "base"}, functions=functions, perturbation=None)
    )
    assert figures["perturbation"] is None


def test_paths_mean_the_same_in_workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = {"kind": "labelled", "name": "task", "paths": ["task.jsonl"]}
    found = recipe("out", data="tokens", model={"checkpoints": ["a", "b"]}, functions=[task, TOPICS]).absolute()
    assert [found.output, *found.model.checkpoints] == [tmp_path / "out", tmp_path / "a", tmp_path / "b"]
    assert found.data == str(tmp_path / "tokens")
    assert found.functions[0].paths == (str(tmp_path / "task.jsonl"),)
    assert recipe("out", model={"path": "a"}, functions=[task]).absolute().data == ""


def test_too_few_sequences_are_told(tokens, done, tmp_path):
    functions = [{**TOPICS, "length": 33}]
    with pytest.raises(TrainingError, match="too few"):
        run(
            recipe(
                tmp_path / "run", data=str(tokens), model={"path": done[0] / "source" / "model"}, functions=functions
            )
        )
