"""Checkpoints: to and from transformers, byte for byte, whole after a kill, and every refusal says what to do."""

# torch types only some of its methods
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

import training.model_folder
from corpus.errors import ModelError, TrainingError
from training.checkpoint import open_model, read_shape, save_model
from training.data.tokenizer import train_bpe
from training.llama import Llama, new_model
from training.model_folder import CONFIG, INDEX, WEIGHTS, model_digest
from training.shape import LlamaShape

PLAIN = LlamaShape(layers=2, hidden=16, intermediate=24, heads=4, kv_heads=2, head_dim=4, vocab=40, rope_theta=5000.0)
TIED = PLAIN.model_copy(update={"tied": True})
WIDE = PLAIN.model_copy(update={"head_dim": 6, "kv_heads": 4, "norm_eps": 1e-6})
SHAPES = {"plain": PLAIN, "tied": TIED, "wide heads": WIDE}
QUERY = "model.layers.1.self_attn.q_proj.weight"
EMBEDDING = "model.embed_tokens.weight"


def ids(shape: LlamaShape) -> Tensor:
    return torch.randint(shape.vocab, (2, 17), generator=torch.Generator().manual_seed(0))


def agrees(model: Llama, other: Any) -> None:
    with torch.no_grad():
        row = ids(model.shape)
        torch.testing.assert_close(model(row), other(row).logits, atol=1e-5, rtol=1e-5)


def saved(folder: Path, shape: LlamaShape = PLAIN, seed: int = 0) -> Path:
    save_model(new_model(shape, seed), folder)
    return folder


def reference(*, tied: bool = False) -> Any:
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=40,
        rope_parameters={"rope_type": "default", "rope_theta": 7000.0},
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config).eval()


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    for name, value in changes.items():
        if value is None:
            config.pop(name, None)
        else:
            config[name] = value
    (folder / CONFIG).write_text(json.dumps(config))


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors = {name: value.clone() for name, value in tensors.items()}
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


# there and back


@pytest.mark.parametrize("kind", SHAPES)
def test_transformers_loads_what_is_saved_and_agrees(kind: str, tmp_path: Path) -> None:
    model = new_model(SHAPES[kind], 0)
    save_model(model, tmp_path / "model")
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    other, report = loaded
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert other.config.rope_parameters["rope_theta"] == SHAPES[kind].rope_theta
    agrees(model, other)


@pytest.mark.parametrize("kind", SHAPES)
def test_what_is_saved_opens_as_it_was(kind: str, tmp_path: Path) -> None:
    model = new_model(SHAPES[kind], 0)
    save_model(model, tmp_path / "model")
    again = open_model(tmp_path / "model")
    assert again.shape == model.shape == read_shape(tmp_path / "model")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == model.shape.tied
    assert all(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("shard", ["5GB", "4KB"])
def test_what_transformers_saves_opens_and_agrees(tied: bool, shard: str, tmp_path: Path) -> None:
    other = reference(tied=tied)
    other.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / INDEX).is_file() == (shard == "4KB")
    model = open_model(tmp_path)
    assert model.shape.tied == tied
    assert model.shape.rope_theta == 7000.0
    agrees(model, other)


def test_configurations_before_version_5_of_transformers_open(tmp_path: Path) -> None:
    other = reference()
    other.save_pretrained(tmp_path)
    edit_config(tmp_path, rope_parameters=None, rope_theta=7000.0, head_dim=None)
    agrees(open_model(tmp_path), other)
    edit_config(tmp_path, rope_theta=None)
    assert read_shape(tmp_path).rope_theta == 10000.0


def test_a_checkpoint_in_bf16_opens_in_float32(tmp_path: Path) -> None:
    model = new_model(PLAIN, 0)
    save_model(model, tmp_path / "model", dtype=torch.bfloat16)
    assert {value.dtype for value in load_file(tmp_path / "model" / WEIGHTS).values()} == {torch.bfloat16}
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").dtype == torch.bfloat16
    again = open_model(tmp_path / "model").state_dict()
    assert all(torch.equal(again[name], value.bfloat16().float()) for name, value in model.state_dict().items())


