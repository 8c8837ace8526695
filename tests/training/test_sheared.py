"""The whole recipe on a small model, and what is refused before any training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from corpus.errors import CorpusError, ManifestError, StorageError, TrainingError
from training.checkpoint import open_model, read_shape, save_model
from training.config import Phase, Schedule
from training.dynamic import DynamicLoading, GivenReference
from training.llama import new_model
from training.moe.recipe import MoeRecipe
from training.moe.settings import Mixture
from training.pruning.recipe import ShearedRecipe, check
from training.pruning.run import run_sheared
from training.pruning.target import Target
from training.ranks import Ranks
from training.recipe import Source, TrainedSource
from training.shape import LlamaShape

SHAPE = LlamaShape(layers=3, hidden=32, intermediate=48, heads=4, kv_heads=2, head_dim=8, vocab=300)


def phase(**changes):
    base = Phase(
        steps=20, global_batch=8, micro_batch=8, schedule=Schedule(peak=3e-3), evaluate_every=10, evaluate_rows=8
    )
    return base.model_copy(update=changes)


def recipe(tokens, output, **changes):
    base = ShearedRecipe(
        train="sheared",
        output=output,
        data=str(tokens),
        source=Source(train=TrainedSource(shape=SHAPE, phase=phase(steps=40))),
        target=Target(layers=2, hidden=24, intermediate=32, heads=2),
        prune=phase(schedule=Schedule(peak=1e-3, warmup=0.1)),
        continued=phase(dynamic=DynamicLoading(every=5, floor=0.05)),
        baselines=("static", "magnitude", "random", "scratch"),
        executor="local",
    )
    return base.model_copy(update=changes)


@pytest.fixture(scope="module")
def done(tokens, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheared")
    return folder, run_sheared(recipe(tokens, folder), Ranks.current(), lambda _: None)


def test_every_phase_ends_in_a_model_of_its_shape(done):
    folder, summaries = done
    assert set(summaries) == {"source", "prune", "continued", "static", "magnitude", "random", "scratch"}
    small = SHAPE.model_copy(update={"layers": 2, "hidden": 24, "intermediate": 32, "heads": 2, "kv_heads": 1})
    for name in summaries:
        assert read_shape(folder / name / "model") == (SHAPE if name == "source" else small)
    # as many tokens as pruning and continued training together
    assert summaries["scratch"]["steps"] == 40


def test_the_cut_model_has_the_losses_that_pruning_measured(tokens, done):
    from training.data.source import open_tokens
    from training.evaluate import Evaluation
    from training.learner import LanguageModel

    folder, summaries = done
    module = LanguageModel(open_model(folder / "prune" / "model")).module
    evaluation = Evaluation(open_tokens(str(tokens), "held_out"), 8, Ranks.current(), micro_batch=8)
    assert evaluation.losses(module, precision=None) == pytest.approx(summaries["prune"]["held_out"], abs=1e-4)


def test_a_second_run_does_nothing_and_says_the_same(tokens, done):
    folder, summaries = done
    lines = []
    assert run_sheared(recipe(tokens, folder), Ranks.current(), lines.append) == summaries
    assert lines == []


def test_equal_compute_gives_training_from_scratch_more_steps(tokens, tmp_path, done):
    shutil.copytree(done[0], tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "scratch")
    changed = recipe(tokens, tmp_path / "run", scratch="compute", baselines=("scratch",))
    scratch = run_sheared(changed, Ranks.current(), lambda _: None)["scratch"]
    spent = sum(done[1][name]["flops"] for name in ("prune", "continued"))
    assert scratch["flops"] == pytest.approx(spent, rel=0.03)


def test_a_local_model_can_be_the_source(tokens, tmp_path, done):
    model = new_model(SHAPE, 1)
    save_model(model, tmp_path / "model")
    source = Source(path=tmp_path / "model")
    found = run_sheared(recipe(tokens, tmp_path / "run", source=source, baselines=()), Ranks.current(), lambda _: None)
    assert set(found) == {"prune", "continued"}
    ids = torch.arange(20)[None]
    assert torch.equal(open_model(tmp_path / "model")(ids), model(ids))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"target": Target(layers=4, hidden=24, intermediate=32, heads=2)}, ManifestError, "layers: 4 is more than"),
        ({"target": Target(layers=2, hidden=64, intermediate=99, heads=2)}, ManifestError, "intermediate: 99 is more"),
        ({"target": Target(layers=2, hidden=24, intermediate=32, heads=3)}, ManifestError, "no multiple of 2"),
        ({"prune": phase(weights={"easy": 0.5, "soft": 0.5})}, TrainingError, "unknown domain 'soft'"),
        ({"continued": phase(weights={"easy": 0.5, "hard": 0.6})}, TrainingError, "they sum to 1.1"),
        (
            {"continued": phase(dynamic=DynamicLoading(every=5, reference=GivenReference(losses={"easy": 1.0})))},
            TrainingError,
            "no reference loss for: hard",
        ),
        (
            {"source": Source(train=TrainedSource(shape=SHAPE.model_copy(update={"vocab": 200}), phase=phase()))},
            ManifestError,
            "200 token ids, the corpus uses 300",
        ),
        (
            {"source": Source(train=TrainedSource(shape=SHAPE.model_copy(update={"max_positions": 8}), phase=phase()))},
            ManifestError,
            "rows have 32 tokens, the model is made for 8",
        ),
        ({"data": "nowhere"}, TrainingError, "nothing has been published here"),
    ],
)
def test_what_cannot_work_is_said_before_training(tokens, tmp_path, changes, kind, message):
    with pytest.raises(kind, match=message) as caught:
        check(recipe(tokens, tmp_path / "run", **changes))
    assert isinstance(caught.value, CorpusError)
    assert not (tmp_path / "run").exists()


def test_a_missing_or_altered_shard_is_named(tokens, tmp_path):
    copied = tmp_path / "tokens"
    shutil.copytree(tokens, copied, ignore=shutil.ignore_patterns(".work"))
    shard = sorted((copied / "tokens").glob("part-*.parquet"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.unlink()
    with pytest.raises(StorageError, match=f"{shard.name} is missing"):
        check(recipe(copied, tmp_path / "run"))
    shard.write_bytes(data)
    with pytest.raises(StorageError, match=f"{shard.name} was altered"):
        check(recipe(copied, tmp_path / "run"))


def test_a_source_of_another_tokenizer_is_refused(tokens, tmp_path):
    save_model(new_model(SHAPE, 1), tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps({"other": True}))
    with pytest.raises(ManifestError, match="tokenized with another tokenizer"):
        check(recipe(tokens, tmp_path / "run", source=Source(path=tmp_path / "model")))


def test_a_corpus_without_held_out_rows_is_refused(tmp_path):
    from tests.training.data.made import run_pipeline, write_manifest, write_text

    write_text(tmp_path / "text.parquet", ["a short text"] * 50)
    tokenize = {
        "sequence_length": 32,
        "held_out": 0,
        "tokenizer": {"train": {"vocab": 300}},
        "domains": {"easy": {"paths": [str(tmp_path / "text.parquet")]}},
    }
    done = run_pipeline("run", str(write_manifest(tmp_path / "tokenize.yaml", tmp_path / "out", tokenize)))
    assert done.returncode == 0, done.stderr
    with pytest.raises(TrainingError, match="no split 'held_out'"):
        check(recipe(tmp_path / "out", tmp_path / "run"))


def test_paths_mean_the_same_in_workers_which_start_elsewhere(tokens, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sheared = recipe(tokens, Path("out"), data="tokens", source=Source(path=Path("model")))
    mixture = MoeRecipe(
        train="moe",
        output=Path("out"),
        data="s3://bucket/tokens",
        source=Source(path=Path("model")),
        mixture=Mixture(),
        continued=sheared.prune,
    )
    for found in (sheared.absolute(), mixture.absolute()):
        assert (found.output, found.source.path) == (tmp_path / "out", tmp_path / "model")
    assert sheared.absolute().data == str(tmp_path / "tokens")
    assert mixture.absolute().data == "s3://bucket/tokens"
