"""The rank cut: order all documents by quality and keep the best part.

WanJuan-CC's high-quality half is a ranking of the safe documents that keeps about half of them (50.1 % are removed;
arXiv 2402.19282 and its retention figure), not a fixed threshold. How its two quality scores are joined is not
published; a weighted sum is this project's choice.

The cut needs to see all documents, so it is a corpus stage in three steps that the engine drives: ``rank_values`` for
each batch, ``cut_point`` once over all pairs of id and value, ``apply_cut`` for each batch. The order is total (value,
then a hash of the id), so exactly ``ceil(keep * n)`` documents stay, whatever the partitioning or order of batches.

Cost: ``cut_point`` reads the pairs a few times (3 for a million documents, 4 or 5 for billions) and holds at most
``CANDIDATES`` of them, 16 MB; hashing happens only among documents with exactly the value of the cut. It does not
look at texts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, field_validator

from corpus.errors import StageError
from corpus.schema import give_verdict
from stages.stage import Stage

CANDIDATES = 1 << 21
"""How many keys are collected in memory; above that, another pass narrows them down."""

_BINS = 1 << 16
Keys = NDArray[np.uint64]


class RankCut(Stage):
    """Keep the best ``keep`` of all documents by a weighted sum of score columns."""

    scope = "corpus"
    kind: Literal["rank_cut"] = "rank_cut"

    by: Mapping[str, float] = Field(default={"fluency_score": 0.5, "not_ad_score": 0.5}, min_length=1)
    """Score columns and their weights; a negative weight ranks small values first."""

    keep: float = Field(default=0.5, gt=0, le=1)
    """Fraction of the documents to keep; rounded up to whole documents."""

    @field_validator("by")
    @classmethod
    def _weights_are_numbers(cls, by: Mapping[str, float]) -> Mapping[str, float]:
        wrong = [name for name, weight in by.items() if not math.isfinite(weight) or weight == 0]
        if wrong:
            raise ValueError(f"weights must be finite and not 0: {', '.join(wrong)}")
        return by

    def needs(self) -> frozenset[str]:
        """The id and the score columns."""
        return frozenset({"id", *self.by})

    @property
    def reason(self) -> str:
        """Name of the verdict for documents behind the cut."""
        return f"rank_cut/{'+'.join(sorted(self.by))}@1"


class Cut(NamedTuple):
    """The last document that stays: those with a greater value stay too, and at the same value smaller hashes."""

    value: float
    id_hash: int
    kept: int
    total: int


def rank_values(table: pa.Table, config: RankCut) -> NDArray[np.float64]:
    """The value that each row is ranked by: sum of weight times column. A missing score ranks last (-inf)."""
    values = np.zeros(table.num_rows, np.float64)
    for name in sorted(config.by):
        column = pc.fill_null(pc.cast(table.column(name), pa.float64()), float("nan"))
        values = values + config.by[name] * column.to_numpy()
    return np.where(np.isnan(values), -np.inf, values) + 0.0  # + 0.0: there is one zero only


def cut_point(values_and_ids: Iterable[pa.Table], config: RankCut) -> Cut:
    """Find the last document to keep among tables with columns ``id`` and ``value``.

    ``values_and_ids`` must be iterable more than once (a list, a dataset, an object whose ``__iter__`` starts anew) and
    give the same rows each time, in any order and any division; a generator is an error. Of documents that share one
    id, which would be a fault upstream, all stay or all go.
    """
    if iter(values_and_ids) is values_and_ids:
        raise StageError(
            "the rank cut must read its values more than once",
            where="stage rank_cut",
            fix="pass a list or an object whose __iter__ starts anew, not a generator",
        )
    total = sum(table.num_rows for table in values_and_ids)
    if not total:
        return Cut(value=-math.inf, id_hash=0, kept=0, total=0)
    kept = keep_count(total, config.keep)
    key, greater, tied = _select(lambda: (~_ordered(_values(table)) for table in values_and_ids), kept, total)

    def hashes() -> Iterator[Keys]:
        for table in values_and_ids:
            same = ~_ordered(_values(table)) == key
            yield _id_hashes(table.column("id").filter(pa.array(same)))

    # Of the documents with exactly the value of the cut, this many stay.
    last = _select(hashes, kept - greater, tied)[0]
    return Cut(value=_value_of(~key), id_hash=int(last), kept=kept, total=total)


def apply_cut(batch: pa.Table, cut: Cut, config: RankCut) -> pa.Table:
    """Give a verdict to the rows behind the cut."""
    values = rank_values(batch, config)
    behind = values < cut.value
    tied = np.flatnonzero(values == cut.value)
    behind[tied] = _id_hashes(batch.column("id").take(pa.array(tied))) > np.uint64(cut.id_hash)
    details: list[str | None] = [
        f"rank value {value:.6g}, cut at {cut.value:.6g} (best {cut.kept} of {cut.total})" if out else None
        for value, out in zip(values, behind, strict=True)
    ]
    return give_verdict(batch, behind, config.reason, detail=details)


def keep_count(total: int, keep: float) -> int:
    """``ceil(keep * total)``, computed on the decimal number that was written (0.07 of 100 is 7, not 8)."""
    from fractions import Fraction

    return math.ceil(Fraction(repr(keep)) * total)


def _values(table: pa.Table) -> NDArray[np.float64]:
    return np.asarray(table.column("value").to_numpy(), np.float64) + 0.0


def _ordered(values: NDArray[np.float64]) -> Keys:
    """Unsigned integers in the order of the values: the usual mapping of IEEE 754 bits."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)


def _value_of(key: np.uint64) -> float:
    sign = np.uint64(1 << 63)
    bits = key & ~sign if key & sign else ~key
    return float(np.array([bits], np.uint64).view(np.float64)[0])


def _id_hashes(ids: pa.ChunkedArray) -> Keys:
    digests = b"".join(hashlib.blake2b(str(id_).encode(), digest_size=8).digest() for id_ in ids.to_pylist())
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def _select(keys: Callable[[], Iterable[Keys]], rank: int, inside: int) -> tuple[np.uint64, int, int]:
    """Return the ``rank``-th smallest of ``inside`` keys (from 1), how many are smaller, and how many are equal.

    While more than ``CANDIDATES`` keys lie in the range in question, a histogram of it finds the bin that holds the
    rank; then the keys of that bin are collected. Memory is bounded by both.
    """
    low, width, below = 0, 64, 0  # the range is [low, low + 2 ** width); that many keys lie under it
    while inside > CANDIDATES and width:
        counts, width = np.zeros(_BINS, np.int64), width - 16
        for block in keys():
            places = (_within(block, low, width + 16) - np.uint64(low)) >> np.uint64(width)
            counts += np.bincount(places.astype(np.intp), minlength=_BINS)
        at = int(np.searchsorted(np.cumsum(counts), rank - below))
        below, low, inside = below + int(counts[:at].sum()), low + (at << width), int(counts[at])
    if not width:
        return np.uint64(low), below, inside
    found = np.sort(np.concatenate([_within(block, low, width) for block in keys()]))
    key = found[rank - below - 1]
    first, last = np.searchsorted(found, key), np.searchsorted(found, key, side="right")
    return key, below + int(first), int(last - first)


def _within(block: Keys, low: int, width: int) -> Keys:
    return block[(block >= np.uint64(low)) & (block <= np.uint64(low + (1 << width) - 1))]
