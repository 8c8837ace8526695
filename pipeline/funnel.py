"""The funnel of a finished run: the ledger told in the steps of WanJuan-CC's retention table.

    records read -> readable pages -> (harvest) -> extraction and language -> rules -> dedup -> safety
    -> decontamination -> quality

The ledger knows reasons, not steps; a reason says by its family which step it belongs to. URL rules run first, to save
work, but count under safety, as in the paper's figure. Costs nothing: it reads the ledger only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpus.ledger import Count, Ledger


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it turns down, the stage kinds that do it, and the share that WanJuan-CC lost in it."""

    key: str
    title: str
    removes: str
    kinds: frozenset[str] = frozenset()
    published: float | None = None


STEPS: tuple[Step, ...] = (
    Step("pages", "Readable pages", "records that are no HTML page, and what could not be processed"),
    Step("harvest", "Harvest", "documents that no query takes"),
    Step(
        "raw", "Extraction and language", "pages without main text, or not in a wanted language",
        frozenset({"extract", "language"}), 0.474,
    ),
    Step(
        "clean", "Rules", "texts that break a rule",
        frozenset({"normalise", "edit", "signals", "rules", "datatrove"}), 0.378,
    ),
    Step("dedup", "Deduplication", "texts for which another one stands", frozenset({"dedup"}), 0.902),
    Step("safe", "Safety", "unsafe addresses, words and texts", frozenset({"url_filter", "unsafe_words"}), 0.143),
    Step("clear", "Decontamination", "texts with benchmark questions", frozenset({"decontaminate"})),
    Step("quality", "Quality", "advertisements, broken prose, the lower ranks", frozenset({"rank_cut"}), 0.501),
)  # fmt: skip
"""Published shares: retention figure of WanJuan-CC (arXiv 2402.19282), documents, of what the step before left."""

KEPT = len(STEPS)
"""Step number of a document that nothing removed."""

_AT = {step.key: number for number, step in enumerate(STEPS)}
_FAMILIES = {
    **dict.fromkeys(("record", "quarantine"), _AT["pages"]),
    "harvest": _AT["harvest"],
    **dict.fromkeys(("extract", "language"), _AT["raw"]),
    "duplicate": _AT["dedup"],
    **dict.fromkeys(("url", "safety"), _AT["safe"]),
    "decontaminate": _AT["clear"],
    "rank_cut": _AT["quality"],
}
_SAFETY_SCORES = ("score/toxic_score@", "score/porn_score@")


@dataclass(frozen=True, slots=True)
class Left:
    """What one step removed, and what it left."""

    step: Step
    before: Count
    removed: Count
    after: Count

    @property
    def lost(self) -> float:
        """Share of the documents before this step that it removed."""
        return self.removed.documents / max(self.before.documents, 1)


def step_of(reason: str | None) -> int:
    """The number of the step that gives this reason; ``KEPT`` for none.

    Rulesets name their own families, so every unknown one counts as rules. Score columns with a name of one's own count
    as quality.
    """
    if reason is None:
        return KEPT
    if reason.startswith("score/"):
        return _AT["safe"] if reason.startswith(_SAFETY_SCORES) else _AT["quality"]
    return _FAMILIES.get(reason.partition("/")[0], _AT["clean"])


def reasons(ledger: Ledger) -> Iterator[tuple[str, str, Count]]:
    """Every way out but being kept: (outcome, reason as the rows have it, documents and bytes)."""
    groups = (("rejected", "", ledger.rejected), ("duplicate", "duplicate/", ledger.duplicates))
    for outcome, prefix, group in (*groups, ("quarantined", "quarantine/", ledger.quarantined)):
        for name, count in group.items():
            yield outcome, prefix + name, count


def funnel(ledger: Ledger, stages: Sequence[Mapping[str, Any]]) -> list[Left]:
    """The steps in order, without those that neither ran nor removed anything. ``stages`` as in a corpus manifest."""
    removed = [Count()] * len(STEPS)
    for _, reason, count in reasons(ledger):
        number = step_of(reason)
        removed[number] = removed[number].plus(count)
    kinds = {str(stage["kind"]) for stage in stages}
    rows: list[Left] = []
    left = ledger.read
    for step, gone in zip(STEPS, removed, strict=True):
        if gone == Count() and not step.kinds & kinds and step.key != "pages":
            continue
        after = Count(left.documents - gone.documents, left.bytes - gone.bytes)
        rows.append(Left(step, left, gone, after))
        left = after
    return rows
