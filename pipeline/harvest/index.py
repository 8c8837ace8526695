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
from pathlib import Path

from corpus.commit import TaskRecord, canonical_json
from corpus.errors import RunError
from corpus.storage import Store
from pipeline.dedup_phases import Runner
from pipeline.harvest.index_card import CARD, IndexCard, Shard, read_card
from pipeline.harvest.index_tasks import (
    DensePayload,
    LexicalPayload,
    PostingsPayload,
    StatisticsPayload,
    count_corpus,
    embed_unit,
    index_unit,
    score_unit,
)
from pipeline.task import Task, task_key
from retrieval.config import Index
from retrieval.dense import Dense
from retrieval.embedder import pin_embedder
from stages.read import SourceConfig, Unit


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
