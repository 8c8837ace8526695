"""Documents per second and core of MinHash signatures: the kernel beside datasketch and rensa, in one run.

    python benchmarks/signature_speed.py [--documents 400] [--rounds 3]

Texts: main text extracted from the pages of ``crawl`` in the folder named by CORPUS_SHARED_DATA. All engines make word
5-gram shingles and 128 hashes from plain text. CPU time, median of rounds; the engines take turns within each round.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from stages.dedup import Dedup
from stages.dedup.datasketch_engine import datasketch_signatures, shingles_of
from stages.dedup.signatures import content_hash, shingle_hashes, signatures

WORD = re.compile(r"\w+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    default = Path(__file__).resolve().parents[1] / "../shared/data"
    folder = Path(os.environ.get("CORPUS_SHARED_DATA", default)) / "crawl"
    if not folder.is_dir():
        raise SystemExit(f"no data: {folder} does not exist; set CORPUS_SHARED_DATA")
    texts = [text for text, _ in zip(page_texts(folder), range(arguments.documents), strict=False)]
    size = sum(len(text.encode()) for text in texts)
    print(f"{len(texts)} texts, {size / len(texts):.0f} bytes on average")
    engines = all_engines(texts)
    for run in engines.values():
        run()  # compile, load tables
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(arguments.rounds):
        for name, run in engines.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:34s} {len(texts) / median:10,.0f} documents/s {size / median / 1e6:8.1f} MB/s")


def page_texts(folder: Path) -> Iterator[str]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text

    for path in sorted(folder.glob("*.warc.gz")):
        for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
            text = extract_plain_text(record.reader.read().decode("utf-8", "replace"), main_content=True)
            if text.strip():
                yield text


def all_engines(texts: list[str]) -> dict[str, Callable[[], object]]:
    from rensa import RMinHash

    column = pa.array(texts, pa.large_string())
    config = Dedup()
    ready = [sorted(shingles_of(WORD.findall(text.lower()), 5)) for text in texts]

    def rensa_from_text() -> None:
        for text in texts:
            RMinHash.from_token_sets([shingles_of(WORD.findall(text.lower()), 5)], num_perm=128, seed=1)

    return {
        "kernel, from text": lambda: signatures(column, config),
        "kernel, shingle sets for Jaccard": lambda: shingle_hashes(column, config),
        "content hashes": lambda: content_hash(column),
        "datasketch, from text": lambda: datasketch_signatures(column, config),
        "rensa, from text": rensa_from_text,
        "rensa, from ready shingles": lambda: RMinHash.from_token_sets(ready, num_perm=128, seed=1),
    }


if __name__ == "__main__":
    main()
