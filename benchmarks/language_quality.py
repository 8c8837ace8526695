"""Language identification: accuracy on 3,000 short sentences in 75 languages, documents/s on texts of 15 sentences.

PYTHONPATH=. python benchmarks/language_quality.py --data DATA
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any


def language_figures(data: Path) -> dict[str, Any]:
    """Accuracy on 3,000 short sentences in 75 languages; documents/s on texts of 15 sentences."""
    import io

    import zstandard

    from stages.language import open_identifier

    with (data / "language/lingua_sentences.jsonl.zst").open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        rows = [json.loads(line) for line in lines]
    chosen = random.Random(0).sample(rows, 3000)
    long = [" ".join(row["text"] for row in rows[at : at + 15]) for at in range(0, 15000, 15)]
    figures: dict[str, Any] = {}
    for engine in ("cld2", "fasttext"):
        identify = open_identifier(engine)
        found = [identify(row["text"]) for row in chosen]
        began = time.process_time()
        for text in long:
            identify(text)
        seconds = time.process_time() - began
        same = {"nb": ("no", "nb", "nn"), "nn": ("no", "nn", "nb"), "zh": ("zh", "zh-Hant")}
        right = [
            each.language in same.get(row["lang"], (row["lang"],)) for each, row in zip(found, chosen, strict=True)
        ]
        sure = [ok for ok, each in zip(right, found, strict=True) if each.reliable]
        figures[engine] = {
            "accuracy": statistics.fmean(right),
            "reliable": len(sure) / len(right),
            "accuracy_when_reliable": statistics.fmean(sure),
            "documents_per_second": len(long) / seconds,
        }
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    print(json.dumps(language_figures(parser.parse_args().data)))
