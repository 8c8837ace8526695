"""Pages that a good corpus does without: navigation, forms, advertising, filler, policy, garbage, unsafe text.

The unsafe pages stay mild on purpose: a few insults, and advertising for adult chat in words that any newspaper prints.
They are there to be caught, not to be read.
"""

from __future__ import annotations

import html
import json
import random
from collections.abc import Callable

from .articles import address, dress, page_date
from .banks import Voice
from .prose import TOPICS, english_voice, paragraphs, sentences, title
from .services import thread
from .site import CHARSET_SLOT, Page, Site, frame, make_site


def _language(kind: str) -> str:
    return "" if kind in ("empty", "garbled", "lorem", "javascript_only") else "en"


def _voice(rng: random.Random, site: Site) -> Voice:
    return Voice(rng, "generic", site.topic, "thin")


def _framed(rng: random.Random, site: Site, kind: str, heading: str, main: str, path: str, text: str = "") -> Page:
    url = f"https://{site.host}/{path}"
    teasers = [title(english_voice(rng, site.topic)) for _ in range(4)]
    page = frame(site, title=heading, main=main, url=url, date=page_date(rng), teasers=teasers)
    return Page(kind, url, page, text, heading, _language(kind))


def _bare(kind: str, host: str, heading: str, body: str, path: str = "", text: str = "") -> Page:
    page = f"<html><head>{CHARSET_SLOT}<title>{html.escape(heading)}</title></head><body>{body}</body></html>"
    return Page(kind, f"http://{host}/{path}", page, text, heading, _language(kind))


def listing(rng: random.Random) -> Page:
    """A front page or an archive: headlines and links."""
    site = make_site(rng, rng.choice(("newspaper", "weblog", "shop", "tables")), rng.choice(TOPICS))
    voice = _voice(rng, site)
    items = []
    for _ in range(rng.randrange(15, 60)):
        number = rng.randrange(9999)
        items.append(
            f'<li><a href="/a/{number}"><img src="/t/{number}.jpg" alt=""></a> '
            f'<a href="/a/{number}">{html.escape(title(voice))}</a> '
            f'<span>{page_date(rng)}</span> <a href="/a/{number}#c">{rng.randrange(40)}</a></li>'
        )
    pager = "".join(f'<a href="?page={at}">{at}</a> ' for at in (1, 2, 3))
    main = f'<ul class="archive">{"".join(items)}</ul><p>{pager}</p>'
    return _framed(
        rng, site, "listing", f"{site.topic.title()} archive", main, f"{site.topic}/page/{rng.randrange(2, 99)}"
    )


def login(rng: random.Random) -> Page:
    """A form to sign in."""
    site = make_site(rng, rng.choice(("board", "shop", "newspaper")), rng.choice(TOPICS))
    main = (
        '<form method="post" action="/session"><label>User name <input name="user"></label>'
        '<label>Password <input type="password" name="pass"></label><label><input type="checkbox"> Remember me</label>'
        '<button>Log in</button></form><p><a href="/forgot">Forgot your password?</a></p>'
    )
    return _framed(rng, site, "login", "Log in", main, f"login?next=/{rng.randrange(9999)}")


def search(rng: random.Random) -> Page:
    """A result page of a site's own search."""
    site = make_site(rng, rng.choice(("shop", "newspaper", "weblog")), rng.choice(TOPICS))
    voice = _voice(rng, site)
    word = voice.phrase("things")
    hits = "".join(
        f'<div class="hit"><a href="/a/{at}">{html.escape(title(voice))}</a> <small>... {word} ...</small></div>'
        for at in range(rng.randrange(0, 11))
    )
    main = f"<p>Results for <b>{html.escape(word)}</b></p>{hits or '<p>Nothing found.</p>'}"
    return _framed(
        rng, site, "search", f"Search: {word}", main, f"search?q={word.replace(' ', '+')}&p={rng.randrange(99)}"
    )


def empty(rng: random.Random) -> Page:
    """A page without text."""
    bodies = ("", "<div id='root'></div>", "<img src='/under-construction.gif'>", "<!-- nothing here yet -->")
    return _bare("empty", f"{rng.choice(TOPICS)}{rng.randrange(999)}.example", "", rng.choice(bodies))


def parked(rng: random.Random) -> Page:
    """A parked domain."""
    voice = Voice(rng, "generic", rng.choice(TOPICS), "thin")
    links = "".join(f'<li><a href="/?q={at}">{html.escape(voice.phrase("keyword"))}</a></li>' for at in range(12))
    lines = [voice.sentence("parked") for _ in range(4)]
    body = "".join(f"<p>{html.escape(line)}</p>" for line in lines) + f"<ul>{links}</ul>"
    host = f"{voice.phrase('handle')}-{rng.choice(TOPICS)}{rng.randrange(99)}.example"
    return _bare("parked", host, host, body, text="\n".join(lines))


def advert(rng: random.Random) -> Page:
    """A landing page that sells; now and then with an article around it."""
    site = make_site(rng, rng.choice(("shop", "weblog")), rng.choice(TOPICS))
    voice = _voice(rng, site)
    lines = [
        " ".join(voice.sentence(rng.choice(("ad", "ad", "sell"))) for _ in range(4)) for _ in range(rng.randrange(3, 6))
    ]
    if rng.random() < 0.3:
        lines[1:1] = paragraphs(english_voice(rng, site.topic), "blog", 60, frame=False)
    heading = f"{voice.sentence('product')}: {voice.phrase('percent')} % off"
    main = dress(rng, lines) + '<p><a class="cta" href="/buy">BUY NOW</a></p>'
    return _framed(rng, site, "advert", heading, main, f"offer/{rng.randrange(99999)}", "\n".join(lines))


