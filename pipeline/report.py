"""What a finished run shows to people: ``report.html``, one page without scripts or remote parts, and the dataset card.

Both are written beside the corpus and are no part of it: no digest covers them, and they may be written anew at any
time from the published shards (``pipeline report OUTPUT``). Text from a crawl is cut, stripped of control characters
and escaped; the page's content security policy forbids anything but its own style sheet. Cost: the pass of
``pipeline.survey`` and some milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.commit import CorpusManifest
from corpus.storage import Store
from pipeline.charts import bar, funnel_chart, histogram
from pipeline.funnel import KEPT, STEPS, funnel, reasons, step_of
from pipeline.harvest.report import harvest_section
from pipeline.page import render
from pipeline.survey import AXES, BY_ADDRESS, Survey, survey

PAGE, CARD = "report.html", "README.md"
MANY_PAGES = 20
ALARM_SHARE = 0.9
SHOWN_HOSTS = 30
_SIZES = ((2, 2), (3, 3), (4, 4), (5, 9), (10, 19), (20, 49), (50, 99), (100, 999), (1000, None))
_JUDGED = [number for number, step in enumerate(STEPS) if step.key not in ("pages", "harvest", "raw")]


def write_report(store: Store, manifest: CorpusManifest) -> list[str]:
    """Write page and card of a published corpus into its store, replacing older ones; returns their names."""
    from pipeline.card import dataset_card

    found = survey(store, manifest)
    store.swap(CARD, dataset_card(store, manifest, found).encode())
    store.swap(PAGE, render_page(manifest, found, harvest_section(store, manifest, found)).encode())
    return [CARD, PAGE]


def render_page(manifest: CorpusManifest, found: Survey, harvest: dict[str, Any] | None = None) -> str:
    """The page as HTML; ``harvest`` are the variables of its section about a harvest."""
    filters = {"number": _number, "share": _share, "megabytes": _megabytes, "plain": plain}
    return render("report_page.html", filters, harvest=harvest, **_page(manifest, found))


def plain(value: object, limit: int = 2000) -> str:
    """Untrusted text as something to show: control and direction marks replaced, cut to ``limit`` characters."""
    text = str(value)
    shown = "".join(
        mark if mark.isprintable() or mark == "\n" else "\N{REPLACEMENT CHARACTER}" for mark in text[:limit]
    )
    return shown + ("…" if len(text) > limit else "")


def _page(manifest: CorpusManifest, found: Survey) -> dict[str, Any]:
    ledger, steps = manifest.ledger, funnel(manifest.ledger, manifest.stages)
    stratified = "One or more for each of the most frequent reasons given to documents with a text."
    return {
        "name": manifest.name,
        "digest": manifest.digest,
        "code": manifest.code,
        "stages": [stage["kind"] for stage in manifest.stages],
        "tiles": _tiles(manifest, found),
        "read": ledger.read,
        "read_or_one": max(ledger.read.documents, 1),
        "pages_or_one": max(steps[0].after.documents, 1),
        "funnel": steps,
        "funnel_chart": funnel_chart(steps),
        "reasons": _reasons(manifest),
        "compared": found.compared,
        "histograms": [
            {"title": axis.title, "svg": histogram(axis, found.histograms[axis.column], compared=found.compared)}
            for axis in AXES
            if axis.column in found.histograms and found.histograms[axis.column].any()
        ],
        "hosts": host_rows(found),
        "hosts_cut": found.hosts_cut,
        "many": MANY_PAGES,
        "clusters": _clusters(found),
        "cluster_factor": found.cluster_factor,
        "quarantine": _quarantine(manifest, found),
        "samples": [
            {"id": "kept", "title": "Kept, sampled", "note": "Chosen by a hash of the id.", "rows": found.kept_samples},
            {"id": "rejected", "title": "Rejected, sampled", "note": stratified, "rows": found.rejected_samples},
        ],
    }


def _tiles(manifest: CorpusManifest, found: Survey) -> list[dict[str, str]]:
    ledger = manifest.ledger
    kept = ledger.kept.documents
    duplicates = sum(count.documents for count in ledger.duplicates.values())
    tiles = [
        (_number(ledger.read.documents), "records read"),
        (_number(kept), f"documents kept, {_share(kept / max(ledger.read.documents, 1))}"),
        (f"{found.kept_bytes / 1e6:,.1f} MB", "of text kept"),
        (_number(found.kept_tokens), "tokens kept, estimated"),
        (_number(duplicates), "duplicates"),
        (_number(sum(count.documents for count in ledger.quarantined.values())), "in quarantine"),
    ]
    if found.masked:
        tiles.append((_number(sum(found.masked.values())), "personal data masked"))
    return [{"value": value, "label": label} for value, label in tiles]


def _reasons(manifest: CorpusManifest) -> list[dict[str, Any]]:
    rows = sorted(reasons(manifest.ledger), key=lambda row: (-row[2].documents, row[1]))
    most = rows[0][2].documents if rows else 0
    return [
        {
            "reason": reason,
            "step": STEPS[step_of(reason)].title,
            "documents": count.documents,
            "bytes": count.bytes,
            "bar": bar(count.documents, most),
        }
        for _, reason, count in rows
    ]


def host_rows(found: Survey) -> list[dict[str, Any]]:
    """The hosts to show: those with an alarm first, then the largest."""
    rows = [_host_row(host, counts) for host, counts in found.hosts.items()]
    rows.sort(key=lambda row: (not row["alarm"], -row["pages"], row["host"]))
    return rows[:SHOWN_HOSTS]


def _host_row(host: str, counts: NDArray[np.int64]) -> dict[str, Any]:
    kept, removed = int(counts[KEPT]), int(counts[_JUDGED].sum())
    judged = kept + removed
    if removed:
        most = STEPS[_JUDGED[int(counts[_JUDGED].argmax())]].title
    elif counts[BY_ADDRESS]:
        most = "URL rules"
    else:
        most = STEPS[int(counts[:KEPT].argmax())].title if counts[:KEPT].any() else ""
    return {
        "host": host,
        "pages": int(counts.sum()),
        "judged": judged,
        "kept": kept,
        "removed": removed / max(judged, 1),
        "most": most,
        "alarm": judged >= MANY_PAGES and removed / judged > ALARM_SHARE,
    }


def _clusters(found: Survey) -> list[dict[str, Any]]:
    sizes = np.array(list(found.clusters.values()), np.int64)
    rows: list[dict[str, Any]] = []
    for low, high in _SIZES:
        inside = sizes[(sizes >= low) & (sizes <= (high or sizes.max(initial=0)))]
        if len(inside):
            label = f"{low}" if low == high else f"{low} or more" if high is None else f"{low} to {high}"
            total = int(inside.sum()) * found.cluster_factor
            rows.append({"size": label, "clusters": len(inside) * found.cluster_factor, "documents": total})
    most = max((row["documents"] for row in rows), default=0)
    return [{**row, "bar": bar(row["documents"], most)} for row in rows]


def _quarantine(manifest: CorpusManifest, found: Survey) -> Sequence[dict[str, Any]]:
    causes = sorted(manifest.ledger.quarantined.items(), key=lambda item: (-item[1].documents, item[0]))
    return [
        {
            "cause": cause,
            "documents": count.documents,
            "bytes": count.bytes,
            "example": found.examples.get(f"quarantine/{cause}", ""),
        }
        for cause, count in causes
    ]


def _number(value: int) -> str:
    return f"{value:,}"


def _share(value: float) -> str:
    return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def _megabytes(value: int) -> str:
    return f"{value / 1e6:,.1f}"
