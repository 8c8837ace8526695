"""Text shards as a source of rows: tokenised and packed while training.

A block is a row group of a Parquet file, and row ``k`` of a block is a pure function of the block, the tokenizer and
the packing. Where each row lies follows from the numbers of tokens of the documents alone. These are counted once (all
cores, about a second per 0.7 M tokens and core) and kept in the user's cache folder, four bytes per document, under a
name made of everything they depend on; so any position is found at once, and a row costs no more than tokenising the
documents that it holds. A document is tokenised once while its block is in use.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.commit import canonical_json
from corpus.errors import StorageError
from corpus.storage import LocalStore, cache_folder
from training.data.files import OpenFiles, Tell, Verify, silent
from training.data.packing import PACKING_VERSION, Packing, fill, lay_out
from training.data.rows import Rows
from training.data.source import Block, Corpus, Domain, unreadable
from training.data.text import TextFiles, TextSource, find_text, read_documents
from training.data.tokenizer import Tokenizer


class Counts(NamedTuple):
    """Tokens of every document of a file, its row groups one after the other (mapped into memory)."""

    first: NDArray[np.int64]
    """[groups + 1]: documents before each row group"""
    rows: NDArray[np.int64]
    """[groups]: packed rows of each"""
    lengths: NDArray[np.int32]


class TextBlock:
    """The documents of a block, and the rows that can be made of them."""

    def __init__(self, texts: list[str], lengths: NDArray[np.int64], block: Block, reader: TextShards) -> None:
        self._texts, self._lengths, self._block, self._reader = texts, lengths, block, reader
        self._layout = lay_out(lengths, reader.row_length, reader.packing)
        self._tokens: dict[int, NDArray[np.generic]] = {}
        self._lock = threading.Lock()

    def select(self, rows: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        """These rows. Raises ``StorageError`` where the text is not the one that was counted."""
        layout = self._layout.of_rows(rows)
        needed, document = np.unique(layout.document, return_inverse=True)
        parts = self._encoded(needed.tolist())
        offsets = np.concatenate([np.zeros(1, np.int64), self._lengths[needed].cumsum()])
        flat = np.concatenate(parts) if parts else np.zeros(0, np.uint16)
        packed = fill(layout._replace(document=document), flat, offsets, self._reader.row_length, self._reader.end)
        return Rows(packed.tokens, packed.length, packed.offsets, packed.starts), np.arange(len(rows))

    def _encoded(self, needed: list[int]) -> list[NDArray[np.generic]]:
        with self._lock:
            missing = [number for number in needed if number not in self._tokens]
            tokens, offsets = self._reader.encode([self._texts[number] for number in missing])
            for number, start, end in zip(missing, offsets, offsets[1:], strict=False):
                if end - start != self._lengths[number]:
                    what = f"a document has {end - start} tokens instead of {self._lengths[number]}"
                    raise self._reader.unreadable(self._block, what)
                self._tokens[number] = tokens[start:end]
                self._texts[number] = ""  # it is not needed any more
            return [self._tokens[number] for number in needed]


class TextShards:
    """Opens blocks of text."""

    def __init__(
        self, files: TextFiles, tokenizer: Tokenizer, row_length: int, packing: Packing, counts: Sequence[Counts]
    ) -> None:
        self._files, self._counts = files, counts
        self._open = OpenFiles(files.store, files.entries)
        self.row_length, self.packing, self.end, self.encode = row_length, packing, tokenizer.end, tokenizer.encode

    def read(self, block: Block) -> TextBlock:
        """Open a block. Raises ``StorageError`` with shard and row group where it is not the counted one."""
        counts = self._counts[block.file]
        first, end = counts.first[block.group : block.group + 2]
        lengths = counts.lengths[first:end].astype(np.int64)
        try:
            reader = self._open.reader(block.file)
            texts = read_documents(reader, block.group, self._files, self._files.entries[block.file]).texts
        except (OSError, ValueError) as error:
            raise self.unreadable(block, error) from None
        if len(texts) != len(lengths):
            raise self.unreadable(block, f"{len(texts)} documents instead of {len(lengths)}")
        return TextBlock(texts, lengths, block, self)

    def unreadable(self, block: Block, error: object) -> StorageError:
        """The error for a block of these files."""
        return unreadable(self._open.name(block.file), block.group, error)


def open_text(
    domains: Mapping[str, TextSource],
    tokenizer: Tokenizer,
    *,
    sequence_length: int,
    packing: Packing = "concat",
    verify: Verify = "full",
    threads: int = 2,
    tell: Tell = silent,
) -> Corpus:
    """A corpus of text that is tokenised on the fly. Counts tokens first, where that has not been done yet."""
    opened: dict[str, Domain] = {}
    identities = []
    for name, source in domains.items():
        files = find_text(name, source, verify=verify, tell=tell)
        # documents only depend on what the files hold and which rows and column are taken
        taken = [files.identity(), tokenizer.digest, tokenizer.end, sequence_length, packing, PACKING_VERSION]
        identities.append([name, [entry.sha256 for entry in files.entries], *taken])
        length = sequence_length + 1
        counts = [
            _counted(files, number, tokenizer, length, packing, taken, threads, tell)
            for number in range(len(files.entries))
        ]
        shards = TextShards(files, tokenizer, length, packing, counts)
        blocks = [
            Block(number, group, int(rows))
            for number, found in enumerate(counts)
            for group, rows in enumerate(found.rows)
            if rows
        ]
        tokens = sum(int(found.lengths.sum(dtype=np.int64)) for found in counts)
        opened[name] = Domain(name, tuple(blocks), shards, tokens, lazy=True)
    return Corpus(
        digest=hashlib.sha256(canonical_json(identities)).hexdigest(),
        tokenizer_digest=tokenizer.digest,
        tokenizer=tokenizer.data,
        vocab=tokenizer.vocab,
        eos=tokenizer.end,
        sequence_length=sequence_length,
        packing=packing,
        domains=opened,
    )


def _counted(
    files: TextFiles,
    number: int,
    tokenizer: Tokenizer,
    row_length: int,
    packing: Packing,
    taken: Sequence[object],
    threads: int,
    tell: Tell,
) -> Counts:
    """Counts of one file, from the cache or by counting."""
    entry = files.entries[number]
    key = hashlib.sha256(canonical_json([entry.sha256, *taken])).hexdigest()
    path = cache_folder() / "counts" / f"{key}.npy"
    if not path.is_file():
        tell(f"counting the tokens of {files.name}: {Path(entry.name).name}, once")
        opened = OpenFiles(files.store, files.entries)
        with ThreadPoolExecutor(max(1, threads), "count") as pool:
            groups = list(
                pool.map(partial(_count, files, opened, number, tokenizer), range(opened.reader(number).groups))
            )
        rows = [lay_out(lengths, row_length, packing).rows for lengths in groups]
        numbers = np.concatenate([[len(groups)], [len(lengths) for lengths in groups], rows, *groups])
        data = io.BytesIO()
        np.save(data, numbers.astype(np.int32), allow_pickle=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        LocalStore(str(path.parent)).swap(path.name, data.getvalue())
    numbers = np.load(path, mmap_mode="r", allow_pickle=False)
    groups_end = 1 + int(numbers[0])
    rows_end = groups_end + int(numbers[0])
    sizes = numbers[1:groups_end].astype(np.int64)
    first = np.concatenate([np.zeros(1, np.int64), sizes.cumsum()])
    return Counts(first, numbers[groups_end:rows_end].astype(np.int64), numbers[rows_end:])


def _count(files: TextFiles, opened: OpenFiles, number: int, tokenizer: Tokenizer, group: int) -> NDArray[np.int64]:
    texts = read_documents(opened.reader(number), group, files, files.entries[number]).texts
    return np.diff(tokenizer.encode(texts)[1])