def spam(rng: random.Random) -> Page:
    """A page stuffed with keywords."""
    voice = Voice(rng, "generic", rng.choice(TOPICS), "thin")
    words = [voice.phrase("keyword") for _ in range(rng.randrange(120, 300))]
    text = ", ".join(words)
    host = f"best-{slugless(words[0])}-{rng.randrange(999)}.example"
    body = f"<h1>{html.escape(words[0])}</h1><p>{html.escape(text)}</p>" + "".join(
        f"<h2>{html.escape(w)}</h2>" for w in words[:9]
    )
    return _bare("spam", host, words[0], body, "index.php", text)


def slugless(words: str) -> str:
    """Words joined into a host label."""
    return words.replace(" ", "-").lower()


def lorem(rng: random.Random) -> Page:
    """A template that nobody filled in."""
    site = make_site(rng, "weblog", rng.choice(TOPICS))
    voice = Voice(rng, "thin")
    lines = [" ".join(voice.sentence("lorem") for _ in range(5)) for _ in range(rng.randrange(2, 5))]
    return _framed(
        rng, site, "lorem", "Sample Page", dress(rng, lines), f"sample-page-{rng.randrange(999)}", "\n".join(lines)
    )


def javascript_only(rng: random.Random) -> Page:
    """An application that draws itself in the browser."""
    voice = english_voice(rng, rng.choice(TOPICS))
    state = json.dumps({f"k{at}": voice.phrase("title") for at in range(rng.randrange(20, 200))})
    body = (
        "<noscript>Please enable JavaScript to view this page.</noscript><div id=app></div>"
        f"<script>window.__STATE__={state};</script><script src=/app.js></script>"
    )
    return _bare("javascript_only", f"app{rng.randrange(9999)}.example", "Loading", body, "app")


def policy(rng: random.Random) -> Page:
    """Terms and privacy notices."""
    site = make_site(rng, rng.choice(("shop", "newspaper", "board")), rng.choice(TOPICS))
    voice = _voice(rng, site)
    voice.pin("company")
    lines = [" ".join(voice.sentence("policy") for _ in range(3)) for _ in range(rng.randrange(3, 6))]
    return _framed(
        rng, site, "policy", "Privacy policy", dress(rng, lines), f"privacy-{rng.randrange(999)}", "\n".join(lines)
    )


def insults(rng: random.Random) -> Page:
    """A thread that has gone wrong."""
    topic = rng.choice(TOPICS)
    voice, angry = english_voice(rng, topic), Voice(rng, "generic", topic, "thin")
    texts = [" ".join(sentences(voice, "question", 3))]
    for _ in range(rng.randrange(4, 8)):
        calm = sentences(voice, "answer", 1) if rng.random() < 0.4 else []
        texts.append(" ".join([*calm, *(angry.sentence("insult") for _ in range(rng.randrange(2, 4)))]))
    page = thread(rng, kind="insults", topic=topic, texts=texts)
    page.planted["unsafe"] = "toxic"
    return page


def adult(rng: random.Random) -> Page:
    """Advertising for adult chat, in mild words; half of the hosts say so too."""
    voice = Voice(rng, "generic", "thin")
    lines = [" ".join(voice.sentence("adult") for _ in range(rng.randrange(3, 5))) for _ in range(3)]
    telling = rng.random() < 0.5
    host = f"{'midnight-hot-chat' if telling else 'evening-velvet'}{rng.randrange(999)}.example"
    path = "adult/erotic-lingerie-stories" if telling else f"room/{rng.randrange(999)}"
    body = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    page = _bare("adult", host, "Adults only", f"<h1>Adults only</h1>{body}", path, "\n".join(lines))
    page.planted["unsafe"] = "adult"
    page.planted["telling_url"] = telling
    return page


def garbled(rng: random.Random) -> Page:
    """Text broken by a machine: shuffled words, wrong decoding, or letters drawn at random."""
    site = make_site(rng, "tables", rng.choice(TOPICS))
    words = " ".join(paragraphs(english_voice(rng, site.topic), "news", 160)).split()
    how = rng.choice(("shuffled", "mojibake", "letters"))
    if how == "shuffled":
        rng.shuffle(words)
    elif how == "mojibake":
        words = [word.encode("utf-16-le").decode("latin-1").replace("\0", "\u00c3\u00a2") for word in words]
    else:
        words = ["".join(rng.choice("bcdfghjklmnpqrstvwxz#_%0123456789") for _ in word) for word in words]
    text = " ".join(words)
    page = _framed(rng, site, "garbled", "Untitled", f"<p>{html.escape(text)}</p>", f"x{rng.randrange(9999)}.htm", text)
    page.planted["garbled"] = how
    return page


def very_short(rng: random.Random) -> Page:
    """One sentence."""
    site = make_site(rng, rng.choice(("weblog", "tables")), rng.choice(TOPICS))
    voice = english_voice(rng, site.topic)
    line = voice.sentence("body")
    page = _framed(rng, site, "very_short", title(voice), f"<p>{html.escape(line)}</p>", "x", line)
    page.url = address(rng, site, page.title)
    return page


KINDS: dict[str, Callable[[random.Random], Page]] = {
    "listing": listing,
    "login": login,
    "search": search,
    "empty": empty,
    "parked": parked,
    "advert": advert,
    "spam": spam,
    "lorem": lorem,
    "javascript_only": javascript_only,
    "policy": policy,
    "insults": insults,
    "adult": adult,
    "garbled": garbled,
    "very_short": very_short,
}
"""Builders by kind."""
