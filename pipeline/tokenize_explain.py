"""Where a document stands in a token corpus: the rows that hold pieces of it, and what the model reads there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from corpus.commit import CorpusManifest
from corpus.storage import Store, fetch
from pipeline import console
from pipeline.explain import open_shard
from training.data.source import read_index
from training.data.tokenizer import read_tokenizer


def find_rows(store: Store, manifest: CorpusManifest, document: str) -> list[dict[str, Any]]:
    """The pieces of the document with this id, in the order of the shards; an empty list where there is none."""
    index = read_index(store, manifest)
    with fetch(store, manifest.files["tokenizer"][0]) as file:
        tokenizer = read_tokenizer(file.read(), None, where="the tokenizer of the corpus")
    found: list[dict[str, Any]] = []
    for split, domains in index.splits.items():
        for domain, shards in domains.items():
            for name, _ in shards.shards:
                pieces = _pieces(store, name, document)
                found += [{"split": split, "domain": domain, "shard": name, **piece} for piece in pieces]
    for piece in found:
        piece["content"] = tokenizer.encoder.decode(piece.pop("ids"), skip_special_tokens=False)
    return found


def _pieces(store: Store, name: str, document: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    first = 0
    with open_shard(store, name) as shard:
        for group in range(shard.groups):
            column = shard.group(group, ["documents"]).column("documents").combine_chunks()
            hits = pc.equal(column.flatten(), document)
            rows = set(pc.list_parent_indices(column).filter(hits).to_pylist())
            if rows:
                table = shard.group(group, ["tokens", "length", "starts", "documents"])
                found += [
                    piece for row in sorted(rows) for piece in _in_row(table.slice(row, 1), first + row, document)
                ]
            first += len(column)
    return found


def _in_row(row: Any, number: int, document: str) -> list[dict[str, Any]]:
    (values,) = row.to_pylist()
    ends = [*values["starts"][1:], values["length"]]
    pieces = zip(values["starts"], ends, values["documents"], strict=True)
    return [
        {"row": number, "start": start, "end": end, "ids": values["tokens"][start:end]}
        for start, end, name in pieces
        if name == document
    ]


def print_rows_of(document: str, piece: Mapping[str, Any]) -> None:
    """One piece, for people."""
    place = f"{piece['shard']} row {piece['row']}, tokens {piece['start']} to {piece['end']}"
    console.print_rows(
        [("document", document), ("domain", f"{piece['domain']}, {piece['split']}"), ("stands in", place)]
    )
    console.out.print(console.safe(piece["content"], limit=1500))