def test_stored_rotary_frequencies_of_old_checkpoints_are_passed_over(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    before = open_model(folder).state_dict()
    edit_weights(folder, lambda found: found.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}))
    after = open_model(folder).state_dict()
    assert before.keys() == after.keys()


def test_a_tied_output_layer_may_be_stored_too(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", TIED)
    edit_weights(folder, lambda found: found.update({"lm_head.weight": found[EMBEDDING].clone()}))
    assert open_model(folder).shape.tied


def test_a_tokenizer_is_saved_beside_the_model_and_both_name_the_same_end(tmp_path: Path) -> None:
    tokenizer = train_bpe(["one text", "another text"], 300)
    shape = PLAIN.model_copy(update={"vocab": tokenizer.vocab})
    save_model(new_model(shape, 0), tmp_path / "model", tokenizer=tokenizer.data)
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == tokenizer.data
    assert AutoTokenizer.from_pretrained(tmp_path / "model").eos_token_id == tokenizer.end
    assert GenerationConfig.from_pretrained(tmp_path / "model").eos_token_id == tokenizer.end


# bytes and kills


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    assert content(saved(tmp_path / "one")) == content(saved(tmp_path / "two"))
    assert model_digest(tmp_path / "one") == model_digest(tmp_path / "two")
    assert model_digest(saved(tmp_path / "three", seed=1)) != model_digest(tmp_path / "one")


@pytest.mark.parametrize("swap_at_once", [True, False])
def test_saving_again_replaces_the_old_one_and_leaves_nothing_else(
    swap_at_once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not swap_at_once:  # as on a file system that cannot
        monkeypatch.setattr(training.model_folder, "_exchange", lambda one, other: False)
    folder = saved(tmp_path / "model")
    (folder / "left over").write_text("of the old one")
    saved(folder, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert content(folder) == content(saved(tmp_path / "other", seed=1))


class KilledError(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("place", ["save_file", "_to_disk", "_put_in_place"])
def test_a_kill_before_the_end_leaves_the_old_one(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "model")
    before = content(folder)

    def killed(*_: Any, **__: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(training.model_folder, place, killed)
        with pytest.raises(KilledError):
            saved(folder, seed=1)
    assert content(folder) == before
    saved(folder, seed=1)  # what the kill left is no obstacle
    assert content(folder) != before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_after_the_swap_leaves_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, new = saved(tmp_path / "model"), content(saved(tmp_path / "new", seed=1))

    def killed(path: Path, **_: Any) -> None:
        if path.exists():
            raise KilledError

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KilledError):
        saved(folder, seed=1)
    assert content(folder) == new


# refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mistral"}, "this is a 'mistral' model"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rotary positions are scaled (linear)"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "rotary positions are scaled (llama3)"),
        ({"hidden_size": None}, "the configuration lacks 'hidden_size'"),
        ({"num_attention_heads": 0}, "the configuration cannot be used"),
        ({"num_hidden_layers": "many"}, "the configuration cannot be used"),
        ({"rope_parameters": [1]}, "the configuration cannot be used"),
        ({"num_key_value_heads": 3}, "4 query heads cannot share 3 key and value heads evenly"),
    ],
)
def test_a_configuration_of_another_model_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    edit_config(folder, **changes)
    with pytest.raises(ModelError) as caught:
        read_shape(folder)
    assert message in caught.value.what
    assert caught.value.where == str(folder / CONFIG)
    assert caught.value.fix


def set_value(name: str, value: Tensor) -> Callable[[dict[str, Tensor]], Any]:
    return lambda found: found.update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop(QUERY), f"{QUERY} is missing"),
        (set_value("model.layers.0.self_attn.q_proj.bias", torch.ones(16)), "q_proj.bias is not part of a LLaMA"),
        (set_value("model.layers.2.mlp.up_proj.weight", torch.ones(24, 16)), "layers.2.mlp.up_proj.weight is not part"),
        (set_value(QUERY, torch.ones(16, 15)), f"{QUERY} has the shape [16, 15] instead of [16, 16]"),
        (lambda found: found[QUERY].view(-1)[3:4].fill_(torch.nan), f"{QUERY} holds values that are not finite"),
        (lambda found: found[QUERY].view(-1)[3:4].fill_(-torch.inf), f"{QUERY} holds values that are not finite"),
        (set_value(QUERY, torch.ones(16, 16, dtype=torch.int8)), f"{QUERY} holds int8"),
        (set_value(QUERY, torch.ones(16, 16).to(torch.float8_e4m3fn)), f"{QUERY} holds float8_e4m3fn"),
        (lambda found: found.clear(), "and 11 more"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: Callable[[dict[str, Tensor]], Any], message: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path / "model")
    edit_weights(folder, change)
    with pytest.raises(ModelError) as caught:
        open_model(folder)
    assert message in caught.value.what
    assert caught.value.where == str(folder)
    assert caught.value.fix


def test_all_faults_of_weights_are_named_at_once(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    edit_weights(folder, lambda found: (found.pop(QUERY), found.update({"extra": torch.ones(1)})))
    with pytest.raises(ModelError, match=r"extra is not part of a LLaMA\n.*q_proj\.weight is missing"):
        open_model(folder)


def test_a_tied_output_layer_that_is_not_the_embedding_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", TIED)
    edit_weights(folder, lambda found: found.update({"lm_head.weight": found[EMBEDDING] + 1}))
    with pytest.raises(ModelError, match=r"lm_head\.weight differs from model\.embed_tokens\.weight"):
        open_model(folder)


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "sub/a.safetensors", "pytorch_model.bin", ".."]
)
def test_an_index_that_names_files_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    (folder / WEIGHTS).rename(tmp_path / WEIGHTS)  # it would load, were the name followed
    (folder / INDEX).write_text(json.dumps({"weight_map": {QUERY: name}}))
    with pytest.raises(ModelError, match="files that are not shards beside it"):
        open_model(folder)
    with pytest.raises(ModelError, match="files that are not shards beside it"):
        model_digest(folder)


