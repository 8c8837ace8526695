"""Find and mask personal data: candidates from the compiled scanner, decisions from ``kinds`` and ``phone``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.pii.kinds import (
    KINDS,
    Kind,
    email_length,
    iban_length,
    ipv6_length,
    is_ipv4,
    is_payment_card,
    is_ssn,
)
from stages.pii.obfuscated import obfuscated_rows
from stages.pii.phone import phone_end

_CONTEXT = 64  # bytes in front of a candidate in which words may announce it
_AFTER = 16
_JOINTS = " +-._%'&~"
_START = re.compile("(\\(?)((?:\\+{1,2}[ \u00a0]?)?\\(?)[0-9]+")
_NUMBER_WORD = re.compile(r"(?i)(?<![-\w])(?:fax|tel|phone|ph|call)[/.:-]\Z")
_FREE = ("", " ", "\n", "\t", "\u00a0")
_GLUE = re.compile(r"[\w@=&%/\\$\u20ac\u00a3\u00a5#]\Z|[\d._][.,/:-]\Z|\w[-/]\Z|[\w)]\+\Z|[\d_][-./]?\(\Z")
_PLACEHOLDER = re.compile(f"<({'|'.join(KINDS)})>".upper())
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?!\w|[.-][\d_])")
_CARD = re.compile(
    r"(?:\d{12,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?|3\d{3}([ -])\d{6}\2\d{4,5})(?![\w%]|[-.,][\d_])"
)
_SSN = re.compile(r"(?:\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4}|\d{9})(?![\w%]|[-.,/][\d_])")


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
        """Rows of a batch that hold personal data, with their spans in order, counted in bytes of the row.

        Numbers are judged last, in a text where the surer kinds are masked already: what is no personal data beside
        an address is none beside its placeholder.
        """
        from stages.pii.kernel import NUMBER

        hidden = obfuscated_rows(data, offsets) if "email" in self.kinds else {}
        candidates = dict(_candidates(data, offsets))
        for row in sorted({*candidates, *hidden}):
            text = data[offsets[row] : offsets[row + 1]]
            words = [Span("email", start, end, value) for start, end, value in hidden.get(row, ())]
            runs: list[tuple[int, int]] = []
            for kind, start, end in candidates.get(row, ()):
                if kind == NUMBER:
                    runs.append((start - int(offsets[row]), end - int(offsets[row])))
                else:
                    words += self._word(text, kind, start - int(offsets[row]), end - int(offsets[row]))
            words = _without_overlap(words)
            if words and runs:
                text = text.copy()
                for span in words:
                    text[span.start : span.end] = np.frombuffer(_veil(span.kind, span.end - span.start), np.uint8)
            found = words + [span for start, end in runs for span in self._numbers(text, start, end)]
            if found:
                yield row, _without_overlap(found)

    def _word(self, text: NDArray[np.uint8], kind: int, start: int, end: int) -> list[Span]:
        """The candidate as an e-mail address, an IPv6 address or an IBAN, if it is one."""
        from stages.pii.kernel import EMAIL, IPV6

        before = _hidden(text[max(0, start - _AFTER) : start].tobytes().decode("utf-8", "ignore"))
        value = text[start : end + _AFTER].tobytes().decode("ascii", "replace")
        name: Kind
        if kind == EMAIL:
            name, size = "email", email_length(value[: end - start])
        elif before.endswith("_"):  # behind a masked value, or part of a name
            return []
        elif kind == IPV6:
            name, size = "ip", ipv6_length(_hidden(value), end - start, before[-2:], private=self.private_ips)
            if not size:  # 443:2001:db8::1
                skip = value.find(":") + 1
                start, value = start + skip, value[skip:]
                size = ipv6_length(_hidden(value), end - start, before[-2:], private=self.private_ips)
        else:
            name, size = "iban", iban_length(value[: end - start + 1])
        return [Span(name, start, start + size, value[:size])] if size and name in self.kinds else []

    def _numbers(self, data: NDArray[np.uint8], start: int, end: int) -> Iterator[Span]:
        """Card, SSN, IPv4 and telephone numbers in a run of digit groups, from left to right."""
        front = _hidden(data[max(0, start - _CONTEXT) : start].tobytes().decode("utf-8", "ignore"))
        run = data[start:end].tobytes().decode("utf-8", "replace")
        text = front + run + _hidden(data[end : end + _AFTER].tobytes().decode("utf-8", "ignore"))
        stop = len(front) + len(run)
        at = len(front)
        for sign in "( \u00a0++(":  # may stand in front of the first digit, in this order; a blank only behind a plus
            at -= front.endswith(sign, 0, at) and (sign in "+(" or front.endswith("+", 0, at - 1))
        position, counted = start - len(front.encode()), 0
        while (match := _START.search(text, at)) and match.start() < stop:
            at = match.end()
            for first in _firsts(match):
                kind, last = self._number_at(text, first)
                if kind is not None:
                    break
            else:
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


def _firsts(match: re.Match[str]) -> list[int]:
    """Where a number may start: at the signs in front of the first digit, or behind one or all of them."""
    return [match.start()] if match.start() == match.end(2) else sorted({match.start(), match.end(1), match.end(2)})


def _hidden(context: str) -> str:
    """The text around a number with veils in place of placeholders, of the same length.

    A number beside a masked value is judged like one beside the value itself: what was no personal data before
    masking is none afterwards.
    """
    if "<" not in context:
        return context
    return _PLACEHOLDER.sub(lambda match: _veil(match[1].lower(), len(match[0])).decode(), context)


def _veil(kind: str, size: int) -> bytes:
    """What stands for a masked value while its neighbours are judged: ``_____``, for numbers ``_000_``."""
    return b"_" * size if kind in ("email", "iban") else b"_" + b"0" * (size - 2) + b"_"


def _without_overlap(spans: list[Span]) -> list[Span]:
    """Spans in order; of two that overlap the first stays whole, and of the second what stands behind it."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if kept and span.start < kept[-1].end:
            rest = span.value.encode()[kept[-1].end - span.start :].decode("utf-8", "ignore").lstrip(_JOINTS)
            if not rest or rest[0] == "@":
                continue
            span = Span(span.kind, span.end - len(rest.encode()), span.end, rest)
        kept.append(span)
    return kept
