"""Packing: no token lost or made up, rows of one length, and best_fit cuts nothing that fits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.packing import pack

PAD = 7
LENGTHS = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 80)), max_size=40)
WAYS = pytest.mark.parametrize("way", ["concat", "best_fit"])


def packed(lengths, row_length, way, dtype=np.uint16):
    """Documents of distinct tokens, packed."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = (np.arange(offsets[-1]) + 100).astype(dtype)
    return tokens, offsets, pack(tokens, offsets, row_length, way, PAD)


def pieces(found):
    """(row, document, tokens of the piece) in the order of rows."""
    out = []
    for row in range(len(found.length)):
        mine = slice(found.offsets[row], found.offsets[row + 1])
        starts = [*found.starts[mine].tolist(), int(found.length[row])]
        for number, document in enumerate(found.documents[mine].tolist()):
            out.append((row, document, found.tokens[row, starts[number] : starts[number + 1]].tolist()))
    return out


@WAYS
@settings(max_examples=150)
@given(LENGTHS, st.integers(1, 33))
def test_every_token_is_in_exactly_one_row_in_the_document_it_came_from(way, lengths, row_length):
    tokens, offsets, found = packed(lengths, row_length, way)
    assert found.tokens.shape == (len(found.length), row_length)
    again = [[] for _ in lengths]
    # of a document that best_fit cuts, the rest may stand in an earlier row than its whole rows
    for _, document, piece in sorted(pieces(found), key=lambda found: found[2]):
        assert piece
        again[document] += piece
    assert again == [tokens[a:b].tolist() for a, b in pairwise(offsets)]
    assert found.padding == found.tokens.size - len(tokens) >= 0


@WAYS
@settings(max_examples=150)
@given(LENGTHS, st.integers(1, 33))
def test_rows_are_filled_from_the_left_and_the_rest_is_padding(way, lengths, row_length):
    _, _, found = packed(lengths, row_length, way)
    assert found.offsets[0] == 0
    assert len(found.starts) == len(found.documents) == found.offsets[-1]
    assert found.tokens.dtype == np.uint16
    for row, length in enumerate(found.length.tolist()):
        starts = found.starts[found.offsets[row] : found.offsets[row + 1]].tolist()
        assert starts[0] == 0
        assert starts == sorted(set(starts))
        assert starts[-1] < length <= row_length
        assert (found.tokens[row, length:] == PAD).all()
        assert (found.tokens[row, :length] != PAD).all()


@settings(max_examples=150)
@given(LENGTHS, st.integers(1, 33))
def test_concat_keeps_the_order_and_pads_only_the_last_row(lengths, row_length):
    tokens, _, found = packed(lengths, row_length, "concat")
    assert found.tokens.ravel()[: len(tokens)].tolist() == tokens.tolist()
    assert len(found.length) == -(-len(tokens) // row_length)
    assert found.padding < row_length
    assert (found.length[:-1] == row_length).all()


@settings(max_examples=200)
@given(LENGTHS, st.integers(1, 33))
def test_best_fit_never_cuts_a_document_that_fits_and_cuts_others_into_whole_rows(lengths, row_length):
    _, _, found = packed(lengths, row_length, "best_fit")
    by_document = {}
    for _, document, piece in pieces(found):
        by_document.setdefault(document, []).append(len(piece))
    for document, length in enumerate(lengths):
        whole, rest = divmod(length, row_length)
        assert sorted(by_document.get(document, []), reverse=True) == [row_length] * whole + [rest] * (rest > 0)


def first_fit_decreasing(sizes, capacity):
    rooms = []
    for size in sorted(sizes, reverse=True):
        fits = [number for number, room in enumerate(rooms) if room >= size]
        number = fits[0] if fits else len(rooms)
        if not fits:
            rooms.append(capacity)
        rooms[number] -= size
    return len(rooms)


def best_fit_decreasing(sizes, capacity):
    rooms = []
    for size in sorted(sizes, reverse=True):
        room, number = min(((room, n) for n, room in enumerate(rooms) if room >= size), default=(0, len(rooms)))
        if number == len(rooms):
            rooms.append(room := capacity)
        rooms[number] = room - size
    return len(rooms)


@settings(max_examples=150)
@given(LENGTHS, st.integers(1, 33))
def test_best_fit_needs_the_rows_of_a_plain_reference_and_no_two_of_them_would_fit_into_one(lengths, row_length):
    _, _, found = packed(lengths, row_length, "best_fit")
    rests = [
        size for length in lengths for size in [*[row_length] * (length // row_length), length % row_length] if size
    ]
    assert len(found.length) == best_fit_decreasing(rests, row_length)
    emptiest = sorted(found.length.tolist())[:2]
    assert len(emptiest) < 2 or sum(emptiest) > row_length


def test_best_fit_wastes_no_more_than_first_fit_and_little_on_text_like_lengths():
    rng = np.random.default_rng(5)
    lengths = np.maximum(1, rng.lognormal(5, 1, 2000)).astype(int).tolist()
    _, _, found = packed(lengths, 1025, "best_fit", np.uint32)
    rests = [size for length in lengths for size in [*[1025] * (length // 1025), length % 1025] if size]
    assert len(found.length) <= first_fit_decreasing(rests, 1025)
    assert found.padding / found.tokens.size < 0.005


@settings(max_examples=60)
@given(LENGTHS)
def test_best_fit_rows_come_in_the_order_of_their_first_documents(lengths):
    _, _, found = packed(lengths, 16, "best_fit")
    firsts = [found.documents[at] for at in found.offsets[:-1]]
    assert firsts == sorted(firsts)
    for row in range(len(found.length)):
        mine = found.documents[found.offsets[row] : found.offsets[row + 1]].tolist()
        assert mine == sorted(mine)


@WAYS
@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_no_tokens_give_no_rows(way, lengths):
    _, _, found = packed(lengths, 8, way)
    assert found.tokens.shape == (0, 8)
    assert found.padding == len(found.starts) == len(found.documents) == len(found.length) == 0
    assert found.offsets.tolist() == [0]


@WAYS
def test_rows_of_one_token(way):
    tokens, _, found = packed([0, 2, 0, 1], 1, way)
    assert found.tokens.ravel().tolist() == tokens.tolist()
    assert found.documents.tolist() == [1, 1, 3]
    assert found.starts.tolist() == [0, 0, 0]


def test_known_rows():
    _, _, found = packed([3, 0, 6, 2, 1], 4, "concat")
    assert found.tokens.tolist() == [[100, 101, 102, 103], [104, 105, 106, 107], [108, 109, 110, 111]]
    assert found.documents.tolist() == [0, 2, 2, 2, 3, 4]
    assert found.starts.tolist() == [0, 3, 0, 0, 1, 3]
    assert found.offsets.tolist() == [0, 2, 3, 6]
    _, _, found = packed([3, 0, 6, 2, 1], 4, "best_fit")
    assert found.tokens.tolist() == [[100, 101, 102, 111], [103, 104, 105, 106], [107, 108, 109, 110]]
    assert found.documents.tolist() == [0, 4, 2, 2, 3]
    assert found.length.tolist() == [4, 4, 4]
