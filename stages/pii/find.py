"""Find and mask personal data: candidates from the compiled scanner, decisions from ``kinds`` and ``phone``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.pii.kinds import (
    KINDS,
    Kind,
    email_length,
    iban_length,
    is_ipv4,
    is_ipv6,
    is_payment_card,
    is_ssn,
)
from stages.pii.obfuscated import obfuscated_rows
from stages.pii.phone import phone_end

_CONTEXT = 64  # bytes in front of a candidate in which words may announce it
_AFTER = 16
_START = re.compile("(?:\\+[ \u00a0]?)?\\(?[0-9]+")
_NUMBER_WORD = re.compile(r"(?i)(?<![-\w])(?:fax|tel|phone|ph|call)[/.:-]\Z")
_FREE = ("", " ", "\n", "\t", "\u00a0")
_GLUE = re.compile(r"[\w@=&%/\\$\u20ac\u00a3\u00a5#]\Z|[\d.][.,/:-]\Z|\w[-/]\Z|[\w)]\+\Z|\d[-./]?\(\Z")
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?![\w]|[.-]\d)")
_CARD = re.compile(
    r"(?:\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?|3\d{3}([ -])\d{6}\2\d{4,5})(?![\w%]|[-.,]\d)"
)
_SSN = re.compile(r"(?:\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4}|\d{9})(?![\w%]|[-.,/]\d)")


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of personal data: ``text[start:end] == value``."""

    kind: Kind
    start: int
    end: int
    value: str


