"""The kit for hand-labelled pages: how a page is cut, what a decision may say, and what a text scores by it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest

from benchmarks.labelled_pages import __main__ as tools
from benchmarks.labelled_pages.decisions import DecisionError, parse, parse_ranges, read_decisions, score
from benchmarks.labelled_pages.measure import load_labelled
from benchmarks.labelled_pages.segments import Segment, cut, digest

DATA = Path(os.environ.get("CORPUS_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
PAGE = b"<nav><a href=/>Home</a></nav><h1>Ferries</h1><p>Two boats cross the bay each day.</p><footer>Imprint</footer>"
ROW = {"id": "set/1", "type": "article", "lang": "en", "main": "2", "optional": "1", "note": "made up"}


def texts(page: str) -> list[str]:
    return [segment.text for segment in cut(page)]


def decision(main: str, optional: str, count: int = 3, kind: str = "article"):
    pinned = {"id": "x", "sha1": "", "segments": count, "segments_sha1": "", "lang": "en"}
    return parse({**pinned, "type": kind, "main": main, "optional": optional})


def segments(*found: str) -> list[Segment]:
    return [Segment(text, "p", "", 0.0) for text in found]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<p>one <b>two</b>\n three</p>four<div>five</div>", ["one two three", "four", "five"]),
        ("<p>one<br>two<br> <br>three</p>", ["one two", "three"]),
        ("<p>one<br><!-- no text --><br>two</p>", ["one", "two"]),
        ("<p>one<script>x</script>two<noscript>y</noscript><!-- z --> three</p>", ["onetwo three"]),
        ("<head><title>T</title></head><body>one<select><option>a</select></body>", ["one"]),
        ("<ul><li>one<li>two</ul><table><tr><td>three<td>four</table>", ["one", "two", "three", "four"]),
        ("caf\u00e9 &amp; \u65e5\u672c", ["caf\u00e9 & \u65e5\u672c"]),
        ("<p>a\x00b</p><p>after</p>", ["a\ufffdb", "after"]),
        ("", []),
        (" \n ", []),
        ("<!-- only a comment -->", []),
    ],
)
def test_a_page_is_cut_at_blocks_and_at_two_line_breaks(page, expected):
    assert texts(page) == expected


def test_a_segment_knows_its_block_the_name_near_it_and_how_much_of_it_is_links():
    menu, post = cut("<div id=menu><a href=/>Home</a></div><div class='post wide'><p><a href=/>four</a>four</p></div>")
    assert (menu.tag, menu.name, menu.links) == ("div", "menu", 1.0)
    assert (post.tag, post.name, post.links) == ("p", "post", 0.5)


def test_the_digest_holds_between_runs_and_moves_with_text_order_and_borders():
    assert digest(cut(PAGE.decode())) == "2c8286a692cb51e0a0a7c9eafbbb1b4b4d4c6b6c"
    assert digest(segments("a", "b")) != digest(segments("b", "a")) != digest(segments("b a"))


def test_ranges():
    assert parse_ranges("0-2, 5", 6) == {0, 1, 2, 5}
    assert parse_ranges("", 0) == frozenset()


@pytest.mark.parametrize("wrong", ["a", "-1", "1-", "3-2", "6", "4-6", "2,1", "1-3,3", "1,1", "1,,2", "1;2"])
def test_ranges_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(DecisionError):
        parse_ranges(wrong, 6)


@pytest.mark.parametrize(
    ("main", "optional", "kind", "message"),
    [
        ("0-1", "1", "article", "both main and optional"),
        ("0", "", "blog", "unknown type"),
        ("", "0", "article", "if, and only if"),
        ("0", "", "none", "if, and only if"),
    ],
)
def test_decisions_that_contradict_themselves_are_refused(main, optional, kind, message):
    with pytest.raises(DecisionError, match=message):
        decision(main, optional, kind=kind)


def test_a_wrong_line_is_named_by_file_and_number(tmp_path):
    good = {**ROW, "sha1": "", "segments": 4, "segments_sha1": ""}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps({**good, 'main': '9'})}\n")
    with pytest.raises(DecisionError, match=r"^a\.jsonl:2: "):
        read_decisions(tmp_path)


def test_precision_and_recall_count_words_as_often_as_they_occur():
    got = score("A b b x", decision("0", ""), segments("a b c d", "x", "y"))
    assert (got.precision, got.recall) == (0.5, 0.5)
    assert got.f1 == 0.5


def test_optional_words_count_neither_for_nor_against():
    page = segments("a b c d", "title", "menu")
    without, with_title = (score(text, decision("0", "1"), page) for text in ("a b", "title a b"))
    assert without == with_title
    assert (without.precision, without.recall) == (1.0, 0.5)
    assert score("a b menu menu", decision("0", "1"), page).precision == 0.5


def test_a_word_of_main_and_optional_text_serves_main_text_first():
    got = score("a a a", decision("0", "1"), segments("a b", "a", "y"))
    assert (got.precision, got.recall) == (0.5, 0.5)


def test_nothing_in_common_and_nothing_at_all_score_zero():
    for text in ("x y", "", "title"):
        assert score(text, decision("0", "1"), segments("a b", "title", "y")).f1 == 0.0


def test_cjk_characters_are_words_and_hangul_is_not_split():
    got = score("\u65e5\u672c abc", decision("0", ""), segments("\u65e5\u672c\u8a9e abc", "x", "y"))
    assert (got.precision, got.recall) == (1.0, 0.75)
    assert score("\ud55c\uad6d", decision("0", ""), segments("\ud55c\uad6d\uc5b4", "x", "y")).f1 == 0.0


@pytest.mark.parametrize(
    ("kept", "expected"), [("", 1.0), ("menu " * 19, 1.0), ("menu " * 20, 0.0), ("hint " * 20, 1.0)]
)
def test_on_a_page_without_main_text_next_to_nothing_is_right(kept, expected):
    page = segments("menu", "hint " * 20, "foot")
    assert score(kept, decision("", "1", kind="none"), page).f1 == expected


@pytest.fixture
def data(tmp_path):
    """A data folder whose crawl is one page of our own."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE
    head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.test/\r\nContent-Length: {len(http)}\r\n"
    head += "WARC-Record-ID: <urn:uuid:1>\r\nContent-Type: application/http; msgtype=response\r\n\r\n"
    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl" / "one.warc.gz").write_bytes(gzip.compress(head.encode() + http + b"\r\n\r\n"))
    entry = {"id": "set/1", "url": "http://a.test/", "url_known": True, "warc": "one.warc.gz", "offset": 0}
    (tmp_path / "crawl" / "manifest.jsonl.gz").write_bytes(gzip.compress(json.dumps(entry).encode() + b"\n"))
    return tmp_path


