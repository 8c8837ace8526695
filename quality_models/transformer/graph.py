"""An encoder of the BERT family (Devlin et al. 2019) as an ONNX graph, built from its tensors.

Inputs: ``ids`` int64 (windows, tokens) and ``mask`` float32 of the same shape, 1 for tokens and 0 for padding. Output:
``mean``, the L2-normalised mean of the last hidden states (windows, hidden), or ``logits`` (windows, classes) of the
model's own classifier.

In ``int8`` the weights of all dense layers are rounded to 8 bits per output column, and the activations per token:
one scale for a whole batch, as dynamic quantisation usually has it, would let a text's score depend on its neighbours.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from corpus.errors import ModelError
from quality_models.transformer.weights import BertConfig, Tensors

Precision = Literal["int8", "fp32"]
Output = Literal["mean", "classifier"]
OPSET: Final = 20
NOT_SEEN: Final = -1e9  # added to the attention to padding
LEAST: Final = 1e-8
ZERO: Final = 128  # of unsigned activations


def build_graph(config: BertConfig, tensors: Tensors, *, precision: Precision, output: Output) -> bytes:
    """The serialised graph. Raises ``ModelError`` where a tensor is missing or has another shape."""
    from onnx import TensorProto, helper

    graph = _Graph(_without_prefix(tensors), precision)
    hidden = _encode(graph, config)
    result = _mean(graph, hidden) if output == "mean" else _classify(graph, hidden, config)
    graph.add("Identity", [result], name="result")
    made = helper.make_graph(
        graph.nodes,
        "encoder",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["windows", "tokens"]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["windows", "tokens"]),
        ],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["windows", "values"])],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    serialised: bytes = model.SerializeToString()
    return serialised


def _without_prefix(tensors: Tensors) -> Tensors:
    """A model with a head of its own keeps the encoder under ``bert.``."""
    return {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}


class _Graph:
    """Nodes and constants as they are added; every value gets a name of its own."""

    def __init__(self, tensors: Tensors, precision: Precision) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._tensors, self._precision, self._number = tensors, precision, 0

    def add(self, operator: str, inputs: list[str], *, name: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Add a node; returns the name of its first output (others: ``NAME.1`` ...)."""
        from onnx import helper

        name = name or self._fresh()
        names = [name, *(f"{name}.{at}" for at in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = self._fresh()
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A tensor of the model; raises ``ModelError`` unless it is there and has the shape."""
        found = self._tensors.get(name)
        if found is None or found.shape != shape:
            has = "is missing" if found is None else f"has shape {found.shape}"
            raise ModelError(
                f"tensor {name} {has}, expected {shape}", where="model.safetensors", fix="use another model"
            )
        if not np.isfinite(found).all():
            raise ModelError(
                f"tensor {name} holds values that are no numbers", where="model.safetensors", fix="see above"
            )
        return found

    def dense(self, value: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """``value @ weight.T + bias``; ``weight`` (out, in) as PyTorch keeps it."""
        product = self._rounded(value, weight) if self._precision == "int8" else self._exact(value, weight)
        return self.add("Add", [product, self.constant(bias)])

    def _exact(self, value: str, weight: NDArray[np.float32]) -> str:
        return self.add("MatMul", [value, self.constant(weight.T)])

    def _rounded(self, value: str, weight: NDArray[np.float32]) -> str:
        column = np.maximum(np.abs(weight).max(axis=1), LEAST) / 127
        rounded = np.round(weight / column[:, None]).astype(np.int8)
        largest = self.add("ReduceMax", [self.add("Abs", [value]), self.constant(np.array([-1], np.int64))], keepdims=1)
        row = self.add("Div", [self.add("Max", [largest, self.number(LEAST)]), self.number(127)])
        shifted = self.add("Add", [self.add("Round", [self.add("Div", [value, row])]), self.number(ZERO)])
        whole = self.add("Cast", [shifted], to=2)  # uint8
        zero = self.constant(np.array(ZERO, np.uint8))
        product = self.add("Cast", [self.add("MatMulInteger", [whole, self.constant(rounded.T), zero])], to=1)
        return self.add("Mul", [self.add("Mul", [product, row]), self.constant(column.astype(np.float32))])

    def norm(self, value: str, name: str, size: int, eps: float) -> str:
        weight, bias = self.tensor(f"{name}.weight", size), self.tensor(f"{name}.bias", size)
        return self.add("LayerNormalization", [value, self.constant(weight), self.constant(bias)], epsilon=eps)

    def linear(self, value: str, name: str, size: int, out: int) -> str:
        return self.dense(value, self.tensor(f"{name}.weight", out, size), self.tensor(f"{name}.bias", out))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def _fresh(self) -> str:
        self._number += 1
        return f"v{self._number}"


def _encode(graph: _Graph, config: BertConfig) -> str:
    size, eps = config.hidden_size, config.layer_norm_eps
    words = graph.tensor("embeddings.word_embeddings.weight", config.vocab_size, size)
    places = graph.tensor("embeddings.position_embeddings.weight", config.max_position_embeddings, size)
    kinds = graph.tensor("embeddings.token_type_embeddings.weight", config.type_vocab_size, size)
    length = graph.add("Gather", [graph.add("Shape", ["ids"]), graph.constant(np.array([1], np.int64))])
    start = graph.constant(np.array([0], np.int64))
    place = graph.add("Slice", [graph.constant(places + kinds[0]), start, length])
    value = graph.add("Add", [graph.add("Gather", [graph.constant(words), "ids"]), place])
    value = graph.norm(value, "embeddings.LayerNorm", size, eps)
    hidden = graph.add("Sub", ["mask", graph.number(1)])
    hidden = graph.add("Mul", [hidden, graph.number(-NOT_SEEN)])
    hidden = graph.add("Unsqueeze", [hidden, graph.constant(np.array([1, 2], np.int64))])
    for layer in range(config.num_hidden_layers):
        name = f"encoder.layer.{layer}"
        seen = graph.linear(_attend(graph, value, name, hidden, config), f"{name}.attention.output.dense", size, size)
        value = graph.norm(graph.add("Add", [value, seen]), f"{name}.attention.output.LayerNorm", size, eps)
        wide = graph.add("Gelu", [graph.linear(value, f"{name}.intermediate.dense", size, config.intermediate_size)])
        narrow = graph.linear(wide, f"{name}.output.dense", config.intermediate_size, size)
        value = graph.norm(graph.add("Add", [value, narrow]), f"{name}.output.LayerNorm", size, eps)
    return value


def _attend(graph: _Graph, value: str, name: str, hidden: str, config: BertConfig) -> str:
    size, heads = config.hidden_size, config.num_attention_heads
    parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    weight = np.concatenate([graph.tensor(f"{part}.weight", size, size) for part in parts])
    bias = np.concatenate([graph.tensor(f"{part}.bias", size) for part in parts])
    together = graph.dense(value, weight, bias)
    split = graph.add("Split", [together], outputs=3, axis=-1, num_outputs=3)
    shape = graph.constant(np.array([0, 0, heads, size // heads], np.int64))
    query, key, content = (
        graph.add("Transpose", [graph.add("Reshape", [part, shape])], perm=perm)
        for part, perm in zip(
            (split, f"{split}.1", f"{split}.2"), ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)), strict=True
        )
    )
    scores = graph.add("MatMul", [query, key])
    scores = graph.add("Mul", [scores, graph.number(1 / np.sqrt(size // heads))])
    chances = graph.add("Softmax", [graph.add("Add", [scores, hidden])], axis=-1)
    seen = graph.add("Transpose", [graph.add("MatMul", [chances, content])], perm=(0, 2, 1, 3))
    return graph.add("Reshape", [seen, graph.constant(np.array([0, 0, size], np.int64))])


def _mean(graph: _Graph, hidden: str) -> str:
    mask = graph.add("Unsqueeze", ["mask", graph.constant(np.array([2], np.int64))])
    axis = graph.constant(np.array([1], np.int64))
    total = graph.add("ReduceSum", [graph.add("Mul", [hidden, mask]), axis], keepdims=0)
    mean = graph.add("Div", [total, graph.add("ReduceSum", [mask, axis], keepdims=0)])
    length = graph.add("ReduceL2", [mean, axis], keepdims=1)
    return graph.add("Div", [mean, graph.add("Max", [length, graph.number(LEAST)])])


def _classify(graph: _Graph, hidden: str, config: BertConfig) -> str:
    size = config.hidden_size
    first = graph.add("Gather", [hidden, graph.constant(np.array(0, np.int64))], axis=1)
    pooled = graph.add("Tanh", [graph.linear(first, "pooler.dense", size, size)])
    classes = graph._tensors.get("classifier.weight", np.zeros((0, size), np.float32)).shape[0]
    return graph.linear(pooled, "classifier", size, classes)
