"""Writing token shards: the documents of a text file become packed rows; some of them are held out.

Held-out documents are chosen by a hash of their id, so that a document stays on its side whatever else the corpus
holds, or by the value of a column where the text brings a split of its own. Documents are counted in and out: one that
is in no row has an empty text, and is counted as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from corpus.ledger import Count, Ledger
from corpus.shards import ShardReader, ShardWriter
from training.data.files import OpenFiles
from training.data.packing import Packing, pack
from training.data.rows import rows_per_block, to_table, token_schema
from training.data.text import Documents, TextFiles, read_documents
from training.data.tokenizer import Tokenizer

TRAIN, HELD_OUT = "train", "held_out"
PACK_TOKENS = 1 << 22
"""About so many tokens are packed together: rows never hold documents of two such heaps."""
EMPTY = "tokenize/empty_text"


@dataclass(frozen=True)
class Split:
    """Which documents of a file to take: those on one side of a split."""

    name: str
    share: float = 0.0
    """Held-out share by hash of the id; 0 where a column splits."""

    def takes(self, document: str) -> bool:
        """Whether the document with this id is on this side."""
        held_out = xxhash.xxh3_64_intdigest(document.encode()) < self.share * (1 << 64)
        return held_out == (self.name == HELD_OUT) or self.share == 0


def split_files(
    files: TextFiles, share: float, held_out_where: Mapping[str, str | int | bool]
) -> list[tuple[Split, TextFiles]]:
    """The sides of a domain and how documents are taken for each of them."""
    if held_out_where:
        where = {**files.source.where, **held_out_where}
        held = replace(files, source=files.source.model_copy(update={"where": where}))
        return [(Split(TRAIN), replace(files, held_out=held_out_where)), (Split(HELD_OUT), held)]
    if share:
        return [(Split(TRAIN, share), files), (Split(HELD_OUT, share), files)]
    return [(Split(TRAIN), files)]


@dataclass(frozen=True)
class WrittenShard:
    """What became of the documents of one file. ``groups``: rows of each row group; none where no row came out."""

    path: Path
    groups: tuple[int, ...]
    tokens: int
    padding: int
    ledger: Ledger

    @property
    def rows(self) -> int:
        return sum(self.groups)


def write_shard(
    path: Path, files: TextFiles, number: int, split: Split, tokenizer: Tokenizer, row_length: int, packing: Packing
) -> WrittenShard:
    """Write the token shard of file ``number`` of a domain. Equal inputs give equal bytes."""
    schema = token_schema(tokenizer.vocab)
    ledger, tokens, padding = Ledger(), 0, 0
    writer = ShardWriter(path, schema, row_group_rows=rows_per_block(row_length, tokenizer.vocab), page_checksums=True)
    with writer:
        for heap in _heaps(files, number, split, tokenizer):
            packed = pack(heap.tokens, heap.offsets, row_length, packing, tokenizer.end)
            writer.write(to_table(packed, heap.ids, schema))
            ledger = ledger + heap.account(packed.documents)
            tokens += len(heap.tokens)
            padding += packed.padding
    with path.open("rb") as file:
        groups = ShardReader(file).group_rows
    return WrittenShard(path, groups, tokens, padding, ledger.close(where=f"tokenize: {files.entries[number].name}"))


@dataclass(frozen=True)
class _Heap:
    """Documents that are packed together."""

    ids: Sequence[str]
    bytes: NDArray[np.int64]
    tokens: NDArray[np.generic]
    offsets: NDArray[np.int64]

    def account(self, packed: NDArray[np.int64]) -> Ledger:
        """The ledger of the heap: documents that stand in ``packed`` rows, against all that were read."""
        kept = np.unique(packed)
        empty = np.flatnonzero(np.diff(self.offsets) == 0)
        rejected = {EMPTY: Count(len(empty), int(self.bytes[empty].sum()))} if len(empty) else {}
        read = Count(len(self.bytes), int(self.bytes.sum()))
        return Ledger(read=read, kept=Count(len(kept), int(self.bytes[kept].sum())), rejected=rejected)


def _heaps(files: TextFiles, number: int, split: Split, tokenizer: Tokenizer) -> Iterator[_Heap]:
    parts: list[_Heap] = []
    for documents in _documents(files, number, split):
        sizes = [len(text.encode("utf-8", "surrogatepass")) for text in documents.texts]
        parts.append(_Heap(documents.ids, np.array(sizes, np.int64), *tokenizer.encode(documents.texts)))
        if sum(len(part.tokens) for part in parts) >= PACK_TOKENS:
            yield _merge(parts)
            parts = []
    if parts:
        yield _merge(parts)


def _documents(files: TextFiles, number: int, split: Split) -> Iterator[Documents]:
    reader = OpenFiles(files.store, files.entries).reader(number)
    for group in range(reader.groups):
        found = read_documents(reader, group, files, files.entries[number])
        mine = [at for at, name in enumerate(found.ids) if split.takes(name)]
        if mine:
            yield Documents([found.ids[at] for at in mine], [found.texts[at] for at in mine])


def _merge(parts: Sequence[_Heap]) -> _Heap:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return _Heap(
        ids=[name for part in parts for name in part.ids],
        bytes=np.concatenate([part.bytes for part in parts]),
        tokens=np.concatenate([part.tokens for part in parts]),
        offsets=np.concatenate([np.zeros(1, np.int64), lengths.cumsum()]),
    )
