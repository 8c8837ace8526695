"""Building the search index of a corpus, as phases over its units. What is computed: ``retrieval``.

    index.postings    per unit: documents -> passages with their texts -> which passage holds which term
    index.statistics  once: in how many passages of the corpus each term stands
    index.lexical     per unit: BM25 scores of all postings
    index.dense       per unit: embeddings of passages, and the structure to search them

The index is a folder of its own, so that several harvests can share it: finished tasks are found there by their keys,
and ``card.json`` says which corpus it covers, how it was made, and which files belong to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from corpus.commit import TaskRecord, canonical_json
from corpus.errors import RunError
from corpus.shards import ShardReader, ShardWriter
from corpus.storage import FileEntry, Store, fetch
from pipeline.dedup_phases import Runner
from pipeline.task import Context, Result, Task, Written, task_key
from retrieval.config import Index
from retrieval.dense import Dense, build_index
from retrieval.embedder import open_embedder, pin_embedder
from retrieval.lexical import (
    Bm25,
    Lengths,
    Postings,
    Statistics,
    count_postings,
    merge_postings,
    merge_statistics,
    score_postings,
)
from retrieval.passages import Passages, cut_passages, passage_texts
from retrieval.terms import Stemming, find_terms
from stages.read import SourceConfig, Unit, read_unit

CARD = "card.json"
BATCH_ROWS = 512
EMBED_ROWS = 256
TEXTS = pa.schema([("text", pa.large_string())])
ARRAYS = ("terms", "indptr", "postings", "counts", "lengths", "first", "rows")
"""Arrays of a shard's postings task; ``first``: first passage of each document and the end; ``rows``: its row."""


class Shard(BaseModel):
    """The part of an index over one unit of the corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    documents: int
    passages: int
    structure: str | None
    files: dict[str, FileEntry]


class IndexCard(BaseModel):
    """What an index covers, how it was made, and its files, each with its sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    corpus: tuple[str, ...]
    """Identity of every unit of the corpus, in order."""
    settings: Index
    embedder_files: dict[str, str]
    code: str
    passages: int
    mean_length: float
    statistics: dict[str, FileEntry]
    shards: tuple[Shard, ...]

    @property
    def documents(self) -> int:
        """Documents that can be found."""
        return sum(shard.documents for shard in self.shards)


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


def unit_identity(unit: Unit) -> str:
    """What a unit is, wherever it stands in the plan and wherever its file lies."""
    return task_key(Path(unit.path).name, unit.start, unit.end, unit.fingerprint)


def build(
    config: Index, source: SourceConfig, units: Sequence[Unit], code: str, store: Store, runner: Runner, *, gpus: float
) -> IndexCard:
    """Build what is not there yet, and write the card. Raises ``RunError`` where the folder holds another corpus.

    ``gpus``: for each task that embeds.
    """
    corpus = tuple(unit_identity(unit) for unit in units)
    if config.path is not None:
        _refuse_other_corpus(store, corpus)
    pins = pin_embedder(config.dense.embedder) if config.dense else {}
    postings = runner.run_phase("index.postings", [_postings_task(config, source, unit, code) for unit in units])
    statistics = runner.run_phase("index.statistics", [_statistics_task(postings, code)])[0]
    lexical = runner.run_phase("index.lexical", [_lexical_task(config, p, statistics, code) for p in postings])
    dense: list[TaskRecord | None] = [None] * len(postings)
    if config.dense is not None:
        tasks = [_dense_task(config.dense, pins, record, code, gpus) for record in postings]
        dense = list(runner.run_phase("index.dense", tasks))
    card = IndexCard(
        corpus=corpus,
        settings=config.model_copy(update={"path": None}),
        embedder_files=pins,
        code=code,
        passages=statistics.facts["passages"],
        mean_length=statistics.facts["mean_length"],
        statistics=dict(statistics.files),
        shards=tuple(_shard(*records) for records in zip(postings, lexical, dense, strict=True)),
    )
    store.swap(CARD, canonical_json(card.model_dump(mode="json")))
    return card


def read_card(store: Store) -> IndexCard | None:
    """The card of the index in a folder; None where there is none. Raises ``RunError`` for a damaged one."""
    if not store.exists(CARD):
        return None
    try:
        return IndexCard.model_validate_json(store.read(CARD))
    except ValidationError as error:
        fault = error.errors()[0]
        raise RunError(
            f"the card of the index cannot be read: {fault['msg']} at {fault['loc']}",
            where=f"{store.root}/{CARD}",
            fix="delete card.json and run the manifest again: what is built already is found",
        ) from None


