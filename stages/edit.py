"""The stage ``edit``: drop lines that are no prose, before the document rules look at what remains.

Line rules are data (``LINE_RULES``): a name with a version, what it does, where it comes from. A preset says which
are on; ``enable`` and ``disable`` change that. Each line is charged to the first rule that drops it, in the order of
the table; the counts are signals. Blank lines stay as paragraph breaks (a run becomes one), lines keep the blanks that
they begin with and lose those at their end.

A text of which nothing remains gets the verdict ``edit/empty@1`` and keeps its unedited form for the record.

Two departures from C4 as datatrove codes it: blank lines survive, and dropping a whole document for ``lorem ipsum`` or
a curly bracket is left to the document rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from corpus.schema import add_signals, give_verdict, set_column
from stages.stage import BatchFunction, Resources, Stage
from stages.text_buffers import text_array, text_buffers

LineRuleName = Literal["max_word_length", "citation", "terminal", "min_words", "javascript", "policy", "colon"]
EMPTY = "edit/empty@1"

_C4 = "C4 (Raffel et al. 2020, JMLR 21/140, section 2.2)"
_C4_CODE = "C4's published code (c4_utils), not its paper"


@dataclass(frozen=True, slots=True)
class LineRule:
    """One line rule: name, version, meaning and source."""

    name: LineRuleName
    version: int
    doc: str
    source: str

    @property
    def signal(self) -> str:
        """Name of its count: lines dropped (for ``citation``: lines changed or dropped)."""
        return f"edit_lines_{self.name}"


LINE_RULES: tuple[LineRule, ...] = (
    LineRule("max_word_length", 1, "Drops lines with a word of more than max_word_length characters.", _C4_CODE),
    LineRule("citation", 1, "Removes [12], [], [edit] and [citation needed] from lines.", _C4),
    LineRule("terminal", 1, "Drops lines that do not end in . ! ? or a closing quote, or that end in '...'.", _C4),
    LineRule("min_words", 1, "Drops lines of fewer than min_words words.", _C4),
    LineRule("javascript", 1, "Drops lines that name JavaScript.", _C4),
    LineRule("policy", 1, "Drops lines with one of six stock phrases on privacy policy, cookies, terms of use.", _C4),
    LineRule("colon", 1, "Drops last lines that end in a colon.", "our choice; the same laboratory's tool flags them"),
)
"""All line rules, in the order in which they are tried (the kernel's columns)."""

PRESETS: dict[str, frozenset[str]] = {
    "wanjuan": frozenset({"max_word_length", "min_words", "javascript", "policy", "colon"}),
    "c4": frozenset({"max_word_length", "citation", "terminal", "min_words", "javascript", "policy"}),
    "none": frozenset(),
}


class Edit(Stage):
    """Drop or clean single lines; reject documents of which nothing remains."""

    kind: Literal["edit"] = "edit"
    preset: Literal["wanjuan", "c4", "none"] = "wanjuan"
    """Which line rules are on: ``wanjuan`` (our reading of that corpus's rules), ``c4``, or ``none``."""
    enable: tuple[LineRuleName, ...] = ()
    """Line rules to switch on besides the preset's."""
    disable: tuple[LineRuleName, ...] = ()
    """Line rules to switch off; wins over the preset and over ``enable``."""
    min_words: int = Field(default=3, ge=1)
    """Least words per line, for the rule min_words."""
    max_word_length: int = Field(default=1000, ge=1)
    """Most characters per word, for the rule max_word_length."""

    def adds(self) -> Mapping[str, pa.DataType]:
        """One count per line rule, switched on or not: the columns do not depend on the preset."""
        return {f"signals.{rule.signal}": pa.int32() for rule in LINE_RULES}

    def open(self, resources: Resources) -> BatchFunction:
        """Load the kernel."""
        import stages.edit_kernel  # noqa: F401 - compile or load now, not in the middle of the work

        def run(batch: pa.Table) -> pa.Table:
            original = batch.column("content").combine_chunks()
            edited, counts = self.edit(original)
            empty = pc.equal(pc.binary_length(edited), 0)
            batch = set_column(batch, "content", pc.if_else(empty, original, edited))
            batch = add_signals(batch, counts)
            detail = [f"all {total} lines dropped" for total in np.sum(list(counts.values()), axis=0)]
            return give_verdict(batch, np.asarray(empty.to_numpy(zero_copy_only=False)), EMPTY, detail=[*detail])

        return run

    def active(self) -> frozenset[str]:
        """Names of the line rules that are on."""
        return (PRESETS[self.preset] | frozenset(self.enable)) - frozenset(self.disable)

    def edit(self, column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, dict[str, NDArray[np.int32]]]:
        """Edit an array of texts; returns it (emptied texts empty) and per line rule the lines it took."""
        from stages.edit_kernel import RULES, edit_texts

        data, offsets = text_buffers(column)
        active = np.array([rule.name in self.active() for rule in LINE_RULES])
        bounds = np.array([self.min_words, self.max_word_length], np.int64)
        out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
        new_offsets = np.zeros(len(offsets), np.int64)
        counts = np.zeros((len(offsets) - 1, RULES), np.int32)
        edit_texts(data, offsets, active, bounds, out, new_offsets, counts)
        names = [rule.signal for rule in LINE_RULES]
        return text_array(out, new_offsets), dict(zip(names, np.ascontiguousarray(counts.T), strict=True))


assert get_args(LineRuleName) == tuple(rule.name for rule in LINE_RULES)  # the table and the type say the same
