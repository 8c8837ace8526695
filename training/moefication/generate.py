"""Generation, dense or sparse: one token at a time over a cache of keys and values; on a GPU as one CUDA graph.

A step for one row reads every weight once and computes little, so it takes as long as reading does: sparse, it reads
the chosen experts' neurons alone. Small models are bound by launching kernels instead, which the graph does away with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from corpus.errors import TrainingError
from training.llama import Llama, Rotary
from training.shape import LlamaShape


class Cache:
    """Keys and values of one layer, for ``length`` places of each row; places yet to come hold zeros."""

    def __init__(self, shape: LlamaShape, rows: int, length: int, like: Tensor) -> None:
        size = (2, rows, shape.kv_heads, length, shape.head_dim)
        self.keys, self.values = torch.zeros(size, dtype=like.dtype, device=like.device)

    def put(self, keys: Tensor, values: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Remember those of new tokens at ``rotary.places``; returns all places."""
        assert rotary.places is not None
        self.keys.index_copy_(2, rotary.places, keys.to(self.keys.dtype))
        self.values.index_copy_(2, rotary.places, values.to(self.values.dtype))
        return self.keys, self.values


class Generator:
    """Greedy generation by ``model``, in evaluation mode and as it is set to run (``running`` of the layer).

    Rows are of equal length. On a GPU the step for one token is recorded at its first use; a model that is switched or
    changed in other ways than in place needs another generator.
    """

    def __init__(self, model: Llama, *, rows: int = 1, length: int) -> None:
        """``length``: places for prompt and answer together."""
        if length > model.shape.max_positions:
            raise TrainingError(
                f"{length} places, but the model is made for {model.shape.max_positions}",
                fix="ask for fewer tokens, or a model with larger max_positions",
            )
        self.model = model.eval()
        weight = model.model.embed_tokens.weight
        self.rows, self.length, self.device = rows, length, weight.device
        self._caches = [Cache(model.shape, rows, length, weight) for _ in range(model.shape.layers)]
        self._token = torch.zeros(rows, 1, dtype=torch.int64, device=self.device)
        self._place = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._next: Tensor | None = None
        self._graph: torch.cuda.CUDAGraph | None = None

    @torch.no_grad()
    def generate(self, prompt: Tensor, count: int) -> Tensor:
        """The ``count`` likeliest tokens, one after another, behind ``prompt`` [rows, L]: [rows, count]."""
        if prompt.shape[0] != self.rows or not prompt.shape[1] or prompt.shape[1] + count > self.length:
            raise TrainingError(
                f"a prompt {tuple(prompt.shape)} and {count} more tokens do not fit {self.rows} rows of {self.length}",
                fix="make the generator with more rows or length",
            )
        found = [self.prefill(prompt)]
        for place in range(prompt.shape[1], prompt.shape[1] + count - 1):
            found.append(self.step(found[-1], place))
        return torch.cat(found, dim=1)[:, :count]

    @torch.no_grad()
    def prefill(self, prompt: Tensor) -> Tensor:
        """Read a prompt [rows, L] at once; returns the likeliest next token of each row [rows, 1]."""
        return self._forward(prompt, torch.arange(prompt.shape[1], device=self.device))

    @torch.no_grad()
    def step(self, token: Tensor, place: int) -> Tensor:
        """Read ``token`` [rows, 1] at ``place``; returns the likeliest next one."""
        self._token.copy_(token)
        self._place.fill_(place)
        if self.device.type != "cuda":
            return self._forward(self._token, self._place)
        if self._graph is None:
            self._record()
        assert self._graph is not None
        assert self._next is not None
        self._graph.replay()
        return self._next.clone()

    def _record(self) -> None:
        """Record a step. It runs before, aside: kernels are compiled and measured then, not while recording."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._forward(self._token, self._place)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._next = self._forward(self._token, self._place)

    def _forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        allowed = (torch.arange(self.length, device=self.device)[None] <= places[:, None])[None, None]
        rotary = Rotary.at(self.model.shape, places[None], allowed, places)
        hidden = self.model.model(tokens, rotary, None, self._caches)
        return self.model.lm_head(hidden[:, -1:]).argmax(dim=-1)
