"""Signatures estimate the Jaccard similarity as well as theory allows; datasketch is the reference."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from stages.dedup import Dedup
from stages.dedup.datasketch_engine import shingles_of, words_of
from stages.dedup.signatures import (
    band_keys,
    content_hash,
    estimate,
    has_words,
    jaccard,
    permutations,
    shingle_hashes,
    signatures,
)

LEVELS = np.linspace(0.5, 1.0, 11)


def planted_pairs(copies: int, words: int = 400) -> list[tuple[str, str]]:
    """Pairs of texts whose shingle sets overlap to the degrees of LEVELS: a shared start, then different ends."""
    rng = np.random.default_rng(11)
    pairs = []
    for level in np.repeat(LEVELS, copies):
        shared = round(2 * level / (1 + level) * words)
        tokens = [f"{number:x}" for number in rng.integers(0, 1 << 40, 2 * words - shared)]
        pairs.append((" ".join(tokens[:words]), " ".join(tokens[:shared] + tokens[words:])))
    return pairs


PAIRS = planted_pairs(copies=20)
COLUMN = pa.array([text for pair in PAIRS for text in pair], pa.large_string())


def true_jaccard(a: str, b: str) -> float:
    left, right = (shingles_of(words_of(text), 5) for text in (a, b))
    return len(left & right) / len(left | right)


def test_the_merge_gives_the_true_jaccard_similarity():
    offsets, values = shingle_hashes(COLUMN)
    sets = [values[start:end] for start, end in itertools.pairwise(offsets)]
    for i, (a, b) in enumerate(PAIRS):
        assert jaccard(sets[2 * i], sets[2 * i + 1]) == pytest.approx(true_jaccard(a, b), abs=1e-12)


@pytest.mark.parametrize("engine", ["kernel", "datasketch"])
def test_estimates_have_the_binomial_error_and_no_bias(engine):
    found = signatures(COLUMN, Dedup(engine=engine))
    errors, deviations = [], []
    for i, (a, b) in enumerate(PAIRS):
        true = true_jaccard(a, b)
        errors.append(estimate(found[2 * i], found[2 * i + 1]) - true)
        deviations.append(np.sqrt(true * (1 - true) / 128))
    assert abs(np.mean(errors)) < 3 * np.sqrt(np.mean(np.square(deviations)) / len(errors))
    assert np.std(errors) < 1.15 * np.sqrt(np.mean(np.square(deviations)))


def test_both_engines_propose_the_same_share_of_pairs():
    shares = {}
    for engine in ("kernel", "datasketch"):
        keys = band_keys(signatures(COLUMN, Dedup(engine=engine)))
        shares[engine] = (keys[::2] == keys[1::2]).any(axis=1).reshape(len(LEVELS), -1).mean(axis=1)
    assert shares["kernel"][LEVELS >= 0.9].min() >= 0.9
    assert abs(shares["kernel"] - shares["datasketch"]).mean() < 0.12
    expected = [Dedup().candidate_probability(level) for level in LEVELS]
    assert abs(shares["kernel"] - expected).mean() < 0.12


def test_equal_texts_have_equal_signatures_and_texts_without_words_the_empty_one():
    found = signatures(pa.array(["Some text, here", "some TEXT here!", "?!", None, ""], pa.string()))
    assert (found[0] == found[1]).all()
    assert has_words(found).tolist() == [True, True, False, False, False]


def test_signatures_do_not_depend_on_how_the_column_is_cut():
    whole = signatures(COLUMN)
    chunked = pa.chunked_array([COLUMN[:7], COLUMN[7:8], COLUMN[8:]])
    assert (signatures(chunked) == whole).all()
    assert (signatures(COLUMN[5:9]) == whole[5:9]).all()


def test_the_seed_chooses_the_hash_functions():
    a, b = permutations(128, seed=1)
    assert (a % 2 == 1).all()
    assert len(set(a.tolist())) == len(set(b.tolist())) == 128
    text = pa.array(["one two three four five six"])
    assert (signatures(text, Dedup(seed=1)) != signatures(text, Dedup(seed=2))).all()


def test_a_signature_is_the_same_on_every_machine_and_in_every_release():
    found = signatures(pa.array(["The quick brown fox jumps over the lazy dog"]))
    assert found[0, :3].tolist() == [2842701393, 1733205760, 757796512]


def test_content_hashes_ignore_surrounding_ascii_whitespace_only():
    found = content_hash(pa.array(["a b", " a b\n", "a  b", "A b", "\u00a0a b", None, ""]))
    groups = [tuple(row) for row in found.tolist()]
    assert groups[0] == groups[1]
    assert groups[5] == groups[6]
    assert len(set(groups)) == 5


def test_no_documents_give_no_signatures():
    empty = pa.array([], pa.large_string())
    assert signatures(empty).shape == (0, 128)
    assert band_keys(signatures(empty)).shape == (0, 14)
    assert shingle_hashes(empty)[0].tolist() == [0]
    assert content_hash(empty).shape == (0, 2)
