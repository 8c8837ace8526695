"""``toxicity``: insults, threats, hate and coarse abuse, in posts or between ordinary prose.

Posts that people marked as toxic are the positives. The negatives are built so that the model learns the toxicity and
not the genre or the subject: posts marked harmless, toxic posts with the marked spans cut out, neutral sentences
about the groups that are often insulted, chat messages, headlines, prose of four domains, and menus and tables.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

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

_TWEET_MARKS: Final = re.compile(r"\bRT\b|@\w+:?|https?://\S+|&#\d+;?|#")
_SEMEVAL_PART: Final[dict[str, Part]] = {"train": "train", "trial": "calibrate", "test": "test"}


def build(data: Path, part: Part, rng: random.Random) -> list[Example]:
    """Windows of 1 to 6 posts, prose, and prose with posts between; ``part`` keeps SemEval's own split."""
    scale = 1.0 if part == "train" else 0.125
    toxic, harmless = _posts(data, part)
    prose = _prose(data, part, int(3000 * scale), rng)
    listed = profanity(data)
    examples = [Example(_join(toxic, rng), positive=True, kind="toxic posts") for _ in range(int(14000 * scale))]
    examples += [
        Example(_join(harmless, rng), positive=False, kind="harmless posts") for _ in range(int(14000 * scale))
    ]
    examples += [Example(text, positive=False, kind="prose") for text in prose if not listed(text)]
    for _ in range(int(4000 * scale)):
        examples.append(Example(page_part(rng.choice(prose), rng), positive=False, kind="menus, tables, forms"))
    neutral = phrases("identity", part)
    for _ in range(int(2500 * scale)):
        lines = [fill(rng.choice(neutral), rng) for _ in range(rng.randint(1, 6))] if neutral else []
        examples.append(Example(". ".join([*lines, rng.choice(prose)[:300]]), positive=False, kind="neutral on groups"))
    for _ in range(int(4000 * scale)):
        frame = rng.choice(prose)[: rng.randint(150, 500)]
        mixed = [frame, *(rng.choice(toxic) for _ in range(rng.randint(1, 3)))]
        rng.shuffle(mixed)
        examples.append(Example("\n".join(mixed), positive=True, kind="prose with toxic posts"))
    return examples


def profanity(data: Path) -> Callable[[str], object]:
    """A test for the English single words of the LDNOOBW list."""
    rows = read_jsonl(data / "classifiers" / "profanity_words.jsonl.zst")
    terms = [re.escape(row["term"]) for row in rows if row["lang"] == "en" and row["term"].isalpha()]
    return re.compile(rf"\b(?:{'|'.join(terms)})\b", re.IGNORECASE).search


def _posts(data: Path, part: Part) -> tuple[list[str], list[str]]:
    folder = data / "classifiers"
    toxic: list[str] = []
    harmless: list[str] = []
    for row in read_jsonl(folder / "toxicity_tweets.jsonl.zst"):
        if part_of(f"tweet/{row['id']}") == part:
            text = _TWEET_MARKS.sub(" ", row["text"]).strip()
            # Harmless tweets are few: each counts twice.
            (harmless.extend([text, text]) if row["label"] == "neither" else toxic.append(text))
    for row in read_jsonl(folder / "toxic_spans_semeval.jsonl.zst"):
        if _SEMEVAL_PART[row["split"]] == part and row["toxic_spans"]:
            # Fewer sources of whole comments than of tweets, and nearer to what pages hold: twice as well.
            toxic.extend([row["text"], row["text"]])
            harmless.extend([without_spans(row["text"], row["toxic_spans"])] * 2)
    messages = read_jsonl(folder / "spam_sms.jsonl.zst")
    harmless += [r["text"] for r in messages if r["label"] == "ham" and part_of(f"sms/{r['id']}") == part]
    for row in read_jsonl(folder / "clickbait_headlines.jsonl.zst"):
        if part_of(f"headline/{row['id']}") == part and len(harmless) % 2 == 0:
            harmless.append(row["text"])
    return [text for text in toxic if text], [text for text in harmless if text]


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
