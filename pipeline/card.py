"""The dataset card of a published corpus: ``README.md`` with the front matter that the Hugging Face hub reads.

Everything in it comes from the corpus manifest, the footers of the shards and ``pipeline.survey``; no text of a page
stands in it. Paths of the machine that made the corpus are cut to file names. Stages are told with the settings
that were given or are worth knowing; all of them are in ``manifests/<digest>.json``.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from corpus.commit import CorpusManifest
from corpus.shards import ShardReader
from corpus.storage import Store
from pipeline.columns import column_docs
from pipeline.funnel import funnel, reasons
from pipeline.survey import Survey

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_LARGER = ((10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"))

_LIMITS = """\
* Web text, chosen by rules and small models: they err in both directions, and the models reflect the data they were
  trained on. `report.html` shows what each step removed; `rejected/` holds it.
* Personal data are masked by patterns (e-mail, telephone, IP address, payment card, IBAN, US social security number).
  Names and postal addresses are not, and patterns miss some.
* Duplicates are found within this corpus, not against others. Benchmark questions are removed only where the stage
  `decontaminate` is in the list above.
* Scores are comparable only between corpora made with the same models; `token_num` is an estimate.
* Pages were taken as the crawler stored them; see the column `truncated`."""

_LICENCE = """\
The texts belong to the publishers and authors of the pages they were taken from, whose addresses are in the column
`url`; no licence to them is granted or implied here. Whoever uses the corpus has to see to the law that applies to
them and to the terms of the crawl (for Common Crawl: <https://commoncrawl.org/terms-of-use>). Whoever finds a page of
theirs here can have it left out by its `url` or `id`."""


def dataset_card(store: Store, manifest: CorpusManifest, found: Survey) -> str:
    """The card as Markdown."""
    ledger = manifest.ledger
    kept = ledger.kept.documents
    intro = (
        f"{kept:,} documents ({found.kept_bytes / 1e6:,.1f} MB of text, about {found.kept_tokens:,} tokens) chosen "
        f"from {ledger.read.documents:,} records of web crawls, each with its address, its place in the crawl, "
        "its signals and scores. Made in the way of WanJuan-CC (arXiv 2402.19282)."
    )
    parts = [
        _front_matter(manifest, found),
        f"# {manifest.name}\n",
        intro + "\n",
        "`documents/` is the corpus. `rejected/` holds everything else that was read, with the reason, `quarantine/` "
        "the raw bytes of what could not be processed. [`report.html`](report.html) shows the run.\n",
        f"Version `{manifest.digest}`, code `{manifest.code}`.\n",
        "## How it was made\n",
        _table(("step", "stage", "settings"), _stage_rows(manifest.stages), right=()),
        "## What was read and what became of it\n",
        "In documents, and in bytes of payload as read. The account closes: read = kept + rejected + duplicates + "
        "quarantined.\n",
        _table(("after", "removed", "of step before", "left", "of pages"), _funnel_rows(manifest), right=(1, 2, 3, 4)),
        _table(("outcome", "reason", "documents", "bytes"), _ledger_rows(manifest), right=(2, 3)),
        "## Columns\n",
        _table(("column", "type", "meaning"), _column_rows(store, manifest), right=()),
        "## Limits\n",
        _LIMITS + "\n",
        "## Licence\n",
        _LICENCE + "\n",
    ]
    return "\n".join(parts)


def _front_matter(manifest: CorpusManifest, found: Survey) -> str:
    from ruamel.yaml import YAML

    kept = manifest.ledger.kept.documents
    splits = [("documents", "default"), ("rejected", "rejected")]
    values: dict[str, Any] = {
        "pretty_name": manifest.name,
        "license": "other",
        "task_categories": ["text-generation"],
        "size_categories": [next((name for most, name in (*_SIZES, *_LARGER) if kept < most), "n>1T")],
        "tags": ["web", "common-crawl", "pretraining"],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == "default" else {}),
                "data_files": [{"split": "train", "path": f"{folder}/*.parquet"}],
            }
            for folder, name in splits
            if sum(entry.rows for entry in manifest.files.get(folder, ()))
        ],
    }
    languages = sorted(code for code in found.languages if code != "un")
    if languages:
        values["language"] = [code.split("-")[0] for code in languages]
    text = io.StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(values, text)
    return f"---\n{text.getvalue()}---\n"


def _stage_rows(stages: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, ...]]:
    for number, stage in enumerate(stages, 1):
        settings = [
            f"{name}: {_shown(value)}"
            for name, value in stage.items()
            if name not in ("kind", "files") and value not in (None, [], {}, "")
        ]
        yield f"{number}", f"`{stage['kind']}`", "; ".join(settings)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    path = "://" not in text and ("/" in text or "\\" in text) and "@" not in text
    return f"`{text.replace(chr(92), '/').rpartition('/')[2] if path else text}`"


def _funnel_rows(manifest: CorpusManifest) -> Iterable[tuple[str, ...]]:
    rows = funnel(manifest.ledger, manifest.stages)
    pages = max(rows[0].after.documents, 1)  # the base of WanJuan-CC's table; records that are no pages are not in it
    yield "Read", "", "", f"{manifest.ledger.read.documents:,}", ""
    for row in rows:
        left = row.after.documents
        yield row.step.title, f"{row.removed.documents:,}", f"{row.lost:.1%}", f"{left:,}", f"{left / pages:.1%}"


def _ledger_rows(manifest: CorpusManifest) -> Iterable[tuple[str, ...]]:
    ledger = manifest.ledger
    yield "read", "", f"{ledger.read.documents:,}", f"{ledger.read.bytes:,}"
    yield "kept", "", f"{ledger.kept.documents:,}", f"{ledger.kept.bytes:,}"
    for outcome, reason, count in reasons(ledger):
        yield outcome, f"`{reason}`", f"{count.documents:,}", f"{count.bytes:,}"


def _column_rows(store: Store, manifest: CorpusManifest) -> Iterable[tuple[str, ...]]:
    docs = column_docs()
    entry = next(iter(manifest.files.get("documents", ())), None)
    if entry is None:
        return
    with store.open(entry.name) as file:
        schema = ShardReader(file).schema
    for field in schema:
        if field.name != "signals":
            yield f"`{field.name}`", _type(field.type), docs.get(field.name, "")
            continue
        for signal in field.type:
            name = f"signals.{signal.name}"
            yield f"`{name}`", _type(signal.type), docs.get(name, "")


def _type(kind: pa.DataType) -> str:
    return {"large_string": "string", "large_binary": "binary", "float": "float32"}.get(str(kind), str(kind))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int]) -> str:
    lines = ["| " + " | ".join(headings) + " |"]
    lines.append("|" + "|".join("---:" if at in right else "---" for at in range(len(headings))) + "|")
    lines += ["| " + " | ".join(_cell(text) for text in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    return line if "`" in line else line.replace("<", "&lt;")
