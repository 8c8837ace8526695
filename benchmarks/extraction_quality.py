"""How good is the text, and what does it cost? Engines side by side on pages with reference text, in one run.

    CORPUS_SHARED_DATA=../shared/data python benchmarks/extraction_quality.py [--json] [--sample N] [--crawl N]

Word precision, recall and F1 are macro averages over pages of multiset word overlap (lower case) on the sets newspaper
(full text), readability (reference HTML) and forum (posts); F1 comes with a 95 % bootstrap interval. On the trafilatura
set phrases are counted: how many of the wanted ones are kept, how many of the unwanted are not, and the F1 of that.
trafilatura gets comments on the forum set only (there they are the text), which our engines have to find out by
themselves. Times are CPU milliseconds per page, child process included; ``crawl`` is the mix of the crawl sample.

``--held-out DIR`` judges each page by weights that never saw it (``extraction_fit.py --folds``); the shipped weights
have seen trafilatura's output (never the reference texts) for three quarters of these pages.
"""

from __future__ import annotations

import argparse
import collections
import functools
import gzip
import json
import os
import random
import re
import resource
import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORD = re.compile(r"\w+")
TEXT_SETS = {"newspaper": "full_text", "readability": "html", "forum_harvest": "posts"}
PHRASE_SET = "trafilatura_a"
Engine = Callable[[bytes, bool], str]


@dataclass(frozen=True)
class Gold:
    """One page with its reference."""

    group: str
    name: str
    html: bytes
    text: str
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]


def load_golds(data: Path) -> list[Gold]:
    """All usable pages of the four sets."""
    import pyarrow.parquet as pq

    golds = []
    for group in (*TEXT_SETS, PHRASE_SET):
        for row in pq.read_table(data / "extraction" / f"{group}.parquet").to_pylist():
            if row["gold_kind"] in (TEXT_SETS.get(group), "snippets") and (
                group == PHRASE_SET or row["gold_text"].strip()
            ):
                wanted, unwanted = tuple(row["must_have"] or ()), tuple(row["must_not_have"] or ())
                golds.append(Gold(group, row["id"], row["html"], row["gold_text"] or "", wanted, unwanted))
    return golds


def crawl_bodies(data: Path, most: int) -> Iterator[bytes]:
    """The first ``most`` pages of the crawl sample (they are in random order)."""
    from fastwarc.warc import ArchiveIterator

    left = most
    for path in sorted((data / "crawl").glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, parse_http=True):
                if record.headers.get("WARC-Type") == "response" and left > 0:
                    left -= 1
                    yield record.reader.read()


def engines() -> dict[str, Engine]:
    """Every engine as ``(html, is_forum) -> text``. The peers decode as we do, so that only extraction differs."""
    from stages.extract import extract_html
    from stages.extract.charset import decode_html

    def ours(name: str) -> Engine:
        return lambda body, forum: extract_html(body, engine=name).text

    def peer(**options: Any) -> Engine:
        import trafilatura

        return lambda body, forum: (
            trafilatura.extract(decode_html(body).text, include_comments=forum, deduplicate=False, **options) or ""
        )

    known: dict[str, Engine] = {
        "resiliparse": ours("resiliparse"),
        "cascade": ours("cascade"),
        "trafilatura fast": peer(fast=True),
        "trafilatura default": peer(),
        "trafilatura precision": peer(favor_precision=True),
    }
    try:
        from readability import Document  # type: ignore[import-not-found]
        from readability.readability import Unparseable
    except ImportError:
        return known

    def readability(body: bytes, forum: bool) -> str:
        try:
            return re.sub(r"<[^>]*>", " ", Document(decode_html(body).text).summary())
        except Unparseable:  # pages with control characters
            return ""

    return {**known, "readability-lxml": readability}


def overlap(found: str, reference: str) -> tuple[float, float, float]:
    """F1, precision and recall of two texts as multisets of words."""
    a, b = (collections.Counter(WORD.findall(text.lower())) for text in (found, reference))
    common = (a & b).total()
    precision = common / a.total() if a else float(not b)
    recall = common / b.total() if b else 1.0
    return 2 * precision * recall / (precision + recall) if common else 0.0, precision, recall


def bootstrap(values: list[float], rounds: int = 1000) -> tuple[float, float]:
    """95 % interval of the mean."""
    draw = random.Random(0)
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(rounds))
    return means[int(0.025 * rounds)], means[int(0.975 * rounds)]


def text_figures(texts: list[str], golds: list[Gold]) -> dict[str, Any]:
    scores = [overlap(text, gold.text) for text, gold in zip(texts, golds, strict=True)]
    f1, precision, recall = (statistics.fmean(column) for column in zip(*scores, strict=True))
    interval = bootstrap([score[0] for score in scores])
    return {"pages": len(golds), "f1": f1, "f1_95": interval, "precision": precision, "recall": recall}


def phrase_figures(texts: list[str], golds: list[Gold]) -> dict[str, Any]:
    kept = wanted = leaked = unwanted = 0
    for text, gold in zip(texts, golds, strict=True):
        flat = " ".join(text.split())
        kept += sum(" ".join(phrase.split()) in flat for phrase in gold.wanted)
        leaked += sum(" ".join(phrase.split()) in flat for phrase in gold.unwanted)
        wanted, unwanted = wanted + len(gold.wanted), unwanted + len(gold.unwanted)
    recall, precision = kept / wanted, kept / max(1, kept + leaked)
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    return {"pages": len(golds), "f1": f1, "recall": recall, "rejection": 1 - leaked / unwanted}


