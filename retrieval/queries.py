"""Queries: what is asked, who asked it, and from which seed it comes."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import pyarrow as pa
import xxhash

from stages.word_hash import hash_words

Kind = Literal["seed", "question", "thought", "keyphrase"]


class Query(NamedTuple):
    """One query with its lineage. Field for field the columns of ``QUERIES``."""

    id: str
    text: str
    kind: Kind
    round: int
    domain: str
    parent: str | None = None
    """The query it was made from; null for seeds."""
    seed: str | None = None
    """The seed at the root of its line: its own id for a seed."""
    origin: str = ""
    """Where a seed stands (file and record), or what wrote the query and in which version."""
    model: str | None = None
    """The language model as its server names it; null where none was asked."""
    sampling: str | None = None
    """How the answer was drawn: temperature, top_p, max_tokens, seed and stop, as JSON."""


QUERIES: Final = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        ("kind", pa.string()),
        ("round", pa.int32()),
        ("domain", pa.string()),
        ("parent", pa.string()),
        ("seed", pa.string()),
        ("origin", pa.string()),
        ("model", pa.string()),
        ("sampling", pa.string()),
    ]
)

if Query._fields != tuple(QUERIES.names):  # the two must not drift apart
    raise TypeError(f"Query {Query._fields} does not match QUERIES {QUERIES.names}")


def query_id(domain: str, text: str) -> str:
    """16 hex digits: the same question has the same id in every run."""
    return xxhash.xxh3_64_hexdigest(f"{domain}\0{text}".encode("utf-8", "surrogatepass"))


def wording(text: str) -> bytes:
    """The words of a query without case and punctuation: two queries with the same are one."""
    return hash_words(text).tobytes()


def to_table(queries: list[Query]) -> pa.Table:
    """Queries as a table of schema ``QUERIES``."""
    columns = zip(*queries, strict=True) if queries else [()] * len(QUERIES)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, QUERIES, strict=True)]
    return pa.Table.from_arrays(arrays, schema=QUERIES)


def from_table(table: pa.Table) -> list[Query]:
    """The opposite of ``to_table``."""
    return [Query(**row) for row in table.select(QUERIES.names).to_pylist()]
