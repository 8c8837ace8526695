"""``not_ad``: text that does not want to sell anything. Weakly supervised.

Advertising is represented by self-written phrases of shops, services, travel, money and spam, by SMS spam and, in
small part, by clickbait headlines. The other side is prose of four domains, news headlines, private messages, and
menus, forms and tables: these are no good text, but they are no advertisements either (``fluency`` judges them).
"""

from __future__ import annotations

import random
from pathlib import Path

from quality_models.examples.corruptions import page_part
from quality_models.examples.phrases import fill, phrases
from quality_models.examples.pieces import (
    PROSE_DOMAINS,
    Example,
    Part,
    part_of,
    prose_documents,
    prose_windows,
    read_jsonl,
)

AD_GROUPS = ("shop", "service", "travel_money")


def build(data: Path, part: Part, rng: random.Random) -> list[Example]:
    """Positive: no advertising. Negative: advertising lines, alone or with at most two thirds of prose around them."""
    scale = 1.0 if part == "train" else 0.125
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
    return examples + _messages(data, part, rng, scale)


def _lines(groups: list[list[str]], prose: list[str], rng: random.Random) -> str:
    """A window of phrases, as lines or as running text, in a third of the cases with prose between."""
    lines = [fill(rng.choice(rng.choice(groups)), rng) for _ in range(rng.randint(2, 12))]
    if rng.random() < 0.35:
        size = min(300, 2 * sum(map(len, lines)))
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(prose)[:size])
    return rng.choice(["\n", "\n\n", ". ", " ", "! "]).join(lines)[:1000]


def _messages(data: Path, part: Part, rng: random.Random, scale: float) -> list[Example]:
    folder = data / "classifiers"
    examples = []
    for row in read_jsonl(folder / "spam_sms.jsonl.zst"):
        if part_of(f"sms/{row['id']}") == part:
            spam = row["label"] == "spam"
            examples += [Example(row["text"], positive=not spam, kind=f"SMS, {row['label']}")] * (3 if spam else 1)
    rows = [
        row for row in read_jsonl(folder / "clickbait_headlines.jsonl.zst") if part_of(f"headline/{row['id']}") == part
    ]
    for label, count in (("news", 3000), ("clickbait", 1000)):
        titles = [row["text"] for row in rows if row["label"] == label]
        for _ in range(int(count * scale)):
            text = "\n".join(rng.sample(titles, rng.randint(2, 10)))
            examples.append(Example(text, positive=label == "news", kind=f"headlines, {label}"))
    return examples
