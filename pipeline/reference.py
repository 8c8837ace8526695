"""The reference of stages, written from the code: ``python -m pipeline.reference > docs/stages.md``.

Fields, types, defaults and their texts come from the stage models, signals from ``stages.signals``, rules from the
rulesets that ship. Only what a reason means is written here, since no model holds it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

from pydantic import TypeAdapter

from pipeline.columns import column_docs
from pipeline.reference_format import Reasons, arrow_name, fields_table, reasons_table, table
from pipeline.reference_harvest import harvest_reference
from stages.catalogue import STAGE_KINDS, AnyStage
from stages.edit import LINE_RULES, PRESETS
from stages.rules import Rule, load_rules
from stages.ruleset_files import shipped
from stages.score import PUBLISHED_COLUMNS
from stages.signals import FIELDS, SIGNALS
from stages.stage import Stage

_HEAD = """\
# Stages, signals and rules

Written by `python -m pipeline.reference > docs/stages.md` from the code; do not edit.

A manifest lists stages in the order in which they work. Each has a `kind` and the fields below; a field left out has
its default. `pipeline validate` checks names, types, bounds, and that every stage finds the columns it needs.
"""

_EXAMPLES: dict[str, dict[str, Any]] = {
    "datatrove": {"block": "GopherQualityFilter"},
    "score": {"model": "fluency"},
    "decontaminate": {"benchmarks": ["questions.jsonl"]},
}
"""What it takes to make a stage whose fields are not all optional."""

READING: Reasons = (
    ("record/not_response@1", "not a captured response: warcinfo, request, metadata and the like"),
    ("record/http_status@1", "a status other than 200"),
    ("record/not_html@1", "no HTML, by Content-Type or by the first bytes where that says nothing"),
    ("record/empty@1", "a body of no bytes or of white space"),
    ("quarantine/broken_framing", "a damaged region of the file, up to the next readable record"),
    ("quarantine/truncated_file", "the file ends within the record"),
    ("quarantine/oversize", "longer than `source.max_payload`"),
    ("quarantine/http_headers", "no readable HTTP head"),
    ("quarantine/decode_failure", "a broken transfer or content coding"),
    ("quarantine/payload_bomb", "grows beyond `source.max_payload` when decoded"),
    ("quarantine/bad_json", "a line that is no JSON object"),
    ("quarantine/no_text", "a row without text"),
)
ENGINE: Reasons = (
    ("quarantine/<stage>", "the stage raised on this document, and on no other of its batch; `detail` has the error"),
    ("quarantine/killed_worker", "the worker died on this document each time it was tried"),
)
REASONS: dict[str, Reasons] = {
    "url_filter": (
        ("url/blocked_domain@1", "the host or a domain above it is listed"),
        ("url/blocked_url@1", "the page or a folder above it is listed"),
        ("url/blocked_word@1", "the address has a blocked word, enough soft words, or a phrase"),
        ("url/invalid@1", "no valid host; with `reject_invalid` only"),
    ),
    "extract": (
        ("extract/empty@1", "no main text"),
        ("language/not_wanted@1", "surely in none of `languages`; stopped before full extraction"),
        ("quarantine/too_large", "more HTML than `max_html_bytes`"),
        ("quarantine/extract_timeout", "no engine finished in time"),
        ("quarantine/extract_memory", "no engine kept within `memory`"),
        ("quarantine/extract_crash", "the engine's process died"),
        ("quarantine/too_deep", "elements nested too deeply for the parser"),
    ),
    "language": (
        ("language/not_wanted@1", "the languages to keep cover less than `min_share`"),
        ("language/unreliable@1", "the identifier is not sure"),
    ),
    "edit": (("edit/empty@1", "no line remained; the text is kept unedited in `rejected/`"),),
    "rules": (("<rule>", "the first rule, in the order of the rulesets, that the document fails"),),
    "datatrove": (
        ("datatrove/<block>/<their reason>@<their version>", "the block turned the document down"),
        ("quarantine/datatrove_<block>", "the block raised on the document"),
    ),
    "dedup": (
        ("duplicate/exact", "`survivor` has the same text"),
        ("duplicate/near", "`survivor` is at least `jaccard` similar; `similarity` says how much"),
    ),
    "unsafe_words": (("safety/unsafe_words@1", "more than `max_ratio` listed words, and `min_hits` different ones"),),
    "score": (("score/<column>@1", "beyond `max` or `min`"),),
    "rank_cut": (("rank_cut/<column>+<column>@1", "behind the last document kept"),),
    "decontaminate": (("decontaminate/<benchmark>@1", "holds an item of that benchmark"),),
}
"""Stage kind -> the reasons it can give, with their meaning."""


def reference() -> str:
    """The whole page as Markdown."""
    parts = [_HEAD, "## Contents\n", "\n".join(f"* [{kind}](#{kind})" for kind in STAGE_KINDS)]
    others = ("Reading", "The engine", "The block harvest", "Signals", "Rulesets")
    parts.append("* " + ", ".join(f"[{name}](#{name.lower().replace(' ', '-')})" for name in others) + "\n")
    parts += [_stage(kind, model) for kind, model in STAGE_KINDS.items()]
    parts += ["## Reading\n\nReasons given before any stage, by the reader.\n", reasons_table(READING)]
    parts += ["## The engine\n\nCauses that any stage can have.\n", reasons_table(ENGINE)]
    parts += [*harvest_reference(), _signals(), *_rulesets()]
    return "\n".join(parts)


def example_stage(kind: str) -> Stage:
    """A stage of that kind with its defaults."""
    adapter: TypeAdapter[Stage] = TypeAdapter(AnyStage)
    return adapter.validate_python({"kind": kind, **_EXAMPLES.get(kind, {})})


def _stage(kind: str, model: type[Stage]) -> str:
    stage = example_stage(kind)
    scope = "Sees the whole corpus at once." if stage.scope == "corpus" else ""
    parts = [f"## {kind}\n", cleandoc(model.__doc__ or "").replace("``", "`") + "\n"]
    parts += [scope + "\n"] if scope else []
    needs = ", ".join(f"`{name}`" for name in sorted(stage.needs())[:12])
    more = len(stage.needs()) - 12
    parts.append(f"Needs {needs}{f' and {more} more signals' if more > 0 else ''}.\n")
    parts.append(fields_table(model))
    if kind == "edit":
        parts.append(_line_rules())
    parts.append(_adds(kind, stage))
    if kind in REASONS:
        parts.append(reasons_table(REASONS[kind]))
    return "\n".join(part for part in parts if part)


def _adds(kind: str, stage: Stage) -> str:
    if kind == "signals":
        fields = ", ".join(f"`{name}`" for name in FIELDS)
        return f"Adds {fields} and every signal [below](#signals).\n"
    docs = column_docs()
    if kind == "score":
        scores = [
            (f"`{name}`", "float32", f"model `{model}`: {docs[name]}") for model, name in PUBLISHED_COLUMNS.items()
        ]
        return table(("adds one of", "type", "meaning"), [*scores, ("`<model>_score`", "float32", "any other model")])
    rows = [(f"`{name}`", arrow_name(kind_), docs[name]) for name, kind_ in stage.adds().items()]
    if kind == "dedup":
        rows += [
            (f"`{name}`", arrow, docs[name]) for name, arrow in (("survivor", "string"), ("similarity", "float32"))
        ]
    return table(("adds", "type", "meaning"), rows) if rows else ""


def _line_rules() -> str:
    on = {
        name: ", ".join(preset for preset, rules in PRESETS.items() if name in rules)
        for name in (r.name for r in LINE_RULES)
    }
    rows = [(f"`{rule.name}`", rule.doc, on[rule.name], rule.source) for rule in LINE_RULES]
    return table(("line rule", "does", "on in preset", "source"), rows)


def _signals() -> str:
    rows = [(f"`{signal.name}`", arrow_name(signal.type), signal.unit, signal.doc) for signal in SIGNALS.values()]
    fields = [(f"`{name}`", "int32", "", doc) for name, doc in FIELDS.items()]
    return (
        "## Signals\n\nFields of the struct column `signals`; the last four are columns of their own. Raw words stand "
        "between blanks; normalised words are those without punctuation, in lower case; words and marks are what a "
        "tokeniser sees (`stages/signals/definitions.py` has the exact definitions).\n\n"
        + table(("signal", "type", "unit", "definition"), [*rows, *fields])
    )


def _rulesets() -> Iterable[str]:
    yield (
        "## Rulesets\n\nA document is kept when the signal is within the bounds, both included. Bounds are changed "
        "with `override`, rules left out with `disable`.\n"
    )
    for name in shipped():
        rules = load_rules((name,))
        yield f"### {name}\n"
        rows = [(f"`{rule.name}`", f"`{rule.signal}`", _bound(rule), rule.source) for rule in rules]
        yield table(("rule", "signal", "kept within", "source"), rows)


def _bound(rule: Rule) -> str:
    text = _interval(rule.min, rule.max)
    return (
        text if rule.when is None else f"{text}, where {rule.when.signal} is {_interval(rule.when.min, rule.when.max)}"
    )


def _interval(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


if __name__ == "__main__":
    sys.stdout.write(reference())
