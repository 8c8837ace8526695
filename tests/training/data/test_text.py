"""Text that is tokenised while training: the rows that the shards would hold, counted once, altered text noticed."""

from __future__ import annotations

import multiprocessing
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from corpus.commit import CorpusManifest, publish_corpus
from corpus.errors import StorageError, TrainingError
from corpus.ledger import Ledger
from corpus.storage import LocalStore, publish_file
from tests.training.data.made import open_loader, stream_hash, take, texts, write_text
from training.data.on_the_fly import open_text
from training.data.text import TextSource, find_text, read_documents
from training.data.tokenizer import train_bpe
from training.data.write import TRAIN, Split, write_shard

LENGTH = 16
PACKINGS = pytest.mark.parametrize("packing", ["concat", "best_fit"])


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(texts(7, 150, 30), 400)


@pytest.fixture
def domains(tmp_path):
    """Two domains; one row group per file in the first, three in the second, some texts null."""
    for number, count in enumerate((40, 25, 60)):
        write_text(tmp_path / "a" / f"a{number}.parquet", texts(100 + number, count, 20), group=1000)
    odd = [None if number % 7 == 0 else text for number, text in enumerate(texts(200, 150, 15))]
    write_text(tmp_path / "b" / "b.parquet", odd, group=50)
    return {"a": TextSource(paths=(str(tmp_path / "a" / "*.parquet"),)), "b": TextSource(paths=(str(tmp_path / "b"),))}


@pytest.fixture
def sources(domains, tmp_path):
    return {**domains, "b": TextSource(paths=(str(tmp_path / "b" / "b.parquet"),))}


def opened(sources, tokenizer, **settings):
    return open_text(sources, tokenizer, sequence_length=LENGTH, **settings)


def lengths(path):
    return pq.read_table(path, columns=["length"])["length"].to_pylist()


@PACKINGS
def test_rows_are_bit_by_bit_those_of_token_shards_where_a_file_is_one_row_group(sources, tokenizer, tmp_path, packing):
    corpus = opened(sources, tokenizer, packing=packing)
    files = find_text("a", sources["a"])
    assert [block.group for block in corpus.domains["a"].blocks] == [0, 0, 0]
    for block in corpus.domains["a"].blocks:
        shard = tmp_path / "shard.parquet"
        write_shard(shard, files, block.file, Split(TRAIN), tokenizer, LENGTH + 1, packing)
        table = pq.read_table(shard)
        rows = corpus.domains["a"].read(block)
        assert rows.tokens.tolist() == table["tokens"].to_pylist()
        assert rows.length.tolist() == table["length"].to_pylist()
        starts = [rows.starts[a:b].tolist() for a, b in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)]
        assert starts == table["starts"].to_pylist()
        assert rows.tokens.dtype == corpus.dtype


@PACKINGS
def test_of_several_row_groups_each_is_packed_alone_and_no_token_is_lost(sources, tokenizer, tmp_path, packing):
    corpus = opened(sources, tokenizer, packing=packing)
    domain = corpus.domains["b"]
    assert [block.group for block in domain.blocks] == [0, 1, 2]
    texts_ = pq.read_table(tmp_path / "b" / "b.parquet")["content"].to_pylist()
    for block in domain.blocks:
        mine = [text or "" for text in texts_[50 * block.group : 50 * block.group + 50]]
        wanted = tokenizer.encode(mine)[0]
        rows = domain.read(block)
        assert block.rows == len(rows.length)
        real = np.concatenate([row[:length] for row, length in zip(rows.tokens, rows.length, strict=True)])
        assert sorted(real.tolist()) == sorted(wanted.tolist())
        if packing == "concat":
            assert real.tolist() == wanted.tolist()
    assert domain.tokens == len(tokenizer.encode([text or "" for text in texts_])[0])


def test_any_block_is_read_alone_the_same(sources, tokenizer):
    first, second = opened(sources, tokenizer), opened(sources, tokenizer)
    for name in first.domains:
        for block in reversed(first.domains[name].blocks):
            assert np.array_equal(first.domains[name].read(block).tokens, second.domains[name].read(block).tokens)


