"""datatrove's blocks as a stage: verdicts, edits, quarantine, and what is refused at opening."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pyarrow as pa
import pytest

from corpus.errors import StageError
from corpus.schema import TRAVEL
from stages.datatrove_block import DatatroveBlock, available

VERSION = importlib.metadata.version("datatrove")
PROSE = (
    "The keeper of the garden walked along the river in the morning, and she looked at the boats that had come in. "
    "It was cold. Nobody spoke. They have been there for hours with their nets, waiting for a sign of fish. To her it "
    "seemed a good place to be. What would happen when the bridge opened? Nobody of them would say it aloud to her."
)


def run(block: str, texts: list[str], **arguments: Any) -> pa.Table:
    columns = {field.name: pa.nulls(len(texts), field.type) for field in TRAVEL}
    columns |= {
        "id": pa.array([f"{at:032x}" for at in range(len(texts))]),
        "content": pa.array(texts, pa.large_string()),
    }
    columns["url"] = pa.array([f"https://example.org/{at}" for at in range(len(texts))], pa.large_string())
    batch = pa.table(columns, schema=TRAVEL)
    return DatatroveBlock(block=block, arguments=arguments).open(None)(batch)  # type: ignore[arg-type]


def test_a_filters_refusal_becomes_a_named_verdict() -> None:
    after = run("GopherQualityFilter", [PROSE, "Too short."])
    assert after.column("outcome").to_pylist() == [None, "rejected"]
    assert after.column("reason").to_pylist()[1] == f"datatrove/GopherQualityFilter/gopher_short_doc@{VERSION}"
    assert after.column("content").to_pylist() == [PROSE, "Too short."]


def test_arguments_reach_the_block() -> None:
    after = run("GopherQualityFilter", ["Too short, and yet that is the way to be."], min_doc_words=3)
    assert after.column("outcome").to_pylist() == [None]


def test_what_a_filter_does_to_kept_text_stays_and_rejected_text_is_untouched() -> None:
    texts = [f"{PROSE}\nmenu", f"{{}} {PROSE}\nmenu"]
    after = run("C4QualityFilter", texts)
    assert after.column("content").to_pylist() == [PROSE, texts[1]]
    assert after.column("reason").to_pylist() == [None, f"datatrove/C4QualityFilter/curly_bracket@{VERSION}"]


def test_a_formatter_rewrites_text_alike_whatever_came_before() -> None:
    texts = ["Write to a.b@mail.test now.", "Or to c.d@mail.test then.", "No address."]
    together = run("PIIFormatter", texts).column("content").to_pylist()
    assert together == [run("PIIFormatter", [text]).column("content")[0].as_py() for text in texts]
    assert together[0] == "Write to email@example.com now."


def test_broken_encoding_is_mended_by_ftfy() -> None:
    assert run("FTFYFormatter", ["schÃ¶n"]).column("content").to_pylist() == ["schön"]


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")  # datatrove averages no words
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_document_on_which_a_block_raises_is_quarantined_alone() -> None:
    after = run("GopherQualityFilter", [PROSE, ""], min_doc_words=0)
    assert after.column("outcome").to_pylist() == [None, "quarantined"]
    assert after.column("reason").to_pylist()[1] == "quarantine/datatrove_GopherQualityFilter"
    assert after.column("detail").to_pylist()[1].startswith("ZeroDivisionError")


@pytest.mark.parametrize(
    ("block", "arguments", "message"),
    [
        ("SamplerFilter", {"rate": 0.5}, "depends on chance"),
        ("LambdaFilter", {}, "takes code"),
        ("GopherFilter", {}, "unknown datatrove block"),
        ("BaseFilter", {}, "unknown datatrove block"),
        ("GopherQualityFilter", {"no_such": 1}, "cannot be made: TypeError"),
        ("GopherQualityFilter", {"exclusion_writer": "x"}, "exclusion_writer cannot be set"),
        ("C4BadWordsFilter", {"default_language": "none"}, "fails at its first document: ValueError"),
    ],
)
def test_what_cannot_work_is_refused_at_opening(block: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(StageError, match=message):
        DatatroveBlock(block=block, arguments=arguments).open(None)  # type: ignore[arg-type]


def test_the_choice_is_closed_to_filters_and_formatters() -> None:
    names = set(available())
    assert {"GopherQualityFilter", "GopherRepetitionFilter", "C4QualityFilter", "URLFilter", "PIIFormatter"} <= names
    assert all(name.endswith(("Filter", "Formatter")) for name in names)
