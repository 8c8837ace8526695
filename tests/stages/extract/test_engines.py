"""The engines behind ``extract_html``: what each keeps, when the cascade doubts, and what dangerous pages come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.extract import Extraction, ExtractionLost, UnknownEngineError, extract_html
from stages.extract.blocks.engine import Options
from stages.extract.child import Child, Overrun
from stages.extract.engines import CHILD_FUNCTION, Toolbox, check_engine, run_engine
from stages.extract.hazards import LIBXML2_DEPTH, WORKER_DEPTH

Article = Callable[..., str]


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with Child(CHILD_FUNCTION, cpu_seconds=20) as process:
        yield process


def run(engine: str, page: str, child: Child, **options: Any) -> Any:
    return run_engine(check_engine(engine), page.encode("utf-8", "replace"), Toolbox(child, **options))


@pytest.mark.parametrize("engine", ["blocks", "cascade", "resiliparse", "trafilatura"])
def test_every_engine_finds_the_article(engine: str, article_page: bytes, sentences: list[str]) -> None:
    found = extract_html(article_page, "https://example.org/harbour", engine)
    assert isinstance(found, Extraction)
    assert all(sentence in found.text for sentence in sentences)
    assert "Privacy policy" not in found.text
    assert (found.title, found.date) == ("Timber in the harbour", "2020-03-02")
    assert found.charset == "utf-8"
    assert "\n\n" not in found.text


def test_our_engine_leaves_out_what_resiliparse_keeps(article_page: bytes) -> None:
    assert "newsletter" in extract_html(article_page, engine="resiliparse").text
    text = extract_html(article_page, options=Options("precision")).text
    assert not any(phrase in text for phrase in ("Ten harbours", "newsletter", "Privacy"))


def test_a_confident_page_never_meets_trafilatura(article_page: bytes) -> None:
    idle = Child("nowhere:nothing")
    found = run("cascade", article_page.decode(), idle)
    assert found.engine == "blocks"
    assert found.confidence > 0.5


def test_a_doubtful_page_goes_to_trafilatura(child: Child, article_page: bytes, sentences: list[str]) -> None:
    found = run("cascade", article_page.decode(), child, min_confidence=1.0)
    assert found.engine == "trafilatura"
    assert sentences[2] in found.text


def test_posts_in_comment_boxes_are_found(child: Child, sentences: list[str]) -> None:
    posts = "".join(f'<div class="comment"><div class="comment-body">{text}</div></div>' for text in sentences * 2)
    page = f"<html><body><div id='header'>Forum</div><div id='comments' class='comments'>{posts}</div></body></html>"
    found = run("cascade", page, child, min_confidence=0)
    assert found.engine == "blocks"
    assert all(sentence in found.text for sentence in sentences)


def test_an_unwanted_language_stops_before_any_expensive_work(article_page: bytes) -> None:
    idle = Child("nowhere:nothing")
    found = run("cascade", article_page.decode(), idle, min_confidence=1.0, refuse=lambda text: "xx")
    assert found.refused_language == "xx"


class Failing(Child):
    """A child that ends every request of one kind in one way."""

    def __init__(self, cause: Any, only: str | None = None) -> None:
        super().__init__(CHILD_FUNCTION)
        self.cause, self.only = cause, only

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.only in (None, request["do"]):
            raise Overrun(self.cause, "on purpose")
        return super().ask(request)


@pytest.mark.parametrize("cause", ["cpu", "memory", "crash", "error"])
def test_what_trafilatura_cannot_do_leaves_our_text_and_a_note(
    cause: str, article_page: bytes, sentences: list[str]
) -> None:
    for engine in ("cascade", "trafilatura"):
        found = run(engine, article_page.decode(), Failing(cause), min_confidence=1.0)
        assert found.engine == "blocks"
        assert sentences[0] in found.text
        assert cause in (found.note or "")


@pytest.mark.parametrize("engine", ["cascade", "trafilatura"])
def test_a_wall_clock_never_changes_a_text(engine: str, article_page: bytes) -> None:
    with pytest.raises(ExtractionLost) as caught:
        run(engine, article_page.decode(), Failing("wall"), min_confidence=1.0)
    assert caught.value.cause == "extract_timeout"


@pytest.mark.parametrize(
    ("cause", "quarantine"),
    [("cpu", "too_deep"), ("memory", "extract_memory"), ("crash", "extract_crash"), ("wall", "extract_timeout")],
)
def test_a_page_that_resiliparse_does_not_survive_is_lost_with_its_cause(cause: str, quarantine: str) -> None:
    page = "<div>" * (WORKER_DEPTH + 1) + "text"
    with pytest.raises(ExtractionLost) as caught:
        run("resiliparse", page, Failing(cause))
    assert caught.value.cause == quarantine


@pytest.mark.parametrize("engine", ["blocks", "cascade", "resiliparse", "trafilatura"])
@pytest.mark.parametrize("depth", [LIBXML2_DEPTH - 20, LIBXML2_DEPTH + 20, WORKER_DEPTH + 200])
def test_text_below_the_depth_of_libxml2_survives(engine: str, depth: int, child: Child, article: Article) -> None:
    deep = "<span>" * depth + "The marker far below is a sentence of its own, and it must survive." + "</span>" * depth
    found = run(engine, article(extra=f"<p>{deep}</p>"), child)
    assert "marker far below" in found.text


@pytest.mark.parametrize(
    "page",
    [
        "<table><tr><td colspan=9007199254740991>cell</td></tr></table>",
        "<p>before</p>" + "<!-- unclosed " * 20_000,
        "<script>" * 5000 + "x",
        "<a href='" + "x" * 1_000_000,
        "<p>a" * 20_000,
        "&lt;" * 100_000,
        "<p>" + "word " * 1_200_000,
        "\x00\x01\ufffe\ufdd0",
        "",
    ],
    ids=lambda page: page[:12],
)
@pytest.mark.parametrize("engine", ["blocks", "cascade", "trafilatura"])
def test_hostile_pages_come_to_an_end(engine: str, page: str, child: Child) -> None:
    assert run(engine, page, child).text is not None


def test_a_huge_span_does_not_stop_trafilatura_from_reading_the_article(
    child: Child, sentences: list[str], article: Article
) -> None:
    table = "<table><tr><td colspan=9007199254740991 rowspan=99999999>cell</td></tr></table>"
    found = run("trafilatura", article(extra=table), child)
    assert found.engine == "trafilatura"
    assert sentences[5] in found.text


def test_the_order_of_pages_does_not_change_what_trafilatura_says(child: Child, article_page: bytes) -> None:
    first = [run("trafilatura", article_page.decode(), child).text for _ in range(4)]
    assert len(set(first)) == 1


@pytest.mark.parametrize(
    ("name", "hint"), [("cascad", "cascade"), ("trafilatura2", "trafilatura"), ("zzz", "use one of")]
)
def test_an_unknown_engine_is_refused_with_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(UnknownEngineError, match=hint):
        extract_html(b"<p>x</p>", engine=name)
    with pytest.raises(ValueError, match="no extraction engine"):
        extract_html(b"<p>x</p>", engine=name)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.text(alphabet="<>/divpsan table='\"! -&;", max_size=300).map(str.encode))
def test_any_bytes_are_extracted(body: bytes) -> None:
    found = extract_html(body)
    found.text.encode()
    assert "\0" not in found.text


def test_elements_that_a_parser_lets_swallow_the_page_do_not(sentences: list[str], article: Article) -> None:
    page = article().replace("<nav>", '<iframe src="/x" width="0"/><textarea rows=1 /><nav>')
    found = run("blocks", page, Child("nowhere:nothing"))
    assert all(sentence in found.text for sentence in sentences)


def test_posts_for_readers_without_scripts_are_found(sentences: list[str]) -> None:
    posts = "".join(f"<div class='post'><p>{sentence}</p></div>" for sentence in sentences * 2)
    page = f"<html><body><div id='app'></div><noscript><div id='main-outlet'>{posts}</div></noscript></body></html>"
    assert sentences[3] in run("blocks", page, Child("nowhere:nothing")).text
