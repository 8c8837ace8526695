"""English pages of a crawl: real negatives for training, weak labels from their markup, and a check for false alarms.

What a page is comes from what its HTML says of itself, never from its words: a *shop* declares products, offers or
prices, or has a button that puts things into a cart; an *article* declares itself one, has a date and sells nothing;
everything else is *other*. ``boilerplate`` is the text that the extractor left out: real menus, teasers and notices.

The part of a page is that of its host; near duplicates are dropped first, so that none stands in two parts.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from quality_models.examples.parts import Part, part_of, representatives
from quality_models.examples.pieces import prose_windows
from quality_models.extractor.groups import host_of

if TYPE_CHECKING:
    from stages.extract.blocks.tokenizer import Tokenizer

Kind = Literal["shop", "article", "other"]

LEAST_CHARACTERS: Final = 200
LEAST_MARKS: Final = 2  # an article may advertise one book
_SELLS: Final = re.compile(
    rb"schema\.org/(?:product|offer)\b|\"@type\"\s*:\s*\"(?:product|offer)\"|itemprop=[\"']price|product:price"
    rb"|og:type[\"'][^<>]{0,40}content=[\"'](?:og:)?product|add[-_ ]?to[-_ ]?(?:cart|basket|bag)",
    re.IGNORECASE,
)
_ARTICLE: Final = re.compile(
    rb"og:type[\"'][^<>]{0,40}content=[\"']article|\"@type\"\s*:\s*\"(?:news|blog|report)?(?:article|posting)\""
    rb"|schema\.org/(?:news|blog)?(?:article|posting)",
    re.IGNORECASE,
)
_DATED: Final = re.compile(rb"article:published_time|datePublished|dateCreated|<time\b", re.IGNORECASE)


class Page(NamedTuple):
    """A page with main text. ``kind`` by its markup."""

    text: str
    boilerplate: str
    kind: Kind
    part: Part


@functools.lru_cache(maxsize=2)
def crawl_pages(data: Path) -> tuple[Page, ...]:
    """The distinct English pages of ``data/crawl`` in file order, about 4 ms each; empty without that folder."""
    found = dict(_pages(data / "crawl"))
    alone = representatives({name: page.text for name, page in found.items()})
    return tuple(page for name, page in found.items() if name in alone)


def prose_of_pages(data: Path, part: Part, kinds: Collection[Kind], count: int, rng: random.Random) -> list[str]:
    """``count`` windows of prose from the main text of pages; fewer where there is less."""
    pages = (page for page in crawl_pages(data) if page.part == part and page.kind in kinds)
    return prose_windows([page.text.replace("\n", "\n\n") for page in pages], count, rng)


def kind_of(html: bytes) -> Kind:
    """What the markup of a page says that it is."""
    sells = len(_SELLS.findall(html))
    is_article = _ARTICLE.search(html) is not None and _DATED.search(html) is not None
    if sells >= LEAST_MARKS and not is_article:
        return "shop"
    return "article" if is_article and not sells else "other"


def _pages(folder: Path) -> Iterator[tuple[str, Page]]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    from stages.extract.charset import decode_html
    from stages.language import identify_cld2

    for path in sorted(folder.glob("*.warc.gz")):
        for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
            html = record.reader.read()
            text, boilerplate = _split(decode_html(html).text.encode("utf-8", "replace"))
            if len(text) < LEAST_CHARACTERS or identify_cld2(text).share_of(("en",)) < 0.65:
                continue
            name = f"{path.name}/{record.stream_pos}"
            part = part_of(host_of(record.headers.get("WARC-Target-URI")) or name)
            yield name, Page(text, boilerplate, kind_of(html), part)


@functools.cache
def _tokenizer() -> Tokenizer:
    from stages.extract.blocks.tokenizer import Tokenizer

    return Tokenizer()


def _split(source: bytes) -> tuple[str, str]:
    """Main text and the rest, as the shipped extractor parts them."""
    from stages.extract.blocks.render import plain_text
    from stages.extract.blocks.select import select
    from stages.extract.engines import blocks_engine

    page = _tokenizer().read(source)
    kept = select(page, blocks_engine().likely(page), "balanced", None).kept
    return plain_text(page, kept), plain_text(page, ~kept)
