"""The conservation law."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import LedgerError
from corpus.ledger import Count, Ledger, count, tally

OUTCOMES = {
    None: [None],
    "rejected": ["gopher/word_count@1", "c4/lorem_ipsum@1"],
    "duplicate": ["duplicate/near", "duplicate/exact"],
    "quarantined": ["quarantine/truncated_file", "quarantine/payload_bomb"],
}
rows = st.sampled_from([(outcome, reason) for outcome, reasons in OUTCOMES.items() for reason in reasons]).flatmap(
    lambda verdict: st.tuples(st.just(verdict[0]), st.just(verdict[1]), st.integers(0, 1 << 40))
)


def table(entries: list[tuple[str | None, str | None, int]]) -> pa.Table:
    columns = list(zip(*entries, strict=True)) if entries else [(), (), ()]
    kinds = (pa.string(), pa.string(), pa.int64())
    names = ("outcome", "reason", "source_bytes")
    return pa.table({name: pa.array(list(v), kind) for name, v, kind in zip(names, columns, kinds, strict=True)})


@given(st.lists(rows), st.integers(1, 5))
def test_a_tally_closes_however_the_rows_are_cut_into_tables(entries, pieces):
    whole = table(entries)
    cuts = [whole.slice(i, pieces) for i in range(0, whole.num_rows, pieces)]
    ledger = tally(count(whole), cuts).close("here")
    assert ledger == tally(count(whole), [whole])
    assert ledger.read.documents == len(entries)
    assert ledger.kept.documents == sum(outcome is None for outcome, _, _ in entries)


@given(st.lists(rows, min_size=1), st.data())
def test_a_lost_row_is_noticed_in_documents(entries, data):
    whole = table(entries)
    lost = data.draw(st.integers(0, len(entries) - 1))
    rest = table([row for i, row in enumerate(entries) if i != lost])
    with pytest.raises(LedgerError, match="does not close"):
        tally(count(whole), [rest]).close("here")


def test_a_row_that_changed_its_size_is_noticed_in_bytes():
    ledger = tally(count(table([(None, None, 10)])), [table([(None, None, 11)])])
    with pytest.raises(LedgerError, match="10 bytes"):
        ledger.close("here")


@given(st.lists(rows), st.lists(rows))
def test_the_ledger_of_two_halves_is_the_sum_of_their_ledgers(left, right):
    a, b, both = table(left), table(right), table(left + right)
    assert tally(count(a), [a]) + tally(count(b), [b]) == tally(count(both), [both])


def test_the_summary_names_rules_and_causes_without_prefixes():
    ledger = tally(
        Count(3, 0), [table([("rejected", "c4/x@1", 0), ("quarantined", "quarantine/y", 0), (None, None, 0)])]
    )
    expected = {"read": 3, "kept": 1, "rejected": {"c4/x@1": 1}, "duplicates": 0, "quarantined": {"y": 1}}
    assert ledger.summary() == expected
    assert Ledger.model_validate_json(ledger.model_dump_json()) == ledger
