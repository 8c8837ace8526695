"""Title, author and date of pages: ours beside trafilatura's, on the same pages, with CPU milliseconds per page.

    CORPUS_SHARED_DATA=../shared/data PYTHONPATH=. python benchmarks/metadata_quality.py [--json] [--crawl N]

Two sets: ``extraction/trafilatura_a.parquet``, pages with a title, an author or a date that people wrote down, and the
pages of the crawl with a checked date of publication (some of them are in both). Compared without case and punctuation:

``title``   right if it holds the reference or the reference holds it (site names come and go)
``author``  right if the two share a word of three letters and more
``date``    right if it is the same day

``right`` is the share of all pages with a reference, ``given`` the share that got an answer, ``precision`` how many of
the answers are right. Milliseconds are those of reading the metadata, on both sets and on the first pages of the crawl,
which are mostly no articles. Where ours stand in the page is known from the pass that extracts the text: this pass is
not counted, but stands in brackets, for whoever wants nothing but metadata. trafilatura's time includes its parser.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.extraction_quality import crawl_bodies
from benchmarks.labelled_pages.pages import manifest, read_pages
from stages.extract.blocks.engine import MainText
from stages.extract.charset import decode_html
from stages.extract.engines import blocks_engine
from stages.extract.metadata import read_metadata

WORD = re.compile(r"[^\W\d_]{3,}|[\u3400-\u9fff]")
FIELDS = ("title", "author", "date")
Answer = dict[str, str | None]
Engine = Callable[["Row"], Answer]


@dataclass(frozen=True)
class Row:
    """A page, its address, and what is known of it."""

    page: str
    source: bytes  # the same in UTF-8, as extraction has it anyway
    url: str | None
    known: dict[str, str]


def plain(text: str) -> str:
    """Lower case, letters and digits only."""
    return re.sub(r"\W+", " ", text.lower()).strip()


def is_right(field: str, found: str, reference: str) -> bool:
    """See above."""
    if field == "date":
        return found[:10] == reference[:10]
    one, other = plain(found), plain(reference)
    if field == "title":
        return bool(one) and (one in other or other in one)
    return bool(set(WORD.findall(one)) & set(WORD.findall(other)))


def row_of(page: str, url: str | None, known: dict[str, str]) -> Row:
    return Row(page, page.encode("utf-8", "replace"), url, known)


def load_rows(data: Path) -> dict[str, list[Row]]:
    """The two sets by name."""
    import pyarrow.parquet as pq

    columns = ["html", "url", *FIELDS]
    articles = []
    for row in pq.read_table(data / "extraction" / "trafilatura_a.parquet", columns=columns).to_pylist():
        known = {field: row[field] for field in FIELDS if row[field] and row[field].lower() != "unknown"}
        articles.append(row_of(decode_html(row["html"]).text, row["url"], known))
    dated = {entry["id"]: entry["published"] for entry in manifest(data) if entry.get("published")}
    pages = read_pages(data, dated)
    return {
        "trafilatura_a": articles,
        "crawl, dated": [row_of(page.text, page.url, {"date": dated[identity]}) for identity, page in pages.items()],
    }


def ours() -> Engine:
    """What ``stages.extract.metadata`` says, once the text is extracted."""
    texts: dict[int, MainText] = {}

    def read(row: Row) -> Answer:
        if id(row) not in texts:
            texts[id(row)] = blocks_engine().extract(row.source)
        found = read_metadata(row.source, texts[id(row)], row.url)
        return {"title": found.title, "author": found.author, "date": found.date}

    return read


def trafilatura(row: Row) -> Answer:
    """What trafilatura says."""
    from trafilatura import extract_metadata

    found = extract_metadata(row.page, default_url=row.url)
    return {field: getattr(found, field) for field in FIELDS} if found else dict.fromkeys(FIELDS)


def timed(engine: Engine, rows: list[Row]) -> tuple[list[Answer], float]:
    """Answers, and CPU milliseconds per page."""
    began = time.process_time()
    answers = [engine(row) for row in rows]
    return answers, 1000 * (time.process_time() - began) / max(1, len(rows))


def quality(answers: list[Answer], rows: list[Row]) -> dict[str, Any]:
    """Right and given answers by field."""
    figures: dict[str, Any] = {}
    for field in FIELDS:
        pairs = [
            (found[field], row.known[field]) for found, row in zip(answers, rows, strict=True) if field in row.known
        ]
        if pairs:
            right = sum(bool(found) and is_right(field, str(found), known) for found, known in pairs)
            given = sum(bool(found) for found, _ in pairs)
            shares = {"right": right / len(pairs), "given": given / len(pairs), "precision": right / max(1, given)}
            figures[field] = {"pages": len(pairs), **shares}
    return figures


def measure(engine: Engine, sets: dict[str, list[Row]]) -> dict[str, Any]:
    """Quality and time by set; ``first_ms`` is the time of the first round, in which marks are found."""
    result = {}
    for name, rows in sets.items():
        _, first = timed(engine, rows)
        answers, again = timed(engine, rows)
        result[name] = {"fields": quality(answers, rows), "ms": again, "first_ms": first, "pages": len(rows)}
    return result


def show(result: dict[str, dict[str, Any]]) -> None:
    """A Markdown table."""
    print("| set | field | pages | engine | right | given | precision |\n|---|---|---|---|---|---|---|")
    for name in next(iter(result.values())):
        for field in FIELDS:
            for engine, sets in result.items():
                row = sets[name]["fields"].get(field)
                if row:
                    shares = " | ".join(f"{row[share]:.3f}" for share in ("right", "given", "precision"))
                    print(f"| {name} | {field} | {row['pages']} | {engine} | {shares} |")
    print("\n| set | pages | " + " | ".join(f"{engine}, ms a page" for engine in result) + " |")
    print("|---|---" + "|---" * len(result) + "|")
    for name, sample in next(iter(result.values())).items():
        times = (
            f"{sets[name]['ms']:.3f}" + (f" ({sets[name]['first_ms']:.3f})" if engine == "ours" else "")
            for engine, sets in result.items()
        )
        print(f"| {name} | {sample['pages']} | " + " | ".join(times) + " |")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("CORPUS_SHARED_DATA", str(Path(__file__).parents[2] / "shared/data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--crawl", type=int, default=500, help="pages of the crawl sample to time (0: none)")
    arguments = parser.parse_args()
    crawl = [row_of(decode_html(body).text, None, {}) for body in crawl_bodies(arguments.data, arguments.crawl)]
    sets = {**load_rows(arguments.data), **({"crawl, mixed": crawl} if crawl else {})}
    blocks_engine().extract(b"<p>warm")
    result = {name: measure(engine, sets) for name, engine in (("ours", ours()), ("trafilatura", trafilatura))}
    show(result)
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
