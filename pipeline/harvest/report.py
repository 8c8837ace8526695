"""What the report shows of a harvest: rounds and saturation, queries, domains, overlap, hosts, years, scores.

Everything comes from the published tables ``queries``, ``rounds`` and ``control`` and from one pass over a few columns
of the documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from corpus.commit import CorpusManifest
from corpus.shards import ShardReader
from corpus.storage import Store
from pipeline.charts import bar, curve, histogram
from pipeline.funnel import KEPT
from pipeline.survey import AXES, BINS, Survey

SHOWN_QUERIES = 12
SHOWN_HOSTS = 10
CONTROL = "a random sample of the corpus"
_COUNTS = (("1", 1, 1), ("2", 2, 2), ("3 to 5", 3, 5), ("6 to 10", 6, 10), ("more than 10", 11, None))


def harvest_section(store: Store, manifest: CorpusManifest, found: Survey) -> dict[str, Any] | None:
    """The variables of the section; None for a corpus that was not harvested."""
    if not manifest.files.get("queries"):
        return None
    queries, rounds = (_read(store, manifest, kind).to_pylist() for kind in ("queries", "rounds"))
    kept = _Kept(store, manifest, {query["id"]: query["domain"] for query in queries})
    return {
        "rounds": [_round_row(row) for row in rounds],
        "saturation": _saturation(rounds),
        "stopped": next((row["stopped"] for row in reversed(rounds) if row["stopped"]), "all rounds were run"),
        "domains": _domain_rows(queries, kept.domains),
        "by_queries": _spread(kept.by_queries),
        "by_domains": _spread(kept.by_domains),
        "per_query": _per_query(queries),
        "examples": _examples(queries),
        "hosts": _host_rows(found),
        "years": _year_rows(kept.years),
        "scores": list(_score_charts(store, manifest, found)),
        "contamination": [
            {"benchmark": reason.removeprefix("decontaminate/").partition("@")[0], "documents": count.documents}
            for reason, count in manifest.ledger.rejected.items()
            if reason.startswith("decontaminate/")
        ],
        "checked": any(stage["kind"] == "decontaminate" for stage in manifest.stages),
        "control": CONTROL,
    }


class _Kept:
    """Counts over the kept documents: by domain, year, and how many queries and domains take each."""

    def __init__(self, store: Store, manifest: CorpusManifest, domain_of: Mapping[str, str]) -> None:
        self.domains: Counter[str] = Counter()
        self.years: Counter[str] = Counter()
        self.by_queries: Counter[int] = Counter()
        self.by_domains: Counter[int] = Counter()
        for table in _documents(store, manifest):
            self.domains.update(table.column("domain").to_pylist())
            self.years.update((date or "")[:4] or "unknown" for date in table.column("date").to_pylist())
            self.by_queries.update(table.column("signals").combine_chunks().field("harvest_queries").to_pylist())
            for hits in table.column("queries").to_pylist():
                self.by_domains[len({domain_of.get(hit["id"], "") for hit in hits or ()})] += 1


def _documents(store: Store, manifest: CorpusManifest) -> Iterator[pa.Table]:
    for entry in manifest.files["documents"]:
        with store.open(entry.name) as file:
            shard = ShardReader(file)
            for group in range(shard.groups):
                yield shard.group(group, ["domain", "date", "queries.list.element.id", "signals.harvest_queries"])


def _read(store: Store, manifest: CorpusManifest, kind: str) -> pa.Table:
    tables = []
    for entry in manifest.files.get(kind, ()):
        with store.open(entry.name) as file:
            tables.append(ShardReader(file).read())
    return pa.concat_tables(tables) if tables else pa.table({})


def _round_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "removed": ", ".join(f"{reason} {count:,}" for reason, count in row["removed"]),
        "refused": ", ".join(f"{cause} {count:,}" for cause, count in row["refused"]),
        "novelty": row["new"] / max(row["found"], 1),
    }


def _saturation(rounds: list[dict[str, Any]]) -> Markup:
    queries = np.cumsum([0, *(row["queries"] for row in rounds)]).tolist()
    documents = np.cumsum([0, *(row["new"] for row in rounds)]).tolist()
    return curve(list(zip(queries, documents, strict=True)), across="queries asked", up="documents taken")


def _domain_rows(queries: list[dict[str, Any]], documents: Mapping[str, int]) -> list[dict[str, Any]]:
    kinds: dict[str, Counter[str]] = {}
    for query in queries:
        kinds.setdefault(query["domain"], Counter())[query["kind"]] += 1
    most = max(documents.values(), default=0)
    return [
        {
            "domain": domain,
            "seeds": counts["seed"],
            "questions": counts["question"],
            "thoughts": counts["thought"],
            "keyphrases": counts["keyphrase"],
            "documents": documents.get(domain, 0),
            "bar": bar(documents.get(domain, 0), most),
        }
        for domain, counts in sorted(kinds.items(), key=lambda item: (-documents.get(item[0], 0), item[0]))
    ]


def _spread(counts: Mapping[int, int]) -> list[dict[str, Any]]:
    found = {
        label: sum(number for value, number in counts.items() if value >= low and (high is None or value <= high))
        for label, low, high in _COUNTS
    }
    most = max(found.values())
    return [{"label": name, "documents": count, "bar": bar(count, most)} for name, count in found.items() if count]


def _per_query(queries: list[dict[str, Any]]) -> dict[str, Any]:
    taken = np.array([query["taken"] for query in queries] or [0])
    return {
        "median": float(np.median(taken)),
        "none": int((taken == 0).sum()),
        "nothing_new": int(sum(query["new"] == 0 for query in queries)),
        "all": len(queries),
    }


def _examples(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The queries that brought most that was new, not more than two of a domain and kind."""
    rows: list[dict[str, Any]] = []
    shown: Counter[tuple[str, str]] = Counter()
    for query in sorted(queries, key=lambda query: (-query["new"], query["id"])):
        key = (query["domain"], query["kind"])
        if shown[key] < 2 and len(rows) < SHOWN_QUERIES:
            shown[key] += 1
            rows.append(query)
    return rows


def _host_rows(found: Survey) -> list[dict[str, Any]]:
    hosts = sorted(
        ((int(counts[KEPT]), host) for host, counts in found.hosts.items()), key=lambda row: (-row[0], row[1])
    )
    most = hosts[0][0] if hosts else 0
    return [{"host": host, "documents": count, "bar": bar(count, most)} for count, host in hosts[:SHOWN_HOSTS] if count]


def _year_rows(years: Mapping[str, int]) -> list[dict[str, Any]]:
    most = max(years.values(), default=0)
    return [{"year": year, "documents": count, "bar": bar(count, most)} for year, count in sorted(years.items())]


def _score_charts(store: Store, manifest: CorpusManifest, found: Survey) -> Iterator[dict[str, Any]]:
    control = _read(store, manifest, "control")
    for axis in AXES:
        if axis.column not in control.column_names or axis.column not in found.histograms:
            continue
        values = control.column(axis.column).drop_null().to_numpy().astype(np.float64)
        counts = np.zeros((2, BINS), np.int64)
        counts[0], counts[1] = found.histograms[axis.column][0], axis.bin(values)
        yield {"title": axis.title, "svg": histogram(axis, counts, compared=CONTROL)}
