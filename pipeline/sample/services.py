"""Pages built of many small parts: forum threads, shop products, documentation with code, recipes, contact pages."""

from __future__ import annotations

import html
import random

from .articles import address, dress, page_date
from .banks import Voice
from .personal import personal_lines
from .prose import TOPICS, english_voice, paragraphs, sentences, title
from .site import Page, frame, make_site


def _posts(rng: random.Random, voice: Voice, texts: list[str]) -> str:
    """Posts as HTML: boards of one kind surround each with a subject and a profile, others with a name."""
    handles = Voice(rng, "thin")
    wordy = rng.random() < 0.5
    made = []
    for at, text in enumerate(texts):
        body = "".join(f"<p>{html.escape(line, quote=False)}</p>" for line in text.split("\n"))
        if at and rng.random() < 0.25:
            quoted = html.escape(texts[at - 1].split(". ")[0].rstrip("."), quote=False)
            body = f"<blockquote><cite>{handles.phrase('handle')} wrote:</cite> {quoted}.</blockquote>{body}"
        name = f'<strong><a href="/user/{rng.randrange(999)}">{handles.phrase("handle")}</a></strong>'
        when = f"{page_date(rng)} {rng.randrange(24):02d}:{rng.randrange(60):02d}"
        subject = f'<h3><a href="#p{at}">Re: {html.escape(voice.phrase("things"))}</a></h3>'
        joined = f"<dd>Posts: {rng.randrange(1, 4000)}</dd><dd>Joined: 20{rng.randrange(10, 23)}</dd>"
        head = f'{subject}<p class="author">by {name} &raquo; {when}</p>' if wordy else ""
        tail = f'<dl class="postprofile">{joined}</dl>' if wordy else f'<aside class="user">{name} {when}</aside>'
        content = f'<div class="postbody">{head}<div class="content">{body}</div></div>'
        made.append(f'<div id="p{at}" class="post bg{at % 2 + 1}">{content}{tail}</div>')
    return "\n".join(made)


def thread(
    rng: random.Random, *, kind: str = "forum", topic: str | None = None, texts: list[str] | None = None
) -> Page:
    """A forum thread: a question and its answers, or the given posts (paragraphs on lines of their own)."""
    site = make_site(rng, "board", topic or rng.choice(TOPICS))
    voice = english_voice(rng, site.topic)
    if texts is None:
        texts = ["\n".join(paragraphs(voice, "question", rng.randrange(40, 90), frame=False))]
        texts += [
            "\n".join(paragraphs(voice, "answer", rng.randrange(10, 90), frame=False))
            for _ in range(rng.randrange(3, 9))
        ]
    heading = voice.sentence("ask").rstrip(".")
    url = f"https://{site.host}/viewtopic.php?t={rng.randrange(1000, 99999)}"
    teasers = [title(voice) for _ in range(4)]
    main = _posts(rng, voice, texts)
    page = frame(site, title=heading, main=main, url=url, date=page_date(rng), teasers=teasers)
    return Page(kind, url, page, "\n".join(texts), heading)


def product(rng: random.Random) -> Page:
    """A product in a shop: price, description, table of properties, reviews."""
    site = make_site(rng, "shop", rng.choice(TOPICS))
    voice = Voice(rng, "generic", site.topic, "thin")
    name = voice.pin("product").title()
    lines = [" ".join(voice.sentence("sell") for _ in range(rng.randrange(3, 6))) for _ in range(rng.randrange(1, 3))]
    reviews = [" ".join(voice.sentence("review") for _ in range(2)) for _ in range(rng.randrange(0, 4))]
    rows = "".join(
        f"<tr><td>{label}</td><td>{html.escape(voice.phrase(section))}</td></tr>"
        for label, section in (("Material", "material"), ("Height (cm)", "minutes"), ("Made in", "year"))
    )
    price = f"${rng.randrange(5, 180)}.{rng.choice(('00', '50', '95', '99'))}"
    main = (
        f'<div class="price">{price}</div><select name="qty"><option>1<option>2<option>3</select>'
        f'<button class="add">Add to cart</button><div class="description">{dress(rng, lines)}</div>'
        f'<table class="specs">{rows}</table><h2>Customer reviews ({len(reviews)})</h2>'
        + "".join(
            f'<div class="review"><b>{rng.randrange(2, 6)}/5</b><p>{html.escape(text)}</p></div>' for text in reviews
        )
    )
    url = f"https://{site.host}/products/{name.lower().replace(' ', '-')}-{rng.randrange(9999)}"
    others = Voice(rng, "thin")
    teasers = [others.phrase("product").title() + f" ${rng.randrange(5, 99)}.00" for _ in range(6)]
    page = frame(site, title=name, main=main, url=url, date=page_date(rng), teasers=teasers)
    return Page("shop", url, page, "\n".join([*lines, *reviews]), name)