def test_text_is_counted_once(sources, tokenizer, monkeypatch, tmp_path):
    monkeypatch.setenv("CORPUS_CACHE", str(tmp_path / "fresh"))
    said = []
    first = opened(sources, tokenizer, tell=said.append)
    assert len([line for line in said if line.startswith("counting the tokens")]) == 4
    said.clear()
    second = opened(sources, tokenizer, tell=said.append)
    assert said == []
    assert second.domains["b"].blocks == first.domains["b"].blocks
    assert second.digest == first.digest
    # other rows, other counts
    opened(sources, tokenizer, tell=said.append, packing="best_fit")
    assert len(said) == 4
    said.clear()
    open_text(sources, tokenizer, sequence_length=LENGTH + 1, tell=said.append)
    assert len(said) == 4
    said.clear()
    opened(sources, train_bpe(texts(8, 50, 30), 350), tell=said.append)
    assert len(said) == 4


def test_altered_text_is_another_corpus_and_counted_anew(sources, tokenizer, tmp_path):
    before = opened(sources, tokenizer)
    state = open_loader(before).state_dict()
    write_text(tmp_path / "a" / "a1.parquet", texts(999, 25, 20), group=1000)
    said = []
    after = opened(sources, tokenizer, tell=said.append)
    assert [line for line in said if "counting" in line] == ["counting the tokens of a: a1.parquet, once"]
    assert after.digest != before.digest
    with pytest.raises(TrainingError, match="corpus: state has"):
        open_loader(after).load_state_dict(state)


def test_the_digest_names_everything_that_decides_the_rows(sources, tokenizer):
    plain = opened(sources, tokenizer).digest
    others = [
        opened(sources, tokenizer, packing="best_fit"),
        opened({"a": sources["a"]}, tokenizer),
        opened({"a": sources["b"], "b": sources["a"]}, tokenizer),
        opened({**sources, "a": sources["a"].model_copy(update={"where": {"id": "a0-3"}})}, tokenizer),
        opened(sources, train_bpe(texts(8, 50, 30), 350)),
        open_text(sources, tokenizer, sequence_length=LENGTH + 1),
    ]
    assert len({plain, *(other.digest for other in others)}) == 7
    assert opened(sources, tokenizer, threads=5).digest == plain


def test_text_altered_while_training_stops_it_with_file_and_row_group(sources, tokenizer, tmp_path):
    corpus = opened(sources, tokenizer)
    write_text(tmp_path / "b" / "b.parquet", texts(77, 300, 30), group=100)
    domain = corpus.domains["b"]
    with pytest.raises(StorageError, match=r"documents instead of \d+") as caught:
        domain.read(domain.blocks[1])
    assert "b.parquet, row group 1" in caught.value.where
    (tmp_path / "b" / "b.parquet").unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        opened_anew(domain).read(domain.blocks[0])


def test_a_text_that_changed_its_tokens_is_named_when_a_row_asks_for_it(sources, tokenizer, tmp_path):
    domain = opened(sources, tokenizer).domains["b"]
    documents = pq.read_table(tmp_path / "b" / "b.parquet")
    assert documents.num_rows > 50
    changed = ["some other words" for _ in range(documents.num_rows)]
    groups = pq.ParquetFile(tmp_path / "b" / "b.parquet").metadata.row_group(0).num_rows
    write_text(tmp_path / "b" / "b.parquet", changed, group=groups)
    with pytest.raises(StorageError, match=r"a document has \d+ tokens instead of \d+") as caught:
        domain.read(domain.blocks[0])
    assert "b.parquet, row group 0" in caught.value.where


