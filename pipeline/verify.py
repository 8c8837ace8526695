"""Checks a published corpus from the outside: every file, every hash, every count, and the conservation law."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from corpus.commit import CorpusManifest, current_manifest, stray_files
from corpus.errors import CorpusError, StorageError
from corpus.ledger import Count, Ledger, tally
from corpus.shards import ShardReader
from corpus.storage import FileEntry, Store, fetch
from training.data.source import TokenIndex

COUNTED = ("outcome", "reason", "source_bytes")
PLAIN = ("tokenizer", "index")
"""JSON files beside the shards of a token corpus."""


@dataclass
class Verification:
    """What was found. ``faults`` is empty when the corpus is sound."""

    digest: str
    files: int = 0
    rows: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


def verify_corpus(store: Store) -> Verification:
    """Read everything that is published and hold it against the manifest. Raises only if nothing is published."""
    manifest = current_manifest(store)
    if manifest is None:
        raise StorageError("no corpus has been published here", where=store.root, fix="finish the run first")
    found = Verification(manifest.digest)
    ledger = Ledger(read=manifest.ledger.read)
    for kind, entries in manifest.files.items():
        for entry in entries:
            ledger = ledger + _check_file(store, kind, entry, found)
    found.faults += [f"{name}: not part of this corpus" for name in stray_files(store, manifest)]
    if not found.faults and "tokens" in manifest.files:
        _check_tokens(store, manifest, found)
    elif not found.faults:
        _check_ledger(manifest, ledger, found)
    return found


def _check_file(store: Store, kind: str, entry: FileEntry, found: Verification) -> Ledger:
    try:
        with fetch(store, entry) as file:
            if kind in PLAIN:
                found.files, found.bytes = found.files + 1, found.bytes + entry.bytes
                return Ledger()
            shard = ShardReader(file)
            if shard.rows != entry.rows:
                raise StorageError(f"{entry.name} has {shard.rows} rows instead of {entry.rows}")
            table = shard.read([name for name in COUNTED if name in shard.schema.names])
    except (CorpusError, pa.ArrowException, OSError) as error:
        found.faults.append(str(error).splitlines()[0])
        return Ledger()
    found.files, found.rows, found.bytes = found.files + 1, found.rows + entry.rows, found.bytes + entry.bytes
    if kind not in ("documents", "rejected"):
        return Ledger()
    if kind == "documents":
        nothing = pa.nulls(table.num_rows, pa.string())
        table = table.append_column("outcome", nothing).append_column("reason", nothing)
    return tally(Count(), [table])


def _check_tokens(store: Store, manifest: CorpusManifest, found: Verification) -> None:
    """Hold the shards against the index that loaders follow. Documents of a token corpus are counted by its tasks."""
    index = TokenIndex.model_validate(json.loads(store.read(manifest.files["index"][0].name)))
    for split, domains in index.splits.items():
        for name, domain in domains.items():
            tokens = rows = 0
            for shard, groups in domain.shards:
                with store.open(shard) as file:
                    reader = ShardReader(file)
                    rows += reader.rows
                    tokens += pc.sum(reader.read(["length"])["length"]).as_py() or 0
                    if reader.group_rows != groups:
                        found.faults.append(f"{shard}: its row groups are not those of the index")
            if (tokens, rows * (index.sequence_length + 1) - tokens) != (domain.tokens, domain.padding):
                found.faults.append(f"{name}/{split}: the tokens in the files are not those of the index")
    try:
        manifest.ledger.close(where="published files")
    except CorpusError as error:
        found.faults.append(error.what)


def _check_ledger(manifest: CorpusManifest, counted: Ledger, found: Verification) -> None:
    if counted != manifest.ledger:
        found.faults.append("the rows in the files are not those of the ledger")
    try:
        counted.close(where="published files")
    except CorpusError as error:
        found.faults.append(error.what)
