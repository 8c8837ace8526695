"""``not_ad``: text that does not want to sell anything. Weakly supervised.

Advertising is represented by self-written phrases of shops, services, travel, money and spam, by pages whose markup
offers products, by SMS spam and, in small part, by clickbait headlines. The other side is prose of four domains, pages
that declare themselves articles, news headlines, private messages, and menus, forms and tables: these are no good text,
but they are no advertisements either (``fluency`` judges them).
"""

from __future__ import annotations

import random
from pathlib import Path

from quality_models.examples.corruptions import page_part
from quality_models.examples.parts import Part
from quality_models.examples.phrases import fill, phrases
from quality_models.examples.pieces import PROSE_DOMAINS, Example, posts, prose_documents, prose_windows
from quality_models.pages import crawl_pages

AD_GROUPS = ("shop", "service", "travel_money")


def build(data: Path, part: Part, rng: random.Random, scale: float = 1.0) -> list[Example]:
    """Positive: no advertising. Negative: advertising lines, alone or with at most two thirds of prose around them."""
    scale *= 1.0 if part == "train" else 0.125
    each = int(3500 * scale)
    prose = [text for domain in PROSE_DOMAINS for text in prose_windows(prose_documents(data, domain, part), each, rng)]
    examples = [Example(text, positive=True, kind="prose") for text in prose]
    examples += [
        Example(page_part(rng.choice(prose), rng), positive=True, kind="menus, tables, forms")
        for _ in range(int(5000 * scale))
    ]
    plain = phrases("plain_lines", part)
    examples += [
        Example(_lines([plain], prose, rng), positive=True, kind="plain lines") for _ in range(int(5000 * scale))
    ]
    groups = [phrases(group, part) for group in AD_GROUPS]
    for _ in range(int(14000 * scale)):
        some = [rng.choice(groups)] if rng.random() < 0.7 else groups
        if rng.random() < 0.4:
            some = [*some, plain]
        examples.append(Example(_lines(some, prose, rng), positive=False, kind="advertising phrases"))
    return examples + _messages(data, part, rng, scale) + _pages(data, part, rng, scale)


def _lines(groups: list[list[str]], prose: list[str], rng: random.Random) -> str:
    """A window of phrases, as lines or as running text, in a third of the cases with prose between."""
    lines = [fill(rng.choice(rng.choice(groups)), rng) for _ in range(rng.randint(2, 12))]
    if rng.random() < 0.35:
        size = min(300, 2 * sum(map(len, lines)))
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(prose)[:size])
    return rng.choice(["\n", "\n\n", ". ", " ", "! "]).join(lines)[:1000]


def _messages(data: Path, part: Part, rng: random.Random, scale: float) -> list[Example]:
    examples = []
    for row in posts(data, "spam_sms", part):
        spam = row["label"] == "spam"
        examples += [Example(row["text"], positive=not spam, kind=f"SMS, {row['label']}")] * (3 if spam else 1)
    rows = posts(data, "clickbait_headlines", part)
    for label, count in (("news", 3000), ("clickbait", 1000)):
        titles = [row["text"] for row in rows if row["label"] == label]
        for _ in range(int(count * scale)):
            text = "\n".join(rng.sample(titles, rng.randint(2, 10)))
            examples.append(Example(text, positive=label == "news", kind=f"headlines, {label}"))
    return examples


def _pages(data: Path, part: Part, rng: random.Random, scale: float) -> list[Example]:
    """Windows of pages that sell something and of articles, as their markup says."""
    examples = []
    for kind, count in (("shop", 1500), ("article", 3000)):
        texts = [page.text for page in crawl_pages(data) if page.part == part and page.kind == kind]
        for _ in range(int(count * scale) if texts else 0):
            text = rng.choice(texts)
            start = rng.randrange(max(1, len(text) - 1000))
            window = text[start : start + rng.randint(300, 1000)]
            examples.append(Example(window, positive=kind == "article", kind=f"pages, {kind}"))
    return examples
