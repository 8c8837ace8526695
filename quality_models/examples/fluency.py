"""``fluency``: prose that reads as written by a person, against what is left when text is torn. Self-supervised."""

from __future__ import annotations

import random
from pathlib import Path

from quality_models.examples.corruptions import CORRUPTIONS, menu
from quality_models.examples.parts import Part
from quality_models.examples.pieces import PROSE_DOMAINS, Example, posts, prose_documents, prose_windows
from quality_models.pages import crawl_pages, prose_of_pages

LEAST_BOILERPLATE = 200
SHARES = {"books": 4000, "medical": 3500, "legal": 1500, "techdocs": 3500}


def build(data: Path, part: Part, rng: random.Random, scale: float = 1.0) -> list[Example]:
    """Good windows of each domain; for each, one corruption of another window; code and headline lists as negatives."""
    scale *= 1.0 if part == "train" else 0.125
    examples: list[Example] = []
    for domain in PROSE_DOMAINS:
        documents = prose_documents(data, domain, part)
        count = int(SHARES[domain] * scale)
        examples += [
            Example(_dressed(text, rng), positive=True, kind=f"prose, {domain}")
            for text in prose_windows(documents, count, rng)
        ]
        for at, text in enumerate(prose_windows(documents, count, rng)):
            corrupt = CORRUPTIONS[at % len(CORRUPTIONS)]
            examples.append(Example(corrupt(text, rng)[:1000], positive=False, kind=f"corrupted, {corrupt.__name__}"))
    code = [text for text in prose_documents(data, "code", part) if len(text) > 1500]
    for _ in range(int(800 * scale)):
        text = rng.choice(code)
        start = rng.randrange(len(text) - 1000)
        examples.append(Example(text[start : start + rng.randint(200, 1000)], positive=False, kind="source code"))
    mine = [row["text"] for row in posts(data, "clickbait_headlines", part)]
    for _ in range(int(800 * scale)):
        lines = "\n".join(rng.sample(mine, rng.randint(4, 14)))
        examples.append(Example(lines, positive=False, kind="headline list"))
    return examples + _pages(data, part, rng, scale)


def _pages(data: Path, part: Part, rng: random.Random, scale: float) -> list[Example]:
    """Prose of pages that declare themselves articles, and what the extractor left out of real pages."""
    articles = prose_of_pages(data, part, {"article"}, int(3000 * scale), rng)
    examples = [Example(_dressed(text, rng), positive=True, kind="prose, articles") for text in articles]
    mine = (page.boilerplate for page in crawl_pages(data) if page.part == part)
    rest = [text for text in mine if len(text) >= LEAST_BOILERPLATE]
    for _ in range(int(2500 * scale) if rest else 0):
        text = rng.choice(rest)
        start = rng.randrange(max(1, len(text) - 1000))
        examples.append(Example(text[start : start + rng.randint(200, 1000)], positive=False, kind="boilerplate"))
    return examples


def _dressed(text: str, rng: random.Random) -> str:
    """Good text as pages carry it: now and then under a heading or menu line, or with hard line breaks."""
    draw = rng.random()
    if draw < 0.25:
        heading = " ".join(text.split()[: rng.randint(2, 7)]).title().rstrip(".,;:")
        return f"{heading}\n{rng.choice(['', chr(10)])}{text}"
    if draw < 0.35:
        return menu(text[:120], rng)[:60] + "\n\n" + text
    if draw < 0.45:
        return text.replace(". ", ".\n")
    return text
