"""Token corpora of a real run: what is opened is what was recorded, or an error that says which file and what to do."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.commit import CorpusManifest, publish_corpus
from corpus.errors import StorageError, TrainingError
from corpus.ledger import Ledger
from corpus.storage import LocalStore, open_store, publish_file
from tests.training.data.made import open_loader, take
from training.data.packing import pack
from training.data.rows import from_table, rows_per_block, to_table, token_dtype, token_schema
from training.data.source import block_rows, open_tokens


@pytest.fixture
def copy(made, tmp_path):
    """The corpus in a folder of its own, to be damaged."""
    shutil.copytree(made.out, tmp_path / "copy")
    return tmp_path / "copy"


def shards(folder):
    return sorted((folder / "tokens").glob("*.parquet"))


def flip(path, at, bit=0x41):
    """Change one byte; the size stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.unlink()  # published files are links to work files
    path.write_bytes(data)


def test_the_corpus_is_what_its_shards_hold(made):
    corpus = open_tokens(str(made.out))
    assert set(corpus.domains) == set(made.sources)
    assert corpus.sequence_length == 16
    for name, domain in corpus.domains.items():
        read = [domain.read(block) for block in domain.blocks]
        assert block_rows(domain.blocks).tolist() == [len(rows.length) for rows in read]
        assert domain.rows == sum(len(rows.length) for rows in read)
        assert domain.tokens == sum(int(rows.length.sum()) for rows in read)
        assert all(rows.tokens.shape[1] == 17 for rows in read)
        assert all(rows.tokens.dtype == corpus.dtype == np.uint16 for rows in read)
        assert len({block.file for block in domain.blocks}) == len(made.sources[name])
    assert len(corpus.domains["long"].blocks) > len(made.sources["long"])  # a file of two row groups
    shares = corpus.proportions()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["long"] > shares["many"] > shares["few"] > 0


def test_both_splits_open_and_are_different_corpora(made):
    train, held_out = open_tokens(str(made.out)), open_tokens(str(made.out), "held_out")
    assert train.digest != held_out.digest
    assert train.tokenizer_digest == held_out.tokenizer_digest
    assert train.tokenizer == held_out.tokenizer
    assert sum(domain.rows for domain in held_out.domains.values()) > 0


def test_files_are_hashed_once(made, cache, tmp_path):
    shutil.copytree(made.out, tmp_path / "again")
    said = []
    open_tokens(str(tmp_path / "again"), tell=said.append)
    assert len(said) == 1
    assert said[0].startswith("hashed ")
    said.clear()
    open_tokens(str(tmp_path / "again"), tell=said.append)
    assert said == []
    (cache / "hashed.json").write_text("{garbage")
    open_tokens(str(tmp_path / "again"), tell=said.append)
    assert len(said) == 1


def test_nothing_published(tmp_path):
    with pytest.raises(TrainingError, match="nothing has been published") as caught:
        open_tokens(str(tmp_path))
    assert "tokenize" in caught.value.fix


def test_text_instead_of_tokens(tmp_path):
    store = LocalStore(str(tmp_path / "text"))
    staged = store.staging() / "documents.parquet"
    pq.write_table(pa.table({"id": ["a"], "content": ["text"]}), staged)
    entry = publish_file(store, staged, "documents/part-00000-00000000.parquet", rows=1)
    publish_corpus(
        store, CorpusManifest(name="t", files={"documents": (entry,)}, ledger=Ledger(), stages=(), code="c"), {}
    )
    with pytest.raises(TrainingError, match="holds text, not tokens"):
        open_tokens(str(tmp_path / "text"))


def test_an_unknown_split(made):
    with pytest.raises(TrainingError, match="no split 'validation'") as caught:
        open_tokens(str(made.out), "validation")
    assert caught.value.fix == "it has: held_out, train"


def test_missing_and_shortened_shards_are_all_named(copy):
    first, second = shards(copy)[:2]
    first.unlink()
    data = second.read_bytes()
    second.unlink()
    second.write_bytes(data[:-1])
    with pytest.raises(StorageError, match=r"2 of \d+ files") as caught:
        open_tokens(str(copy))
    assert f"{first.name} is missing" in caught.value.what
    assert f"{second.name} has {len(data) - 1} bytes instead of {len(data)}" in caught.value.what
    assert "run the manifest" in caught.value.fix


