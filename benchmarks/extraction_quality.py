"""How good is the text, and what does it cost? Engines side by side on pages with reference text, in one run.

    CORPUS_SHARED_DATA=../shared/data python benchmarks/extraction_quality.py [--json] [--sample N] [--crawl N]

Word precision, recall and F1 are macro averages over pages of multiset word overlap (lower case) on the sets newspaper
(full text), readability (reference HTML) and forum (posts); F1 comes with a 95 % bootstrap interval. On the trafilatura
set phrases are counted: how many of the wanted ones are kept, how many of the unwanted are not, and the F1 of that.
The labelled set (``benchmarks/labelled_pages``) are pages of the web that are mostly no articles, decided by hand.
trafilatura gets comments on the forum set only (there they are the text), which our engines have to find out by
themselves. Times are CPU milliseconds per page, child process included; ``crawl`` is the mix of the crawl sample.

``--held-out FOLDS`` (``runs/extractor/folds``, from ``manifests/train_extractor.yaml``) judges each page by weights
that have seen neither it nor another page of its host; the shipped weights have seen most of these pages.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import re
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.labelled_pages.measure import Labelled
    from stages.extract.blocks.select import Mode

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
    url: str | None
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
                text = row["gold_text"] or ""
                golds.append(Gold(group, row["id"], row["html"], row["url"], text, wanted, unwanted))
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
    from stages.extract.blocks.engine import Options
    from stages.extract.charset import decode_html

    def ours(name: str, mode: Mode = "balanced") -> Engine:
        return lambda body, forum: extract_html(body, engine=name, options=Options(mode=mode)).text

    def peer(**options: Any) -> Engine:
        import trafilatura

        return lambda body, forum: (
            trafilatura.extract(decode_html(body).text, include_comments=forum, deduplicate=False, **options) or ""
        )

    known: dict[str, Engine] = {
        "blocks": ours("blocks"),
        "blocks precision": ours("blocks", "precision"),
        "blocks recall": ours("blocks", "recall"),
        "cascade": ours("cascade"),
        "resiliparse": ours("resiliparse"),
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


def measure(
    engine: Engine,
    golds: list[Gold],
    labelled: list[Labelled],
    crawl: list[bytes],
    choose: Callable[[Gold], None],
) -> dict[str, Any]:
    """Quality per set, milliseconds per page per set and on the crawl mix."""
    figures: dict[str, Any] = {}
    engine(golds[0].html, False)
    for group in (*TEXT_SETS, PHRASE_SET):
        chosen = [gold for gold in golds if gold.group == group]

        def run(chosen: list[Gold] = chosen, group: str = group) -> list[str]:
            texts = []
            for gold in chosen:
                choose(gold)
                texts.append(engine(gold.html, group == "forum_harvest"))
            return texts

        texts, seconds = timed(run)
        score = phrase_figures if group == PHRASE_SET else text_figures
        figures[group] = {**score(texts, chosen), "ms": 1000 * seconds / len(chosen)}
    if labelled:
        texts = []
        for page in labelled:
            choose(Gold("labelled", page.id, page.body, page.url, "", (), ()))
            texts.append(engine(page.body, page.decision.type == "forum"))
        from benchmarks.labelled_pages.measure import labelled_figures

        figures["labelled"] = labelled_figures(texts, labelled)
    if crawl:
        _, seconds = timed(lambda: [engine(body, False) for body in crawl])
        figures["crawl"] = {"pages": len(crawl), "ms": 1000 * seconds / len(crawl)}
        figures["crawl"]["documents_per_second"] = 1000 / figures["crawl"]["ms"]
    return figures


def held_out(folder: Path) -> Callable[[Gold], None]:
    """A function that puts the weights which never saw a page, or its host, in the place of the shipped ones."""
    from quality_models.extractor.groups import host_of
    from stages.extract import engines as ours
    from stages.extract.blocks.engine import BlocksEngine
    from stages.extract.blocks.model import load_model

    ready = [BlocksEngine(load_model(path)) for path in sorted(folder.glob("fold-*.npz"))]
    folds = json.loads((folder / "pages.json").read_text())

    def choose(gold: Gold) -> None:
        sha1 = hashlib.sha1(gold.html, usedforsecurity=False).hexdigest()
        ours._local.engine = ready[folds["pages"].get(sha1, folds["hosts"].get(host_of(gold.url), 0))]

    return choose


def show(name: str, figures: dict[str, Any]) -> None:
    parts = []
    for group, row in figures.items():
        if group == "crawl":
            parts.append(f"crawl {row['ms']:.2f} ms ({row['documents_per_second']:.0f}/s)")
        elif group == "labelled":
            low, high = row["f1_95"]
            kinds = ", ".join(f"{kind} {value:.3f}" for kind, value in row["by_kind"].items())
            accuracy = f"{row['precision']:.3f}/{row['recall']:.3f}, nothing kept of nothing {row['kept_nothing']:.3f}"
            parts.append(f"labelled F1 {row['f1']:.4f} [{low:.3f}, {high:.3f}] ({accuracy}) {kinds}")
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
    parser.add_argument("--held-out", type=Path, help="folds of the training recipe")
    arguments = parser.parse_args()
    from benchmarks.labelled_pages.measure import load_labelled

    golds = load_golds(arguments.data)[:: arguments.sample]
    labelled = load_labelled(arguments.data)[:: arguments.sample]
    crawl = list(crawl_bodies(arguments.data, arguments.crawl))
    choose = held_out(arguments.held_out) if arguments.held_out else lambda gold: None
    result = {}
    for name, engine in engines().items():
        if not arguments.engine or name in arguments.engine:
            result[name] = measure(engine, golds, labelled, crawl, choose)
            show(name, result[name])
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
