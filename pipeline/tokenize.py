"""``pipeline run manifests/tokenize.yaml``: published text becomes token shards for trainers.

    tokenize.tokenizer   once: a byte-level BPE from a sample of the text (not where the manifest names a tokenizer)
    tokenize.rows        per file of text and side of the split: documents -> packed rows

Tasks, resume, ledger and commit are those of any run: equal bytes under any number of workers and any kill. What the
rows are is decided in ``training.data``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.commit import CorpusManifest, TaskRecord, canonical_json, publish_corpus
from corpus.errors import ManifestError
from corpus.storage import FileEntry, Store, fetch, publish_bytes
from pipeline.code import code_identity
from pipeline.executors import make_executor
from pipeline.faults import validated
from pipeline.manifest import apply_override
from pipeline.run import RunResult, only_driver, record_run
from pipeline.scheduler import Scheduler, Watcher, total_ledger
from pipeline.task import Place, Task, task_key
from pipeline.tokenize_config import TokenizeConfig, TokenizeManifest, TrainedTokenizer
from pipeline.tokenize_tasks import RowsPayload, SampledDomain, TokenizerPayload, train_tokenizer, write_rows
from pipeline.yaml_source import read_yaml
from training.data.files import OpenFiles
from training.data.packing import PACKING_VERSION
from training.data.source import DomainIndex, TokenIndex
from training.data.text import TextFiles, TextSource, check_values, find_text
from training.data.tokenizer import Tokenizer, open_tokenizer, read_tokenizer
from training.data.write import HELD_OUT, TRAIN, Split, split_files

LIBRARIES = ("pyarrow", "numpy", "tokenizers")
PLACES: Any = {"verify": True, "domains": {"__all__": {"paths"}}, "tokenizer": {"path"}}
"""Settings that say where things lie, not what comes out: they are no part of the corpus."""


@dataclass(frozen=True)
class _Side:
    """One side of a domain, with its files."""

    domain: str
    split: Split
    files: TextFiles


def load_tokenize(path: Path, overrides: Sequence[str]) -> TokenizeManifest | None:
    """The manifest at ``path``, None where it describes something else. Raises ``ManifestError`` with every fault."""
    document = read_yaml(path)
    if not isinstance(document.data, dict) or "tokenize" not in document.data:
        return None
    for override in overrides:
        apply_override(document.data, override)
    return validated(TokenizeManifest, document)


def planned_rows(manifest: TokenizeManifest) -> dict[str, object]:
    """Files and bytes of each side of each domain, checked. Raises ``CorpusError`` where an input is missing."""
    found: dict[str, object] = {"output": manifest.output.path}
    for side in _sides(manifest.tokenize):
        entries = side.files.entries
        size = sum(entry.bytes for entry in entries) / 1e6
        found[f"{side.domain}/{side.split.name}"] = f"{len(entries)} files, {size:.1f} MB"
    return found


def tokenize(manifest: TokenizeManifest, watcher: Watcher) -> RunResult:
    """Run to a published token corpus. Raises ``CorpusError`` before any work where an input is missing or altered."""
    began = time.perf_counter()
    config, place = manifest.tokenize, Place(manifest.output.path, manifest.output.storage_options)
    sides = list(_sides(config))
    code = code_identity(("corpus", "training/data"), LIBRARIES)
    tasks = sum(len(side.files.entries) for side in sides)
    identity = [[side.domain, side.split.name, [entry.sha256 for entry in side.files.entries]] for side in sides]
    run_id = f"{manifest.name}-{task_key(code, config.model_dump(mode='json'), identity)[:12]}"
    with only_driver(place), make_executor(manifest.executor) as executor:
        scheduler = Scheduler(executor, place, watcher, max_attempts=manifest.executor.max_attempts)
        watcher.run_started(run_id, tasks, executor.describe())
        tokenizer = _tokenizer(config, sides, code, scheduler)
        records = scheduler.run_phase("tokenize.rows", list(_row_tasks(config, sides, tokenizer, code)))
        corpus, links = _corpus(manifest, sides, records, tokenizer, code, place.open())
        store = place.open()
        digest = publish_corpus(store, corpus, links)
        return record_run(store, run_id, digest, began, corpus)


def _sides(config: TokenizeConfig) -> Iterator[_Side]:
    for name, domain in config.domains.items():
        source = TextSource(**domain.model_dump(exclude={"held_out_where"}))
        files = find_text(name, source, verify=config.verify)
        missing = [column for column in domain.held_out_where if column not in files.columns]
        if missing:
            raise ManifestError(
                f"domain {name!r} has no column {missing[0]!r} to hold documents out by",
                where=f"tokenize.domains.{name}.held_out_where",
                fix=f"it has: {', '.join(files.columns)}",
            )
        opened = OpenFiles(files.store, files.entries)
        check_values(name, domain.held_out_where, opened.reader(0).schema, opened.name(0))
        for split, side in split_files(files, config.held_out, domain.held_out_where):
            yield _Side(name, split, side)


def _tokenizer(config: TokenizeConfig, sides: Sequence[_Side], code: str, scheduler: Scheduler) -> Tokenizer:
    source = config.tokenizer
    if source.path is not None:
        return open_tokenizer(source.path, source.end)
    train = source.train or TrainedTokenizer()
    chosen = [side for side in sides if side.split.name == TRAIN]
    payload = TokenizerPayload(
        tuple(SampledDomain(side.files, side.split) for side in chosen), train.vocab, int(train.sample_bytes)
    )
    inputs = [[side.domain, _identity(side.files), side.split.share] for side in chosen]
    key = task_key(code, "tokenizer", inputs, train.vocab, int(train.sample_bytes))
    (record,) = scheduler.run_phase(
        "tokenize.tokenizer", [Task("tokenize.tokenizer", "all domains", key, train_tokenizer, payload)]
    )
    with fetch(scheduler.place.open(), record.file("tokenizer")) as file:
        data = file.read()
    return read_tokenizer(data, source.end, where="the tokenizer trained here")


def _identity(files: TextFiles, *numbers: int) -> list[object]:
    """Everything that decides which documents these are, and their ids: of all files, or of those named."""
    entries = [files.entries[number] for number in numbers] or files.entries
    named_by_file = files.source.id_field not in files.columns
    return [
        files.identity(),
        [entry.sha256 for entry in entries],
        [Path(entry.name).name for entry in entries if named_by_file],
    ]


def _row_tasks(config: TokenizeConfig, sides: Sequence[_Side], tokenizer: Tokenizer, code: str) -> Iterator[Task]:
    shared = [code, tokenizer.digest, tokenizer.end, config.sequence_length, config.packing, PACKING_VERSION]
    for side in sides:
        for number, entry in enumerate(side.files.entries):
            payload = RowsPayload(
                side.files,
                number,
                side.split,
                tokenizer.data,
                tokenizer.end,
                config.sequence_length + 1,
                config.packing,
            )
            taken = [side.domain, number, _identity(side.files, number), side.split.name, side.split.share]
            label = f"{side.domain}/{side.split.name}: {Path(entry.name).name}"
            yield Task("tokenize.rows", label, task_key(*shared, taken), write_rows, payload)


def _corpus(
    manifest: TokenizeManifest,
    sides: Sequence[_Side],
    records: Sequence[TaskRecord],
    tokenizer: Tokenizer,
    code: str,
    store: Store,
) -> tuple[CorpusManifest, dict[str, str]]:
    """The manifest of the token corpus, its ledger closed, and which work file each shard comes from."""
    shards: list[FileEntry] = []
    links: dict[str, str] = {}
    splits: dict[str, dict[str, DomainIndex]] = {TRAIN: {}, HELD_OUT: {}}
    waiting = iter(records)
    for side in sides:
        named: list[tuple[str, TaskRecord]] = []
        for record in (next(waiting) for _ in side.files.entries):
            entry = record.file("rows")
            name = f"tokens/part-{len(shards):05d}-{entry.sha256[:8]}.parquet"
            shards.append(entry.model_copy(update={"name": name}))
            links[name] = entry.name
            named.append((name, record))
        splits[side.split.name][side.domain] = _domain_index(named)
    config = manifest.tokenize
    index = TokenIndex(
        sequence_length=config.sequence_length,
        vocab=tokenizer.vocab,
        eos=tokenizer.end,
        packing=config.packing,
        splits={name: domains for name, domains in splits.items() if domains},
    )
    ledger = total_ledger(records)
    corpus = CorpusManifest(
        name=manifest.name,
        files={
            "tokens": tuple(shards),
            "tokenizer": (_publish_json(store, "tokenizer", tokenizer.data),),
            "index": (_publish_json(store, "index", canonical_json(index.model_dump(mode="json"))),),
        },
        ledger=ledger.close(where=f"run {manifest.name}: rows against documents"),
        stages=({"kind": "tokenize", **config.model_dump(mode="json", exclude=PLACES)},),
        code=code,
    )
    return corpus, links


def _publish_json(store: Store, kind: str, data: bytes) -> FileEntry:
    return publish_bytes(store, data, f"tokens/{kind}-{hashlib.sha256(data).hexdigest()[:8]}.json")


def _domain_index(named: Sequence[tuple[str, TaskRecord]]) -> DomainIndex:
    facts: list[Mapping[str, object]] = [record.facts for _, record in named]
    return DomainIndex(
        shards=tuple((name, tuple(record.facts["groups"])) for name, record in named),
        documents=sum(record.ledger.kept.documents for _, record in named),
        tokens=sum(int(str(fact["tokens"])) for fact in facts),
        padding=sum(int(str(fact["padding"])) for fact in facts),
    )