def test_rows_cost_no_more_than_the_documents_that_they_hold(sources, tokenizer):
    """A block is opened without tokenising it, each document is tokenised once, and all ways give the same rows."""
    domain = opened(sources, tokenizer).domains["a"]
    counted = []

    def encode(texts):
        counted.append(len(texts))
        return tokenizer.encode(texts)

    domain.reader.encode = encode
    block = max(domain.blocks, key=lambda block: block.rows)
    whole = domain.read(block)
    total = sum(counted)
    counted.clear()
    content = domain.open(block)
    assert counted == []
    held, places = content.select(np.array([block.rows - 1, 0]))
    assert 0 < sum(counted) < total / 2
    for place, row in zip(places, (block.rows - 1, 0), strict=True):
        assert np.array_equal(held.tokens[place], whole.tokens[row])
        assert held.length[place] == whole.length[row]
        pieces = [rows.starts[rows.offsets[at] : rows.offsets[at + 1]] for rows, at in ((held, place), (whole, row))]
        assert np.array_equal(*pieces)
    for row in range(block.rows):
        content.select(np.array([row]))
    assert sum(counted) == total


def opened_anew(domain):
    """The domain as another process has it, with no file open yet."""
    import pickle

    return pickle.loads(pickle.dumps(domain))


def documents(source):
    files = find_text("d", source)
    from training.data.files import OpenFiles

    reader = OpenFiles(files.store, files.entries).reader(0)
    found = [read_documents(reader, group, files, files.entries[0]) for group in range(reader.groups)]
    return [pair for part in found for pair in zip(part.ids, part.texts, strict=True)]


@pytest.fixture
def labelled(tmp_path):
    return str(
        write_text(
            tmp_path / "d.parquet",
            ["zero", "one", None, "three", "four", "five"],
            group=4,
            split=["train", "valid", "train", None, "valid", "train"],
            year=[1, 1, 2, 2, 1, None],
            good=[True, False, True, True, False, None],
        )
    )


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"where": {"split": "train"}}, [0, 2, 5]),
        ({"where_not": {"split": "valid"}}, [0, 2, 3, 5]),
        ({"where": {"split": "train", "year": 1}}, [0]),
        ({"where": {"year": 1}, "where_not": {"split": "valid"}}, [0]),
        ({"where_not": {"split": "train", "year": 2}}, [0, 1, 3, 4, 5]),
        ({"where": {"good": True}}, [0, 2, 3]),
        ({"where": {"split": "nowhere"}}, []),
    ],
)
def test_rows_are_chosen_by_the_values_of_columns(labelled, settings, wanted):
    found = documents(TextSource(paths=(labelled,), **settings))
    assert [name for name, _ in found] == [f"d-{number}" for number in wanted]
    assert [text for _, text in found] == [("zero", "one", "", "three", "four", "five")[number] for number in wanted]


def test_what_is_left_out_makes_no_rows(labelled, tokenizer):
    corpus = opened({"d": TextSource(paths=(labelled,), where={"split": "train"})}, tokenizer)
    real = np.concatenate(
        [
            row[:length]
            for block in corpus.domains["d"].blocks
            for row, length in zip(*corpus.domains["d"].read(block)[:2], strict=True)
        ]
    )
    assert real.tolist() == tokenizer.encode(["zero", "", "five"])[0].tolist()
    empty = opened({"d": TextSource(paths=(labelled,), where={"split": "nowhere"})}, tokenizer)
    assert empty.domains["d"].blocks == ()
    assert empty.domains["d"].tokens == 0


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int32(), pa.string()), pa.large_string()])
def test_columns_of_any_kind_of_text_can_be_asked(tmp_path, kind):
    path = tmp_path / "d.parquet"
    column = pa.array(["x", "y", None, "x"]).cast(kind)
    text = pa.array(["a", "b", "c", None]).cast(kind)
    pq.write_table(pa.table({"id": list("1234"), "content": text, "part": column}), path)
    assert documents(TextSource(paths=(str(path),), where={"part": "x"})) == [("1", "a"), ("4", "")]


def test_a_value_of_the_wrong_kind_is_a_readable_error(labelled):
    with pytest.raises(TrainingError, match="year") as caught:
        find_text("d", TextSource(paths=(labelled,), where={"year": "last"}))
    assert "d.parquet" in caught.value.where


