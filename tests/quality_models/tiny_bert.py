"""A tiny BERT with random weights, saved as a Hugging Face directory; and BERT written down in numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.special import erf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HIDDEN, WIDE, LAYERS, HEADS, PLACES = 32, 64, 2, 4, 48
EPS = 1e-12
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "good",
    "fine",
    "kind",
    "friend",
    "garden",
    "river",
    "bad",
    "awful",
    "idiot",
    "moron",
    "trash",
    "stupid",
    "the",
    "a",
    "you",
    "are",
    "is",
    "of",
    "in",
    "this",
    "they",
    "we",
    "with",
    "and",
    "it",
    "to",
    "be",
    "at",
    "on",
]

Tensors = dict[str, NDArray[np.float32]]


def save_tiny_bert(folder: Path, *, classes: int = 0, seed: int = 3) -> Tensors:
    """Write config.json, tokenizer.json and model.safetensors; returns the tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": HIDDEN, "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "max_position_embeddings": PLACES,
        "vocab_size": len(WORDS), "layer_norm_eps": EPS, "type_vocab_size": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    tensors = _tensors(np.random.default_rng(seed), classes)
    save_file(tensors, str(folder / "model.safetensors"))
    return tensors


def _tensors(rng: np.random.Generator, classes: int) -> Tensors:
    prefix = "bert." if classes else ""
    shapes = {"embeddings.word_embeddings.weight": (len(WORDS), HIDDEN)}
    shapes["embeddings.position_embeddings.weight"] = (PLACES, HIDDEN)
    shapes["embeddings.token_type_embeddings.weight"] = (2, HIDDEN)
    norms = ["embeddings.LayerNorm"]
    linears = {"pooler.dense": (HIDDEN, HIDDEN)}
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
        linears |= {f"{name}.attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")}
        linears[f"{name}.attention.output.dense"] = (HIDDEN, HIDDEN)
        linears[f"{name}.intermediate.dense"] = (WIDE, HIDDEN)
        linears[f"{name}.output.dense"] = (HIDDEN, WIDE)
    tensors = {f"{prefix}{name}": rng.normal(0, 0.5, shape) for name, shape in shapes.items()}
    for name in norms:
        tensors[f"{prefix}{name}.weight"] = rng.normal(1, 0.1, HIDDEN)
        tensors[f"{prefix}{name}.bias"] = rng.normal(0, 0.1, HIDDEN)
    if classes:
        linears["classifier"] = (classes, HIDDEN)
    for name, shape in linears.items():
        full = name if name == "classifier" else f"{prefix}{name}"
        tensors[f"{full}.weight"], tensors[f"{full}.bias"] = rng.normal(0, 0.2, shape), rng.normal(0, 0.1, shape[0])
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def reference(tensors: Tensors, ids: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """(normalised mean embedding, logits where there is a classifier) of one window, in double precision."""
    t = {name.removeprefix("bert."): tensor.astype(np.float64) for name, tensor in tensors.items()}
    x = t["embeddings.word_embeddings.weight"][ids] + t["embeddings.position_embeddings.weight"][: len(ids)]
    x = _norm(x + t["embeddings.token_type_embeddings.weight"][0], t, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        q, k, v = (_heads(_linear(x, t, f"{name}.attention.self.{part}")) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(HIDDEN // HEADS)
        chances = np.exp(scores - scores.max(-1, keepdims=True))
        chances /= chances.sum(-1, keepdims=True)
        seen = (chances @ v).transpose(1, 0, 2).reshape(len(ids), HIDDEN)
        x = _norm(x + _linear(seen, t, f"{name}.attention.output.dense"), t, f"{name}.attention.output.LayerNorm")
        wide = _linear(x, t, f"{name}.intermediate.dense")
        wide = wide * 0.5 * (1 + erf(wide / np.sqrt(2)))
        x = _norm(x + _linear(wide, t, f"{name}.output.dense"), t, f"{name}.output.LayerNorm")
    mean = x.mean(0)
    logits = None
    if "classifier.weight" in t:
        logits = _linear(np.tanh(_linear(x[0], t, "pooler.dense")), t, "classifier")
    return mean / np.linalg.norm(mean), logits


def _linear(x: NDArray[np.float64], t: dict[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    return np.asarray(x @ t[f"{name}.weight"].T + t[f"{name}.bias"])


def _norm(x: NDArray[np.float64], t: dict[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS)
    return np.asarray(scaled * t[f"{name}.weight"] + t[f"{name}.bias"])


def _heads(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x.reshape(len(x), HEADS, HIDDEN // HEADS).transpose(1, 0, 2)
