"""Seeds: questions, keywords, category names or passages that say what is looked for, each under a domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from corpus.errors import ManifestError, StageError
from corpus.settings import Settings
from retrieval.queries import Query, query_id, wording
from stages.benchmark_items import read_records
from stages.normalise import compose

LONGEST = 4000  # characters of a seed that are used


class SeedSource(Settings):
    """Where seeds come from: a file of records, or texts written here."""

    path: str | None = None
    """JSON lines (.zst, .gz too), Parquet, or .txt with a seed on each line."""
    texts: tuple[str, ...] = ()
    """Seeds written down here: category names, keywords, questions."""
    field: str = "question"
    """Field of a record that holds the seed."""
    id_field: str = "id"
    """Field with the record's id."""
    domain: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Domain of all these seeds: the label of what they find."""
    domain_field: str | None = None
    """Field of a record that names its domain, such as `subject`."""
    only: tuple[str, ...] = ()
    """Of `domain_field`, take these values only. Empty: all."""
    per_domain: int | None = Field(default=None, ge=1)
    """Take this many seeds of each domain at most, the first ones."""

    @model_validator(mode="after")
    def _check(self) -> SeedSource:
        if bool(self.path) == bool(self.texts):
            raise ValueError("a seed source has either path or texts")
        if bool(self.domain) == bool(self.domain_field):
            raise ValueError("a seed source has either domain or domain_field")
        if self.texts and self.domain_field:
            raise ValueError("texts have no fields: name their domain")
        return self


def read_seeds(sources: Sequence[SeedSource]) -> list[Query]:
    """The seeds of all sources as queries of round 0, in order, none twice within a domain.

    Raises ``ManifestError`` for a source that cannot be read or holds no seed at all.
    """
    seen: set[tuple[str, bytes]] = set()
    seeds: list[Query] = []
    for source in sources:
        found = [seed for seed in _read(source) if (seed.domain, wording(seed.text)) not in seen]
        taken: Counter[str] = Counter()
        for seed in found:
            key = (seed.domain, wording(seed.text))
            if key not in seen and taken[seed.domain] < (source.per_domain or len(found)):
                seen.add(key)
                taken[seed.domain] += 1
                seeds.append(seed)
        missing = sorted(set(source.only) - {seed.domain for seed in _read(source)}) if source.only else []
        if missing:
            raise ManifestError(
                f"no seed is of {source.domain_field} {missing[0]!r}", where=source.path or "", fix="check only:"
            )
    if not seeds:
        raise ManifestError("there is not one seed", fix="name a file with seeds, or write some under texts:")
    return seeds


def _read(source: SeedSource) -> Iterator[Query]:
    count = 0
    for raw, domain, origin in _texts(source):
        text = " ".join(compose(raw)[0].split())[:LONGEST]
        if not wording(text):
            continue
        count += 1
        identity = query_id(domain, text)
        yield Query(identity, text, "seed", 0, domain, seed=identity, origin=origin)
    if not count:
        raise ManifestError(
            "a source of seeds holds none",
            where=source.path or "texts",
            fix=f"its records need the field {source.field!r}" if source.path else "write at least one word",
        )


def _texts(source: SeedSource) -> Iterator[tuple[str, str, str]]:
    """(text, domain, where it stands) of everything in a source."""
    if source.path is None:
        assert source.domain is not None
        for text in source.texts:
            yield text, source.domain, "manifest"
        return
    path = Path(source.path)
    if not path.is_file():
        raise ManifestError(
            f"there is no file of seeds at {path}", fix="paths are relative to where the run is started"
        )
    try:
        for number, record in enumerate(_records(path), 1):
            value: Any = record.get(source.field)
            domain: Any = source.domain or record.get(source.domain_field or "")
            if not isinstance(value, str) or not isinstance(domain, str) or (source.only and domain not in source.only):
                continue
            yield value, domain, f"{path.name}: {record.get(source.id_field) or f'record {number}'}"
    except (OSError, ValueError, StageError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"a file of seeds cannot be read: {error}", where=str(path)) from error


def _records(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() != ".txt":
        yield from read_records(path)
        return
    for line in path.read_text("utf-8-sig", errors="replace").splitlines():
        yield {"question": line}
