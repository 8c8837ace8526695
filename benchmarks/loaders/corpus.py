"""The corpus of the comparison: text generated from a seed, tokenised by the product, exported once per library.

Four domains with a share of the tokens each; documents of log-normal length; words drawn by Zipf's law from a lexicon
per domain. Everything is made once per folder and size, and kept.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.commit import TaskRecord
from corpus.shards import ShardWriter
from pipeline.manifest import ExecutorConfig, OutputConfig
from pipeline.tokenize import tokenize
from pipeline.tokenize_config import DomainSource, TokenizeConfig, TokenizeManifest, TokenizerSource
from training.data.source import open_tokens
from training.data.tokenizer import train_bpe
from training.export import EXPORTERS

WEIGHTS = {"books": 0.4, "code": 0.3, "news": 0.2, "web": 0.1}
"""Shares of the domains, in the corpus and in the mixture."""
FILES, GROUP = 4, 256
VOCAB = 32_768
LEXICON, WORDS = 50_000, 420.0
"""Words of a domain's lexicon; median words of a document (the logarithm has a standard deviation of one)."""
TOKENS_PER_WORD = 1.5
"""Roughly; only the size of the corpus depends on it."""
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string())])


class Silent:
    """A watcher that tells nobody."""

    def run_started(self, run_id: str, units: int, executor: str) -> None: ...
    def phase_started(self, phase: str, total: int) -> None: ...
    def task_done(self, phase: str, record: TaskRecord, seconds: dict[str, float], *, resumed: bool) -> None: ...
    def trouble(self, phase: str, label: str, message: str) -> None: ...
    def phase_finished(self, phase: str) -> None: ...


def make_corpus(folder: Path, tokens: int, length: int, seed: int) -> Path:
    """The folder of the corpus of that size: ``text``, ``tokens`` and one folder per export."""
    place = folder / f"{tokens}-{length}-{seed}"
    if not (place / "done.json").exists():
        for number, (name, share) in enumerate(WEIGHTS.items()):
            write_text(place / "text", name, int(tokens * share / TOKENS_PER_WORD), [seed, number])
        train_bpe(sample(place / "text"), VOCAB).save(place / "tokenizer")
        tokenize(manifest(place, length), Silent())
        corpus = open_tokens(str(place / "tokens"))
        written = {name: export(corpus, place / name).tokens for name, export in EXPORTERS.items()}
        (place / "done.json").write_text(json.dumps(written))
    return place


def manifest(place: Path, length: int) -> TokenizeManifest:
    """Everything in one split, by processes of this machine."""
    domains = {name: DomainSource(paths=(str(place / "text" / f"{name}-*.parquet"),)) for name in WEIGHTS}
    source = TokenizerSource(path=place / "tokenizer")
    config = TokenizeConfig(domains=domains, sequence_length=length, tokenizer=source, held_out=0)
    output = OutputConfig(path=str(place / "tokens"))
    return TokenizeManifest(name="loaders", tokenize=config, output=output, executor=ExecutorConfig(kind="local"))


def sample(folder: Path) -> list[str]:
    """The first row group of every domain."""
    files = sorted(folder.glob("*-0.parquet"))
    return [text for file in files for text in pq.ParquetFile(file).read_row_group(0).column("text").to_pylist()]


def write_text(folder: Path, name: str, words: int, seed: list[int]) -> None:
    """Files of one domain with about ``words`` words together."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    lexicon = make_lexicon(draw)
    chances = (1 / np.arange(1, LEXICON + 1)).cumsum()
    for number in range(FILES):
        path = folder / f"{name}-{number}.parquet"
        with ShardWriter(path, SCHEMA, row_group_rows=GROUP) as writer:
            left = words // FILES
            while left > 0:
                lengths = np.minimum(draw.lognormal(np.log(WORDS), 1.0, GROUP).astype(int) + 1, 20_000)
                drawn = np.searchsorted(chances, draw.random(int(lengths.sum())) * chances[-1])
                parts = np.split(lexicon[drawn], lengths.cumsum()[:-1])
                texts = [" ".join(part) + "." for part in parts]
                writer.write(pa.table([[f"{name}{number}-{left}-{n}" for n in range(GROUP)], texts], schema=SCHEMA))
                left -= int(lengths.sum())


def make_lexicon(draw: np.random.Generator) -> np.ndarray:
    """Words of one to five syllables."""
    onsets, nuclei, codas = (
        ["b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "th", "st", "tr"],
        ["a", "e", "i", "o", "u", "ai", "ou"],
        ["", "n", "r", "s"],
    )
    syllables = [onset + nucleus + coda for onset in onsets for nucleus in nuclei for coda in codas]
    sizes = draw.integers(1, 6, LEXICON)
    return np.array(["".join(draw.choice(syllables, size)) for size in sizes], dtype=object)
