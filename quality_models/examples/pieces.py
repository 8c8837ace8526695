"""Reading the training sources, cutting prose into windows, and deciding which part a piece belongs to.

Only sources whose licence allows releasing a model are named here: public-domain books, CC-BY medical answers,
ODC-By terms of service, Apache/MIT/BSD documentation and code, MIT, CC0 and CC-BY label sets.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

Part = Literal["train", "calibrate", "test"]
Domain = Literal["books", "medical", "legal", "techdocs", "code"]

PROSE_DOMAINS: Final[tuple[Domain, ...]] = ("books", "medical", "legal", "techdocs")


class Example(NamedTuple):
    """One training window: does it show what the model looks for, and which kind of example it is."""

    text: str
    positive: bool
    kind: str


def part_of(key: str) -> Part:
    """80 % train, 10 % calibrate, 10 % test, by a hash: the same piece always falls into the same part."""
    draw = hashlib.blake2b(key.encode(), digest_size=4).digest()[0]
    return "train" if draw < 205 else "calibrate" if draw < 231 else "test"


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a zstd-compressed JSON lines file."""
    import zstandard

    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            yield json.loads(line)


def prose_documents(data: Path, domain: Domain, part: Part) -> list[str]:
    """All documents of a domain that belong to ``part``, in file order, as running text."""
    import pyarrow.parquet as pq

    rows = pq.read_table(data / "text" / f"{domain}.parquet", columns=["id", "text"]).to_pylist()
    mine = [row["text"] for row in rows if part_of(f"{domain}/{row['id']}") == part]
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


def prose_windows(
    documents: list[str], count: int, rng: random.Random, *, low: int = 200, high: int = 1000
) -> list[str]:
    """``count`` windows of ``low`` to ``high`` characters, made of consecutive prose paragraphs.

    Documents are drawn evenly, so that one long book does not outweigh the rest; fewer windows come back when the
    documents hold too little prose.
    """
    pools = [pool for document in documents if (pool := list(filter(is_prose, document.split("\n\n"))))]
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
