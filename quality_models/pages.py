"""Ordinary documents to check scorers on: English pages of a crawl, and documents of the text collections.

Only for measuring. No page of a crawl ever takes part in training: pages belong to their publishers.
"""

from __future__ import annotations

from pathlib import Path

from quality_models.examples.pieces import part_of


def crawl_pages(data: Path, *, limit: int = 3000) -> list[str]:
    """Main text of up to ``limit`` distinct English pages of at least 200 characters, about 10 ms each.

    resiliparse extracts, pycld2 identifies. Returns nothing where there is no ``crawl`` folder.
    """
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    texts: dict[str, None] = {}
    for path in sorted((data / "crawl").glob("*.warc.gz")):
        for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
            text = _main_text(record.reader.read())
            if len(text) >= 200 and _is_english(text):
                texts.setdefault(text)
            if len(texts) >= limit:
                return list(texts)
    return list(texts)


def _main_text(html: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    try:
        page = html.decode()
    except UnicodeDecodeError:
        page = bytes_to_str(html, detect_encoding(html, from_html_meta=True) or "utf-8")
    return str(extract_plain_text(page, main_content=True, comments=False, alt_texts=False))


def _is_english(text: str) -> bool:
    import pycld2

    try:
        found = pycld2.detect(text[:2000].encode("utf-8", "ignore"), bestEffort=True)
    except pycld2.error:  # control characters that cld2 does not take: no ordinary page
        return False
    best = found[2][0]
    return bool(best[1] == "en" and best[2] >= 65)


def domain_documents(data: Path, domain: str) -> list[str]:
    """Whole documents of a text collection that took no part in training, as they are."""
    import pyarrow.parquet as pq

    rows = pq.read_table(data / "text" / f"{domain}.parquet", columns=["id", "text"]).to_pylist()
    return [row["text"] for row in rows if part_of(f"{domain}/{row['id']}") == "test"]
