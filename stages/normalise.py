"""The stage ``normalise``: the same text, written one way. It edits and counts; it rejects nothing.

Order: HTML entities that extraction left are decoded; invisible and control characters go; every kind of line break
becomes a newline, runs of more than two become two; runs of blanks (no-break and other Unicode spaces too) become
one blank, or one tab where a tab was among them; lines lose the blanks at their end, and text at both ends; the result
is composed to NFC. The plain blanks and tabs that a line begins with stay: they are the indent of code and of lists.

WanJuan-CC begins its rules with such a group; which edits it holds is not published beyond "encodings and character
variants": this list is our choice. Zero-width joiners stay after letters and emoji that need them. Normalising twice
changes nothing more, save for text that spells entities through entities more than three deep.

Cost: one compiled pass over the bytes; only texts with an entity, or with characters that composition might
change, are touched by Python at all.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.schema import add_signals, set_column
from stages.stage import BatchFunction, Resources, Stage
from stages.text_buffers import text_array, text_buffers

COUNTS: dict[str, str] = {
    "normalise_invisible": "Invisible and control characters removed.",
    "normalise_line_breaks": "Line breaks of other kinds (CR LF, CR, form feed, U+2028 ...) turned into newlines.",
    "normalise_newlines": "Newlines removed: beyond two in a row, and at both ends of the text.",
    "normalise_spaces": "Blanks and tabs removed, or replaced by a plain blank.",
    "normalise_entities": "HTML entities decoded.",
    "normalise_nfc": "1 where composition to NFC changed the text.",
}
"""The signals this stage adds (int32), with their meaning. The first four are the kernel's, in its order."""

_ENTITY_HINT = r"&#?[0-9A-Za-z]+;"
_ENTITY = re.compile(r"&(?:(?:amp|#38|#x26);)*(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ROUNDS = 3


class Normalise(Stage):
    """Normalise characters, blanks and line breaks; decode left-over HTML entities."""

    kind: Literal["normalise"] = "normalise"

    def adds(self) -> Mapping[str, pa.DataType]:
        """One count per kind of edit."""
        return {f"signals.{name}": pa.int32() for name in COUNTS}

    def open(self, resources: Resources) -> BatchFunction:
        """Load the kernel."""
        import stages.normalise_kernel  # noqa: F401 - compile or load now, not in the middle of the work

        return normalise_batch


def normalise_batch(batch: pa.Table) -> pa.Table:
    """Normalise ``content`` and add the counts."""
    content, counts = normalise(batch.column("content"))
    return add_signals(set_column(batch, "content", content), counts)


def normalise(column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, dict[str, NDArray[np.int32]]]:
    """Normalise an array of texts; returns it and the edits per text. Null stays null."""
    from stages.normalise_kernel import clean_texts

    texts = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    counts = np.zeros((len(texts), 4), np.int32)
    composable = np.zeros(len(texts), np.bool_)
    cleaned, total = texts, np.zeros(len(texts), np.int32)
    for round_ in range(_ROUNDS):  # what stood apart may be an entity, once the invisible between is gone
        cleaned, entities = _rewrite(cleaned, pc.match_substring_regex(cleaned, _ENTITY_HINT), decode_entities)
        total += entities
        if round_ and not entities.any():
            break
        data, offsets = text_buffers(cleaned)
        out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
        new_offsets = np.zeros(len(offsets), np.int64)
        clean_texts(data, offsets, out, new_offsets, counts, composable)
        cleaned = text_array(out, new_offsets)
    composed, changed = _rewrite(cleaned, pa.array(composable), compose)
    if texts.null_count:
        composed = pc.if_else(pc.is_null(texts), None, composed)
    return composed, dict(zip(COUNTS, (*np.ascontiguousarray(counts.T), total, changed), strict=True))


def decode_entities(text: str) -> tuple[str, int]:
    """Decode the entities that end in a semicolon, also those escaped several times over; returns (text, how many)."""
    total = 0

    def decode(match: re.Match[str]) -> str:
        nonlocal total
        entity = f"&{match[1]};"
        plain = html.unescape(entity)
        total += plain != match[0]
        return plain

    for _ in range(_ROUNDS):
        before, text = text, _ENTITY.sub(decode, text)
        if text == before:
            break
    return text, total


def compose(text: str) -> tuple[str, int]:
    """NFC of a text, and 1 where that is not the text itself."""
    if unicodedata.is_normalized("NFC", text):
        return text, 0
    return unicodedata.normalize("NFC", text), 1


def _rewrite(
    texts: pa.Array, mask: pa.Array, rewrite: Callable[[str], tuple[str, int]]
) -> tuple[pa.Array, NDArray[np.int32]]:
    """Apply ``rewrite`` to the texts under ``mask``; returns the texts and the number that it gave for each."""
    counts = np.zeros(len(texts), np.int32)
    places = np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))
    results = [rewrite(text.as_py()) for text in texts.take(pa.array(places))]
    counts[places] = [count for _, count in results]
    if not counts.any():
        return texts, counts
    chosen = np.zeros(len(texts), np.bool_)
    chosen[places] = True
    return pc.replace_with_mask(texts, pa.array(chosen), pa.array([text for text, _ in results], texts.type)), counts
