"""The tasks of a tokenize run: the tokenizer, and the rows of one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.task import Context, Result, Written
from training.data.files import OpenFiles
from training.data.packing import Packing
from training.data.text import TextFiles, read_documents
from training.data.tokenizer import Tokenizer, read_tokenizer, train_bpe
from training.data.write import Split, write_shard

SAMPLE_CHARACTERS = 20_000
"""Of one document, so that a few long ones do not decide the vocabulary."""


@dataclass(frozen=True)
class SampledDomain:
    """A domain as the tokenizer sees it: its documents that are not held out."""

    files: TextFiles
    split: Split


@dataclass(frozen=True)
class TokenizerPayload:
    domains: tuple[SampledDomain, ...]
    vocab: int
    sample_bytes: int


@dataclass(frozen=True)
class RowsPayload:
    files: TextFiles
    number: int
    split: Split
    tokenizer: bytes
    end: int
    row_length: int
    packing: Packing


def train_tokenizer(payload: TokenizerPayload, context: Context) -> Result:
    """Task: train the BPE from equal parts of all domains, and within a domain of all its files."""
    share = payload.sample_bytes // max(1, len(payload.domains))
    texts = (text for domain in payload.domains for text in _sample(domain, share))
    tokenizer = train_bpe(texts, payload.vocab)
    path = context.staging / "tokenizer.json"
    path.write_bytes(tokenizer.data)
    return Result(files={"tokenizer": Written(path, 0)}, facts={"vocab": tokenizer.vocab})


def _sample(domain: SampledDomain, budget: int) -> Iterator[str]:
    files = OpenFiles(domain.files.store, domain.files.entries)
    per_file = budget // len(domain.files.entries) + 1
    for number, entry in enumerate(domain.files.entries):
        left = per_file
        reader = files.reader(number)
        for group in range(reader.groups):
            found = read_documents(reader, group, domain.files, entry)
            for name, text in zip(found.ids, found.texts, strict=True):
                if left > 0 and domain.split.takes(name):
                    yield text[:SAMPLE_CHARACTERS]
                    left -= min(len(text), SAMPLE_CHARACTERS)
            if left <= 0:
                break


def write_rows(payload: RowsPayload, context: Context) -> Result:
    """Task: the token shard of one file."""
    tokenizer = _opened(payload)
    path = context.staging / "rows.parquet"
    written = write_shard(
        path, payload.files, payload.number, payload.split, tokenizer, payload.row_length, payload.packing
    )
    facts = {"groups": list(written.groups), "tokens": written.tokens, "padding": written.padding}
    return Result(files={"rows": Written(path, written.rows)}, ledger=written.ledger, facts=facts)


def _opened(payload: RowsPayload) -> Tokenizer:
    where = f"the tokenizer of {payload.files.name}"
    found = read_tokenizer(payload.tokenizer, None, where=where)
    return Tokenizer(found.encoder, found.data, found.vocab, payload.end)
