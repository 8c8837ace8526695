"""Exports of token corpora: read back token for token, by the libraries they are for where these are installed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from corpus.errors import StorageError, TrainingError
from corpus.shards import ShardReader, ShardWriter
from corpus.storage import FileEntry, LocalStore, sha256_of
from training.data.files import OpenFiles
from training.data.packing import Packing, pack
from training.data.rows import Rows, to_table, token_schema
from training.data.source import Block, Corpus, Domain, TokenShards
from training.export import EXPORTERS, Exported, to_datatrove, to_huggingface, to_litdata, to_mds
from training.export.datatrove import unpack
from training.export.target import heaps

# readers of a corpus keep their files open until they are collected
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
EOS = 0
ROWS_PER_GROUP = 5
Documents = dict[str, list[NDArray[np.generic]]]


def documents(vocab: int, count: int = 60) -> Documents:
    """Documents of two domains, each ending with the end token; lengths from one token to several rows."""
    draw = np.random.default_rng(7)
    dtype = np.uint16 if vocab <= 1 << 16 else np.uint32

    def document() -> NDArray[np.generic]:
        length = int(draw.lognormal(2.5, 1.0))
        return np.append(draw.integers(1, vocab, length), EOS).astype(dtype)

    return {name: [document() for _ in range(count)] for name in ("books", "source code")}


def make_corpus(folder: Path, given: Documents, *, length: int, vocab: int, packing: Packing = "concat") -> Corpus:
    """A corpus of two shards per domain, a heap each, read through the product's reader."""
    domains = {}
    for name, each in given.items():
        half = len(each) // 2
        parts = [each[:half], each[half:]]
        paths = [folder / f"{name}-{number}.parquet" for number in range(2)]
        for path, part in zip(paths, parts, strict=True):
            write_shard(path, part, length + 1, vocab, packing)
        files = OpenFiles(LocalStore(str(folder)), [entry(path) for path in paths])
        groups = [group_rows(path) for path in paths]
        blocks = [Block(file, group, rows) for file, sizes in enumerate(groups) for group, rows in enumerate(sizes)]
        tokens = sum(map(len, each))
        domains[name] = Domain(name, tuple(blocks), TokenShards(files, length + 1), tokens)
    return Corpus("d" * 64, "t" * 64, b"{}", vocab, EOS, length, packing, domains)


def write_shard(path: Path, part: list[NDArray[np.generic]], row_length: int, vocab: int, packing: Packing) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    offsets = np.cumsum([0, *map(len, part)])
    tokens = np.concatenate(part) if part else np.empty(0, np.uint16)
    packed = pack(tokens, offsets, row_length, packing, EOS)
    schema = token_schema(vocab)
    with ShardWriter(path, schema, row_group_rows=ROWS_PER_GROUP, page_checksums=True) as writer:
        writer.write(to_table(packed, [f"doc{number}" for number in range(len(part))], schema))


def group_rows(path: Path) -> tuple[int, ...]:
    with path.open("rb") as file:
        return ShardReader(file).group_rows


def entry(path: Path) -> FileEntry:
    return FileEntry(name=path.name, sha256=sha256_of(path), bytes=path.stat().st_size)


def rows_of(domain: Domain) -> tuple[NDArray[np.generic], NDArray[np.int32]]:
    """All rows of a domain and their lengths, in order."""
    found = [domain.read(block) for block in domain.blocks]
    return np.concatenate([rows.tokens for rows in found]), np.concatenate([rows.length for rows in found])


