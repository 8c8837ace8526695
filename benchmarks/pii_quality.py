"""Personal data: recall and precision by kind, what is masked in ordinary documents, and documents a second.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/pii_quality.py --data DATA [--pages 1500] [--read 100] [--json]

``pii/synthetic_a.jsonl.zst`` has marked spans. Six of its types are ours: EMAIL_ADDRESS, PHONE_NUMBER, IP_ADDRESS,
CREDIT_CARD, IBAN_CODE and US_SSN; names, addresses, dates and the like are not looked for. A marked span is found if
a span of its kind overlaps it (``exact``: with the same bounds), and a span of ours is false if it overlaps no mark of
its kind. The texts come from templates, so the figures say what forms are known, not how the web is.

Hits in ordinary documents stand for precision there: technical documentation, source code, medicine and terms of
service hold few personal numbers and many others, crawl pages hold both. ``--read`` prints a sample with what stands
around, for the eye to judge; it is personal data, so nothing of it belongs in a report.

Documents a second: the stage ``mask_pii`` on the crawl pages, CPU time of one core, median of five.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.extraction_quality import crawl_bodies
from benchmarks.safety import Files
from quality_models.examples.pieces import read_jsonl
from stages.extract.page import extract_html
from stages.pii import KINDS, MaskPii, find_pii

TYPES = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IP_ADDRESS": "ip",
    "CREDIT_CARD": "payment_card",
    "IBAN_CODE": "iban",
    "US_SSN": "ssn",
}
DOMAINS = ("techdocs", "code", "medical", "legal")
Scores = dict[str, dict[str, int]]


def pii_scores(path: Path) -> Scores:
    """Kind -> how many spans are ``marked``, ``found``, found with ``exact`` bounds, and ``false``."""
    scores = {kind: Counter(marked=0, found=0, exact=0, false=0) for kind in KINDS}
    for record in read_jsonl(path):
        spans = [(span.kind, span.start, span.end) for span in find_pii(record["text"])]
        marks = [(TYPES[mark["type"]], mark["start"], mark["end"]) for mark in record["spans"] if mark["type"] in TYPES]
        for mark in marks:
            scores[mark[0]]["marked"] += 1
            scores[mark[0]]["found"] += any(overlap(mark, span) for span in spans)
            scores[mark[0]]["exact"] += mark in spans
        for span in spans:
            scores[span[0]]["false"] += not any(overlap(span, mark) for mark in marks)
    return {kind: dict(counts) for kind, counts in scores.items()}


def overlap(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    """Whether two spans (kind, start, end) are of one kind and share a character."""
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


def ordinary_texts(data: Path, pages: int) -> dict[str, list[str]]:
    """Documents by source; the crawl's are main texts of its first ``pages`` pages, empty ones left out."""
    texts = {name: pq.read_table(data / "text" / f"{name}.parquet").column("text").to_pylist() for name in DOMAINS}
    mains = (extract_html(body).text for body in crawl_bodies(data, pages))
    return texts | {"crawl": [text for text in mains if text]}


def audit(texts: dict[str, list[str]]) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Hits per 1,000 documents by source and kind, and every hit as a line with its surroundings."""
    shares, lines = {}, []
    for name, documents in texts.items():
        hits: Counter[str] = Counter()
        for text in documents:
            for span in find_pii(text):
                hits[span.kind] += 1
                before, behind = text[max(0, span.start - 50) : span.start], text[span.end : span.end + 25]
                lines.append(f"{name} {span.kind} | {before}⟦{span.value}⟧{behind}".replace("\n", "⏎"))
        shares[name] = {"documents": len(documents)} | {kind: 1000 * hits[kind] / len(documents) for kind in KINDS}
    return shares, lines


def documents_per_second(texts: list[str], rounds: int = 5) -> float:
    """Documents a second of one core."""
    batch = pa.table({"content": pa.array(texts, pa.large_string())})
    run = MaskPii().open(Files())
    run(batch)
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        run(batch)
        spent.append(time.process_time() - began)
    return len(texts) / statistics.median(spent)


def write_tables(result: dict[str, Any]) -> None:
    """The result in Markdown."""
    print("| kind | marked | found | recall | exact bounds | false | precision |\n|---|---|---|---|---|---|---|")
    for kind, row in result["marked"].items():
        recall, precision = row["found"] / row["marked"], row["found"] / max(row["found"] + row["false"], 1)
        print(
            f"| {kind} | {row['marked']} | {row['found']} | {recall:.3f} | {row['exact']} | {row['false']} "
            f"| {precision:.3f} |"
        )
    print("\nHits per 1,000 documents:\n")
    print("| documents | number |" + "".join(f" {kind} |" for kind in KINDS) + "\n|---|---|" + "---|" * len(KINDS))
    for name, row in result["ordinary"].items():
        print(f"| {name} | {row['documents']:,} |" + "".join(f" {row[kind]:,.1f} |" for kind in KINDS))
    print(f"\n{result['documents_per_second']:,.0f} documents/s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pages", type=int, default=1_500, help="pages of the crawl")
    parser.add_argument("--read", type=int, default=0, help="print so many hits of ordinary documents, drawn at random")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of the hits to print")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    texts = ordinary_texts(arguments.data, arguments.pages)
    shares, lines = audit(texts)
    lines = [line for line in lines if line.split(" ", 2)[1] in arguments.kinds.split(",")]
    for line in random.Random(0).sample(lines, min(arguments.read, len(lines))):
        print(line)
    result = {
        "marked": pii_scores(arguments.data / "pii" / "synthetic_a.jsonl.zst"),
        "ordinary": shares,
        "documents_per_second": documents_per_second(texts["crawl"]),
    }
    write_tables(result)
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
