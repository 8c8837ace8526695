"""Made-up text, runs that make tokens of it, and corpora whose rows tell where they come from."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.loader import Loader, LoaderConfig
from training.data.rows import Rows
from training.data.source import Block, Corpus, Domain

ROOT = Path(__file__).parents[3]
STREAM = ("step", "domain", "input_ids", "labels", "document_ids", "mix_version")
SYLLABLES = ("ba", "co", "di", "fen", "gor", "hul", "ja", "ker", "lim", "mo", "nup", "or", "pri", "qua", "ru", "st")


def texts(seed: int, count: int, words: int) -> list[str]:
    """``count`` documents of made-up words, log-normal in length, ``words`` in the middle; a few are empty."""
    rng = np.random.default_rng(seed)
    lexicon = ["".join(rng.choice(SYLLABLES, size)) for size in rng.integers(1, 4, 400)]
    sizes = np.maximum(1, rng.lognormal(np.log(words), 0.8, count)).astype(int)
    sizes[rng.random(count) < 0.03] = 0
    ranks = np.minimum(rng.zipf(1.3, int(sizes.sum())) - 1, len(lexicon) - 1)
    ends = sizes.cumsum()
    return [" ".join(lexicon[rank] for rank in ranks[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def write_text(path: Path, documents: Sequence[str | None], *, group: int = 64, **columns: Sequence[Any]) -> Path:
    """A Parquet file of documents whose ids are the file's name and a number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"{path.stem}-{number}" for number in range(len(documents))]
    table = pa.table({"id": ids, "content": pa.array(documents, pa.large_string()), **columns})
    pq.write_table(table, path, row_group_size=group)
    return path


def run_pipeline(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def write_manifest(path: Path, output: Path, tokenize: Mapping[str, Any], workers: int = 1) -> Path:
    """A manifest (JSON is YAML)."""
    executor = {"kind": "local", "workers": workers}
    whole = {"name": "made", "output": {"path": str(output)}, "executor": executor, "tokenize": tokenize}
    path.write_text(json.dumps(whole, indent=1))
    return path


class Numbered:
    """Reads rows whose first tokens are domain, block and row; row ``r`` has ``r % 3`` places of padding."""

    def __init__(self, domain: int, length: int) -> None:
        self.domain, self.length = domain, length

    def read(self, block: Block) -> Rows:
        tokens = np.zeros((block.rows, self.length), np.uint32)
        number = np.arange(block.rows)
        tokens[:, 0], tokens[:, 1], tokens[:, 2] = self.domain, block.file, number
        length = (self.length - number % 3).astype(np.int32)
        return Rows(tokens, length, np.arange(block.rows + 1), np.zeros(block.rows, np.int32))


def numbered(blocks: Mapping[str, Sequence[int]], length: int = 6, digest: str = "c") -> Corpus:
    """A corpus in memory: the rows of each block of each domain."""
    domains = {
        name: Domain(
            name,
            tuple(Block(file, 0, count) for file, count in enumerate(counts)),
            Numbered(number, length),
            sum(counts) * length,
        )
        for number, (name, counts) in enumerate(blocks.items())
    }
    return Corpus(digest, "t", b"{}", 1 << 20, 0, length - 1, "concat", domains)


def stream_hash(batches: Iterable[Mapping[str, Any]], keys: Sequence[str] = STREAM) -> str:
    """sha256 of everything a trainer sees."""
    found = hashlib.sha256()
    for batch in batches:
        for key in keys:
            found.update(batch[key].numpy().tobytes())
    return found.hexdigest()


def take(loader: Any, steps: int) -> list[dict[str, Any]]:
    """The first batches of a loader, closed afterwards."""
    batches = list(islice(iter(loader), steps))
    if isinstance(loader, Loader):
        loader.close()
    return batches


def rows_of(batches: Iterable[Mapping[str, Any]]) -> list[tuple[int, ...]]:
    """(domain, block, row) of every row of batches of a ``numbered`` corpus."""
    return [tuple(row) for batch in batches for row in batch["input_ids"][:, :3].tolist()]


def open_loader(corpus: Corpus, *, rank: int = 0, world: int = 1, **settings: Any) -> Loader:
    """A loader of eight rows a batch unless told otherwise."""
    return Loader(
        corpus, LoaderConfig(**{"global_batch": 8, "seed": 1, "window": 2, **settings}), rank=rank, world=world
    )


def easy_and_hard(folder: Path, length: int = 32) -> Path:
    """A token corpus of two domains with held-out rows and 300 token ids, by a real run; returns its folder."""
    write_text(folder / "easy.parquet", ["one two three four five six seven"] * 300)
    write_text(folder / "hard.parquet", texts(3, 400, 40))
    tokenize = {
        "sequence_length": length,
        "held_out": 0.1,
        "tokenizer": {"train": {"vocab": 300, "sample_bytes": "100KiB"}},
        "domains": {name: {"paths": [str(folder / f"{name}.parquet")]} for name in ("easy", "hard")},
    }
    done = run_pipeline("run", str(write_manifest(folder / "tokenize.yaml", folder / "out", tokenize)))
    assert done.returncode == 0, done.stderr
    return folder / "out"
