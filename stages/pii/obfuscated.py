"""E-mail addresses written so that machines should not find them: ``name at host dot com``, ``name [at] host.com``.

A sign that nobody writes in a sentence is enough: *at* in brackets, ``(@)``, an encoded @ (``&#64;``) or a full-width
one (U+FF20, U+FE6B), *AT* in capitals behind a name in small letters. A bare *at* also needs a bare or bracketed
*dot*, since "look at example.com" is ordinary English. The host must end in a top-level domain of the list below, and
neither the name nor the host may be a word that stands there in prose. All patterns are bounded: linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.text_buffers import text_array

HINT: Final = (
    r"(?i)[\[({<]\s?(?:at|@|ät|arroba)\s?[\])}>]|\bat\s{1,3}[a-z0-9-]{1,40}\s{0,2}[\[({<]?\s?dot\b|[\x{FF20}\x{FE6B}]"
    r"|@[a-z0-9-]+\s{0,2}[\[({<]?\s?dot\b|@[a-z0-9-]+(?:\s?[\[({<]|&#)|&(?:#64|#x40|commat);|(?-i:[a-z0-9] AT [a-z0-9])"
)
"""Patterns of RE2 that every address hides behind, to skip the documents without."""

_TOP: Final = (
    "com|org|net|edu|gov|mil|int|info|biz|name|io|ai|app|dev|me|tv|co|eu|uk|de|fr|nl|be|at|ch|it|es|pt|pl|cz|sk|hu|ro|bg|gr"
    "|se|no|dk|fi|is|ie|ee|lv|lt|ru|ua|by|tr|il|in|cn|jp|kr|tw|hk|sg|my|id|th|vn|ph|au|nz|za|ng|ke|eg|br|ar|mx|cl|pe|ca|us"
)
_SPELLED_DOT: Final = (
    r"(?:\s{0,2}[\[({<]\s?(?:dot|punkt|punto|point|\.)\s?[\])}>]\s{0,2}|\s{1,2}dot\s{1,2}|&(?:#46|#x2e|period);)"
)
_DOT: Final = rf"(?:{_SPELLED_DOT}|\.)"
_AT: Final = (
    r"(?:\s{0,2}[\[({<]\s?(?:at|@|ät|arroba)\s?[\])}>]\s{0,2}|[\uff20\ufe6b]|&(?:#64|#x40|commat);"
    r"|(?-i:(?<=[a-z0-9]) AT ))"
)
_LOCAL: Final = r"[a-z0-9](?:[a-z0-9_+-]|\.(?=[a-z0-9])){0,40}"
_NAME: Final = rf"(?<![\w.@+-])({_LOCAL}(?:{_SPELLED_DOT}[a-z0-9_+-]{{1,40}}){{0,2}})"
_SIGNED: Final = re.compile(rf"(?i){_NAME}{_AT}((?:[a-z0-9-]{{1,40}}{_DOT}){{1,4}}(?:{_TOP}))(?![\w@-])")
_BARE: Final = re.compile(
    rf"(?i){_NAME}(?:\s{{1,2}}at\s{{1,2}}|@)"
    rf"((?:[a-z0-9-]{{1,40}}{_DOT}){{0,3}}[a-z0-9-]{{1,40}}{_SPELLED_DOT}(?:{_TOP}))(?![\w@-])"
)
_PROSE: Final = (
    "look looking looked me us you him her it them available find found visit see seen read here there online "
    "website site web page hosted host located is are was were be been and or the a an up out over back more now "
    "live working work works worked posted published registered sold buy bought join follow blog store shop "
    "shopping only free people aim aimed arrive arrived stay meet start starts starting even not that this who "
    "register everything all just then again later today tomorrow tonight noon arrow point points order ordered "
    "play check apply download donate listen watch learn browse search speak spoke year job jobs employee "
    "employees engineer manager everyone"
)
_NOT_NAMES: Final = frozenset(_PROSE.split())
_DETERMINERS: Final = "a an any every her his its my our that the their these this those your"
_NOT_HOSTS: Final = frozenset(_DETERMINERS.split())
_LIMIT: Final = 200  # characters of an address


def obfuscated_rows(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> dict[int, list[tuple[int, int, str]]]:
    """(start, end, address as written) of the obfuscated addresses by row, in bytes of the row."""
    hits = pc.match_substring_regex(text_array(data, offsets), HINT).to_numpy(zero_copy_only=False)
    found: dict[int, list[tuple[int, int, str]]] = {}
    for row in np.flatnonzero(hits).tolist():
        text = data[offsets[row] : offsets[row + 1]].tobytes().decode("utf-8", "surrogatepass")
        byte = character = 0
        spans: list[tuple[int, int, str]] = []
        for start, end, value in find_obfuscated(text):
            byte += len(text[character:start].encode("utf-8", "surrogatepass"))
            spans.append((byte, byte + len(value.encode()), value))
            byte, character = spans[-1][1], end
        if spans:
            found[row] = spans
    return found


def find_obfuscated(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, address as written) in characters, in order, without overlap."""
    matches = sorted(
        (match for pattern in (_SIGNED, _BARE) for match in pattern.finditer(text)), key=lambda match: match.start()
    )
    last = 0
    for match in matches:
        if match.start() >= last and match.end() - match.start() <= _LIMIT and _is_address(*match.groups()):
            last = match.end()
            yield match.start(), last, match.group()


def _is_address(name: str, host: str) -> bool:
    first = re.match(r"[\w-]+", host)
    return name.lower() not in _NOT_NAMES and first is not None and first.group().lower() not in _NOT_HOSTS