@pytest.fixture
def adopted(data, monkeypatch):
    """The folder of decisions after one draft has been adopted."""
    folder = data / "decisions"
    monkeypatch.setattr(tools, "FOLDER", folder)
    monkeypatch.setattr(tools, "read_decisions", lambda: read_decisions(folder))
    (data / "selection.jsonl").write_text(json.dumps({"id": "set/1", "part": "a"}) + "\n")
    monkeypatch.setattr(tools, "SELECTION", data / "selection.jsonl")
    (data / "draft.jsonl").write_text(json.dumps(ROW) + "\n")
    tools.adopt(data, "a", data / "draft.jsonl")
    return folder


def test_an_adopted_draft_is_pinned_to_its_page_and_fits(data, adopted, capsys):
    row = json.loads((adopted / "a.jsonl").read_text())
    pinned = {"sha1": hashlib.sha1(PAGE).hexdigest(), "segments": 4, "segments_sha1": digest(cut(PAGE.decode()))}
    assert row == {**ROW, **pinned}
    tools.check(data)
    assert "1 decisions, 0 that do not fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("field", "message"), [("sha1", "the page has changed"), ("segments_sha1", "cuts the page differently")]
)
def test_a_decision_that_no_longer_fits_its_page_is_named(data, adopted, capsys, field, message):
    row = json.loads((adopted / "a.jsonl").read_text())
    (adopted / "a.jsonl").write_text(json.dumps({**row, field: "0" * 40}) + "\n")
    with pytest.raises(SystemExit) as ended:
        tools.check(data)
    assert ended.value.code == 1
    assert "set/1: " in (printed := capsys.readouterr().out)
    assert message in printed


def test_a_wrong_draft_is_refused_and_leaves_the_decisions_as_they_are(data, adopted):
    before = (adopted / "a.jsonl").read_bytes()
    (data / "draft.jsonl").write_text(json.dumps({**ROW, "main": "2-40"}) + "\n")
    with pytest.raises(DecisionError, match=r"set/1: .*4 segments"):
        tools.adopt(data, "a", data / "draft.jsonl")
    assert (adopted / "a.jsonl").read_bytes() == before


def test_a_page_of_another_part_or_decided_twice_is_named(data, adopted, capsys):
    with pytest.raises(DecisionError, match="not in part b: set/1"):
        tools.adopt(data, "b", data / "draft.jsonl")
    (adopted / "b.jsonl").write_bytes((adopted / "a.jsonl").read_bytes())
    with pytest.raises(SystemExit):
        tools.check(data)
    assert "set/1: decided 2 times" in capsys.readouterr().out


def test_the_labeller_is_shown_every_number(data, monkeypatch, capsys):
    selection = data / "selection.jsonl"
    selection.write_text(json.dumps({"id": "set/1", "part": "a"}) + "\n")
    monkeypatch.setattr(tools, "SELECTION", selection)
    tools.show(data, "a")
    assert "4 segments" in (printed := capsys.readouterr().out)
    assert "Two boats cross" in printed


def test_the_decisions_are_one_per_page_and_of_selected_pages():
    ids = [each.id for each in read_decisions()]
    selected = {json.loads(line)["id"] for line in tools.SELECTION.read_text().splitlines()}
    assert len(set(ids)) == len(ids)
    assert set(ids) <= selected


@pytest.mark.shared
def test_the_decisions_fit_the_pages_of_the_crawl():
    if not DATA.is_dir():
        pytest.skip(f"no measurement data at {DATA} (set CORPUS_SHARED_DATA)")
    for page in load_labelled(DATA):
        main = " ".join(page.segments[at].text for at in sorted(page.decision.main))
        assert score(main, page.decision, page.segments).f1 == 1.0, page.id
