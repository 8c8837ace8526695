"""``toxicity``: insults, threats, hate and coarse abuse, in posts or between ordinary prose.

Posts that people marked as toxic are the positives. The negatives are built so that the model learns the toxicity and
not the genre or the subject: posts marked harmless, toxic posts with the marked spans cut out, neutral sentences
about the groups that are often insulted, chat messages, headlines, prose of four domains, real pages, and menus and
tables. Tweets and comments are kinds of their own, so that either can be left out of the training and measured on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from quality_models.examples.corruptions import page_part
from quality_models.examples.parts import Part
from quality_models.examples.phrases import fill, phrases, with_terms
from quality_models.examples.pieces import PROSE_DOMAINS, Example, posts, prose_documents, prose_windows, read_jsonl
from quality_models.pages import prose_of_pages

_TWEET_MARKS: Final = re.compile(r"\bRT\b|@\w+:?|https?://\S+|&#\d+;?|#")


def build(data: Path, part: Part, rng: random.Random, scale: float = 1.0) -> list[Example]:
    """Windows of 1 to 6 posts, prose, and prose with posts between."""
    scale *= 1.0 if part == "train" else 0.125
    toxic = {"tweets": _tweets(data, part, toxic=True), "comments": _comments(data, part, toxic=True)}
    harmless = {"tweets": _tweets(data, part, toxic=False), "comments": _comments(data, part, toxic=False)}
    harmless |= {"messages": _messages(data, part), "headlines": _headlines(data, part)}
    prose = _prose(data, part, int(3000 * scale), rng)
    listed = profanity(data)
    examples: list[Example] = []
    for kind, texts, count, side in (
        ("toxic tweets", toxic["tweets"], 8000, True), ("toxic comments", toxic["comments"], 6000, True),
        ("harmless tweets", harmless["tweets"], 5000, False), ("harmless comments", harmless["comments"], 5000, False),
        ("messages", harmless["messages"], 2000, False), ("headlines", harmless["headlines"], 2000, False),
    ):  # fmt: skip
        examples += [Example(_join(texts, rng), side, kind) for _ in range(int(count * scale)) if texts]
    examples += [Example(text, positive=False, kind="prose") for text in prose if not listed(text)]
    pages = prose_of_pages(data, part, ("article", "shop"), int(4000 * scale), rng)
    examples += [Example(text, positive=False, kind="prose, pages") for text in pages if not listed(text)]
    for _ in range(int(4000 * scale)):
        examples.append(Example(page_part(rng.choice(prose), rng), positive=False, kind="menus, tables, forms"))
    neutral = phrases("identity", part)
    for _ in range(int(3500 * scale)):
        lines = [fill(rng.choice(neutral), rng) for _ in range(rng.randint(1, 6))] if neutral else []
        examples.append(Example(". ".join([*lines, rng.choice(prose)[:300]]), positive=False, kind="neutral on groups"))
    clean = [example.text for example in examples if example.kind.startswith("prose")]
    for _ in range(int(7000 * scale)):
        text = with_terms(rng.choice(clean)[: rng.choice([150, 300, 1000])], part, rng)
        examples.append(Example(text, positive=False, kind="neutral, terms for groups"))
    for number in range(int(4000 * scale)):
        source = ("tweets", "comments")[number % 2]
        frame = rng.choice(prose)[: rng.randint(150, 500)]
        mixed = [frame, *(rng.choice(toxic[source]) for _ in range(rng.randint(1, 3)))]
        rng.shuffle(mixed)
        examples.append(Example("\n".join(mixed), positive=True, kind=f"prose with toxic {source}"))
    return examples


def profanity(data: Path) -> Callable[[str], object]:
    """A test for the English single words of the LDNOOBW list."""
    rows = read_jsonl(data / "classifiers" / "profanity_words.jsonl.zst")
    terms = [re.escape(row["term"]) for row in rows if row["lang"] == "en" and row["term"].isalpha()]
    return re.compile(rf"\b(?:{'|'.join(terms)})\b", re.IGNORECASE).search


def _tweets(data: Path, part: Part, *, toxic: bool) -> list[str]:
    rows = posts(data, "toxicity_tweets", part)
    texts = (_TWEET_MARKS.sub(" ", row["text"]).strip() for row in rows if (row["label"] != "neither") == toxic)
    return list(filter(None, texts))


def _comments(data: Path, part: Part, *, toxic: bool) -> list[str]:
    """Comments with marked spans, or the same with the spans cut out."""
    rows = [row for row in posts(data, "toxic_spans_semeval", part) if row["toxic_spans"]]
    texts = (row["text"] if toxic else without_spans(row["text"], row["toxic_spans"]) for row in rows)
    return list(filter(None, texts))


def _messages(data: Path, part: Part) -> list[str]:
    return [row["text"] for row in posts(data, "spam_sms", part) if row["label"] == "ham"]


def _headlines(data: Path, part: Part) -> list[str]:
    return [row["text"] for row in posts(data, "clickbait_headlines", part)]


def without_spans(text: str, spans: list[list[int]]) -> str:
    """The text with the marked ``[start, end)`` spans cut out."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:]
    return " ".join(text.split())


def _prose(data: Path, part: Part, each: int, rng: random.Random) -> list[str]:
    return [text for domain in PROSE_DOMAINS for text in prose_windows(prose_documents(data, domain, part), each, rng)]


def _join(posts: list[str], rng: random.Random) -> str:
    count = rng.choice([1, 1, 1, 2, 3, 6])
    return "\n".join(rng.choice(posts) for _ in range(count))[:1000]