@pytest.fixture(params=[("concat", 40_000, 16), ("best_fit", 40_000, 300), ("concat", 100_000, 70)], ids=str)
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Corpus:
    """Corpora over both packings, both widths of tokens and row lengths on both sides of a byte."""
    packing, vocab, length = request.param
    return make_corpus(tmp_path / "corpus", documents(vocab), length=length, vocab=vocab, packing=packing)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few rows, so that every domain has several."""
    monkeypatch.setattr("training.export.mds.FILE_BYTES", 1_500)
    monkeypatch.setattr("training.export.litdata.FILE_BYTES", 1_500)


# what holds for every format


@pytest.fixture(params=sorted(EXPORTERS))
def export(request: pytest.FixtureRequest) -> Callable[[Corpus, Path], Exported]:
    return EXPORTERS[request.param]


def test_equal_corpora_give_equal_bytes(corpus: Corpus, export: Callable[..., Exported], tmp_path: Path) -> None:
    assert export(corpus, tmp_path / "one") == export(corpus, tmp_path / "two")
    trees = [{p.relative_to(top): p.read_bytes() for p in top.rglob("*") if p.is_file()} for top in both(tmp_path)]
    assert trees[0] == trees[1]


def both(folder: Path) -> tuple[Path, Path]:
    return folder / "one", folder / "two"


def test_an_export_counts_what_it_wrote(corpus: Corpus, export: Callable[..., Exported], tmp_path: Path) -> None:
    written = export(corpus, tmp_path / "out")
    assert written.rows == sum(domain.rows for domain in corpus.domains.values())
    assert written.tokens == sum(domain.tokens for domain in corpus.domains.values())
    suffixes = {".mds", ".bin", ".ds", ".parquet"}
    assert written.files == sum(path.suffix in suffixes for path in (tmp_path / "out").rglob("*"))
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == corpus.tokenizer


def test_a_folder_that_holds_something_is_refused_and_left_alone(
    corpus: Corpus, export: Callable[..., Exported], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError) as caught:
        export(corpus, tmp_path)
    assert caught.value.where == str(tmp_path) and caught.value.fix
    assert sorted(tmp_path.iterdir()) == before


def test_an_empty_folder_is_taken(corpus: Corpus, export: Callable[..., Exported], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(corpus, tmp_path / "out").files


def test_names_of_domains_cannot_leave_the_folder(export: Callable[..., Exported], tmp_path: Path) -> None:
    made = make_corpus(tmp_path / "corpus", {"a": documents(100)["books"]}, length=16, vocab=100)
    named = Corpus(**{**made.__dict__, "domains": {"../up": made.domains["a"], "..": made.domains["a"]}})
    export(named, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == ["%2E%2E", "..%2Fup"]


@pytest.mark.parametrize("rows", [1, 3, 7, 1000])
def test_heaps_hold_all_rows_in_order_and_as_many_as_asked(corpus: Corpus, rows: int) -> None:
    domain = corpus.domains["books"]
    found = list(heaps(domain, rows))
    tokens, length = rows_of(domain)
    assert np.array_equal(np.concatenate([heap.tokens for heap in found]), tokens)
    assert np.array_equal(np.concatenate([heap.length for heap in found]), length)
    assert all(len(heap.length) == rows for heap in found[:-1])
    assert 0 < len(found[-1].length) <= rows


# MDS


def read_mds(folder: Path, row_length: int) -> tuple[NDArray[np.generic], NDArray[np.int32], list[str]]:
    """A reader of its own, from the description of the format."""
    tokens, lengths, domains = [], [], []
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        count = struct.unpack_from("<I", data)[0]
        assert count == shard["samples"]
        begins = struct.unpack_from(f"<{count + 1}I", data, 4)
        description = json.loads(data[4 * (count + 2) : begins[0]])
        assert description == {key: shard[key] for key in description}
        dtype = description["column_encodings"][2].removeprefix("ndarray:")
        for begin, end in pairwise(begins):
            sample = data[begin:end]
            name, array = struct.unpack_from("<2I", sample)
            domains.append(sample[8 : 8 + name].decode())
            lengths.append(struct.unpack_from("<i", sample, 8 + name)[0])
            encoded = sample[12 + name :]
            assert len(encoded) == array
            size = 1 << (encoded[0] & 3)
            assert encoded[0] >> 2 == 1 and int.from_bytes(encoded[1 : 1 + size], "little") == row_length
            tokens.append(np.frombuffer(encoded[1 + size :], np.dtype(dtype).newbyteorder("<")))
    return np.stack(tokens), np.array(lengths, np.int32), domains


def test_mds_holds_every_row_per_domain_and_over_all(corpus: Corpus, tmp_path: Path) -> None:
    to_mds(corpus, tmp_path / "out")
    everything = []
    for name, domain in corpus.domains.items():
        tokens, length = rows_of(domain)
        (place,) = [p for p in (tmp_path / "out").iterdir() if p.name == name]
        found, lengths, domains = read_mds(place, corpus.sequence_length + 1)
        assert np.array_equal(found, tokens) and np.array_equal(lengths, length)
        assert set(domains) == {name}
        everything.append(tokens)
    found, _, _ = read_mds(tmp_path / "out", corpus.sequence_length + 1)
    assert np.array_equal(found, np.concatenate(everything))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("domain", ["", "books"])
def test_mosaicml_streaming_reads_mds(corpus: Corpus, tmp_path: Path, domain: str) -> None:
    streaming = pytest.importorskip("streaming", reason="mosaicml-streaming is not installed")
    to_mds(corpus, tmp_path / "out")
    dataset = streaming.StreamingDataset(local=str(tmp_path / "out" / domain), shuffle=False, batch_size=1)
    chosen = [domain] if domain else list(corpus.domains)
    tokens, length = (np.concatenate(part) for part in zip(*(rows_of(corpus.domains[n]) for n in chosen), strict=True))
    samples = [dataset[number] for number in range(len(dataset))]
    assert np.array_equal(np.stack([sample["tokens"] for sample in samples]), tokens)
    assert samples[0]["tokens"].dtype == corpus.dtype
    assert [int(sample["length"]) for sample in samples] == length.tolist()
    assert list(dict.fromkeys(sample["domain"] for sample in samples)) == chosen


# litData


def test_litdata_chunks_hold_every_row(corpus: Corpus, tmp_path: Path) -> None:
    to_litdata(corpus, tmp_path / "out")
    for name, domain in corpus.domains.items():
        place = tmp_path / "out" / name
        index = json.loads((place / "index.json").read_text())
        parts = []
        for chunk in index["chunks"]:
            data = (place / chunk["filename"]).read_bytes()
            assert len(data) == chunk["chunk_bytes"]
            assert struct.unpack_from("<3I", data) == (chunk["chunk_size"], 12, len(data))
            parts.append(np.frombuffer(data[12:], corpus.dtype.newbyteorder("<")))
            assert parts[-1].size == chunk["dim"]
        assert len(parts) > 1
        assert np.array_equal(np.concatenate(parts), rows_of(domain)[0].ravel())


@pytest.mark.filterwarnings("ignore")
def test_litdata_reads_its_chunks(corpus: Corpus, tmp_path: Path) -> None:
    litdata = pytest.importorskip("litdata", reason="litData is not installed")
    to_litdata(corpus, tmp_path / "out")
    row = corpus.sequence_length + 1
    for name, domain in corpus.domains.items():
        loader = litdata.TokensLoader(block_size=row)
        dataset = litdata.StreamingDataset(str(tmp_path / "out" / name), item_loader=loader, shuffle=False)
        tokens, _ = rows_of(domain)
        assert np.array_equal(np.stack(list(dataset)), tokens)
        assert np.array_equal(dataset[len(dataset) - 1], tokens[-1])


# datatrove


def test_datatrove_streams_are_the_documents_again(tmp_path: Path) -> None:
    given = documents(40_000)
    to_datatrove(make_corpus(tmp_path / "corpus", given, length=16, vocab=40_000), tmp_path / "out")
    for name, each in given.items():
        place = tmp_path / "out" / name
        assert np.array_equal(np.fromfile(place / "00000_tokens.ds", "<u2"), np.concatenate(each))
        assert np.fromfile(place / "00000_tokens.ds.index", "<u8").tolist() == np.cumsum([*map(len, each)]).tolist()


def test_under_best_fit_every_piece_counts_as_a_document(tmp_path: Path) -> None:
    made = make_corpus(tmp_path / "corpus", documents(500), length=16, vocab=500, packing="best_fit")
    to_datatrove(made, tmp_path / "out")
    tokens, length = rows_of(made.domains["books"])
    stream = np.fromfile(tmp_path / "out" / "books" / "00000_tokens.ds", "<u2")
    assert np.array_equal(stream, np.concatenate([row[:real] for row, real in zip(tokens, length, strict=True)]))
    ends = np.fromfile(tmp_path / "out" / "books" / "00000_tokens.ds.index", "<u8")
    pieces = sum(len(made.domains["books"].read(block).starts) for block in made.domains["books"].blocks)
    assert len(ends) == pieces and ends[-1] == len(stream)


def test_rows_come_apart_into_documents() -> None:
    rows = Rows(
        np.array([[5, 6, EOS, 7], [8, EOS, EOS, EOS]], np.uint16),
        np.array([4, 2], np.int32),
        np.array([0, 2, 3]),
        np.array([0, 3, 0], np.int32),
    )
    tokens, ends = unpack(rows, EOS)
    assert tokens.tolist() == [5, 6, EOS, 7, 8, EOS]
    assert ends.tolist() == [3, 6]
    assert unpack(rows, None)[1].tolist() == [3, 4, 6]


@pytest.mark.filterwarnings("ignore")
def test_datatrove_writes_the_same_files(tmp_path: Path) -> None:
    pytest.importorskip("datatrove", reason="datatrove is not installed")
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    given = documents(40_000)
    to_datatrove(make_corpus(tmp_path / "corpus", given, length=16, vocab=40_000), tmp_path / "out")
    theirs = TokenizedFile(str(tmp_path / "theirs"), "books.ds", token_size=2)
    for document in given["books"]:
        theirs.write(document.tolist(), None)
    theirs.close()
    for suffix in ("", ".index"):
        mine = (tmp_path / "out" / "books" / f"00000_tokens.ds{suffix}").read_bytes()
        assert mine == (tmp_path / "theirs" / f"books.ds{suffix}").read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_datatrove_reads_its_files(corpus: Corpus, tmp_path: Path) -> None:
    dataset = pytest.importorskip("datatrove.utils.dataset", reason="datatrove is not installed")
    to_datatrove(corpus, tmp_path / "out")
    seq_len, size = corpus.sequence_length, corpus.dtype.itemsize
    for name, domain in corpus.domains.items():
        place = str(tmp_path / "out" / name)
        found = dataset.DatatroveFolderDataset(place, seq_len, token_size=size, recursive=False)
        tokens, length = rows_of(domain)
        stream = np.concatenate([row[:real] for row, real in zip(tokens, length, strict=True)])
        whole = len(stream) // (seq_len + 1)
        assert len(found) == whole
        read = np.concatenate([found[number]["input_ids"].numpy() for number in range(whole)])
        assert np.array_equal(read, stream[: whole * (seq_len + 1)])
        assert (Path(place) / "00000_tokens.ds.metadata").read_text().split("\n")[:2] == [
            f"tokenizer.json|{size}",
            str(len(stream)),
        ]


# Hugging Face


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_every_domain_as_a_config(corpus: Corpus, tmp_path: Path, *, streaming: bool) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    to_huggingface(corpus, tmp_path / "out")
    for name, domain in corpus.domains.items():
        found = datasets.load_dataset(
            str(tmp_path / "out"), name, split="train", streaming=streaming, cache_dir=str(tmp_path / "cache")
        )
        tokens, length = rows_of(domain)
        read = list(found)
        assert np.array_equal([row["tokens"] for row in read], tokens)
        assert [row["length"] for row in read] == length.tolist()
        assert read[0]["starts"][0] == 0 and read[0]["documents"][0] == "doc0"


def test_a_domain_without_rows_is_no_config(tmp_path: Path) -> None:
    # datasets refuses a config without files, and an empty file is no valid one to it
    given = {**documents(500), "nothing": []}
    to_huggingface(make_corpus(tmp_path / "corpus", given, length=16, vocab=500), tmp_path / "out")
    assert "nothing" not in (tmp_path / "out" / "README.md").read_text()


def test_shards_are_linked_and_named_by_split(corpus: Corpus, tmp_path: Path) -> None:
    to_huggingface(corpus, tmp_path / "out")
    source, target = (
        tmp_path / "corpus" / "books-1.parquet",
        tmp_path / "out" / "books" / "train-00001-of-00002.parquet",
    )
    assert target.samefile(source)


def test_shards_are_copied_where_links_cannot_be_made(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr("os.link", refuse)
    to_huggingface(corpus, tmp_path / "out")
    target = tmp_path / "out" / "books" / "train-00000-of-00002.parquet"
    assert target.read_bytes() == (tmp_path / "corpus" / "books-0.parquet").read_bytes()


def test_text_that_is_tokenised_on_the_fly_has_no_shards_to_lay_out(corpus: Corpus, tmp_path: Path) -> None:
    class Reader:
        def read(self, block: Block) -> Rows:
            raise NotImplementedError

    books = corpus.domains["books"]
    text = Corpus(**{**corpus.__dict__, "domains": {"books": Domain("books", books.blocks, Reader(), books.tokens)}})
    with pytest.raises(TrainingError, match="holds text"):
        to_huggingface(text, tmp_path / "out")
    assert not (tmp_path / "out").exists()
