"""Measure the safety stages: lists of millions of domains, masking speed, unsafe words, decontamination.

    python benchmarks/safety.py            # all, on the measurement data beside the checkout where there is some
    python benchmarks/safety.py hosts --domains 10000000

CPU time of one core, median of three; documents are crawl pages, main text by resiliparse.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

SHARED = Path(os.environ.get("CORPUS_SHARED_DATA", Path(__file__).resolve().parents[1] / "../shared/data"))


class Files:
    """Resources of a stage that needs local files only."""

    def scorer(self, model: str) -> Any:
        raise LookupError(model)

    def local_path(self, location: str) -> Path:
        return Path(location)


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Median CPU seconds of ``work``."""
    work()
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def records(path: Path) -> Iterator[dict[str, Any]]:
    with pa.input_stream(str(path), compression="zstd" if path.suffix == ".zst" else "gzip") as stream:
        yield from map(json.loads, io.TextIOWrapper(stream, encoding="utf-8"))


def hosts(count: int) -> None:
    """Compile a generated list of ``count`` domains; build time, memory, lookups per second."""
    from stages.url_filter import UrlFilter

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CORPUS_CACHE"] = folder
        path = Path(folder) / "domains.txt"
        with path.open("w") as file:
            for first in range(0, count, 1_000_000):
                numbers = rng.integers(0, 1 << 60, min(1_000_000, count - first))
                file.writelines(f"{number:x}.example-{number % 997}.com\n" for number in numbers.tolist())
        stage = UrlFilter(bundled=False, domains=(str(path),))
        warm = Path(folder) / "warm.txt"
        warm.write_text("x.org\n")
        UrlFilter(bundled=False, domains=(str(warm),)).open(Files())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        run = stage.open(Files())
        built = time.process_time() - began
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        stage.open(Files())
        again = time.process_time() - began
        urls = [
            f"https://www.{number:x}.example.org/a/b?c={n}" for n, number in enumerate(rng.integers(0, 1 << 60, 50_000))
        ]
        batch = verdict_batch("url", urls)
        rate = len(urls) / seconds(lambda: run(batch))
        mapped = sum(file.stat().st_size for file in Path(folder).glob("*.hashes"))
        text = path.stat().st_size
    print(
        f"hosts: {count:,} domains ({text >> 20} MiB of text): compiled in {built:.1f} s, {mapped >> 20} MiB on disk,"
    )
    print(f"       peak memory +{(after - before) >> 10} MiB (mapped pages included), opened again in {again:.2f} s,")
    print(f"       {rate:,.0f} URLs/s")


def verdict_batch(name: str, values: list[Any]) -> pa.Table:
    empty = pa.nulls(len(values), pa.string())
    columns = {name: pa.array(values, pa.large_string()), "outcome": empty, "reason": empty}
    return pa.table({**columns, "detail": pa.nulls(len(values), pa.large_string())})


def crawl_texts() -> tuple[list[str], list[str]]:
    """URLs and main texts of the measurement crawl."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text

    urls, texts = [], []
    for path in sorted((SHARED / "crawl").glob("*.warc.gz")):
        for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
            html = record.reader.read().decode("utf-8", "replace")
            urls.append(record.headers.get("WARC-Target-URI") or "")
            texts.append(extract_plain_text(html, main_content=True, alt_texts=False))
    return urls, texts


def report(name: str, stage: Any, batch: pa.Table) -> pa.Table:
    began = time.process_time()
    run = stage.open(Files())
    opened = time.process_time() - began
    out = run(batch)
    rate = batch.num_rows / seconds(lambda: run(batch))
    counts = Counter(reason for reason in out["reason"].to_pylist() if reason) if "reason" in out.column_names else {}
    print(f"{name}: {rate:,.0f} rows/s, opened in {opened:.2f} s, rejected {dict(counts) or 'none'}")
    return out


def stages() -> None:
    """Rates and verdicts of the four stages on the measurement crawl."""
    from stages.decontaminate import Decontaminate
    from stages.pii import KINDS, MaskPii
    from stages.url_filter import UrlFilter
    from stages.words import Words

    urls, texts = crawl_texts()
    documents = verdict_batch("content", texts)
    size = sum(len(text.encode()) for text in texts)
    print(f"crawl: {len(texts):,} texts, {size / 1e6:.1f} MB")
    report("url_filter", UrlFilter(), verdict_batch("url", urls))
    out = report("mask_pii", MaskPii(), documents)
    totals = {kind: sum(row[f"pii_{kind}"] for row in out["signals"].to_pylist()) for kind in KINDS}
    print(f"       masked {totals}")
    report("unsafe_words", Words(), documents)
    exams = tuple(str(path) for path in sorted((SHARED / "exams").glob("*.zst")))
    report("decontaminate", Decontaminate(benchmarks=exams), documents)


def planted() -> None:
    """Recall of decontamination: every exam question of eight words or more, planted in a page of its own."""
    from stages.decontaminate import Decontaminate
    from stages.word_hash import hash_words

    for path in sorted((SHARED / "exams").glob("*.zst")):
        questions = [record["question"] for record in records(path)]
        asked = [question for question in questions if len(hash_words(question)) >= 8]
        run = Decontaminate(benchmarks=(str(path),)).open(Files())
        out = run(verdict_batch("content", [f"Once upon a time.\n{question}\nThe end." for question in asked]))
        found = len(asked) - out["reason"].null_count
        print(
            f"planted: {path.name}: {found} of {len(asked)} found; {len(questions) - len(asked)} too short to look for"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["all", "hosts", "stages", "planted"], default="all")
    parser.add_argument("--domains", type=int, default=10_000_000)
    arguments = parser.parse_args()
    chosen = ["hosts", "stages", "planted"] if arguments.what == "all" else [arguments.what]
    if "hosts" in chosen:
        hosts(arguments.domains)
        os.environ.pop("CORPUS_CACHE", None)
    if not SHARED.is_dir():
        sys.exit(f"the measurement data is not here: {SHARED}")
    for name, measure in (("stages", stages), ("planted", planted)):
        if name in chosen:
            measure()


if __name__ == "__main__":
    main()
