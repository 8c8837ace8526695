"""Make any ``str`` safe for Arrow, Parquet and everything that reads them.

Arrow refuses lone surrogates and takes the whole batch down with them; NUL ends strings in C programs. Both come
out of real crawls (JSON escapes, surrogateescape decoding). Costs one scan of the text; clean text is returned as
it is. Does no other normalisation: see the normalise stage.
"""

from __future__ import annotations

import re

_SURROGATES = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def sanitise_text(text: str) -> str:
    """``text`` with each lone surrogate replaced by U+FFFD and each NUL removed. Idempotent."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        # A high and a low half side by side are one character that somebody escaped twice: join them first.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return _SURROGATES.sub(_REPLACEMENT, text)
    return text
