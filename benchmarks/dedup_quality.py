"""Recall by Jaccard bin and precision of near-duplicate removal, on pairs whose true similarity is known.

    python benchmarks/dedup_quality.py [--engine kernel --engine datasketch]

Data: ``near_duplicates`` in the folder named by CORPUS_SHARED_DATA (versions of public documents, with the exact
Jaccard similarity of listed pairs). Recall: a listed pair counts as found when both documents end in one cluster.
``proposed`` is the share of pairs that meet in a band, to be held against ``expected``, the mean of the S-curve.
Precision: for every removal, the similarity to the survivor is recomputed in plain Python from the texts.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.dedup import Dedup
from stages.dedup.in_memory import deduplicate
from stages.dedup.signatures import band_keys, signatures

BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
UNITS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", action="append", choices=["kernel", "datasketch"])
    parser.add_argument("--sample", type=int, default=0, help="take only this many documents (0: all)")
    arguments = parser.parse_args()
    default = Path(__file__).resolve().parents[1] / "../shared/data"
    folder = Path(os.environ.get("CORPUS_SHARED_DATA", default)) / "near_duplicates"
    if not folder.is_dir():
        raise SystemExit(f"no data: {folder} does not exist; set CORPUS_SHARED_DATA")
    documents = list({row["sha"]: row for row in read_lines(folder / "documents.jsonl.zst")}.values())
    documents = documents[: arguments.sample or None]
    pairs = list(read_lines(folder / "pairs.jsonl.zst"))
    for engine in arguments.engine or ["kernel", "datasketch"]:
        report(documents, pairs, Dedup(engine=engine))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with pa.input_stream(str(path), compression="zstd") as stream:
        for line in io.TextIOWrapper(io.BytesIO(stream.read()), "utf-8", newline="\n"):
            yield json.loads(line)


def report(documents: list[dict[str, Any]], pairs: list[dict[str, Any]], config: Dedup) -> None:
    texts = {row["sha"]: row["text"] for row in documents}
    content = pa.array(texts.values(), pa.large_string())
    start = time.process_time()
    keys = band_keys(signatures(content, config), config)
    signature_seconds = time.process_time() - start
    start = time.process_time()
    verdicts = {row["id"]: row for row in deduplicate(as_units(documents), config).to_pylist()}
    seconds = time.process_time() - start
    kinds = [row["kind"] for row in verdicts.values()]
    print(f"\n{config.engine}: {len(texts)} texts, signatures {signature_seconds:.2f} s, all steps {seconds:.2f} s CPU")
    print(f"removed {kinds.count('near')} near, {kinds.count('exact')} exact")
    print_recall(pairs, dict(zip(texts, keys, strict=True)), verdicts, config)
    print_precision(texts, verdicts, config)


def as_units(documents: list[dict[str, Any]]) -> list[pa.Table]:
    """The documents dealt out to units, so that most pairs lie in different ones."""
    columns = {
        "id": [row["sha"] for row in documents],
        "crawl": ["one"] * len(documents),
        "date": [row["date"] for row in documents],
        "content": pa.array([row["text"] for row in documents], pa.large_string()),
    }
    table = pa.table(columns)
    return [table.take(pa.array(range(unit, len(documents), UNITS), pa.int64())) for unit in range(UNITS)]


def print_recall(
    pairs: list[dict[str, Any]],
    keys: dict[str, NDArray[np.uint64]],
    verdicts: dict[str, dict[str, Any]],
    config: Dedup,
) -> None:
    cluster = {name: row["cluster"] or name for name, row in verdicts.items()}
    known = [pair for pair in pairs if pair["a"] in keys and pair["b"] in keys and pair["a"] != pair["b"]]
    print("  jaccard    pairs  expected  proposed  in one cluster")
    for low, high in zip((0.0, *BINS), (*BINS, 1.01), strict=True):
        chosen = [pair for pair in known if low <= pair["jaccard5"] < high]
        if not chosen:
            continue
        expected = np.mean([config.candidate_probability(pair["jaccard5"]) for pair in chosen])
        proposed = np.mean([(keys[pair["a"]] == keys[pair["b"]]).any() for pair in chosen])
        found = np.mean([cluster.get(pair["a"], pair["a"]) == cluster.get(pair["b"], pair["b"]) for pair in chosen])
        print(f"  {low:.1f}-{min(high, 1):.1f}  {len(chosen):7d}  {expected:8.3f}  {proposed:8.3f}  {found:14.3f}")


def print_precision(texts: dict[str, str], verdicts: dict[str, dict[str, Any]], config: Dedup) -> None:
    removed = [(name, row) for name, row in verdicts.items() if row["kind"] == "near"]
    true = np.array([plain_jaccard(texts[name], texts[row["survivor"]], config.ngram) for name, row in removed])
    said = np.array([row["similarity"] for _, row in removed])
    print(
        f"  precision of removals: {np.mean(true >= config.jaccard):.4f} of {len(removed)}; true similarity: ", end=""
    )
    print(f"minimum {true.min():.4f}, median {np.median(true):.4f}; largest error {np.abs(true - said).max():.1e}")


def plain_jaccard(a: str, b: str, ngram: int) -> float:
    left, right = (plain_shingles(re.findall(r"\w+", text.lower()), ngram) for text in (a, b))
    return len(left & right) / len(left | right)


def plain_shingles(words: list[str], ngram: int) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + ngram]) for at in range(max(1, len(words) - ngram + 1))}


if __name__ == "__main__":
    main()
