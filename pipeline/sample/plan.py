"""Which pages the sample crawl holds: shares by kind, copies of some of them, problems on the way for others.

``plan_captures`` makes everything in memory, from one seed, without touching a file. Under a millisecond per page.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from corpus.errors import RunError

from . import markup, thin
from .articles import article, foreign, publish
from .banks import Voice, seeded
from .charsets import Encoded, encode
from .prose import LANGUAGES, TOPICS, english_voice
from .services import contact, manual, product, recipe, thread
from .site import Page, make_site
from .transport import PROBLEMS, Answer, answer
from .variants import LEVELS, edit_to

MINIMUM = 300
"""Fewer pages cannot hold one of each kind."""

_NEAR_WORDS = 330

_SHARES: dict[str, float] = {
    "blog": 0.08,
    "guide": 0.05,
    "encyclopedia": 0.05,
    "forum": 0.08,
    "shop": 0.05,
    "documentation": 0.05,
    "recipe": 0.04,
    "contact": 0.03,
    "foreign": 0.16,
    "listing": 0.05,
    "login": 0.012,
    "search": 0.012,
    "empty": 0.008,
    "parked": 0.012,
    "advert": 0.025,
    "spam": 0.015,
    "lorem": 0.006,
    "javascript_only": 0.008,
    "policy": 0.01,
    "insults": 0.012,
    "adult": 0.012,
    "garbled": 0.01,
    "very_short": 0.012,
    **dict.fromkeys(markup.KINDS, 0.002),
    "very_long": 0.0007,
}
"""Shares of the kinds among all pages; news take what is left."""

_COPIES = {"recrawl": 0.03, "mirror": 0.02, "syndicated": 0.01}
_NEAR_SHARE = 0.008
_PROBLEM_SHARE = 0.0012

_SERVICES: dict[str, Callable[[random.Random], Page]] = {
    "forum": thread,
    "shop": product,
    "documentation": manual,
    "recipe": recipe,
    "contact": contact,
    "foreign": foreign,
}


@dataclass(slots=True)
class Capture:
    """One fetch of one page. ``crawl`` is 0 for the older crawl, 1 for the newer."""

    id: str
    page: Page
    encoded: Encoded
    sent: Answer
    crawl: int
    truth: dict[str, object] = field(default_factory=dict)


def _count(share: float, pages: int) -> int:
    return max(1, round(share * pages))


def _build(rng: random.Random, kind: str) -> Page:
    if kind in _SERVICES:
        return _SERVICES[kind](rng)
    if kind in thin.KINDS:
        return thin.KINDS[kind](rng)
    if kind in markup.KINDS:
        return markup.KINDS[kind](rng)
    return article(rng, kind)


def plan_captures(*, pages: int, seed: int) -> list[Capture]:
    """All captures, in the order of their ids.

    Raises:
        RunError: ``pages`` is below ``MINIMUM``.
    """
    if pages < MINIMUM:
        raise RunError(f"A sample crawl of {pages} pages is too small", fix=f"ask for at least {MINIMUM} pages")
    copies = {relation: _count(share, pages) for relation, share in _COPIES.items()}
    near = _count(_NEAR_SHARE, pages)
    kinds = {kind: _count(share, pages) for kind, share in _SHARES.items()}
    problems = {name: _count(_PROBLEM_SHARE, pages) for name in PROBLEMS}
    problems["gzip_bomb"] = 1
    kinds["news"] = pages - sum(kinds.values()) - sum(copies.values()) - near * len(LEVELS) - sum(problems.values())

    captures = [
        _capture(seed, f"{kind}/{at}", _page(seed, kind, at)) for kind, count in kinds.items() for at in range(count)
    ]
    captures += [
        _capture(seed, f"{name}/{at}", article(seeded(seed, name, at), "news"), problem=name)
        for name, count in problems.items()
        for at in range(count)
    ]
    captures += _copy_some(seed, captures, copies, near)
    for number, capture in enumerate(captures):
        capture.id = f"p{number:06d}"
    return captures


def _page(seed: int, kind: str, at: int) -> Page:
    rng = seeded(seed, kind, at)
    if kind == "foreign":
        return foreign(rng, LANGUAGES[at % len(LANGUAGES)])
    return _build(rng, kind)


def _capture(seed: int, name: str, page: Page, *, problem: str | None = None, crawl: int | None = None) -> Capture:
    rng = seeded(seed, "capture", name)
    encoded = encode(rng, page)
    sent = PROBLEMS[problem](encoded) if problem else answer(rng, encoded)
    truth: dict[str, object] = {"problem": problem} if problem else {}
    return Capture("", page, encoded, sent, rng.randrange(2) if crawl is None else crawl, truth)


def _copy_some(seed: int, captures: list[Capture], copies: dict[str, int], near: int) -> list[Capture]:
    """Copies and near copies; each original is copied once, so that every cluster is a pair."""
    rng = seeded(seed, "copies")
    articles = [c for c in captures if c.page.kind in ("news", "blog", "encyclopedia") and "problem" not in c.truth]
    rng.shuffle(articles)
    long = [c for c in articles if c.page.text.count(" ") >= _NEAR_WORDS][: near * len(LEVELS)]
    taken = {id(c) for c in long}
    made = [_near(seed, at, original, LEVELS[at % len(LEVELS)]) for at, original in enumerate(long)]
    rest = [c for c in articles if id(c) not in taken]
    wanted = [(relation, at) for relation, count in copies.items() for at in range(count)]
    return made + [_copy(seed, relation, at, rest.pop()) for relation, at in wanted]


def _copy(seed: int, relation: str, at: int, original: Capture) -> Capture:
    rng = seeded(seed, relation, at)
    page = original.page
    if relation == "syndicated":
        page = _republish(rng, page, page.text.split("\n"))
        copy = _capture(seed, f"{relation}/{at}", page)
    else:
        crawl = original.crawl
        if relation == "recrawl":
            original.crawl, crawl = 0, 1
        else:
            page = replace(page, url=page.url.replace("https://www.", f"http://mirror{rng.randrange(9)}."))
        copy = Capture("", page, original.encoded, original.sent, crawl)
    copy.truth = {"relation": relation, "duplicate_of": original, "jaccard": 1.0}
    return copy


def _near(seed: int, at: int, original: Capture, level: float) -> Capture:
    rng = seeded(seed, "near", at)
    lines, reached = edit_to(Voice(rng, "generic", rng.choice(TOPICS)), original.page.text.split("\n"), level)
    copy = _capture(seed, f"near/{at}", _republish(rng, original.page, lines))
    copy.truth = {"relation": "near", "near_duplicate_of": original, "jaccard": round(reached, 4), "target": level}
    return copy


def _republish(rng: random.Random, page: Page, lines: list[str]) -> Page:
    site = make_site(rng, "wiki" if page.kind == "encyclopedia" else "newspaper", rng.choice(TOPICS))
    heading = page.title if rng.random() < 0.5 else english_voice(rng, site.topic).sentence("title")
    return publish(rng, site, kind=page.kind, heading=heading, lines=lines)
