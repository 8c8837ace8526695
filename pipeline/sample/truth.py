"""What the sample crawl holds: one line per page in ``truth.jsonl``, the totals in ``summary.json``."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

VERSION = 1
"""Raised with every change of the bytes that ``generate`` writes."""


@dataclass(frozen=True)
class SampleTruth:
    """Totals of a sample crawl.

    Sound records and damaged regions are counted apart. A damaged region is a record with a false Content-Length, one
    with flipped bits, one that the end of the file cuts off, or a run of bytes between records: each is one region, and
    a reader that accounts for every byte reports each once. So ``read == records + damaged``.
    """

    root: Path
    version: int
    seed: int
    files: tuple[str, ...]
    """Paths of the WARC files below ``root``."""
    pages: int
    """Captures of pages, each in one record of type response or revisit; damaged ones are not among them."""
    records: int
    """Sound WARC records of all types."""
    damaged: int
    record_types: dict[str, int]
    kinds: dict[str, int]
    """Pages by kind, see ``KINDS`` of the modules ``thin`` and ``markup``; copies have the kind of their original."""
    languages: dict[str, int]
    charsets: dict[str, int]
    problems: dict[str, int]
    """Pages by what is wrong with their transport, see ``transport.PROBLEMS``; sound ones are not counted."""
    exact_duplicates: int
    """Pages with the bytes of another page: recrawled, or under another address."""
    syndicated: int
    """Pages with the text of another page in another frame."""
    near_duplicates: dict[str, int]
    """Pages by the similarity they were edited to."""
    pii: dict[str, int]
    """Planted values by kind, copies included."""
    unsafe: dict[str, int]

    @property
    def read(self) -> int:
        """What a reader's ledger should count in total."""
        return self.records + self.damaged

    def save(self) -> None:
        """Write ``summary.json`` below ``root``."""
        fields = dataclasses.asdict(self) | {"read": self.read}
        del fields["root"]
        (self.root / "summary.json").write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def tally(
    root: Path, *, seed: int, files: list[str], lines: list[dict[str, object]], written: Counter[str], damaged: int
) -> SampleTruth:
    """Totals over the truth lines of all pages and over the records written."""
    pages = [line for line in lines if "damage" not in line]

    def count(key: str) -> dict[str, int]:
        return dict(sorted(Counter(str(line[key]) for line in pages if key in line).items()))

    planted: Counter[str] = Counter()
    for line in pages:
        found = line.get("pii", [])
        assert isinstance(found, list)
        planted.update(str(value["kind"]) for value in found)
    relations = count("relation")
    return SampleTruth(
        root=root,
        version=VERSION,
        seed=seed,
        files=tuple(files),
        pages=len(pages),
        records=sum(written.values()),
        damaged=damaged,
        record_types=dict(sorted(written.items())),
        kinds=count("kind"),
        languages=count("language"),
        charsets=count("charset"),
        problems=count("problem"),
        exact_duplicates=relations.get("recrawl", 0) + relations.get("mirror", 0),
        syndicated=relations.get("syndicated", 0),
        near_duplicates=count("target"),
        pii=dict(sorted(planted.items())),
        unsafe=count("unsafe"),
    )
