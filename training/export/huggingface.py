"""A folder that Hugging Face ``datasets`` reads by itself: the token shards as they are, one config per domain.

    load_dataset("out", "books", split="train")                   # or streaming=True
    load_dataset("parquet", data_files="out/books/*.parquet")

The shards are Parquet already (``training.data.rows`` describes their columns), so nothing is written anew: files are
hard links to the shards of the corpus, or copies where the target lies on another file system. ``README.md`` declares
the configs in the head that the Hub reads.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from corpus.errors import TrainingError
from training.data.source import Corpus, Domain, TokenShards
from training.export.target import Exported, domain_folder, fresh_folder

SPLIT = "train"


def to_huggingface(corpus: Corpus, folder: Path) -> Exported:
    """Lay the shards of ``corpus`` into ``folder`` by domain. Raises ``StorageError`` where it is not empty.

    Raises ``TrainingError`` for a corpus that is tokenised on the fly: it has no shards of tokens.
    """
    # a config without files, or with empty ones only, cannot be loaded
    shards = {name: _shards(name, domain) for name, domain in corpus.domains.items() if domain.rows}
    fresh_folder(folder, corpus)
    configs = []
    for name, paths in shards.items():
        place = domain_folder(folder, name)
        for number, path in enumerate(paths):
            _link(path, place / f"{SPLIT}-{number:05d}-of-{len(paths):05d}.parquet")
        configs.append(place.name)
    (folder / "README.md").write_text(_card(corpus, configs), "utf-8")
    rows, tokens = (sum(getattr(domain, what) for domain in corpus.domains.values()) for what in ("rows", "tokens"))
    return Exported(sum(map(len, shards.values())), rows, tokens)


def _shards(name: str, domain: Domain) -> list[Path]:
    """The files of a domain that hold rows, on this machine; remote ones are fetched and checked first."""
    reader = domain.reader
    if not isinstance(reader, TokenShards):
        raise TrainingError(
            f"domain {name!r} holds text, not tokens", fix="run a tokenize manifest, and export what it publishes"
        )
    return [reader.files.path(number) for number in sorted({block.file for block in domain.blocks})]


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _card(corpus: Corpus, configs: list[str]) -> str:
    """The dataset card. Strings of JSON are strings of YAML."""
    head = ["---", "configs:"]
    for config in configs:
        head += [f"- config_name: {json.dumps(config)}", "  data_files:"]
        head += [f"  - split: {SPLIT}", f"    path: {json.dumps(f'{config}/*.parquet')}"]
    length = corpus.sequence_length
    body = [
        "---",
        f"Tokens for language models: rows of {length + 1} tokens (inputs and, shifted by one, labels of {length}).",
        "",
        "- `tokens`: the ids; `tokenizer.json` beside this file turns them into text.",
        "- `length`: how many of them are tokens; the rest of the row is padding.",
        "- `starts`: where documents start in the row.",
        "- `documents`: ids of these documents.",
        "",
        f"Vocabulary: {corpus.vocab}. End of a document, and padding: {corpus.eos}. Packing: {corpus.packing}.",
        f"Corpus: {corpus.digest}.",
    ]
    return "\n".join(head + body) + "\n"
