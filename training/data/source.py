"""What a loader reads from: a corpus as domains, a domain as blocks, a block as rows of one length.

A block is a row group of a shard. Where its rows come from (token shards, or text that is tokenised and packed while
training) is the business of the domain's reader; everything above this module sees rows only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from corpus.commit import CorpusManifest, canonical_json, current_manifest
from corpus.errors import StorageError, TrainingError
from corpus.storage import FileEntry, Store, fetch, open_store
from training.data.files import OpenFiles, Tell, Verify, check_files, silent
from training.data.packing import PACKING_VERSION, Packing
from training.data.rows import Rows, from_table, token_dtype


class Block(NamedTuple):
    """A row group: number of the file in its domain, number of the group in the file, packed rows it holds."""

    file: int
    group: int
    rows: int


class Content(Protocol):
    """What is in a block."""

    def select(self, rows: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        """Some rows that hold ``rows`` of the block, and where these stand among them. From any thread."""
        ...


class BlockReader(Protocol):
    """Opens a block, from any thread. Its rows are a pure function of the block."""

    def read(self, block: Block) -> Content: ...


@dataclass(frozen=True)
class Domain:
    """One domain: its blocks in a fixed order, and who reads them."""

    name: str
    blocks: tuple[Block, ...]
    reader: BlockReader
    tokens: int
    """Real tokens in all rows."""
    lazy: bool = False
    """Whether rows are made when they are asked for, so that asking ahead saves time."""

    @property
    def rows(self) -> int:
        return sum(block.rows for block in self.blocks)

    def open(self, block: Block) -> Content:
        """One of ``blocks``, to take rows from."""
        return self.reader.read(block)

    def read(self, block: Block) -> Rows:
        """All rows of one of ``blocks``."""
        return self.open(block).select(np.arange(block.rows))[0]


@dataclass(frozen=True)
class Corpus:
    """Everything a loader needs to know. Rows have ``sequence_length`` + 1 tokens: inputs and, shifted, labels."""

    digest: str
    """Of the corpus: what is in its files, in which order, and how it was packed."""
    tokenizer_digest: str
    tokenizer: bytes
    """``tokenizer.json``."""
    vocab: int
    eos: int
    """Id of the end-of-document token, which also fills padding."""
    sequence_length: int
    packing: Packing
    domains: Mapping[str, Domain]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return token_dtype(self.vocab)

    def identity(self) -> dict[str, str | int]:
        """What a saved state must agree with."""
        return {
            "corpus": self.digest,
            "tokenizer": self.tokenizer_digest,
            "sequence_length": self.sequence_length,
            "packing": f"{self.packing}@{PACKING_VERSION}",
        }

    def proportions(self) -> dict[str, float]:
        """Share of each domain by tokens: the natural mixture."""
        total = sum(domain.tokens for domain in self.domains.values())
        if not total:
            raise TrainingError("this corpus has no rows", fix="open another split, or tokenize more text")
        return {name: domain.tokens / total for name, domain in self.domains.items()}


class DomainIndex(BaseModel):
    """A domain in the index of a token corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: tuple[tuple[str, tuple[int, ...]], ...]
    """Published name of each shard and the rows of its row groups."""
    documents: int
    tokens: int
    padding: int


class TokenIndex(BaseModel):
    """``index``: what a token corpus is made of. Published with the shards, and covered by the corpus's digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    sequence_length: int
    vocab: int
    eos: int
    packing: Packing
    packing_version: int = PACKING_VERSION
    splits: dict[str, dict[str, DomainIndex]]
    """``train`` and, where documents were held out, ``held_out``."""


class TokenShards:
    """Reads blocks of token shards."""

    def __init__(self, files: OpenFiles, row_length: int) -> None:
        self.files, self._row_length = files, row_length

    def read(self, block: Block) -> Rows:
        """The rows of a block. Raises ``StorageError`` with shard and row group where they cannot be read."""
        try:
            table = self.files.reader(block.file).group(block.group, ["tokens", "length", "starts"])
            rows = from_table(table, self._row_length)
        except (OSError, ValueError, IndexError) as error:
            raise unreadable(self.files.name(block.file), block.group, error) from None
        if len(rows.length) != block.rows:
            what = f"{len(rows.length)} rows instead of {block.rows}"
            raise unreadable(self.files.name(block.file), block.group, what)
        return rows


def unreadable(file: str, group: int, error: object) -> StorageError:
    """The error for a block that cannot be read."""
    return StorageError(
        f"a shard cannot be read: {error}",
        where=f"{file}, row group {group}",
        fix="run the manifest that made the corpus again (the shard is made anew), then resume from the last state",
    )


def open_tokens(path: str, split: str = "train", *, verify: Verify = "full", tell: Tell = silent) -> Corpus:
    """Open a token corpus (``pipeline run manifests/tokenize.yaml``). Raises at once where it is unsound."""
    store = open_store(path)
    manifest = current_manifest(store)
    if manifest is None or "tokens" not in manifest.files:
        what = "nothing has been published here" if manifest is None else "this corpus holds text, not tokens"
        fix = "run manifests/tokenize.yaml with this as output.path, or read the text on the fly (data.text)"
        raise TrainingError(what, where=path, fix=fix)
    index = read_index(store, manifest)
    if split not in index.splits:
        raise TrainingError(
            f"this corpus has no split {split!r}", where=path, fix=f"it has: {', '.join(sorted(index.splits))}"
        )
    check_files(store, manifest.files["tokens"], verify, tell)
    with fetch(store, manifest.files["tokenizer"][0]) as file:
        tokenizer = file.read()
    entries = {entry.name: entry for entry in manifest.files["tokens"]}
    length = index.sequence_length + 1
    domains = {name: _domain(name, found, store, entries, length) for name, found in index.splits[split].items()}
    return Corpus(
        digest=hashlib.sha256(canonical_json([manifest.digest, split])).hexdigest(),
        tokenizer_digest=manifest.files["tokenizer"][0].sha256,
        tokenizer=tokenizer,
        vocab=index.vocab,
        eos=index.eos,
        sequence_length=index.sequence_length,
        packing=index.packing,
        domains=domains,
    )


def read_index(store: Store, manifest: CorpusManifest) -> TokenIndex:
    """What a published token corpus is made of. Raises ``TrainingError`` where rows were packed by another version."""
    with fetch(store, manifest.files["index"][0]) as file:
        data: Any = json.load(file)
    try:
        index = TokenIndex.model_validate(data)
    except ValidationError as error:
        raise TrainingError(f"the index of this corpus cannot be read: {error}", where=store.root) from None
    if index.packing_version != PACKING_VERSION:
        raise TrainingError(
            f"rows were packed by version {index.packing_version}, this is version {PACKING_VERSION}",
            where=store.root,
            fix="run the tokenize manifest again",
        )
    return index


def _domain(name: str, index: DomainIndex, store: Store, entries: Mapping[str, FileEntry], row_length: int) -> Domain:
    blocks = [
        Block(file, group, rows)
        for file, (_, groups) in enumerate(index.shards)
        for group, rows in enumerate(groups)
        if rows
    ]
    files = OpenFiles(store, [entries[shard] for shard, _ in index.shards])
    return Domain(name, tuple(blocks), TokenShards(files, row_length), index.tokens)


def block_rows(blocks: Sequence[Block]) -> NDArray[np.int64]:
    """Rows of each block, as an array."""
    return np.array([block.rows for block in blocks], np.int64)
