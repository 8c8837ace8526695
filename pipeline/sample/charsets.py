"""How a page becomes bytes: its charset, and who tells the truth about it.

A page may name its charset in the HTTP header, in a meta tag, in both, in neither, or wrongly. ``encode`` returns the
bytes and the Content-Type header; characters that a charset lacks become character references, as editors do it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from .site import CHARSET_SLOT, Page

_WESTERN = (("windows-1252", "windows-1252"), ("latin-1", "iso-8859-1"))
_CENTRAL = (("windows-1250", "windows-1250"), ("iso8859-2", "iso-8859-2"))

CHARSETS: dict[str, tuple[tuple[str, str], ...]] = {
    "en": _WESTERN,
    **dict.fromkeys(("de", "fr", "es", "it", "pt", "nl", "sv"), _WESTERN),
    "pl": _CENTRAL,
    "cs": _CENTRAL,
    "tr": (("windows-1254", "windows-1254"), ("iso8859-9", "iso-8859-9")),
    "ru": (("windows-1251", "windows-1251"), ("koi8-r", "koi8-r")),
    "ar": (("windows-1256", "windows-1256"),),
    "el": (("windows-1253", "windows-1253"), ("iso8859-7", "iso-8859-7")),
    "zh": (("gb18030", "gb18030"), ("gb18030", "gb2312")),
    "zh-Hant": (("big5", "big5"),),
    "ja": (("shift_jis", "shift_jis"), ("euc-jp", "euc-jp")),
}
"""Legacy charsets per language: Python's name, and the name a page would use."""

_LABELS = ("both", "meta", "header", "none", "wrong")
_SHARES = (0.4, 0.25, 0.2, 0.08, 0.07)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A page as bytes."""

    body: bytes
    content_type: str
    charset: str
    label: str
    """``both``, ``meta``, ``header``, ``none``, ``wrong`` or ``bom``: where the charset is named."""


def encode(rng: random.Random, page: Page) -> Encoded:
    """Choose charset and label for a page, and encode it. One page of seventy is UTF-16 with a byte order mark."""
    legacy_share = 0.55 if page.language != "en" else 0.06
    draw = rng.random()
    if draw > 0.985:
        return _utf16(page)
    codec, name = ("utf-8", "utf-8") if draw > legacy_share else rng.choice(CHARSETS.get(page.language, _WESTERN))
    label = rng.choices(_LABELS, _SHARES)[0]
    if label == "wrong" and codec != "utf-8":
        header = meta = "utf-8"
    elif label == "wrong":
        header = meta = "iso-8859-1"
    else:
        header = name if label in ("both", "header") else ""
        meta = name if label in ("both", "meta") else ""
    source = page.html.replace(CHARSET_SLOT, _meta(rng, meta), 1)
    body = source.encode(codec, "xmlcharrefreplace")
    content_type = f"text/html; charset={header}" if header else "text/html"
    return Encoded(body, content_type, name, label)


def _meta(rng: random.Random, name: str) -> str:
    if not name:
        return ""
    old = f'<meta http-equiv="Content-Type" content="text/html; charset={name}">'
    return rng.choice((f'<meta charset="{name}">', old))


def _utf16(page: Page) -> Encoded:
    body = "\ufeff" + page.html.replace(CHARSET_SLOT, "", 1)
    return Encoded(body.encode("utf-16-le"), "text/html", "utf-16", "bom")
