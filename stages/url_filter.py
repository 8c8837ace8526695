"""URL rules: turn a page down by its address, before anything is spent on extracting it.

Three rules, counted under safety: the host or one of its parent domains is on a list (``url/blocked_domain@1``), the
page or a folder above it is (``url/blocked_url@1``), or the address speaks for itself (``url/blocked_word@1``). The
lists bundled with the datatrove package are the default: 4.56 million domains (from the UT1 blacklists of Université
Toulouse Capitole), 19,586 URLs, 203 words that block alone, 87 of which two are needed, 134 phrases. WanJuan-CC used
about 13 million unsafe domains (InternLM2 report, arXiv 2403.17297); its list is not public.

Cost: about 15 microseconds per URL, 2 without the word rules; the lists are compiled once and shared, see
``stages.hostlist``. Where datatrove's ``URLFilter`` compares listed URLs with the scheme still on and words in the
case they came in, so that neither can match most addresses, here both are brought into one form first. No address
is ever fetched.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from corpus.schema import add_signals, give_verdict
from stages.stage import BatchFunction, Resources, Stage
from stages.text_buffers import text_buffers

BLOCKED_DOMAIN, BLOCKED_URL = "url/blocked_domain@1", "url/blocked_url@1"
BLOCKED_WORD, INVALID_URL = "url/blocked_word@1", "url/invalid@1"

_NO_LETTER = re.compile(r"[^a-z0-9]+")
_PARAMETER = re.compile(r"(?<=[?&;])[^=&;#/?]{0,64}=")  # the name before a value: &scat= is a shop's sub-category
_LONGEST = 4096  # characters of an address in which words are looked for
_ARCHIVE = "url_filterblacklistsv0_3_0.tar.gz"


class UrlFilter(Stage):
    """Reject documents by their URL: listed hosts, listed pages, words. Rows without a URL pass.

    Signal ``url_invalid``: 1 where the recorded URL names no valid host, 0 where it does, null where there is none.
    """

    kind: Literal["url_filter"] = "url_filter"

    bundled: bool = True
    """Use the lists that the datatrove package carries, besides the ones named below."""

    domains: tuple[str, ...] = ()
    """Domain lists: paths or URLs of text files (plain, .gz, .zst), one host per line or in the form of a hosts file.
    A listed domain blocks all hosts below it."""

    urls: tuple[str, ...] = ()
    """URL lists in the same form, one host/path per line. A listed URL blocks the pages below it too."""

    hard_words: tuple[str, ...] = ()
    """Files of words (one per line) any of which blocks a URL, when it stands between non-letters."""

    soft_words: tuple[str, ...] = ()
    """Files of words of which ``soft_threshold`` different ones block a URL."""

    phrases: tuple[str, ...] = ()
    """Files of phrases that block a URL wherever they occur, whatever stands between their words."""

    soft_threshold: int = Field(default=2, ge=1)
    """Different soft words that it takes; 2 as in datatrove's URLFilter."""

    reject_invalid: bool = False
    """Also reject documents whose URL names no valid host (``url/invalid@1``); otherwise that is only measured."""

    def needs(self) -> frozenset[str]:
        return frozenset({"url"})

    def adds(self) -> Mapping[str, pa.DataType]:
        return {"signals.url_invalid": pa.int32()}

    def files(self) -> tuple[str, ...]:
        return self.domains + self.urls + self.hard_words + self.soft_words + self.phrases

    def open(self, resources: Resources) -> BatchFunction:
        from stages.hostlist import ListFile, bundled_folder, load_hashes

        bundle = bundled_folder() if self.bundled else None
        archive = [bundle / _ARCHIVE] if bundle else []
        domains = [ListFile(path=path, member="domains") for path in archive]
        urls = [ListFile(path=path, member="urls") for path in archive]
        domains += [ListFile(path=resources.local_path(name)) for name in self.domains]
        urls += [ListFile(path=resources.local_path(name)) for name in self.urls]
        words = _UrlWords.read(
            hard=_word_files(bundle, "banned_words.txt", self.hard_words, resources),
            soft=_word_files(bundle, "soft_banned_words.txt", self.soft_words, resources),
            phrases=_word_files(bundle, "banned_subwords.txt", self.phrases, resources),
            soft_threshold=self.soft_threshold,
        )
        judge = _Judge(domains=load_hashes(domains), urls=load_hashes(urls, paths=True), words=words)
        return lambda batch: _apply(batch, judge, reject_invalid=self.reject_invalid)


