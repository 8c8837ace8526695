"""Pages that belong together: of one host, or near duplicates of each other. A group is never parted between folds.

Scores on hosts that were seen in training flatter: templates repeat. Where the address of a page is not known its
group is found by near duplication alone, and hosts of that kind may be on both sides; the card counts them.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

import numpy as np
import tldextract
from numpy.typing import NDArray

SHINGLE = 5  # words
SKETCH = 48  # smallest shingle hashes kept of a page
SHARED = 16  # so many in common make near duplicates
COMMON = 40  # shingles of more pages than this are boilerplate and join nothing
UNKNOWN_HOST = ".invalid"


def host_of(url: str | None) -> str | None:
    """The registered domain of a page's address, as ``example.co.uk``; None where it is not known."""
    try:
        host = (urlsplit(url or "").hostname or "").lower()
    except ValueError:
        return None
    if not host or host.endswith(UNKNOWN_HOST):
        return None
    return _public_suffixes()(host).top_domain_under_public_suffix or host


@functools.cache
def _public_suffixes() -> tldextract.TLDExtract:
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list of the package, nothing is fetched


def find_groups(hosts: Sequence[str | None], sketches: Sequence[NDArray[np.uint64]]) -> list[int]:
    """A number per page; pages of one host, near duplicates, and all that these join, have the same one."""
    parent = list(range(len(hosts)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    def join(one: int, other: int) -> None:
        a, b = sorted((root(one), root(other)))
        parent[b] = a

    first: dict[str, int] = {}
    for at, host in enumerate(hosts):
        if host is not None:
            join(first.setdefault(host, at), at)
    for one, other in _near(sketches):
        join(one, other)
    return [root(at) for at in range(len(hosts))]


def sketch(words: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """The smallest hashes of a page's five-word shingles: pages that share many of them share most of their text."""
    if len(words) < SHINGLE:
        return np.zeros(0, np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(words.astype(np.uint64), SHINGLE)
    mixed = np.zeros(len(windows), np.uint64)
    for column in range(SHINGLE):
        mixed = (mixed ^ windows[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed)[:SKETCH]


def _near(sketches: Sequence[NDArray[np.uint64]]) -> Iterable[tuple[int, int]]:
    holders: dict[int, list[int]] = defaultdict(list)
    for at, hashes in enumerate(sketches):
        for value in hashes.tolist():
            holders[value].append(at)
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for pages in holders.values():
        if len(pages) <= COMMON:
            for place, one in enumerate(pages):
                for other in pages[place + 1 :]:
                    shared[one, other] += 1
    return [pair for pair, count in shared.items() if count >= SHARED]


def fold_of(key: str, folds: int) -> int:
    """The fold of a group, by a hash of its name: adding pages moves no other group."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % folds
