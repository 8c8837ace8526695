"""``python -m pipeline.sample OUT [--pages N] [--seed N] [--files N]``: write a sample crawl, print its totals."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from corpus.errors import CorpusError

from .crawl import generate


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.sample", description="Write a sample crawl.")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--pages", type=int, default=3000, help="captured pages, at least 300 (default 3000)")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same bytes (default 7)")
    parser.add_argument("--files", type=int, default=4, help="WARC files (default 4)")
    chosen = parser.parse_args()
    try:
        truth = generate(chosen.out, pages=chosen.pages, seed=chosen.seed, files=chosen.files)
    except CorpusError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{truth.pages} pages, {truth.records} records, {truth.damaged} damaged regions\n")
    sys.stdout.writelines(f"{truth.root / name}\n" for name in truth.files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
