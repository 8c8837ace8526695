"""Words and shingles of the compiled kernel are those of ``re.findall(r"\\w+", text.lower())``."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stages.dedup
from stages.dedup import Dedup
from stages.dedup.datasketch_engine import shingles_of, words_of
from stages.dedup.signatures import jaccard, shingle_hashes

ODD_LETTERS = (
    "aBz_09 .,'\u00b7:^`\n\u03a3\u03c3\u03c2\u0130\u0131I\u00df\u01c5\u0307\u00ad\u0301\u4e2d\u3042\u0e01\u0e31\u0627"
    "\U0001d400\U00010400\u2019\u1e9e"
)
TEXTS = st.one_of(st.text(), st.text(alphabet=ODD_LETTERS), st.text(alphabet="a\u03a3.' "))


def sets_of(texts: list[str], **settings: object) -> list[set[int]]:
    offsets, values = shingle_hashes(pa.array(texts, pa.large_string()), Dedup.model_validate(settings))
    return [set(values[start:end].tolist()) for start, end in itertools.pairwise(offsets)]


@given(TEXTS)
def test_the_words_are_those_of_the_regular_expression(text):
    words = sorted(set(re.findall(r"\w+", text.lower())))
    whole, *each = sets_of([text, *words], ngram=1)
    assert whole == set().union(*each)
    assert len(whole) == len(words)
    assert all(len(one) == 1 for one in each)


@given(TEXTS, st.integers(1, 7))
def test_shingles_see_words_in_order_and_nothing_in_between(text, ngram):
    words = re.findall(r"\w+", text.lower())
    found, rebuilt = sets_of([text, " ".join(words)], ngram=ngram)
    assert found == rebuilt
    assert len(found) == len(shingles_of(words, ngram))


@given(TEXTS)
def test_characters_of_unspaced_scripts_can_be_words(text):
    words = words_of(text, unspaced="characters")
    (found,) = sets_of([text], ngram=2, unspaced="characters")
    assert len(found) == len(shingles_of(words, 2))


@given(st.lists(TEXTS, max_size=6))
def test_a_text_is_measured_alike_in_any_company(texts):
    assert sets_of(texts) == [sets_of([text])[0] for text in texts]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ΟΔΥΣΣΕΥΣ", ["οδυσσευς"]),  # a sigma at the end of a word is another letter
        ("ΟΔΥΣΣΕΥΣ'", ["οδυσσευς"]),
        ("ΑΣ.Α", ["ασ", "α"]),  # the full stop is looked through: not the end
        ("Σ", ["σ"]),
        ("İstanbul", ["i", "stanbul"]),  # its lower case is an i and a combining dot, which is no word character
        ("Straße STRASSE", ["straße", "strasse"]),
        ("don't", ["don", "t"]),
        ("snake_case 2x", ["snake_case", "2x"]),
        ("北京是中国的首都。很大", ["北京是中国的首都", "很大"]),
    ],
)
def test_known_cases_of_case_and_word_boundaries(text, words):
    assert re.findall(r"\w+", text.lower()) == words
    assert sets_of([text], ngram=100) == sets_of([" ".join(words)], ngram=100)


def test_unspaced_scripts_are_long_words_unless_their_characters_are_asked_for():
    text = "北京是中国的首都，人口很多。ok fine"
    assert words_of(text) == ["北京是中国的首都", "人口很多", "ok", "fine"]
    assert words_of(text, unspaced="characters") == [*"北京是中国的首都人口很多", "ok", "fine"]
    assert [len(found) for found in sets_of([text], unspaced="characters")] == [14 - 4]


def test_one_changed_character_costs_chinese_text_less_similarity_when_characters_are_words():
    clauses = [chr(0x4E00 + 40 * i) * 3 + "的" + chr(0x5000 + i) * 4 for i in range(40)]
    text = "，".join(clauses)
    edited = text.replace(clauses[20], clauses[20][:-1] + "了")
    similarity = {}
    for unspaced in ("runs", "characters"):
        config = Dedup(unspaced=unspaced)
        offsets, values = shingle_hashes(pa.array([text, edited]), config)
        similarity[unspaced] = jaccard(values[: offsets[1]], values[offsets[1] :])
    assert similarity["runs"] < 0.8 < 0.95 < similarity["characters"]


@pytest.mark.parametrize(("words", "shingles"), [(0, 0), (1, 1), (4, 1), (5, 1), (6, 2), (9, 5)])
def test_short_texts_are_one_shingle_and_empty_ones_none(words, shingles):
    assert [len(found) for found in sets_of([" ".join(f"w{i}" for i in range(words))])] == [shingles]


def test_short_texts_with_different_words_differ():
    assert len(set.union(*sets_of(["a", "a a", "a a a", "a b", "b a", "a a a a a"]))) == 6


def test_shingle_sets_ascend_without_repeats():
    offsets, values = shingle_hashes(pa.array(["a b c " * 1000, "x"]))
    assert np.diff(offsets).tolist() == [3, 1]
    assert (np.diff(values[:3].astype(object)) > 0).all()


FUZZ = """
import numpy as np
import pyarrow as pa
from stages.dedup import Dedup
from stages.dedup.code_points import code_point_table
from stages.dedup.in_memory import deduplicate
from stages.dedup.kernel import minhash
from stages.dedup.shingling import shingle_lists
from stages.dedup.signatures import permutations
rng = np.random.default_rng(7)
a, b = permutations(20, seed=1)
pieces = [bytes([byte]) for byte in range(256)]
pieces += ["\\u03a3".encode(), "\\u0130".encode(), b"\\xf0\\x9f", b"\\xed\\xa0\\x80", b"a ", b"' "]
for turn in range(100):
    texts = [b"".join(pieces[i] for i in rng.integers(0, len(pieces), rng.integers(0, 40))) for _ in range(4)]
    data = np.frombuffer(b"".join(texts) or b"\\0", np.uint8)
    offsets = np.cumsum([0, *map(len, texts)])
    data.flags.writeable = offsets.flags.writeable = False
    for characters, ngram in ((False, 1), (False, 3), (True, 3)):
        starts, values = shingle_lists(data, offsets, code_point_table(), ngram, characters)
        found = minhash(data, offsets, code_point_table(), ngram, characters, a, b)
        assert starts[-1] == len(values)
        assert ((found != 2**32 - 1).any(axis=1) == (np.diff(starts) > 0)).all()
    rows = [" ".join("abcde"[i] for i in rng.integers(0, 1 + turn % 5, rng.integers(0, 30))) for _ in range(turn)]
    columns = {"id": [str(i) for i in range(turn)], "crawl": rows, "date": rows, "content": rows}
    table = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
    deduplicate([table], Dedup(bands=1 + turn % 20, rows=1 + turn % 6, ngram=1 + turn % 3))
"""


def test_no_input_leads_out_of_bounds_not_even_bytes_that_are_no_utf8(pytestconfig):
    sources = b"".join(path.read_bytes() for path in sorted(Path(stages.dedup.__file__).parent.glob("*.py")))
    # Kept from run to run, since compiling takes 20 s, and given up when any source changes.
    cache = pytestconfig.cache.mkdir(f"dedup_bounds_{hashlib.sha256(sources).hexdigest()[:12]}")
    checked = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache)}
    found = subprocess.run([sys.executable, "-c", FUZZ], env=checked, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