@dataclass(frozen=True, kw_only=True)
class Finder:
    """Which kinds to look for, and whether IP addresses of private networks count."""

    kinds: frozenset[Kind] = frozenset(KINDS)
    private_ips: bool = False

    def rows(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Iterator[tuple[int, list[Span]]]:
        """Rows of a batch that hold personal data, with their spans in order, counted in bytes of the row."""
        hidden = obfuscated_rows(data, offsets) if "email" in self.kinds else {}
        candidates = dict(_candidates(data, offsets))
        for row in sorted({*candidates, *hidden}):
            low, high = int(offsets[row]), int(offsets[row + 1])
            found = [Span("email", start, end, value) for start, end, value in hidden.get(row, ())]
            for kind, start, end in candidates.get(row, ()):
                found += self._judge(data, low, high, kind, start, end)
            if found:
                yield row, _without_overlap(found)

    def _judge(self, data: NDArray[np.uint8], low: int, high: int, kind: int, start: int, end: int) -> Iterable[Span]:
        from stages.pii.kernel import EMAIL, IBAN, IPV6

        if kind == EMAIL:
            address = data[start:end].tobytes().decode("ascii")
            size = email_length(address) if "email" in self.kinds else 0
            return [Span("email", start - low, start - low + size, address[:size])] if size else []
        if kind == IPV6:
            address = data[start:end].tobytes().decode("ascii")
            known = "ip" in self.kinds and is_ipv6(address, private=self.private_ips)
            return [Span("ip", start - low, end - low, address)] if known else []
        if kind == IBAN:
            account = data[start : min(end + 1, high)].tobytes().decode("ascii", "replace")
            size = iban_length(account) if "iban" in self.kinds else 0
            return [Span("iban", start - low, start - low + size, account[:size])] if size else []
        return self._numbers(data, low, high, start, end)

    def _numbers(self, data: NDArray[np.uint8], low: int, high: int, start: int, end: int) -> Iterator[Span]:
        """Card, SSN, IPv4 and telephone numbers in a run of digit groups, from left to right."""
        front = data[max(low, start - _CONTEXT) : start].tobytes().decode("utf-8", "ignore")
        run = data[start:end].tobytes().decode("utf-8", "replace")
        text = front + run + data[end : min(high, end + _AFTER)].tobytes().decode("utf-8", "ignore")
        stop = len(front) + len(run)
        at = len(front)
        for sign in ("(", " ", "\u00a0", "+"):  # may stand in front of the first digit; a blank only behind a plus
            at -= front.endswith(sign, 0, at) and (sign in "+(" or front.endswith("+", 0, at - 1))
        position, counted = start - low - len(front.encode()), 0
        while (match := _START.search(text, at)) and match.start() < stop:
            first = match.start()
            at = match.end()
            kind, last = self._number_at(text, first)
            if kind is None and text[first] in "+(":
                first = at - len(match.group().lstrip("+( \u00a0"))
                kind, last = self._number_at(text, first)
            if kind is None:
                continue
            position += len(text[counted:first].encode())
            value = text[first:last]
            span = Span(kind, position, position + len(value.encode()), value)
            yield span
            position, counted, at = span.end, last, last

    def _number_at(self, text: str, start: int) -> tuple[Kind | None, int]:
        before = text[max(0, start - _CONTEXT) : start]
        free = text[start] in "+(" or before[-1:] in _FREE
        glued = not free and _GLUE.search(before[-3:]) and not _NUMBER_WORD.search(before[-8:])
        if glued and not before.endswith(("://", "@")):
            return None, start
        match = _IPV4.match(text, start)
        if match and is_ipv4(match.group(), before=before, private=self.private_ips):
            return self._wanted("ip"), match.end()
        match = None if glued else _CARD.match(text, start)
        if match:
            digits = re.sub(r"\D", "", match.group())
            if is_payment_card(digits, before=before, grouped=len(digits) < len(match.group())):
                return self._wanted("payment_card"), match.end()
        match = None if glued else _SSN.match(text, start)
        if match and is_ssn(match.group(), before=before):
            return self._wanted("ssn"), match.end()
        last = start if glued or "phone" not in self.kinds else phone_end(text, start)
        return ("phone" if last > start else None), last

    def _wanted(self, kind: Kind) -> Kind | None:
        return kind if kind in self.kinds else None


def find_pii(text: str, *, finder: Finder | None = None) -> list[Span]:
    """Personal data in ``text``, in order and without overlap; positions count characters."""
    raw = np.frombuffer(text.encode("utf-8", "surrogatepass") or b" ", np.uint8)
    offsets = np.array([0, len(raw)], np.int64)
    offsets.flags.writeable = False
    spans = [span for _, found in (finder or Finder()).rows(raw, offsets) for span in found]
    if text.isascii():
        return spans
    done: list[Span] = []
    byte = character = 0
    for span in spans:
        character += len(raw[byte : span.start].tobytes().decode("utf-8", "surrogatepass"))
        done.append(Span(span.kind, character, character + len(span.value), span.value))
        byte, character = span.end, character + len(span.value)
    return done


def mask(text: str, *, template: str = "<{kind}>", finder: Finder | None = None) -> tuple[str, Mapping[Kind, int]]:
    """``text`` with each piece of personal data replaced by ``template``, and how many there were of each kind."""
    pieces: list[str] = []
    counts: dict[Kind, int] = dict.fromkeys(KINDS, 0)
    at = 0
    for span in find_pii(text, finder=finder):
        pieces += [text[at : span.start], template.format(kind=span.kind.upper())]
        counts[span.kind] += 1
        at = span.end
    return "".join([*pieces, text[at:]]), counts


def _candidates(
    data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    from stages.pii.kernel import scan

    out = np.empty((max(256, (len(offsets) - 1) * 8), 4), np.int64)
    count = scan(data, offsets, out)
    if count > len(out):
        out = np.empty((count, 4), np.int64)
        scan(data, offsets, out)
    found = out[:count]
    edges = np.flatnonzero(np.diff(found[:, 0], prepend=-1, append=-1)) if count else np.zeros(0, np.int64)
    for first, last in itertools.pairwise(edges.tolist()):
        yield int(found[first, 0]), [(k, s, e) for _, k, s, e in found[first:last].tolist()]


def _without_overlap(spans: list[Span]) -> list[Span]:
    """Spans in order; of two that overlap, the surer kind stays (e-mail and IBAN before numbers)."""
    order = {"email": 0, "iban": 1, "ip": 2}
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, order.get(s.kind, 3))):
        if kept and span.start < kept[-1].end:
            if order.get(span.kind, 3) < order.get(kept[-1].kind, 3):
                kept[-1] = span
            continue
        kept.append(span)
    return kept
