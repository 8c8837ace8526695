"""The stage ``decontaminate``: reject documents that contain the questions of a benchmark.

GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C) compares 13-grams of words, uses fewer words for shorter
examples but never fewer than 8, and ignores n-grams that occur in too many places. Here likewise: an item is the set
of its ``ngram``-word runs; an item with fewer words counts as one run of all its words, if it has ``min_words`` of
them; runs shared by more than ``max_items`` items are phrases of the exam, not questions, and are ignored.

A document is rejected when it holds, of one and the same item, at least ``min_overlap`` different runs, or at least the
share ``min_share`` of its runs. So a chance quotation of 13 words from a long passage passes, a short question that
stands there whole does not. Where GPT-3 cuts 200 characters out and keeps the rest, the whole document goes here, with
its reason: half a page is no good text, and removal can be shown and undone.

``open`` plants an item of every benchmark in a text and must find it again: zero matches would else look like success.
Cost: about 100 microseconds per web document (4 kB), hardly more with more benchmarks; 39,000 questions open in
1.6 s and take about 60 MB.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from corpus.errors import StageError
from corpus.schema import add_signals, give_verdict
from stages.stage import BatchFunction, Resources, Stage
from stages.text_buffers import text_buffers

_log = logging.getLogger(__name__)


class Decontaminate(Stage):
    """Reject documents that contain benchmark items, with the reason ``decontaminate/<benchmark>@1``.

    Signal ``contamination_hits``: different benchmark runs in the document, over all items. The detail of a rejected
    document names the item and how much of it was found.
    """

    kind: Literal["decontaminate"] = "decontaminate"

    benchmarks: tuple[str, ...] = Field(min_length=1)
    """Benchmark files: .jsonl, .parquet or .txt (one item a line), plain, .gz or .zst. Their names name the reasons."""

    fields: tuple[str, ...] = Field(default=("question",), min_length=1)
    """Fields of a record that are compared, each on its own. Answers alone are too common to be compared."""

    id_field: str = "id"
    """Field that holds an item's id; the record's number stands in where there is none."""

    ngram: int = Field(default=13, ge=8, le=64)
    """Words in a run; GPT-3 used 13."""

    min_words: int = Field(default=8, ge=1, le=64)
    """Items with fewer words than this are not looked for: they occur by chance. GPT-3 used 8."""

    min_overlap: int = Field(default=5, ge=1)
    """Different runs of one item that reject a document, however long the item: 5 runs of 13 are 17 words in a row."""

    min_share: float = Field(default=0.5, gt=0, le=1)
    """Share of an item's runs that rejects a document."""

    max_items: int = Field(default=10, ge=1)
    """Runs that occur in more items than this are ignored."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        doubled = [name for name, n in Counter(map(benchmark_name, self.benchmarks)).items() if n > 1]
        if doubled:
            raise ValueError(f"two benchmark files are called {doubled[0]!r}: their reasons could not be told apart")
        if self.min_words > self.ngram:
            raise ValueError("min_words cannot be larger than ngram")
        return self

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"signals.contamination_hits": pa.int32()}

    def files(self) -> tuple[str, ...]:
        return self.benchmarks

    def open(self, resources: Resources) -> BatchFunction:
        builder = _Builder(ngram=self.ngram, min_words=self.min_words)
        for location in self.benchmarks:
            builder.read(resources.local_path(location), benchmark_name(location), self.fields, self.id_field)
        index = builder.build(self.max_items)
        bounds = _Bounds(min_overlap=self.min_overlap, min_share=self.min_share)
        _check(index, bounds)
        return lambda batch: _apply(batch, index, bounds)


def benchmark_name(location: str) -> str:
    """The name of a benchmark: its file name without endings, in small letters, digits and underscores."""
    stem = re.split(r"[\\/]", location)[-1].split(".")[0]
    return re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_") or "benchmark"


@dataclass(frozen=True, kw_only=True)
class _Bounds:
    min_overlap: int
    min_share: float


@dataclass(kw_only=True)
class _Builder:
    """Collects the runs of all items, then drops the common ones."""

    ngram: int
    min_words: int
    items: list[tuple[str, str]] = field(default_factory=list)  # (benchmark, item id)
    runs: list[NDArray[np.uint64]] = field(default_factory=list)  # of each item, without repeats
    tails: list[NDArray[np.uint64]] = field(default_factory=list)
    lengths: set[int] = field(default_factory=set)
    plants: dict[str, list[tuple[int, tuple[str, ...]]]] = field(default_factory=lambda: defaultdict(list))

    def read(self, path: Path, benchmark: str, fields: Sequence[str], id_field: str) -> None:
        from stages.benchmark_items import read_items

        total = kept = 0
        for item in read_items(path, fields=fields, id_field=id_field):
            total += 1
            found = [self._runs(text) for text in item.texts]
            runs = np.unique(np.concatenate([np.zeros(0, np.uint64), *found]))
            if len(runs):
                kept += 1
                if len(self.plants[benchmark]) < 100:
                    self.plants[benchmark].append((len(self.items), item.texts))
                self.items.append((benchmark, item.id))
                self.runs.append(runs)
        if not kept:
            fix = f"no item has {self.min_words} words; name more fields:, or lower min_words:"
            raise StageError(f"benchmark {benchmark} has nothing to look for", where=str(path), fix=fix)
        _log.info("benchmark %s: %d of %d items are looked for", benchmark, kept, total)

    def _runs(self, text: str) -> NDArray[np.uint64]:
        from stages.decontaminate_kernel import gram_hashes
        from stages.word_hash import hash_words

        words = hash_words(text)
        size = min(self.ngram, len(words))
        if size < self.min_words:
            return np.zeros(0, np.uint64)
        self.lengths.add(size)
        self.tails.append(gram_hashes(words[size - self.min_words :], self.min_words))
        runs: NDArray[np.uint64] = gram_hashes(words, size)
        return runs

    def build(self, max_items: int) -> _Index:
        from stages.decontaminate_kernel import set_bits
        from stages.word_hash import hash_table

        everything = np.concatenate(self.runs)
        owner = np.repeat(np.arange(len(self.runs)), [len(runs) for runs in self.runs])
        order = np.argsort(everything, kind="stable")
        runs, first, many = np.unique(everything[order], return_index=True, return_counts=True)
        rare = many <= max_items
        owner = owner[order]
        sizes = np.bincount(owner[np.repeat(rare, many)], minlength=len(self.items))
        table = hash_table(runs[rare])
        tails = np.zeros(1 << max(10, int(2 * len(everything)).bit_length()), np.uint8)
        for values in self.tails:
            set_bits(values, tails)
        plants = {name: next((texts for n, texts in some if sizes[n]), None) for name, some in self.plants.items()}
        return _Index(
            items=self.items,
            sizes=sizes,
            lengths=np.array(sorted(self.lengths | {self.min_words}), np.int64),
            table=table,
            tails=tails,
            owners=_Owners(runs=runs[rare], first=first[rare], many=many[rare], items=owner),
            plants=plants,
        )


@dataclass(frozen=True, kw_only=True)
class _Owners:
    """The items that hold each run: ``items[first[i] : first[i] + many[i]]`` for run ``runs[i]`` (sorted)."""

    runs: NDArray[np.uint64]
    first: NDArray[np.int64]
    many: NDArray[np.int64]
    items: NDArray[np.int64]

    def of(self, run: np.uint64) -> list[int]:
        at = int(np.searchsorted(self.runs, run))
        owners: list[int] = self.items[self.first[at] : self.first[at] + self.many[at]].tolist()
        return owners


@dataclass(frozen=True, kw_only=True)
class _Index:
    """What to look for: runs in an open-addressing table, a filter of their tails, and the items they belong to."""

    items: list[tuple[str, str]]
    sizes: NDArray[np.int64]
    lengths: NDArray[np.int64]
    table: NDArray[np.uint64]
    tails: NDArray[np.uint8]
    owners: _Owners
    plants: dict[str, tuple[str, ...] | None]

    def hits(self, column: pa.Array | pa.ChunkedArray) -> Mapping[int, list[int]]:
        """Row -> slots of the different runs found in it, for rows with any."""
        from stages.decontaminate_kernel import find_grams

        data, offsets = text_buffers(column)
        out = np.empty((1024, 2), np.int64)
        count = find_grams(data, offsets, self.lengths, self.table, self.tails, out)
        if count > len(out):
            out = np.empty((count, 2), np.int64)
            find_grams(data, offsets, self.lengths, self.table, self.tails, out)
        found: dict[int, list[int]] = defaultdict(list)
        for row, slot in out[:count].tolist():
            found[row].append(slot)
        return found

    def worst(self, slots: list[int], bounds: _Bounds) -> tuple[int, int] | None:
        """``(item, runs found)`` of the item that rejects a document with ``slots`` most clearly, or None."""
        overlap = Counter(item for slot in slots for item in self.owners.of(self.table[slot]))
        over = [
            (found / self.sizes[item], found, -item)
            for item, found in overlap.items()
            if found >= bounds.min_overlap or found >= bounds.min_share * self.sizes[item]
        ]
        return (-max(over)[2], max(over)[1]) if over else None


def _check(index: _Index, bounds: _Bounds) -> None:
    """Plant an item of every benchmark between other words; not finding it is an error of ours or of the settings."""
    for name, texts in index.plants.items():
        if texts is None:
            fix = "raise max_items:, or name more fields:"
            raise StageError(f"benchmark {name} holds only runs that many of its items share", fix=fix)
        planted = pa.array(["Before it stood this. " + " | ".join(texts) + " | And behind it this."], pa.large_string())
        if index.worst(index.hits(planted).get(0, []), bounds) is None:
            raise StageError(f"the self-check failed: a planted item of benchmark {name} was not found")


def _apply(batch: pa.Table, index: _Index, bounds: _Bounds) -> pa.Table:
    hits = np.zeros(batch.num_rows, np.int32)
    reason: list[str | None] = [None] * batch.num_rows
    detail: list[str | None] = [None] * batch.num_rows
    rejected = np.zeros(batch.num_rows, np.bool_)
    for row, slots in index.hits(batch.column("content")).items():
        hits[row] = len(slots)
        worst = index.worst(slots, bounds)
        if worst is not None:
            item, found = worst
            benchmark, item_id = index.items[item]
            reason[row] = f"decontaminate/{benchmark}@1"
            detail[row] = f"item {item_id}: {found} of {index.sizes[item]} runs"
            rejected[row] = True
    batch = add_signals(batch, {"contamination_hits": pa.array(hits)})
    return give_verdict(batch, rejected, reason, detail=detail)