def _word_files(bundle: Path | None, name: str, own: tuple[str, ...], resources: Resources) -> list[Path]:
    return ([bundle / name] if bundle else []) + [resources.local_path(location) for location in own]


@dataclass(frozen=True, kw_only=True)
class _UrlWords:
    """The three word rules. ``blocked`` says which words of an address turn it down, or None."""

    hard: frozenset[str]
    soft: frozenset[str]
    phrases: re.Pattern[str] | None  # an re2 pattern
    soft_threshold: int

    @staticmethod
    def read(*, hard: list[Path], soft: list[Path], phrases: list[Path], soft_threshold: int) -> _UrlWords:
        import re2  # linear in the address, whatever the number of phrases

        from stages.hostlist import read_entries

        glued = sorted({_NO_LETTER.sub("", entry) for path in phrases for entry in read_entries(path)} - {""})
        return _UrlWords(
            hard=frozenset().union(*map(read_entries, hard)),
            soft=frozenset().union(*map(read_entries, soft)),
            phrases=re2.compile("|".join(glued)) if glued else None,
            soft_threshold=soft_threshold,
        )

    @property
    def any(self) -> bool:
        return bool(self.hard or self.soft or self.phrases)

    def blocked(self, url: str) -> str | None:
        lowered = url[:_LONGEST].lower()
        if "%" in lowered:
            lowered = urllib.parse.unquote(lowered, errors="replace").lower()
        if "=" in lowered:
            lowered = _PARAMETER.sub("=", lowered)
        found = set(_NO_LETTER.split(lowered))
        hard = found & self.hard
        if hard:
            return min(hard)
        soft = found & self.soft
        if len(soft) >= self.soft_threshold:
            return " ".join(sorted(soft))
        match = self.phrases.search(_NO_LETTER.sub("", lowered)) if self.phrases else None
        return match.group() if match else None


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """The loaded lists: sorted hashes of domains and of URLs, and the word rules."""

    domains: NDArray[np.uint64]
    urls: NDArray[np.uint64]
    words: _UrlWords


def _apply(batch: pa.Table, judge: _Judge, *, reject_invalid: bool) -> pa.Table:
    from stages.host_kernel import DOMAIN, INVALID, PASS, SLOW, URL, match_urls

    column = batch.column("url")
    data, offsets = text_buffers(column)
    state, where = match_urls(data, offsets, judge.domains, judge.urls)
    known = np.asarray(pc.is_valid(column).to_numpy(), np.bool_)
    detail: list[str | None] = [None] * len(state)
    reason: list[str | None] = [None] * len(state)
    for row in np.flatnonzero(known & (state == SLOW)):
        state[row], detail[row] = _match_slowly(bytes(data[offsets[row] : offsets[row + 1]]), judge)
    for row in np.flatnonzero(known & (state == DOMAIN)):
        detail[row] = detail[row] or bytes(data[where[row, 0] : where[row, 1]]).decode("ascii", "replace").lower()
        reason[row] = BLOCKED_DOMAIN
    for row in np.flatnonzero(known & (state == URL)):
        reason[row] = BLOCKED_URL
    texts = column.to_pylist() if judge.words.any else []
    for row in np.flatnonzero(known & ((state == PASS) | (state == INVALID))) if texts else ():
        words = judge.words.blocked(texts[row])
        if words is not None:
            reason[row], detail[row] = BLOCKED_WORD, words
    invalid = state == INVALID
    batch = add_signals(batch, {"url_invalid": pa.array(invalid.astype(np.int32), mask=~known)})
    if reject_invalid:
        for row in np.flatnonzero(known & invalid):
            reason[row] = reason[row] or INVALID_URL
    return give_verdict(batch, np.array([each is not None for each in reason], np.bool_), reason, detail=detail)


def _match_slowly(url: bytes, judge: _Judge) -> tuple[int, str | None]:
    """State and listed domain of a URL whose host has escapes or letters beyond ASCII."""
    from stages.host_kernel import DOMAIN, INVALID, match_urls
    from stages.hostlist import canonical_url

    plain = canonical_url(url)
    if plain is None:
        return INVALID, None
    offsets = np.array([0, len(plain)], np.int64)
    data = np.frombuffer(plain, np.uint8)
    offsets.flags.writeable = False
    state, where = match_urls(data, offsets, judge.domains, judge.urls)
    domain = plain[where[0, 0] : where[0, 1]].decode("ascii").lower() if state[0] == DOMAIN else None
    return int(state[0]), domain
