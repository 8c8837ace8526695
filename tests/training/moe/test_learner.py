"""The learner in the trainer: exact resume and other ways to route; and models on disk."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from corpus.errors import ManifestError, ModelError
from tests.training.jobs import SHAPE, numbers
from tests.training.moe.programs import train
from training.folder import checkpoints
from training.llama import new_model
from training.moe.checkpoint import open_mixture, save_mixture
from training.moe.learner import MixtureLearner, rectified
from training.moe.parallel import layers
from training.moe.settings import Mixture, Rectify
from training.moe.upcycle import upcycle
from training.ranks import Ranks

ONE = Ranks(0, 1, torch.device("cpu"))
MIXTURE = Mixture(experts=4, ranks=2, every=2, top_k=2, rectify=Rectify(intra=True, fill_in=True))
SETTINGS = {"mixture": MIXTURE.model_dump(), "micro_batch": 4}


def test_a_killed_run_goes_on_bit_by_bit(tokens, tmp_path):
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    train(plain, str(tokens), SETTINGS, ONE)
    for die in (7, 10):
        assert train(killed, str(tokens), SETTINGS | {"die": die}, ONE) is None
        assert checkpoints(killed)
    train(killed, str(tokens), SETTINGS, ONE)
    assert numbers(plain) == numbers(killed)
    left, right = (load_file(folder / "model" / "model.safetensors") for folder in (plain, killed))
    assert all(torch.equal(left[name], right[name]) for name in left)
    lines = numbers(plain)
    assert any(line.get("moe/rerouted", 0) > 0 for line in lines)
    assert lines[-1]["held_out"] != lines[-1]["held_out/other"]


def test_the_model_on_disk_has_the_losses_that_were_measured(tokens, tmp_path):
    from training.data.source import open_tokens
    from training.evaluate import Evaluation

    summary = train(tmp_path, str(tokens), SETTINGS, ONE)
    learner = MixtureLearner(open_mixture(tmp_path / "model"), MIXTURE)
    evaluation = Evaluation(open_tokens(str(tokens), "held_out"), 4, ONE, micro_batch=4)
    assert evaluation.losses(learner.module, precision=None) == pytest.approx(summary["held_out"], abs=1e-5)


def test_upcycling_follows_from_the_seed_and_touches_every_nth_layer():
    shape = SHAPE.model_copy(update={"layers": 5})
    dense = new_model(shape, 1)
    model, again = (upcycle(new_model(shape, 1), MIXTURE, 2) for _ in range(2))
    assert [number for number, block in enumerate(model.model.layers) if layers(block)] == [1, 3]
    for name, value in model.named_parameters():
        assert torch.equal(value, dict(again.named_parameters())[name])
    mlp = model.model.layers[3].mlp
    for expert in range(4):
        assert torch.equal(mlp.experts.down[expert], dense.model.layers[3].mlp.down_proj.weight)
    assert 0.01 < float(mlp.router.weight.detach().std()) < 0.03
    with pytest.raises(ManifestError, match="every 9th layer"):
        upcycle(new_model(shape, 1), MIXTURE.model_copy(update={"every": 9}), 2)


def test_a_router_is_rectified_within_the_context_only():
    model = upcycle(new_model(SHAPE, 1), MIXTURE.model_copy(update={"rectify": Rectify()}), 2)
    ids = torch.arange(64).view(2, 32)
    before = model(ids)
    with pytest.raises(RuntimeError), rectified(model, Rectify(intra=True)):
        assert not torch.equal(model(ids), before)
        raise RuntimeError
    assert torch.equal(model(ids), before)


def test_flops_count_slots_and_what_stood_in():
    def flops(**changes):
        mixture = MIXTURE.model_copy(update=changes)
        return MixtureLearner(upcycle(new_model(SHAPE, 1), mixture, 2), mixture).flops_per_token

    router, expert = 6 * SHAPE.hidden * 4, 6 * SHAPE.feed_forward_weights
    assert flops(top_k=1, capacity_factor=1.0) == SHAPE.flops_per_token + router
    assert flops(top_k=2, capacity_factor=1.5) == SHAPE.flops_per_token + router + 2 * expert
    assert flops(top_k=2, capacity_factor=None) == SHAPE.flops_per_token + router + expert
    learner = MixtureLearner(upcycle(new_model(SHAPE, 1), MIXTURE, 2), MIXTURE)
    learner.load_state_dict({"rerouted": 0.5})
    assert learner.flops_per_token == SHAPE.flops_per_token + router + expert + expert // 2


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["swiglu", "relu"])
def test_a_mixture_comes_back_from_disk(tmp_path, kind, tied):
    shape = SHAPE.model_copy(update={"feed_forward": kind, "tied": tied})
    model = upcycle(new_model(shape, 1), MIXTURE, 2)
    save_mixture(model, MIXTURE, tmp_path / "model")
    ids = torch.arange(64).view(2, 32)
    torch.testing.assert_close(open_mixture(tmp_path / "model")(ids), model(ids), rtol=0, atol=1e-6)
    first = (tmp_path / "model" / "model.safetensors").read_bytes()
    save_mixture(open_mixture(tmp_path / "model"), MIXTURE, tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == first


def _without(name):
    def change(folder):
        tensors = load_file(folder / "model.safetensors")
        del tensors[name]
        save_file(tensors, folder / "model.safetensors")

    return change


def _configured(**changes):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        for key, value in changes.items():
            config[key] = value if not isinstance(value, dict) else config[key] | value
        (folder / "config.json").write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_configured(model_type="llama"), "this is a 'llama' model, no mixture"),
        (_configured(mixture={"experts": 3}), "3 experts cannot be dealt out evenly"),
        (_configured(mixture={"experts": 8}), r"mlp.experts.down has the shape [4, 32, 48] instead of [8, 32, 48]"),
        (_configured(colour="red"), "colour"),
        (_without("model.layers.1.mlp.router.weight"), "model.layers.1.mlp.router.weight is missing"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors here"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json here"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"torn"), "cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, change, message):
    folder = tmp_path / "model"
    save_mixture(upcycle(new_model(SHAPE, 1), MIXTURE, 2), MIXTURE, folder)
    change(folder)
    with pytest.raises(ModelError, match=re.escape(message)):
        open_mixture(folder)
