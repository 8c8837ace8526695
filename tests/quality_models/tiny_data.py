"""A folder of training data in the layout of the real one, made of self-written lines: for trying out the recipes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.sample import generate
from pipeline.sample.prose import TOPICS, english_voice, paragraphs, sentences

INSULTS = ["idiot", "moron", "stupid fool", "worthless clown", "piece of trash", "pathetic loser", "dumb pig", "scum"]
SCORN = [
    "shut up you {0}, nobody asked a {1}",
    "what a {0}, only a {1} would write this",
    "you are a {0} and your friends are {1} too",
    "I hope every {0} like you gets lost, {1}",
    "another {0} who cannot think, typical {1}",
]
SPAM = [
    "win a free prize now call {0}",
    "claim your cash bonus text WIN to {0}",
    "urgent your mobile won {0} pounds reply now",
]
CHAT = ["see you at the station at {0}", "mum says dinner is at {0} ok", "running late, back by {0}, sorry"]
ADULT = ["porn", "milf", "hentai", "xxxclips", "bigtits"]
AMBIGUOUS = ["water", "people", "small", "often"]  # listed, in names of such hosts, and in ordinary prose


def make_data(folder: Path) -> Path:
    """Write ``classifiers/``, ``text/`` and ``crawl/`` under ``folder``."""
    rng = random.Random(5)
    _labels(folder / "classifiers", rng)
    _texts(folder / "text", rng)
    generate(folder / "crawl", pages=300, files=2)
    return folder


def _labels(folder: Path, rng: random.Random) -> None:
    folder.mkdir(parents=True)
    clean = [line for topic in TOPICS for line in sentences(english_voice(rng, topic), "news", 40)]
    toxic = [rng.choice(SCORN).format(rng.choice(INSULTS), rng.choice(INSULTS)) for _ in range(400)]
    tweets = [{"id": f"t{n}", "text": text, "label": "offensive_language"} for n, text in enumerate(toxic[::2])]
    tweets += [{"id": f"n{n}", "text": text, "label": "neither"} for n, text in enumerate(clean[:200])]
    headlines = [
        {"id": str(n), "text": text.rstrip("."), "label": "news" if n % 2 else "clickbait"}
        for n, text in enumerate(clean)
    ]
    words = ADULT + AMBIGUOUS
    hosts = [{"host": f"{rng.choice(words)}{rng.choice(ADULT)}{n}.com", "category": "adult"} for n in range(400)]
    hosts += [{"host": f"{topic}{n}.com", "category": "social"} for topic in TOPICS for n in range(10)]
    _write_lines(folder / "toxicity_tweets.jsonl.zst", tweets)
    _write_lines(folder / "toxic_spans_semeval.jsonl.zst", [_comment(n, clean, toxic, rng) for n in range(400)])
    _write_lines(folder / "spam_sms.jsonl.zst", [_message(n, rng) for n in range(400)])
    _write_lines(folder / "clickbait_headlines.jsonl.zst", headlines)
    _write_lines(folder / "profanity_words.jsonl.zst", [{"lang": "en", "term": term} for term in ADULT + AMBIGUOUS])
    _write_lines(folder / "url_hosts.jsonl.zst", hosts)


def _comment(number: int, clean: list[str], toxic: list[str], rng: random.Random) -> dict[str, Any]:
    polite = rng.choice(clean)
    text = f"{polite} {toxic[number]}"
    return {"id": f"c{number}", "text": text, "toxic_spans": [[len(polite), len(text)]]}


def _message(number: int, rng: random.Random) -> dict[str, Any]:
    spam = number % 4 == 0
    text = rng.choice(SPAM if spam else CHAT).format(rng.randint(100, 99999))
    return {"id": str(number), "text": text, "label": "spam" if spam else "ham"}


def _texts(folder: Path, rng: random.Random) -> None:
    folder.mkdir()
    for domain in ("books", "medical", "legal", "techdocs"):
        texts = ["\n\n".join(paragraphs(english_voice(rng, rng.choice(TOPICS)), "news", 500)) for _ in range(60)]
        texts = [f"What is it?\n\n{text}" for text in texts] if domain == "medical" else texts
        _write_table(folder / f"{domain}.parquet", domain, texts)
    lines = [f"    value_{n} = compute(value_{n - 1}, step={n})  # {n}" for n in range(1, 90)]
    _write_table(folder / "code.parquet", "code", ["\n".join(rng.sample(lines, 60)) for _ in range(30)])


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_bytes(zstandard.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def _write_table(path: Path, domain: str, texts: list[str]) -> None:
    pq.write_table(pa.table({"id": [f"{domain}-{n}" for n in range(len(texts))], "text": texts}), path)
