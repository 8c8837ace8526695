"""The product's loader, over token shards or over text that is tokenised while training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.loaders.stream import Batch, Spec, Stream
from training.data.loader import Loader, LoaderConfig
from training.data.on_the_fly import open_text
from training.data.source import Corpus, open_tokens
from training.data.text import TextSource
from training.data.tokenizer import read_tokenizer


class Ours(Stream):
    """``Loader`` as it is."""

    def __init__(self, corpus: Corpus, spec: Spec) -> None:
        config = LoaderConfig(global_batch=spec.batch, seed=spec.seed, weights=spec.weights)
        self.loader = Loader(corpus, config, rank=spec.rank, world=spec.world)

    def batches(self) -> Iterator[Batch]:
        for batch in self.loader:
            yield Batch(batch["input_ids"], batch["labels"], batch["domain"])

    def state(self) -> Any:
        return self.loader.state_dict()

    def load(self, state: Any) -> None:
        self.loader.load_state_dict(state)

    def set_weights(self, weights: dict[str, float], step: int) -> None:
        self.loader.set_weights(weights, step=step)


def open_stream(spec: Spec, candidate: str) -> Stream:
    tokens = open_tokens(str(spec.folder / "tokens"))
    if candidate == "ours":
        return Ours(tokens, spec)
    tokenizer = read_tokenizer(tokens.tokenizer, None, where="the tokenizer of the token shards")
    sources = {name: TextSource(paths=(str(spec.folder / "text" / f"{name}-*.parquet"),)) for name in spec.weights}
    return Ours(open_text(sources, tokenizer, sequence_length=spec.length), spec)