_CODE = (
    "def {a}({b}, limit={n}):\n    for item in {b}:\n        if item.{c} > limit:\n            yield item\n",
    "import {a}\n\n{b} = {a}.connect(timeout={n})\nwith {b}.session() as {c}:\n    print({c}.status())\n",
    "{a}:\n  {b}: {n}\n  {c}:\n    enabled: true\n    retries: {n}\n",
    "$ {a} --{b} {n} input.dat\n{c}: done in {n} ms\n",
    "for (let {a} = 0; {a} < {n}; {a}++) {{\n  {b}.push({c}[{a}]);\n}}\n",
)
_NAMES = ("queue", "reader", "offset", "cache", "router", "packet", "schema", "worker", "buffer", "signal", "ledger")


def manual(rng: random.Random) -> Page:
    """A page of software documentation with code blocks."""
    site = make_site(rng, "docs", "technology")
    voice = english_voice(rng, "technology")
    a, b, c = rng.sample(_NAMES, 3)
    heading = f"Using the {a} {rng.choice(('module', 'command', 'interface'))}"
    blocks, texts = [], []
    shown = rng.randrange(-1, 3)
    for part in range(rng.randrange(2, 5)):
        lines = paragraphs(voice, "guide", rng.randrange(60, 200), frame=not part)
        code = rng.choice(_CODE).format(a=a, b=b, c=c, n=rng.randrange(2, 512))
        texts += lines
        head = f"<h2>{html.escape(title(voice))}</h2>" if part else ""
        sample = f"<div class='highlight'><pre><code>{html.escape(code)}</code></pre></div>"
        blocks.append(head + dress(rng, lines) + (sample if part == shown else ""))
    url = f"https://{site.host}/en/stable/{a}-{rng.randrange(9999)}.html"
    page = frame(site, title=heading, main="\n".join(blocks), url=url, date=page_date(rng), teasers=[])
    return Page("documentation", url, page, "\n".join(texts), heading)


def recipe(rng: random.Random) -> Page:
    """A recipe: a little story, ingredients, steps."""
    site = make_site(rng, "weblog", "cooking")
    voice = english_voice(rng, "cooking")
    heading = f"{voice.sentence('things')} with {voice.phrase('stuff')}"
    story = paragraphs(voice, "blog", rng.randrange(60, 200))
    steps = sentences(voice, "guide", rng.randrange(5, 10))
    goods = [f"{rng.randrange(1, 9) * 50} g {voice.phrase('things')}" for _ in range(4)]
    goods += [f"{rng.randrange(1, 5)} tbsp {voice.phrase('stuff')}" for _ in range(3)]
    main = (
        dress(rng, story)
        + "<h3>Ingredients</h3><ul>" + "".join(f"<li>{line}</li>" for line in goods) + "</ul>"
        + "<h3>Method</h3><ol>" + "".join(f"<li>{html.escape(line)}</li>" for line in steps) + "</ol>"
    )  # fmt: skip
    url = address(rng, site, heading)
    teasers = [title(voice) for _ in range(5)]
    page = frame(site, title=heading, main=main, url=url, date=page_date(rng), teasers=teasers)
    return Page("recipe", url, page, "\n".join([*story, *goods, *steps]), heading)


def contact(rng: random.Random) -> Page:
    """An article or a thread in which addresses, telephone numbers and account numbers stand."""
    planted, carriers = personal_lines(rng, rng.randrange(2, 6))
    site = make_site(rng, rng.choice(("newspaper", "weblog", "tables")), rng.choice(TOPICS))
    voice = english_voice(rng, site.topic)
    lines = paragraphs(voice, "news", rng.randrange(120, 300))
    for carrier in carriers:
        at = rng.randrange(len(lines))
        lines[at] += " " + carrier
    heading = title(voice)
    url = address(rng, site, heading)
    page = frame(site, title=heading, main=dress(rng, lines), url=url, date=page_date(rng), teasers=[title(voice)])
    found = Page("contact", url, page, "\n".join(lines), heading)
    found.planted["pii"] = [{"kind": kind, "value": value} for kind, value in planted]
    return found
