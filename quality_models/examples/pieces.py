"""Reading the training sources and cutting prose into windows.

Only sources whose licence allows releasing a model are named here: public-domain books, CC-BY medical answers,
ODC-By terms of service, Apache/MIT/BSD documentation and code, MIT, CC0 and CC-BY label sets.
"""

from __future__ import annotations

import functools
import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from quality_models.examples.parts import Part, parts_of

Domain = Literal["books", "medical", "legal", "techdocs", "code"]

PROSE_DOMAINS: Final[tuple[Domain, ...]] = ("books", "medical", "legal", "techdocs")
POSTS: Final = ("toxicity_tweets", "toxic_spans_semeval", "spam_sms", "clickbait_headlines")


class Example(NamedTuple):
    """One training window: does it show what the model looks for, and which kind of example it is."""

    text: str
    positive: bool
    kind: str


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a zstd-compressed JSON lines file."""
    import zstandard

    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            yield json.loads(line)


@functools.lru_cache(maxsize=4)
def _posts(data: Path) -> dict[str, list[tuple[Part, dict[str, Any]]]]:
    """The rows of all label sets with their parts: a tweet that a comment quotes falls where the comment falls."""
    rows = {name: list(read_jsonl(data / "classifiers" / f"{name}.jsonl.zst")) for name in POSTS}
    parts = parts_of({f"{name}/{row['id']}": row["text"] for name in POSTS for row in rows[name]})
    return {name: [(parts[f"{name}/{row['id']}"], row) for row in rows[name]] for name in POSTS}


def posts(data: Path, name: str, part: Part) -> list[dict[str, Any]]:
    """The rows of a label set (one of ``POSTS``) that belong to ``part``, in file order."""
    return [row for mine, row in _posts(data)[name] if mine == part]


@functools.lru_cache(maxsize=8)
def _documents(data: Path, domain: Domain) -> list[tuple[Part, str]]:
    import pyarrow.parquet as pq

    table = pq.read_table(data / "text" / f"{domain}.parquet", columns=["id", "text"])
    texts = {f"{domain}/{row['id']}": row["text"] for row in table.to_pylist()}
    parts = parts_of(texts)
    return [(parts[name], text) for name, text in texts.items()]


def documents(data: Path, domain: Domain, part: Part) -> list[str]:
    """All documents of a domain that belong to ``part``, in file order, as they are."""
    return [text for mine, text in _documents(data, domain) if mine == part]


def prose_documents(data: Path, domain: Domain, part: Part) -> list[str]:
    """The same as running text."""
    mine = documents(data, domain, part)
    if domain == "medical":
        # MedQuAD's questions come from templates; the answers are what people wrote.
        mine = [text.partition("\n\n")[2] for text in mine]
    return mine if domain == "code" else [plain_prose(text) for text in mine]


_FENCE: Final = re.compile(r"```.*?(?:```|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL)
_LINK: Final = re.compile(r"!?\[([^\]\n]{0,200})\]\([^)\n]{0,500}\)")
_MARKUP: Final = re.compile(r"<[^<>\n]{1,200}>|[*_`#|]+|^\s*(?:\.\. .*|[=~^-]{3,})$", re.MULTILINE)


def plain_prose(text: str) -> str:
    """Markdown without its marks, code and comments, and with one line per paragraph, like extracted web text."""
    text = _MARKUP.sub("", _LINK.sub(r"\1", _FENCE.sub("", text)))
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def is_prose(paragraph: str) -> bool:
    """A paragraph of whole sentences: long enough, ends like one, hardly any digits and symbols."""
    letters = sum(map(str.isalpha, paragraph)) + paragraph.count(" ")
    return len(paragraph) >= 120 and paragraph.rstrip()[-1:] in '.!?"”' and letters > 0.93 * len(paragraph)


def prose_windows(texts: list[str], count: int, rng: random.Random, *, low: int = 200, high: int = 1000) -> list[str]:
    """``count`` windows of ``low`` to ``high`` characters, made of consecutive prose paragraphs.

    Documents are drawn evenly, so that one long book does not outweigh the rest; fewer windows come back when the
    documents hold too little prose.
    """
    pools = [pool for text in texts if (pool := list(filter(is_prose, text.split("\n\n"))))]
    windows: list[str] = []
    while pools and len(windows) < count:
        pool = rng.choice(pools)
        size, at = rng.randint(low, high), rng.randrange(len(pool))
        text = ""
        while at < len(pool) and len(text) < size:
            text += ("\n\n" if text else "") + pool[at]
            at += 1
        windows.append(_cut(text, size, rng))
    return windows


def _cut(text: str, size: int, rng: random.Random) -> str:
    """At most ``size`` characters; half of the cuts fall inside a sentence, as windows of a document do."""
    if len(text) <= size:
        return text
    if rng.random() < 0.5:
        start = rng.randrange(len(text) - size)
        return text[start : start + size].partition(" ")[2].rpartition(" ")[0]
    end = max(text.rfind(mark, 0, size) for mark in (". ", "? ", "! "))
    return text[: end + 1] if end > size // 2 else text[:size].rpartition(" ")[0]
