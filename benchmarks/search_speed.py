"""Search: how fast an index is built and asked, beside bm25s alone and exact search.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/search_speed.py --data DATA [--passages N] [--vectors FILE]

Lexical: the texts of DATA/text (seven domains) cut into passages by the product, indexed and searched by the product in
one shard and in eight with global statistics, and by bm25s as it comes (its tokenizer and Snowball stemmer). Queries
are MMLU questions. One core; building includes tokenising; searching includes it too.

Dense: embeddings of passages (MiniLM, int8) under each FAISS structure with the product's settings: build seconds,
queries/s, and recall of the ten nearest passages against exact search. Embedding takes half an hour per 100,000
passages on a core: --vectors names a .npy file that is read, or written when it is not there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from quality_models.examples.pieces import read_jsonl
from retrieval.dense import Dense, DenseFiles, DenseShard, build_index
from retrieval.embedder import open_embedder, pin_embedder
from retrieval.lexical import (
    Bm25,
    Lengths,
    LexicalShard,
    Postings,
    count_postings,
    merge_statistics,
    score_postings,
)
from retrieval.passages import Passages, cut_passages, passage_texts
from retrieval.terms import find_terms, query_terms

QUERIES, ROUNDS, DEPTH = 2_000, 3, 100
NEAREST = 10


def passages_of(data: Path, wanted: int) -> list[str]:
    """Passages of the domains' documents, in turn, as the product cuts them."""
    files = sorted((data / "text").glob("*.parquet"))
    texts = [text for file in files for text in pq.read_table(file, columns=["text"]).column("text").to_pylist()]
    order = np.random.default_rng(0).permutation(len(texts))
    found: list[str] = []
    for at in range(0, len(order), 512):
        column = pa.array([texts[number] for number in order[at : at + 512]], pa.large_string())
        terms = find_terms(column, "english")
        found += passage_texts(column, terms, cut_passages(terms, Passages())).to_pylist()
        if len(found) >= wanted:
            break
    return found[:wanted]


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it gives."""
    began = time.process_time()
    result = function()
    return time.process_time() - began, result


def build_ours(parts: Sequence[list[str]]) -> list[LexicalShard]:
    """Shards over parts of the passages, with the statistics of all."""
    config = Bm25()
    postings: list[Postings] = []
    for part in parts:
        column = pa.array(part, pa.large_string())
        terms = find_terms(column, config.stemming)
        postings.append(count_postings(terms, cut_passages(terms, Passages(words=100_000))))
    lengths = Lengths(sum(len(p.lengths) for p in postings), sum(int(p.lengths.sum()) for p in postings))
    corpus = merge_statistics([(p.terms, np.diff(p.indptr)) for p in postings], lengths)
    return [LexicalShard(p, score_postings(p, corpus, config), np.arange(len(p.lengths) + 1)) for p in postings]


def ask_ours(shards: Sequence[LexicalShard], queries: Sequence[str]) -> list[NDArray[np.float32]]:
    """The best scores of every query over all shards."""
    terms = query_terms(queries, "english")
    found = [shard.search(terms, DEPTH) for shard in shards]
    return [np.sort(np.concatenate([hits.scores for hits in each]))[::-1][:DEPTH] for each in zip(*found, strict=True)]


def lexical(passages: list[str], queries: list[str]) -> list[dict[str, Any]]:
    """One row per way to search."""
    import bm25s
    import Stemmer

    size = sum(len(text.encode()) for text in passages)
    rows = []
    for name, count in (("ours, one shard", 1), ("ours, eight shards", 8)):
        parts = [passages[number::count] for number in range(count)]
        build_ours([part[:100] for part in parts])  # kernels compiled
        took, shards = seconds(lambda parts=parts: build_ours(parts))
        ask_ours(shards, queries[:10])
        asked = [seconds(lambda shards=shards: ask_ours(shards, queries)) for _ in range(ROUNDS)]
        rows.append(_row(name, len(passages), size, took, len(queries), [each[0] for each in asked]))
        rows[-1]["scores"] = asked[0][1]
    stemmer = Stemmer.Stemmer("english")

    def tokens(texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    def build() -> Any:
        searcher = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend="numba")
        searcher.index(tokens(passages), show_progress=False)
        return searcher

    took, searcher = seconds(build)
    searcher.retrieve(tokens(queries[:10]), k=DEPTH, show_progress=False)
    asked = [seconds(lambda: searcher.retrieve(tokens(queries), k=DEPTH, show_progress=False)) for _ in range(ROUNDS)]
    rows.append(_row("bm25s alone", len(passages), size, took, len(queries), [each[0] for each in asked]))
    one, eight = (row.pop("scores") for row in rows[:2])
    worst = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(one, eight, strict=True))
    rows[1]["largest difference to one shard"] = worst
    return rows


def _row(name: str, passages: int, size: int, built: float, queries: int, asked: Sequence[float]) -> dict[str, Any]:
    return {
        "index": name,
        "passages_per_s": passages / built,
        "megabytes_per_s": size / 1e6 / built,
        "queries_per_s": queries / statistics.median(asked),
    }


def vectors_of(passages: list[str], path: Path | None) -> NDArray[np.float32]:
    """Embeddings of the passages, from the file where there is one."""
    if path is not None and path.exists():
        found: NDArray[np.float32] = np.load(path).astype(np.float32)
        return found
    config = Dense().embedder
    embedder = open_embedder(config, pin_embedder(config))
    rows = np.concatenate([embedder.passages(passages[at : at + 256]) for at in range(0, len(passages), 256)])
    if path is not None:
        np.save(path, rows.astype(np.float16))
    return rows


def dense(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> list[dict[str, Any]]:
    """One row per structure."""
    first = np.arange(len(vectors) + 1)
    exact: list[set[int]] = []
    rows = []
    for structure in ("flat", "hnsw", "ivfpq"):
        config = Dense(structure=structure)
        with tempfile.TemporaryDirectory() as folder:
            path, file = Path(folder) / "structure.faiss", Path(folder) / "vectors.npy"
            np.save(file, vectors.astype(np.float16))
            took, _ = seconds(lambda config=config, path=path: build_index(vectors, config, path))
            there = path.exists()
            shard = DenseShard(DenseFiles(file, path if there else None), config, first)
            found = [set(hits.documents.tolist()) for hits in shard.search(queries, NEAREST)]
            exact = exact or found
            asked = [seconds(lambda shard=shard: shard.search(queries, NEAREST))[0] for _ in range(ROUNDS)]
            size = path.stat().st_size if there else vectors.nbytes
        recall = float(np.mean([len(a & b) / NEAREST for a, b in zip(found, exact, strict=True)]))
        per_s = len(queries) / statistics.median(asked)
        rows.append(
            {"structure": structure, "build_s": took, "megabytes": size / 1e6, "queries_per_s": per_s, "recall": recall}
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--vectors", type=Path, help="file of embeddings to read, or to write")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    passages = passages_of(arguments.data, arguments.passages)
    records = read_jsonl(arguments.data / "exams" / "mmlu.jsonl.zst")
    queries = [record["question"] for _, record in zip(range(QUERIES * 7), records, strict=False)][::7]
    rows = lexical(passages, queries)
    print("| index | passages/s | MB/s | queries/s |\n|---|---|---|---|")
    for row in rows:
        built = f"{row['passages_per_s']:,.0f} | {row['megabytes_per_s']:.1f}"
        print(f"| {row['index']} | {built} | {row['queries_per_s']:,.0f} |")
    vectors = vectors_of(passages, arguments.vectors)
    config = Dense().embedder
    asked = open_embedder(config, pin_embedder(config)).queries(queries[:1000])
    structures = dense(vectors, asked)
    print(f"\n{len(vectors):,} passages of {vectors.shape[1]} dimensions:\n")
    print("| structure | build, s | MB | queries/s | recall@10 |\n|---|---|---|---|---|")
    for row in structures:
        print(
            f"| {row['structure']} | {row['build_s']:.1f} | {row['megabytes']:.0f} | {row['queries_per_s']:,.0f} "
            f"| {row['recall']:.3f} |"
        )
    if arguments.json:
        print(json.dumps({"lexical": rows, "dense": structures}))


if __name__ == "__main__":
    main()