@pytest.mark.parametrize("place", [0.1, 0.5, 0.999])
def test_one_altered_byte_is_found_before_training_and_named(copy, place):
    open_tokens(str(copy))  # its hash is known by now
    victim = shards(copy)[3]
    flip(victim, int(victim.stat().st_size * place))
    with pytest.raises(StorageError, match=f"{victim.name} was altered"):
        open_tokens(str(copy))
    if place < 0.9:  # a torn footer cannot be read at all
        open_tokens(str(copy), verify="size")


def test_an_altered_byte_is_found_though_the_time_of_change_was_set_back(copy):
    open_tokens(str(copy))
    victim = shards(copy)[2]
    before = victim.stat()
    data = bytearray(victim.read_bytes())
    data[200] ^= 1
    with victim.open("r+b") as file:
        file.write(data)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(StorageError, match=f"{victim.name} was altered"):
        open_tokens(str(copy))


@pytest.mark.parametrize("what", ["index", "tokenizer"])
def test_an_altered_index_or_tokenizer_is_refused(copy, what):
    (victim,) = (copy / "tokens").glob(f"{what}-*.json")
    flip(victim, 40)
    with pytest.raises(StorageError, match="is not the file that was written"):
        open_tokens(str(copy))


def test_an_altered_manifest_is_refused(copy):
    (victim,) = (copy / "manifests").glob("*.json")
    flip(victim, 40)
    with pytest.raises(StorageError, match="was changed after it was written"):
        open_tokens(str(copy))


def data_pages(path, group):
    """Where the compressed tokens of a row group lie in the file."""
    footer = pq.read_metadata(path).row_group(group)
    column = next(c for c in map(footer.column, range(footer.num_columns)) if c.path_in_schema.startswith("tokens"))
    return column.data_page_offset, column.total_compressed_size


