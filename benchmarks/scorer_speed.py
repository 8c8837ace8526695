"""How fast the shipped scorers are on real pages, and where the time goes.

    python benchmarks/scorer_speed.py [PAGES]

Extracts up to PAGES (default 1,000) English pages of the measurement crawl (``CORPUS_SHARED_DATA``), then measures CPU
time on one core, median of five: documents per second of each scorer, and within it the windows, the view, fastText's
prediction, and the rest. Prints a Markdown table.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from quality_models import installed, load_scorer
from quality_models.pages import crawl_pages
from quality_models.views import VIEWS
from quality_models.windows import cut_windows

DATA = Path(os.environ.get("CORPUS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
BATCH = 500  # documents per call, as the engine hands them over


def cpu_seconds(work: Callable[[], object], *, rounds: int = 5) -> float:
    """Median CPU time of ``work``, after one round to warm up."""
    work()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def measure(name: str, texts: list[str]) -> str:
    """One row of the table."""
    scorer = load_scorer(name)
    view, windows = VIEWS[scorer.card.view], scorer.card.windows
    pieces = [piece for text in texts for piece in cut_windows(text, windows)]
    lines = [view(piece) + b"\n" for piece in pieces]
    batches = [texts[at : at + BATCH] for at in range(0, len(texts), BATCH)]
    whole = cpu_seconds(lambda: [scorer.score(batch) for batch in batches])
    cutting = cpu_seconds(lambda: [cut_windows(text, windows) for text in texts])
    viewing = cpu_seconds(lambda: [view(piece) for piece in pieces])
    predicting = cpu_seconds(lambda: scorer.classifier.multilinePredict(lines, 1, 0.0, "strict"))
    micro = [1e6 * seconds / len(texts) for seconds in (whole, cutting, viewing, predicting)]
    rest = micro[0] - sum(micro[1:])
    return (
        f"| {name} | {len(texts) / whole:,.0f} | {micro[0]:.0f} | {micro[1]:.0f} | {micro[2]:.0f} | {micro[3]:.0f} "
        f"| {rest:.0f} | {len(pieces) / len(texts):.2f} |"
    )


def main() -> int:
    """Print the table, or say why not."""
    if not (DATA / "crawl").is_dir():
        print(f"no measurement crawl under {DATA}: set CORPUS_SHARED_DATA")
        return 1
    texts = [page.text for page in crawl_pages(DATA)][: int(sys.argv[1]) if len(sys.argv) > 1 else 1000]
    mean = sum(map(len, texts)) / len(texts)
    print(f"{len(texts)} English pages, mean {mean:,.0f} characters; microseconds of CPU time per document\n")
    print("| scorer | documents/s | all | windows | view | fastText predict | rest | windows/document |")
    print("|---|---|---|---|---|---|---|---|")
    for info in installed():
        print(measure(info.name, texts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
