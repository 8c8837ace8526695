"""The card of a token corpus: ``README.md`` beside its shards, with which ``datasets`` finds domains and splits."""

from __future__ import annotations

import json
from collections.abc import Mapping

from corpus.commit import CorpusManifest
from corpus.storage import Store, fetch
from training.data.source import DomainIndex, TokenIndex

CARD = "README.md"


def write_token_card(store: Store, corpus: CorpusManifest) -> list[str]:
    """Write the card of a published token corpus, replacing an older one; returns its name."""
    with fetch(store, corpus.files["index"][0]) as file:
        index = TokenIndex.model_validate(json.load(file))
    store.swap(CARD, token_card(corpus, index).encode())
    return [CARD]


def token_card(corpus: CorpusManifest, index: TokenIndex) -> str:
    """The text of the card."""
    ledger = corpus.ledger
    tokenizer = corpus.files["tokenizer"][0]
    rows = [
        f"| {split} | {name} | {found.documents:,} | {_rows(found):,} | {found.tokens:,} | {_share(found, index):.2%} |"
        for split, domains in index.splits.items()
        for name, found in domains.items()
    ]
    empty = sum(count.documents for count in ledger.rejected.values())
    return "\n".join(
        [
            "---",
            *_configs(index.splits),
            "---",
            f"# {corpus.name}",
            "",
            f"Rows of {index.sequence_length} + 1 tokens (inputs and, shifted by one, labels), packed by "
            f"`{index.packing}`; {index.vocab:,} token ids, {index.eos} ends a document and fills padding.",
            "",
            "| split | domain | documents | rows | tokens | padding |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Of {ledger.read.documents:,} documents {ledger.kept.documents:,} are in rows, {empty:,} were empty.",
            "",
            "Columns: `tokens`, `length` (the rest of a row is padding), `starts` (where documents start in the row), "
            "`documents` (their ids).",
            "",
            f"Tokenizer: `{tokenizer.name}`, sha256 `{tokenizer.sha256}`. Corpus: `{corpus.digest}`.",
            "",
        ]
    )


def _configs(splits: Mapping[str, Mapping[str, DomainIndex]]) -> list[str]:
    """Front matter in which every domain is a configuration of ``datasets.load_dataset``."""
    lines = ["configs:"]
    for name in dict.fromkeys(name for domains in splits.values() for name in domains):
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, domains in splits.items():
            shards = [shard for shard, groups in domains[name].shards if groups] if name in domains else []
            if shards:
                lines += [f"  - split: {split}", "    path:", *(f"    - {shard}" for shard in shards)]
    return lines


def _rows(found: DomainIndex) -> int:
    return sum(sum(groups) for _, groups in found.shards)


def _share(found: DomainIndex, index: TokenIndex) -> float:
    places = _rows(found) * (index.sequence_length + 1)
    return found.padding / places if places else 0.0
