"""The stage ``rules``: verdicts over signals, as data.

A rule is a signal, an inclusive bound on one or both sides, a name with a version, and its source. Rulesets are YAML
files in ``stages/rulesets`` or a user's own; they are checked in full before anything runs, and every mistake is
told with file and line. The first rule, in file order, that a document fails is its reason; all values are
signals written beside the text, so any bound can be moved afterwards (``failing`` on stored signals).

    - name: gopher/word_count@1
      signal: word_count
      min: 50                 # kept when min <= value <= max
      max: 100000
      when: {signal: word_count, max: 200}     # optional: judge only documents within these bounds
      source: Rae et al. 2021, arXiv 2112.11446, appendix A

Bounds are compared in the signal's own type (int32 or float32), so that a value printed as 0.3 is within ``max: 0.3``.
Cost: one vector comparison per rule and batch; microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from corpus.errors import ManifestError, StageError
from corpus.schema import give_verdict, signal
from corpus.settings import Settings
from stages.signals.definitions import SIGNALS
from stages.stage import BatchFunction, Resources, Stage

Values = Mapping[str, NDArray[np.int32] | NDArray[np.float32]]


class Bound(Settings):
    """An inclusive interval of one signal; a side left out is open."""

    signal: str
    """A name of ``stages.signals.SIGNALS``."""
    min: float | None = None
    """Least value kept."""
    max: float | None = None
    """Greatest value kept."""

    @model_validator(mode="after")
    def _is_a_bound(self) -> Self:
        if self.signal not in SIGNALS:
            raise ValueError(f"unknown signal {self.signal!r}")
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def outside(self, values: Values) -> NDArray[np.bool_]:
        """Mask of the documents outside."""
        column = values[self.signal]
        mask = np.zeros(len(column), np.bool_)
        if self.min is not None:
            mask |= column < _as_stored(self.signal, self.min)
        if self.max is not None:
            mask |= column > _as_stored(self.signal, self.max)
        return mask


class Rule(Bound):
    """One named rule. A document fails it when the signal is outside the bounds (and ``when`` holds)."""

    name: str = Field(pattern=r"^[a-z0-9_]+/[a-z0-9_]+@[0-9]+$")
    """``ruleset/rule@version``; the version grows whenever the meaning changes."""
    when: Bound | None = None
    """Judge only documents inside this bound; the others pass."""
    source: str = Field(min_length=1)
    """Where rule and threshold come from; ``our choice`` where no source gives them."""

    def fails(self, values: Values) -> NDArray[np.bool_]:
        """Mask of the documents that fail."""
        mask = self.outside(values)
        return mask if self.when is None else mask & ~self.when.outside(values)

    def describe(self, value: float) -> str:
        """Value and bound in words: ``word_count 12 < min 50``; for a value inside, ``min <= value <= max``."""
        shown = f"{self.signal} {_number(value)}"
        stored = _as_stored(self.signal, value)
        if self.min is not None and stored < _as_stored(self.signal, self.min):
            return f"{shown} < min {_number(self.min)}"
        if self.max is not None and stored > _as_stored(self.signal, self.max):
            return f"{shown} > max {_number(self.max)}"
        low = "" if self.min is None else f"{_number(self.min)} <= "
        high = "" if self.max is None else f" <= {_number(self.max)}"
        return f"{low}{shown}{high}"


class BoundChange(Settings):
    """New bounds for one rule; what is left out stays. ``null`` opens a side."""

    min: float | None = None
    """New least value kept."""
    max: float | None = None
    """New greatest value kept."""


class Rules(Stage):
    """Reject documents by rules over their signals."""

    kind: Literal["rules"] = "rules"
    rulesets: tuple[str, ...] = ("wanjuan",)
    """Names of rulesets that come with this software (wanjuan, gopher, c4, fineweb), or paths of YAML files."""
    override: dict[str, BoundChange] = Field(default_factory=dict)
    """Other bounds for single rules: ``{"gopher/word_count@1": {"min": 30}}``."""
    disable: tuple[str, ...] = ()
    """Names of rules to leave out."""

    def needs(self) -> frozenset[str]:
        """The signals that the rules read."""
        return frozenset(f"signals.{name}" for name in signals_of(self.rules()))

    def files(self) -> tuple[str, ...]:
        """The rulesets given as paths."""
        return tuple(name for name in self.rulesets if is_path(name))

    def rules(self) -> list[Rule]:
        """The rules in force; raises ``ManifestError`` for anything wrong in the files or in this stage."""
        return load_rules(self.rulesets, override=self.override, disable=self.disable)

    def open(self, resources: Resources) -> BatchFunction:
        """Load the rulesets; those given as paths through ``resources``."""
        local = tuple(str(resources.local_path(name)) if is_path(name) else name for name in self.rulesets)
        rules = self.model_copy(update={"rulesets": local}).rules()
        return lambda batch: judge(batch, rules)


def is_path(ruleset: str) -> bool:
    """Whether a ruleset is given as a file rather than by name."""
    return ruleset.endswith((".yaml", ".yml")) or "/" in ruleset


def load_rules(
    rulesets: Sequence[str] = ("wanjuan",),
    *,
    override: Mapping[str, BoundChange] | None = None,
    disable: Sequence[str] = (),
) -> list[Rule]:
    """The rules of several rulesets in order, with changed bounds and without those switched off.

    A rule that two rulesets share (same name, same bounds) is taken once. Raises ``ManifestError`` for unknown names of
    rulesets or rules, for anything wrong in a file, and for one name with two meanings.
    """
    from stages.ruleset_files import FOLDER, read_ruleset, shipped, suggest

    rules: dict[str, Rule] = {}
    for name in rulesets:
        if not is_path(name) and name not in shipped():
            raise ManifestError(f"unknown ruleset {name!r}", fix=suggest(name, shipped()) + " A file: give its path.")
        for rule in read_ruleset(Path(name) if is_path(name) else FOLDER / f"{name}.yaml"):
            known = rules.setdefault(rule.name, rule)
            if known.model_dump(exclude={"source"}) != rule.model_dump(exclude={"source"}):
                raise ManifestError(f"rule {rule.name!r} means two things", where=name, fix="give one another version")
    changes = override or {}
    for wanted in (*changes, *disable):
        if wanted not in rules:
            raise ManifestError(f"no rule {wanted!r} in {', '.join(rulesets)}", fix=suggest(wanted, list(rules)))
    return [_changed(rule, changes.get(name)) for name, rule in rules.items() if name not in disable]


def _changed(rule: Rule, change: BoundChange | None) -> Rule:
    if change is None:
        return rule
    try:
        return Rule.model_validate(rule.model_dump() | change.model_dump(exclude_unset=True))
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ManifestError(f"override of {rule.name!r}: {message}") from error


def signals_of(rules: Sequence[Rule]) -> list[str]:
    """Names of the signals that the rules read, sorted."""
    guards = [rule.when for rule in rules if rule.when is not None]
    return sorted({bound.signal for bound in (*rules, *guards)})


def failing(rules: Sequence[Rule], values: Values) -> NDArray[np.bool_]:
    """Which rule fails which document: shape (rules, documents)."""
    if not rules:
        return np.zeros((0, len(next(iter(values.values()), ()))), np.bool_)
    return np.stack([rule.fails(values) for rule in rules])


def evaluate(batch: pa.Table, rules: Sequence[Rule]) -> NDArray[np.bool_]:
    """``failing`` for a batch: shape (rules, rows)."""
    return failing(rules, _values(batch, rules))


def judge(batch: pa.Table, rules: Sequence[Rule]) -> pa.Table:
    """Give every document that fails a rule its verdict: the first one in order, with value and bound as detail."""
    if not rules or batch.num_rows == 0:
        return batch
    values = _values(batch, rules)
    matrix = failing(rules, values)
    failed: NDArray[np.bool_] = np.asarray(matrix.any(axis=0))
    first = matrix.argmax(axis=0)
    reasons: list[str | None] = [None] * batch.num_rows
    details: list[str | None] = [None] * batch.num_rows
    for row in np.flatnonzero(failed):
        rule = rules[first[row]]
        reasons[row] = rule.name
        details[row] = rule.describe(values[rule.signal][row].item())
    return give_verdict(batch, failed, reasons, detail=details)


def _values(batch: pa.Table, rules: Sequence[Rule]) -> dict[str, NDArray[np.int32] | NDArray[np.float32]]:
    columns = {name: signal(batch, name) for name in signals_of(rules)}
    for name, column in columns.items():
        if column.null_count:
            raise StageError(f"signal {name!r} is null in {column.null_count} rows", fix="put signals before rules")
    return {name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()}


def _as_stored(name: str, value: float) -> float | np.float32:
    # Whole-number signals compare exactly with any bound; fractions in float32, the type they are stored in.
    return value if SIGNALS[name].type == pa.int32() else np.float32(value)


def _number(value: float) -> str:
    return f"{value:.6g}"
