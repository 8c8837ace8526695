"""Replays what was decided about a document, from what the run recorded: nothing is computed anew.

Every signal, every rule with its bound, every score with its threshold, the duplicates it was weighed against, and the
shard and row it ended in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from corpus.commit import CorpusManifest, current_manifest
from corpus.errors import StorageError
from corpus.schema import IDENTITY
from corpus.shards import ShardReader
from corpus.storage import Store
from pipeline import console
from stages.catalogue import AnyStage
from stages.rules import Rules, failing, load_rules
from stages.score import Score
from stages.stage import Stage

SHOWN_MEMBERS = 20


def explain_document(store: Store, document: str) -> list[dict[str, Any]]:
    """Everything on record about the documents with that URL or id; an empty list when there is none."""
    manifest = published(store)
    stages = recorded_stages(manifest)
    document = document.encode(errors="replace").decode()  # bytes of a command line need not be text
    found = []
    for name, number, row in _find(store, manifest, document, ("id", "url")):
        cluster = row.get("cluster")
        found.append(
            {
                "shard": name,
                "row": number,
                "outcome": row.get("outcome") or "kept",
                "reason": row.get("reason"),
                "detail": row.get("detail"),
                **{key: row[key] for key, _ in IDENTITY},
                "title": row.get("title"),
                "signals": row.get("signals") or {},
                "rules": _rules(stages, row),
                "scores": _scores(stages, row),
                "domain": row.get("domain"),
                "queries": _queries(store, manifest, row.get("queries") or ()),
                "duplicates": _cluster(store, manifest, cluster, row["id"]) if cluster else [],
                "survivor": row.get("survivor"),
                "similarity": row.get("similarity"),
                "content": row.get("content"),
            }
        )
    return found


@contextmanager
def open_shard(store: Store, name: str) -> Iterator[ShardReader]:
    """Open a published shard for a look; ``StorageError`` where it cannot be read (``pipeline verify`` says more)."""
    try:
        with store.open(name) as file:
            yield ShardReader(file)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{name} cannot be read: {error}", where=store.root, fix="pipeline verify names every damaged file"
        ) from None


def published(store: Store) -> CorpusManifest:
    """The corpus in force; ``StorageError`` where there is none."""
    manifest = current_manifest(store)
    if manifest is None:
        raise StorageError("no corpus has been published here", where=store.root, fix="finish the run first")
    return manifest


def recorded_stages(manifest: CorpusManifest) -> list[Stage]:
    """The stage configurations that made a corpus."""
    if "tokens" in manifest.files:
        raise StorageError("these are rows of tokens: no rule was applied to them", fix="ask the corpus of their text")
    adapter: TypeAdapter[Stage] = TypeAdapter(AnyStage)
    return [adapter.validate_python({k: v for k, v in stage.items() if k != "files"}) for stage in manifest.stages]


def _find(
    store: Store, manifest: CorpusManifest, wanted: str, columns: Sequence[str]
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Rows whose value in one of ``columns`` is ``wanted``: (file, row number, row)."""
    for kind in ("documents", "rejected"):
        for entry in manifest.files[kind]:
            with open_shard(store, entry.name) as shard:
                at = 0
                names = [name for name in columns if name in shard.schema.names]
                for group in range(shard.groups):
                    keys = shard.group(group, names)
                    for row in _matches(keys, wanted):
                        table = shard.group(group).slice(row, 1)
                        yield entry.name, at + row, table.to_pylist()[0]
                    at += keys.num_rows


def _matches(table: pa.Table, wanted: str) -> list[int]:
    mask = np.zeros(table.num_rows, dtype=np.bool_)
    for column in table.columns:
        hits = pc.fill_null(pc.equal(column, pa.scalar(wanted, column.type)), False)
        mask |= hits.to_numpy()
    return [int(row) for row in np.flatnonzero(mask)]


