"""The tasks that build an index: passages and postings, statistics, scores, embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.shards import ShardReader, ShardWriter
from corpus.storage import FileEntry, fetch
from pipeline.harvest.index_card import read_array, read_statistics
from pipeline.task import Context, Result, Written
from retrieval.dense import Dense, build_index
from retrieval.embedder import open_embedder
from retrieval.lexical import (
    Bm25,
    Lengths,
    Postings,
    count_postings,
    merge_postings,
    merge_statistics,
    score_postings,
)
from retrieval.passages import Passages, cut_passages, passage_texts
from retrieval.terms import Stemming, find_terms
from stages.read import SourceConfig, Unit, read_unit

BATCH_ROWS = 512
EMBED_ROWS = 256
TEXTS = pa.schema([("text", pa.large_string())])
ARRAYS = ("terms", "indptr", "postings", "counts", "lengths", "first", "rows")
"""Arrays of a shard's postings task; ``first``: first passage of each document and the end; ``rows``: its row."""


@dataclass(frozen=True)
class PostingsPayload:
    source: SourceConfig
    unit: Unit
    passages: Passages
    stemming: Stemming


@dataclass(frozen=True)
class StatisticsPayload:
    shards: tuple[tuple[FileEntry, FileEntry], ...]  # terms and indptr
    lengths: tuple[int, int]  # passages and terms


@dataclass(frozen=True)
class LexicalPayload:
    settings: Bm25
    files: Mapping[str, FileEntry]
    statistics: Mapping[str, FileEntry]
    passages: int
    mean_length: float


@dataclass(frozen=True)
class DensePayload:
    settings: Dense
    pins: Mapping[str, str]
    texts: FileEntry


def index_unit(payload: PostingsPayload, context: Context) -> Result:
    """Task: passages and postings of the documents of one unit."""
    parts: list[Postings] = []
    rows: list[NDArray[np.int64]] = []
    sizes: list[NDArray[np.int64]] = []
    seen = 0
    with ShardWriter(context.staging / "texts.parquet", TEXTS) as texts:
        for batch in read_unit(payload.unit, payload.source, batch_rows=BATCH_ROWS):
            column = batch.column("content")
            terms = find_terms(column, payload.stemming)
            cut = cut_passages(terms, payload.passages)
            parts.append(count_postings(terms, cut))
            found, many = np.unique(cut.row, return_counts=True)
            rows.append(found + seen)
            sizes.append(many)
            texts.write(pa.table([passage_texts(column, terms, cut)], schema=TEXTS))
            seen += batch.num_rows
    whole = merge_postings(parts)
    first = np.concatenate([np.zeros(1, np.int64), *sizes]).cumsum()
    arrays = {**whole._asdict(), "first": first, "rows": np.concatenate([np.zeros(0, np.int64), *rows])}
    files = {name: _write_array(context.staging / f"{name}.npy", arrays[name]) for name in ARRAYS}
    files["texts"] = Written(context.staging / "texts.parquet", len(whole.lengths))
    facts = {
        "rows": seen,
        "documents": len(first) - 1,
        "passages": len(whole.lengths),
        "terms": int(whole.lengths.sum()),
    }
    return Result(files=files, facts=facts)


def count_corpus(payload: StatisticsPayload, context: Context) -> Result:
    """Task: the statistics of the whole corpus."""
    parts = (
        (read_array(context.store, terms), np.diff(read_array(context.store, indptr)))
        for terms, indptr in payload.shards
    )
    found = merge_statistics(parts, Lengths(*payload.lengths))
    files = {
        name: _write_array(context.staging / f"{name}.npy", getattr(found, name)) for name in ("terms", "frequencies")
    }
    return Result(files=files, facts={"passages": found.passages, "mean_length": round(found.mean_length, 6)})


def score_unit(payload: LexicalPayload, context: Context) -> Result:
    """Task: the BM25 score of every posting of one unit."""
    arrays = {name: read_array(context.store, payload.files[name]) for name in Postings._fields}
    statistics = read_statistics(context.store, payload.statistics, payload.passages, payload.mean_length)
    scores = score_postings(Postings(**arrays), statistics, payload.settings)
    return Result(files={"scores": _write_array(context.staging / "scores.npy", scores)})


def embed_unit(payload: DensePayload, context: Context) -> Result:
    """Task: embeddings of the passages of one unit, and the structure to search them."""
    embedder = open_embedder(payload.settings.embedder, payload.pins)
    with fetch(context.store, payload.texts) as file:
        texts = ShardReader(file).read().column("text").to_pylist()
    parts = [embedder.passages(texts[at : at + EMBED_ROWS]) for at in range(0, len(texts), EMBED_ROWS)]
    vectors = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    path = context.staging / "structure.faiss"
    structure = build_index(vectors, payload.settings, path)
    files = {"vectors": _write_array(context.staging / "vectors.npy", vectors.astype(np.float16))}
    if path.exists():
        files["structure"] = Written(path, len(vectors))
    return Result(files=files, facts={"structure": structure})


def _write_array(path: Path, array: NDArray[Any]) -> Written:
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)
    return Written(path, len(array))