@pytest.mark.parametrize(
    "text", ["{}", '{"weight_map": []}', '{"weight_map": {}}', "[1]", "{", '{"weight_map": {"a": 1}}']
)
def test_an_index_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(text)
    with pytest.raises(ModelError) as caught:
        open_model(folder)
    assert caught.value.fix


def test_a_shard_that_is_missing_or_repeats_a_tensor_is_refused(tmp_path: Path) -> None:
    reference().save_pretrained(tmp_path, max_shard_size="4KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    last = shards[-1].read_bytes()
    shutil.copyfile(shards[0], shards[-1])
    with pytest.raises(ModelError, match="and in another shard"):
        open_model(tmp_path)
    shards[-1].write_bytes(last[:-4])
    with pytest.raises(ModelError, match="cannot be read"):
        open_model(tmp_path)
    shards[-1].unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        open_model(tmp_path)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pytorch_model\.bin, which could run code") as caught:
        open_model(folder)
    assert "safe_serialization=True" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "message"), [(None, "no config.json here"), ("{", "cannot be read"), ("[]", "no object")]
)
def test_a_folder_without_a_configuration_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / CONFIG).write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        open_model(tmp_path)
    assert caught.value.where == str(tmp_path)
    assert caught.value.fix


def test_a_tokenizer_that_is_none_is_refused_and_the_old_model_stays(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    before = content(folder)
    with pytest.raises(TrainingError, match="this is no tokenizer"):
        save_model(new_model(PLAIN, 1), folder, tokenizer=b"{}")
    assert content(folder) == before
