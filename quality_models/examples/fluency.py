"""``fluency``: prose that reads as written by a person, against what is left when text is torn. Self-supervised."""

from __future__ import annotations

import random
from pathlib import Path

from quality_models.examples.corruptions import CORRUPTIONS, menu
from quality_models.examples.pieces import PROSE_DOMAINS, Example, Part, prose_documents, prose_windows, read_jsonl

SHARES = {"books": 4000, "medical": 3500, "legal": 1500, "techdocs": 3500}


def build(data: Path, part: Part, rng: random.Random) -> list[Example]:
    """Good windows of each domain; for each, one corruption of another window; code and headline lists as negatives."""
    scale = 1.0 if part == "train" else 0.125
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
    headlines = [row["text"] for row in read_jsonl(data / "classifiers" / "clickbait_headlines.jsonl.zst")]
    mine = headlines[0::10] if part == "calibrate" else headlines[1::10] if part == "test" else headlines[2::5]
    for _ in range(int(800 * scale)):
        lines = "\n".join(rng.sample(mine, rng.randint(4, 14)))
        examples.append(Example(lines, positive=False, kind="headline list"))
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
