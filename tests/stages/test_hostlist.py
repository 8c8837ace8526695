"""Compiled lists: what goes in comes out, whatever the packaging, the size and the number of workers."""

from __future__ import annotations

import gzip
import io
import multiprocessing
import tarfile
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import StageError
from stages.hostlist import ListFile, canonical_url, load_hashes, read_entries
from stages.list_kernel import entry_hash

LINES = b"one.example\n0.0.0.0 two.example\n# three.example\n"


def entries(*names: str) -> list[int]:
    return sorted(entry_hash(name.encode(), paths=False) for name in names)


def test_plain_gzip_zstd_and_tar_give_the_same_hashes(tmp_path):
    (tmp_path / "a.txt").write_bytes(LINES)
    (tmp_path / "a.gz").write_bytes(gzip.compress(LINES[:20]) + gzip.compress(LINES[20:]))
    (tmp_path / "a.zst").write_bytes(zstandard.compress(LINES))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("domains")
        info.size = len(LINES)
        archive.addfile(info, io.BytesIO(LINES))
    lists = [ListFile(path=tmp_path / name) for name in ("a.txt", "a.gz", "a.zst")]
    lists.append(ListFile(path=tmp_path / "a.tar.gz", member="domains"))
    for each in lists:
        assert load_hashes([each], folder=tmp_path / "cache").tolist() == entries("one.example", "two.example")


def test_several_lists_become_one_whatever_their_order(tmp_path):
    (tmp_path / "a").write_text("one.example")
    (tmp_path / "b").write_text("two.example\n")
    a, b = ListFile(path=tmp_path / "a"), ListFile(path=tmp_path / "b")
    assert load_hashes([a, b], folder=tmp_path).tolist() == entries("one.example", "two.example")
    load_hashes([b, a], folder=tmp_path)
    assert len(list(tmp_path.glob("*.hashes"))) == 1


def test_a_changed_list_is_compiled_anew(tmp_path):
    file = tmp_path / "a"
    file.write_text("one.example")
    assert load_hashes([ListFile(path=file)], folder=tmp_path).tolist() == entries("one.example")
    file.write_text("two.example")
    assert load_hashes([ListFile(path=file)], folder=tmp_path).tolist() == entries("two.example")


def test_lines_across_block_borders_are_whole(tmp_path, monkeypatch):
    names = [f"host-{n}.example" for n in range(2000)]
    (tmp_path / "a").write_text("\n".join(names))
    monkeypatch.setattr("stages.hostlist._BLOCK", 97)
    assert load_hashes([ListFile(path=tmp_path / "a")], folder=tmp_path).tolist() == entries(*names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# nothing\n", "no entry"),
        (b"", "no entry"),
        (b"one.example\0", "not text"),
        ("one.example".encode("utf-16"), "not text"),
        (b"a" * (2 << 20), "over a megabyte"),
    ],
)
def test_what_is_no_list_is_a_clear_error_and_leaves_no_file(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(StageError, match=message):
        load_hashes([ListFile(path=tmp_path / "a")], folder=tmp_path / "cache")
    assert not [*(tmp_path / "cache").glob("*.hashes"), *(tmp_path / "cache").glob("*.part")]


@pytest.mark.parametrize(("name", "pack"), [("a.gz", gzip.compress), ("a.zst", zstandard.compress)])
def test_a_cut_archive_is_an_error_not_a_shorter_list(tmp_path, name, pack):
    packed = pack("\n".join(f"host-{n * 7919 % 10007}.example" for n in range(10000)).encode())
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(StageError, match="cannot be read"):
        load_hashes([ListFile(path=tmp_path / name)], folder=tmp_path)


def _load(path: Path, folder: Path) -> list[int]:
    return load_hashes([ListFile(path=path)], folder=folder).tolist()


def test_many_workers_at_once_get_the_same_list(tmp_path):
    names = [f"host-{n}.example" for n in range(5000)]
    (tmp_path / "a").write_text("\n".join(names))
    with multiprocessing.get_context("fork").Pool(6) as pool:
        results = pool.starmap(_load, [(tmp_path / "a", tmp_path / "cache")] * 6, chunksize=1)
    assert all(result == entries(*names) for result in results)
    assert len(list((tmp_path / "cache").glob("*.hashes"))) == 1


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "a").write_text("one.example")
    (tmp_path / "file").write_text("")
    with pytest.raises(StageError, match="cannot be compiled"):
        load_hashes([ListFile(path=tmp_path / "a")], folder=tmp_path / "file" / "cache")


@given(
    st.lists(
        st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){1,3}", fullmatch=True), min_size=1, max_size=30, unique=True
    )
)
@settings(max_examples=40)
def test_every_entry_is_found_and_hashes_are_sorted(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("list")
    (folder / "a").write_text("\n".join(names))
    hashes = load_hashes([ListFile(path=folder / "a")], folder=folder)
    assert (np.diff(hashes.astype(object)) >= 0).all()
    assert set(entries(*names)) == set(hashes.tolist())


@pytest.mark.parametrize(
    "url",
    [b"http://x.org/a", b"x", b"", b"http://" + "bücher.de/ü".encode(), b"http://%ff.org", b"http://" + b"\xff" * 9],
)
def test_canonical_urls_are_ascii_hosts_or_none(url):
    done = canonical_url(url)
    assert done is None or done.split(b"//")[-1].split(b"/")[0].isascii()


def test_entries_of_small_lists_are_small_letters_without_comments(tmp_path):
    (tmp_path / "a").write_text("\ufeffTwo Words\n\n#no\n  x \n")
    assert read_entries(tmp_path / "a") == {"two words", "x"}
