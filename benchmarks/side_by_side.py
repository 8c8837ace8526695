"""Two engines side by side, for reading: lines of random pages that only one of them keeps.

    PYTHONPATH=. python benchmarks/side_by_side.py --data DATA [--pages 50] [--seed 1] [--lines 6]

The left engine is ``blocks``, the right one trafilatura with its default settings. Lines are cut; ``=`` counts the
words of lines that both keep.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from benchmarks.labelled_pages.pages import manifest, read_pages
from stages.extract import extract_html

WIDTH = 100


def words(lines: list[str]) -> int:
    """Words of some lines."""
    return sum(len(line.split()) for line in lines)


def compare(body: bytes, text: str, most: int) -> str:
    """The lines that only one engine keeps."""
    import trafilatura

    ours = [line.strip("- ") for line in extract_html(body).text.split("\n")]
    theirs = [line.strip("- ") for line in (trafilatura.extract(text, include_comments=False) or "").split("\n")]
    left, right = [x for x in ours if x and x not in set(theirs)], [x for x in theirs if x and x not in set(ours)]
    both = [line for line in ours if line in set(theirs)]
    shown = [f"  = {words(both)} words, < {words(left)}, > {words(right)}"]
    for mark, lines in (("<", left), (">", right)):
        longest = sorted(lines, key=len, reverse=True)[:most]
        shown += [f"  {mark} {line[:WIDTH]}" for line in lines if line in longest][:most]
    return "\n".join(shown)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=6)
    args = parser.parse_args()
    ids = sorted(entry["id"] for entry in manifest(args.data))
    chosen = random.Random(args.seed).sample(ids, args.pages)
    for identity, page in read_pages(args.data, chosen).items():
        print(f"{identity}  {page.url[:90]}\n{compare(page.body, page.text, args.lines)}")


if __name__ == "__main__":
    main()
