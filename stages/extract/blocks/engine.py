"""The ``blocks`` engine, whole: a page in, its main text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.extract.blocks.context import allocate_weighted, context_features
from stages.extract.blocks.dateline import datelines
from stages.extract.blocks.features import block_features
from stages.extract.blocks.forest import predict
from stages.extract.blocks.model import Model, shipped_model
from stages.extract.blocks.render import linked_text, markdown, plain_text
from stages.extract.blocks.select import MISSED, THIN, Mode, select
from stages.extract.blocks.sums import allocate_sums
from stages.extract.blocks.tokenizer import Page, Tokenizer


@dataclass(frozen=True, slots=True)
class Options:
    """What to keep and how to write it.

    ``mode``: ``precision`` (what is more likely main text than not), ``balanced``, ``recall`` (all that may be).
    ``comments``: None as the page's kind suggests (forum posts yes, comments under articles no), or True, or False.
    ``links``: write them as ``[text](target)``. ``format``: ``plain`` or ``markdown``.
    """

    mode: Mode = "balanced"
    comments: bool | None = None
    links: bool = False
    format: Literal["plain", "markdown"] = "plain"


@dataclass(frozen=True, slots=True)
class MainText:
    """``words`` of the kept blocks; ``confidence``: expected word F1, 0..1; ``note``: limits that cut the page off.
    ``marks``: where the page says something of itself, see ``columns.Mark``. ``datelines``: texts that may be its date.
    """

    text: str
    words: int
    confidence: float
    note: str | None
    marks: NDArray[np.int64]
    datelines: tuple[str, ...]


BALANCED = Options()


class BlocksEngine:
    """Extracts one page after the other in memory of its own (40 MB). Not for use by two threads at once."""

    def __init__(self, model: Model | None = None) -> None:
        self._model = model or shipped_model()
        self._tokenizer, self._sums, self._weighted = Tokenizer(), allocate_sums(), allocate_weighted()

    def extract(self, source: bytes, options: Options = Options(), url: str | None = None) -> MainText:
        """Main text of a page in UTF-8. ``url`` makes the targets of links absolute. Never raises on any page."""
        found = self._extract(source, options, url, noscript=False)
        # some forums keep their posts for readers without scripts
        if found.words < THIN and b"<noscript" in source.lower():
            other = self._extract(source, options, url, noscript=True)
            if other.words >= max(THIN, MISSED * found.words):
                return other
        return found

    def likely(self, page: Page) -> NDArray[np.float32]:
        """How likely each block of a page is main text."""
        features = block_features(page, self._model.word_weights, self._model.class_weights, self._sums)
        first = predict(self._model.first, features)
        return predict(self._model.second, context_features(page, features, first, self._sums, self._weighted))

    def _extract(self, source: bytes, options: Options, url: str | None, *, noscript: bool) -> MainText:
        page = self._tokenizer.read(source, noscript=noscript)
        likely = self.likely(page)
        chosen = select(page, likely, options.mode, options.comments)
        note = f"cut off: too many {page.capped}" if page.capped else None
        text = _written(page, chosen.kept, options, url)
        near = datelines(page, chosen.kept)
        return MainText(text, chosen.words, chosen.confidence, note, page.marks.copy(), near)


def _written(page: Page, kept: NDArray[np.bool_], options: Options, url: str | None) -> str:
    if options.format == "markdown":
        return markdown(page, kept, links=options.links, base=url)
    return linked_text(page, kept, url) if options.links else plain_text(page, kept)
