"""Compiled code must never be older than any source it was made from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stages.kernel_cache import digest, key_kernel_cache, sources

TREE = {
    "a/kernel.py": "from stages.a.parts import (\n    x,\n)\nfrom stages.a import bits\n@njit\ndef f(): ...\n",
    "a/parts.py": "from stages.deep import y\n",
    "a/bits.py": "ONE = 1\n",
    "deep.py": "y = 2\n",
    "apart.py": "z = 3\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_everything_that_a_kernel_is_made_from_counts(tree: Path) -> None:
    assert [path.relative_to(tree).as_posix() for path in sources(tree)] == [*sorted(set(TREE) - {"apart.py"})]


@pytest.mark.parametrize(("name", "changes"), [("deep.py", True), ("a/bits.py", True), ("apart.py", False)])
def test_the_digest_follows_the_sources(tree: Path, name: str, changes: bool) -> None:
    before = digest(tree)
    (tree / name).write_text("other = 9\n")
    assert (digest(tree) != before) is changes


def test_keying_twice_gives_the_same_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tree / "cache"))
    import numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR)
    first = key_kernel_cache(tree)
    assert first.parent == tree / "cache"
    assert os.environ["NUMBA_CACHE_DIR"] == numba.config.CACHE_DIR == str(first)
    assert key_kernel_cache(tree) == first
