"""Tokenizers: any text and back, documents end where they end, the same file for the same text."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Raw
from tokenizers import models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from corpus.errors import TrainingError
from tests.training.data.made import ROOT, texts
from training.data.tokenizer import CONFIG, END, FILE, open_tokenizer, read_tokenizer, train_bpe

ODD = (
    "\0",
    "\n\n\t \r\n",
    "naïve \u202eabc\u202c",
    "👩‍👩‍👧 🇩🇪 \U0010ffff",
    "  leading and trailing  ",
    "日本語テキスト",
    "a\u0301",
    "12345.6e-7",
)


@pytest.fixture(scope="module")
def trained():
    return train_bpe(texts(1, 200, 40), 500)


def decoded(tokenizer, tokens):
    return tokenizer.encoder.decode(tokens.tolist(), skip_special_tokens=False)


@settings(max_examples=200)
@given(st.lists(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(ODD)), max_size=8))
@example([END, f"a{END}b", END * 3, "<|endoftext", "|>"])
def test_any_text_comes_back_and_is_followed_by_one_end(trained, documents):
    tokens, offsets = trained.encode(documents)
    assert len(offsets) == len(documents) + 1
    assert offsets[-1] == len(tokens)
    for text, start, end in zip(documents, offsets, offsets[1:], strict=False):
        if not text:
            assert start == end
            continue
        assert (tokens[start:end] == trained.end).sum() == 1
        assert tokens[end - 1] == trained.end
        assert decoded(trained, tokens[start : end - 1]) == text


def test_a_text_that_spells_out_the_end_does_not_end_its_document(trained):
    tokens, _ = trained.encode([f"before{END}after"])
    assert tokens.tolist().count(trained.end) == 1
    assert decoded(trained, tokens[:-1]) == f"before{END}after"


def test_documents_encode_alone_as_among_others(trained):
    documents = [*texts(2, 20, 30), *ODD, ""]
    tokens, offsets = trained.encode(documents)
    for number, text in enumerate(documents):
        assert trained.encode([text])[0].tolist() == tokens[offsets[number] : offsets[number + 1]].tolist()


def test_digits_stand_alone(trained):
    tokens, _ = trained.encode(["2024"])
    assert len(tokens) == 5


def test_ids_take_two_bytes_while_the_vocabulary_allows_it(trained):
    assert trained.vocab <= 500
    assert trained.end == 0
    assert trained.encode(["abc"])[0].dtype == np.uint16
    assert trained.encode([])[0].dtype == np.uint16
    data = json.loads(trained.data)
    data["added_tokens"].append({**data["added_tokens"][0], "id": 70_000, "content": "<|far|>"})
    data["model"]["vocab"]["<|far|>"] = 70_000
    wide = read_tokenizer(json.dumps(data).encode(), END, where="here")
    assert wide.vocab == 70_001
    assert wide.encode(["abc"])[0].dtype == np.uint32


def test_equal_texts_give_an_equal_tokenizer_with_any_number_of_threads(trained, tmp_path):
    assert train_bpe(texts(1, 200, 40), 500).digest == trained.digest
    assert trained.digest == hashlib.sha256(trained.data).hexdigest()
    code = (
        "from tests.training.data.made import texts\n"
        "from training.data.tokenizer import train_bpe\n"
        "print(train_bpe(texts(1, 200, 40), 500).digest)"
    )
    for threads in ("1", "4"):
        assert (
            run_python(code, RAYON_NUM_THREADS=threads, TOKENIZERS_PARALLELISM="true", PYTHONHASHSEED=threads)
            == trained.digest
        )


def run_python(code, **environment):
    import os
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_saved_tokenizer_opens_here_and_in_transformers_with_the_same_ids(trained, tmp_path):
    trained.save(tmp_path / "mine")
    mine = open_tokenizer(tmp_path / "mine")
    assert (mine.digest, mine.vocab, mine.end) == (trained.digest, trained.vocab, trained.end)
    assert open_tokenizer(tmp_path / "mine" / FILE).digest == trained.digest
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path / "mine")
    assert (theirs.eos_token_id, theirs.pad_token_id) == (trained.end, trained.end)
    documents = [*texts(3, 5, 20), *ODD]
    for text in documents:
        if text:
            assert theirs(text, add_special_tokens=False)["input_ids"] == mine.encode([text])[0][:-1].tolist()
    theirs.save_pretrained(tmp_path / "theirs")
    back = open_tokenizer(tmp_path / "theirs")
    assert back.end == trained.end
    assert back.encode(documents)[0].tolist() == trained.encode(documents)[0].tolist()


def whitespace(folder, words, config=None, **changes):
    """A tokenizer of whole words, as others save them."""
    raw = Raw(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(exist_ok=True)
    data = {**json.loads(raw.to_str()), **changes}
    (folder / FILE).write_text(json.dumps(data))
    if config is not None:
        (folder / CONFIG).write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


WORDS = ["?", "the", "cat", "</s>", "<stop>", "sat"]


def test_the_end_is_what_the_caller_says_else_what_the_folder_declares_else_a_usual_one(tmp_path):
    assert open_tokenizer(whitespace(tmp_path / "a", WORDS)).end == 3
    declared = whitespace(tmp_path / "b", WORDS, {"eos_token": "<stop>"})
    assert open_tokenizer(declared).end == 4
    assert open_tokenizer(declared, "</s>").end == 3
    assert open_tokenizer(whitespace(tmp_path / "c", WORDS, {"eos_token": {"content": "<stop>"}})).end == 4
    assert open_tokenizer(whitespace(tmp_path / "d", WORDS, {"eos_token": None})).end == 3


def test_truncation_padding_and_added_tokens_of_a_tokenizer_are_switched_off(tmp_path):
    truncation = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    padding = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "?",
    }
    found = open_tokenizer(whitespace(tmp_path / "t", WORDS, truncation=truncation, padding=padding))
    assert found.encode(["the cat sat the cat"])[0].tolist() == [1, 2, 5, 1, 2, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, "no tokenizer here"),
        (lambda folder: folder / "absent", "no tokenizer here"),
        (lambda folder: written(folder, b"{not json"), "this is no tokenizer"),
        (lambda folder: written(folder, b'{"version": "1.0"}'), "this is no tokenizer"),
        (lambda folder: written(folder, b"\xff\xfe"), "this is no tokenizer"),
        (lambda folder: whitespace(folder, ["?", "word"]), "no end-of-document token"),
        (lambda folder: whitespace(folder, WORDS, {"eos_token": "<gone>"}), "no end-of-document token (<gone>)"),
        (lambda folder: whitespace(folder, WORDS, "{"), "tokenizer_config.json cannot be read"),
        (lambda folder: whitespace(folder, WORDS, "[1]"), "tokenizer_config.json cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path, make, message):
    with pytest.raises(TrainingError) as caught:
        open_tokenizer(make(tmp_path))
    assert message in caught.value.what
    assert str(tmp_path) in caught.value.where


def written(folder, data):
    (folder / FILE).write_bytes(data)
    return folder


def test_an_end_that_is_not_there_is_refused_with_what_to_name(tmp_path):
    with pytest.raises(TrainingError, match="<nowhere>") as caught:
        open_tokenizer(whitespace(tmp_path / "t", WORDS), "<nowhere>")
    assert "tokenizer.end" in caught.value.fix
