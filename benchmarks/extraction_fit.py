"""Fit the line judge (``stages/extract/line_judge.json``) on pages labelled by trafilatura. Deterministic, minutes.

    python benchmarks/extraction_fit.py --write stages/extract/line_judge.json
    python benchmarks/extraction_fit.py --folds 3 --write build/folds  # extraction_quality.py --held-out build/folds

A line is text when trafilatura (favor_precision, no comments) keeps it: the whole line, or more than half of its
three-word sequences. Pages weigh by how much text trafilatura found; pages of forms and of Wikipedia tables count less.
Every page is used twice where possible: as main content and, every other page, as the whole page (the wide pass).
With ``--folds`` each file holds weights that have not seen the pages of its fold, nor near duplicates of them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.extract.charset import decode_html
from stages.extract.engines import fast_markup
from stages.extract.line_features import FEATURES, features
from stages.extract.line_judge import Weights
from stages.extract.line_kernel import (
    FNV_OFFSET,
    FNV_PRIME,
    LEAST_WEIGHT,
    MOST_WEIGHT,
    WORD_WEIGHT,
    WORDS,
    bucket_of,
    read_lines,
)

BUCKETS = 16384
UNITS = 32
EPOCHS = 20
SOURCE_WEIGHT = {"formasaurus": 0.3, "webstruct": 0.3, "wikitablequestions": 0.2}
WORD = re.compile(r"\w+")
TOKEN = re.compile(r"[0-9A-Za-z\x80-\u1fff\u2070-\U0010ffff]+")


@dataclass
class Page:
    """One view of one page: line counts, labels 0..1, weight, and the word buckets of its lines."""

    name: str
    counts: NDArray[np.float32]
    labels: NDArray[np.float64]
    weight: float
    buckets: list[NDArray[np.int64]] = field(default_factory=list)


def label_lines(lines: list[str], reference: str) -> NDArray[np.float64]:
    """Share of each line that stands in the reference: 1 for a line that is one of its lines."""
    tokens = [WORD.findall(line.lower()) for line in reference.split("\n")]
    whole = {tuple(line) for line in tokens}
    flat = [word for line in tokens for word in line]
    triples = set(zip(flat, flat[1:], flat[2:], strict=False))
    labels = np.zeros(len(lines))
    for at, line in enumerate(lines):
        words = WORD.findall(line.lower())
        if words and tuple(words) in whole:
            labels[at] = 1
        elif len(words) >= 4:
            own = list(zip(words, words[1:], words[2:], strict=False))
            labels[at] = sum(triple in triples for triple in own) / len(own)
    return labels


def make_page(name: str, html: str, reference: str, weight: float, *, wide: bool) -> Page | None:
    """Lines of one view of a page with their labels; None without lines."""
    text, spans, counts = read_lines(fast_markup(html, wide=wide), np.zeros(BUCKETS, np.float32))
    if not 0 < len(spans) < 3000:
        return None
    lines = [text[start:end].decode("utf-8", "replace") for start, end in spans.tolist()]
    page = Page(name, counts, label_lines(lines, reference), weight * min(1.0, len(reference) / 1500))
    page.buckets = [np.array([_bucket(word) for word in TOKEN.findall(line)], dtype=np.int64) for line in lines]
    return page


_bucket_of_word: dict[str, int] = {}


def _bucket(word: str) -> int:
    if word not in _bucket_of_word:
        value = int(FNV_OFFSET)
        for byte in word.encode("utf-8", "replace"):
            value = ((value ^ (byte + 32 if 65 <= byte <= 90 else byte)) * int(FNV_PRIME)) & (2**64 - 1)
        _bucket_of_word[word] = int(bucket_of(np.uint64(value), BUCKETS))
    return _bucket_of_word[word]


def crawl_pages(data: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, set and HTML of the crawl pages that are no duplicate of an earlier one."""
    from fastwarc.warc import ArchiveIterator

    with gzip.open(data / "crawl/manifest.jsonl.gz", "rt") as lines:
        entries = {entry["id"]: entry for entry in map(json.loads, lines)}
    for path in sorted((data / "crawl").glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, parse_http=True):
                name = record.headers.get("X-Page-Id")
                if name and not (entries[name].get("dup_of") or entries[name].get("near_dup_of")):
                    yield name, name.split("/")[0], record.reader.read()


def load_pages(data: Path) -> list[Page]:
    """Both views of every crawl page, labelled by trafilatura."""
    import trafilatura

    pages: list[Page | None] = []
    for at, (name, group, body) in enumerate(crawl_pages(data)):
        html = decode_html(body).text
        reference = trafilatura.extract(html, favor_precision=True, include_comments=False, deduplicate=False) or ""
        if group == "forum_harvest":  # posts are marked up as comments: there they are the text
            reference = trafilatura.extract(html, deduplicate=False) or ""
        weight = SOURCE_WEIGHT.get(group, 1.0)
        if reference:
            pages.append(make_page(name, html, reference, weight, wide=False))
            if at % 2 == 0:
                pages.append(make_page(name, html, reference, weight, wide=True))
    return [page for page in pages if page]


def fold_of(name: str, folds: int) -> int:
    return zlib.crc32(name.encode()) % folds


def word_counts(pages: list[Page]) -> NDArray[np.float64]:
    """How much text (row 0) and boilerplate (row 1) each word bucket has been seen in."""
    seen = np.zeros((2, BUCKETS))
    for page in pages:
        share = page.weight / np.sqrt(len(page.buckets))
        for buckets, label in zip(page.buckets, page.labels, strict=True):
            distinct = np.unique(buckets)
            if len(distinct):
                seen[0 if label > 0.5 else 1, distinct] += share / np.sqrt(len(distinct))
    return seen


