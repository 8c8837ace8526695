"""Title, author and date of pages: ours beside trafilatura's, on the same pages, with CPU milliseconds per page.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/metadata_quality.py --data DATA [--json]

On ``extraction/trafilatura_a.parquet``, pages with a title, an author or a date that people wrote down, and on the
pages of the crawl with a checked date of publication. A title is right if it holds the reference or the reference holds
it (site names come and go); an author if the two share a word of three letters and more; a date if it is the same day.
"Given" is how often there was an answer, right or wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.labelled_pages.pages import manifest, read_pages
from stages.extract.charset import decode_html
from stages.extract.engines import blocks_engine
from stages.extract.metadata import read_metadata

WORD = re.compile(r"[^\W\d_]{3,}|[\u3400-\u9fff]")
FIELDS = ("title", "author", "date")
Row = tuple[str, str | None, dict[str, str | None]]
Engine = Callable[[str, str | None], dict[str, str | None]]


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


def rows(data: Path) -> Iterator[Row]:
    """Page, address, and what is known of it."""
    import pyarrow.parquet as pq

    columns = ["html", "url", *FIELDS]
    for row in pq.read_table(data / "extraction" / "trafilatura_a.parquet", columns=columns).to_pylist():
        known = {field: row[field] for field in FIELDS if row[field] and row[field].lower() != "unknown"}
        yield decode_html(row["html"]).text, row["url"], known
    dated = {entry["id"]: entry["published"] for entry in manifest(data) if entry.get("published")}
    for identity, page in read_pages(data, dated).items():
        yield page.text, page.url, {"date": dated[identity]}


def ours(page: str, url: str | None) -> dict[str, str | None]:
    """What ``stages.extract.metadata`` says; the pass that finds the marks is counted, though extraction makes it."""
    source = page.encode("utf-8", "replace")
    found = read_metadata(source, blocks_engine().marks(source), url)
    return {"title": found.title, "author": found.author, "date": found.date}


def trafilatura(page: str, url: str | None) -> dict[str, str | None]:
    """What trafilatura says."""
    from trafilatura import extract_metadata

    found = extract_metadata(page, default_url=url)
    return {field: getattr(found, field) for field in FIELDS} if found else dict.fromkeys(FIELDS)


def measure(engine: Engine, pages: list[Row]) -> dict[str, Any]:
    """Right and given answers by field, and milliseconds per page."""
    engine(pages[0][0], None)
    began = time.process_time()
    answers = [engine(page, url) for page, url, _ in pages]
    figures: dict[str, Any] = {"ms": 1000 * (time.process_time() - began) / len(pages)}
    for field in FIELDS:
        pairs = [
            (found[field], known[field])
            for found, (_, _, known) in zip(answers, pages, strict=True)
            if known.get(field)
        ]
        right = sum(bool(found) and is_right(field, str(found), str(known)) for found, known in pairs)
        given = sum(bool(found) for found, _ in pairs)
        figures[field] = {"pages": len(pairs), "right": right / len(pairs), "given": given / len(pairs)}
    return figures


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    pages = list(rows(args.data))
    result = {name: measure(engine, pages) for name, engine in (("ours", ours), ("trafilatura", trafilatura))}
    for name, figures in result.items():
        parts = [
            f"{f} {figures[f]['right']:.3f} right, {figures[f]['given']:.3f} given ({figures[f]['pages']})"
            for f in FIELDS
        ]
        print(f"{name:12} {'; '.join(parts)}; {figures['ms']:.3f} ms")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
