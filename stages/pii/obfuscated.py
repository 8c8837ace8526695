"""E-mail addresses written so that machines should not find them: ``name at host dot com``, ``name [at] host.com``.

A bracketed *at* is sign enough; a bare one also needs a bare or bracketed *dot*, since "look at example.com" is
ordinary English. The host must end in a top-level domain of the list below, and the name must be no word that stands
before *at* in prose. The full-width signs U+FF20 and U+FE6B count as @. All patterns are bounded: linear time.
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
    r"(?i)[\[({<]\s?(?:at|@)\s?[\])}>]|\bat\s{1,3}[a-z0-9-]{1,40}\s{0,2}[\[({<]?\s?dot\b|[\x{FF20}\x{FE6B}]"
    r"|@[a-z0-9-]+\s{1,2}dot\s"
)
_TOP: Final = (
    "com|org|net|edu|gov|mil|int|info|biz|name|io|ai|app|dev|me|tv|co|eu|uk|de|fr|nl|be|at|ch|it|es|pt|pl|cz|sk|hu|ro|bg|gr"
    "|se|no|dk|fi|is|ie|ee|lv|lt|ru|ua|by|tr|il|in|cn|jp|kr|tw|hk|sg|my|id|th|vn|ph|au|nz|za|ng|ke|eg|br|ar|mx|cl|pe|ca|us"
)
_DOT: Final = r"(?:\s{0,2}[\[({<]\s?(?:dot|\.)\s?[\])}>]\s{0,2}|\s{1,2}dot\s{1,2}|\.)"
_SPELLED_DOT: Final = r"(?:\s{0,2}[\[({<]\s?(?:dot|\.)\s?[\])}>]\s{0,2}|\s{1,2}dot\s{1,2})"
_LOCAL: Final = r"[a-z0-9](?:[a-z0-9_+-]|\.(?=[a-z0-9])){0,40}"
_NAME: Final = rf"(?<![\w.@+-])({_LOCAL}(?:{_SPELLED_DOT}[a-z0-9_+-]{{1,40}}){{0,2}})"
_BRACKETED: Final = re.compile(
    rf"(?i){_NAME}(?:\s{{0,2}}[\[({{<]\s?(?:at|@)\s?[\])}}>]\s{{0,2}}|[\uff20\ufe6b])"
    rf"((?:[a-z0-9-]{{1,40}}{_DOT}){{1,4}}(?:{_TOP}))(?![\w@-])"
)
_BARE: Final = re.compile(
    rf"(?i){_NAME}(?:\s{{1,2}}at\s{{1,2}}|@)"
    rf"((?:[a-z0-9-]{{1,40}}{_DOT}){{0,3}}[a-z0-9-]{{1,40}}{_SPELLED_DOT}(?:{_TOP}))(?![\w@-])"
)
_NOT_NAMES: Final = (
    "look looking looked me us you him her it them available find found visit see seen read here there online website "
    "site web page hosted host located is are was be and or the a an up out over back more now live working works "
    "worked posted published registered sold buy join follow blog store shop only free people aim aimed arrive "
    "arrived stay meet start starts even not that this who register everything all just then"
)
_NO_NAME: Final = frozenset(_NOT_NAMES.split())
SPAN_LIMIT: Final = 200  # characters of an address


def obfuscated_rows(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> dict[int, list[tuple[int, int, str]]]:
    """(start, end, address as written) of the obfuscated addresses by row, in bytes of the row."""
    hits = pc.match_substring_regex(text_array(data, offsets), HINT).to_numpy(zero_copy_only=False)
    found: dict[int, list[tuple[int, int, str]]] = {}
    for row in np.flatnonzero(hits).tolist():
        text = data[offsets[row] : offsets[row + 1]].tobytes().decode("utf-8", "surrogatepass")
        spans = [
            (
                len(text[:start].encode("utf-8", "surrogatepass")),
                len(text[:end].encode("utf-8", "surrogatepass")),
                value,
            )
            for start, end, value in find_obfuscated(text)
        ]
        if spans:
            found[row] = spans
    return found


def find_obfuscated(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, address as written) in characters, in order, without overlap."""
    matches = sorted(
        (match for pattern in (_BRACKETED, _BARE) for match in pattern.finditer(text)), key=lambda match: match.start()
    )
    last = 0
    for match in matches:
        if match.start() >= last and match.end() - match.start() <= SPAN_LIMIT and _is_name(match.group(1)):
            last = match.end()
            yield match.start(), last, match.group()


def _is_name(name: str) -> bool:
    return name.lower() not in _NO_NAME
