"""Records per second of the reader on one core, beside FastWARC and warcio on the same files in the same run.

    python benchmarks/read_speed.py [FILE ...]

CPU time, median of three, after one warm-up file. FastWARC and warcio are asked for headers and bodies only; our reader
also judges each record and builds Arrow tables. Files: by default the crawl under ``CORPUS_SHARED_DATA``.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.read import SourceConfig, plan_units, read_unit


def ours(paths: Sequence[str]) -> tuple[int, int]:
    source = SourceConfig(paths=tuple(paths))
    records = payload = 0
    for unit in plan_units(source):
        for table in read_unit(unit, source):
            records += table.num_rows
            payload += sum(table.column("source_bytes").to_pylist())
    return records, payload


def fastwarc(paths: Sequence[str]) -> tuple[int, int]:
    from fastwarc.warc import ArchiveIterator

    records = payload = 0
    for path in paths:
        for record in ArchiveIterator(path):
            payload += len(record.reader.read())
            records += 1
    return records, payload


def warcio(paths: Sequence[str]) -> tuple[int, int]:
    from warcio.archiveiterator import ArchiveIterator

    records = payload = 0
    for path in paths:
        with Path(path).open("rb") as file:
            for record in ArchiveIterator(file):
                payload += len(record.content_stream().read())
                records += 1
    return records, payload


def measure(read: Callable[[Sequence[str]], tuple[int, int]], paths: Sequence[str]) -> tuple[int, float, float]:
    """Records, records per second and payload megabytes per second."""
    read(paths[:1])
    times = []
    for _ in range(3):
        start = time.process_time()
        records, payload = read(paths)
        times.append(time.process_time() - start)
    seconds = statistics.median(times)
    return records, records / seconds, payload / seconds / 1e6


def main() -> None:
    root = Path(__file__).parents[1]
    shared = Path(os.environ.get("CORPUS_SHARED_DATA", root.parent / "shared" / "data"))
    paths = sys.argv[1:] or [str(path) for path in sorted(shared.glob("crawl/*.warc.gz"))]
    if not paths:
        sys.exit(f"no WARC files given, and none under {shared} (set CORPUS_SHARED_DATA)")
    for read in (ours, fastwarc, warcio):
        records, rate, megabytes = measure(read, paths)
        print(f"{read.__name__:9} {records:7} records {rate:8.0f} records/s {megabytes:7.0f} MB/s")


if __name__ == "__main__":
    main()
