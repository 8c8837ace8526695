"""Speed of the text stages on real extracted text, beside datatrove's filters in the same run.

    python -m benchmarks.signals_speed [--data DIR] [--documents 2000] [--datatrove 100] [--json]

DIR is the folder of measurement data (default: the environment variable CORPUS_SHARED_DATA, else ``../shared/data``);
its ``crawl`` pages are extracted with resiliparse first. CPU time of this process, median of five rounds; datatrove's
filters run once, on fewer documents, because they are slow. Also tells how often both sides agree on a verdict.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.schema import add_signals
from stages.edit import Edit
from stages.normalise import normalise
from stages.rules import judge, load_rules
from stages.signals import measure

DEFAULT_DATA = Path(os.environ.get("CORPUS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
GOPHER_QUALITY = 8  # the first rules of the ruleset gopher; the others judge repetition


def pages(folder: Path) -> Iterator[str]:
    """Extracted text of every response in the crawl files, in order."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    for path in sorted((folder / "crawl").glob("*.warc.gz")):
        for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
            body = record.reader.read()
            try:
                html = body.decode()
            except UnicodeDecodeError:
                html = bytes_to_str(body, detect_encoding(body, from_html_meta=True) or "utf-8")
            yield extract_plain_text(html, main_content=True, alt_texts=False, comments=False)


def seconds(work: Callable[[], Any], rounds: int) -> float:
    """Median CPU seconds of one call."""
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def rate(documents: int, size: int, spent: float) -> dict[str, float]:
    """Documents and megabytes per second."""
    return {"documents_per_s": round(documents / spent, 1), "mb_per_s": round(size / 1e6 / spent, 2)}


def ours(texts: Sequence[str], rounds: int = 5) -> dict[str, dict[str, float]]:
    """Rates of our stages on the texts; kernels are compiled before the clock starts."""
    raw = pa.array(texts, pa.large_string())
    size = sum(len(text.encode()) for text in texts)
    clean, _ = normalise(raw)
    edit = Edit()
    edited, _ = edit.edit(clean)
    rules = load_rules(("wanjuan",))
    nothing = pa.nulls(len(texts), pa.string())
    batch = pa.table({"outcome": nothing, "reason": nothing, "detail": nothing.cast(pa.large_string())})
    batch = add_signals(batch, measure(edited))
    work: dict[str, Callable[[], Any]] = {
        "normalise": lambda: normalise(raw),
        "edit": lambda: edit.edit(clean),
        "signals": lambda: measure(clean),
        "rules": lambda: judge(batch, rules),
    }
    return {name: rate(len(texts), size, seconds(call, rounds)) for name, call in work.items()}


def datatrove_filters() -> dict[str, Any]:
    """The package's filters that judge what our rulesets judge."""
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter

    return {
        "gopher quality": GopherQualityFilter(),
        "gopher repetition": GopherRepetitionFilter(),
        "fineweb quality": FineWebQualityFilter(),
    }


def beside_datatrove(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Rates of datatrove's filters on the texts, and agreement of their verdicts with ours."""
    from datatrove.data import Document

    size = sum(len(text.encode()) for text in texts)
    values: Any = measure(pa.array(texts, pa.large_string()))
    gopher = load_rules(("gopher",))
    our_rules = {
        "gopher quality": gopher[:GOPHER_QUALITY],
        "gopher repetition": gopher[GOPHER_QUALITY:],
        "fineweb quality": load_rules(("fineweb",)),
    }
    rows = {}
    for name, block in datatrove_filters().items():
        documents = [Document(text=text, id=str(at)) for at, text in enumerate(texts)]
        block.filter(Document(text=texts[0], id="warm-up"))
        start = time.process_time()
        verdicts = [block.filter(document) for document in documents]
        spent = time.process_time() - start
        theirs = np.array([verdict is True for verdict in verdicts])
        kept = ~np.any([rule.fails(values) for rule in our_rules[name]], axis=0)
        agreement = {"agreement": round(float(np.mean(theirs == kept)), 4)}
        rows[name] = (
            rate(len(texts), size, spent) | agreement | {"kept": int(kept.sum()), "kept_theirs": int(theirs.sum())}
        )
    return rows


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--datatrove", type=int, default=100, help="documents for datatrove's filters; 0 for none")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not (options.data / "crawl").is_dir():
        print(f"no measurement data in {options.data}: set CORPUS_SHARED_DATA or --data", file=sys.stderr)
        return 2
    texts = [text for _, text in zip(range(options.documents), pages(options.data), strict=False)]
    result: dict[str, Any] = {"documents": len(texts), "mean_bytes": round(np.mean([len(t.encode()) for t in texts]))}
    result |= ours(texts)
    if options.datatrove:
        clean, _ = normalise(pa.array(texts, pa.large_string()))
        result["datatrove"] = beside_datatrove([text for text in clean.to_pylist() if text][: options.datatrove])
    if options.json:
        print(json.dumps(result))
        return 0
    for name, row in (result | result.pop("datatrove", {})).items():
        print(f"{name:20}", *([f"{key}={value:,}" for key, value in row.items()] if isinstance(row, dict) else [row]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
