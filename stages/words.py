"""The stage ``unsafe_words``: reject texts in which listed words take up too large a share.

WanJuan-CC's keyword list (36,289 unsafe words) is not public and its match rule is not published; its authors call it
deliberately conservative, because word lists over-remove: "one hit" turns down medicine, news and sex education. So the
rule here is ours, a ratio: rejected when listed words are more than ``max_ratio`` of all words *and* at least
``min_hits`` different entries occur. Default list: the 203 words and 134 phrases that the datatrove package blocks in
URLs (its soft words, such as "sex" or "breast", are left out: in prose they say little). It is English and mild; name
lists of your own for more. Cost: about 60 microseconds per web document (4 kB).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from corpus.errors import StageError
from corpus.schema import add_signals, give_verdict
from stages.stage import BatchFunction, Resources, Stage
from stages.text_buffers import text_buffers

UNSAFE_WORDS = "safety/unsafe_words@1"


class Words(Stage):
    """Reject documents by the share of listed words.

    Signals ``unsafe_word_ratio`` (words covered by entries / all words, 0 for an empty text) and ``unsafe_word_count``
    (hits, repeats included).
    """

    kind: Literal["unsafe_words"] = "unsafe_words"

    bundled: bool = True
    """Use the words and phrases that the datatrove package carries, besides ``lists``."""

    lists: tuple[str, ...] = ()
    """Word lists: paths or URLs of text files (plain, .gz, .zst), one word or phrase per line, # for comments."""

    max_ratio: float = Field(default=0.01, ge=0, le=1)
    """Largest share of listed words that is accepted. Our choice; see benchmarks/RESULTS.md for what it does."""

    min_hits: int = Field(default=3, ge=1)
    """Different entries that must occur before the ratio counts."""

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"signals.unsafe_word_ratio": pa.float32(), "signals.unsafe_word_count": pa.int32()}

    def files(self) -> tuple[str, ...]:
        return self.lists

    def open(self, resources: Resources) -> BatchFunction:
        from stages.hostlist import bundled_folder, read_entries

        bundle = (
            [bundled_folder() / name for name in ("banned_words.txt", "banned_subwords.txt")] if self.bundled else []
        )
        paths: list[Path] = bundle + [resources.local_path(name) for name in self.lists]
        entries = sorted(set().union(*(read_entries(path) for path in paths)))
        if not entries:
            fix = "name a list under lists:, or set bundled: true"
            raise StageError("the stage unsafe_words has no words to look for", fix=fix)
        index = WordIndex.build(entries)
        return lambda batch: _apply(batch, index, max_ratio=self.max_ratio, min_hits=self.min_hits)


@dataclass(frozen=True, kw_only=True)
class WordIndex:
    """A word list for the kernel: all beginnings of entries in ``table``, in ``numbers`` the entry that ends there."""

    entries: list[str]
    table: NDArray[np.uint64]
    numbers: NDArray[np.int64]

    @staticmethod
    def build(entries: list[str]) -> WordIndex:
        from stages.word_hash import ROLL, find_slot, hash_table, hash_words, mix

        beginnings: dict[int, int] = {}
        for number, entry in enumerate(entries):
            h = np.uint64(0)
            key = 0
            for word in hash_words(entry):
                with np.errstate(over="ignore"):
                    h = h * ROLL + word
                key = int(mix(h))
                beginnings.setdefault(key, -1)
            if key and beginnings[key] < 0:
                beginnings[key] = number
        table = hash_table(np.array(list(beginnings), np.uint64))
        numbers = np.full(len(table), -1, np.int64)
        for key, number in beginnings.items():
            numbers[find_slot(table, np.uint64(key))] = number
        return WordIndex(entries=entries, table=table, numbers=numbers)

    def count(self, column: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``(words, covered, hits, different)`` per text, shape (rows, 4), and the first entries found in each."""
        from stages.words_kernel import find_entries

        data, offsets = text_buffers(column)
        counts, shown = find_entries(data, offsets, self.table, self.numbers, len(self.entries))
        return counts, shown


def _apply(batch: pa.Table, index: WordIndex, *, max_ratio: float, min_hits: int) -> pa.Table:
    counts, shown = index.count(batch.column("content"))
    ratio = counts[:, 1] / np.maximum(counts[:, 0], 1)
    batch = add_signals(
        batch,
        {
            "unsafe_word_ratio": pa.array(ratio.astype(np.float32)),
            "unsafe_word_count": pa.array(counts[:, 2].astype(np.int32)),
        },
    )
    unsafe = (ratio > max_ratio) & (counts[:, 3] >= min_hits)
    detail: list[str | None] = [None] * batch.num_rows
    for row in np.flatnonzero(unsafe):
        words = ", ".join(index.entries[number] for number in shown[row] if number >= 0)
        detail[row] = f"{ratio[row]:.4f} of {counts[row, 0]} words: {words}"
    return give_verdict(batch, unsafe, UNSAFE_WORDS, detail=detail)