def _rules(stages: Sequence[Stage], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    signals = {
        name: np.array([np.nan if value is None else value]) for name, value in (row.get("signals") or {}).items()
    }
    judged = []
    for stage in stages:
        if not isinstance(stage, Rules) or not signals:
            continue
        rules = load_rules(stage.rulesets, override=stage.override, disable=stage.disable)
        failed = failing(rules, signals)
        for rule, fails in zip(rules, failed[:, 0], strict=True):
            value = float(signals[rule.signal][0]) if rule.signal in signals else None
            judged.append(
                {
                    "rule": rule.name,
                    "signal": rule.signal,
                    "value": None if value is None or np.isnan(value) else value,
                    "min": rule.min,
                    "max": rule.max,
                    "passed": None if value is None or np.isnan(value) else not bool(fails),
                    "source": rule.source,
                }
            )
    return judged


def _scores(stages: Sequence[Stage], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    judged = []
    for stage in stages:
        if isinstance(stage, Score):
            name = stage.score_column
            judged.append(
                {"score": name, "model": stage.model, "value": row.get(name), "min": stage.min, "max": stage.max}
            )
    return judged


def _queries(store: Store, manifest: CorpusManifest, hits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The queries of a harvest that take a document, best first, with their words and where they come from."""
    texts: dict[str, dict[str, Any]] = {}
    wanted = pa.array([hit["id"] for hit in hits], pa.string())
    for entry in manifest.files.get("queries", ()) if hits else ():
        with open_shard(store, entry.name) as shard:
            table = shard.read(["id", "text", "kind", "round", "domain", "parent", "seed", "origin", "model"])
        for query in table.filter(pc.is_in(table.column("id"), wanted)).to_pylist():
            texts[query["id"]] = query
    return [{**texts.get(hit["id"], {}), **hit} for hit in hits]


def _cluster(store: Store, manifest: CorpusManifest, cluster: str, own_id: str) -> list[dict[str, Any]]:
    members: list[dict[str, Any]] = []
    for name, number, row in _find(store, manifest, cluster, ("cluster",)):
        if row["id"] == own_id or len(members) >= SHOWN_MEMBERS:
            continue
        shown = ("id", "url", "crawl", "date", "survivor", "similarity")
        outcome = row.get("outcome") or "kept"
        members.append({**{key: row.get(key) for key in shown}, "outcome": outcome, "shard": name, "row": number})
    return members


def print_explanation(entry: Mapping[str, Any]) -> None:
    """One document's record, for people."""
    verdict = entry["outcome"] + (f": {entry['reason']}" if entry["reason"] else "")
    head = [("verdict", verdict), ("detail", entry["detail"]), ("stands in", f"{entry['shard']} row {entry['row']}")]
    identity = [(key, entry[key]) for key in ("id", "url", "title", "crawl", "date")]
    origin = f"{entry['warc_path']} at {entry['warc_offset']}, {entry['warc_length']} bytes"
    console.print_rows([*head, *identity, ("fetched from", origin)])
    for rule in entry["rules"]:
        if rule["passed"] is False:
            console.out.print(console.safe(f"  fails {_rule_line(rule)}"))
    for rule in entry["rules"]:
        if rule["passed"]:
            console.out.print(console.safe(f"  meets {_rule_line(rule)}"))
    for score in entry["scores"]:
        bounds = f"min {score['min']} max {score['max']}"
        console.out.print(console.safe(f"  score {score['score']} = {score['value']} ({score['model']}; {bounds})"))
    for query in entry["queries"]:
        line = f"{query.get('kind')} of round {query.get('round')}, {query.get('domain')}, rank {query['rank']}"
        console.out.print(console.safe(f"  taken by {query.get('text')!r} ({line})", limit=400))
    if entry["survivor"]:
        console.out.print(console.safe(f"  {entry['survivor']} stands for it, similarity {entry['similarity']:.3f}"))
    for other in entry["duplicates"]:
        console.out.print(console.safe(f"  same cluster: {other['id']} {other['url']} ({other['outcome']})"))
    console.print_rows([(f"  {name}", value) for name, value in entry["signals"].items()])
    console.out.print(console.safe(entry["content"] or "", limit=1500))


def _rule_line(rule: Mapping[str, Any]) -> str:
    bounds = " ".join(f"{side} {rule[side]}" for side in ("min", "max") if rule[side] is not None)
    return f"{rule['rule']}: {rule['signal']} = {rule['value']:.6g}, {bounds}"
