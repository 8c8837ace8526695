"""BM25: against its formula, against bm25s, and the same in however many shards."""

from __future__ import annotations

import math
from collections import Counter
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.lexical import (
    Bm25,
    Lengths,
    LexicalShard,
    count_postings,
    highest_score,
    merge_postings,
    merge_statistics,
    score_postings,
)
from retrieval.passages import Passages, cut_passages, passage_texts
from retrieval.terms import find_terms, query_terms

PLAIN = Bm25(stemming="none")
WHOLE = Passages(words=100_000, overlap=0)
WORDS = [f"word{number}" for number in range(12)]
DOCUMENTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join), min_size=1, max_size=14)


def postings_of(texts, passages=WHOLE, config=PLAIN):
    column = pa.array(texts, pa.large_string())
    terms = find_terms(column, config.stemming)
    cut = cut_passages(terms, passages)
    return count_postings(terms, cut), cut


def shards_of(parts, passages=WHOLE, config=PLAIN):
    """(shard, numbers of its documents in the whole) for each part."""
    counted = [postings_of(part, passages, config) for part in parts]
    lengths = Lengths(sum(len(p.lengths) for p, _ in counted), sum(int(p.lengths.sum()) for p, _ in counted))
    corpus = merge_statistics([(p.terms, np.diff(p.indptr)) for p, _ in counted], lengths)
    shards = []
    for p, cut in counted:
        rows, sizes = np.unique(cut.row, return_counts=True)
        first = np.concatenate([[0], np.cumsum(sizes)])
        shards.append((LexicalShard(p, score_postings(p, corpus, config), first), rows))
    return shards, corpus


def search(shards, offsets, text, k, stemming="none"):
    (terms,) = query_terms([text], stemming)
    found = []
    for (shard, rows), offset in zip(shards, offsets, strict=True):
        (hits,) = shard.search([terms], k)
        found += [(-float(s), int(rows[d]) + offset) for d, s in zip(hits.documents, hits.scores, strict=True)]
    return [(document, -score) for score, document in sorted(found)[:k]]


def reference(texts, query, k1=1.2, b=0.75):
    """The formula, word by word."""
    split = [text.split() for text in texts]
    there = [words for words in split if words]
    mean = sum(map(len, there)) / max(len(there), 1)
    scores = {}
    for number, words in enumerate(split):
        counts = Counter(words)
        score = 0.0
        for word in query.split():
            df = sum(word in other for other in there)
            if counts[word]:
                idf = math.log(1 + (len(there) - df + 0.5) / (df + 0.5))
                score += idf * counts[word] / (counts[word] + k1 * (1 - b + b * len(words) / mean))
        if score > 0:
            scores[number] = score
    return scores


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, st.lists(st.sampled_from([*WORDS, "absent"]), min_size=1, max_size=5), st.integers(1, 4))
def test_scores_are_the_formula_s_in_any_number_of_shards(texts, words, count):
    query = " ".join(words)
    wanted = reference(texts, query)
    parts = [part.tolist() for part in np.array_split(np.array(texts, object), min(count, len(texts)))]
    offsets = np.cumsum([0, *(len(part) for part in parts)])[:-1]
    shards, _ = shards_of(parts)
    found = search(shards, offsets, query, len(texts))
    assert {document for document, _ in found} == set(wanted)
    for document, score in found:
        assert score == pytest.approx(wanted[document], rel=1e-5)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_scores_are_those_of_bm25s():
    import bm25s

    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(3, 60, 80)]
    shards, _ = shards_of([texts])
    theirs = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    theirs.index([text.split() for text in texts], show_progress=False)
    for query in ("word1 word2 word3", "word4", "word5 word5 word6"):
        scores = theirs.get_scores(query.split())
        for document, score in search(shards, [0], query, 80):
            assert score == pytest.approx(scores[document], rel=1e-5)


