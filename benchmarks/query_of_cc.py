"""Query of CC: how much of a harvest is on its subject, beside a random draw of the same pool.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/query_of_cc.py --data DATA [--documents N] [--dense] [--json]

Seeds are MMLU questions of a few subjects, the pool is DATA/text, whose documents are labelled by where they come from:
medicine, code and technical documentation, terms of service, news, forum, books. A harvested document is on its
subject if it comes from the part of the pool that treats it. The labels are coarse: a news article about a trial is no
terms of service, so the figure for law is low for any method; compare it with a random draw, the share of the pool.

One harvest for every number of rounds (0: only the seeds are asked), by key phrases, ten documents a query, over one
shared index. --dense adds MiniLM (a thousand documents take five minutes); --documents takes so many of each part.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.console import PlainProgress
from pipeline.manifest import Manifest
from pipeline.run import run

SUBJECTS = {
    "medicine": (("anatomy", "clinical_knowledge", "college_medicine", "medical_genetics"), ("medical",)),
    "computing": (
        ("college_computer_science", "high_school_computer_science", "computer_security", "machine_learning"),
        ("code", "techdocs"),
    ),
    "law": (("professional_law", "jurisprudence", "international_law"), ("legal",)),
}
"""Domain -> MMLU subjects that seed it, parts of the pool that treat it."""

SEEDS_PER_SUBJECT, PER_QUERY = 25, 10


def pool(data: Path, folder: Path, wanted: int | None) -> Counter[str]:
    """Write the pool's parts into ``folder``, with the part in front of every id; returns documents by part."""
    counts: Counter[str] = Counter()
    for path in sorted((data / "text").glob("*.parquet")):
        table = pq.read_table(path, columns=["id", "text"]).slice(0, wanted)
        ids = pa.array([f"{path.stem}/{name}" for name in table.column("id").to_pylist()])
        pq.write_table(table.set_column(0, "id", ids), folder / path.name, row_group_size=1024)
        counts[path.stem] = table.num_rows
    return counts


def manifest(data: Path, folder: Path, rounds: int, *, dense: bool) -> Manifest:
    """A harvest of ``rounds`` rounds over the pool."""
    seeds = {
        "path": str(data / "exams" / "mmlu.jsonl.zst"),
        "domain_field": "subject",
        "domains": {domain: list(subjects) for domain, (subjects, _) in SUBJECTS.items()},
        "per_value": SEEDS_PER_SUBJECT,
    }
    index: dict[str, Any] = {"path": str(folder / "index")}
    if dense:
        index["dense"] = {}
    return Manifest.model_validate(
        {
            "name": "pool",
            "source": {"paths": [str(folder / "pool" / "*.parquet")]},
            "output": {"path": str(folder / f"rounds{rounds}")},
            "executor": {"kind": "local"},
            "harvest": {
                "seeds": [seeds],
                "queries": {"rounds": rounds},
                "index": index,
                "search": {"per_query": PER_QUERY},
            },
            "stages": [{"kind": "dedup"}],
        }
    )


def figures(folder: Path, parts: Counter[str]) -> Iterator[dict[str, Any]]:
    """One row per domain: queries, documents, the share on the subject, and that of a random draw."""
    documents = pq.read_table(folder / "documents", columns=["id", "domain"]).to_pylist()
    queries = Counter(pq.read_table(folder / "queries", columns=["domain"]).column("domain").to_pylist())
    for domain, (_, own) in SUBJECTS.items():
        taken = Counter(row["id"].partition("/")[0] for row in documents if row["domain"] == domain)
        yield {
            "domain": domain,
            "queries": queries[domain],
            "documents": taken.total(),
            "on_subject": sum(taken[part] for part in own) / max(taken.total(), 1),
            "random": sum(parts[part] for part in own) / parts.total(),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--documents", type=int, help="of each part of the pool; default all")
    parser.add_argument("--dense", action="store_true", help="MiniLM beside BM25")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pool").mkdir()
        parts = pool(arguments.data.resolve(), folder / "pool", arguments.documents)
        for rounds in (0, 1, 2):
            run(manifest(arguments.data.resolve(), folder, rounds, dense=arguments.dense), PlainProgress())
            rows += [{"rounds": rounds, **row} for row in figures(folder / f"rounds{rounds}", parts)]
    print(
        "| rounds | domain | queries | documents | on the subject | random draw | lift |\n|---|---|---|---|---|---|---|"
    )
    for row in rows:
        lift = row["on_subject"] / row["random"]
        print(
            f"| {row['rounds']} | {row['domain']} | {row['queries']:,} | {row['documents']:,} "
            f"| {row['on_subject']:.1%} | {row['random']:.1%} | {lift:.1f} |"
        )
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