def word_weights(seen: NDArray[np.float64]) -> NDArray[np.float32]:
    """Log odds of text per word bucket, smoothed and clipped."""
    level = seen / seen.sum(axis=1, keepdims=True) * BUCKETS + 0.2
    weights: NDArray[np.float32] = np.clip(np.log(level[0] / level[1]), -3, 3).astype(np.float32)
    return weights


def fill_word_weights(page: Page, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The counts of a page as ``read_lines`` gives them with these weights."""
    counts = page.counts.copy()
    for line, buckets in zip(counts, page.buckets, strict=True):
        found = weights[buckets]
        line[WORD_WEIGHT] = found.sum()
        line[LEAST_WEIGHT], line[MOST_WEIGHT] = min(0, found.min(initial=0)), max(0, found.max(initial=0))
    return counts


def fit(pages: list[Page], *, seed: int = 0) -> Weights:
    """Word weights (out of fold for training), then the network, by Adam on weighted log loss."""
    parts = [word_counts([page for page in pages if fold_of(page.name, 5) == part]) for part in range(5)]
    total = np.sum(parts, axis=0)
    held_out = [word_weights(total - part) for part in parts]
    tables, labels, shares = [], [], []
    for page in pages:
        tables.append(features(fill_word_weights(page, held_out[fold_of(page.name, 5)])))
        labels.append(page.labels > 0.5)
        size = page.counts[:, WORDS] ** 0.7
        shares.append(size / size.sum() * page.weight * np.where(abs(page.labels - 0.5) < 0.25, 0.3, 1))
    network = _descend(np.concatenate(tables).astype(np.float64), np.concatenate(labels), np.concatenate(shares), seed)
    inner, bias, outer, outer_bias = (np.round(part, 4) for part in network)
    single = [part.astype(np.float32) for part in (inner, bias, outer)]
    return Weights(np.round(word_weights(total), 2), single[0], single[1], single[2], float(outer_bias[0]))


def _descend(
    table: NDArray[np.float64], labels: NDArray[np.bool_], shares: NDArray[np.float64], seed: int
) -> list[NDArray[np.float64]]:
    draw = np.random.default_rng(seed)
    weights = [
        draw.normal(0, FEATURES**-0.5, (FEATURES, UNITS)),
        np.zeros(UNITS),
        draw.normal(0, UNITS**-0.5, UNITS),
        np.zeros(1),
    ]
    first = [np.zeros_like(part) for part in weights]
    second = [np.zeros_like(part) for part in weights]
    steps = EPOCHS * -(-len(labels) // 2048)
    step = 0
    for _ in range(EPOCHS):
        order = draw.permutation(len(labels))
        for start in range(0, len(order), 2048):
            chosen = order[start : start + 2048]
            rate = 3e-3 * (0.02 + 0.98 * (1 - step / steps))
            step += 1
            for at, slope in enumerate(_slopes(weights, table[chosen], labels[chosen], shares[chosen])):
                first[at] += 0.1 * (slope - first[at])
                second[at] += 0.001 * (slope**2 - second[at])
                ahead = first[at] / (1 - 0.9**step)
                weights[at] -= rate * ahead / (np.sqrt(second[at] / (1 - 0.999**step)) + 1e-8)
    return weights


def _slopes(
    weights: list[NDArray[np.float64]],
    table: NDArray[np.float64],
    labels: NDArray[np.bool_],
    shares: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    inner, bias, outer, outer_bias = weights
    hidden = np.maximum(table @ inner + bias, 0)
    error = (1 / (1 + np.exp(-(hidden @ outer + outer_bias))) - labels) * shares / shares.sum()
    back = np.outer(error, outer) * (hidden > 0)
    return [table.T @ back + 1e-6 * inner, back.sum(0), hidden.T @ error + 1e-6 * outer, np.array([error.sum()])]


def write(weights: Weights, path: Path) -> None:
    """The weights as JSON, rounded: small, readable, the same on every machine."""
    document: dict[str, Any] = {
        "words": [round(float(value), 2) for value in weights.words],
        "inner": [[round(float(value), 4) for value in row] for row in weights.inner],
        "inner_bias": [round(float(value), 4) for value in weights.inner_bias],
        "outer": [round(float(value), 4) for value in weights.outer],
        "outer_bias": round(weights.outer_bias, 4),
    }
    path.write_text("{\n" + ",\n".join(f'"{name}": {json.dumps(part)}' for name, part in document.items()) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("CORPUS_SHARED_DATA", str(Path(__file__).parents[2] / "shared/data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--folds", type=int, default=0, help="write weights held out by fold instead of one file")
    parser.add_argument(
        "--write", type=Path, required=True, help="where the weights go: a file, or a folder with --folds"
    )
    arguments = parser.parse_args()
    pages = load_pages(arguments.data)
    print(f"{len(pages)} page views, {sum(len(page.counts) for page in pages)} lines")
    if not arguments.folds:
        write(fit(pages), arguments.write)
        return
    arguments.write.mkdir(parents=True, exist_ok=True)
    for fold in range(arguments.folds):
        seen = [page for page in pages if fold_of(page.name, arguments.folds) != fold]
        write(fit(seen), arguments.write / f"fold-{fold}.json")


if __name__ == "__main__":
    main()