def cpu_seconds() -> float:
    """CPU time of this process and of children it has ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(run: Callable[[], list[str]]) -> tuple[list[str], float]:
    """Result and CPU seconds; the extraction child is ended first and last, so that its time is counted here."""
    from stages.extract.page import shared_tools

    shared_tools().child.ask({"do": "careful", "page": "<p>warm</p>", "precise": False, "comments": False})
    start_up = _child_seconds(shared_tools().child)
    began = cpu_seconds()
    texts = run()
    shared_tools().child.close()
    return texts, cpu_seconds() - began - start_up


def _child_seconds(child: Any) -> float:
    """CPU time that the running child has used so far (its imports)."""
    fields = Path(f"/proc/{child._process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(engine: Engine, golds: list[Gold], crawl: list[bytes], choose: Callable[[str], None]) -> dict[str, Any]:
    """Quality per set, milliseconds per page per set and on the crawl mix."""
    figures: dict[str, Any] = {}
    engine(golds[0].html, False)
    for group in (*TEXT_SETS, PHRASE_SET):
        chosen = [gold for gold in golds if gold.group == group]

        def run(chosen: list[Gold] = chosen, group: str = group) -> list[str]:
            texts = []
            for gold in chosen:
                choose(f"{group}/{gold.name}")
                texts.append(engine(gold.html, group == "forum_harvest"))
            return texts

        texts, seconds = timed(run)
        score = phrase_figures if group == PHRASE_SET else text_figures
        figures[group] = {**score(texts, chosen), "ms": 1000 * seconds / len(chosen)}
    if crawl:
        _, seconds = timed(lambda: [engine(body, False) for body in crawl])
        figures["crawl"] = {"pages": len(crawl), "ms": 1000 * seconds / len(crawl)}
        figures["crawl"]["documents_per_second"] = 1000 / figures["crawl"]["ms"]
    return figures


def held_out(folder: Path, data: Path) -> Callable[[str], None]:
    """A function that puts the weights which never saw the page ``group/name`` in the place of the shipped ones."""
    from stages.extract import line_judge

    files = sorted(folder.glob("fold-*.json"))
    weights = [line_judge.read_weights(path.read_text()) for path in files]
    with gzip.open(data / "crawl/manifest.jsonl.gz", "rt") as lines:
        entries = {entry["id"]: entry for entry in map(json.loads, lines)}
    page_of = {
        f"{Path(file).stem}/{name}": entry["id"] for entry in entries.values() for file, name in entry.get("gold") or ()
    }

    @functools.cache
    def fold(name: str) -> int:
        page, seen = page_of.get(name, name), set[str]()
        while page in entries and page not in seen:  # to the page that stands for its near duplicates in training
            seen.add(page)
            page = entries[page].get("dup_of") or entries[page].get("near_dup_of") or page
        return zlib.crc32(page.encode()) % len(files)

    def choose(name: str) -> None:
        line_judge.shipped_weights = lambda: weights[fold(name)]  # type: ignore[assignment]

    return choose


def show(name: str, figures: dict[str, Any]) -> None:
    parts = []
    for group, row in figures.items():
        if group == "crawl":
            parts.append(f"crawl {row['ms']:.2f} ms ({row['documents_per_second']:.0f}/s)")
        elif group == PHRASE_SET:
            parts.append(f"phrases F1 {row['f1']:.4f} ({row['recall']:.3f}/{row['rejection']:.3f}) {row['ms']:.2f} ms")
        else:
            low, high = row["f1_95"]
            accuracy = f"{row['precision']:.3f}/{row['recall']:.3f}"
            parts.append(f"{group} F1 {row['f1']:.4f} [{low:.3f}, {high:.3f}] ({accuracy}) {row['ms']:.2f} ms")
    print(f"{name:22s}", "\n                       ".join(parts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("CORPUS_SHARED_DATA", str(Path(__file__).parents[2] / "shared/data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--sample", type=int, default=1, help="every Nth page of the reference sets")
    parser.add_argument("--crawl", type=int, default=500, help="pages of the crawl sample to time (0: none)")
    parser.add_argument("--engine", action="append", help="only this engine (may be repeated)")
    parser.add_argument("--held-out", type=Path, help="folder of extraction_fit.py --folds")
    parser.add_argument("--language", action="store_true", help="measure language identification instead")
    arguments = parser.parse_args()
    if arguments.language:
        print(json.dumps(language_figures(arguments.data)))
        return
    golds = load_golds(arguments.data)[:: arguments.sample]
    crawl = list(crawl_bodies(arguments.data, arguments.crawl))
    choose = held_out(arguments.held_out, arguments.data) if arguments.held_out else lambda name: None
    result = {}
    for name, engine in engines().items():
        if not arguments.engine or name in arguments.engine:
            result[name] = measure(engine, golds, crawl, choose)
            show(name, result[name])
    if arguments.json:
        print(json.dumps(result))


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
    main()