def test_documents_without_ids_are_named_by_file_and_row(tmp_path):
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"text": ["a", "b", "c"], "n": [1, 2, 1]}), path, row_group_size=2)
    assert documents(TextSource(paths=(str(path),), where={"n": 1})) == [
        ("plain.parquet#0.0", "a"),
        ("plain.parquet#1.0", "c"),
    ]
    pq.write_table(pa.table({"text": ["a", "b"], "url": [7, 8]}), path)
    assert documents(TextSource(paths=(str(path),), id_field="url")) == [("7", "a"), ("8", "b")]


def test_files_are_sorted_and_taken_once(tmp_path):
    for name in ("b", "a", "c"):
        write_text(tmp_path / f"{name}.parquet", ["x"])
    found = find_text("d", TextSource(paths=(str(tmp_path / "c.parquet"), str(tmp_path / "*.parquet"))))
    assert [entry.name.rpartition("/")[2] for entry in found.entries] == ["c.parquet", "a.parquet", "b.parquet"]


def published(folder, documents_):
    store = LocalStore(str(folder))
    staged = store.staging() / "documents.parquet"
    write_text(staged, documents_)
    entry = publish_file(store, staged, "documents/part-00000-00000000.parquet", rows=len(documents_))
    publish_corpus(
        store, CorpusManifest(name="t", files={"documents": (entry,)}, ledger=Ledger(), stages=(), code="c"), {}
    )
    return folder / entry.name


def test_a_published_corpus_is_read_and_checked(tmp_path, tokenizer):
    shard = published(tmp_path / "out", texts(3, 40, 20))
    source = {"d": TextSource(paths=(str(tmp_path / "out"),))}
    corpus = opened(source, tokenizer)
    plain = opened({"d": TextSource(paths=(str(shard),))}, tokenizer)
    assert corpus.digest == plain.digest  # the same bytes, the same corpus
    data = bytearray(shard.read_bytes())
    data[60] ^= 1
    shard.unlink()
    shard.write_bytes(data)
    with pytest.raises(StorageError, match="was altered"):
        opened(source, tokenizer)


@pytest.mark.parametrize(
    ("paths", "settings", "message"),
    [
        (["absent/*.parquet"], {}, "nothing matches"),
        (["d.parquet", "gone.parquet"], {}, "nothing matches .*gone.parquet"),
        (["d.parquet"], {"text_field": "body"}, "no column body"),
        (["d.parquet"], {"where": {"lang": "en"}}, "no column lang"),
        (["d.parquet"], {"where_not": {"lang": "en", "zone": 1}}, "no column lang, zone"),
        (["out", "d.parquet"], {}, "mixes a published corpus"),
    ],
)
def test_what_cannot_be_found_is_named(tmp_path, labelled, paths, settings, message):
    published(tmp_path / "out", ["a"])
    source = TextSource(paths=tuple(str(tmp_path / path) for path in paths), **settings)
    with pytest.raises(TrainingError, match=message):
        find_text("d", source)


def test_the_loader_takes_text_like_tokens(sources, tokenizer):
    corpus = opened(sources, tokenizer)
    calm = take(open_loader(corpus, threads=0), 30)
    for threads in (1, 3):
        assert stream_hash(take(open_loader(corpus, threads=threads, prefetch=6), 30)) == stream_hash(calm)
    loader = open_loader(corpus)
    loader.load_state_dict(open_loader(corpus).state_dict(calm[10]))
    assert stream_hash(take(loader, 19)) == stream_hash(calm[11:])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_worker_processes_can_tokenise_after_this_one_did(sources, tokenizer, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # the library says so where a process forks after using it
    corpus = opened(sources, tokenizer)
    calm = take(open_loader(corpus), 12)
    found = list(islice(DataLoader(open_loader(corpus), batch_size=None, num_workers=2), 12))
    assert stream_hash(found) == stream_hash(calm)
    assert multiprocessing.active_children() == []
