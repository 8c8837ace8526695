"""URL rules: which addresses are turned down, by what, and what hostile addresses do."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import StageError
from stages.url_filter import BLOCKED_DOMAIN, BLOCKED_URL, BLOCKED_WORD, INVALID_URL, UrlFilter


class Files:
    """Resources of a stage that needs local files only."""

    def scorer(self, model):
        raise LookupError(model)

    def local_path(self, location: str) -> Path:
        return Path(location)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("CORPUS_CACHE", str(tmp_path_factory.getbasetemp() / "lists"))


def batch(urls) -> pa.Table:
    empty = pa.nulls(len(urls), pa.string())
    columns = {"url": pa.array(urls, pa.large_string()), "outcome": empty, "reason": empty}
    return pa.table({**columns, "detail": pa.nulls(len(urls), pa.large_string())})


def reasons(stage: UrlFilter, urls) -> list[str | None]:
    return stage.open(Files())(batch(urls))["reason"].to_pylist()


def own(tmp_path: Path, *, domains="", urls="", hard="", soft="", phrases="", **settings) -> UrlFilter:
    named = {"domains": domains, "urls": urls, "hard_words": hard, "soft_words": soft, "phrases": phrases}
    for name, text in named.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    lists = {name: (str(tmp_path / name),) for name, text in named.items() if text}
    return UrlFilter(bundled=False, **lists, **settings)


def test_a_listed_domain_blocks_itself_and_every_host_below_it_and_nothing_else(tmp_path):
    stage = own(tmp_path, domains="bad.example\n")
    blocked = ["http://bad.example/", "https://www.bad.example/a", "http://a.b.c.bad.example:8080/x?y#z"]
    free = ["http://notbad.example/", "http://bad.example.org/", "http://example/", "http://x.org/bad.example", "bad"]
    assert reasons(stage, blocked) == [BLOCKED_DOMAIN] * 3
    assert reasons(stage, free) == [None] * len(free)


def test_the_detail_names_the_listed_parent_domain(tmp_path):
    out = own(tmp_path, domains="bad.example").open(Files())(batch(["http://A.Bad.Example/"]))
    assert out["detail"].to_pylist() == ["bad.example"]


@pytest.mark.parametrize(
    "url",
    [
        "HTTP://WWW.BAD.EXAMPLE/",
        "http://bad.example./",
        "http://user:pass@bad.example/",
        "http://good.org@bad.example/",
        "http://bad.example:80",
        "//bad.example/x",
        "bad.example/x",
        "bad.example:443/x",
        "  http://bad.example/",
        "http:\\\\bad.example\\x",
        "http:/bad.example/x",
        "http://ba\nd.exam\tple/",
        "http://bad%2Eexample/",
        "http://b%61d.example/",
        "http://BAD.example?q=http://good.org/",
        "http://bad.example#good.org",
        "http://ｂａｄ.example/",
        "ftp://bad.example/",
    ],
)
def test_no_way_of_writing_a_host_gets_past_the_list(tmp_path, url):
    assert reasons(own(tmp_path, domains="bad.example"), [url]) == [BLOCKED_DOMAIN]


@pytest.mark.parametrize(
    "line",
    [
        "bad.example",
        "0.0.0.0 bad.example",
        "127.0.0.1\tbad.example # ads",
        "*.bad.example",
        ".bad.example",
        "||bad.example^",
        "BAD.example.",
        "http://bad.example/",
        "::1 other.example bad.example",
        "bad.example # why",
        "bad.example\r",
    ],
)
def test_list_files_come_in_many_forms(tmp_path, line):
    stage = own(tmp_path, domains=f"# comment\n! comment\n\n{line}\n; x.org\n")
    assert reasons(stage, ["http://bad.example/", "http://x.org/"]) == [BLOCKED_DOMAIN, None]


def test_hosts_beyond_ascii_match_in_either_spelling(tmp_path):
    stage = own(tmp_path, domains="bücher.example\nxn--bcher-kva.test\n")
    urls = [
        "http://xn--bcher-kva.example/",
        "http://www.BÜCHER.example/",
        "http://bücher.test",
        "http://b%C3%BCcher.test/",
    ]
    assert reasons(stage, urls) == [BLOCKED_DOMAIN] * 4


def test_ip_addresses_can_be_listed(tmp_path):
    stage = own(tmp_path, domains="192.0.2.7\n")
    assert reasons(stage, ["http://192.0.2.7/x", "http://192.0.2.77/"]) == [BLOCKED_DOMAIN, None]


def test_a_listed_url_blocks_the_page_and_those_below_it(tmp_path):
    stage = own(tmp_path, urls="host.example/users/bad\nhttps://www.host.example/page?id=7\n")
    blocked = [
        "http://host.example/users/bad",
        "https://www.host.example/users/bad/",
        "http://host.example/users/bad/pictures/1",
        "http://HOST.example/users/bad?x=1",
        "http://host.example/page?id=7",
        "http://host.example/users/bad#top",
    ]
    free = [
        "http://host.example/users/badger",
        "http://host.example/users",
        "http://host.example/page?id=70",
        "http://other.example/users/bad",
        "http://host.example/users/Bad",
    ]
    assert reasons(stage, blocked) == [BLOCKED_URL] * len(blocked)
    assert reasons(stage, free) == [None] * len(free)


def test_percent_escapes_of_a_path_match_whatever_their_case(tmp_path):
    stage = own(tmp_path, urls="host.example/é\n")
    assert (
        reasons(stage, ["http://host.example/%c3%a9", "http://host.example/%C3%A9", "http://host.example/é"])
        == [BLOCKED_URL] * 3
    )


def test_one_hard_word_blocks_and_a_part_of_a_word_does_not(tmp_path):
    stage = own(tmp_path, hard="porn\n#ignored\n")
    assert reasons(stage, ["http://x.org/Free-PORN.html", "http://porn.x.org/"]) == [BLOCKED_WORD] * 2
    assert reasons(stage, ["http://x.org/popcorn", "http://x.org/pornichet", "http://x.org/ignored"]) == [None] * 3


def test_soft_words_block_from_the_threshold_on(tmp_path):
    soft = "sex\nsexy\n"
    one, two = "http://x.org/sex-sex-education", "http://x.org/sex/sexy"
    assert reasons(own(tmp_path, soft=soft), [one, two]) == [None, BLOCKED_WORD]
    assert reasons(own(tmp_path, soft=soft, soft_threshold=1), [one, two]) == [BLOCKED_WORD] * 2
    assert reasons(own(tmp_path, soft=soft, soft_threshold=3), [one, two]) == [None, None]


def test_phrases_match_through_whatever_stands_between_their_words(tmp_path):
    stage = own(tmp_path, phrases="free sex\n")
    assert (
        reasons(stage, ["http://x.org/free%20sex", "http://freesex.org/", "http://x.org/FREE_sex"])
        == [BLOCKED_WORD] * 3
    )
    assert reasons(stage, ["http://x.org/free-essex"]) == [None]


def test_names_of_parameters_are_no_words(tmp_path):
    stage = own(tmp_path, hard="scat\n")
    assert reasons(stage, ["http://shop.example/?a=1&scat=5", "http://shop.example/?q=scat"]) == [None, BLOCKED_WORD]


def test_rows_without_a_url_pass_and_are_not_called_invalid(tmp_path):
    out = own(tmp_path, domains="bad.example", reject_invalid=True).open(Files())(
        batch([None, "http://x.org/", "javascript:void(0)"])
    )
    assert [row["url_invalid"] for row in out["signals"].to_pylist()] == [None, 0, 1]
    assert out["reason"].to_pylist() == [None, None, INVALID_URL]


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "javascript:alert(1)",
        "javascript://x.org/%0aalert(1)",
        "mailto:a@b.org",
        "http://",
        "http:///",
        "http://.onion/",
        "http://a..b/",
        "http://x.org%00.bad.org/",
        "http://a b/",
        "http://" + "a" * 64 + ".org/",
        "http://" + "a." * 140 + "org/",
        "http://[::1",
        "http://x.org:80a/",
        "http://{{url}}",
        "http://" + "é" * 200 + ".org/",
        "data:text/html,x",
        "\x00",
        "http://%ff/",
    ],
)
def test_addresses_without_a_valid_host_are_measured_and_rejected_only_on_demand(tmp_path, url):
    assert reasons(own(tmp_path, domains="bad.example"), [url]) == [None]
    assert reasons(own(tmp_path, domains="bad.example", reject_invalid=True), [url]) == [INVALID_URL]


@pytest.mark.parametrize(
    "url",
    [
        "http://[2001:db8::1]:80/x",
        "http://[fe80::1%25eth0]/",
        "http://x_y.example/",
        "http://1.2.3.4/",
        "http://x.org/" + "a" * 1_000_000,
        "http://x.org/%00",
        "http://x.org/\n",
        "localhost:8080",
    ],
)
def test_unusual_addresses_with_a_host_are_valid(tmp_path, url):
    assert reasons(own(tmp_path, domains="bad.example", hard="zzz", reject_invalid=True), [url]) == [None]


@pytest.mark.parametrize("sign", ["a", "/", ".", "@", ":", "%", "é", "[", "?", "=", "&", " ", "\n", "www."])
def test_a_megabyte_of_one_sign_is_handled(tmp_path, sign):
    stage = own(tmp_path, domains="bad.example", urls="x.org/y", hard="porn", phrases="free sex")
    assert (
        reasons(stage, [sign * 1_000_000, "http://" + sign * 1_000_000, "http://x.org/" + sign * 1_000_000])
        == [None] * 3
    )


@given(st.lists(st.text() | st.text(alphabet="htp:/.@#?%[]\\ab\n\t 1é", max_size=40), max_size=8))
@settings(max_examples=150)
def test_any_text_gets_an_answer(tmp_path_factory, urls):
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    urls = [url.encode("utf-8", "replace").decode() for url in urls]
    stage = own(folder, domains="b.a\na", urls="b/a", hard="b", soft="a", phrases="a b")
    out = stage.open(Files())(batch(urls))
    assert out.num_rows == len(urls)
    assert set(out["reason"].to_pylist()) <= {None, BLOCKED_DOMAIN, BLOCKED_URL, BLOCKED_WORD}


def test_the_bundled_lists_are_found_and_block_what_they_should():
    urls = [
        "http://www.pornhub.com/",
        "http://en.wikipedia.org/wiki/Sex_education",
        "http://sub.domain.xxx/",
        "http://example.org/gang-bang",
    ]
    assert reasons(UrlFilter(), urls) == [BLOCKED_DOMAIN, None, BLOCKED_DOMAIN, BLOCKED_WORD]


def test_a_missing_list_is_a_clear_error_and_named_files_are_part_of_the_work(tmp_path):
    stage = UrlFilter(bundled=False, domains=(str(tmp_path / "none"),))
    assert stage.files() == (str(tmp_path / "none"),)
    with pytest.raises(StageError, match="missing"):
        stage.open(Files())
    assert stage.needs() == {"url"}