def test_a_document_counts_by_its_best_passage_and_long_ones_crowd_nobody_out():
    filler = " ".join(f"filler{i}" for i in range(12))
    long = " ".join(f"heart heart blood {filler}" for _ in range(200))
    texts = [long, *(f"heart {filler} {filler} number{i}" for i in range(20)), "nothing of it"]
    shards, _ = shards_of([texts], Passages(words=15, overlap=5))
    found = search(shards, [0], "heart blood", 10)
    assert [document for document, _ in found][:1] == [0]
    assert sorted(document for document, _ in found[1:]) == list(range(1, 10))
    (hits,) = shards[0][0].search(query_terms(["heart blood"], "none"), 3)
    column = pa.array(texts, pa.large_string())
    terms = find_terms(column, "none")
    cut = cut_passages(terms, Passages(words=15, overlap=5))
    best = passage_texts(column, terms, cut)[int(hits.passages[0])].as_py()
    assert best.count("heart") == 2
    assert cut.row[hits.passages].tolist() == hits.documents.tolist()


def test_stems_and_function_words():
    texts = ["The compilers are compiling.", "Compiled by a compiler", "Nothing here", None, "", "the of and"]
    shards, corpus = shards_of([texts], config=Bm25())
    assert [document for document, _ in search(shards, [0], "How does one compile it?", 9, "english")] == [0, 1]
    assert search(shards, [0], "the of and", 9, "english") == []
    assert corpus.passages == 3
    (terms,) = query_terms(["compile absentword"], "english")
    best = max(score for _, score in search(shards, [0], "compile absentword", 1, "english"))
    assert best < highest_score(corpus, terms)


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_postings_of_batches_are_those_of_the_whole(first, second):
    merged = merge_postings([postings_of(first)[0], postings_of(second)[0]])
    whole = postings_of([*first, *second])[0]
    for name in whole._fields:
        assert np.array_equal(getattr(merged, name), getattr(whole, name)), name


@given(st.lists(st.text(max_size=60), max_size=6))
@settings(max_examples=150, deadline=None)
def test_words_of_any_text_stand_where_they_are_said_to(texts):
    column = pa.array(texts, pa.large_string())
    terms = find_terms(column, "english")
    data = "".join(texts).encode("utf-8", "surrogatepass")
    assert len(terms.starts) == len(texts) + 1
    for start, end in terms.spans.tolist():
        word = data[start:end].decode()
        assert word.strip() == word != ""
    alone = [find_terms(pa.array([text], pa.large_string()), "english") for text in texts]
    hashes = [t.vocabulary[t.numbers[t.numbers >= 0]].tolist() for t in alone]
    assert terms.vocabulary[terms.numbers[terms.numbers >= 0]].tolist() == [*chain(*hashes)]


@settings(max_examples=60, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=5), st.integers(0, 20))
def test_statistics_are_the_same_however_many_shards_are_merged_at_once(parts, at_once):
    counted = [postings_of(part)[0] for part in parts]
    pairs = [(p.terms, np.diff(p.indptr)) for p in counted]
    lengths = Lengths(sum(len(p.lengths) for p in counted), sum(int(p.lengths.sum()) for p in counted))
    whole, folded = merge_statistics(pairs, lengths), merge_statistics(iter(pairs), lengths, at_once=at_once)
    assert np.array_equal(whole.terms, folded.terms)
    assert np.array_equal(whole.frequencies, folded.frequencies)
    assert whole.frequencies.sum() == sum(len(p.postings) for p in counted)


def test_an_empty_shard_finds_nothing():
    for texts in ([], [""], [None]):
        shards, _ = shards_of([texts])
        assert search(shards, [0], "word1", 5) == []


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 300), st.integers(8, 40), st.integers(0, 7))
def test_passages_cover_every_word_with_the_overlap_asked_for(count, words, overlap):
    text = " ".join(f"w{i}" for i in range(count))
    column = pa.array([text, "other words stand here"], pa.large_string())
    terms = find_terms(column, "none")
    cut = cut_passages(terms, Passages(words=words, overlap=overlap))
    texts = passage_texts(column, terms, cut).to_pylist()
    own = [piece.split() for piece, row in zip(texts, cut.row, strict=True) if row == 0]
    assert texts[-1] == "other words stand here"
    assert (not own) == (count == 0)
    joined = [word for number, piece in enumerate(own) for word in piece[overlap if number else 0 :]]
    assert joined == text.split()
    assert all(len(piece) <= words for piece in own)
