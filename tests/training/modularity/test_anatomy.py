"""Neurons of every family are found, recorded without padding, and disturbed exactly where that is asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers

from corpus.errors import ModelError, TrainingError
from tests.training.modularity.models import FAMILIES, save
from training.checkpoint import save_model
from training.llama import new_model
from training.modularity.anatomy import fresh_model, hooked, look, open_folder
from training.modularity.objective import Objective, mask_token
from training.modularity.perturbation import Perturbation, disturbed
from training.modularity.record import record
from training.shape import LlamaShape

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
SEQUENCES = [RNG.integers(3, 300, length).astype(np.int32) for length in (9, 4, 12, 7, 12)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {family: save(tmp_path_factory.mktemp(family.replace(" ", "_")), family) for family in FAMILIES}


@pytest.fixture(params=list(FAMILIES))
def folder(request, folders):
    return folders[request.param]


def recorded(opened, sequences=SEQUENCES, batch=2):
    out = np.full((len(sequences), len(opened.layers), opened.neurons), np.nan, np.float32)
    record(opened, sequences, out, batch=batch)
    return out


def test_the_configuration_alone_tells_kind_and_sizes(folder):
    found, opened = look(folder), open_folder(folder, CPU)
    assert (found.layers, found.neurons, found.vocab) == (2, 24, 300)
    assert (found.kind, found.layers, found.neurons) == (opened.kind, len(opened.layers), opened.neurons)
    assert found.positions in (64, None)
    assert [tuple(layer.input_weights().shape) for layer in opened.layers] == [(24, 16)] * 2


def test_padding_does_not_count(folder):
    opened = open_folder(folder, CPU)
    alone = np.concatenate([recorded(opened, [ids]) for ids in SEQUENCES])
    assert recorded(opened, batch=3) == pytest.approx(alone, abs=1e-5)


def test_a_relu_decoder_of_ours_has_the_neurons_that_its_matrices_give(tmp_path):
    shape = LlamaShape(
        layers=2, hidden=16, intermediate=24, heads=2, kv_heads=1, head_dim=8, vocab=300, feed_forward="relu"
    )
    save_model(new_model(shape, 3), tmp_path / "model")
    opened = open_folder(tmp_path / "model", CPU)
    assert opened.kind == "decoder"
    inputs = []
    for layer in opened.model.layers:
        layer.mlp.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    found = recorded(opened, SEQUENCES[:1])
    by_hand = [
        (x @ layer.input_weights().t()).relu().amax(dim=1) for x, layer in zip(inputs, opened.layers, strict=True)
    ]
    assert found[0] == pytest.approx(torch.cat(by_hand).detach().numpy(), abs=1e-6)


def test_a_gated_decoder_is_grouped_by_its_gate(folders):
    opened = open_folder(folders["llama"], CPU)
    assert torch.equal(opened.layers[1].input_weights(), opened.model.layers[1].mlp.gate_proj.weight)


def test_of_an_encoder_decoder_the_encoder_alone(folders, tmp_path):
    whole = open_folder(folders["t5"], CPU)
    assert whole.kind == "encoder-decoder"
    encoder = transformers.T5EncoderModel.from_pretrained(folders["t5"])
    encoder.save_pretrained(tmp_path / "encoder")
    assert recorded(open_folder(tmp_path / "encoder", CPU)) == pytest.approx(recorded(whole))


def test_the_hook_sees_what_the_second_matrix_gets_and_goes_away(folder):
    opened = open_folder(folder, CPU)
    shapes = []
    ids = torch.from_numpy(SEQUENCES[0].astype(np.int64))[None]
    with hooked(opened.layers, lambda layer, inner: shapes.append((layer, tuple(inner.shape)))), torch.no_grad():
        opened.encode(ids, torch.ones_like(ids, dtype=torch.bool))
    assert shapes == [(0, (1, 9, 24)), (1, (1, 9, 24))]
    recorded(opened)
    assert len(shapes) == 2


@pytest.mark.parametrize("mode", ["shuffle", "zero"])
def test_exactly_the_chosen_neurons_are_disturbed(folder, mode):
    opened = open_folder(folder, CPU, head=True)
    objective = Objective(opened, mask_token(folder, opened.kind), batch=4)
    settings, chosen = Perturbation(mode=mode), {1: np.array([3, 17, 5])}
    seen: dict[int, list[torch.Tensor]] = {0: [], 1: []}

    def look_at(layer, inner):
        # padding is whatever it is: what counts is at the tokens
        seen[layer].append(inner[objective.padding].clone())

    with hooked(opened.layers, look_at):
        undisturbed = objective.loss(SEQUENCES)
    plain = {layer: torch.cat(parts) for layer, parts in seen.items()}
    seen = {0: [], 1: []}
    with disturbed(objective, chosen, settings, 0), hooked(opened.layers, look_at):
        changed_loss = objective.loss(SEQUENCES)
    changed = {layer: torch.cat(parts) for layer, parts in seen.items()}
    assert torch.equal(changed[0], plain[0])
    others = [neuron for neuron in range(24) if neuron not in (3, 17, 5)]
    assert torch.equal(changed[1][:, others], plain[1][:, others])
    mine, before = changed[1][:, [3, 5, 17]], plain[1][:, [3, 5, 17]]
    if mode == "zero":
        assert not mine.any()
    else:
        # the values of each batch, four times as large, in other places
        first = len(seen[1][0])
        for part in (slice(0, first), slice(first, None)):
            assert torch.allclose(mine[part].flatten().sort()[0], 4 * before[part].flatten().sort()[0])
        assert not torch.allclose(mine, 4 * before)
    assert changed_loss != pytest.approx(undisturbed)
    assert objective.loss(SEQUENCES) == undisturbed


def test_a_decoder_s_loss_is_that_of_the_library(folders):
    opened = open_folder(folders["llama"], CPU, head=True)
    ids = torch.from_numpy(SEQUENCES[2].astype(np.int64))[None]
    with torch.no_grad():
        wanted = float(opened.model(input_ids=ids, labels=ids).loss)
    assert Objective(opened, None, batch=4).loss([SEQUENCES[2]]) == pytest.approx(wanted, abs=1e-5)
    # padded or not
    together = Objective(opened, None, batch=4).loss([SEQUENCES[2], SEQUENCES[1]])
    apart = [Objective(opened, None, batch=1).loss([ids]) * (len(ids) - 1) for ids in (SEQUENCES[2], SEQUENCES[1])]
    assert together == pytest.approx(sum(apart) / 14, abs=1e-5)


def test_a_fresh_model_follows_from_its_seed_and_leaves_the_generator_alone(folder):
    state = torch.random.get_rng_state()
    one, same, other = (fresh_model(folder, seed, CPU) for seed in (1, 1, 2))
    weights = [found.layers[0].input_weights() for found in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_folder_without_safetensors_is_refused(folders, tmp_path):
    (tmp_path / "config.json").write_text((folders["bert"] / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    for use in (look, lambda folder: open_folder(folder, CPU)):
        with pytest.raises(ModelError, match=r"only pytorch_model\.bin, which could run code"):
            use(tmp_path)
    with pytest.raises(ModelError, match=r"no config\.json"):
        look(tmp_path / "nothing")


def test_code_of_a_folder_is_never_run(folders, tmp_path):
    config = json.loads((folders["bert"] / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('code was run')")
    (tmp_path / "model.safetensors").write_bytes((folders["bert"] / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="never code of the folder"):
        look(tmp_path)


def test_an_architecture_without_such_feed_forwards_is_told_what_was_looked_for(tmp_path):
    config = transformers.MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=300, state_size=4)
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"0 feed-forwards found in 1 layers of a 'mamba' model(.|\n)*gate_proj/up_proj"
    ):
        look(tmp_path)


def test_missing_weights_and_a_missing_output_layer_are_errors(folders, tmp_path):
    base = transformers.BertModel.from_pretrained(folders["bert"], add_pooling_layer=False)
    base.save_pretrained(tmp_path / "base")
    assert open_folder(tmp_path / "base", CPU).neurons == 24
    with pytest.raises(ModelError, match=r"weights are missing(.|\n)*a perturbation needs the output layer"):
        open_folder(tmp_path / "base", CPU, head=True)


def test_an_encoder_without_a_mask_token_has_no_loss(folders, tmp_path):
    text = (folders["bert"] / "tokenizer.json").read_text().replace("[MASK]", "[HIDDEN]")
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match="no mask token"):
        mask_token(tmp_path, "encoder")
    assert mask_token(tmp_path, "decoder") is None


def test_activations_that_are_not_finite_are_an_error(folders):
    opened = open_folder(folders["gpt2"], CPU)
    opened.layers[0].first.weight.data.fill_(torch.nan)
    with pytest.raises(TrainingError, match="not finite"):
        recorded(opened)
