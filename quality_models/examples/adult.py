"""``adult``: pages that exist to show pornography. Weakly supervised: no labelled adult text was used, none was wanted.

What stands for it: terms of the English LDNOOBW list and words of known adult host names, set into self-written lines
as such sites have them. A term that ordinary prose knows as well (medicine, law, novels, headlines) is *ambiguous*: it
occurs in the positives only in company, and among the negatives too. Further negatives are the same lines with harmless
words, prose of four domains, and menus and tables. In effect the model is a soft, calibrated word list that looks at
density and company of words, and it should be taken for no more.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from quality_models.examples.corruptions import page_part
from quality_models.examples.parts import Part
from quality_models.examples.phrases import fill, phrases, slot, with_terms
from quality_models.examples.pieces import PROSE_DOMAINS, Example, posts, prose_documents, prose_windows, read_jsonl
from quality_models.pages import prose_of_pages

# Words of adult sites that are everyday words elsewhere: they fill the lines of both sides.
_EVERYDAY: Final = tuple(
    """
    free video videos movie movies tube club girl girls world best live chat gallery galleries pics
    picture pictures teen teens hot dating star stars lady ladies mature photo photos blog forum
    online home house site sites network media date love lover story stories wife wives boys page
    land city zone time news link links game games music films film cinema webcam camera school
    college doll wild young pretty amateur model models blonde massage
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_ROOTS: Final = ("porn", "xxx", "milf", "hentai")  # always terms, alone or inside a longer word


class Terms(NamedTuple):
    """``plain`` terms speak for themselves, ``ambiguous`` ones need company; ``parts`` are everyday words in terms."""

    plain: list[str]
    ambiguous: list[str]
    parts: list[str]


def build(data: Path, part: Part, rng: random.Random, scale: float = 1.0) -> list[Example]:
    """Windows of site-like lines with adult terms, against the same lines with neutral words, and ordinary text."""
    scale *= 1.0 if part == "train" else 0.125
    terms, lines = adult_terms(data), phrases("tube", part)
    prose = {
        domain: prose_windows(prose_documents(data, domain, part), int(3000 * scale), rng) for domain in PROSE_DOMAINS
    }
    everything = [text for windows in prose.values() for text in windows]
    adult = terms.plain * 3 + terms.ambiguous + list(_EVERYDAY)
    neutral = [*slot("neutral"), *slot("product"), *slot("thing"), *slot("group_name"), *_EVERYDAY, *terms.parts * 2]
    examples: list[Example] = []
    for _ in range(int(8000 * scale)):
        examples.append(Example(_site(lines, adult, everything, rng), positive=True, kind="lines with adult terms"))
        mixed = neutral + rng.sample(terms.ambiguous, 3) if rng.random() < 0.3 else neutral
        examples.append(Example(_site(lines, mixed, everything, rng), positive=False, kind="lines with neutral terms"))
    for _ in range(int(4000 * scale)):
        text = _sprinkled(rng.choice(everything), rng.choice([terms.plain, terms.ambiguous]), 1, rng)
        examples.append(Example(text, positive=False, kind="prose with one term"))
        text = _sprinkled(rng.choice(everything), terms.ambiguous, rng.randint(2, 5), rng)
        examples.append(Example(text, positive=False, kind="prose with ambiguous terms"))
        examples.append(Example(page_part(rng.choice(everything), rng), positive=False, kind="menus, tables, forms"))
    for _ in range(int(3000 * scale)):
        text = rng.choice(everything)[:500]
        text = _sprinkled(text, adult, max(6, len(text) // 40), rng)
        examples.append(Example(text, positive=True, kind="prose dense with adult terms"))
    pages = prose_of_pages(data, part, ("article", "shop"), int(4000 * scale), rng)
    examples += [Example(text, positive=False, kind="prose, pages") for text in pages]
    for _ in range(int(3000 * scale)):
        text = with_terms(rng.choice(everything), part, rng)
        examples.append(Example(text, positive=False, kind="prose with terms for groups"))
    for domain, windows in prose.items():
        examples += [Example(text, positive=False, kind=f"prose, {domain}") for text in windows]
    return examples


def adult_terms(data: Path) -> Terms:
    """Listed English terms that adult hosts carry in their names, and host words built from such terms.

    Asking the hosts leaves out what the list holds beside pornography: slurs, insults, crimes, medicines.
    """
    folder = data / "classifiers"
    listed = [row["term"] for row in read_jsonl(folder / "profanity_words.jsonl.zst") if row["lang"] == "en"]
    hosts = list(read_jsonl(folder / "url_hosts.jsonl.zst"))
    adult = "\n".join(sorted({row["host"] for row in hosts if row["category"] == "adult"}))
    other = "\n".join(sorted({row["host"] for row in hosts if row["category"] != "adult"}))
    known = _prose_words(data)
    plain: list[str] = list(_ROOTS)
    ambiguous: list[str] = []
    for term in listed:
        if re.search(r"\b[a-z]\b|\d", term):
            continue  # single letters and digits are everywhere in tables and codes
        glued = re.sub(r"[^a-z]", "", term)
        if len(glued) >= 4 and adult.count(glued) >= 4 + 20 * other.count(glued):
            (ambiguous if known[term] >= 3 else plain).append(term)
    roots = re.compile("|".join(sorted({term for term in plain if len(term) >= 4 and term.isalpha()} | set(_ROOTS))))
    pieces = Counter(piece for piece in re.findall(r"[a-z]{4,14}", adult) if roots.search(piece))
    plain += [piece for piece, count in sorted(pieces.items()) if count >= 8 and piece not in plain]
    split = {word for term in (*plain, *ambiguous) if " " in term for word in term.split()}
    parts = sorted(word for word in split - {*plain, *ambiguous} if known[word] >= 3)
    return Terms(plain=sorted(set(plain)), ambiguous=sorted(set(ambiguous) - set(plain)), parts=parts)


def _prose_words(data: Path) -> Counter[str]:
    """In how many documents of ordinary text a word (or pair of words) occurs."""
    counts: Counter[str] = Counter()
    texts = [text for domain in PROSE_DOMAINS for text in prose_documents(data, domain, "train")]
    texts += [row["text"] for row in posts(data, "clickbait_headlines", "train")]
    for text in texts:
        words = re.findall(r"[a-z']+", text.lower())
        counts.update({*words, *map(" ".join, pairwise(words))})
    return counts


def _site(lines: list[str], terms: list[str], prose: list[str], rng: random.Random) -> str:
    text = [fill(rng.choice(lines), rng, terms=terms) for _ in range(rng.randint(2, 14))]
    if rng.random() < 0.3:
        text.insert(rng.randrange(len(text)), rng.choice(prose)[: rng.randint(60, 250)])
    return rng.choice(["\n", "\n", " ", ". "]).join(text)[:1000]


def _sprinkled(text: str, terms: list[str], count: int, rng: random.Random) -> str:
    words = text.split()
    for _ in range(count):
        words.insert(rng.randrange(len(words) + 1), rng.choice(terms))
    return " ".join(words)
