"""The extract stage: rows in, rows out, each with text, a verdict or a quarantine, and never lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from corpus.schema import TRAVEL, alive, signal
from stages.extract import Extract
from stages.extract.stage import EMPTY
from stages.language import NOT_WANTED
from stages.stage import Scorer

Article = Callable[..., str]
GERMAN = [
    "Der Hafen der alten Stadt war am Montagmorgen gesperrt, weil ein Lastkahn im Nebel seine Ladung verloren hatte.",
    "Die Fischer, die seit der Morgendämmerung gewartet hatten, verkauften ihren Fang noch vom Kai an die Leute.",
    "Verletzt wurde niemand, obwohl der Kranführer sagte, dass er noch nie so viele Stämme so leise gesehen habe.",
]


class NoResources:
    def scorer(self, model: str) -> Scorer:
        raise AssertionError(model)

    def local_path(self, location: str) -> Path:
        raise AssertionError(location)


def extract(rows: list[dict[str, Any]], *, extra: pa.Schema | None = None, **settings: Any) -> pa.Table:
    schema = TRAVEL if extra is None else pa.unify_schemas([TRAVEL, extra])
    batch = pa.Table.from_pylist([{"id": str(at), **row} for at, row in enumerate(rows)], schema=schema)
    done = Extract(**settings).open(NoResources())(batch)
    assert done.column("id").equals(batch.column("id"))
    assert done.column("html").null_count == len(rows)
    return done


def test_pages_become_texts_with_title_date_and_signals(article_page: bytes, sentences: list[str]) -> None:
    done = extract([{"html": article_page, "http_content_type": "text/html; charset=utf-8"}])
    row = done.to_pylist()[0]
    assert all(sentence in row["content"] for sentence in sentences)
    assert (row["title"], row["published"]) == ("Timber in the harbour", "2020-03-02")
    assert (row["charset"], row["engine"], row["outcome"]) == ("utf-8", "blocks", None)
    assert row["signals"]["replacement_ratio"] == 0
    assert row["signals"]["extract_confidence"] > 0.5


def test_what_is_added_is_what_is_announced(article_page: bytes) -> None:
    done = extract([{"html": article_page}, {"content": "ready"}])
    for name, kind in Extract().adds().items():
        column = signal(done, name.removeprefix("signals.")) if name.startswith("signals.") else done.column(name)
        assert column.type == kind, name
    declared = {"title", "published", "author", "site_name", "canonical_url", "declared_language"}
    assert set(done.column_names) - set(TRAVEL.names) == declared | {"charset", "engine", "signals"}


def test_rows_that_come_with_text_pass_untouched(article_page: bytes) -> None:
    titled = pa.schema([("title", pa.string())])
    done = extract([{"content": "ready", "title": "own"}, {"html": article_page, "title": None}], extra=titled)
    assert done.column("content").to_pylist()[0] == "ready"
    assert done.column("title").to_pylist() == ["own", "Timber in the harbour"]
    assert done.column("engine").to_pylist() == [None, "blocks"]
    assert alive(done).all()


def test_pages_without_text_are_rejected_by_name() -> None:
    done = extract([{"html": b""}, {"html": b"<script>x()</script>"}, {}, {"html": b"<p>Text.</p>"}])
    assert done.column("reason").to_pylist() == [EMPTY, EMPTY, EMPTY, None]


def test_an_empty_text_that_a_source_brought_is_not_our_business() -> None:
    assert alive(extract([{"content": ""}])).all()


@pytest.mark.parametrize(
    ("languages", "reason"), [((), None), (("de",), None), (("en",), NOT_WANTED), (("en", "de"), None)]
)
def test_the_cascade_asks_nobody_about_a_page_in_an_unwanted_language(
    languages: tuple[str, ...], reason: str | None, article: Article
) -> None:
    page = {"html": article(paragraphs=GERMAN * 2).encode()}
    done = extract([page], engine="cascade", min_confidence=1.0, languages=languages)
    assert done.column("reason").to_pylist() == [reason]
    if reason:
        assert done.column("detail").to_pylist()[0].startswith("de")


@pytest.mark.parametrize(("slack", "outcome"), [(0, None), (1, "quarantined")])
def test_pages_above_the_size_limit_are_quarantined(slack: int, outcome: str | None, article: Article) -> None:
    page = article(extra=f"<!--{'x' * 5000}-->").encode()
    done = extract([{"html": page}], max_html_bytes=len(page) - slack)
    assert done.column("outcome").to_pylist() == [outcome]
    assert done.column("reason").to_pylist() == [None if outcome is None else "quarantine/too_large"]


def test_a_page_that_hangs_the_parser_is_quarantined_and_its_neighbours_live(article_page: bytes) -> None:
    hanging = b"<main>" + b"<div>" * 60_000 + b"text"
    done = extract(
        [{"html": article_page}, {"html": hanging}, {"html": article_page}], engine="resiliparse", cpu_seconds=0.5
    )
    assert done.column("outcome").to_pylist() == [None, "quarantined", None]
    assert done.column("reason").to_pylist()[1] == "quarantine/too_deep"
    assert "CPU time" in done.column("detail").to_pylist()[1]


def test_damaged_bytes_are_measured(article: Article) -> None:
    page = article().encode().replace(b"quietly", b"qui\xff\xfetly").replace(b"harbour", "hafen-é".encode())
    done = extract([{"html": page, "http_content_type": "text/html; charset=utf-8"}])
    assert 0 < signal(done, "replacement_ratio").to_pylist()[0] < 0.01


def test_the_result_does_not_depend_on_the_batch(article: Article) -> None:
    pages = [article(extra=f"<p>Page number {at} ends here.</p>").encode() for at in range(5)]
    whole = extract([{"html": page} for page in pages]).column("content").to_pylist()
    alone = [extract([{"html": page}]).column("content").to_pylist()[0] for page in reversed(pages)]
    assert whole == alone[::-1]


@pytest.mark.parametrize(
    "settings", [{"engine": "trafilatur"}, {"cpu_seconds": 0}, {"memory": "1MB"}, {"language": "en"}]
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Extract(**settings)
