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
    domains: dict[str, tuple[str, ...]] = {}
    """Domain -> values of `domain_field` that belong to it, others are left out. Empty: each value is a domain."""
    per_value: int | None = Field(default=None, ge=1)
    """Of each value of `domain_field` (or of the whole source), take this many seeds at most, the first ones."""

    @model_validator(mode="after")
    def _check(self) -> SeedSource:
        if bool(self.path) == bool(self.texts):
            raise ValueError("a seed source has either path or texts")
        if bool(self.domain) == bool(self.domain_field):
            raise ValueError("a seed source has either domain or domain_field")
        if self.texts and self.domain_field:
            raise ValueError("texts have no fields: name their domain")
        values = [value for some in self.domains.values() for value in some]
        if self.domains and (not self.domain_field or len(set(values)) < len(values)):
            raise ValueError("domains sorts the values of domain_field, each into one domain")
        return self


def read_seeds(sources: Sequence[SeedSource]) -> list[Query]:
    """The seeds of all sources as queries of round 0, in order, none twice within a domain.

    Raises ``ManifestError`` for a source that cannot be read or holds no seed at all.
    """
    seen: set[tuple[str, bytes]] = set()
    seeds: list[Query] = []
    for source in sources:
        taken: Counter[str] = Counter()
        found = list(_read(source))
        for value, seed in found:
            key = (seed.domain, wording(seed.text))
            if key not in seen and taken[value] < (source.per_value or len(found)):
                seen.add(key)
                taken[value] += 1
                seeds.append(seed)
        missing = {value for some in source.domains.values() for value in some} - {value for value, _ in found}
        if missing:
            raise ManifestError(
                f"no seed has {min(missing)!r} as its {source.domain_field}",
                where=source.path or "",
                fix="check domains:",
            )
    if not seeds:
        raise ManifestError("there is not one seed", fix="name a file with seeds, or write some under texts:")
    return seeds


def _read(source: SeedSource) -> Iterator[tuple[str, Query]]:
    """(value of its domain field, seed) of everything in a source."""
    count = 0
    for raw, value, domain, origin in _texts(source):
        text = " ".join(compose(raw)[0].split())[:LONGEST]
        if not wording(text):
            continue
        count += 1
        identity = query_id(domain, text)
        yield value, Query(identity, text, "seed", 0, domain, seed=identity, origin=origin)
    if not count:
        raise ManifestError(
            "a source of seeds holds none",
            where=source.path or "texts",
            fix=f"its records need the field {source.field!r}" if source.path else "write at least one word",
        )


def _texts(source: SeedSource) -> Iterator[tuple[str, str, str, str]]:
    """(text, value of its domain field, domain, where it stands) of everything in a source."""
    if source.path is None:
        assert source.domain is not None
        for text in source.texts:
            yield text, "", source.domain, "manifest"
        return
    path = Path(source.path)
    if not path.is_file():
        fix = "paths are relative to where the run is started"
        raise ManifestError(f"there is no file of seeds at {path}", fix=fix)
    sorted_into = {value: domain for domain, values in source.domains.items() for value in values}
    try:
        for number, record in enumerate(_records(path), 1):
            seed: Any = record.get(source.field)
            value: Any = "" if source.domain else record.get(source.domain_field or "")
            domain = source.domain or (sorted_into.get(value) if source.domains else value)
            if isinstance(seed, str) and isinstance(domain, str) and domain:
                yield seed, str(value), domain, f"{path.name}: {record.get(source.id_field) or f'record {number}'}"
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
