"""Hostile pages: does the time of the ``blocks`` engine grow with the page, and no faster?

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/extraction_hostile.py [--size 4] [--json]

Each page repeats one piece of markup that makes careless readers search to the end of the page again and again. It is
read at a size and at four times that size: a ratio near four is linear, sixteen quadratic. Best of three, CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from stages.extract.blocks.engine import BlocksEngine

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.stages.extract.blocks.fuzz import PIECES

FACTOR = 4
PROSE = b"The fisherman went out on the lake, and his wife waited on the shore. "


def pages(size: int) -> dict[str, bytes]:
    """Name -> page of about ``size`` bytes."""
    made = {repr(piece)[2:-1]: piece * (size // len(piece)) for piece in PIECES}
    made["one line"] = b"<p>" + PROSE * (size // len(PROSE))
    made["a million attributes"] = b"<p " + b"".join(b" a%d=b" % at for at in range(size // 9)) + b">x"
    made["one long attribute"] = b"<p title='" + b"x" * size + b"'>x"
    made["deep"] = b"<div>" * (size // 11) + b"x" + b"</div>" * (size // 11)
    return made


def seconds(engine: BlocksEngine, page: bytes) -> float:
    """CPU time of the whole extraction, best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        engine.extract(page)
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=2, help="MB of the smaller page")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    engine = BlocksEngine()
    engine.extract(b"<p>warm")
    size = int(args.size * 1e6)
    small, large = pages(size), pages(FACTOR * size)
    found = {}
    for name, page in small.items():
        first, second = seconds(engine, page), seconds(engine, large[name])
        found[name] = {"seconds": first, "seconds_larger": second, "ratio": second / max(first, 1e-6)}
        if not args.json:
            print(f"{name:24} {1000 * first:9.1f} ms {1000 * second:9.1f} ms   x {found[name]['ratio']:.1f}")
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
