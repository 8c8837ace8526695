"""Which part a piece of training text falls into: near duplicates never into different ones.

A score measured on texts that resemble those of the training flatters. So pieces of all sources are compared with each
other by the product's own deduplication (MinHash, pairs verified by true Jaccard similarity), and a group of near
duplicates goes into one part as a whole: 80 % of the groups train, 10 % calibrate, 10 % test, by a hash of the group's
first name. Adding sources moves only what resembles them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

import pyarrow as pa

from stages.dedup.config import Dedup
from stages.dedup.in_memory import deduplicate

Part = Literal["train", "calibrate", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "calibrate", "test")

ALIKE: Final = Dedup(ngram=3, jaccard=0.5, bands=32, rows=4)
"""Half of the three-word shingles in common: posts are short, and a changed name must not hide a copy."""


def part_of(key: str) -> Part:
    """80 % train, 10 % calibrate, 10 % test, by a hash: the same key always falls into the same part."""
    draw = hashlib.blake2b(key.encode(), digest_size=4).digest()[0]
    return "train" if draw < 205 else "calibrate" if draw < 231 else "test"


def parts_of(texts: Mapping[str, str]) -> dict[str, Part]:
    """The part of every text by its name. Linear in the texts; a second per thirty thousand posts."""
    group = {name: name for name in texts} | {name: cluster for name, cluster in _alike(texts) if cluster}
    first: dict[str, str] = {}  # a cluster is named after its longest text, and a longer one may join it
    for name in sorted(texts):
        first.setdefault(group[name], name)
    return {name: part_of(first[group[name]]) for name in texts}


def representatives(texts: Mapping[str, str]) -> set[str]:
    """The names of the texts that are left when near duplicates are removed."""
    return set(texts) - {name for name, cluster in _alike(texts) if cluster not in (None, name)}


def _alike(texts: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Names with the name of their cluster; None for those that are like no other."""
    nothing = pa.nulls(len(texts), pa.string())
    content = pa.array(texts.values(), pa.large_string())
    rows = pa.table({"id": pa.array(texts, pa.string()), "crawl": nothing, "date": nothing, "content": content})
    verdicts = deduplicate([rows], ALIKE)
    return list(zip(verdicts.column("id").to_pylist(), verdicts.column("cluster").to_pylist(), strict=True))
