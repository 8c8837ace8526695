"""Retrieval: nDCG@10, MAP and recall@100 of BM25, dense and fused rankings on Cranfield, CISI and MED.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/retrieval_quality.py --data DATA [--precision int8] [--json]

The product's own parts with their default settings: passages of 180 words, Snowball stems, k1 1.2 and b 0.75, MiniLM
(int8) in a flat FAISS index, reciprocal rank fusion with 60; beside them bm25s as it comes, on whole documents.
Judgements are taken as relevant or not. Queries without a judgement are left out (36 of CISI's). Interval: 95 %
bootstrap over queries.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from quality_models.examples.pieces import read_jsonl
from retrieval.dense import Dense, DenseFiles, DenseShard
from retrieval.embedder import EmbedderConfig, open_embedder, pin_embedder
from retrieval.fusion import HITS, Search, fuse, ranking
from retrieval.lexical import Bm25, Found, Lengths, LexicalShard, count_postings, merge_statistics, score_postings
from retrieval.passages import Cut, Passages, cut_passages, passage_texts
from retrieval.terms import Stemming, find_terms, query_terms

SETS = ("cranfield", "cisi", "med")
DEPTH, FIRST, CUT = 1000, 100, 10
Ranking = list[NDArray[np.int64]]


class Collection:
    """Documents, queries and judgements of one set."""

    def __init__(self, folder: Path) -> None:
        documents = list(read_jsonl(folder / "docs.jsonl.zst"))
        judged: dict[str, set[str]] = defaultdict(set)
        for row in read_jsonl(folder / "qrels.jsonl.zst"):
            judged[row["qid"]].add(row["docid"])
        queries = [query for query in read_jsonl(folder / "queries.jsonl.zst") if query["id"] in judged]
        place = {document["id"]: number for number, document in enumerate(documents)}
        texts = [f"{document.get('title') or ''}\n{document['text']}" for document in documents]
        self.texts = pa.array(texts, pa.large_string())
        self.queries = [query["text"] for query in queries]
        self.relevant = [{place[name] for name in judged[query["id"]] if name in place} for query in queries]


def ndcg(found: Sequence[int], relevant: set[int]) -> float:
    """nDCG@10 with relevance 0 or 1 (Jarvelin and Kekalainen, 2002)."""
    discount = 1 / np.log2(np.arange(2, CUT + 2))
    gains = np.array([document in relevant for document in found[:CUT]], np.float64)
    return float((gains * discount[: len(gains)]).sum() / discount[: min(len(relevant), CUT)].sum())


def recall(found: Sequence[int], relevant: set[int]) -> float:
    """Share of the relevant documents among the first hundred."""
    return len(set(found[:FIRST]) & relevant) / len(relevant)


def average_precision(found: Sequence[int], relevant: set[int]) -> float:
    """Mean over the relevant documents of the precision at their ranks, 0 for those not among the first thousand."""
    hits = np.array([document in relevant for document in found[:DEPTH]], np.float64)
    return float((hits * hits.cumsum() / np.arange(1, len(hits) + 1)).sum() / len(relevant))


def lexical(collection: Collection, stemming: Stemming) -> tuple[list[Found], Cut]:
    """What BM25 finds, with document numbers of the collection."""
    config = Bm25(stemming=stemming)
    terms = find_terms(collection.texts, stemming)
    cut = cut_passages(terms, Passages())
    postings = count_postings(terms, cut)
    lengths = Lengths(len(postings.lengths), int(postings.lengths.sum()))
    corpus = merge_statistics([(postings.terms, np.diff(postings.indptr))], lengths)
    rows, first = first_passages(cut)
    shard = LexicalShard(postings, score_postings(postings, corpus, config), first)
    found = shard.search(query_terms(collection.queries, stemming), DEPTH)
    return [hits._replace(documents=rows[hits.documents]) for hits in found], cut


def first_passages(cut: Cut) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Documents that have passages, and where those of each begin."""
    rows, sizes = np.unique(cut.row, return_counts=True)
    return rows, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def dense(collection: Collection, cut: Cut, precision: str) -> list[Found]:
    """What embeddings find."""
    embedding = EmbedderConfig(precision=precision)
    embedder = open_embedder(embedding, pin_embedder(embedding))
    texts = passage_texts(collection.texts, find_terms(collection.texts, "english"), cut).to_pylist()
    rows, first = first_passages(cut)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, embedder.passages(texts).astype(np.float16))
        shard = DenseShard(DenseFiles(path, None), Dense(structure="flat"), first)
        found = shard.search(embedder.queries(collection.queries), DEPTH)
    return [hits._replace(documents=rows[hits.documents]) for hits in found]


def fused(one: Sequence[Found], other: Sequence[Found]) -> Ranking:
    """Both rankings in one."""
    tables = [ranking(_hits(found), DEPTH) for found in (one, other)]
    table = fuse(*tables, np.ones(len(one)), Search(depth=DEPTH, per_query=2 * DEPTH))
    query, document = table.column("query").to_numpy(), table.column("doc").to_numpy().astype(np.int64)
    return [document[query == number] for number in range(len(one))]


def _hits(found: Sequence[Found]) -> pa.Table:
    numbers = np.repeat(np.arange(len(found), dtype=np.int32), [len(hits.documents) for hits in found])
    documents, passages, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    return pa.table([numbers, documents.astype(np.uint64), passages, scores], schema=HITS)


def figures(found: Ranking, collection: Collection) -> dict[str, float]:
    """Means over queries, with the bootstrap interval of nDCG."""
    pairs = list(zip([ranked.tolist() for ranked in found], collection.relevant, strict=True))
    gains = np.array([ndcg(*pair) for pair in pairs])
    rng = np.random.default_rng(1)
    means = np.sort(rng.choice(gains, (2000, len(gains))).mean(axis=1))
    return {
        "ndcg10": float(gains.mean()),
        "low": float(means[50]),
        "high": float(means[1950]),
        "map": float(np.mean([average_precision(*pair) for pair in pairs])),
        "recall100": float(np.mean([recall(*pair) for pair in pairs])),
    }


def bm25s_alone(collection: Collection) -> Ranking:
    """The library as it comes: whole documents, its tokenizer and stop words, Snowball stems."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")

    def tokens(texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    searcher = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    searcher.index(tokens(collection.texts.to_pylist()), show_progress=False)
    best, _ = searcher.retrieve(tokens(collection.queries), k=min(DEPTH, len(collection.texts)), show_progress=False)
    return list(best)


def measure(collection: Collection, precision: str) -> dict[str, dict[str, float]]:
    """Figures by kind of search."""
    plain, _ = lexical(collection, "none")
    words, cut = lexical(collection, "english")
    near = dense(collection, cut, precision)
    return {
        "bm25s alone": figures(bm25s_alone(collection), collection),
        "BM25, no stems": figures([hits.documents for hits in plain], collection),
        "BM25": figures([hits.documents for hits in words], collection),
        "dense": figures([hits.documents for hits in near], collection),
        "fused": figures(fused(words, near), collection),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--precision", choices=["int8", "fp32", "bf16"], default="int8")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    print("| set | search | nDCG@10 | MAP | recall@100 |\n|---|---|---|---|---|")
    for name in SETS:
        result[name] = measure(Collection(arguments.data / "retrieval" / name), arguments.precision)
        for kind, row in result[name].items():
            interval = f"[{row['low']:.3f}, {row['high']:.3f}]"
            print(f"| {name} | {kind} | {row['ndcg10']:.3f} {interval} | {row['map']:.3f} | {row['recall100']:.3f} |")
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
