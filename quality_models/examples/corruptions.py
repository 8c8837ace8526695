"""Ways in which the text of a web page fails to be fluent, applied to good prose: the negatives of ``fluency``.

Each corruption imitates something that extraction really yields: word salad, keyword lists, menus, teasers cut off
in the middle, tables, form labels, broken encodings, code. None of them needs a label.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

_LITTLE: Final = (
    "a", "an", "the", "of", "to", "in", "on", "at", "by", "for", "with", "from", "as", "is", "are", "was", "were", "be",
    "been", "has", "have", "had", "it", "its", "his", "her", "their", "that", "this",
)  # fmt: skip
_ENDING: Final = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|ly)\b")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")
Corruption = Callable[[str, random.Random], str]


def shuffle_words(text: str, rng: random.Random) -> str:
    """Sentences whose words have lost their order."""
    sentences = _SENTENCE.split(text)
    for at, sentence in enumerate(sentences):
        words = sentence.split()
        rng.shuffle(words)
        sentences[at] = " ".join(words)
    return " ".join(sentences)


def drop_words(text: str, rng: random.Random) -> str:
    """Every third word or so is missing."""
    return " ".join(word for word in text.split() if rng.random() > 0.35)


def keyword_list(text: str, rng: random.Random) -> str:
    """Content words and pairs of them, one after the other, as in tag clouds and keyword stuffing."""
    words = _content_words(text)
    joint = rng.choice([", ", " | ", " - ", " ", "\n", " / ", " \u2022 "])
    items = [" ".join(rng.sample(words, min(len(words), rng.choice([1, 1, 2, 2, 3])))) for _ in range(len(words) // 2)]
    return joint.join(item.title() if rng.random() < 0.4 else item for item in items)


def menu(text: str, rng: random.Random) -> str:
    """Short capitalised lines: navigation, categories, lists of links."""
    words = _content_words(text)
    lines: list[str] = []
    while len(lines) < len(words) // 3:
        if rng.random() < 0.35:
            lines.append(rng.choice(_MENU))
        else:
            line = " ".join(rng.sample(words, min(len(words), rng.randint(1, 4)))).title()
            lines.append(line + rng.choice(["", "", "", f" ({rng.randint(1, 400)})", " \u00bb", ":"]))
    return rng.choice(["\n", "\n", "\n\n", " | ", " "]).join(lines)


def teasers(text: str, rng: random.Random) -> str:
    """Openings of sentences that break off, as in lists of abstracts."""
    lines = []
    for sentence in _SENTENCE.split(text):
        words = sentence.split()
        if len(words) > 5:
            cut = " ".join(words[: rng.randint(4, max(5, len(words) // 2))])
            lines.append(
                cut + rng.choice(["...", " ...", "\u2026", " [...]"]) + rng.choice(["", "", " Read more", " more"])
            )
            if rng.random() < 0.4:
                lines.append(rng.choice(_STAMPS).format(day=rng.randint(1, 28), number=rng.randint(1, 99)))
    return rng.choice(["\n", "\n\n", " "]).join(lines)


def table(text: str, rng: random.Random) -> str:
    """Rows of names, figures, dates, prices, codes and short cells; half of them with names that no one has."""
    words = _content_words(text) if rng.random() < 0.5 else [_invented(rng) for _ in range(60)]
    rows: list[str] = []
    columns, joint = rng.randint(1, 6), rng.choice([" ", "\t\t", " | ", "\n"])
    kinds = rng.choices(_CELLS, k=columns)
    while len(rows) < max(4, len(words) // 6):
        cells = [rng.choice(words).capitalize()] if rng.random() < 0.8 else []
        for kind in kinds:
            cell = rng.choice(words).capitalize() if rng.random() < 0.3 else _cell(kind, rng)
            cells.append(cell)
        rows.append(joint.join(cells))
    return "\n".join(rows)


def _cell(kind: str, rng: random.Random) -> str:
    return kind.format(
        month=rng.choice(_MONTHS),
        day=rng.randint(1, 31),
        year=rng.randint(1900, 2024),
        n=rng.randint(0, 30),
        ordinal=rng.choice(["st", "nd", "rd", "th"]),
        part=rng.randint(0, 999),
        mark=rng.choice(["o", "x", "-", "DNF", "Q"]),
    )


def _invented(rng: random.Random) -> str:
    """A name or a code that means nothing: models must not take the unknown for a sign of anything."""
    if rng.random() < 0.25:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789-") for _ in range(rng.randint(1, 5))).upper()
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(1, 4)))


def form(text: str, rng: random.Random) -> str:
    """Contact and login forms: labels, addresses, numbers."""
    words = _content_words(text)
    lines = []
    for _ in range(rng.randint(6, 24)):
        name = rng.choice(words).title()
        label = rng.choice(_LABELS).format(
            name=name, other=rng.choice(words).title(), n=rng.randint(1, 999), big=rng.randint(1_000_000, 9_999_999)
        )
        lines.append(label)
    return rng.choice(["\n", "\n", "\n\n", " "]).join(lines)


def broken_encoding(text: str, rng: random.Random) -> str:
    """Letters replaced by what a wrong charset makes of them, words torn or glued."""
    out = []
    for word in text.split():
        draw = rng.random()
        if draw < 0.25 and len(word) > 3:
            at = rng.randrange(1, len(word))
            out.append(
                word[:at]
                + rng.choice(["\ufffd", "\u00c3\u00a9", "\u00e2\u20ac\u2122", "&#39;", "&nbsp;", " "])
                + word[at:]
            )
        elif draw < 0.45 and out:
            out[-1] += word
        else:
            out.append(word)
    return " ".join(out)


def repeated_lines(text: str, rng: random.Random) -> str:
    """The same few fragments over and over."""
    words = text.split() or ["nothing"]
    lines = [" ".join(words[at : at + rng.randint(2, 7)]) for at in range(0, min(len(words), 40), 10)]
    return "\n".join(rng.choice(lines) for _ in range(rng.randint(6, 20)))


def shuffle_lines(text: str, rng: random.Random) -> str:
    """Pieces of sentences in any order: columns and boxes of a page read across each other."""
    words, pieces = text.split(), []
    at = 0
    while at < len(words):
        size = rng.randint(3, 9)
        pieces.append(" ".join(words[at : at + size]))
        at += size
    rng.shuffle(pieces)
    return rng.choice(["\n", " ", "\n\n"]).join(pieces)


def truncated(text: str, rng: random.Random) -> str:
    """Sentences that stop in the middle, without a sign that they do."""
    lines = []
    for sentence in _SENTENCE.split(text):
        words = sentence.split()
        lines.append(" ".join(words[: rng.randint(2, max(2, 2 * len(words) // 3))]))
    return rng.choice(["\n", "\n", " "]).join(lines)


def translated(text: str, rng: random.Random) -> str:
    """As a bad machine translation has it: little words lost, doubled or taken for others, endings and order wrong."""
    out: list[str] = []
    for word in text.split():
        draw = rng.random()
        if word.lower() in _LITTLE:
            out += [] if draw < 0.35 else [rng.choice(_LITTLE)] if draw < 0.6 else [word] * (1 + (draw < 0.65))
        else:
            out.append(_ENDING.sub("", word) if draw < 0.4 else word)
        if len(out) > 2 and rng.random() < 0.2:
            out[-1], out[-2] = out[-2], out[-1]
    return " ".join(out)


def mostly_menu(text: str, rng: random.Random) -> str:
    """A menu or table with a sentence or two between: boilerplate that swallowed some prose."""
    sentences = _SENTENCE.split(text)
    piece = " ".join(sentences[: max(1, len(sentences) // 5)])
    around = rng.choice([menu, table, form, teasers])(text, rng)
    half = around.find("\n", len(around) // 2)
    return around[:half] + "\n" + piece + "\n" + around[half:] if half > 0 else around + "\n" + piece


CORRUPTIONS: Final[tuple[Corruption, ...]] = (
    shuffle_words, drop_words, keyword_list, menu, teasers, table, form, broken_encoding, repeated_lines, mostly_menu,
    shuffle_lines, truncated, translated,
)  # fmt: skip


def page_part(text: str, rng: random.Random) -> str:
    """What stands around the text of pages, from words of ``text``: a menu, table, form, teasers or keywords."""
    return rng.choice([menu, table, form, teasers, keyword_list])(text, rng)[:1000]


def _content_words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{4,20}", text) or ["nothing"]


_SYLLABLES: Final = (
    "a", "an", "ar", "ba", "ber", "ca", "chi", "da", "den", "do", "el", "en", "fa", "ga", "gor", "hal", "ho", "i", "in",
    "ja", "ka", "ko", "la", "len", "lo", "ma", "mir", "mo", "na", "nik", "no", "o", "or", "pa", "pe", "ra", "rik", "ro",
    "sa", "ski", "so", "ta", "ter", "to", "u", "va", "vi", "vo", "wa", "wil", "ya", "yu", "za", "zhen",
)  # fmt: skip
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "January", "February", "March",
    "April", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_CELLS: Final = (
    "{n}", "{n}.{part}", "{n}-{day}", "{part}", "{year}", "${part}", "${n},{part},{part}", "{n}%", "{mark}", "{mark}",
    "{month} {day}{ordinal}, {year}", "{day} {month} {year}", "{n}{ordinal}", "{n}:{day}", "{month} {day}", "{n} km",
)  # fmt: skip
_MOJIBAKE: Final = ("\ufffd", "\u00c3\u00a9", "\u00e2\u20ac\u2122", "&#39;", "&nbsp;", " ")
_MENU: Final = (
    "Home", "About Us", "Contact Us", "Log In", "Sign Up", "My Account", "Privacy Policy", "Terms of Use", "Site Map",
    "Search", "News", "Help", "FAQ", "Next", "Previous", "Top", "Share", "Print", "RSS", "Follow us on Twitter",
    "Skip to content", "Read more", "View all", "Newer posts", "Older posts", "Leave a comment", "Categories", "Tags",
    "Archives", "Recent Posts", "Related Articles", "Copyright 2014 All rights reserved", "Advanced Search", "Forum",
    "Products", "Services", "Careers", "Media", "Events", "Gallery", "Links", "Menu", "Register", "Forgot password?",
)  # fmt: skip
_STAMPS: Final = (
    "{day} March 2013", "Posted by admin on June {day}, 2012", "{number} comments", "{day} hours ago", "{number} likes",
    "Reply Quote", "Page 1 of {number}", "{number} replies, {number} views",
)  # fmt: skip
_LABELS: Final = (
    "{name}:", "{name} *", "First Name *", "Last Name:", "E-mail:", "Phone: 0{big}", "Tel. ({n}) {big}", "Fax: {big}",
    "{n} {name} Street", "{n} {name} Road, {other}", "{name}, {other} {n}{n}", "Password", "Username", "Submit",
    "Monday - Friday 9:00 - 17:00", "Mon-Fri 9am - 5pm", "Select country", "{name} {other}", "Your message",
    "{name} {other}, Director", "* required fields", "info@{name}.com", "www.{name}.com", "P.O. Box {n}", "Remember me",
    "{name} Department: {big}", "Closed", "Subject:", "Zip code", "Office {n}",
)  # fmt: skip
