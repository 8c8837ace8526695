"""Texts through an encoder: tokenised, one window after the other on a CPU, in batches of similar length on a GPU.

On a CPU a window of 256 tokens fills the arithmetic units by itself, so batching would gain nothing; alone, its score
cannot depend on its neighbours. With ``bf16`` windows are sorted by length and padded to the longest of a batch: a
score may differ in the third decimal from batch to batch, so a run that must be repeated byte for byte uses the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from corpus.errors import ModelError
from quality_models.card import Backbone
from quality_models.transformer.graph import build_graph
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
        return TorchEncoder(folder, tokenizer, backbone)
    config = parse_config(files[CONFIG], str(folder / CONFIG))
    if backbone.tokens > config.max_position_embeddings:
        raise ModelError(
            f"the encoder reads {config.max_position_embeddings} tokens, not {backbone.tokens}",
            where=str(folder),
            fix="set a smaller number of tokens",
        )
    tensors = parse_tensors(files[WEIGHTS], str(folder / WEIGHTS))
    graph = build_graph(config, tensors, precision=backbone.precision, output=backbone.output)
    return OnnxEncoder(graph, tokenizer)


def _tokenizer(data: bytes, tokens: int, where: str) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as error:  # the binding raises bare Exception
        raise ModelError(f"the tokenizer cannot be read: {error}", where=where, fix="install the model again") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens)
    return tokenizer


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
    """Runs any local Hugging Face directory with torch, in bfloat16, on a GPU where there is one."""

    def __init__(self, folder: Path, tokenizer: Any, backbone: Backbone) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise ModelError(
                f"precision bf16 needs torch and transformers: {error}",
                where=str(folder),
                fix="pip install 'corpus-pipeline[train]', or set precision: int8",
            ) from None
        kind = transformers.AutoModel if backbone.output == "mean" else transformers.AutoModelForSequenceClassification
        self._torch, self._tokenizer, self._output = torch, tokenizer, backbone.output
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        model = kind.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.bfloat16
        )
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


def batches_by_length(lengths: NDArray[np.int64]) -> list[slice]:
    """Cut windows that are sorted by falling length into batches of at most ``BATCH_TOKENS`` with padding."""
    found, start = [], 0
    while start < len(lengths):
        size = max(1, BATCH_TOKENS // int(max(lengths[start], 1)))
        found.append(slice(start, min(start + size, len(lengths))))
        start += size
    return found
