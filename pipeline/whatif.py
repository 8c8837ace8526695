"""What other bounds would have kept: re-judges the recorded signals of a finished run, in seconds, text untouched.

Covers the rules stages: documents that reached them, kept or rejected by them. What happens to re-admitted documents
further on (duplicates, scores) needs a run; finished units of the phases before are reused then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from corpus.errors import ManifestError
from corpus.storage import Store
from pipeline import console
from pipeline.explain import open_shard, published, recorded_stages
from stages.rules import Rule, Rules, failing, load_rules


def what_if(store: Store, changes: Sequence[str]) -> dict[str, Any]:
    """Judge all documents that have signals under the recorded rules and under the changed ones.

    ``changes`` are ``rule_name.min=value`` or ``rule_name.max=value``. Returns documents judged, kept before and after,
    and per rule how many it fails, and fails alone (what would come back if it were deleted).
    """
    manifest = published(store)
    stages = [stage for stage in recorded_stages(manifest) if isinstance(stage, Rules)]
    if not stages:
        raise ManifestError("this corpus was made without rules", where=store.root)
    before = [
        rule for stage in stages for rule in load_rules(stage.rulesets, override=stage.override, disable=stage.disable)
    ]
    after = _changed(before, changes)
    signals = _signals(store, [entry.name for kind in ("documents", "rejected") for entry in manifest.files[kind]])
    reached = np.ones(len(next(iter(signals.values()), np.empty(0))), dtype=np.bool_)
    for rule in before:
        reached &= ~np.isnan(signals[rule.signal])
    signals = {name: values[reached] for name, values in signals.items()}
    old, new = failing(before, signals), failing(after, signals)
    return {
        "documents": int(reached.sum()),
        "kept_before": int((~old.any(axis=0)).sum()),
        "kept_after": int((~new.any(axis=0)).sum()),
        "gained": int((old.any(axis=0) & ~new.any(axis=0)).sum()),
        "lost": int((~old.any(axis=0) & new.any(axis=0)).sum()),
        "rules": [_rule_row(rule, i, old, new) for i, rule in enumerate(after)],
    }


def _rule_row(rule: Rule, number: int, old: np.ndarray, new: np.ndarray) -> dict[str, Any]:
    alone = new[number] & (new.sum(axis=0) == 1)
    return {
        "rule": rule.name,
        "min": rule.min,
        "max": rule.max,
        "fails_before": int(old[number].sum()),
        "fails_after": int(new[number].sum()),
        "fails_alone": int(alone.sum()),
    }


def _changed(rules: Sequence[Rule], changes: Sequence[str]) -> list[Rule]:
    wanted: dict[str, dict[str, float]] = {}
    for change in changes:
        target, equals, value = change.partition("=")
        name, _, side = target.rpartition(".")
        if not equals or side not in ("min", "max") or name not in {rule.name for rule in rules}:
            known = ", ".join(rule.name for rule in rules)
            raise ManifestError(f"--rule {change!r} is not rule.min=value or rule.max=value", fix=f"rules: {known}")
        try:
            bound = float(value)
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            raise ManifestError(f"--rule {change!r}: {value!r} is not a finite number")
        wanted.setdefault(name, {})[side] = bound
    return [rule.model_copy(update=wanted.get(rule.name, {})) for rule in rules]


def _signals(store: Store, names: Sequence[str]) -> dict[str, np.ndarray]:
    tables = []
    for name in names:
        with open_shard(store, name) as shard:
            tables.append(shard.read(["signals"]))
    column = pa.concat_tables(tables).column("signals").combine_chunks()
    return {
        field.name: pc.struct_field(column, field.name).to_numpy(zero_copy_only=False).astype(np.float64)
        for field in column.type
    }


def print_whatif(found: dict[str, Any]) -> None:
    """The comparison as a table."""
    table = Table(box=None, pad_edge=False)
    for heading in ("rule", "min", "max", "fails before", "fails after", "fails alone"):
        table.add_column(heading)
    for row in sorted(found["rules"], key=lambda row: -row["fails_after"]):
        table.add_row(*(console.safe("" if value is None else value) for value in row.values()))
    console.out.print(table)
    console.out.print(
        f"{found['documents']} documents judged: {found['kept_before']} pass the recorded rules, "
        f"{found['kept_after']} the changed ones ({found['gained']} gained, {found['lost']} lost)"
    )
