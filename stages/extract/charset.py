"""From the bytes of a page to text: byte order mark, HTTP header, meta, detector, in that order, and never an error.

Strict UTF-8 is tried first because it settles 95 % of the web in microseconds: text in another charset that happens to
be valid UTF-8 is practically unknown, whatever its label says. Two charsets do look like ASCII and are looked for
beforehand: NUL-padded text (UTF-16 without a mark) and escape sequences (ISO-2022-JP).

A declared charset is believed as long as at least half of the characters outside ASCII decode; below that the label is
taken for a lie and the next witness is heard. A UTF-8 page with a few damaged bytes is therefore still UTF-8, and
GB18030 under a UTF-8 label is not. Single-byte charsets decode anything, so a wrong single-byte label on text that is
not UTF-8 goes unnoticed. What cannot be decoded becomes U+FFFD and is counted.

Labels mean what browsers take them to mean (https://encoding.spec.whatwg.org/#names-and-labels): ``latin1`` is
windows-1252, ``gb2312`` is GB18030. Cost: 10-30 microseconds for UTF-8, about 0.1 ms where the detector is asked.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Literal

How = Literal["bom", "nul_pattern", "escape", "utf8", "http", "meta", "detector", "fallback"]

REPLACEMENT = "\ufffd"
META_WINDOW = 8192  # browsers look at 1,024 bytes; pages with long comments or scripts in front declare later
DETECTOR_WINDOW = 1 << 16
FEW_LATIN_BYTES = 24  # below this the detector cannot tell western from central European text

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.IGNORECASE)
_META = re.compile(rb"<meta\b[^>]{0,1000}?\bcharset\s*=\s*[\"']?\s*([^\s\"'/>;]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml\b[^>]{0,200}?\bencoding\s*=\s*[\"']([^\"']{2,40})[\"']", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_ISO_2022 = re.compile(rb"\x1b(?:\$[@B]|\(J)")
_NON_ASCII_RUN = re.compile(rb"[^<>\n]{0,200}[\x80-\xff][^<>\n]{0,200}")
_NON_ASCII = re.compile("[^\x00-\x7f]")

# Supersets that browsers decode where the specification's names are narrower in Python.
_WIDER = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "uhc": "cp949",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "ascii": "cp1252",
    "utf-8-sig": "utf-8",
}
_CENTRAL_EUROPEAN = frozenset({"iso8859-2", "cp1250", "cp852", "iso8859-16", "mac-centraleurope", "iso8859-3"})


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded page. ``charset`` is a Python codec name, ``replacements`` the U+FFFD in ``text``."""

    text: str
    charset: str
    how: How
    replacements: int

    @property
    def replacement_ratio(self) -> float:
        """Replacement characters per character, 0 for an empty page."""
        return self.replacements / len(self.text) if self.text else 0.0


def decode_html(body: bytes, content_type: str | None = None) -> Decoded:
    """Decode a page. ``content_type`` is the HTTP header as received. Never raises on any input."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], name, "bom")
    wide = _nul_pattern(body)
    if wide:
        return _decoded(body, wide, "nul_pattern")
    if b"\x1b" in body and _ISO_2022.search(body):
        return _decoded(body, "iso2022_jp_ext", "escape")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return _by_label(body, content_type)
    return Decoded(text, "utf-8", "utf8", text.count(REPLACEMENT))


def codec_of(label: str) -> str | None:
    """The Python codec for a charset label as browsers read it; None for an unknown one."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    name = label.strip().lower()
    mapped = map_encoding_to_html5(name, fallback_utf8=False) or _known_codec(name)
    return _WIDER.get(mapped, mapped) if mapped else None


def _known_codec(name: str) -> str | None:
    # cp949, cp932 ... are no WHATWG labels, but pages use them; codecs that are not charsets stay out
    if not re.fullmatch(r"(cp|ibm|windows-?)\d{3,4}|big5hkscs|euc[-_]jis[-_]2004", name):
        return None
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None


def _by_label(body: bytes, content_type: str | None) -> Decoded:
    header = _HEADER_CHARSET.search(content_type or "")
    witnesses: list[tuple[str | None, How]] = [(header.group(1) if header else None, "http"), (_meta(body), "meta")]
    for label, how in witnesses:
        codec = codec_of(label) if label else None
        if codec and not codec.startswith("utf-16"):  # readable labels mean that it is no UTF-16 (WHATWG)
            decoded = _decoded(body, codec, how)
            if _believable(decoded):
                return decoded
    guessed = _detect(body)
    if guessed:
        decoded = _decoded(body, guessed, "detector")
        if _believable(decoded):
            return decoded
    unsure = [_decoded(body, "utf-8", "fallback"), _decoded(body, "cp1252", "fallback")]
    return min(unsure, key=lambda decoded: decoded.replacements)


def _meta(body: bytes) -> str | None:
    """Charset that the page itself names: XML declaration, ``<meta charset>`` or ``<meta http-equiv>``."""
    head = _COMMENT.sub(b"", body[:META_WINDOW])
    found = _XML.search(head) or _META.search(head)
    return found.group(1).decode("ascii", "ignore") if found else None


def _nul_pattern(body: bytes) -> str | None:
    """UTF-16 without a mark: markup is ASCII, so every other byte at the start is NUL."""
    head = body[:512]
    if len(head) < 8 or head.count(0) < len(head) // 3:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    return "utf-16-le" if odd > 4 * even else "utf-16-be" if even > 4 * odd else None


def _detect(body: bytes) -> str | None:
    from resiliparse.parse.encoding import detect_encoding

    # Only text around non-ASCII bytes is shown to the detector: markup drowns it on long pages. Its own mapping to
    # HTML5 names is off, for it turns cp949 into UTF-8.
    runs: list[bytes] = []
    size = 0
    for match in _NON_ASCII_RUN.finditer(body):
        runs.append(match.group())
        size += len(runs[-1])
        if size > DETECTOR_WINDOW:
            break
    sample = b"\n".join(runs)
    found = detect_encoding(sample, max_len=0, html5_compatible=False)
    if not found:
        return None
    if found in _CENTRAL_EUROPEAN and sum(byte > 127 for byte in sample[:4096]) < FEW_LATIN_BYTES:
        return "cp1252"
    name = codecs.lookup(found).name
    return _WIDER.get(name, _WIDER.get(found, name))


def _decoded(body: bytes, codec: str, how: How) -> Decoded:
    text = body.decode(codec, "replace")
    return Decoded(text, codec, how, text.count(REPLACEMENT))


def _believable(decoded: Decoded) -> bool:
    if not decoded.replacements:
        return True
    return 2 * decoded.replacements <= len(_NON_ASCII.findall(decoded.text))