@pytest.mark.parametrize("threads", [0, 2])
def test_a_shard_altered_while_training_stops_it_with_shard_and_row_group(copy, threads):
    corpus = open_tokens(str(copy))
    domain = corpus.domains["long"]
    victim = shards(copy)[0]
    offset, size = data_pages(victim, 1)
    flip(victim, offset + size // 2)
    loader = open_loader(corpus, weights={"long": 1.0}, threads=threads, window=1)
    with pytest.raises(StorageError, match="cannot be read") as caught:
        for _ in range(domain.rows // 8):
            take(loader, 400)
    assert victim.name in caught.value.where
    assert "row group 1" in caught.value.where
    assert "run the manifest" in caught.value.fix
    # the intact row group is still read
    assert len(domain.read(domain.blocks[0]).length) == domain.blocks[0].rows


def test_damage_that_decompresses_to_other_tokens_is_found_by_the_page_checksum(copy):
    corpus = open_tokens(str(copy))
    domain = corpus.domains["many"]
    block = domain.blocks[0]
    victim = next(path for path in shards(copy) if pq.read_metadata(path).num_rows == block.rows)
    sound = victim.read_bytes()
    before = pq.read_table(victim, columns=["tokens"])
    offset, size = data_pages(victim, 0)

    def silent(at):
        """Whether another bit there gives other tokens and no error to a reader that does not compare checksums."""
        damaged = bytearray(sound)
        damaged[at] ^= 1
        try:
            found = pq.read_table(pa.BufferReader(bytes(damaged)), columns=["tokens"])
        except (OSError, pa.ArrowException):
            return False
        return found.num_rows == before.num_rows and not found.equals(before)

    flip(victim, next(at for at in range(offset + size - 1, offset, -1) if silent(at)), bit=1)
    with pytest.raises(StorageError, match="cannot be read") as caught:
        domain.read(block)
    assert f"{victim.name}, row group 0" in caught.value.where


def test_a_shard_replaced_by_one_with_other_rows_stops_training(copy):
    corpus = open_tokens(str(copy))
    domain = corpus.domains["few"]
    block = domain.blocks[0]
    victim, other = (
        next(path for path in shards(copy) if pq.read_metadata(path).num_rows == rows)
        for rows in (block.rows, corpus.domains["many"].blocks[0].rows)
    )
    victim.unlink()
    shutil.copy(other, victim)
    with pytest.raises(StorageError, match=f"rows instead of {block.rows}") as caught:
        domain.read(block)
    assert f"{victim.name}, row group 0" in caught.value.where


def test_a_shard_of_another_row_length_or_no_parquet_stops_training(copy):
    corpus = open_tokens(str(copy))
    domain = corpus.domains["few"]
    victim = next(path for path in shards(copy) if pq.read_metadata(path).num_rows == domain.blocks[0].rows)
    schema = token_schema(400)
    table = to_table(pack(np.arange(90, dtype=np.uint16), np.array([0, 90]), 9, "concat", 0), ["a"], schema)
    victim.unlink()
    pq.write_table(table, victim)
    with pytest.raises(StorageError, match="not 17 each"):
        domain.read(domain.blocks[0])
    victim.write_bytes(b"PAR1 nothing of the kind PAR1")
    with pytest.raises(StorageError, match="cannot be read"):
        pickle.loads(pickle.dumps(domain)).read(domain.blocks[0])  # in another process


def test_rows_of_another_packing_version_are_refused(made, tmp_path):
    from corpus.commit import canonical_json, current_manifest
    from corpus.storage import publish_bytes

    store = open_store(str(made.out))
    manifest = current_manifest(store)
    index = json.loads(store.read(manifest.files["index"][0].name))
    other = LocalStore(str(tmp_path / "other"))
    entry = publish_bytes(other, canonical_json({**index, "packing_version": 99}), "tokens/index-00000000.json")
    publish_corpus(other, manifest.model_copy(update={"files": {**manifest.files, "index": (entry,)}}), {})
    with pytest.raises(TrainingError, match="packed by version 99"):
        open_tokens(str(tmp_path / "other"))


def test_blocks_are_read_from_any_thread_and_after_a_copy_to_another_process(made):
    corpus = open_tokens(str(made.out))
    blocks = [(domain, block) for domain in corpus.domains.values() for block in domain.blocks]
    alone = [domain.read(block).tokens for domain, block in blocks]
    with ThreadPoolExecutor(4) as pool:
        for again in (blocks, blocks[::-1]):
            found = list(pool.map(lambda pair: pair[0].read(pair[1]).tokens, again))
            assert all(
                np.array_equal(a, b) for a, b in zip(found, alone if again is blocks else alone[::-1], strict=True)
            )
    copied = pickle.loads(pickle.dumps(corpus))
    name, block = "many", corpus.domains["many"].blocks[2]
    assert np.array_equal(copied.domains[name].read(block).tokens, corpus.domains[name].read(block).tokens)


def test_a_corpus_in_a_remote_place_is_copied_and_checked(made, copy):
    import fsspec

    remote = fsspec.filesystem("memory")
    for path in sorted(made.out.rglob("*")):
        if path.is_file() and ".work" not in path.parts:
            remote.pipe_file(f"/made/{path.relative_to(made.out)}", path.read_bytes())
    here, there = open_tokens(str(made.out)), open_tokens("memory://made")
    assert here.digest == there.digest
    block = here.domains["many"].blocks[1]
    assert np.array_equal(here.domains["many"].read(block).tokens, there.domains["many"].read(block).tokens)
    (name,) = [path for path in remote.ls("/made/tokens", detail=False) if "part-00000" in path]
    data = bytearray(remote.cat_file(name))
    data[100] ^= 1
    remote.pipe_file(name, bytes(data))
    with pytest.raises(StorageError, match=Path(name).name):
        open_tokens("memory://made").domains["long"].read(here.domains["long"].blocks[0])


@pytest.mark.parametrize("vocab", [300, 1 << 16, (1 << 16) + 1])
def test_rows_survive_the_way_through_a_table(vocab):
    tokens = np.array([vocab - 1, 1, 2, 0, 5, 0, 6, 7, 8, 9, 0], token_dtype(vocab))
    packed = pack(tokens, np.array([0, 4, 6, 6, 11]), 4, "best_fit", 0)
    table = to_table(packed, ["a", "b", "c", "d"], token_schema(vocab))
    rows = from_table(table.select(["tokens", "length", "starts"]), 4)
    for name in ("tokens", "length", "offsets", "starts"):
        assert np.array_equal(getattr(rows, name), getattr(packed, name)), name
    assert rows.tokens.dtype == token_dtype(vocab)
    later = from_table(table.slice(1).select(["tokens", "length", "starts"]), 4)
    assert np.array_equal(later.tokens, packed.tokens[1:])
    assert later.offsets.tolist() == (packed.offsets[1:] - packed.offsets[1]).tolist()


def test_a_row_group_is_half_a_megabyte_of_tokens_and_at_least_a_row():
    assert rows_per_block(2049, 32_000) == (1 << 19) // (2049 * 2)
    assert rows_per_block(2049, 100_000) == (1 << 19) // (2049 * 4)
    assert rows_per_block(1 << 21, 300) == 1