def _refuse_other_corpus(store: Store, corpus: tuple[str, ...]) -> None:
    card = read_card(store)
    if card is not None and card.corpus != corpus:
        raise RunError(
            f"the index covers another corpus: {len(card.corpus)} units, of which "
            f"{len(set(card.corpus) & set(corpus))} are among the {len(corpus)} of this one",
            where=store.root,
            fix="name another folder as harvest.index.path, or delete this one to build it again",
        )


def _shard(postings: TaskRecord, lexical: TaskRecord, dense: TaskRecord | None) -> Shard:
    return Shard(
        label=postings.label,
        documents=postings.facts["documents"],
        passages=postings.facts["passages"],
        structure=dense.facts["structure"] if dense else None,
        files={**postings.files, **lexical.files, **(dense.files if dense else {})},
    )


def _postings_task(config: Index, source: SourceConfig, unit: Unit, code: str) -> Task:
    reading = source.model_dump(mode="json", include={"text_field", "max_payload", "format"})
    cutting = [config.passages.model_dump(), config.lexical.stemming]
    key = task_key(code, "postings", unit_identity(unit), reading, cutting)
    payload = PostingsPayload(source, unit, config.passages, config.lexical.stemming)
    return Task("index.postings", f"{Path(unit.path).name}[{unit.start}:{unit.end}]", key, index_unit, payload)


def _statistics_task(postings: Sequence[TaskRecord], code: str) -> Task:
    shards = tuple((record.file("terms"), record.file("indptr")) for record in postings)
    lengths = tuple(sum(record.facts[name] for record in postings) for name in ("passages", "terms"))
    key = task_key(code, "statistics", [entry.sha256 for pair in shards for entry in pair], list(lengths))
    payload = StatisticsPayload(shards, (lengths[0], lengths[1]))
    return Task("index.statistics", "all passages", key, count_corpus, payload)


def _lexical_task(config: Index, postings: TaskRecord, statistics: TaskRecord, code: str) -> Task:
    files, corpus = postings.files, statistics.files
    key = task_key(
        *(code, "lexical", config.lexical.model_dump()),
        *[entry.sha256 for _, entry in sorted(files.items())],
        *[entry.sha256 for _, entry in sorted(corpus.items())],
        *(statistics.facts["passages"], statistics.facts["mean_length"]),
    )
    payload = LexicalPayload(
        config.lexical, files, corpus, statistics.facts["passages"], statistics.facts["mean_length"]
    )
    return Task("index.lexical", postings.label, key, score_unit, payload)


def _dense_task(config: Dense, pins: Mapping[str, str], postings: TaskRecord, code: str, gpus: float) -> Task:
    texts = postings.file("texts")
    settings = config.model_dump(mode="json", exclude={"hnsw_search", "ivf_probes"})
    settings["embedder"].pop("model")  # its files say which it is, wherever they lie
    key = task_key(code, "dense", settings, dict(pins), texts.sha256)
    payload = DensePayload(config, pins, texts)
    return Task("index.dense", postings.label, key, embed_unit, payload, gpus=gpus)


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
    parts = []
    for terms, indptr in payload.shards:
        parts.append((_read_array(context.store, terms), np.diff(_read_array(context.store, indptr))))
    found = merge_statistics(parts, Lengths(*payload.lengths))
    files = {
        name: _write_array(context.staging / f"{name}.npy", getattr(found, name)) for name in ("terms", "frequencies")
    }
    return Result(files=files, facts={"passages": found.passages, "mean_length": round(found.mean_length, 6)})


def score_unit(payload: LexicalPayload, context: Context) -> Result:
    """Task: the BM25 score of every posting of one unit."""
    arrays = {name: _read_array(context.store, payload.files[name]) for name in Postings._fields}
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


def read_statistics(store: Store, files: Mapping[str, FileEntry], passages: int, mean_length: float) -> Statistics:
    """The corpus statistics of an index."""
    return Statistics(
        passages, mean_length, _read_array(store, files["terms"]), _read_array(store, files["frequencies"])
    )


def _write_array(path: Path, array: NDArray[Any]) -> Written:
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)
    return Written(path, len(array))


def _read_array(store: Store, entry: FileEntry) -> NDArray[Any]:
    with fetch(store, entry) as file:
        found: NDArray[Any] = np.load(file, allow_pickle=False)
    return found
