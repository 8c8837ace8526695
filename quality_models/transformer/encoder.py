"""Texts through an encoder: tokenised, one window after the other on a CPU, in batches of similar length on a GPU.

On a CPU a window of 256 tokens fills the arithmetic units by itself, so batching would gain nothing; alone, its score
cannot depend on its neighbours. With ``bf16`` windows are sorted by length and padded to the longest of a batch: a
score may differ in the third decimal from batch to batch, so a run that must be repeated byte for byte uses the CPU.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from corpus.errors import ModelError
from quality_models.card import Backbone
from quality_models.transformer.graph import Output, build_graph
from quality_models.transformer.weights import (
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    backbone_folder,
    parse_config,
    parse_tensors,
    read_pinned,
)

BATCH_TOKENS: Final = 1 << 15  # with padding, per batch on a GPU

Embeddings = NDArray[np.float32]


class Encoder(Protocol):
    """Anything that turns texts into one row of numbers each: an embedding, or the logits of classes."""

    def encode(self, texts: Sequence[str]) -> Embeddings: ...


def open_encoder(backbone: Backbone, beside: Path) -> Encoder:
    """Verify, build and load an encoder. Raises ``ModelError``. A second for MiniLM."""
    folder = backbone_folder(backbone.place, beside)
    files = read_pinned(folder, backbone.files)
    tokenizer = _tokenizer(files[TOKENIZER], backbone.tokens, str(folder / TOKENIZER))
    if backbone.precision == "bf16":
        torch_model = load_torch_model(files[CONFIG], files[WEIGHTS], backbone.output, str(folder))
        _check_limits(torch_model.config, tokenizer, backbone.tokens, str(folder))
        return _tried(TorchEncoder(torch_model, tokenizer, backbone.output), backbone.tokens, str(folder))
    config = parse_config(files[CONFIG], str(folder / CONFIG))
    _check_limits(config, tokenizer, backbone.tokens, str(folder))
    tensors = parse_tensors(files[WEIGHTS], str(folder / WEIGHTS))
    graph = build_graph(config, tensors, precision=backbone.precision, output=backbone.output)
    return _tried(OnnxEncoder(graph, tokenizer), backbone.tokens, str(folder))


def _tokenizer(data: bytes, tokens: int, where: str) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_buffer(data)
        tokenizer.no_padding()
        tokenizer.enable_truncation(tokens)
        marks = tokenizer.encode("").ids
        tokenizer.encode("\ufffd qzxj")  # fails where unknown words have no token
    except Exception as error:  # the binding raises bare Exception
        raise ModelError(f"the tokenizer cannot be read: {error}", where=where, fix="install the model again") from None
    if not marks:  # a text of which nothing is left would have no token at all
        raise ModelError(
            "the tokenizer adds no tokens of its own", where=where, fix="save it with [CLS] and [SEP] around every text"
        )
    return tokenizer


def _check_limits(config: Any, tokenizer: Any, tokens: int, where: str) -> None:
    """Positions and words beyond an embedding would be an error of the machine, on a GPU one it does not survive."""
    places = getattr(config, "max_position_embeddings", tokens)
    if tokens > places:
        raise ModelError(
            f"the encoder reads {places} tokens, not {tokens}", where=where, fix="set a smaller number of tokens"
        )
    last = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if last >= config.vocab_size:
        raise ModelError(
            f"the tokenizer has a token {last}, the encoder only {config.vocab_size} words",
            where=where,
            fix="take both files from the same model",
        )


def _tried(encoder: Encoder, tokens: int, where: str) -> Encoder:
    """The encoder, if it turns a text of full length into numbers."""
    try:
        row = encoder.encode(["a " * tokens])
    except Exception as error:  # whatever a runtime raises about a model that does not hold together
        raise ModelError(f"the encoder does not run: {error}", where=where, fix="use another model") from error
    if not np.isfinite(row).all():
        raise ModelError("the encoder gives values that are no numbers", where=where, fix="use another model")
    return encoder


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8 form


class OnnxEncoder:
    """Runs a graph of ``build_graph`` with onnxruntime on one thread."""

    def __init__(self, graph: bytes, tokenizer: Any) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # a task has one core
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """One row per text; depends on each text alone."""
        found = []
        for encoding in self._tokenizer.encode_batch([_encodable(text) for text in texts]):
            ids = np.array([encoding.ids], np.int64)
            feed = {"ids": ids, "mask": np.ones(ids.shape, np.float32)}
            found.append(self._session.run(None, feed)[0])
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


class TorchEncoder:
    """Runs a model of ``load_torch_model`` on a GPU where there is one."""

    def __init__(self, model: Any, tokenizer: Any, output: Output) -> None:
        import torch

        self._torch, self._tokenizer, self._output = torch, tokenizer, output
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.to(self._device).eval()

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """One row per text, computed in batches of similar length."""
        encodings = self._tokenizer.encode_batch([_encodable(text) for text in texts])
        lengths = np.array([len(encoding.ids) for encoding in encodings], np.int64)
        rows: list[Embeddings] = []
        order = np.argsort(-lengths, kind="stable")
        for batch in batches_by_length(lengths[order]):
            rows += list(self._run([encodings[at].ids for at in order[batch]]))
        if not rows:
            return np.zeros((0, 0), np.float32)
        found = np.empty((len(rows), len(rows[0])), np.float32)
        found[order] = rows
        return found

    def _run(self, batch: list[list[int]]) -> Embeddings:
        torch = self._torch
        longest = max(map(len, batch))
        ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids in batch], device=self._device)
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in batch], device=self._device)
        with torch.inference_mode():
            result = self._model(input_ids=ids, attention_mask=mask)
            if self._output == "classifier":
                values = result.logits.float()
            else:
                weight = mask.unsqueeze(-1).float()
                mean = (result.last_hidden_state.float() * weight).sum(1) / weight.sum(1)
                values = torch.nn.functional.normalize(mean, dim=-1)
        array: Embeddings = values.cpu().numpy()
        return array


def load_torch_model(config: bytes, weights: bytes, output: Output, where: str) -> Any:
    """A model of any architecture that transformers knows, in bfloat16, from the bytes of its two files.

    From bytes and not from the folder: transformers would read the files once more, after their sha256 was compared,
    and others beside them that nobody pinned. It also fills weights that are missing with chance: that is an error
    here. Raises ``ModelError``.
    """
    try:
        import torch
        import transformers
        from safetensors.torch import load
    except ImportError as error:
        raise ModelError(
            f"precision bf16 needs torch and transformers: {error}",
            where=where,
            fix="pip install 'corpus-pipeline[train]', or set precision: int8",
        ) from None
    auto = transformers.AutoModel if output == "mean" else transformers.AutoModelForSequenceClassification
    try:
        settings = transformers.AutoConfig.for_model(**json.loads(config))
        with torch.device("meta"):  # only to learn the class: no memory is taken
            kind = type(auto.from_config(settings, trust_remote_code=False))
        model, report = kind.from_pretrained(
            None, config=settings, state_dict=load(weights), dtype=torch.bfloat16, output_loading_info=True
        )
    except Exception as error:  # both libraries raise whatever they meet
        raise ModelError(
            f"transformers cannot load the model: {error}", where=where, fix="use another model"
        ) from error
    # The pooler stands above the hidden states whose mean is taken: many encoders are saved without it.
    missing = sorted(name for name in report["missing_keys"] if output != "mean" or "pooler" not in name)
    if missing:
        raise ModelError(f"tensor {missing[0]} is missing", where=where, fix="use another model")
    return model


def batches_by_length(lengths: NDArray[np.int64]) -> list[slice]:
    """Cut windows that are sorted by falling length into batches of at most ``BATCH_TOKENS`` with padding."""
    found, start = [], 0
    while start < len(lengths):
        size = max(1, BATCH_TOKENS // int(max(lengths[start], 1)))
        found.append(slice(start, min(start + size, len(lengths))))
        start += size
    return found
