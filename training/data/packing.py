"""Documents to rows of equal length.

Two ways. ``concat``: documents one after the other, cut every ``length`` tokens: no token is lost and only the last row
of a block has padding, but a row may start in the middle of a document. ``best_fit``: documents longer than a row are
cut into whole rows, and the rest is packed best-fit decreasing, so that a document that fits is never cut; rows are
filled up with padding (Ding et al. 2024, "Fewer Truncations Improve Language Modeling"). Both keep every token.

A row knows where documents start in it, so that attention can be kept within documents, and which documents these are.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Packing = Literal["concat", "best_fit"]
PACKING_VERSION = 1
"""Part of every state: rows of another version are other rows."""


class Packed(NamedTuple):
    """Rows of tokens. Row ``r`` holds ``tokens[r, :length[r]]``; the rest is padding (the end-of-document token)."""

    tokens: NDArray[np.generic]
    """[rows, row length]"""
    length: NDArray[np.int32]
    """[rows]"""
    offsets: NDArray[np.int64]
    """[rows + 1]: the pieces of row ``r`` are ``starts[offsets[r]:offsets[r + 1]]``"""
    starts: NDArray[np.int32]
    """Where in its row a piece of a document starts; the first of a row is 0."""
    documents: NDArray[np.int64]
    """Number of the document that each piece belongs to."""

    @property
    def padding(self) -> int:
        """Places that hold no token."""
        return int(self.tokens.size - self.length.sum(dtype=np.int64))


class Layout(NamedTuple):
    """Which piece of which document stands where; pieces in the order of rows. Follows from lengths alone."""

    document: NDArray[np.int64]
    start: NDArray[np.int64]
    """Where the piece starts in its document."""
    size: NDArray[np.int64]
    row: NDArray[np.int64]
    place: NDArray[np.int64]
    """Where the piece starts in its row."""
    rows: int

    def of_rows(self, rows: NDArray[np.int64]) -> Layout:
        """The layout of these rows only, in this order."""
        first = np.searchsorted(self.row, rows, side="left")
        count = np.searchsorted(self.row, rows, side="right") - first
        piece = np.repeat(first - (count.cumsum() - count), count) + np.arange(int(count.sum()))
        row = np.repeat(np.arange(len(rows)), count)
        return Layout(self.document[piece], self.start[piece], self.size[piece], row, self.place[piece], len(rows))


def lay_out(lengths: NDArray[np.int64], row_length: int, packing: Packing) -> Layout:
    """Where documents of these lengths go. Empty documents take no room."""
    return _concat(lengths, row_length) if packing == "concat" else _best_fit(lengths, row_length)


def fill(
    layout: Layout, tokens: NDArray[np.generic], offsets: NDArray[np.int64], row_length: int, padding: int
) -> Packed:
    """The rows of a layout; document ``i`` of it is ``tokens[offsets[i]:offsets[i + 1]]``."""
    rows, row = layout.rows, layout.row
    out = np.full((rows, row_length), padding, tokens.dtype)
    _copy(tokens, offsets[layout.document] + layout.start, layout.size, row, layout.place, out)
    filled = np.bincount(row, weights=layout.size, minlength=rows).astype(np.int32)
    per_row = np.concatenate([np.zeros(1, np.int64), np.bincount(row, minlength=rows).cumsum()])
    return Packed(out, filled, per_row, layout.place.astype(np.int32), layout.document)


def pack(
    tokens: NDArray[np.generic], offsets: NDArray[np.int64], row_length: int, packing: Packing, padding: int
) -> Packed:
    """Pack documents ``tokens[offsets[i]:offsets[i + 1]]`` into rows. Empty documents take no room."""
    return fill(lay_out(np.diff(offsets), row_length, packing), tokens, offsets, row_length, padding)


def _concat(lengths: NDArray[np.int64], row_length: int) -> Layout:
    ends = lengths.cumsum()
    total = int(ends[-1]) if ends.size else 0
    rows = -(-total // row_length)
    # a piece starts where a document or a row does
    cuts = np.unique(np.concatenate([ends - lengths, np.arange(0, total, row_length, dtype=np.int64)]))
    cuts = cuts[cuts < total]
    size = np.diff(np.append(cuts, total))
    document = np.searchsorted(ends, cuts, side="right")
    row = cuts // row_length
    return Layout(document, cuts - (ends - lengths)[document], size, row, cuts - row * row_length, rows)


def _best_fit(lengths: NDArray[np.int64], row_length: int) -> Layout:
    whole, rest = np.divmod(lengths, row_length)
    count = whole + (rest > 0)
    document = np.repeat(np.arange(len(lengths)), count)
    number = np.arange(len(document)) - np.repeat(count.cumsum() - count, count)
    start = number * row_length
    size = np.minimum(lengths[document] - start, row_length)
    order = np.argsort(-size, kind="stable")
    row = np.empty(len(size), np.int64)
    row[order], rows = _place(size[order], row_length)
    # rows in the order of their first document, documents in order within a row
    first = np.full(rows, len(size), np.int64)
    np.minimum.at(first, row, np.arange(len(size)))
    rank = np.empty(rows, np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(rows)
    row = rank[row]
    order = np.lexsort((np.arange(len(size)), row))
    document, start, size, row = document[order], start[order], size[order], row[order]
    before = size.cumsum() - size
    start_in_row = before - before[np.searchsorted(row, row, side="left")] if len(row) else before
    return Layout(document, start, size, row, start_in_row, rows)


@numba.njit(cache=True, nogil=True)
def _place(sizes, capacity):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Row of each piece, pieces from large to small: the fullest row that still has room, else a new one."""
    row = np.empty(sizes.size, np.int64)
    head = np.full(capacity + 1, -1, np.int64)  # head[room]: the row opened last among those with that room
    below = np.empty(sizes.size, np.int64)
    rows = 0
    for piece in range(sizes.size):
        room = sizes[piece]
        while room <= capacity and head[room] < 0:
            room += 1
        if room > capacity:
            found, room = rows, capacity
            rows += 1
        else:
            found = head[room]
            head[room] = below[found]
        row[piece] = found
        left = room - sizes[piece]
        below[found] = head[left]
        head[left] = found
    return row, rows


@numba.njit(cache=True, nogil=True)
def _copy(tokens, begin, size, row, start, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for piece in range(size.size):
        for at in range(size[piece]):
            out[row[piece], start[piece] + at] = tokens[begin[piece] + at]
